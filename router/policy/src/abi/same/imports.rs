//! The capabilities, in terms of the host's own.

use wasmtime::component::{HasSelf, Linker};

use super::bindings::rillway::policy::{clock, config, crypto, http, kv, log, metrics, types};
use crate::capabilities;
use crate::capabilities::log::Level;
use crate::context::Context;
use crate::kind::Capability;

/// Puts what was granted into a linker, and nothing else.
pub(super) fn link(linker: &mut Linker<Context>, granted: &[Capability]) -> wasmtime::Result<()> {
    // Types only: no function, nothing to grant.
    types::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)?;
    for capability in granted {
        match capability {
            Capability::Log => {
                log::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
            Capability::Metrics => {
                metrics::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
            Capability::Config => {
                config::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
            Capability::Clock => {
                clock::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
            Capability::Kv => {
                kv::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
            Capability::Crypto => {
                crypto::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
            Capability::Http => {
                http::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)
            }
        }?;
    }
    Ok(())
}

impl types::Host for Context {}

impl log::Host for Context {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        let commons = &self.commons;
        let now = self.senses.now();
        commons
            .log
            .write(&commons.name, self.kind, level, &message, now);
    }
}

impl metrics::Host for Context {
    fn add(&mut self, counter: String, delta: u64) {
        self.commons.metrics.add(&counter, delta);
    }

    fn observe(&mut self, name: String, value: f64) {
        self.commons.metrics.observe(&name, value);
    }
}

impl config::Host for Context {
    fn get(&mut self) -> String {
        self.grants.config.clone()
    }
}

impl clock::Host for Context {
    fn now_ms(&mut self) -> u64 {
        self.senses.now_ms()
    }

    fn monotonic_ns(&mut self) -> u64 {
        self.senses.monotonic_ns()
    }
}

impl kv::Host for Context {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        self.commons.kv.get(&key, self.senses.now())
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<(), String> {
        self.commons.kv.set(&key, value, ttl_ms, self.senses.now())
    }

    fn delete(&mut self, key: String) {
        self.commons.kv.delete(&key);
    }

    fn increment(&mut self, key: String, delta: i64, ttl_ms: Option<u64>) -> Result<i64, String> {
        self.commons
            .kv
            .increment(&key, delta, ttl_ms, self.senses.now())
    }
}

impl From<capabilities::crypto::KeyError> for crypto::KeyError {
    fn from(error: capabilities::crypto::KeyError) -> Self {
        use capabilities::crypto::KeyError;
        match error {
            KeyError::UnknownKey(key) => crypto::KeyError::UnknownKey(key),
            KeyError::BadSignature => crypto::KeyError::BadSignature,
            KeyError::Malformed(problem) => crypto::KeyError::Malformed(problem),
        }
    }
}

impl crypto::Host for Context {
    fn verify_jws(
        &mut self,
        token: String,
        key: String,
    ) -> Result<crypto::Verified, crypto::KeyError> {
        let verified = self.grants.keys.verify_jws(&token, &key)?;
        Ok(crypto::Verified {
            header: verified.header,
            payload: verified.payload,
        })
    }

    fn hmac_sha256(&mut self, key: String, message: Vec<u8>) -> Result<Vec<u8>, crypto::KeyError> {
        Ok(self.grants.keys.hmac_sha256(&key, &message)?)
    }

    fn random(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        Ok(self.senses.random(len)?)
    }
}

impl http::Host for Context {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::Error>> {
        use capabilities::http::{Error, Request};
        let request = Request {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout_ms: request.timeout_ms,
        };
        Ok(match Context::send(self, request).await? {
            Ok(response) => Ok(http::Response {
                status: response.status,
                headers: response.headers,
                body: response.body,
            }),
            Err(error) => Err(match error {
                Error::NotAllowed(origin) => http::Error::NotAllowed(origin),
                Error::Invalid(problem) => http::Error::Invalid(problem),
                Error::Timeout => http::Error::Timeout,
                Error::Failed(problem) => http::Error::Failed(problem),
            }),
        })
    }
}
