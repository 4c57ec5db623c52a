//! A small store that all instances of one plugin share, in the router's memory: a cache and a counter, no
//! database. Gone when the router ends; kept over a reload of the plugin. WIT: `rillway:policy/kv`.
//!
//! A key has 1 to 256 bytes.

use super::backend;

/// The value, if it is there and has not expired.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    backend::get(key)
}

/// Stores a value; with `ttl_ms` it is forgotten after so many milliseconds.
///
/// # Errors
/// The store's bound (`kv_bytes_max`) is met, or the key has a wrong length; nothing changed.
pub fn set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), String> {
    backend::set(key, value, ttl_ms)
}

/// Forgets a value.
pub fn delete(key: &str) {
    backend::delete(key);
}

/// Adds to a number and returns the sum; what is missing or no number counts as 0. For quotas: no two
/// instances see the same sum. A `ttl_ms` counts from the first addition.
///
/// # Errors
/// As [`set`].
pub fn increment(key: &str, delta: i64, ttl_ms: Option<u64>) -> Result<i64, String> {
    backend::increment(key, delta, ttl_ms)
}
