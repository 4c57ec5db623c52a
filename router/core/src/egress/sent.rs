//! What was sent on a stream lately, as far as it takes to send it again: where it came from, and how it
//! was changed. The packets themselves are kept once per layer ([`super::history`]).

use std::time::{Duration, Instant};

use crate::layers::rewrite::Shift;
use crate::shard::slab::TrackKey;

/// Packets remembered: two seconds at 2.5 Mb/s, half a second at 10.
const ENTRIES: usize = 512;

/// Switches between sources remembered.
const ORIGINS: usize = 8;

/// Where packets come from, and how they are changed on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) track: TrackKey,
    pub(crate) layer: u8,
    /// Numbers of the source mean something else in another epoch.
    pub(crate) epoch: u32,
    pub(crate) shift: Shift,
    /// The subscriber's.
    pub(crate) payload_type: u8,
}

/// What is different about a packet of an origin, for those who do not get all its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Variation {
    /// Pictures left out before it.
    pub(crate) pictures: u16,
    /// The last of its picture, for this receiver.
    pub(crate) last: bool,
    /// Nothing of it but its number: it came too late to be left out.
    pub(crate) hollow: bool,
}

/// A packet that is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) origin: Origin,
    pub(crate) variation: Variation,
    /// Its number at the source.
    pub(crate) source: u64,
    /// Its number at the subscriber.
    pub(crate) sequence: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// Low half of the number at the subscriber.
    sequence: u32,
    /// Number at the source, counted from that of its origin's first.
    source: i32,
    /// When it was last sent again, milliseconds from the log's beginning; 0: never.
    again_ms: u32,
    /// Which origin, counted, in the lower bits; 0: nothing here. [`LAST`] and [`HOLLOW`].
    origin: u16,
    /// Pictures left out before it.
    pictures: u16,
}

/// Of [`Entry::origin`]: [`Variation::last`].
const LAST: u16 = 0x8000;
/// Of [`Entry::origin`]: [`Variation::hollow`].
const HOLLOW: u16 = 0x4000;
/// Origins are counted up to this, and then from 1 again: a multiple of what is remembered.
const COUNTED: u16 = 0x3ff8;

/// The log of one stream.
#[derive(Debug)]
pub(crate) struct SentLog {
    began: Instant,
    entries: Box<[Entry; ENTRIES]>,
    origins: [Option<(u64, Origin)>; ORIGINS],
    /// Number of the present origin, which is `origins[number % ORIGINS]`.
    number: u16,
    newest: u64,
}

impl SentLog {
    /// An empty log.
    pub(crate) fn new(now: Instant) -> Self {
        SentLog {
            began: now,
            entries: Box::new([Entry::default(); ENTRIES]),
            origins: [None; ORIGINS],
            number: 0,
            newest: 0,
        }
    }

    /// A packet was sent: this number at the source, that one at the subscriber.
    pub(crate) fn note(
        &mut self,
        source: u64,
        sequence: u64,
        origin: &Origin,
        variation: Variation,
    ) {
        if sequence + ENTRIES as u64 <= self.newest {
            return;
        }
        let present = self.origin(self.number);
        let first = match present {
            Some((first, known)) if known == *origin => first,
            _ => {
                self.number = self.number % COUNTED + 1;
                let place = self.number as usize % ORIGINS;
                if let Some(slot) = self.origins.get_mut(place) {
                    *slot = Some((source, *origin));
                }
                source
            }
        };
        let Ok(source) = i32::try_from(source as i64 - first as i64) else {
            return;
        };
        let mut number = self.number;
        if variation.last {
            number |= LAST;
        }
        if variation.hollow {
            number |= HOLLOW;
        }
        if let Some(entry) = self.entries.get_mut(sequence as usize % ENTRIES) {
            *entry = Entry {
                sequence: sequence as u32,
                source,
                again_ms: 0,
                origin: number,
                pictures: variation.pictures,
            };
        }
        self.newest = self.newest.max(sequence);
    }

    fn origin(&self, number: u16) -> Option<(u64, Origin)> {
        *self.origins.get(number as usize % ORIGINS)?
    }

    /// The packet with this number, if it may be sent again now: not twice within `pause`.
    pub(crate) fn take(&mut self, now: Instant, number: u16, pause: Duration) -> Option<Wanted> {
        let behind = (self.newest as u16).wrapping_sub(number);
        if usize::from(behind) >= ENTRIES {
            return None;
        }
        let sequence = self.newest.checked_sub(behind.into())?;
        let present = self.number;
        let elapsed = now.saturating_duration_since(self.began);
        // From 1: 0 stands for never.
        let now_ms = u32::try_from(elapsed.as_millis() + 1).unwrap_or(u32::MAX);
        let entry = self.entries.get_mut(sequence as usize % ENTRIES)?;
        let origin = entry.origin & !(LAST | HOLLOW);
        let known = origin != 0 && entry.sequence == sequence as u32;
        let since = (present + COUNTED - origin) % COUNTED;
        if !known || usize::from(since) >= ORIGINS {
            return None;
        }
        let since = u128::from(now_ms.saturating_sub(entry.again_ms));
        if entry.again_ms != 0 && since < pause.as_millis() {
            return None;
        }
        entry.again_ms = now_ms;
        let source = entry.source;
        let variation = Variation {
            pictures: entry.pictures,
            last: entry.origin & LAST != 0,
            hollow: entry.origin & HOLLOW != 0,
        };
        let (first, origin) = self.origin(origin)?;
        Some(Wanted {
            origin,
            variation,
            source: first.checked_add_signed(source.into())?,
            sequence,
        })
    }
}

#[cfg(test)]
#[path = "sent_tests.rs"]
mod tests;
