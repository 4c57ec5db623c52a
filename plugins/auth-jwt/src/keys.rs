//! Whose signature counts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rillway_plugin_sdk::crypto::{self, KeyError};
use rillway_plugin_sdk::types::Denial;
use serde::Deserialize;

/// Keys at most: each may have to be tried.
const KEYS_MAX: usize = 16;

/// A key that may sign.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    /// By which the router knows it.
    name: String,
    /// The `kid` of tokens that it signs (RFC 7515 §4.1.4); `None`: of those that no other key claims.
    kid: Option<String>,
    /// The `iss` that its tokens must have (RFC 7519 §4.1.1); `None`: any.
    issuer: Option<String>,
}

/// What is read of a header before its signature is known to be good: nothing but which key to try.
#[derive(Deserialize)]
struct Header {
    kid: Option<String>,
}

/// What is read of it afterwards.
#[derive(Deserialize)]
struct VerifiedHeader {
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Issuer {
    iss: Option<String>,
}

/// # Errors
/// A key that the router does not have, or a list that makes no sense.
pub(crate) fn check(keys: &[Key]) -> Result<(), String> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(format!("config: `keys` has to name 1 to {KEYS_MAX} keys"));
    }
    for (index, key) in keys.iter().enumerate() {
        // Whatever else is wrong with an empty token, the key is looked up first.
        if let Err(KeyError::UnknownKey(name)) = crypto::verify_jws("", &key.name) {
            return Err(format!(
                "config: `keys[{index}].name`: the router has no key `{name}` for this plugin"
            ));
        }
    }
    Ok(())
}

/// The payload of a token that one of the keys signed.
///
/// # Errors
/// Nobody who counts has signed it.
pub(crate) fn verify(keys: &[Key], token: &str) -> Result<Vec<u8>, Denial> {
    let kid = header(token).and_then(|header| header.kid);
    let named = |key: &&Key| key.kid.is_some() && key.kid == kid;
    let mut candidates: Vec<&Key> = keys.iter().filter(named).collect();
    if candidates.is_empty() {
        candidates = keys.iter().filter(|key| key.kid.is_none()).collect();
    }
    let Some((first, rest)) = candidates.split_first() else {
        let why = match kid {
            Some(_) => "no key is known by the token's `kid`",
            None => "the token has to name its key by `kid`",
        };
        return Err(Denial::Unauthenticated(why.to_owned()));
    };
    let mut result = verify_with(first, token);
    for key in rest {
        match result {
            // Says more than that another key did not sign it either.
            Err(Refused::Other(_)) | Ok(_) => break,
            Err(refused) => {
                result = verify_with(key, token).map_err(|next| refused.or(next));
            }
        }
    }
    result.map_err(Refused::denial)
}

/// Why a key does not vouch for a token.
enum Refused {
    /// The token is no JWS, or another algorithm's: why.
    Malformed(String),
    Signature,
    /// The signature is good, or could not be looked at.
    Other(Denial),
}

impl Refused {
    /// Of two keys' reasons, the one that says more.
    fn or(self, other: Refused) -> Refused {
        match (&self, &other) {
            (_, Refused::Other(_)) | (Refused::Malformed(_), Refused::Signature) => other,
            _ => self,
        }
    }

    fn denial(self) -> Denial {
        match self {
            Refused::Malformed(why) => {
                Denial::Unauthenticated(format!("the token is malformed: {why}"))
            }
            Refused::Signature => {
                Denial::Unauthenticated("the token's signature is wrong".to_owned())
            }
            Refused::Other(denial) => denial,
        }
    }
}

fn verify_with(key: &Key, token: &str) -> Result<Vec<u8>, Refused> {
    let verified = crypto::verify_jws(token, &key.name).map_err(|error| match error {
        KeyError::BadSignature => Refused::Signature,
        KeyError::Malformed(why) => Refused::Malformed(why),
        KeyError::UnknownKey(name) => Refused::Other(Denial::Unavailable(format!(
            "the router has no key `{name}` any more"
        ))),
    })?;
    let refuse = |why: &str| Refused::Other(Denial::Unauthenticated(why.to_owned()));
    // RFC 7515 §4.1.11: who does not know what a header says is critical has to refuse it.
    let header: VerifiedHeader = serde_json::from_str(&verified.header)
        .map_err(|_| refuse("the token's header is malformed"))?;
    if header.crit.is_some() {
        return Err(refuse(
            "the token's header has `crit`, of which nothing is known here",
        ));
    }
    if let Some(issuer) = &key.issuer {
        let claims: Result<Issuer, _> = serde_json::from_slice(&verified.payload);
        let iss = claims.ok().and_then(|claims| claims.iss);
        if iss.as_ref() != Some(issuer) {
            return Err(refuse("the token's `iss` is not that of its key"));
        }
    }
    Ok(verified.payload)
}

fn header(token: &str) -> Option<Header> {
    let (header, _) = token.split_once('.')?;
    serde_json::from_slice(&BASE64.decode(header).ok()?).ok()
}
