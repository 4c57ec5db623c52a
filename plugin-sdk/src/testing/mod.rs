//! A scripted host for tests: what the capabilities answer when a plugin runs natively, and what it did
//! with them. Each thread has its own, so tests do not meet.
//!
//! ```
//! use rillway_plugin_sdk::{kv, testing};
//!
//! testing::install(testing::Host {
//!     now_ms: 1_000,
//!     ..testing::Host::default()
//! });
//! kv::set("seen", b"yes", Some(500)).unwrap();
//! testing::with(|host| host.now_ms = 1_500);
//! assert_eq!(kv::get("seen"), None);
//! ```

pub(crate) mod answers;
mod jws;
mod views;

pub use views::changes;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::http::{Error, Request, Response};
use crate::log::Level;
use crate::{Plugin, config};

/// Bytes that the store of a [`Host`] holds unless a test says otherwise.
pub const KV_BYTES_MAX: usize = 1024 * 1024;

/// What answers the requests of a [`Host`].
pub type Answer = Box<dyn FnMut(&Request) -> Result<Response, Error>>;

/// What stands in for the router.
pub struct Host {
    /// `plugins.NAME.config`, JSON.
    pub config: String,
    /// Unix milliseconds; it stands still until a test moves it.
    pub now_ms: u64,
    /// Nanoseconds since an arbitrary moment.
    pub monotonic_ns: u64,
    /// Keys by name.
    pub keys: BTreeMap<String, Key>,
    /// What answers requests.
    pub http: Answer,
    /// Bound of the store: bytes of keys and values.
    pub kv_bytes_max: usize,
    /// Lines written so far.
    pub log: Vec<(Level, String)>,
    /// Counters so far.
    pub counters: BTreeMap<String, u64>,
    /// Values noted so far.
    pub observed: Vec<(String, f64)>,
    /// Requests sent so far.
    pub requests: Vec<Request>,
    /// What `kv` holds.
    pub store: Store,
    /// State of the random numbers: the same seed, the same numbers.
    pub random: u64,
}

/// What [`kv`](crate::kv) holds; looked at by its functions.
#[derive(Debug, Default)]
pub struct Store(BTreeMap<String, answers::Entry>);

/// A key of the scripted host. Whatever its algorithm is called, it signs with HMAC-SHA-256, so that a test
/// needs no key pair: see [`Key::sign`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `HS256`, `RS256`, `ES256` or `EdDSA`: what a token has to name.
    pub algorithm: String,
    /// The secret.
    pub secret: Vec<u8>,
}

impl Key {
    /// A key for an algorithm.
    #[must_use]
    pub fn new(algorithm: &str, secret: &[u8]) -> Self {
        Key {
            algorithm: algorithm.to_owned(),
            secret: secret.to_vec(),
        }
    }

    /// A compact JWS (RFC 7515 §7.1) that the scripted host's `crypto` finds good for this key.
    #[must_use]
    pub fn sign(&self, header: &serde_json::Value, payload: &serde_json::Value) -> String {
        jws::sign(
            &self.secret,
            &header.to_string(),
            payload.to_string().as_bytes(),
        )
    }
}

impl Default for Host {
    fn default() -> Self {
        Host {
            config: "{}".to_owned(),
            now_ms: 0,
            monotonic_ns: 0,
            keys: BTreeMap::new(),
            http: Box::new(|request| Err(Error::NotAllowed(request.url.clone()))),
            kv_bytes_max: KV_BYTES_MAX,
            log: Vec::new(),
            counters: BTreeMap::new(),
            observed: Vec::new(),
            requests: Vec::new(),
            store: Store::default(),
            random: 1,
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("config", &self.config)
            .field("now_ms", &self.now_ms)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::default());
}

/// Makes `host` the host of this thread. Every test begins with this, as a thread may run several.
pub fn install(host: Host) {
    HOST.set(host);
}

/// Looks at this thread's host, or changes it.
///
/// # Panics
/// If `look` uses a capability itself.
pub fn with<R>(look: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(look)
}

/// An instance of a plugin, as the router begins one: its configuration is that of this thread's host.
///
/// # Errors
/// As `lifecycle.start`: what the operator would be told.
pub fn start<P: Plugin>() -> Result<P, String> {
    P::start(config::read(|| with(|host| host.config.clone()))?)
}
