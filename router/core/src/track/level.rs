//! How loud a track is, from the audio level its publisher states in each packet (RFC 6464).

/// A voice's loudness: at or above this, for as many ticks as [`TICKS_ON`], is speech. −45 dBov lies
/// between room noise (−60 and below) and quiet speech (−40).
const LEVEL_ON: u8 = 127 - 45;
/// Below this it may be over: lower than [`LEVEL_ON`], so that a voice at the edge does not flicker.
const LEVEL_OFF: u8 = 127 - 52;
/// Ticks (250 ms) of sound before somebody counts as speaking: a click is one.
const TICKS_ON: u8 = 2;
/// Ticks of silence before it is over: pauses between words are shorter than 1.5 s.
const TICKS_OFF: u8 = 6;

/// Loudness of one track with hysteresis.
#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Sum and number of the levels since the last tick.
    sum: u32,
    count: u32,
    smoothed: u8,
    loud_ticks: u8,
    quiet_ticks: u8,
    speaking: bool,
}

impl Level {
    /// A packet states −127 (silent) to 0 (loud) dBov.
    pub(crate) fn on_packet(&mut self, dbov: i8) {
        let level = 127_i16.saturating_add(i16::from(dbov)).clamp(0, 127);
        self.sum = self.sum.saturating_add(level.unsigned_abs().into());
        self.count = self.count.saturating_add(1);
    }

    /// Forgets everything: the track was muted.
    pub(crate) fn clear(&mut self) {
        *self = Level::default();
    }

    /// Ends a tick.
    pub(crate) fn tick(&mut self) {
        // No packets (discontinuous transmission) is silence.
        let level = self.sum.checked_div(self.count).unwrap_or(0) as u8;
        self.sum = 0;
        self.count = 0;
        self.smoothed = self.smoothed / 2 + level / 2 + (self.smoothed & level & 1);
        if level >= LEVEL_ON {
            self.loud_ticks = self.loud_ticks.saturating_add(1);
            self.quiet_ticks = 0;
        } else {
            self.loud_ticks = 0;
            if level < LEVEL_OFF {
                self.quiet_ticks = self.quiet_ticks.saturating_add(1);
            }
        }
        if self.loud_ticks >= TICKS_ON {
            self.speaking = true;
        } else if self.quiet_ticks >= TICKS_OFF {
            self.speaking = false;
        }
    }

    /// 0 to 127 while somebody speaks.
    pub(crate) fn speaking(&self) -> Option<u8> {
        self.speaking.then_some(self.smoothed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(level: &mut Level, dbov: i8) -> bool {
        for _ in 0..12 {
            level.on_packet(dbov);
        }
        level.tick();
        level.speaking().is_some()
    }

    #[test]
    fn speech_takes_two_ticks_and_ends_after_a_pause() {
        let mut level = Level::default();
        assert!(!tick(&mut level, -20), "a click is no speech");
        assert!(tick(&mut level, -20));
        for _ in 0..5 {
            assert!(tick(&mut level, -90), "a pause between words");
        }
        assert!(tick(&mut level, -20));
        for _ in 0..5 {
            assert!(tick(&mut level, -90));
        }
        assert!(!tick(&mut level, -90));
    }

    #[test]
    fn a_voice_at_the_edge_does_not_flicker() {
        let mut level = Level::default();
        tick(&mut level, -45);
        assert!(tick(&mut level, -45));
        for _ in 0..100 {
            assert!(
                tick(&mut level, -50),
                "between the two thresholds nothing changes"
            );
        }
    }

    #[test]
    fn no_packets_are_silence() {
        let mut level = Level::default();
        tick(&mut level, 0);
        assert!(tick(&mut level, 0));
        for _ in 0..6 {
            level.tick();
        }
        assert_eq!(level.speaking(), None);
    }
}
