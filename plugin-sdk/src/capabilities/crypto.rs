//! Cryptography with keys that stay with the router: the operator names them in TOML, and a plugin knows
//! their names only. WIT: `rillway:policy/crypto`.

use super::backend;

/// Why a key was of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// TOML names no such key for this plugin.
    UnknownKey(String),
    /// The signature is not that key's.
    BadSignature,
    /// The token is no compact JWS, or its algorithm is not the key's.
    Malformed(String),
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyError::UnknownKey(key) => write!(f, "the router's configuration has no key `{key}`"),
            KeyError::BadSignature => f.write_str("the signature is wrong"),
            KeyError::Malformed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for KeyError {}

/// A JWS whose signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The protected header (RFC 7515 §4), JSON.
    pub header: String,
    /// The payload. For a JWT (RFC 7519): claims, JSON. Nothing in it has been checked but the signature.
    pub payload: Vec<u8>,
}

/// Verifies a compact JWS (RFC 7515 §7.1) with a key that TOML names. The algorithm is the key's and must be
/// the token's: HS256, RS256, ES256 or EdDSA. Tokens of more than 16 KiB are malformed.
///
/// # Errors
/// [`KeyError`].
pub fn verify_jws(token: &str, key: &str) -> Result<Verified, KeyError> {
    backend::verify_jws(token, key)
}

/// HMAC-SHA-256 (RFC 2104) with a secret that TOML names, such as to sign a webhook.
///
/// # Errors
/// [`KeyError::UnknownKey`].
pub fn hmac_sha256(key: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    backend::hmac_sha256(key, message)
}

/// Bytes from the router's CSPRNG, at most 1,024 a call (more are cut).
#[must_use]
pub fn random(len: u32) -> Vec<u8> {
    backend::random(len)
}
