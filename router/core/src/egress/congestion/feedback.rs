//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): which packets
//! arrived, and when.

/// Microseconds of one unit of the reference time.
const REFERENCE_MICROS: i64 = 64_000;
/// Microseconds of one unit of a receive delta.
const DELTA_MICROS: i64 = 250;

/// What one packet's status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Missing,
    /// A delta of one byte, unsigned.
    Small,
    /// A delta of two bytes, signed.
    Large,
}

impl Status {
    fn of(bits: u16) -> Self {
        match bits & 3 {
            1 => Status::Small,
            2 => Status::Large,
            // 3 is reserved: no delta can be told for it.
            _ => Status::Missing,
        }
    }
}

/// Reads feedback control information and tells of each packet, in order: its number, and when it arrived
/// by the receiver's clock, microseconds, `None` if it did not. At most `most` packets are told of. `None`:
/// it is torn; what was told before holds.
pub(crate) fn read(
    control: &[u8],
    most: u16,
    tell: &mut dyn FnMut(u16, Option<i64>),
) -> Option<()> {
    let (head, rest) = control.split_first_chunk::<8>()?;
    let [b0, b1, c0, c1, r0, r1, r2, _] = *head;
    let base = u16::from_be_bytes([b0, b1]);
    let count = u16::from_be_bytes([c0, c1]);
    // Signed, 24 bits.
    let reference = i32::from_be_bytes([r0, r1, r2, 0]) >> 8;
    let mut deltas = rest.get(2 * chunks(rest, count)?..)?;
    let mut arrived = i64::from(reference) * REFERENCE_MICROS;
    let mut told = 0;
    let mut statuses = Statuses::new(rest);
    while told < count.min(most) {
        let status = statuses.next()?;
        let number = base.wrapping_add(told);
        told += 1;
        let delta = match status {
            Status::Missing => {
                tell(number, None);
                continue;
            }
            Status::Small => {
                let (delta, after) = deltas.split_first()?;
                deltas = after;
                i64::from(*delta)
            }
            Status::Large => {
                let (delta, after) = deltas.split_first_chunk::<2>()?;
                deltas = after;
                i64::from(i16::from_be_bytes(*delta))
            }
        };
        arrived += delta * DELTA_MICROS;
        tell(number, Some(arrived));
    }
    Some(())
}

/// Packet chunks that `count` statuses take.
fn chunks(chunks: &[u8], count: u16) -> Option<usize> {
    let mut covered = 0_u32;
    let mut taken = 0;
    while covered < u32::from(count) {
        let bytes = chunks.get(2 * taken..)?.first_chunk::<2>()?;
        covered += u32::from(Chunk::of(u16::from_be_bytes(*bytes)).length());
        taken += 1;
        // A run of no length would go on for ever.
        if taken > usize::from(count) {
            return None;
        }
    }
    Some(taken)
}

#[derive(Debug, Clone, Copy)]
enum Chunk {
    /// So many of one status.
    Run(Status, u16),
    /// Statuses of one bit, the first highest.
    Short(u16),
    /// Statuses of two bits, the first highest.
    Long(u16),
}

impl Chunk {
    fn of(bits: u16) -> Self {
        match bits >> 14 {
            0 | 1 => Chunk::Run(Status::of(bits >> 13), bits & 0x1fff),
            2 => Chunk::Short(bits & 0x3fff),
            _ => Chunk::Long(bits & 0x3fff),
        }
    }

    fn length(self) -> u16 {
        match self {
            Chunk::Run(_, length) => length,
            Chunk::Short(_) => 14,
            Chunk::Long(_) => 7,
        }
    }

    fn status(self, at: u16) -> Status {
        match self {
            Chunk::Run(status, _) => status,
            Chunk::Short(bits) => Status::of((bits >> (13 - at)) & 1),
            Chunk::Long(bits) => Status::of(bits >> (12 - 2 * at)),
        }
    }
}

struct Statuses<'a> {
    rest: &'a [u8],
    chunk: Option<Chunk>,
    at: u16,
}

