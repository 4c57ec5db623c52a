//! What ends every payload that the swarm sends: who sent it, as which packet, and when.
//!
//! It stands at the end, so that it is found whatever a codec puts before it, and whatever a server rewrites there.

/// Bytes of a marker.
pub const MARKER_BYTES: usize = 28;

const MAGIC: u32 = 0x524c_4c31;

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Opus.
    Audio,
    /// VP8.
    Video,
}

/// A medium of a publisher, in all the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

impl StreamId {
    /// Of the publisher of this number.
    pub fn new(publisher: u32, medium: Medium) -> Self {
        StreamId((publisher << 1) | u32::from(medium == Medium::Video))
    }

    /// What it carries.
    pub fn medium(self) -> Medium {
        if self.0 & 1 == 0 {
            Medium::Audio
        } else {
            Medium::Video
        }
    }
}

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Tells this run from any other in the same room.
    pub run: u32,
    /// Whose it is.
    pub stream: StreamId,
    /// Counts the packets of the stream, from 0.
    pub sequence: u32,
    /// When it was written, nanoseconds since the run began.
    pub sent_ns: u64,
    /// Index of the packet in its frame.
    pub index: u16,
    /// Packets of the frame.
    pub count: u16,
}

impl Marker {
    /// As it stands in a payload.
    pub fn to_bytes(self) -> [u8; MARKER_BYTES] {
        let mut bytes = [0; MARKER_BYTES];
        let fields: [&[u8]; 7] = [
            &MAGIC.to_be_bytes(),
            &self.run.to_be_bytes(),
            &self.stream.0.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.sent_ns.to_be_bytes(),
            &self.index.to_be_bytes(),
            &self.count.to_be_bytes(),
        ];
        let all = fields.iter().flat_map(|field| field.iter());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = *from;
        }
        bytes
    }

    /// The marker at the end of a payload, if there is one.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let bytes = payload.last_chunk::<MARKER_BYTES>()?;
        let (magic, rest) = bytes.split_first_chunk()?;
        if u32::from_be_bytes(*magic) != MAGIC {
            return None;
        }
        let (run, rest) = rest.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (sent_ns, rest) = rest.split_first_chunk()?;
        let (index, rest) = rest.split_first_chunk()?;
        let (count, _) = rest.split_first_chunk()?;
        Some(Marker {
            run: u32::from_be_bytes(*run),
            stream: StreamId(u32::from_be_bytes(*stream)),
            sequence: u32::from_be_bytes(*sequence),
            sent_ns: u64::from_be_bytes(*sent_ns),
            index: u16::from_be_bytes(*index),
            count: u16::from_be_bytes(*count),
        })
    }
}

/// Sequence numbers seen, the latest [`Seen::SPAN`] of them.
#[derive(Debug, Clone)]
pub struct Seen {
    bits: [u64; Seen::WORDS],
    /// One past the highest; 0: none was seen.
    end: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Seen {
            bits: [0; Seen::WORDS],
            end: 0,
        }
    }
}

impl Seen {
    const WORDS: usize = 32;
    /// What is further behind the highest counts as seen.
    pub const SPAN: u64 = Seen::WORDS as u64 * 64;

    /// Notes one; whether it is new.
    pub fn insert(&mut self, sequence: u64) -> bool {
        if sequence >= self.end {
            // Places of numbers that were skipped are empty again.
            let skipped = (sequence - self.end).min(Self::SPAN);
            for gone in (sequence - skipped)..sequence {
                self.set(gone, false);
            }
            self.end = sequence + 1;
            self.set(sequence, true);
            return true;
        }
        if self.end - sequence > Self::SPAN || self.has(sequence) {
            return false;
        }
        self.set(sequence, true);
        true
    }

    fn place(sequence: u64) -> (usize, u64) {
        let at = sequence % Self::SPAN;
        ((at / 64) as usize, 1 << (at % 64))
    }

    fn has(&self, sequence: u64) -> bool {
        let (word, bit) = Self::place(sequence);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, sequence: u64, seen: bool) {
        let (word, bit) = Self::place(sequence);
        if let Some(word) = self.bits.get_mut(word) {
            *word = if seen { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            run: 0xdead_beef,
            stream: StreamId::new(7, Medium::Video),
            sequence: 0x0102_0304,
            sent_ns: 0x0102_0304_0506_0708,
            index: 3,
            count: 9,
        }
    }

    #[test]
    fn a_marker_is_read_from_the_end_of_a_payload() {
        let mut payload = vec![0x90, 0xe0, 1, 2, 3];
        payload.extend_from_slice(&marker().to_bytes());
        assert_eq!(Marker::read(&payload), Some(marker()));
        payload.push(0);
        assert_eq!(Marker::read(&payload), None);
        assert_eq!(Marker::read(&marker().to_bytes()[1..]), None);
    }

    #[test]
    fn streams_know_their_medium() {
        for (publisher, medium, number) in [(0, Medium::Audio, 0), (3, Medium::Video, 7)] {
            let stream = StreamId::new(publisher, medium);
            assert_eq!((stream.0, stream.medium()), (number, medium));
        }
    }

    #[test]
    fn what_came_twice_is_not_new() {
        let mut seen = Seen::default();
        let news = [5, 4, 5, 4, 7, 6, 6, 7].map(|number| seen.insert(number));
        assert_eq!(news, [true, true, false, false, true, true, false, false]);
    }

    #[test]
    fn a_jump_leaves_no_trace_of_what_was_before() {
        let mut seen = Seen::default();
        assert!((0..100).all(|number| seen.insert(number)));
        assert!(seen.insert(Seen::SPAN + 99));
        // Numbers at the places of 1 to 98, and none of them was seen.
        assert!((Seen::SPAN + 1..Seen::SPAN + 99).all(|number| seen.insert(number)));
        assert!(!seen.insert(99), "too far behind to tell");
        assert!(seen.insert(1_000_000));
        assert!(seen.insert(1_000_000 - Seen::SPAN + 1));
        assert!(!seen.insert(1_000_000 - Seen::SPAN));
    }
}
