//! The management channel of `rillway dev`: certificates of its own, made at each start, and an entry by
//! which the command line finds it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::discovery::{self, Entry};
use super::pki::{Authority, PkiError, Subject};
use super::role::Role;
use super::tls::Identity;
use crate::Running;
use crate::config::{Config, Console, Management, Secret};

/// Longer than anybody develops without a restart.
const VALID: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Why `dev` has no management channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// No certificates.
    #[error(transparent)]
    Certificates(#[from] PkiError),
    /// No files.
    #[error("cannot write `{}`: {source}", .path.display())]
    Files {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It did not start, or the process cannot be named.
    #[error("{0}")]
    State(&'static str),
}

/// Files of a router that is found by the command line; removed when dropped.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
}

impl Drop for Found {
    fn drop(&mut self) {
        // What is left is swept by the next one.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Certificates for a `dev` and its command line; its configuration gets a management channel on any free
/// port of loopback. The key of the authority is kept nowhere.
///
/// # Errors
/// [`DevError::Certificates`].
pub fn equip(config: &mut Config) -> Result<Identity, DevError> {
    let authority = Authority::create("rillway dev", VALID)?;
    let issue = |name: &str, role, hosts: &[&str]| {
        authority.issue(&Subject {
            name: name.to_owned(),
            role,
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            valid: VALID,
        })
    };
    let server = issue("rillway dev", None, &["localhost", "127.0.0.1", "::1"])?;
    let client = issue("dev", Some(Role::Admin), &[])?;
    let identity = |issued: super::pki::Issued| Identity {
        certificate: issued.certificate,
        key: issued.key,
        authority: authority.certificate().to_owned(),
    };
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.management = Some(Management::new(listen, identity(server)));
    Ok(identity(client))
}

/// Gives a `dev` a console on any free port of loopback, with a token made for this start.
///
/// # Errors
/// [`DevError::State`].
pub fn equip_console(config: &mut Config) -> Result<Secret, DevError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| DevError::State("there are no random numbers"))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = Secret::new(token);
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.console = Some(Console::new(listen, token.clone()));
    Ok(token)
}

/// Writes the entry of a router that runs, so that the command line of the same user finds it.
///
/// # Errors
/// [`DevError::Files`], [`DevError::State`].
pub fn publish(folder: &Path, running: &Running, client: &Identity) -> Result<Found, DevError> {
    let pid = std::process::id();
    let address = running
        .management_address()
        .ok_or(DevError::State("the management channel is off"))?;
    let entry = Entry {
        pid,
        start_ticks: discovery::start_ticks(pid)
            .ok_or(DevError::State("/proc does not show this process"))?,
        address,
        url: running.url(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| DevError::Files { path, source }
    };
    discovery::make_private(folder).map_err(at(folder))?;
    discovery::sweep(folder);
    let path = folder.join(pid.to_string());
    // A former one of the same process, if it runs several after another.
    let _ = fs::remove_dir_all(&path);
    discovery::make_private(&path).map_err(at(&path))?;
    let found = Found { path };
    let text = serde_json::to_string_pretty(&entry)
        .map_err(|_| DevError::State("its entry cannot be written as JSON"))?;
    // The entry itself comes last: it counts only when everything is there.
    for (name, text) in [
        (discovery::AUTHORITY, &client.authority),
        (discovery::CERTIFICATE, &client.certificate),
        (discovery::KEY, &client.key.reveal().to_owned()),
        (discovery::NODE, &text),
    ] {
        let path = found.path.join(name);
        discovery::write_private(&path, text).map_err(at(&path))?;
    }
    Ok(found)
}
