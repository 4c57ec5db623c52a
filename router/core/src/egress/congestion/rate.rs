//! The rate that delays allow: up carefully while the path is fine, down when a queue grows
//! (draft-ietf-rmcat-gcc-02 §5.5).

use std::time::{Duration, Instant};

use super::delay::Usage;

/// What is kept of the arriving rate when a queue grows.
const BACK_OFF: f64 = 0.85;

/// What is kept of the rate at least, where what is sent is far less than it.
const BACK_OFF_LIMITED: f64 = 0.6;

/// Growth in a second far from where the path was full last.
const GROWTH: f64 = 1.08;

/// The rate grows only while this share of it arrives: what is not used is not known.
const USED: f64 = 0.85;

/// How long a decision takes to show: beside a round trip, what feedback waits.
const RESPONSE: Duration = Duration::from_millis(100);

/// Bits of a packet, for growth near the limit: one more in each response time.
const PACKET_BITS: f64 = 9_600.0;

/// Bounds of the rate, bits per second. Below the least there is no picture to choose.
pub(super) const RATE_BPS: (f64, f64) = (64_000.0, 200_000_000.0);

/// The controller.
#[derive(Debug)]
pub(super) struct RateControl {
    bps: f64,
    increasing: bool,
    changed: Option<Instant>,
    decreased: Option<Instant>,
    limit: Limit,
}

/// Where the path was full, as a mean with its relative variance.
#[derive(Debug, Default)]
struct Limit {
    mean_bps: Option<f64>,
    variance: f64,
}

impl Limit {
    /// Three deviations either way.
    fn range(&self) -> Option<(f64, f64)> {
        let mean = self.mean_bps?;
        let deviation = (self.variance * mean / 1_000.0).sqrt() * 1_000.0;
        Some((mean - 3.0 * deviation, mean + 3.0 * deviation))
    }

    fn learn(&mut self, bps: f64) {
        if self
            .range()
            .is_some_and(|(least, most)| bps < least || bps > most)
        {
            *self = Limit::default();
        }
        let mean = match self.mean_bps {
            Some(mean) => mean * 0.95 + bps * 0.05,
            None => bps,
        };
        self.mean_bps = Some(mean);
        let error = (mean - bps) / 1_000.0;
        let norm = (mean / 1_000.0).max(1.0);
        let variance = self.variance.max(0.4) * 0.95 + 0.05 * error * error / norm;
        self.variance = variance.clamp(0.4, 2.5);
    }
}

/// What is known when feedback came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knowledge {
    pub(super) usage: Usage,
    /// Bits per second that arrived over the last half second.
    pub(super) arriving_bps: Option<f64>,
    /// Over the last fifth of a second.
    pub(super) just_now_bps: Option<f64>,
    /// Bits per second that left over the last half second.
    pub(super) leaving_bps: Option<f64>,
    pub(super) round_trip: Duration,
}

impl Knowledge {
    /// Whether so much is sent.
    pub(super) fn is_telling(&self, bps: f64) -> bool {
        self.leaving_bps.is_some_and(|leaving| leaving >= bps)
    }
}

impl RateControl {
    /// Begins at a rate.
    pub(super) fn new(bps: f64) -> Self {
        RateControl {
            bps,
            increasing: true,
            changed: None,
            decreased: None,
            limit: Limit::default(),
        }
    }

    /// The rate, bits per second.
    pub(super) fn bps(&self) -> f64 {
        self.bps
    }

    /// Whether the path was found full at about this rate.
    pub(super) fn is_near_limit(&self) -> bool {
        self.limit
            .range()
            .is_some_and(|(least, _)| self.bps > least * BACK_OFF)
    }

    /// Something else has shown that the path carries so much and, where `full`, no more.
    pub(super) fn set(&mut self, bps: f64, full: bool) {
        let raised = bps > self.bps;
        self.bps = bps.clamp(RATE_BPS.0, RATE_BPS.1);
        if full {
            self.limit.learn(self.bps);
        } else if raised {
            self.limit = Limit::default();
        }
    }

    /// The path carries so much; where it is full is as known as before.
    pub(super) fn raise(&mut self, bps: f64) {
        self.bps = self.bps.max(bps).min(RATE_BPS.1);
    }

