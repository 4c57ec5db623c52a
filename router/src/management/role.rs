//! Roles, and the certificates they are read from.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Beginning of the URI that names a role in a certificate (RFC 5280 §4.2.1.6).
pub const ROLE_URI: &str = "rillway:role:";

/// Longest name of a certificate's holder that is kept, bytes.
const NAME_BYTES_MAX: usize = 64;

/// What the holder of a certificate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// And acts on people in calls: kicks, mutes, closes rooms, has them recorded.
    Operator,
    /// And changes the router: its plugins, its end.
    Admin,
    /// Another router: sees that this one is there.
    Peer,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Admin, Role::Peer];

    /// As in certificates and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::Peer => "peer",
        }
    }

    /// Whether a verb that `needs` a role is open to this one. `peer` stands beside the others.
    #[must_use]
    pub fn includes(self, needs: Role) -> bool {
        let rank = |role| match role {
            Role::Viewer => Some(0),
            Role::Operator => Some(1),
            Role::Admin => Some(2),
            Role::Peer => None,
        };
        match (rank(self), rank(needs)) {
            (Some(has), Some(needs)) => has >= needs,
            _ => self == needs,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| format!("`{text}` is no role: viewer, operator, admin or peer"))
    }
}

/// Who is at the other end of a connection, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// What it may do.
    pub(crate) role: Role,
    /// Common name, for logs and for `rillway node`.
    pub(crate) name: String,
    /// When the certificate ends.
    pub(crate) until: SystemTime,
}

/// Why a certificate gives no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HolderError {
    /// Not X.509.
    #[error("the certificate cannot be read")]
    Malformed,
    /// No role URI.
    #[error("the certificate names no role")]
    NoRole,
    /// Two, or one we do not know.
    #[error("the certificate names a role that does not exist, or several")]
    BadRole,
}

impl Holder {
    /// Reads a certificate that TLS has verified.
    ///
    /// # Errors
    /// It names no role, or not exactly one.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Holder, HolderError> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| HolderError::Malformed)?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| HolderError::Malformed)?;
        let uris = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(ROLE_URI),
                _ => None,
            });
        let roles: Vec<&str> = uris.collect();
        let role = match roles.as_slice() {
            [] => return Err(HolderError::NoRole),
            [role] => role.parse().map_err(|_| HolderError::BadRole)?,
            _ => return Err(HolderError::BadRole),
        };
        let common_name = certificate.subject().iter_common_name().next();
        let name = common_name.and_then(|name| name.as_str().ok());
        Ok(Holder {
            role,
            name: printable(name.unwrap_or("(no name)")),
            until: time_of(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whether the certificate has ended since it was verified.
    pub(crate) fn has_expired(&self, now: SystemTime) -> bool {
        self.until < now
    }
}

/// When a certificate ends; `None` if it cannot be read.
pub(crate) fn ends(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(time_of(certificate.validity().not_after.timestamp()))
}

fn time_of(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// A name that may stand in a log line and on a terminal.
fn printable(name: &str) -> String {
    let mut kept = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > NAME_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_those_below_and_peer_stands_aside() {
        let table = [
            (Role::Viewer, [true, false, false, false]),
            (Role::Operator, [true, true, false, false]),
            (Role::Admin, [true, true, true, false]),
            (Role::Peer, [false, false, false, true]),
        ];
        for (role, includes) in table {
            assert_eq!(Role::ALL.map(|needs| role.includes(needs)), includes);
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn names_are_printable_and_short() {
        assert_eq!(printable("ada\n\u{1b}[31m"), "ada[31m");
        assert_eq!(printable(&"é".repeat(100)).len(), NAME_BYTES_MAX);
    }
}
