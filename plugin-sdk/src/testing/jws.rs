//! Signatures of the scripted host: HMAC-SHA-256 whatever the algorithm is called.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

use super::Key;
use crate::crypto::{KeyError, Verified};

/// HMAC-SHA-256 (RFC 2104).
pub(super) fn hmac(secret: &[u8], message: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut key = [0; BLOCK];
    if secret.len() > BLOCK {
        key[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        key[..secret.len()].copy_from_slice(secret);
    }
    let inner = Sha256::new()
        .chain_update(key.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(key.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

pub(super) fn sign(secret: &[u8], header: &str, payload: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
    let signature = BASE64.encode(hmac(secret, signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub(super) fn verify(key: &Key, token: &str) -> Result<Verified, KeyError> {
    let malformed = |why: &str| KeyError::Malformed(why.to_owned());
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or_else(|| malformed("the token is no compact JWS"))?;
    let (header, payload) = signed
        .split_once('.')
        .ok_or_else(|| malformed("the token is no compact JWS"))?;
    let decode = |part: &str| {
        BASE64
            .decode(part)
            .map_err(|_| malformed("the token is no base64url"))
    };
    let header = String::from_utf8(decode(header)?).map_err(|_| malformed("no UTF-8"))?;
    let fields: serde_json::Value =
        serde_json::from_str(&header).map_err(|_| malformed("the header is no JSON"))?;
    if fields["alg"] != key.algorithm.as_str() {
        return Err(KeyError::Malformed(format!(
            "the token's algorithm is {}, the key's {}",
            fields["alg"], key.algorithm
        )));
    }
    if decode(signature)? != hmac(&key.secret, signed.as_bytes()) {
        return Err(KeyError::BadSignature);
    }
    let payload = decode(payload)?;
    Ok(Verified { header, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.3.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(mac[28..], [0x64, 0xec, 0x38, 0x43]);
    }

    #[test]
    fn only_what_the_key_signed_is_good() {
        let key = Key::new("ES256", b"secret");
        let token = key.sign(
            &serde_json::json!({"alg": "ES256"}),
            &serde_json::json!({"sub": "a"}),
        );
        assert_eq!(verify(&key, &token).unwrap().payload, br#"{"sub":"a"}"#);
        let other = Key::new("ES256", b"Secret");
        assert_eq!(verify(&other, &token), Err(KeyError::BadSignature));
        let other = Key::new("RS256", b"secret");
        assert!(matches!(
            verify(&other, &token),
            Err(KeyError::Malformed(_))
        ));
        assert!(matches!(verify(&key, "a.b"), Err(KeyError::Malformed(_))));
    }
}
