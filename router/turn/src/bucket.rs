//! How often strangers are answered.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{SOURCES, STRANGERS_PER_SOURCE};

/// So many in each second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: u32,
    second: Instant,
    taken: u32,
}

impl Bucket {
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Bucket {
            rate,
            second: now,
            taken: 0,
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.taken = 0;
        }
        let allowed = self.taken < self.rate;
        self.taken += u32::from(allowed);
        allowed
    }
}

/// Bounds of answers to strangers: in total, and by source. Nothing is kept of a source but a count among
/// [`SOURCES`], found by a hash that nobody outside can predict.
#[derive(Debug)]
pub(crate) struct Strangers {
    total: Bucket,
    sources: Vec<Bucket>,
    hasher: RandomState,
}

impl Strangers {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Strangers {
            total: Bucket::new(per_second, now),
            sources: vec![Bucket::new(STRANGERS_PER_SOURCE, now); SOURCES],
            hasher: RandomState::new(),
        }
    }

    /// Whether one more is answered.
    pub(crate) fn take(&mut self, source: IpAddr, now: Instant) -> bool {
        let network = match source {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            // Whoever has one address of a /64 has them all.
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
        };
        let index = self.hasher.hash_one(network) as usize % SOURCES;
        self.sources[index].take(now) && self.total.take(now)
    }
}
