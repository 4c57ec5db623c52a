//! Time of a run: nanoseconds since it began, the same for all its threads, and the part of it that is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts from the beginning of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Clock(Instant::now())
    }

    pub(crate) fn ns(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.0).as_nanos() as u64
    }
}

/// What is measured: packets sent from its beginning to its end.
#[derive(Debug, Clone)]
pub(crate) struct Window(Arc<[AtomicU64; 2]>);

impl Window {
    /// One that has not begun.
    pub(crate) fn new() -> Self {
        Window(Arc::new([u64::MAX, u64::MAX].map(AtomicU64::new)))
    }

    /// From one time to another, both yet to come.
    pub(crate) fn set(&self, begin_ns: u64, end_ns: u64) {
        let [begin, end] = &*self.0;
        end.store(end_ns, Ordering::Relaxed);
        begin.store(begin_ns, Ordering::Relaxed);
    }

    /// Whether this is in it.
    pub(crate) fn holds(&self, at_ns: u64) -> bool {
        let [begin, end] = &*self.0;
        at_ns >= begin.load(Ordering::Relaxed) && at_ns < end.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_is_from_its_beginning_to_its_end() {
        let window = Window::new();
        assert!(!window.holds(5));
        window.set(5, 9);
        let held = [4, 5, 8, 9].map(|at| window.holds(at));
        assert_eq!(held, [false, true, true, false]);
    }
}