    /// Feedback came in. True: the rate was lowered. `limited`: what is sent is far less than the rate.
    pub(super) fn update(&mut self, now: Instant, known: &Knowledge, limited: bool) -> bool {
        let elapsed = self
            .changed
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.changed = Some(now);
        match known.usage {
            Usage::Over => return self.decrease(now, known, limited),
            // The queue drains first.
            Usage::Under => self.increasing = false,
            // After a decrease one round is waited.
            Usage::Normal if !self.increasing => self.increasing = true,
            Usage::Normal => self.increase(known, elapsed.min(Duration::from_secs(1))),
        }
        false
    }

    fn decrease(&mut self, now: Instant, known: &Knowledge, limited: bool) -> bool {
        self.increasing = false;
        // Once in a response time: what is measured now left before the last decision.
        let pause = (known.round_trip + RESPONSE).min(Duration::from_millis(400));
        let recent = self
            .decreased
            .is_some_and(|at| now.saturating_duration_since(at) < pause);
        let arriving = known.just_now_bps.unwrap_or(self.bps);
        if recent && arriving > self.bps * 0.5 {
            return false;
        }
        self.decreased = Some(now);
        let mut lowered = (arriving * BACK_OFF).clamp(RATE_BPS.0, RATE_BPS.1);
        if limited {
            // What arrives is no measure of the path: step by step, while the queue stays.
            lowered = lowered.max(self.bps * BACK_OFF_LIMITED);
        } else {
            self.limit.learn(arriving);
        }
        let falls = lowered < self.bps;
        if falls {
            self.bps = lowered;
        }
        falls
    }

    fn increase(&mut self, known: &Knowledge, elapsed: Duration) {
        let Some(arriving) = known.arriving_bps else {
            return;
        };
        if arriving < self.bps * USED {
            return;
        }
        let range = self.limit.range();
        if range.is_some_and(|(_, most)| arriving > most) {
            self.limit = Limit::default();
        }
        let near = range.is_some_and(|(least, most)| (least..=most).contains(&self.bps));
        let raised = if near {
            let responses = elapsed.as_secs_f64() / (known.round_trip + RESPONSE).as_secs_f64();
            self.bps + PACKET_BITS * responses
        } else {
            let factor = GROWTH.powf(elapsed.as_secs_f64());
            (self.bps * factor).max(self.bps + 10_000.0 * elapsed.as_secs_f64())
        };
        self.bps = raised.min((arriving / USED).max(self.bps)).min(RATE_BPS.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::testing::start;

    fn known(usage: Usage, arriving_bps: f64) -> Knowledge {
        Knowledge {
            usage,
            arriving_bps: Some(arriving_bps),
            just_now_bps: Some(arriving_bps),
            leaving_bps: Some(arriving_bps),
            round_trip: Duration::from_millis(50),
        }
    }

    #[test]
    fn it_grows_only_with_what_arrives() {
        let now = start();
        let mut rate = RateControl::new(1e6);
        for step in 0..100_u32 {
            let at = now + Duration::from_millis(100) * step;
            rate.update(at, &known(Usage::Normal, 700_000.0), false);
        }
        assert_eq!(rate.bps(), 1e6, "not used");
        for step in 100..300_u32 {
            let at = now + Duration::from_millis(100) * step;
            rate.update(at, &known(Usage::Normal, 1e6), false);
        }
        assert!((1.1e6..1.2e6).contains(&rate.bps()), "{}", rate.bps());
    }

    #[test]
    fn it_falls_below_what_arrives_and_comes_back_slowly() {
        let now = start();
        let at = |ms| now + Duration::from_millis(ms);
        let mut rate = RateControl::new(2e6);
        rate.update(at(0), &known(Usage::Normal, 2e6), false);
        assert!(rate.update(at(100), &known(Usage::Over, 1e6), false));
        assert_eq!(rate.bps(), 850_000.0);
        let soon = rate.update(at(200), &known(Usage::Over, 900_000.0), false);
        assert!(!soon);
        assert!(rate.update(at(250), &known(Usage::Over, 400_000.0), false));
        rate.update(at(300), &known(Usage::Under, 400_000.0), false);
        assert_eq!(rate.bps(), 340_000.0);
        let mut last = rate.bps();
        for step in 4..40 {
            rate.update(at(step * 100), &known(Usage::Normal, rate.bps()), false);
            assert!(rate.bps() >= last && rate.bps() < last + 10_000.0);
            last = rate.bps();
        }
        assert!((400_000.0..600_000.0).contains(&last), "{last}");
    }
}
