//! Admits whoever brings a signed token: a JWT (RFC 7519), signed by HS256, RS256, ES256 or EdDSA.
//!
//! The keys stay with the router; this policy knows their names. A token says who its bearer is and what it
//! may do, in one of two ways:
//!
//! ```json
//! {
//!   "sub": "ada", "name": "Ada", "exp": 1767229200, "attributes": {"team": "blue"},
//!   "rillway": {
//!     "room": "class-*", "publish": ["camera", "microphone"], "subscribe": true,
//!     "publishData": true, "recordControl": false, "maxPublishBps": 2500000
//!   }
//! }
//! ```
//!
//! `room` admits to one room, or with `*` (any run of characters) to every one that fits. What is left out
//! is not granted; `"publish": true` means every source. Without `sub` the bearer is a guest. The second
//! way is that of LiveKit's access tokens, whose `video` says the same: `roomJoin`, `room` (one room, never
//! a pattern), `canPublish`, `canPublishSources`, `canSubscribe`, `canPublishData`, `roomRecord`, with the
//! defaults that LiveKit gives them, and `metadata`, which becomes an attribute. `hidden` is refused, as
//! nobody is hidden here.
//!
//! ```toml
//! [plugins.auth-jwt.config]
//! keys = [
//!     { name = "main" },                          # a key of plugins.auth-jwt.keys
//!     { name = "next", kid = "2026-01" },         # for tokens whose header has this `kid`
//!     { name = "livekit", issuer = "APIabc" },    # for tokens with this `iss`
//! ]
//! leeway_s = 10             # how far clocks may be apart
//! audience = "rillway"      # `aud` has to have it; left out: `aud` does not matter
//! require_exp = true        # refuse tokens that never expire
//! exp_ends_session = true   # whether the participant has to leave when the token expires; left out:
//!                           # yes for `rillway`, no for LiveKit's, where `exp` is about joining
//! ```
#![forbid(unsafe_code)]

mod claims;
mod grant;
mod keys;
#[cfg(test)]
mod tests;

use rillway_plugin_sdk as sdk;
use sdk::authentication::Attempt;
use sdk::types::{Denial, Grant};
use serde::Deserialize;

use claims::Claims;

/// `plugins.NAME.config`; see the crate's documentation.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// Who may sign, tried in this order.
    keys: Vec<keys::Key>,
    #[serde(default = "ten")]
    leeway_s: u32,
    audience: Option<String>,
    #[serde(default = "yes")]
    require_exp: bool,
    exp_ends_session: Option<bool>,
}

fn ten() -> u32 {
    10
}

fn yes() -> bool {
    true
}

/// The policy.
#[derive(Debug)]
pub struct Jwt {
    config: Config,
}

impl sdk::Plugin for Jwt {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        keys::check(&config.keys)?;
        Ok(Jwt { config })
    }
}

impl sdk::Authentication for Jwt {
    fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial> {
        let unauthenticated = |why: &str| Denial::Unauthenticated(why.to_owned());
        if attempt.scheme != "token" || attempt.credentials.is_empty() {
            return Err(unauthenticated("a token is needed"));
        }
        let token = str::from_utf8(&attempt.credentials)
            .map_err(|_| unauthenticated("the token is malformed: it is no text"))?;
        let payload = keys::verify(&self.config.keys, token)?;
        let claims = Claims::read(&payload).map_err(Denial::Unauthenticated)?;
        claims
            .check(&self.config, sdk::clock::now_ms())
            .map_err(Denial::Unauthenticated)?;
        grant::grant(claims, attempt, self.config.exp_ends_session)
    }
}

sdk::export!(Jwt: authentication);
