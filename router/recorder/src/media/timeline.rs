//! When a frame was captured, on the time line of the film.

/// Below it, what sender reports say and what timestamps say may differ: reports jitter by some milliseconds,
/// and following them would make frame durations uneven for nothing.
const TOLERATED_NS: i64 = 10_000_000;
/// Correction stops here.
const GOOD_NS: i64 = 2_000_000;
/// Beyond it there is no drift to correct: the sender's clock was set, or timestamps jumped.
const JUMP_NS: i64 = 1_000_000_000;
/// Time is stretched or shrunk by at most a fiftieth: nobody hears or sees it.
const SLEW: i64 = 50;
/// Two frames are never at one time.
const LEAST_NS: i64 = 1_000_000;

/// Maps RTP timestamps to nanoseconds since the film's epoch: anchored on the first frame's capture time,
/// then counted by timestamps, and corrected slowly by capture times. Never runs backwards.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    anchor: Option<Anchor>,
    last_ns: Option<i64>,
}

#[derive(Debug)]
struct Anchor {
    base_ns: i64,
    timestamp: u32,
    /// Since the anchor.
    ticks: i64,
    corrected_ns: i64,
    correcting: bool,
}

impl Timeline {
    /// The time of a frame. `rate` in Hz, not 0.
    pub(super) fn place(&mut self, timestamp: u32, rate: u32, captured_ns: i64) -> i64 {
        let place = match &mut self.anchor {
            Some(anchor) => anchor.place(timestamp, rate, captured_ns),
            None => None,
        };
        let place = place.unwrap_or_else(|| {
            self.anchor = Some(Anchor {
                base_ns: captured_ns,
                timestamp,
                ticks: 0,
                corrected_ns: 0,
                correcting: false,
            });
            captured_ns
        });
        let place = self
            .last_ns
            .map_or(place, |last| place.max(last.saturating_add(LEAST_NS)));
        self.last_ns = Some(place);
        place
    }

    /// Another clock begins.
    pub(super) fn restart(&mut self) {
        self.anchor = None;
    }
}

impl Anchor {
    /// None: start anew.
    fn place(&mut self, timestamp: u32, rate: u32, captured_ns: i64) -> Option<i64> {
        let step = i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed());
        self.timestamp = timestamp;
        self.ticks = self.ticks.saturating_add(step);
        let rate = i64::from(rate.max(1));
        // Whole seconds and the rest apart: no overflow, no rounding that adds up.
        let elapsed = (self.ticks / rate).saturating_mul(1_000_000_000)
            + (self.ticks % rate) * 1_000_000_000 / rate;
        let predicted = self
            .base_ns
            .saturating_add(elapsed)
            .saturating_add(self.corrected_ns);
        let error = captured_ns.saturating_sub(predicted);
        if error.abs() > JUMP_NS {
            return None;
        }
        if error.abs() > TOLERATED_NS {
            self.correcting = true;
        } else if error.abs() < GOOD_NS {
            self.correcting = false;
        }
        if !self.correcting {
            return Some(predicted);
        }
        let most = (step.max(0) * 1_000_000_000 / rate / SLEW).min(JUMP_NS);
        let correction = error.clamp(-most, most);
        self.corrected_ns += correction;
        Some(predicted.saturating_add(correction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_of_reports_does_not_move_frames() {
        let mut line = Timeline::default();
        let mut last = line.place(1000, 90_000, 0);
        for frame in 1..500_i64 {
            let jitter = if frame % 2 == 0 {
                4_000_000
            } else {
                -4_000_000
            };
            let at = line.place(
                1000_u32.wrapping_add(frame as u32 * 3000),
                90_000,
                frame * 33_333_333 + jitter,
            );
            assert!(
                (33_333_330..=33_333_340).contains(&(at - last)),
                "frame {frame}: {}",
                at - last
            );
            last = at;
        }
    }

    #[test]
    fn drift_is_followed_and_time_never_runs_backwards() {
        let mut line = Timeline::default();
        let mut last = i64::MIN;
        // The sender's clock is 0.1 % fast, and then a report moves everything by 200 ms.
        for frame in 0..5000_i64 {
            let captured = frame * 20_020_000 - if frame > 1000 { 200_000_000 } else { 0 };
            let at = line.place(
                (frame as u32).wrapping_mul(960).wrapping_sub(5),
                48_000,
                captured,
            );
            assert!(at > last, "frame {frame}");
            last = at;
            if !(1000..1600).contains(&frame) {
                assert!(
                    (at - captured).abs() <= TOLERATED_NS,
                    "frame {frame} is {} ns off",
                    at - captured
                );
            }
        }
    }

    #[test]
    fn a_jump_of_timestamps_starts_anew() {
        let mut line = Timeline::default();
        line.place(7, 90_000, 0);
        assert_eq!(line.place(0x8000_0000, 90_000, 33_000_000), 33_000_000);
        assert_eq!(line.place(3, 90_000, 5_000_000_000), 5_000_000_000);
        assert_eq!(line.place(3, 90_000, 0), 5_000_000_000 + LEAST_NS);
    }
}
