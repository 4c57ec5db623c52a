//! What the capabilities answer natively.

use super::{Host, jws, with};
use crate::crypto::{KeyError, Verified};
use crate::http::{Error, Request, Response};
use crate::log::Level;

/// Bounds of the ABI (`plugin-sdk/wit/capabilities.wit`).
const KEY_BYTES_MAX: usize = 256;
const TOKEN_BYTES_MAX: usize = 16 * 1024;
const RANDOM_BYTES_MAX: u32 = 1_024;

/// A value of the store.
#[derive(Debug)]
pub(crate) struct Entry {
    value: Vec<u8>,
    /// Unix milliseconds.
    expires_at_ms: Option<u64>,
}

pub(crate) fn write(level: Level, message: &str) {
    with(|host| host.log.push((level, message.to_owned())));
}

pub(crate) fn add(counter: &str, delta: u64) {
    with(|host| *host.counters.entry(counter.to_owned()).or_default() += delta);
}

pub(crate) fn observe(name: &str, value: f64) {
    with(|host| host.observed.push((name.to_owned(), value)));
}

pub(crate) fn now_ms() -> u64 {
    with(|host| host.now_ms)
}

pub(crate) fn monotonic_ns() -> u64 {
    with(|host| host.monotonic_ns)
}

impl Host {
    fn forget_expired(&mut self) {
        let now = self.now_ms;
        self.store
            .0
            .retain(|_, entry| entry.expires_at_ms.is_none_or(|at| at > now));
    }

    fn store(&mut self, key: &str, entry: Entry) -> Result<(), String> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(format!("a key has 1 to {KEY_BYTES_MAX} bytes"));
        }
        let others = self.store.0.iter().filter(|(k, _)| *k != key);
        let others: usize = others.map(|(k, e)| k.len() + e.value.len()).sum();
        if others + key.len() + entry.value.len() > self.kv_bytes_max {
            return Err(format!("kv_bytes_max ({}) is met", self.kv_bytes_max));
        }
        self.store.0.insert(key.to_owned(), entry);
        Ok(())
    }
}

pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
    with(|host| {
        host.forget_expired();
        host.store.0.get(key).map(|entry| entry.value.clone())
    })
}

pub(crate) fn set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), String> {
    with(|host| {
        host.forget_expired();
        let entry = Entry {
            value: value.to_vec(),
            expires_at_ms: ttl_ms.map(|ttl| host.now_ms.saturating_add(ttl)),
        };
        host.store(key, entry)
    })
}

pub(crate) fn delete(key: &str) {
    with(|host| host.store.0.remove(key));
}

pub(crate) fn increment(key: &str, delta: i64, ttl_ms: Option<u64>) -> Result<i64, String> {
    with(|host| {
        host.forget_expired();
        let old = host.store.0.get(key);
        let number = old.and_then(|e| str::from_utf8(&e.value).ok()?.parse::<i64>().ok());
        let expires_at_ms = match old {
            Some(entry) => entry.expires_at_ms,
            None => ttl_ms.map(|ttl| host.now_ms.saturating_add(ttl)),
        };
        let sum = number.unwrap_or(0).saturating_add(delta);
        let value = sum.to_string().into_bytes();
        let entry = Entry {
            value,
            expires_at_ms,
        };
        host.store(key, entry).map(|()| sum)
    })
}

fn key(name: &str) -> Result<super::Key, KeyError> {
    with(|host| host.keys.get(name).cloned()).ok_or_else(|| KeyError::UnknownKey(name.to_owned()))
}

pub(crate) fn verify_jws(token: &str, name: &str) -> Result<Verified, KeyError> {
    let key = key(name)?;
    if token.len() > TOKEN_BYTES_MAX {
        let why = format!("the token has more than {TOKEN_BYTES_MAX} bytes");
        return Err(KeyError::Malformed(why));
    }
    jws::verify(&key, token)
}

pub(crate) fn hmac_sha256(name: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(jws::hmac(&key(name)?.secret, message).to_vec())
}

pub(crate) fn random(len: u32) -> Vec<u8> {
    // SplitMix64: no two values of a run alike, every run alike.
    let next = || {
        with(|host| {
            host.random = host.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = host.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        })
    };
    (0..len.min(RANDOM_BYTES_MAX))
        .map(|_| next().to_le_bytes()[0])
        .collect()
}

pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    // Taken out while it runs, so that it may look at the host itself.
    let mut answer = with(|host| {
        host.requests.push(request.clone());
        std::mem::replace(&mut host.http, Box::new(|_| Err(Error::Timeout)))
    });
    let response = answer(request);
    with(|host| host.http = answer);
    response
}
