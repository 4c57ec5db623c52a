//! Time. WIT: `rillway:policy/clock`.

use super::backend;

/// Unix milliseconds. May jump when the machine's clock is set.
#[must_use]
pub fn now_ms() -> u64 {
    backend::now_ms()
}

/// Nanoseconds since an arbitrary moment; never goes back.
#[must_use]
pub fn monotonic_ns() -> u64 {
    backend::monotonic_ns()
}