impl<'a> Statuses<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Statuses {
            rest,
            chunk: None,
            at: 0,
        }
    }

    fn next(&mut self) -> Option<Status> {
        loop {
            if let Some(chunk) = self.chunk
                && self.at < chunk.length()
            {
                let status = chunk.status(self.at);
                self.at += 1;
                return Some(status);
            }
            let (bytes, rest) = self.rest.split_first_chunk::<2>()?;
            self.rest = rest;
            self.chunk = Some(Chunk::of(u16::from_be_bytes(*bytes)));
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(control: &[u8]) -> (bool, Vec<(u16, Option<i64>)>) {
        let mut told = Vec::new();
        let whole = read(control, 1_000, &mut |number, at| told.push((number, at)));
        (whole.is_some(), told)
    }

    fn control(base: u16, count: u16, reference: u32, rest: &[u8]) -> Vec<u8> {
        let mut bytes = base.to_be_bytes().to_vec();
        bytes.extend(count.to_be_bytes());
        bytes.extend(&reference.to_be_bytes()[1..]);
        bytes.push(0);
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn every_kind_of_chunk_is_read() {
        // Three that arrived (run), then of 14 (short) every second, then of 7 (long) with large deltas.
        let mut rest = vec![0x20, 3, 0b1010_1010, 0b1010_1010];
        rest.extend([0b1110_0100, 0b1000_0000]);
        rest.extend([4, 8, 0]);
        rest.extend([1; 7]);
        rest.extend([0xff, 0xfc, 2, 0x01, 0x00]);
        let (whole, told) = all(&control(65_530, 3 + 14 + 4, 2, &rest));
        assert!(whole);
        assert_eq!(told.len(), 21);
        assert_eq!(told[0], (65_530, Some(128_000 + 1_000)));
        assert_eq!(told[1], (65_531, Some(128_000 + 3_000)));
        assert_eq!(told[2], (65_532, Some(128_000 + 3_000)));
        let short: Vec<bool> = told[3..17].iter().map(|t| t.1.is_some()).collect();
        assert_eq!(short, [true, false].repeat(7));
        assert_eq!(told[6].0, 0, "numbers go round");
        let before = 128_000 + 3_000 + 7 * 250;
        assert_eq!(told[17].1, Some(before - 1_000), "back in time");
        assert_eq!(told[18].1, Some(before - 500));
        assert_eq!(told[19].1, None);
        assert_eq!(told[20].1, Some(before - 500 + 64_000));
    }

    #[test]
    fn the_reference_time_is_signed() {
        let (_, told) = all(&control(0, 1, 0xff_ffff, &[0x20, 1, 0]));
        assert_eq!(told, [(0, Some(-64_000))]);
    }

    #[test]
    fn torn_feedback_tells_what_it_has() {
        assert_eq!(all(&[0; 7]), (false, Vec::new()));
        let (whole, told) = all(&control(0, 5, 0, &[0x20, 5, 1, 1]));
        assert!(!whole);
        assert_eq!(told.len(), 2);
        assert_eq!(
            all(&control(0, 5, 0, &[0x20, 0, 0, 0])),
            (false, Vec::new())
        );
    }

    #[test]
    fn no_feedback_tells_of_more_than_is_remembered() {
        // The longest runs that there are, of what did not arrive.
        let rest = [0x1f, 0xff].repeat(9);
        let mut told = 0;
        read(&control(0, u16::MAX, 0, &rest), 500, &mut |_, _| told += 1);
        assert_eq!(told, 500);
    }

    /// Writes statuses (`None`: missing) as chunks of kinds chosen at random.
    fn written(random: &mut fastrand::Rng, mut statuses: &[Option<i16>]) -> Vec<u8> {
        let mut chunks = Vec::new();
        let bits = |status: &Option<i16>| match status {
            None => 0,
            Some(delta) if u8::try_from(*delta).is_ok() => 1,
            Some(_) => 2,
        };
        let mut deltas = Vec::new();
        for delta in statuses.iter().flatten() {
            match u8::try_from(*delta) {
                Ok(small) => deltas.push(small),
                Err(_) => deltas.extend(delta.to_be_bytes()),
            }
        }
        while let Some(first) = statuses.first() {
            let same = statuses.iter().take_while(|s| bits(s) == bits(first));
            let small = statuses.iter().take(14).all(|s| bits(s) < 2);
            let (chunk, length) = match random.u8(0..3) {
                0 => {
                    let length = same.count();
                    (bits(first) << 13 | length as u16, length)
                }
                1 if small => {
                    let places = statuses.iter().take(14).zip((0..14).rev());
                    (places.fold(0x8000, |c, (s, at)| c | bits(s) << at), 14)
                }
                _ => {
                    let places = statuses.iter().take(7).zip((0..7).rev());
                    (places.fold(0xc000, |c, (s, at)| c | bits(s) << (2 * at)), 7)
                }
            };
            chunks.extend(chunk.to_be_bytes());
            statuses = &statuses[length.min(statuses.len())..];
        }
        chunks.extend(deltas);
        chunks
    }

    #[test]
    fn whatever_is_written_is_read() {
        let mut random = fastrand::Rng::with_seed(17);
        for _ in 0..5_000 {
            let count = random.usize(1..300);
            let arrives = random.u8(0..=10);
            let statuses: Vec<Option<i16>> = (0..count)
                .map(|_| {
                    let most = [40, 255, i16::MAX][random.usize(0..3)];
                    (random.u8(0..10) < arrives).then(|| random.i16(-most / 8..most))
                })
                .collect();
            let (base, reference) = (random.u16(..), random.u32(..1 << 23));
            let rest = written(&mut random, &statuses);
            let (whole, told) = all(&control(base, count as u16, reference, &rest));
            assert!(whole);
            let mut at = i64::from(reference) * REFERENCE_MICROS;
            let expected = statuses.iter().zip(0..).map(|(status, place)| {
                let arrived = status.map(|delta| {
                    at += i64::from(delta) * DELTA_MICROS;
                    at
                });
                (base.wrapping_add(place), arrived)
            });
            assert_eq!(told, expected.collect::<Vec<_>>());
            // Cut anywhere it tells what it has, and nothing else.
            let mut cut = control(base, count as u16, reference, &rest);
            cut.truncate(random.usize(..cut.len()));
            assert!(told.starts_with(&all(&cut).1));
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 99_u32;
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..state % 40)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    state as u8
                })
                .collect();
            state = state.wrapping_add(1).wrapping_mul(2_654_435_761) | 1;
            all(&bytes);
        }
    }
}
