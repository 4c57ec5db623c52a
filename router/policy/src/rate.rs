//! Token buckets.

use std::time::{Duration, Instant};

/// Lets `per_second` units through in a second; the burst is one second's worth.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, now: Instant) -> Bucket {
        let per_second = f64::from(per_second.max(1));
        Bucket {
            per_second,
            tokens: per_second,
            at: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second);
        self.at = self.at.max(now);
    }

    /// Takes `units` if they are there.
    pub(crate) fn take(&mut self, units: f64, now: Instant) -> bool {
        self.refill(now);
        let there = self.tokens >= units;
        if there {
            self.tokens -= units;
        }
        there
    }

    /// Takes `units` that have been used already; what follows waits for them.
    pub(crate) fn charge(&mut self, units: f64, now: Instant) {
        self.refill(now);
        self.tokens -= units;
    }

    /// Takes `units`, on credit if they are not there, and returns how long they are away. Nothing is
    /// taken, and `None` returned, where that is longer than `patience`.
    pub(crate) fn reserve(
        &mut self,
        units: f64,
        patience: Duration,
        now: Instant,
    ) -> Option<Duration> {
        self.refill(now);
        let missing = (units - self.tokens).max(0.0);
        let wait = Duration::from_secs_f64(missing / self.per_second);
        (wait <= patience).then(|| {
            self.tokens -= units;
            wait
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_what_it_may_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let taken = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(1.0, at)).count();
        assert_eq!(taken(&mut bucket, start), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 10);
    }

    #[test]
    fn what_was_used_is_paid_for_later() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        bucket.charge(30.0, now);
        assert!(!bucket.take(1.0, now + Duration::from_millis(2_000)));
        assert!(bucket.take(1.0, now + Duration::from_millis(2_200)));
    }

    #[test]
    fn credit_has_a_bound() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        let patience = Duration::from_millis(250);
        assert_eq!(bucket.reserve(10.0, patience, now), Some(Duration::ZERO));
        assert_eq!(
            bucket.reserve(2.0, patience, now),
            Some(Duration::from_millis(200))
        );
        assert_eq!(bucket.reserve(1.0, patience, now), None);
        let later = now + Duration::from_millis(300);
        assert_eq!(bucket.reserve(1.0, patience, later), Some(Duration::ZERO));
    }
}
