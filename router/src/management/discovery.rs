//! How the command line finds a router on the same machine: a private folder with one entry for each.
//!
//! An entry is a folder named after the process, with the address and a client's certificate. It counts
//! only while that very process runs: its id and start time must match, so that what a killed router
//! left behind is never taken for another's.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::client::Target;
use super::tls::Identity;
use crate::config::Secret;

/// Files of an entry.
pub(super) const NODE: &str = "node.json";
pub(super) const CERTIFICATE: &str = "client.pem";
pub(super) const KEY: &str = "client.key";
pub(super) const AUTHORITY: &str = "ca.pem";

/// Longest file of an entry that is read, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What an entry says of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its process.
    pub pid: u32,
    /// Start time of that process, clock ticks since boot (proc(5), field 22).
    pub start_ticks: u64,
    /// Its management channel.
    pub address: SocketAddr,
    /// Its page.
    pub url: String,
    /// Its release.
    pub version: String,
}

/// Why no router was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// None runs, or none that fits.
    #[error("{0}")]
    None(String),
    /// More than one.
    #[error("{} routers run on this machine: {}", .0.len(), listed(.0))]
    Several(Vec<Entry>),
    /// The folder or an entry cannot be used.
    #[error("cannot use `{}`: {why}", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn listed(entries: &[Entry]) -> String {
    let texts = entries
        .iter()
        .map(|entry| format!("{} (process {})", entry.url, entry.pid));
    texts.collect::<Vec<_>>().join(", ")
}

/// The folder entries are in: `$XDG_RUNTIME_DIR/rillway`, or one of this user's own among the temporary
/// files. It need not exist.
///
/// # Errors
/// The user cannot be told.
pub fn folder() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(runtime) = runtime.filter(|path| path.is_absolute() && path.is_dir()) {
        return Ok(runtime.join("rillway"));
    }
    let name = format!("rillway-{}", user()?);
    Ok(std::env::temp_dir().join(name))
}

/// Number of the user this process belongs to.
fn user() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

/// Makes a folder that only its owner can enter, unless it is there.
///
/// # Errors
/// What the system said, or that the folder is somebody else's or open to others: among the temporary
/// files anybody may have made it before us.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check_private(path)
}

fn check_private(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let ours = metadata.is_dir() && metadata.uid() == user()?;
    if !ours || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it must be a folder of this user that nobody else can enter (mode 700)",
        ));
    }
    Ok(())
}

/// Writes a file that only its owner can read; it must be new.
///
/// # Errors
/// What the system said.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Start time of a process, clock ticks since boot; `None` if it does not run.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; field 3 comes after it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // One that has ended stays in the list until its parent has asked for it, which some never do.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The entry in a folder, if its process still runs.
fn live_entry(path: &Path) -> Option<Entry> {
    let entry: Entry = serde_json::from_str(&read(&path.join(NODE)).ok()?).ok()?;
    (start_ticks(entry.pid) == Some(entry.start_ticks)).then_some(entry)
}

/// Folders of entries, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, FindError> {
    let unusable = |error: io::Error| FindError::Folder {
        path: folder.to_owned(),
        why: error.to_string(),
    };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    check_private(folder).map_err(unusable)?;
    let entries = fs::read_dir(folder).map_err(unusable)?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

/// Every router that runs on this machine and can be found, by process.
///
/// # Errors
/// [`FindError::Folder`].
pub fn all(folder: &Path) -> Result<Vec<Entry>, FindError> {
    let folders = folders(folder)?;
    Ok(folders.iter().filter_map(|path| live_entry(path)).collect())
}

/// Removes what processes that are gone left behind.
pub(super) fn sweep(folder: &Path) {
    for path in folders(folder).unwrap_or_default() {
        let pid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        // One without a whole entry may just be coming up.
        let gone = pid.is_some_and(|pid: u32| start_ticks(pid).is_none());
        let stale = path.join(NODE).exists() && live_entry(&path).is_none();
        if gone || stale {
            // Another one that sweeps at the same time may be faster.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// The one router that fits, and how to reach it.
///
/// # Errors
/// [`FindError`], with what to do.
pub fn find(folder: &Path, pid: Option<u32>) -> Result<(Entry, Target), FindError> {
    let mut found = all(folder)?;
    let running = found.clone();
    found.retain(|entry| pid.is_none_or(|pid| pid == entry.pid));
    let entry = match found.len() {
        1 => found.remove(0),
        0 if running.is_empty() => {
            let text = "no `rillway dev` runs on this machine for this user";
            return Err(FindError::None(text.to_owned()));
        }
        0 => {
            let text = format!("no such router runs; there are: {}", listed(&running));
            return Err(FindError::None(text));
        }
        _ => return Err(FindError::Several(found)),
    };
    let path = folder.join(entry.pid.to_string());
    let file = |name: &str| {
        read(&path.join(name)).map_err(|error| FindError::Folder {
            path: path.join(name),
            why: error.to_string(),
        })
    };
    let identity = Identity {
        certificate: file(CERTIFICATE)?,
        key: Secret::new(file(KEY)?),
        authority: file(AUTHORITY)?,
    };
    let target = Target {
        address: entry.address,
        name: entry.address.ip().to_string(),
        identity,
    };
    Ok((entry, target))
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
