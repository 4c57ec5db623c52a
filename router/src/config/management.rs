//! `[management]`: as it is written, checked, and as it is used.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::management::{Identity, TlsError};

/// A longer file is no certificate or key.
const PEM_BYTES_MAX: u64 = 256 * 1024;

/// The management channel: QUIC for operators and the command line (`docs/management.md`). Off unless
/// `listen` is set. `rillway ca init` and `rillway ca issue` make the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Management")]
pub(super) struct RawManagement {
    /// Address and UDP port to listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "socket-address", "x-example" = "127.0.0.1:7443"))]
    pub(super) listen: Option<SocketAddr>,
    /// File with the router's certificate, PEM, and those between it and the authority; relative to this
    /// file. Clients refuse it unless it names the host they reach the router by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "router.pem"))]
    pub(super) certificate: Option<PathBuf>,
    /// File with its private key, PEM. Only its owner and group may be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "router.key"))]
    pub(super) key: Option<PathBuf>,
    /// File with the certificate of the authority that clients' certificates are issued by, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "ca.pem"))]
    pub(super) client_ca: Option<PathBuf>,
    /// Connections open at once; more are refused.
    #[schemars(range(min = 1, max = 10_000))]
    #[schemars(extend("x-unit" = "connections", "x-memory" = "about 100 KiB each, and up to 1.3 MiB while much is under way"))]
    pub(super) connections_max: u32,
    /// Calls one connection may begin; the burst is one second's worth. More are answered with an error.
    #[schemars(range(min = 1, max = 10_000), extend("x-unit" = "calls per second"))]
    pub(super) calls_per_second_max: u32,
    /// A connection that is silent this long is closed. Clients send a sign of life more often.
    #[schemars(range(min = 1_000, max = 600_000), extend("x-unit" = "milliseconds"))]
    pub(super) idle_timeout_ms: u32,
}

impl Default for RawManagement {
    fn default() -> Self {
        RawManagement {
            listen: None,
            certificate: None,
            key: None,
            client_ca: None,
            connections_max: 64,
            calls_per_second_max: 50,
            idle_timeout_ms: 30_000,
        }
    }
}

/// The management channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Management {
    /// Where it listens (UDP).
    pub listen: SocketAddr,
    /// The router's certificate and key, and the authority of clients.
    pub identity: Identity,
    /// Connections open at once.
    pub connections_max: u32,
    /// Calls per second of one connection; the burst is one second's worth.
    pub calls_per_second_max: u32,
    /// A connection that is silent this long is closed.
    pub idle_timeout: Duration,
}

impl Management {
    /// With default bounds.
    #[must_use]
    pub fn new(listen: SocketAddr, identity: Identity) -> Self {
        Management::with_bounds(listen, identity, &RawManagement::default())
    }

    fn with_bounds(listen: SocketAddr, identity: Identity, raw: &RawManagement) -> Self {
        Management {
            listen,
            identity,
            connections_max: raw.connections_max,
            calls_per_second_max: raw.calls_per_second_max,
            idle_timeout: Duration::from_millis(u64::from(raw.idle_timeout_ms)),
        }
    }
}

/// What is wrong, at which key, and what mends it.
pub(super) struct Fault {
    pub(super) title: String,
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) help: String,
}

const CERTIFICATE: &str = "management.certificate";
const KEY: &str = "management.key";
const CLIENT_CA: &str = "management.client_ca";

/// Reads the files and tries them. `folder`: where relative paths start. `None`: the channel is off.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn validate(
    raw: &RawManagement,
    folder: &Path,
) -> Result<Option<Management>, Vec<Fault>> {
    let files = [
        (CERTIFICATE, &raw.certificate, false),
        (KEY, &raw.key, true),
        (CLIENT_CA, &raw.client_ca, false),
    ];
    let Some(listen) = raw.listen else {
        let named = files.iter().find(|(_, path, _)| path.is_some());
        return named.map_or(Ok(None), |(key, ..)| Err(vec![silent(key)]));
    };
    let mut faults = Vec::new();
    let mut texts = files.map(|(key, path, secret)| {
        let text = path.as_ref().map_or_else(
            || Err(missing(key)),
            |path| read(key, &folder.join(path), secret),
        );
        text.map_err(|fault| faults.push(fault)).unwrap_or_default()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let [certificate, key, authority] = &mut texts;
    let identity = Identity {
        certificate: std::mem::take(certificate),
        key: Secret::new(std::mem::take(key)),
        authority: std::mem::take(authority),
    };
    match identity.server() {
        Ok(_) => Ok(Some(Management::with_bounds(listen, identity, raw))),
        Err(error) => Err(vec![unusable(&error)]),
    }
}

fn silent(key: &'static str) -> Fault {
    Fault {
        title: format!("`{key}` is set, and the management channel is off"),
        key,
        label: "used by nobody",
        help: "set `management.listen`, such as \"127.0.0.1:7443\", or leave it out".to_owned(),
    }
}

fn missing(key: &'static str) -> Fault {
    Fault {
        title: format!("`management.listen` is set, and `{key}` is not"),
        key: "management.listen",
        label: "needs certificates",
        help: "`rillway ca init` and `rillway ca issue NAME --server --host HOST` make the files"
            .to_owned(),
    }
}

fn unusable(error: &TlsError) -> Fault {
    let (key, help) = match error {
        TlsError::Key(_) | TlsError::Pair(_) => (
            KEY,
            "the key that `rillway ca issue` wrote beside the certificate",
        ),
        TlsError::Authority(_) => (CLIENT_CA, "the `ca.pem` that `rillway ca init` wrote"),
        _ => (CERTIFICATE, "the certificate that `rillway ca issue` wrote"),
    };
    Fault {
        title: format!("`{key}` cannot be used: {error}"),
        key,
        label: "this file",
        help: format!("name {help}"),
    }
}

fn read(key: &'static str, path: &Path, secret: bool) -> Result<String, Fault> {
    let fault = |why: String, help: String| Fault {
        title: format!("cannot use `{}`: {why}", path.display()),
        key,
        label: "this file",
        help,
    };
    let failed = |error: std::io::Error| {
        let help = "`rillway ca issue` writes certificate and key, `rillway ca init` the authority";
        fault(error.to_string(), help.to_owned())
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        let help = "name a file in PEM".to_owned();
        return Err(fault("it is no regular file".to_owned(), help));
    }
    if secret && metadata.permissions().mode() & 0o007 != 0 {
        let help = format!("chmod 640 {}", path.display());
        return Err(fault(
            "everybody on this machine may read it".to_owned(),
            help,
        ));
    }
    let mut text = String::new();
    file.take(PEM_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}
