//! Asks an HTTP service of the operator who may join.
//!
//! Each attempt is a `POST` of JSON (only `scheme`, `protocol`, `remoteAddress` and `guestIdentity` are
//! always there; credentials that are no text come as `credentialsBase64`):
//!
//! ```json
//! {"scheme": "token", "credentials": "…", "room": "r", "name": "Ada", "remoteAddress": "192.0.2.7",
//!  "protocol": "signaling-rooms", "guestIdentity": "guest-0123456789abcdef", "attributes": {}}
//! ```
//!
//! signed in the header `rillway-signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA-256 of `SECONDS.BODY`
//! with the shared secret. A service compares in constant time and refuses a `t` that is minutes off, so
//! that nobody sends an old request again.
//!
//! It answers 200 with a grant, in which everything may be left out: room and identity are then those of
//! the request (the guest's identity), and the rest is not granted. Or it answers 401 (proves nobody), 403
//! (may not), 429 (quota), with `{"message": "…"}` for the client. **Every other answer, and none, keeps
//! the client out.**
//!
//! ```json
//! {"identity": "ada", "name": "Ada", "publish": ["camera", "microphone", "screen", "screen_audio"],
//!  "subscribe": true, "publishData": true, "recordControl": false, "maxPublishBps": 2500000,
//!  "expiresAtMs": 1767229200000, "attributes": {"team": "blue"}, "cacheSeconds": 60}
//! ```
//!
//! Grants are kept for `cache_s` seconds, or for fewer if the answer says so, and given again to whoever
//! asks for the same with the same credentials from the same address. Refusals are asked for again.
//!
//! ```toml
//! [plugins.auth-webhook.config]
//! url = "https://backend.example/rillway/join"   # its origin has to be in http_origins
//! key = "webhook"                                # the secret, a key of plugins.auth-webhook.keys
//! cache_s = 30                                   # 0: ask every time
//! timeout_ms = 0                                 # 0: as long as the call may take
//! ```
//!
//! The deadline of a call is short by default: raise it to what the service needs.
#![forbid(unsafe_code)]

mod answer;
mod cache;
mod question;
#[cfg(test)]
mod tests;

use rillway_plugin_sdk as sdk;
use sdk::authentication::Attempt;
use sdk::crypto::{self, KeyError};
use sdk::types::{Denial, Grant};
use sdk::{clock, http, log};
use serde::Deserialize;

use answer::Answer;
use question::Question;

/// `plugins.NAME.config`; see the crate's documentation.
#[derive(Debug, Deserialize)]
pub struct Config {
    url: String,
    key: String,
    #[serde(default = "thirty")]
    cache_s: u32,
    #[serde(default)]
    timeout_ms: u32,
}

fn thirty() -> u32 {
    30
}

/// The policy.
#[derive(Debug)]
pub struct Webhook {
    config: Config,
}

impl sdk::Plugin for Webhook {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        log::panics();
        if !config.url.starts_with("https://") && !config.url.starts_with("http://") {
            return Err("config: `url` has to begin with https:// or http://".to_owned());
        }
        if let Err(error) = crypto::hmac_sha256(&config.key, b"") {
            return Err(format!("config: `key`: {error}; it has to be a secret"));
        }
        Ok(Webhook { config })
    }
}

impl sdk::Authentication for Webhook {
    fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial> {
        let question = Question::new(&attempt);
        let key = match cache::key(&question, &self.config.key) {
            Ok(key) => key,
            Err(error) => return Err(unavailable(&error.to_string())),
        };
        let now_ms = clock::now_ms();
        if let Some(answer) = cache::get(&key) {
            let grant = answer.grant(&attempt)?;
            if grant.expires_at_ms.is_none_or(|at| at > now_ms) {
                return Ok(grant);
            }
        }
        let (answer, body) = self.ask(&question, now_ms)?;
        let ttl_s = answer.cache_seconds.unwrap_or(self.config.cache_s);
        let ttl_s = ttl_s.min(self.config.cache_s);
        if ttl_s > 0 {
            cache::set(&key, &body, ttl_s);
        }
        answer.grant(&attempt)
    }
}

impl Webhook {
    /// Asks the service: what it grants, and the body that says so.
    fn ask(&self, question: &Question<'_>, now_ms: u64) -> Result<(Answer, Vec<u8>), Denial> {
        let body = question.json();
        let signature = signature(&self.config.key, now_ms / 1_000, &body)
            .map_err(|error| unavailable(&error.to_string()))?;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let response = http::send(&http::Request {
            method: "POST".to_owned(),
            url: self.config.url.clone(),
            headers: vec![
                header("content-type", "application/json"),
                header("accept", "application/json"),
                header("rillway-signature", &signature),
            ],
            body,
            timeout_ms: self.config.timeout_ms,
        });
        let response = response.map_err(|error| unavailable(&error.to_string()))?;
        if response.status != 200 {
            return Err(answer::refusal(&response).unwrap_or_else(|| {
                unavailable(&format!("it answers with status {}", response.status))
            }));
        }
        match Answer::read(&response.body) {
            Ok(answer) => Ok((answer, response.body)),
            Err(error) => Err(unavailable(&format!("its grant is malformed: {error}"))),
        }
    }
}

/// `t=SECONDS,v1=HEX` of a body.
fn signature(key: &str, now_s: u64, body: &[u8]) -> Result<String, KeyError> {
    let mut signed = format!("{now_s}.").into_bytes();
    signed.extend_from_slice(body);
    let mac = crypto::hmac_sha256(key, &signed)?;
    Ok(format!("t={now_s},v1={}", hex(&mac)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The client is told that, the operator why.
fn unavailable(why: &str) -> Denial {
    log::warn(&format!(
        "the authentication service cannot be asked: {why}"
    ));
    Denial::Unavailable("the authentication service cannot be asked now".to_owned())
}

sdk::export!(Webhook: authentication);
