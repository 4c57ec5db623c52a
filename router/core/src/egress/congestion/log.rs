//! Packets sent lately, by their number in the transport.

/// Places at first: over a second at 6 Mb/s.
const ENTRIES_LEAST: usize = 1_024;

/// Places at most: a second at 150 Mb/s, 128 KiB.
const ENTRIES_MOST: usize = 16_384;

/// Numbers that one report may tell of: more than arrive between two reports of a receiver.
pub(super) const REPORTED_MOST: u16 = 4_096;

/// A packet that would be forgotten sooner than this makes the log grow: a report takes a round trip and
/// what the receiver waits with it.
const KEPT_MICROS: u32 = 1_000_000;

/// Reports on older packets come too late to be of use, and numbers may have gone round since.
const OLD_MICROS: u32 = 5_000_000;

/// The bit of [`Entry::bytes`] for packets told of as missing.
const MISSING: u16 = 0x8000;

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Low bits.
    sent_micros: u32,
    number: u16,
    /// 0: nothing here, or told of as arrived.
    bytes: u16,
}

/// A packet that a receiver told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) sent_micros: i64,
    pub(super) bytes: u16,
    /// It was told of as missing before.
    pub(super) was_missing: bool,
}

/// The log; its memory comes with the first packet.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// As many as a power of two.
    entries: Vec<Entry>,
}

impl Log {
    /// A packet was sent.
    pub(super) fn note(&mut self, now_micros: i64, number: u16, bytes: usize) {
        let fresh = Entry {
            sent_micros: now_micros as u32,
            number,
            bytes: u16::try_from(bytes)
                .unwrap_or(MISSING - 1)
                .clamp(1, MISSING - 1),
        };
        let Some(place) = self.place(number) else {
            self.entries = vec![Entry::default(); ENTRIES_LEAST];
            return self.put(fresh);
        };
        let age = fresh.sent_micros.wrapping_sub(place.sent_micros);
        let young = place.bytes > 0 && place.number != number && age < KEPT_MICROS;
        if young && self.entries.len() < ENTRIES_MOST {
            self.grow();
        }
        self.put(fresh);
    }

    #[cold]
    fn grow(&mut self) {
        let before = std::mem::take(&mut self.entries);
        self.entries = vec![Entry::default(); before.len() * 2];
        for entry in before.into_iter().filter(|entry| entry.bytes > 0) {
            self.put(entry);
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some(place) = self.place(entry.number) {
            *place = entry;
        }
    }

    fn place(&mut self, number: u16) -> Option<&mut Entry> {
        let mask = self.entries.len().checked_sub(1)?;
        self.entries.get_mut(usize::from(number) & mask)
    }

    fn entry(&mut self, now_micros: i64, number: u16) -> Option<(u32, &mut Entry)> {
        let entry = self.place(number)?;
        let age = (now_micros as u32).wrapping_sub(entry.sent_micros);
        let known = entry.number == number && entry.bytes > 0 && age < OLD_MICROS;
        known.then_some((age, entry))
    }

    /// The packet with this number has arrived; what it was, once: reports overlap. `None`: it is unknown,
    /// or was told of before.
    pub(super) fn arrived(&mut self, now_micros: i64, number: u16) -> Option<Packet> {
        let (age, entry) = self.entry(now_micros, number)?;
        let packet = entry.packet(now_micros - i64::from(age));
        entry.bytes = 0;
        Some(packet)
    }

    /// The packet with this number has not arrived; what it was, if that is news. It may come yet.
    pub(super) fn missing(&mut self, now_micros: i64, number: u16) -> Option<Packet> {
        let (age, entry) = self.entry(now_micros, number)?;
        let packet = entry.packet(now_micros - i64::from(age));
        entry.bytes |= MISSING;
        (!packet.was_missing).then_some(packet)
    }
}

impl Entry {
    fn packet(self, sent_micros: i64) -> Packet {
        Packet {
            sent_micros,
            bytes: self.bytes & !MISSING,
            was_missing: self.bytes & MISSING != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_told_of_once() {
        let mut log = Log::default();
        assert_eq!(log.arrived(0, 3), None);
        log.note(5_000, 3, 1_200);
        assert_eq!(log.missing(6_000, 3).map(|p| p.bytes), Some(1_200));
        assert_eq!(log.missing(6_000, 3), None, "no news");
        let packet = Packet {
            sent_micros: 5_000,
            bytes: 1_200,
            was_missing: true,
        };
        assert_eq!(log.arrived(105_000, 3), Some(packet));
        assert_eq!(log.arrived(105_000, 3), None);
        assert_eq!(log.missing(105_000, 3), None);
    }

    #[test]
    fn it_grows_with_what_is_sent_in_a_second_and_no_further() {
        let mut log = Log::default();
        // 500 packets a second for ten seconds.
        for number in 0..5_000_u16 {
            log.note(i64::from(number) * 2_000, number, 100);
        }
        assert_eq!(log.entries.len(), ENTRIES_LEAST);
        // All numbers in a tenth of a second.
        for number in 0..=u16::MAX {
            log.note(10_000_000 + i64::from(number), number, 100);
        }
        assert_eq!(log.entries.len(), ENTRIES_MOST);
        let now = 10_100_000;
        assert!(log.arrived(now, u16::MAX).is_some());
        assert!(log.arrived(now, u16::MAX - 16_383).is_some());
        assert_eq!(log.arrived(now, u16::MAX - 16_384), None, "gave way");
    }

    #[test]
    fn numbers_that_went_round_are_not_taken_for_older_ones() {
        let mut log = Log::default();
        // Beyond 32 bits of microseconds.
        let late = (1_i64 << 33) + 7;
        log.note(late, 9, 500);
        assert_eq!(log.arrived(late + 50, 9).map(|p| p.sent_micros), Some(late));
        log.note(late, 10, 500);
        assert_eq!(log.arrived(late + 6_000_000, 10), None, "too old");
    }
}
