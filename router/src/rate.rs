//! Token bucket for what a client may do so often.

use std::time::Instant;

/// Allows `per_second` on average and as many at once.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Bucket {
            per_second: f64::from(per_second),
            tokens: f64::from(per_second),
            at: now,
        }
    }

    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second);
        self.at = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(10, now);
        assert_eq!((0..20).filter(|_| bucket.take(now)).count(), 10);
        now += Duration::from_millis(350);
        assert_eq!((0..20).filter(|_| bucket.take(now)).count(), 3);
        now += Duration::from_secs(3_600);
        assert_eq!((0..20).filter(|_| bucket.take(now)).count(), 10);
    }
}
