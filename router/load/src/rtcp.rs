//! RTCP of a player: receiver reports, transport-wide feedback, requests for a keyframe.

/// SSRC of the player's reports.
pub(crate) const OURS: u32 = 1;

/// Statuses in one feedback at most; more go into the next.
const STATUSES_MAX: u64 = 400;
/// A jump over more is no loss, but a new beginning.
const GAP_MAX: u64 = 2_000;
/// Of a delta, microseconds.
const TICK_US: u64 = 250;
/// Of the reference time, microseconds.
const REFERENCE_US: u64 = 64_000;

/// What is reported of a stream (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    /// Of 256.
    pub(crate) fraction_lost: u8,
    pub(crate) lost: u32,
    pub(crate) highest: u32,
    /// The middle of the last sender report's NTP time.
    pub(crate) last_report: u32,
    /// Since then, in 1/65536 s.
    pub(crate) since_report: u32,
}

/// Appends a receiver report.
pub(crate) fn write_report(out: &mut Vec<u8>, blocks: &[Block]) {
    let blocks = blocks.get(..31).unwrap_or(blocks);
    let words = 1 + 6 * blocks.len();
    out.extend_from_slice(&[0x80 | blocks.len() as u8, 201]);
    out.extend_from_slice(&(words as u16).to_be_bytes());
    out.extend_from_slice(&OURS.to_be_bytes());
    for block in blocks {
        let lost = block.lost.min(0x7f_ffff) | (u32::from(block.fraction_lost) << 24);
        let fields = [
            block.ssrc,
            lost,
            block.highest,
            // Interarrival jitter is not measured.
            0,
            block.last_report,
            block.since_report,
        ];
        for field in fields {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
}

/// Appends a picture loss indication (RFC 4585 §6.3.1).
pub(crate) fn write_pli(out: &mut Vec<u8>, ssrc: u32) {
    out.extend_from_slice(&[0x81, 206, 0, 2]);
    out.extend_from_slice(&OURS.to_be_bytes());
    out.extend_from_slice(&ssrc.to_be_bytes());
}

/// Sender reports of a compound packet: SSRC and the middle of the NTP time.
pub(crate) fn sender_reports(mut compound: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    std::iter::from_fn(move || {
        loop {
            let head = compound.first_chunk::<4>()?;
            let [_, kind, length @ ..] = *head;
            let bytes = usize::from(u16::from_be_bytes(length)) * 4 + 4;
            let (packet, rest) = compound.split_at_checked(bytes)?;
            compound = rest;
            if kind == 200
                && let Some(report) = packet.get(4..16)
                && let [a, b, c, d, _, _, e, f, g, h, _, _] = *report
            {
                let numbers = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
                return Some((numbers[0], numbers[1]));
            }
        }
    })
}

/// Arrivals that a congestion controller is to hear of
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Extended sequence number, microseconds.
    waiting: Vec<(u64, u64)>,
    highest: u64,
    /// First that was not reported on.
    next: u64,
    begun: bool,
    count: u8,
}

impl Arrivals {
    /// Notes one.
    pub(crate) fn add(&mut self, sequence: u16, at_us: u64) {
        if !self.begun {
            self.begun = true;
            // Not 0: the next may be below it.
            self.highest = 0x1_0000 + u64::from(sequence);
            self.next = self.highest;
        }
        let sequence = crate::rtp::extend(self.highest, sequence);
        self.highest = self.highest.max(sequence);
        // What comes after it was reported as lost stays so.
        if sequence >= self.next {
            self.waiting.push((sequence, at_us));
        }
    }

    /// Appends feedback on what waits, as much as one packet takes; whether there was any.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, media: u32) -> bool {
        self.waiting.sort_unstable();
        self.waiting.dedup_by_key(|(sequence, _)| *sequence);
        let Some((first, at_us)) = self.waiting.first().copied() else {
            return false;
        };
        if first > self.next + GAP_MAX {
            self.next = first;
        }
        let base = self.next.max(first.saturating_sub(STATUSES_MAX - 1));
        let end = base + STATUSES_MAX;
        let taken = self
            .waiting
            .partition_point(|(sequence, _)| *sequence < end);
        let reference = at_us / REFERENCE_US;
        let (mut statuses, mut deltas) = (Vec::new(), Vec::new());
        let mut clock = reference * (REFERENCE_US / TICK_US);
        for (sequence, at_us) in self.waiting.drain(..taken) {
            let skipped = sequence - base - statuses.len() as u64;
            statuses.extend(std::iter::repeat_n(NOT_RECEIVED, skipped as usize));
            let tick = at_us / TICK_US;
            let delta = tick.cast_signed() - clock.cast_signed();
            clock = tick;
            match u8::try_from(delta) {
                Ok(small) => {
                    statuses.push(SMALL_DELTA);
                    deltas.push(small);
                }
                Err(_) => {
                    statuses.push(LARGE_DELTA);
                    let large = delta.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                    deltas.extend_from_slice(&large.to_be_bytes());
                }
            }
        }
        self.next = base + statuses.len() as u64;
        self.put(
            out,
            media,
            (base as u16, reference as u32),
            &statuses,
            &deltas,
        );
        true
    }

    fn put(
        &mut self,
        out: &mut Vec<u8>,
        media: u32,
        (base, reference): (u16, u32),
        statuses: &[u8],
        deltas: &[u8],
    ) {
        let start = out.len();
        out.extend_from_slice(&[0x8f, 205, 0, 0]);
        out.extend_from_slice(&OURS.to_be_bytes());
        out.extend_from_slice(&media.to_be_bytes());
        out.extend_from_slice(&base.to_be_bytes());
        out.extend_from_slice(&(statuses.len() as u16).to_be_bytes());
        out.extend_from_slice(&((reference << 8) | u32::from(self.count)).to_be_bytes());
        self.count = self.count.wrapping_add(1);
        // Status vectors of two bits each (§3.1.4).
        for seven in statuses.chunks(7) {
            let bits = seven.iter().enumerate();
            let bits = bits.fold(0, |word, (at, status)| {
                word | (u16::from(*status) << (12 - 2 * at))
            });
            out.extend_from_slice(&(0xc000 | bits).to_be_bytes());
        }
        out.extend_from_slice(deltas);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - start) / 4 - 1) as u16;
        if let Some(length) = out.get_mut(start + 2..start + 4) {
            length.copy_from_slice(&words.to_be_bytes());
        }
    }
}

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_has_a_status_for_each_number_and_a_delta_for_each_arrival() {
        let mut arrivals = Arrivals::default();
        for (sequence, at_us) in [(65_535, 64_250), (1, 64_500), (0, 64_250), (3, 264_500)] {
            arrivals.add(sequence, at_us);
        }
        let mut out = Vec::new();
        assert!(arrivals.write(&mut out, 9));
        let expected = [
            0x8f,
            205,
            0,
            6,
            0,
            0,
            0,
            1,
            0,
            0,
            0,
            9, //
            0xff,
            0xff,
            0,
            5,
            0,
            0,
            1,
            0, //
            // Small, small, small, none, large.
            0b1101_0101,
            0b0010_0000,
            1,
            0,
            1,
            0x03,
            0x20,
            0,
        ];
        assert_eq!(out, expected);
        assert!(!arrivals.write(&mut out, 9), "nothing waits");
        // The next begins where this one ended, with the next count.
        arrivals.add(5, 300_000);
        out.clear();
        assert!(arrivals.write(&mut out, 9));
        assert_eq!(out[12..16], [0, 4, 0, 2]);
        assert_eq!(out[19], 1);
    }

    #[test]
    fn much_is_reported_in_several_packets() {
        let mut arrivals = Arrivals::default();
        (0..1_000).for_each(|n| arrivals.add(n, u64::from(n) * 1_000));
        let mut counts = Vec::new();
        loop {
            let mut out = Vec::new();
            if !arrivals.write(&mut out, 9) {
                break;
            }
            counts.push(u16::from_be_bytes([out[14], out[15]]));
        }
        assert_eq!(counts, [400, 400, 200]);
    }

    #[test]
    fn a_report_has_a_block_for_each_stream() {
        let block = Block {
            ssrc: 0x0102_0304,
            fraction_lost: 5,
            lost: 6,
            highest: 7,
            last_report: 8,
            since_report: 9,
        };
        let mut out = Vec::new();
        write_report(&mut out, &[block, block]);
        assert_eq!(out[..4], [0x82, 201, 0, 13]);
        assert_eq!(out.len(), 14 * 4);
        assert_eq!(out[8..16], [1, 2, 3, 4, 5, 0, 0, 6]);
    }

    #[test]
    fn sender_reports_are_found_among_others() {
        let mut compound = Vec::new();
        write_report(&mut compound, &[]);
        compound.extend_from_slice(&[0x80, 200, 0, 6, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8]);
        compound.extend_from_slice(&[0; 12]);
        let found: Vec<_> = sender_reports(&compound).collect();
        assert_eq!(found, [(5, 0x0304_0506)]);
    }
}
