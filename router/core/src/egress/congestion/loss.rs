//! The rate that losses allow (draft-ietf-rmcat-gcc-02 §6).
//!
//! Where a path has a queue worth the name, delays tell first ([`super::delay`]). Losses bound the rate of
//! paths that drop without one, so there is no bound until they do.

use std::time::{Duration, Instant};

use super::APPLICATION_LIMITED;
use super::rate::{Knowledge, RATE_BPS};

/// Below this share of loss the bound rises fast, above that it falls; between, it rises slowly: wireless
/// paths lose a little all the time.
const FINE: f64 = 0.02;
const BAD: f64 = 0.10;

/// What is beyond the loss that a path has at any rate, to be taken for a sign.
const BEYOND_INHERENT: f64 = 0.08;

/// Loss that counts as the path's own when rates are compared; more may be packets that found a full queue.
const BACKGROUND_MOST: f64 = 0.07;

/// Packets and time that a share is taken over.
const PACKETS: u32 = 20;
const SPAN: Duration = Duration::from_millis(500);
const SPAN_MOST: Duration = Duration::from_secs(3);

/// Growth in a second.
const GROWTH: f64 = 1.08;
const GROWTH_SLOW: f64 = 1.02;

/// Deviations that a share of loss must be beyond that by chance.
const CHANCE: f64 = 2.5;

/// What is kept at least where what is sent is far less than the bound.
const LIMITED_STEP: f64 = 0.8;

/// Decreases after which a share of loss that stays the same is the path's own.
const TRIALS: u32 = 3;

/// A flow below this congests nothing by itself: sound, and the smallest picture.
const FLOOR_BPS: f64 = 100_000.0;

/// The controller.
#[derive(Debug)]
pub(super) struct LossControl {
    /// `None`: losses say nothing.
    bps: Option<f64>,
    began: Instant,
    arrived: u32,
    lost: u32,
    decreased: Option<Instant>,
    /// Share of loss before the first of the last decreases, and how many there were.
    trial: Option<(f64, u32)>,
    /// Share of packets that the path loses whatever is sent.
    inherent: f64,
    /// Share lost of late, smoothed.
    background: f64,
}

impl LossControl {
    pub(super) fn new(now: Instant) -> Self {
        LossControl {
            bps: None,
            began: now,
            arrived: 0,
            lost: 0,
            decreased: None,
            trial: None,
            inherent: 0.0,
            background: 0.0,
        }
    }

    /// The bound, bits per second; `None`: there is none.
    pub(super) fn bps(&self) -> Option<f64> {
        self.bps
    }

    /// What a rate that arrives is to be multiplied with for the one that would without the little that this
    /// path loses all the time.
    pub(super) fn compensation(&self) -> f64 {
        1.0 / (1.0 - self.background.min(BACKGROUND_MOST))
    }

    /// Something else has shown that the path carries so much.
    pub(super) fn raise(&mut self, bps: f64) {
        self.bps = self.bps.map(|bound| bound.max(bps));
    }

    /// Packets arrived, were found lost, or came after all.
    pub(super) fn count(&mut self, arrived: u32, lost: u32, recovered: u32) {
        self.arrived += arrived;
        self.lost = (self.lost + lost).saturating_sub(recovered);
    }

    /// Decides, if there is enough to decide by. `delay_bps`: what delays allow.
    pub(super) fn update(&mut self, now: Instant, delay_bps: f64, known: &Knowledge) {
        let elapsed = now.saturating_duration_since(self.began);
        let packets = self.arrived + self.lost;
        if elapsed < SPAN || packets < PACKETS {
            return;
        }
        let share = f64::from(self.lost) / f64::from(packets);
        let bad = BAD.max(self.inherent + BEYOND_INHERENT);
        // More than chance makes of it; where that cannot be told yet, more is counted.
        let chance = CHANCE * (bad * (1.0 - bad) / f64::from(packets)).sqrt();
        if share > bad && share <= bad + chance && elapsed < SPAN_MOST {
            return;
        }
        self.began = now;
        self.arrived = 0;
        self.lost = 0;
        self.background += (share.min(BAD) - self.background) * 0.2;
        if share > bad + chance {
            self.decrease(now, share, delay_bps, known);
        } else {
            let factor = if share < FINE { GROWTH } else { GROWTH_SLOW };
            self.increase(factor.powf(elapsed.as_secs_f64().min(2.0)), delay_bps);
        }
        if share < FINE {
            self.trial = None;
        }
        // Forgotten slowly: paths change.
        self.inherent = self.inherent.min(self.inherent * 0.99 + share * 0.01);
    }

