//! What of a source was left out of an outgoing stream, so that the rest is numbered without a gap, and what comes
//! late still finds its number.

/// Packets that are looked back over: as many as are kept for retransmission.
const WINDOW: u64 = 1_024;

const WORDS: usize = WINDOW as usize / 64;

/// What was left out before a packet, since the source began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Before {
    pub(crate) packets: u32,
    pub(crate) pictures: u16,
}

/// The packets and pictures left out of one source.
#[derive(Debug, Default)]
pub(crate) struct Omitted {
    all: Before,
    /// Bit n: the packet whose number is n, modulo the window.
    packets: Ring,
    /// The same of the first packet seen of each picture.
    pictures: Ring,
}

impl Omitted {
    /// Leaves out the packet of a number above the highest so far.
    pub(crate) fn omit(&mut self, newest: u64, sequence: u64, picture: bool) {
        self.advance(newest, sequence);
        self.packets.set(sequence);
        self.all.packets = self.all.packets.wrapping_add(1);
        if picture {
            self.pictures.set(sequence);
            self.all.pictures = self.all.pictures.wrapping_add(1);
        }
    }

    /// What was left out before a packet that is not. `None`: that is not known any more, or it was left out.
    pub(crate) fn place(&mut self, newest: u64, sequence: u64) -> Option<Before> {
        if newest < sequence {
            self.advance(newest, sequence);
            return Some(self.all);
        }
        if newest - sequence >= WINDOW || self.packets.get(sequence) {
            return None;
        }
        let packets = self.packets.count(sequence + 1, newest);
        let pictures = self.pictures.count(sequence + 1, newest);
        Some(Before {
            packets: self.all.packets.wrapping_sub(packets),
            pictures: self.all.pictures.wrapping_sub(pictures as u16),
        })
    }

    fn advance(&mut self, newest: u64, sequence: u64) {
        self.packets.clear(newest + 1, sequence);
        self.pictures.clear(newest + 1, sequence);
    }
}

#[derive(Debug, Default)]
struct Ring([u64; WORDS]);

impl Ring {
    fn set(&mut self, number: u64) {
        let bit = number % WINDOW;
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn get(&self, number: u64) -> bool {
        let bit = number % WINDOW;
        let word = self.0.get(bit as usize / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Forgets what is at the places of these numbers.
    fn clear(&mut self, from: u64, to: u64) {
        if to.saturating_sub(from) >= WINDOW {
            *self = Ring::default();
            return;
        }
        each(from, to, &mut |word, mask| {
            if let Some(word) = self.0.get_mut(word) {
                *word &= !mask;
            }
        });
    }

    /// How many of these numbers are set.
    fn count(&self, from: u64, to: u64) -> u32 {
        let mut count = 0;
        each(from, to, &mut |word, mask| {
            let word = self.0.get(word).copied().unwrap_or_default();
            count += (word & mask).count_ones();
        });
        count
    }
}

/// The words that these numbers, fewer than the window has, are in, and their bits there.
fn each(from: u64, to: u64, then: &mut dyn FnMut(usize, u64)) {
    let mut number = from;
    while number <= to {
        let bit = number % 64;
        let bits = (64 - bit).min(to - number + 1);
        let mask = (u64::MAX >> (64 - bits)) << bit;
        then((number % WINDOW) as usize / 64, mask);
        number += bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_late_finds_what_was_left_out_before_it() {
        let mut rng = fastrand::Rng::with_seed(3);
        for round in 0..200 {
            let (mut omitted, mut newest) = (Omitted::default(), 5_000_000_000_u64);
            let mut left: Vec<(u64, bool)> = Vec::new();
            for _ in 0..2_000 {
                let sequence = if rng.u8(..) < 200 {
                    newest + rng.u64(1..4)
                } else if rng.u8(..) == 0 {
                    newest + rng.u64(1..3_000)
                } else {
                    newest - rng.u64(0..1_100)
                };
                if sequence > newest && rng.u8(..) < 100 {
                    let picture = rng.bool();
                    omitted.omit(newest, sequence, picture);
                    left.push((sequence, picture));
                } else {
                    let placed = omitted.place(newest, sequence);
                    let gone = left.iter().any(|(s, _)| *s == sequence);
                    let before = || left.iter().filter(|(s, _)| *s < sequence);
                    let expected = Before {
                        packets: before().count() as u32,
                        pictures: before().filter(|(_, picture)| *picture).count() as u16,
                    };
                    let known = !gone && newest.saturating_sub(sequence) < WINDOW;
                    assert_eq!(placed, known.then_some(expected), "round {round}");
                }
                newest = newest.max(sequence);
            }
        }
    }
}
