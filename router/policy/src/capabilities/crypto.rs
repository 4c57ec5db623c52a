//! Signatures with keys that stay with the host.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};

/// Longest token, bytes (part of the ABI).
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Random bytes one call gets at most (part of the ABI).
const RANDOM_BYTES_MAX: u32 = 1_024;
/// Shortest secret, bytes: as long as the digest (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;

/// What a key verifies (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256; the key is a secret of at least 32 bytes.
    Hs256,
    /// RSA PKCS #1 v1.5 with SHA-256; 2,048 to 8,192 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Algorithm> {
        [
            Algorithm::Hs256,
            Algorithm::Rs256,
            Algorithm::Es256,
            Algorithm::EdDsa,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name() == name)
    }

    fn foreign(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// A key that a plugin may use by its name.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    verifying: DecodingKey,
    /// Of [`Algorithm::Hs256`].
    secret: Option<hmac::Key>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key itself.
        write!(f, "Key({})", self.algorithm.name())
    }
}

/// A key is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// A secret is too short to be one.
    #[error(
        "the secret has {0} bytes, at least {SECRET_BYTES_MIN} are needed (RFC 7518 §3.2): `openssl rand -hex 32` \
         makes one"
    )]
    Short(usize),
    /// The text is no key of that algorithm.
    #[error("no {algorithm} key in PEM (a `PUBLIC KEY` block): {problem}", algorithm = .algorithm.name())]
    Pem {
        /// What the key is for.
        algorithm: Algorithm,
        /// What is wrong with it.
        problem: String,
    },
    /// The text is no JWK of that algorithm.
    #[error("no {algorithm} key in JWK (RFC 7517): {problem}", algorithm = .algorithm.name())]
    Jwk {
        /// What the key is for.
        algorithm: Algorithm,
        /// What is wrong with it.
        problem: String,
    },
}

impl Key {
    /// A shared secret, for [`Algorithm::Hs256`] and for HMAC.
    ///
    /// # Errors
    /// It is too short.
    pub fn secret(secret: &[u8]) -> Result<Key, KeyProblem> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyProblem::Short(secret.len()));
        }
        Ok(Key {
            algorithm: Algorithm::Hs256,
            verifying: DecodingKey::from_secret(secret),
            secret: Some(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        })
    }

    /// A public key in PEM; for [`Algorithm::Hs256`] the text itself is the secret.
    ///
    /// # Errors
    /// It is none.
    pub fn pem(algorithm: Algorithm, pem: &[u8]) -> Result<Key, KeyProblem> {
        let verifying = match algorithm {
            Algorithm::Hs256 => return Key::secret(pem),
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::Es256 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(pem),
        };
        let verifying = verifying.map_err(|error| KeyProblem::Pem {
            algorithm,
            problem: error.to_string(),
        })?;
        Ok(Key {
            algorithm,
            verifying,
            secret: None,
        })
    }

    /// A key in JWK form (RFC 7517), JSON.
    ///
    /// # Errors
    /// It is none, or it is for another algorithm.
    pub fn jwk(algorithm: Algorithm, json: &str) -> Result<Key, KeyProblem> {
        let refuse = |problem: String| KeyProblem::Jwk { algorithm, problem };
        let jwk: Jwk = serde_json::from_str(json).map_err(|e| refuse(e.to_string()))?;
        let fits = match (&jwk.algorithm, algorithm) {
            (AlgorithmParameters::OctetKey(key), Algorithm::Hs256) => {
                let secret = URL_SAFE_NO_PAD.decode(&key.value);
                return Key::secret(&secret.map_err(|e| refuse(e.to_string()))?);
            }
            (AlgorithmParameters::RSA(_), Algorithm::Rs256) => true,
            (AlgorithmParameters::EllipticCurve(key), Algorithm::Es256) => {
                key.curve == EllipticCurve::P256
            }
            (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDsa) => {
                key.curve == EllipticCurve::Ed25519
            }
            _ => false,
        };
        if !fits {
            return Err(refuse("`kty` or `crv` is another's".to_owned()));
        }
        Ok(Key {
            algorithm,
            verifying: DecodingKey::from_jwk(&jwk).map_err(|e| refuse(e.to_string()))?,
            secret: None,
        })
    }
}

/// Why a plugin's question about a key has no good answer; mirrors the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyError {
    UnknownKey(String),
    BadSignature,
    Malformed(String),
}

/// Header and payload of a token whose signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) header: String,
    pub(crate) payload: Vec<u8>,
}

/// The keys of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Keys(BTreeMap<String, Key>);

impl Keys {
    pub(crate) fn new(keys: BTreeMap<String, Key>) -> Keys {
        Keys(keys)
    }

    fn key(&self, name: &str) -> Result<&Key, KeyError> {
        let missing = || KeyError::UnknownKey(name.chars().take(64).collect());
        self.0.get(name).ok_or_else(missing)
    }

    pub(crate) fn verify_jws(&self, token: &str, key: &str) -> Result<Verified, KeyError> {
        let key = self.key(key)?;
        let malformed = |problem: &str| KeyError::Malformed(problem.to_owned());
        if token.len() > TOKEN_BYTES_MAX {
            return Err(malformed("the token is longer than 16 KiB"));
        }
        let (message, signature) = token
            .rsplit_once('.')
            .ok_or_else(|| malformed("the token has not three parts"))?;
        let (header, payload) = message
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or_else(|| malformed("the token has not three parts"))?;
        let decode = |part: &str, problem: &str| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed(problem))
        };
        let header = String::from_utf8(decode(header, "the header is no base64url")?)
            .map_err(|_| malformed("the header is no UTF-8"))?;
        check_header(&header, key.algorithm)?;
        let payload = decode(payload, "the payload is no base64url")?;
        let right = jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &key.verifying,
            key.algorithm.foreign(),
        )
        .map_err(|_| malformed("the signature is no base64url"))?;
        match right {
            true => Ok(Verified { header, payload }),
            false => Err(KeyError::BadSignature),
        }
    }

    pub(crate) fn hmac_sha256(&self, key: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let secret = self.key(key)?.secret.as_ref().ok_or_else(|| {
            KeyError::Malformed(format!(
                "the key {key} is a public one, HMAC needs a secret"
            ))
        })?;
        Ok(hmac::sign(secret, message).as_ref().to_vec())
    }
}

/// The algorithm is the key's, never the token's choice (RFC 8725 §3.1), and extensions that must be
/// understood are not (RFC 7515 §4.1.11).
fn check_header(header: &str, algorithm: Algorithm) -> Result<(), KeyError> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(header)
        .map_err(|_| KeyError::Malformed("the header is no JSON object".to_owned()))?;
    if object.get("alg").and_then(|alg| alg.as_str()) != Some(algorithm.name()) {
        return Err(KeyError::Malformed(format!(
            "the token's algorithm is not the key's, {}",
            algorithm.name()
        )));
    }
    if object.contains_key("crit") {
        return Err(KeyError::Malformed(
            "the token needs an extension (`crit`) that is not understood".to_owned(),
        ));
    }
    Ok(())
}

/// Random bytes that a call gets.
pub(super) fn random_len(len: u32) -> usize {
    usize::try_from(len.min(RANDOM_BYTES_MAX)).unwrap_or(0)
}
