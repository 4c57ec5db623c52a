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
/// By a tenth until the first report has been followed: a film that begins with its publisher begins with frames
/// of which only the arrival is known, and each is late by what the network and the encoder did to it.
const SLEW_AT_START: i64 = 10;
/// By a five-hundredth towards frames that merely arrive late: that is no news of when they were captured, but a
/// clock that drifts shows like this where no reports come.
const SLEW_LATE: i64 = 500;
/// Two frames are never at one time.
const LEAST_NS: i64 = 1_000_000;

/// When a frame was captured, as far as is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Captured {
    /// Since the film's epoch.
    pub(super) ns: i64,
    /// By the publisher's sender reports; else it is the time of arrival, and it was captured before that.
    pub(super) reported: bool,
}

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
    /// A report has been followed.
    settled: bool,
}

impl Timeline {
    /// The time of a frame. `rate` in Hz, not 0.
    pub(super) fn place(&mut self, timestamp: u32, rate: u32, captured: Captured) -> i64 {
        let place = match &mut self.anchor {
            Some(anchor) => anchor.place(timestamp, rate, captured),
            None => None,
        };
        let place = place.unwrap_or_else(|| {
            self.anchor = Some(Anchor {
                base_ns: captured.ns,
                timestamp,
                ticks: 0,
                corrected_ns: 0,
                correcting: false,
                settled: captured.reported,
            });
            captured.ns
        });
        let place = self
            .last_ns
            .map_or(place, |last| place.max(last.saturating_add(LEAST_NS)));
        self.last_ns = Some(place);
        place
    }

    /// Moves the line onto a frame that shows where it belongs, at once: by the first report, or because the
    /// frame arrived with less delay than all before it. By how much; every frame before it moves along, so
    /// this is only for lines of which nothing is written yet.
    pub(super) fn align(&mut self, timestamp: u32, rate: u32, captured: Captured) -> i64 {
        let Some(anchor) = self.anchor.as_mut().filter(|anchor| !anchor.settled) else {
            return 0;
        };
        let error = captured
            .ns
            .saturating_sub(anchor.predicted(timestamp, rate));
        if error.abs() > JUMP_NS || !(captured.reported || error < 0) {
            return 0;
        }
        anchor.base_ns = anchor.base_ns.saturating_add(error);
        anchor.settled = captured.reported;
        self.last_ns = self.last_ns.map(|last| last.saturating_add(error));
        error
    }

    /// Whether a report tells where it belongs.
    pub(super) fn is_settled(&self) -> bool {
        self.anchor.as_ref().is_some_and(|anchor| anchor.settled)
    }

    /// Another clock begins.
    pub(super) fn restart(&mut self) {
        self.anchor = None;
    }
}