    fn decrease(&mut self, now: Instant, share: f64, delay_bps: f64, known: &Knowledge) {
        let recent = self
            .decreased
            .is_some_and(|at| now.saturating_duration_since(at) < known.round_trip + SPAN);
        if recent {
            return;
        }
        let (first, count) = self.trial.unwrap_or((share, 0));
        if count >= TRIALS && share >= first * 0.8 {
            // Less was sent and as much of it lost: that is not ours.
            self.inherent = share;
            self.trial = None;
            self.bps = None;
            return;
        }
        self.trial = Some((first, count + 1));
        self.decreased = Some(now);
        let from = self.bps.unwrap_or(f64::INFINITY).min(delay_bps);
        // What nobody sent is no place to come down from; but where far less is sent than may be, what
        // arrives says little of the path.
        let arriving = known.arriving_bps.map_or(f64::INFINITY, |bps| bps * 1.1);
        let limited = !known.is_telling(from * APPLICATION_LIMITED);
        let least = if limited {
            from * LIMITED_STEP
        } else {
            FLOOR_BPS
        };
        let lower = from.min(arriving.max(least)) * (1.0 - 0.5 * share);
        self.bps = Some(lower.clamp(FLOOR_BPS, RATE_BPS.1));
    }

    fn increase(&mut self, factor: f64, delay_bps: f64) {
        let grown = self.bps.map(|bps| bps * factor);
        // Far beyond what delays allow it bounds nothing.
        self.bps = grown.filter(|bps| *bps < delay_bps * 1.5);
    }
}

#[cfg(test)]
mod tests {
    use super::super::delay::Usage;
    use super::*;
    use crate::shard::testing::start;

    fn known(sent: f64, lost: f64) -> Knowledge {
        let arriving = Some(sent * (1.0 - lost));
        Knowledge {
            usage: Usage::Normal,
            arriving_bps: arriving,
            just_now_bps: arriving,
            leaving_bps: Some(sent),
            round_trip: Duration::from_millis(50),
        }
    }

    /// Sends at what is allowed, of at most 1 Mb/s, over a path that loses what `share` says of the rate
    /// in bits per second; the bound after so many seconds.
    fn after(seconds: u32, share: impl Fn(f64) -> f64) -> Option<f64> {
        let now = start();
        let mut control = LossControl::new(now);
        for step in 1..=10 * seconds {
            let sent = control.bps().unwrap_or(1e6).min(1e6);
            let lost = share(sent);
            let missing = (lost * 100.0) as u32;
            control.count(100 - missing, missing, 0);
            let at = now + Duration::from_millis(100) * step;
            control.update(at, 1e6, &known(sent, lost));
        }
        control.bps()
    }

    #[test]
    fn what_paths_lose_at_any_rate_bounds_nothing() {
        for share in [0.0, 0.01, 0.05, 0.09] {
            assert_eq!(after(60, |_| share), None, "{share}");
        }
        // More is first taken for a sign, and found not to be one.
        for share in [0.15, 0.2, 0.3] {
            assert_eq!(after(60, |_| share), None, "{share}");
        }
    }

    #[test]
    fn a_path_that_drops_what_is_too_much_is_not_given_more() {
        let bound = after(5, |sent| (1.0 - 400_000.0 / sent).max(0.0)).unwrap();
        assert!((250_000.0..460_000.0).contains(&bound), "{bound}");
        let bound = after(60, |sent| (1.0 - 400_000.0 / sent).max(0.0)).unwrap();
        assert!((250_000.0..460_000.0).contains(&bound), "{bound}");
    }

    #[test]
    fn it_never_falls_below_what_congests_nothing() {
        let bound = after(2, |_| 0.9).unwrap();
        assert!(bound >= FLOOR_BPS, "{bound}");
    }

    #[test]
    fn packets_that_come_after_all_were_not_lost() {
        let now = start();
        let mut control = LossControl::new(now);
        control.count(50, 20, 0);
        control.count(20, 0, 20);
        control.update(now + SPAN, 1e6, &known(1e6, 0.0));
        assert_eq!(control.bps(), None);
        control.count(50, 20, 0);
        control.update(now + SPAN * 2, 1e6, &known(1e6, 0.3));
        assert!(control.bps().is_some());
    }
}
