//! Counters of a plugin, kept without locks, and their readable form.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::breaker::BreakerState;
use crate::error::{Fault, Refusal};
use crate::kind::Kind;

/// Upper bounds of the histogram's buckets, microseconds; one more bucket holds what is longer.
pub const BUCKETS_US: [u64; 30] = [
    1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1_000, 2_000, 3_000, 5_000, 7_000,
    10_000, 20_000, 30_000, 50_000, 70_000, 100_000, 200_000, 300_000, 500_000, 1_000_000,
];

/// How long calls took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    /// Calls by bucket of [`BUCKETS_US`], not cumulative; the last is beyond all of them.
    pub counts: Vec<u64>,
    /// Sum of all, microseconds.
    pub sum_us: u64,
}

impl Durations {
    /// Calls in total.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The duration that the given share of calls stayed below, microseconds: the upper bound of the
    /// bucket it lies in, at most twice the truth. `None` without calls.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among calls: above 2^53 of them nobody cares"
        )]
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|calls| {
            seen += calls;
            seen >= rank
        })?;
        Some(BUCKETS_US.get(bucket).copied().unwrap_or(2_000_000))
    }
}

/// Counters of one kind of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindStats {
    /// The kind.
    pub kind: Kind,
    /// Calls that were entered, with those that ended in a fault.
    pub calls: u64,
    /// How long they took, with the time they waited for HTTP.
    pub durations: Durations,
    /// Faults by name (`trapped`, `timeout`, `memory`, `excess`, `start`).
    pub faults: [(&'static str, u64); 5],
    /// What was refused before it was entered, by reason.
    pub refused: [(&'static str, u64); 4],
    /// Instances at the moment.
    pub instances: usize,
    /// Instances made so far.
    pub instances_made: u64,
    /// Linear memory of the present instances, bytes.
    pub memory_bytes: u64,
    /// Linear memory of the largest instance there has been, bytes.
    pub memory_bytes_max: u64,
    /// Bytes handed in.
    pub bytes_in: u64,
    /// Bytes handed out.
    pub bytes_out: u64,
    /// The breaker of the version that new instances get.
    pub breaker: BreakerState,
}

impl KindStats {
    /// Faults of all names.
    #[must_use]
    pub fn faults_total(&self) -> u64 {
        self.faults.iter().map(|(_, count)| count).sum()
    }

    /// What was refused, for any reason.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|(_, count)| count).sum()
    }

    /// Faults of one name.
    #[must_use]
    pub fn faults(&self, name: &str) -> u64 {
        count(&self.faults, name)
    }

    /// Refusals for one reason.
    #[must_use]
    pub fn refused(&self, name: &str) -> u64 {
        count(&self.refused, name)
    }
}

fn count(counts: &[(&'static str, u64)], name: &str) -> u64 {
    counts
        .iter()
        .find(|(n, _)| *n == name)
        .map_or(0, |(_, count)| *count)
}

const FAULTS: [&str; 5] = ["trapped", "timeout", "memory", "excess", "start"];
const REFUSALS: [&str; 4] = ["instances", "rate", "busy", "breaker"];

/// Counts durations by bucket of [`BUCKETS_US`].
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: std::array::from_fn(|_| AtomicU64::default()),
            sum_us: AtomicU64::default(),
        }
    }
}

impl Histogram {
    pub(crate) fn note(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Durations {
        Durations {
            counts: self.buckets.iter().map(|c| c.load(Relaxed)).collect(),
            sum_us: self.sum_us.load(Relaxed),
        }
    }
}

/// The counters themselves. Relaxed: each stands for itself.
#[derive(Debug)]
pub(crate) struct Counters {
    calls: AtomicU64,
    durations: Histogram,
    faults: [AtomicU64; FAULTS.len()],
    refused: [AtomicU64; REFUSALS.len()],
    pub(crate) instances: AtomicUsize,
    instances_made: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    memory_bytes_max: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            calls: AtomicU64::default(),
            durations: Histogram::default(),
            faults: std::array::from_fn(|_| AtomicU64::default()),
            refused: std::array::from_fn(|_| AtomicU64::default()),
            instances: AtomicUsize::default(),
            instances_made: AtomicU64::default(),
            memory_bytes: AtomicU64::default(),
            memory_bytes_max: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
        }
    }
}

fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Instances => "instances",
        Refusal::Rate => "rate",
        Refusal::Busy => "busy",
        Refusal::BreakerOpen { .. } => "breaker",
    }
}

