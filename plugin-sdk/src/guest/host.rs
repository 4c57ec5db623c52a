//! Capabilities as imports of the component.

use super::bindings::imports::rillway::policy as wit;
use crate::capabilities::crypto::{KeyError, Verified};
use crate::capabilities::http::{Error, Request, Response};
use crate::capabilities::log::Level;

pub(crate) fn write(level: Level, message: &str) {
    let level = match level {
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    };
    wit::log::write(level, message);
}

pub(crate) use wit::clock::{monotonic_ns, now_ms};
pub(crate) use wit::kv::{delete, get, increment, set};
pub(crate) use wit::metrics::{add, observe};

pub(crate) fn verify_jws(token: &str, key: &str) -> Result<Verified, KeyError> {
    let verified = wit::crypto::verify_jws(token, key)?;
    Ok(Verified {
        header: verified.header,
        payload: verified.payload,
    })
}

pub(crate) fn hmac_sha256(key: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(wit::crypto::hmac_sha256(key, message)?)
}

pub(crate) use wit::crypto::random;

impl From<wit::crypto::KeyError> for KeyError {
    fn from(error: wit::crypto::KeyError) -> Self {
        match error {
            wit::crypto::KeyError::UnknownKey(key) => KeyError::UnknownKey(key),
            wit::crypto::KeyError::BadSignature => KeyError::BadSignature,
            wit::crypto::KeyError::Malformed(why) => KeyError::Malformed(why),
        }
    }
}

pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    let request = wit::http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        timeout_ms: request.timeout_ms,
    };
    match wit::http::send(&request) {
        Ok(response) => Ok(Response {
            status: response.status,
            headers: response.headers,
            body: response.body,
        }),
        Err(wit::http::Error::NotAllowed(origin)) => Err(Error::NotAllowed(origin)),
        Err(wit::http::Error::Invalid(why)) => Err(Error::Invalid(why)),
        Err(wit::http::Error::Timeout) => Err(Error::Timeout),
        Err(wit::http::Error::Failed(why)) => Err(Error::Failed(why)),
    }
}
