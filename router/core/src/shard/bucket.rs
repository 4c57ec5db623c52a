//! Token buckets.

use std::time::Instant;

/// Allows `rate` units per second and as many at once. Starts full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: u32,
    /// Millionths of a unit, so that short intervals add up.
    level: u64,
    filled: Instant,
}

const UNIT: u64 = 1_000_000;

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Bucket {
            rate,
            level: u64::from(rate) * UNIT,
            filled: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.filled).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let full = u64::from(self.rate) * UNIT;
        let gained = micros.saturating_mul(u64::from(self.rate));
        self.level = self.level.saturating_add(gained).min(full);
        self.filled = self.filled.max(now);
    }

    /// Takes `units` if they are there.
    pub(crate) fn take(&mut self, now: Instant, units: u32) -> bool {
        self.fill(now);
        match self.level.checked_sub(u64::from(units) * UNIT) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }

    /// Whether a unit is there.
    pub(crate) fn has(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= UNIT
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // Tests may look at the clock; the core may not.
    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn it_gives_one_second_at_once_and_then_the_rate() {
        let start = start();
        let mut bucket = Bucket::new(10, start);
        assert!(bucket.take(start, 10));
        assert!(!bucket.take(start, 1));
        assert!(!bucket.has(start + Duration::from_millis(99)));
        assert!(bucket.take(start + Duration::from_millis(100), 1));
        assert!(!bucket.take(start + Duration::from_millis(100), 1));
        assert!(bucket.take(start + Duration::from_secs(3600), 10));
        assert!(!bucket.take(start + Duration::from_secs(3600), 1));
    }

    #[test]
    fn many_short_steps_add_up() {
        let start = start();
        let mut bucket = Bucket::new(1, start);
        assert!(bucket.take(start, 1));
        let mut given = 0;
        for micros in (0..5_000_000).step_by(700) {
            if bucket.take(start + Duration::from_micros(micros), 1) {
                given += 1;
            }
        }
        assert_eq!(given, 4);
    }
}
