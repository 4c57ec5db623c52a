//! What a plugin may ask of the router: imports of a component, a scripted host natively.

pub mod clock;
pub mod crypto;
pub mod http;
pub mod kv;
pub mod log;
pub mod metrics;

#[cfg(target_arch = "wasm32")]
use crate::guest::host as backend;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::answers as backend;
