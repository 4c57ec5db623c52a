//! How long packets stay in the router: from the kernel's receive queue to its send queue.
//!
//! The kernel stamps what arrives; a packet is gone when the turn that forwarded it has given everything to
//! the kernel. So time spent waiting for the worker's thread counts, and so does every other packet of the
//! turn; what a pacer holds back for a later turn does not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::counters::{Buckets, LATENCY_MICROS, WorkerStats};

/// Longest that is told apart, microseconds.
const LONGEST_MICROS: u64 = 10_000_000;
/// Two digits: steps of at most 1 %.
const DIGITS: u8 = 2;

/// Forwarding latency since start, microseconds.
pub(crate) type Fine = Histogram<u64>;

/// An empty one. Its memory is fixed: about 30 KiB.
pub(crate) fn fine() -> Fine {
    let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, DIGITS);
    histogram.expect("bounds that the library allows")
}

/// What a worker measures.
pub(super) struct Latency {
    /// When the message that is being taken apart arrived, nanoseconds since the epoch; 0: nobody knows.
    arrived: u64,
    /// Arrivals of this turn that were forwarded. Its capacity is its bound.
    waiting: Vec<u64>,
    fine: Fine,
    coarse: Buckets<15>,
}

impl Latency {
    /// For turns that receive at most `datagrams`.
    pub(super) fn new(datagrams: usize) -> Self {
        Latency {
            arrived: 0,
            waiting: Vec::with_capacity(datagrams),
            fine: fine(),
            coarse: Buckets::new(&LATENCY_MICROS),
        }
    }

    /// The datagrams that follow arrived then.
    pub(super) fn message(&mut self, arrived: Option<Duration>) {
        self.arrived = arrived.map_or(0, nanos);
    }

    /// One of them was forwarded.
    pub(super) fn forwarded(&mut self) {
        if self.arrived != 0 && self.waiting.len() < self.waiting.capacity() {
            self.waiting.push(self.arrived);
        }
    }

    /// The turn's packets are the kernel's.
    pub(super) fn sent(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.sent_at(now.unwrap_or_default());
    }

    fn sent_at(&mut self, now: Duration) {
        let now = nanos(now);
        for arrived in self.waiting.drain(..) {
            // A wall clock that was set back makes it 0.
            let micros = now.saturating_sub(arrived) / 1_000;
            self.fine.saturating_record(micros);
            self.coarse.add(micros);
        }
    }

    /// Counts by the bounds of the metric.
    pub(super) fn coarse(&self) -> Buckets<15> {
        self.coarse
    }
}

/// Nanoseconds since the epoch: they fit until the year 2554.
fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(time.subsec_nanos()))
}

/// What a worker shows of itself once a second, for whoever looks.
#[derive(Clone)]
pub(crate) struct Window(Arc<Mutex<Seen>>);

/// The last look into a worker.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Its counters; `None`: it has not run for a second yet.
    pub(crate) stats: Option<WorkerStats>,
    /// Forwarding latency since start, microseconds.
    pub(crate) latency: Fine,
    /// How often it has been shown.
    shown: u64,
    /// When it was shown.
    pub(crate) at: Option<Instant>,
}

impl Window {
    pub(super) fn new() -> Self {
        Window(Arc::new(Mutex::new(Seen {
            stats: None,
            latency: fine(),
            shown: 0,
            at: None,
        })))
    }

    /// Shows it. The worker never waits: if somebody is looking, they see the last second's.
    pub(super) fn show(&self, now: Instant, stats: &WorkerStats, latency: &Latency) {
        if let Ok(mut seen) = self.0.try_lock() {
            seen.stats = Some(*stats);
            seen.shown += 1;
            seen.at = Some(now);
            seen.latency.reset();
            // Both have the same bounds.
            let _ = seen.latency.add(&latency.fine);
        }
    }

    /// How often it has been shown: a worker whose count stands makes no progress.
    pub(crate) fn shown(&self) -> u64 {
        match self.0.lock() {
            Ok(seen) => seen.shown,
            Err(poisoned) => poisoned.into_inner().shown,
        }
    }

    /// What was shown last.
    pub(crate) fn look(&self) -> Seen {
        match self.0.lock() {
            Ok(seen) => seen.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_the_arrival_to_the_end_of_the_turn() {
        let mut latency = Latency::new(3);
        let at = Duration::from_micros;
        latency.message(None);
        latency.forwarded();
        latency.sent_at(at(1_000));
        assert_eq!(latency.fine.len(), 0, "nobody knows when it arrived");
        latency.message(Some(at(1_000)));
        latency.forwarded();
        latency.forwarded();
        latency.message(Some(at(9_000)));
        latency.forwarded();
        latency.forwarded();
        latency.sent_at(at(1_200));
        assert_eq!(latency.fine.len(), 3, "no more than there is room for");
        assert_eq!(latency.fine.max(), 200);
        assert_eq!(latency.fine.min(), 0, "the clock was set back");
        assert!(latency.waiting.is_empty());
        latency.message(Some(at(1)));
        latency.forwarded();
        latency.sent_at(Duration::from_secs(60));
        assert!(latency.fine.max() >= LONGEST_MICROS);
        let window = Window::new();
        assert!(window.look().stats.is_none());
        let coarse = latency.coarse();
        let mut other = Buckets::<15>::new(&LATENCY_MICROS);
        for micros in [200, 200, 0, 59_999_999] {
            other.add(micros);
        }
        assert_eq!(coarse, other);
    }
}
