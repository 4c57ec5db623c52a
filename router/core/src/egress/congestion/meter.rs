//! A rate over the last moments.

/// What is counted together.
const PART_MICROS: i64 = 25_000;

/// Parts remembered.
const PARTS: usize = 32;

/// Parts of the longer measure: half a second, so that a rate of pictures does not show in it.
const LONG: i64 = 20;

/// Parts of the shorter one: as few as tell a rate where packets come evenly, which they do behind a
/// queue.
const SHORT: i64 = 8;

/// The shortest: what arrives behind a queue that has just begun.
const SHORTEST: i64 = 4;

/// A time so far off that it is another clock's.
const JUMP_PARTS: i64 = 400;

/// Bytes by time of their arrival or departure.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes: [u32; PARTS],
    /// The newest part, not complete.
    newest: i64,
    /// The first part counted.
    first: Option<i64>,
}

impl Meter {
    /// So many bytes at this time.
    pub(super) fn add(&mut self, at_micros: i64, bytes: u32) {
        let part = at_micros.div_euclid(PART_MICROS);
        let ahead = part.saturating_sub(self.newest);
        if self.first.is_none() || ahead.abs() > JUMP_PARTS {
            *self = Meter {
                newest: part,
                first: Some(part),
                ..Meter::default()
            };
        } else if ahead >= PARTS as i64 {
            self.bytes = [0; PARTS];
            self.newest = part;
        } else if ahead > 0 {
            for skipped in self.newest + 1..=part {
                self.set(skipped, 0);
            }
            self.newest = part;
        } else if -ahead >= PARTS as i64 {
            return;
        }
        if let Some(sum) = self.bytes.get_mut(place(part)) {
            *sum = sum.saturating_add(bytes);
        }
    }

    fn set(&mut self, part: i64, bytes: u32) {
        if let Some(sum) = self.bytes.get_mut(place(part)) {
            *sum = bytes;
        }
    }

    /// Bits per second over the last half second; `None`: too little is known.
    pub(super) fn long_bps(&self) -> Option<f64> {
        self.over(LONG, LONG / 2)
    }

    /// Bits per second over the last fifth of a second, or the last tenth if that had more.
    pub(super) fn short_bps(&self) -> Option<f64> {
        let shortest = self.over(SHORTEST, SHORTEST)?;
        Some(self.over(SHORT, SHORTEST)?.max(shortest))
    }

    /// Over complete parts only: what ends with a packet would have one too many.
    fn over(&self, parts: i64, least: i64) -> Option<f64> {
        let known = self.newest - self.first?;
        let parts = parts.min(known);
        if parts < least {
            return None;
        }
        let sums = (self.newest - parts..self.newest)
            .filter_map(|part| self.bytes.get(place(part)))
            .map(|sum| u64::from(*sum));
        Some(sums.sum::<u64>() as f64 * 8e6 / (parts * PART_MICROS) as f64)
    }
}

fn place(part: i64) -> usize {
    part.rem_euclid(PARTS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_second() {
        let mut meter = Meter::default();
        let mut at = -300_000;
        for (bytes, bps) in [(1_250, 1e6), (2_500, 2e6), (125, 1e5)] {
            for _ in 0..70 {
                at += 10_000;
                meter.add(at, bytes);
            }
            let measured = meter.long_bps().unwrap();
            assert!((measured - bps).abs() < bps / 20.0, "{measured}");
            let measured = meter.short_bps().unwrap();
            assert!((measured - bps).abs() < bps / 6.0, "{measured}");
        }
        meter.add(at + 600_000, 1);
        assert!(meter.long_bps().unwrap() < 40_000.0, "a pause shows");
        meter.add(at + 60_000_000, 1_000);
        assert_eq!(meter.long_bps(), None, "another clock");
        meter.add(i64::MIN, 1_000);
        meter.add(i64::MAX, 1_000);
    }

    #[test]
    fn pictures_do_not_make_it_waver() {
        let mut meter = Meter::default();
        for frame in 0..300_i64 {
            for packet in 0..4 {
                meter.add(frame * 33_333 + packet * 500, 1_000);
            }
            if let Some(bps) = meter.long_bps().filter(|_| frame > 20) {
                assert!((bps - 960_000.0).abs() < 70_000.0, "{bps}");
            }
        }
    }

    #[test]
    fn late_packets_count_where_they_belong() {
        let mut meter = Meter::default();
        for part in 0..20 {
            meter.add(part * PART_MICROS, 100);
        }
        let before = meter.long_bps().unwrap();
        meter.add(10 * PART_MICROS, 100);
        assert!(meter.long_bps().unwrap() > before);
        meter.add(-100 * PART_MICROS, 60_000);
        assert!(meter.long_bps().unwrap() < before * 1.2, "too late");
    }
}