impl Anchor {
    /// Since the last frame.
    fn step(&self, timestamp: u32) -> i64 {
        i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed())
    }

    /// Where a frame is by its timestamp.
    fn predicted(&self, timestamp: u32, rate: u32) -> i64 {
        let ticks = self.ticks.saturating_add(self.step(timestamp));
        let rate = i64::from(rate.max(1));
        // Whole seconds and the rest apart: no overflow, no rounding that adds up.
        let elapsed =
            (ticks / rate).saturating_mul(1_000_000_000) + (ticks % rate) * 1_000_000_000 / rate;
        self.base_ns
            .saturating_add(elapsed)
            .saturating_add(self.corrected_ns)
    }

    /// None: start anew.
    fn place(&mut self, timestamp: u32, rate: u32, captured: Captured) -> Option<i64> {
        let predicted = self.predicted(timestamp, rate);
        let step = self.step(timestamp);
        self.timestamp = timestamp;
        self.ticks = self.ticks.saturating_add(step);
        let rate = i64::from(rate.max(1));
        let error = captured.ns.saturating_sub(predicted);
        if error.abs() > JUMP_NS {
            return None;
        }
        if error.abs() > TOLERATED_NS {
            self.correcting = true;
        } else if error.abs() < GOOD_NS {
            self.correcting = false;
        }
        if !self.correcting {
            self.settled |= captured.reported;
            return Some(predicted);
        }
        let slew = if !captured.reported && error > 0 {
            SLEW_LATE
        } else if self.settled {
            SLEW
        } else {
            SLEW_AT_START
        };
        let most = (step.max(0) * 1_000_000_000 / rate / slew).min(JUMP_NS);
        let correction = error.clamp(-most, most);
        self.corrected_ns += correction;
        Some(predicted.saturating_add(correction))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn reported(ns: i64) -> Captured {
        Captured { ns, reported: true }
    }

    fn arrived(ns: i64) -> Captured {
        Captured {
            ns,
            reported: false,
        }
    }

    #[test]
    fn jitter_of_reports_does_not_move_frames() {
        let mut line = Timeline::default();
        let mut last = line.place(1000, 90_000, reported(0));
        for frame in 1..500_i64 {
            let jitter = if frame % 2 == 0 {
                4_000_000
            } else {
                -4_000_000
            };
            let at = line.place(
                1000_u32.wrapping_add(frame as u32 * 3000),
                90_000,
                reported(frame * 33_333_333 + jitter),
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
                reported(captured),
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
        line.place(7, 90_000, reported(0));
        assert_eq!(
            line.place(0x8000_0000, 90_000, reported(33_000_000)),
            33_000_000
        );
        assert_eq!(
            line.place(3, 90_000, reported(5_000_000_000)),
            5_000_000_000
        );
        assert_eq!(line.place(3, 90_000, reported(0)), 5_000_000_000 + LEAST_NS);
    }

    /// As Chromium was seen to begin: the first frame 50 ms late, others by whatever the machine did, and the
    /// first report after half a second of video, two and a half of sound.
    #[test]
    fn a_film_that_begins_before_the_first_report_is_soon_in_step() {
        for (rate, frame_ms, report_after_ms) in [(90_000, 40, 480), (48_000, 20, 2_400)] {
            let mut line = Timeline::default();
            let mut last = i64::MIN;
            for frame in 0..400_i64 {
                let (at, late) = (frame * frame_ms, [50, 15, 90, 20, 30][frame as usize % 5]);
                let captured = if at < report_after_ms {
                    arrived((at + late) * MS)
                } else {
                    reported(at * MS)
                };
                let timestamp = (at * i64::from(rate) / 1_000) as u32;
                let placed = line.place(timestamp, rate, captured);
                assert!(placed > last, "frame at {at} ms");
                last = placed;
                let off = placed - at * MS;
                // By the least delay first, then by reports.
                if at >= 500 {
                    assert!(off.abs() <= 30 * MS, "{off} ns off at {at} ms");
                }
                if at >= report_after_ms + 500 {
                    assert!(off.abs() <= TOLERATED_NS, "{off} ns off at {at} ms");
                }
            }
        }
    }

    #[test]
    fn a_sender_without_reports_that_drifts_is_followed_and_its_jitter_is_not() {
        let mut line = Timeline::default();
        // Its clock is 0.05 % slow; one packet in three arrives late.
        for frame in 0..20_000_i64 {
            let late = if frame % 3 == 0 { 80 * MS } else { 0 };
            let captured = frame * 20_010_000;
            let placed = line.place((frame * 960) as u32, 48_000, arrived(captured + late));
            let off = placed - captured;
            if frame > 5_000 {
                assert!(
                    (-12 * MS..=12 * MS).contains(&off),
                    "{off} ns off at frame {frame}"
                );
            }
        }
    }

    #[test]
    fn nothing_written_moves_to_the_least_delay_and_then_to_the_first_report() {
        let mut line = Timeline::default();
        assert_eq!(line.align(0, 90_000, arrived(100 * MS)), 0);
        assert_eq!(line.place(0, 90_000, arrived(100 * MS)), 100 * MS);
        // A frame 40 ms later came 70 ms sooner than the first let expect; the next one later again.
        assert_eq!(line.align(3_600, 90_000, arrived(70 * MS)), -70 * MS);
        assert_eq!(line.place(3_600, 90_000, arrived(70 * MS)), 70 * MS);
        assert_eq!(line.align(7_200, 90_000, arrived(118 * MS)), 0);
        assert_eq!(line.place(7_200, 90_000, arrived(118 * MS)), 110 * MS);
        assert!(!line.is_settled());
        assert_eq!(line.align(10_800, 90_000, reported(155 * MS)), 5 * MS);
        assert_eq!(line.place(10_800, 90_000, reported(155 * MS)), 155 * MS);
        // Another report may be as good as the first, and no better.
        assert!(line.is_settled());
        assert_eq!(line.align(14_400, 90_000, reported(170 * MS)), 0);
        assert_eq!(line.place(14_400, 90_000, reported(191 * MS)), 195 * MS);
    }
}
