//! Calls of every function that a component may import.

use rillway_plugin_sdk::{clock, crypto, http, kv, log, metrics};
use serde::Deserialize;
use serde_json::{Value, json};

/// A call of a capability, with its arguments; bytes are lists of numbers.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Call {
    /// `log.write` at a level: 0 = debug to 3 = error.
    LogWrite(u8, String),
    /// `metrics.add`.
    MetricsAdd(String, u64),
    /// `metrics.observe`.
    MetricsObserve(String, f64),
    /// What `config.get` returned at the start.
    ConfigGet,
    /// `clock.now-ms`.
    ClockNowMs,
    /// `clock.monotonic-ns`.
    ClockMonotonicNs,
    /// `kv.get`.
    KvGet(String),
    /// `kv.set`.
    KvSet(String, Vec<u8>, Option<u64>),
    /// `kv.delete`.
    KvDelete(String),
    /// `kv.increment`.
    KvIncrement(String, i64, Option<u64>),
    /// `crypto.verify-jws` of a token, with a key.
    CryptoVerifyJws(String, String),
    /// `crypto.hmac-sha256` with a key, of a message.
    CryptoHmacSha256(String, Vec<u8>),
    /// `crypto.random`.
    CryptoRandom(u32),
    /// `http.send`.
    HttpSend {
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        timeout_ms: u32,
    },
}

impl Call {
    /// Makes the call: null where it returns nothing, `{"ok": …}` or `{"err": …}` for a result.
    pub(crate) fn outcome(self, config: &Value) -> Value {
        match self {
            Call::LogWrite(level, message) => {
                let level = match level {
                    0 => log::Level::Debug,
                    1 => log::Level::Info,
                    2 => log::Level::Warn,
                    _ => log::Level::Error,
                };
                log::write(level, &message);
                Value::Null
            }
            Call::MetricsAdd(counter, delta) => {
                metrics::add(&counter, delta);
                Value::Null
            }
            Call::MetricsObserve(name, value) => {
                metrics::observe(&name, value);
                Value::Null
            }
            Call::ConfigGet => config.clone(),
            Call::ClockNowMs => json!(clock::now_ms()),
            Call::ClockMonotonicNs => json!(clock::monotonic_ns()),
            Call::KvGet(key) => json!(kv::get(&key)),
            Call::KvSet(key, value, ttl_ms) => result(kv::set(&key, &value, ttl_ms)),
            Call::KvDelete(key) => {
                kv::delete(&key);
                Value::Null
            }
            Call::KvIncrement(key, delta, ttl_ms) => result(kv::increment(&key, delta, ttl_ms)),
            Call::CryptoVerifyJws(token, key) => match crypto::verify_jws(&token, &key) {
                Ok(verified) => {
                    json!({"ok": {"header": verified.header, "payload": verified.payload}})
                }
                Err(error) => json!({"err": key_error(error)}),
            },
            Call::CryptoHmacSha256(key, message) => {
                result(crypto::hmac_sha256(&key, &message).map_err(key_error))
            }
            Call::CryptoRandom(len) => json!(crypto::random(len)),
            Call::HttpSend {
                method,
                url,
                headers,
                body,
                timeout_ms,
            } => send(&http::Request {
                method,
                url,
                headers,
                body,
                timeout_ms,
            }),
        }
    }
}

fn result<T: serde::Serialize, E: serde::Serialize>(result: Result<T, E>) -> Value {
    match result {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"err": error}),
    }
}

fn key_error(error: crypto::KeyError) -> Value {
    match error {
        crypto::KeyError::UnknownKey(key) => json!({"unknown_key": key}),
        crypto::KeyError::BadSignature => json!("bad_signature"),
        crypto::KeyError::Malformed(why) => json!({"malformed": why}),
    }
}

fn send(request: &http::Request) -> Value {
    match http::send(request) {
        Ok(response) => json!({"ok": {
            "status": response.status,
            "headers": response.headers,
            "body": response.body,
        }}),
        Err(error) => {
            let error = match error {
                http::Error::NotAllowed(origin) => json!({"not_allowed": origin}),
                http::Error::Invalid(why) => json!({"invalid": why}),
                http::Error::Timeout => json!("timeout"),
                http::Error::Failed(why) => json!({"failed": why}),
            };
            json!({"err": error})
        }
    }
}
