//! Foreign code on peers' bytes: a panic in it must not end the worker.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a parser of the engine's that belongs to no transport; `None`: it panicked.
///
/// Only for work that leaves nothing half done. Work on a transport is guarded by
/// [`crate::transport::Transport::guard`], which ends that transport.
pub(crate) fn quietly<R>(what: &'static str, work: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(_) => {
            tracing::error!(what, "panic on a peer's bytes");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_no_result() {
        assert_eq!(quietly("sum", || 1 + 1), Some(2));
        assert_eq!(quietly("fault", || -> u8 { panic!("for a test") }), None);
    }
}
