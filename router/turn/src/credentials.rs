//! Credentials that end: a user name that says when, and a password that only holders of the secret can make of it.
//!
//! This is what coturn calls `use-auth-secret` (draft-uberti-behave-turn-rest-00): the user name is
//! `EXPIRY:IDENTITY`, in seconds since 1970, and the password is the base64 of its HMAC-SHA1. Nothing has to be
//! remembered of what was given to whom.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest identity in a user name, bytes: the name must fit into an attribute of 508 (RFC 8489 §14.3).
const IDENTITY_BYTES_MAX: usize = 256;

/// What all credentials of a router are made with.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// User name and password of one client.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `EXPIRY:IDENTITY`.
    pub username: String,
    /// Its HMAC-SHA1 in base64.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Why a user name has no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is not `EXPIRY:IDENTITY`.
    #[error("the user name is not EXPIRY:IDENTITY")]
    Form,
    /// It was good until then.
    #[error("the credentials have ended")]
    Expired,
}

impl Secret {
    /// Of any bytes; a short one can be guessed from one pair of user name and password.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Secret(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, bytes))
    }

    /// Credentials that are good until so long after 1970. Of an identity that is too long for a user name the
    /// beginning counts.
    #[must_use]
    pub fn mint(&self, identity: &str, until: Duration) -> Credentials {
        let end = identity.floor_char_boundary(IDENTITY_BYTES_MAX);
        let username = format!("{}:{}", until.as_secs(), &identity[..end]);
        let password = self.password(&username);
        Credentials { username, password }
    }

    /// The password that goes with a user name.
    #[must_use]
    pub fn password(&self, username: &str) -> String {
        STANDARD.encode(hmac::sign(&self.0, username.as_bytes()))
    }
}

/// The identity in a user name that has not ended at `now`, after 1970.
///
/// # Errors
/// [`NameError`].
pub fn identity(username: &str, now: Duration) -> Result<&str, NameError> {
    let (expiry, identity) = username.split_once(':').ok_or(NameError::Form)?;
    // A sign or a space would parse elsewhere: one name, one expiry.
    let plain = !expiry.is_empty() && expiry.bytes().all(|b| b.is_ascii_digit());
    let expiry: u64 = match plain {
        true => expiry.parse().map_err(|_| NameError::Form)?,
        false => return Err(NameError::Form),
    };
    match expiry > now.as_secs() {
        true => Ok(identity),
        false => Err(NameError::Expired),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_coturn_makes_them() {
        // printf '1893456000:ada' | openssl dgst -sha1 -hmac north -binary | base64
        let minted = Secret::new(b"north").mint("ada", Duration::from_secs(1_893_456_000));
        assert_eq!(minted.username, "1893456000:ada");
        assert_eq!(minted.password, "A0DNf16by58KaWAwAe4TV36DNwI=");
    }

    #[test]
    fn a_name_says_who_and_until_when() {
        let at = Duration::from_secs;
        assert_eq!(identity("100:ada", at(99)), Ok("ada"));
        assert_eq!(identity("100:ada:lovelace", at(99)), Ok("ada:lovelace"));
        assert_eq!(identity("100:ada", at(100)), Err(NameError::Expired));
        for name in [
            "",
            "ada",
            ":ada",
            "+100:ada",
            "1e9:ada",
            " 100:ada",
            "99999999999999999999:a",
        ] {
            assert_eq!(identity(name, at(0)), Err(NameError::Form), "{name}");
        }
    }

    #[test]
    fn a_long_identity_still_makes_a_user_name() {
        let long = "ö".repeat(1_000);
        let minted = Secret::new(b"north").mint(&long, Duration::from_secs(1));
        assert!(minted.username.len() < 300);
        assert_eq!(
            minted.password,
            Secret::new(b"north").password(&minted.username)
        );
    }
}