impl Counters {
    pub(crate) fn call(&self, took: Duration, bytes_in: usize) {
        self.calls.fetch_add(1, Relaxed);
        self.durations.note(took);
        self.bytes_in.fetch_add(bytes_in as u64, Relaxed);
    }

    pub(crate) fn returned(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn made(&self) {
        self.instances_made.fetch_add(1, Relaxed);
    }

    /// An instance's memory went from one size to another.
    pub(crate) fn memory(&self, before: usize, after: usize) {
        if before != after {
            self.memory_bytes.fetch_add(after as u64, Relaxed);
            self.memory_bytes.fetch_sub(before as u64, Relaxed);
            self.memory_bytes_max.fetch_max(after as u64, Relaxed);
        }
    }

    pub(crate) fn fault(&self, fault: &Fault) {
        let (names, counters, name): (&[&str], &[AtomicU64], _) = match fault {
            Fault::Refused(refusal) => (&REFUSALS, &self.refused, refusal_name(*refusal)),
            other => (&FAULTS, &self.faults, other.name()),
        };
        let index = names.iter().position(|n| *n == name);
        if let Some(counter) = index.and_then(|index| counters.get(index)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn calls_now(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    pub(crate) fn faults_now(&self) -> u64 {
        self.faults.iter().map(|c| c.load(Relaxed)).sum()
    }

    pub(crate) fn snapshot(&self, kind: Kind, breaker: BreakerState) -> KindStats {
        KindStats {
            kind,
            calls: self.calls.load(Relaxed),
            durations: self.durations.snapshot(),
            faults: std::array::from_fn(|i| (FAULTS[i], self.faults[i].load(Relaxed))),
            refused: std::array::from_fn(|i| (REFUSALS[i], self.refused[i].load(Relaxed))),
            instances: self.instances.load(Relaxed),
            instances_made: self.instances_made.load(Relaxed),
            memory_bytes: self.memory_bytes.load(Relaxed),
            memory_bytes_max: self.memory_bytes_max.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            breaker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(counters: &Counters) -> KindStats {
        counters.snapshot(Kind::Signaling, BreakerState::Closed)
    }

    #[test]
    fn buckets_grow_and_quantiles_lie_in_them() {
        assert!(BUCKETS_US.windows(2).all(|pair| pair[0] < pair[1]));
        let counters = Counters::default();
        assert_eq!(snapshot(&counters).durations.quantile_us(0.5), None);
        for us in 1..=100 {
            counters.call(Duration::from_micros(us), 10);
        }
        counters.call(Duration::from_secs(5), 10);
        let stats = snapshot(&counters);
        assert_eq!(stats.calls, 101);
        assert_eq!(stats.bytes_in, 1_010);
        assert_eq!(stats.durations.count(), 101);
        assert_eq!(stats.durations.quantile_us(0.5), Some(70));
        assert_eq!(stats.durations.quantile_us(0.99), Some(100));
        assert_eq!(stats.durations.quantile_us(1.0), Some(2_000_000));
        assert_eq!(stats.durations.sum_us, 5_050 + 5_000_000);
    }

    #[test]
    fn every_fault_has_its_counter() {
        let counters = Counters::default();
        for fault in [
            Fault::Trapped(String::new()),
            Fault::Timeout(Duration::ZERO),
            Fault::Memory,
            Fault::Excess(crate::error::Excess::Bytes),
            Fault::Start(String::new()),
            Fault::Refused(Refusal::Instances),
            Fault::Refused(Refusal::Rate),
            Fault::Refused(Refusal::Busy),
            Fault::Refused(Refusal::BreakerOpen {
                retry_in: Duration::ZERO,
            }),
        ] {
            counters.fault(&fault);
        }
        let stats = snapshot(&counters);
        assert!(stats.faults.iter().all(|(_, count)| *count == 1));
        assert!(stats.refused.iter().all(|(_, count)| *count == 1));
        assert_eq!((stats.faults_total(), stats.refused_total()), (5, 4));
    }

    #[test]
    fn memory_is_a_sum_and_a_maximum() {
        let counters = Counters::default();
        counters.memory(0, 1_000);
        counters.memory(0, 3_000);
        counters.memory(3_000, 0);
        let stats = snapshot(&counters);
        assert_eq!((stats.memory_bytes, stats.memory_bytes_max), (1_000, 3_000));
    }
}
