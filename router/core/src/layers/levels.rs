//! The spatial and temporal layers inside one stream, as measured.

use std::time::Instant;

use super::Meter;
use super::frame::{Frame, LEVELS, Level};
use crate::limits::LAYER_SILENCE;

/// One spatial and temporal index: what it adds to those below it.
#[derive(Debug, Default)]
struct Own {
    meter: Meter,
    last: Option<Instant>,
}

/// All of a stream that has more than one.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    own: [[Own; LEVELS]; LEVELS],
    /// The highest indices ever seen.
    top: Level,
}

/// What a level adds to those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) active: bool,
    pub(crate) bps: u32,
    pub(crate) fps: u16,
}

impl Levels {
    /// The highest indices ever seen.
    pub(crate) fn top(&self) -> Level {
        self.top
    }

    /// A packet of so many bytes arrived.
    pub(crate) fn on_packet(&mut self, now: Instant, frame: &Frame, bytes: usize) {
        let level = frame.level;
        self.top.spatial = self.top.spatial.max(level.spatial);
        self.top.temporal = self.top.temporal.max(level.temporal);
        let own = self.own.get_mut(usize::from(level.spatial));
        if let Some(own) = own.and_then(|own| own.get_mut(usize::from(level.temporal))) {
            own.meter.add(now, bytes, frame.starts);
            own.last = Some(now);
        }
    }

    /// Measures all anew.
    pub(crate) fn roll(&mut self, now: Instant) {
        for own in self.own.iter_mut().flatten() {
            if let Some(began) = own.meter.began {
                own.meter.roll(now, began);
            }
        }
    }

    /// What a level adds, as last measured.
    pub(crate) fn share(&self, now: Instant, level: Level) -> Share {
        let own = self.own.get(usize::from(level.spatial));
        let own = own.and_then(|own| own.get(usize::from(level.temporal)));
        own.map_or_else(Share::default, |own| Share {
            active: own
                .last
                .is_some_and(|at| now.saturating_duration_since(at) < LAYER_SILENCE),
            bps: own.meter.bps,
            fps: own.meter.fps,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::layers::frame::Up;
    use crate::shard::testing::start;

    #[test]
    fn each_level_is_measured_by_itself() {
        let (now, mut levels) = (start(), Levels::default());
        let mut at = now;
        for number in 0..300_u64 {
            at = now + Duration::from_millis(10 * number);
            // Spatial 0 and 1 in each picture; every second one is of temporal 1, until those stop.
            let temporal = (number % 2) as u8;
            for spatial in 0..2_u8 {
                let frame = Frame {
                    level: Level::new(spatial, temporal),
                    starts: true,
                    ends: true,
                    up: Up::Synced(false),
                };
                if number < 150 || temporal == 0 {
                    levels.on_packet(at, &frame, 1_000 + 1_000 * usize::from(spatial));
                }
            }
        }
        levels.roll(at);
        assert_eq!(levels.top(), Level::new(1, 1));
        for spatial in 0..2 {
            let base = levels.share(at, Level::new(spatial, 0));
            assert!(base.active && (49..=51).contains(&base.fps), "{base:?}");
            let bps = 400_000 * (1 + u32::from(spatial));
            assert!((bps - 9_000..=bps + 9_000).contains(&base.bps), "{base:?}");
            let above = levels.share(at, Level::new(spatial, 1));
            assert!(!above.active);
        }
        assert!(!levels.share(at, Level::new(2, 0)).active);
    }
}
