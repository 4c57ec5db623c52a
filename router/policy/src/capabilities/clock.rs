//! Time, and what else differs from one run to the next.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use super::crypto;

/// The arbitrary moment of the monotonic clock.
static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where an instance has time and random bytes from.
#[derive(Debug)]
pub(crate) enum Senses {
    /// The system.
    World,
    /// Whoever runs it: equal values and an equal seed make an equal run.
    Told(Box<Told>),
}

#[derive(Debug)]
pub(crate) struct Told {
    /// What the caller's zero is for those who count in `Instant`; only differences matter.
    pub(crate) base: Instant,
    /// Unix milliseconds of the caller's zero.
    pub(crate) unix_ms: u64,
    /// Since the caller's zero.
    pub(crate) now: Duration,
    pub(crate) random: ChaCha12Rng,
}

impl Senses {
    /// It is later now. Says nothing to the system.
    pub(crate) fn tell(&mut self, now: Duration) {
        if let Senses::Told(told) = self {
            told.now = now;
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Senses::World => Instant::now(),
            Senses::Told(told) => told.base.checked_add(told.now).unwrap_or(told.base),
        }
    }

    /// Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Senses::World => millis(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
            Senses::Told(told) => told.unix_ms.saturating_add(millis(told.now)),
        }
    }

    /// Nanoseconds since an arbitrary moment.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        let since = match self {
            Senses::World => BASE.elapsed(),
            Senses::Told(told) => told.now,
        };
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Bytes that nobody can guess, or everybody who knows the seed.
    pub(crate) fn random(&mut self, len: u32) -> Result<Vec<u8>, getrandom::Error> {
        let mut bytes = vec![0; crypto::random_len(len)];
        match self {
            Senses::World => getrandom::fill(&mut bytes)?,
            Senses::Told(told) => told.random.fill_bytes(&mut bytes),
        }
        Ok(bytes)
    }
}

fn millis(since: Duration) -> u64 {
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
