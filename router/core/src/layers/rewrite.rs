//! One continuous RTP stream out of several sources: sequence numbers without gaps of ours,
//! timestamps that only grow, picture ids that go on.

use std::time::{Duration, Instant};

use super::descriptor::{Descriptor, Replacement};
use super::omitted::{Before, Omitted};
use crate::mutants::{self, Mutant};

/// What is added to the numbers of a source's packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) timestamp: u32,
    pub(crate) picture: u16,
    pub(crate) tl0: u8,
    /// Of the number in the dependency descriptor.
    pub(crate) frame: u16,
}

impl Shift {
    /// The same for a packet that so many pictures were left out before.
    pub(crate) fn without(self, pictures: u16) -> Self {
        Shift {
            picture: self.picture.wrapping_sub(pictures),
            ..self
        }
    }

    /// The picture ids to write in place of those in a payload; `None`: they may stay.
    pub(crate) fn replacement(&self, descriptor: &Descriptor) -> Option<Replacement> {
        if self.picture == 0 && self.tl0 == 0 {
            return None;
        }
        let picture = descriptor
            .picture
            .map(|place| place.value.wrapping_add(self.picture) & place.mask());
        let tl0 = descriptor
            .tl0
            .map(|place| place.value.wrapping_add(self.tl0));
        Some(Replacement {
            descriptor: *descriptor,
            picture,
            tl0,
        })
    }

    /// Writes them.
    pub(crate) fn apply(&self, descriptor: &Descriptor, payload: &mut [u8]) {
        if let Some(replacement) = self.replacement(descriptor) {
            replacement.apply(payload);
        }
    }
}

/// A packet's place in the outgoing stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Extended sequence number.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// Pictures left out before it since the last switch.
    pub(crate) pictures: u16,
}

/// What is known of an incoming packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Extended sequence number.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// When it was captured, by our clock.
    pub(crate) captured: Instant,
    pub(crate) clock_rate: u32,
}

/// The state of one outgoing stream.
#[derive(Debug)]
pub(crate) struct Rewriter {
    /// Outgoing minus incoming sequence number.
    sequence_offset: i64,
    timestamp_offset: u32,
    /// Older packets of the source belong before the switch to it: they are never forwarded.
    floor: u64,
    newest: Option<Newest>,
    /// Highest sequence number of the source, and the timestamp that came with it.
    seen: (u64, u32),
    /// What was left out of the source; made when something is.
    omitted: Option<Box<Omitted>>,
    picture_offset: u16,
    tl0_offset: u8,
    frame_offset: u16,
    newest_picture: Option<u16>,
    newest_tl0: Option<u8>,
    newest_frame: Option<u16>,
    /// The first sequence number of all.
    first: u64,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    sequence: u64,
    timestamp: u32,
    captured: Instant,
}

impl Rewriter {
    /// A stream that begins at this sequence number. It must be below 65,536: a receiver takes the
    /// rollover counter for zero (RFC 3711 §3.3.1).
    pub(crate) fn new(first: u16) -> Self {
        Rewriter {
            sequence_offset: 0,
            timestamp_offset: 0,
            floor: 0,
            newest: None,
            seen: (0, 0),
            omitted: None,
            picture_offset: 0,
            tl0_offset: 0,
            frame_offset: 0,
            newest_picture: None,
            newest_tl0: None,
            newest_frame: None,
            first: u64::from(first),
        }
    }

    /// From this packet on, the stream comes from another source (or the same after a pause). For
    /// video it must be the first of a keyframe.
    pub(crate) fn switch(
        &mut self,
        arrival: &Arrival,
        descriptor: Option<&Descriptor>,
        frame: Option<u16>,
    ) {
        let (sequence, timestamp) = match self.newest {
            None => (self.first, arrival.timestamp),
            Some(newest) => {
                let elapsed = arrival
                    .captured
                    .saturating_duration_since(newest.captured)
                    .min(Duration::from_secs(3_600));
                let ticks = elapsed.as_micros() as u64 * u64::from(arrival.clock_rate) / 1_000_000;
                // Another frame must have another timestamp: a millisecond is the least.
                let ticks = (ticks as u32).max(arrival.clock_rate / 1_000).max(1);
                let next = u64::from(!mutants::is(Mutant::NumberTwice));
                (newest.sequence + next, newest.timestamp.wrapping_add(ticks))
            }
        };
        self.sequence_offset = sequence as i64 - arrival.sequence as i64;
        self.timestamp_offset = timestamp.wrapping_sub(arrival.timestamp);
        self.floor = arrival.sequence;
        self.seen = (arrival.sequence.saturating_sub(1), arrival.timestamp);
        self.omitted = None;
        if let Some(frame) = frame {
            self.frame_offset = match self.newest_frame {
                Some(newest) => newest.wrapping_add(1).wrapping_sub(frame),
                None => 0,
            };
        }
        if let Some(picture) = descriptor.and_then(|d| d.picture) {
            self.picture_offset = match self.newest_picture {
                Some(_) if mutants::is(Mutant::PictureIds) => 0,
                Some(newest) => newest.wrapping_add(1).wrapping_sub(picture.value),
                None => 0,
            };
        }
        if let Some(tl0) = descriptor.and_then(|d| d.tl0) {
            self.tl0_offset = match self.newest_tl0 {
                Some(newest) => newest.wrapping_add(1).wrapping_sub(tl0.value),
                None => 0,
            };
        }
    }

    /// Where a packet of the present source goes; `None`: it is from before the switch, or too late to be placed.
    pub(crate) fn place(&mut self, arrival: &Arrival) -> Option<Place> {
        if arrival.sequence < self.floor && !mutants::is(Mutant::LateAfterSwitch) {
            return None;
        }
        let before = match &mut self.omitted {
            Some(omitted) => omitted.place(self.seen.0, arrival.sequence)?,
            None => Before::default(),
        };
        let offset = self.sequence_offset - i64::from(before.packets);
        let sequence = u64::try_from(arrival.sequence as i64 + offset).ok()?;
        let timestamp = arrival.timestamp.wrapping_add(self.timestamp_offset);
        if self.newest.is_none_or(|newest| newest.sequence < sequence) {
            self.newest = Some(Newest {
                sequence,
                timestamp,
                captured: arrival.captured,
            });
        }
        self.see(arrival);
        Some(Place {
            sequence,
            timestamp,
            pictures: before.pictures,
        })
    }

    /// Leaves out a packet of the present source that is newer than all before: what comes after it takes its
    /// number. `picture`: a picture is left out with it.
    pub(crate) fn omit(&mut self, arrival: &Arrival, picture: bool) {
        let omitted = self.omitted.get_or_insert_default();
        omitted.omit(self.seen.0, arrival.sequence, picture);
        self.see(arrival);
    }

    fn see(&mut self, arrival: &Arrival) {
        if self.seen.0 < arrival.sequence {
            self.seen = (arrival.sequence, arrival.timestamp);
        }
    }

    /// Highest sequence number of the present source so far, and the timestamp that came with it.
    pub(crate) fn seen(&self) -> (u64, u32) {
        self.seen
    }

    /// How packets of the present source are changed.
    pub(crate) fn shift(&self) -> Shift {
        Shift {
            timestamp: self.timestamp_offset,
            picture: self.picture_offset,
            tl0: self.tl0_offset,
            frame: self.frame_offset,
        }
    }

    /// Notes the number in the dependency descriptor of a packet that [`Rewriter::place`] let through.
    pub(crate) fn note_frame(&mut self, number: u16) {
        let value = number.wrapping_add(self.frame_offset);
        if is_newer(value, self.newest_frame, u16::MAX) {
            self.newest_frame = Some(value);
        }
    }

    /// Notes the picture ids of a packet that [`Rewriter::place`] let through, so many pictures having been left
    /// out before it.
    pub(crate) fn note_pictures(&mut self, descriptor: &Descriptor, pictures: u16) {
        // What goes with the newest picture is the newest, whatever the few bits of its own say: they go round within
        // ten seconds, and a publisher may be away for longer.
        let mut newest = None;
        if let Some(place) = descriptor.picture {
            let offset = self.picture_offset.wrapping_sub(pictures);
            let value = place.value.wrapping_add(offset) & place.mask();
            let newer = is_newer(value, self.newest_picture, place.mask());
            if newer {
                self.newest_picture = Some(value);
            }
            newest = Some(newer);
        }
        if let Some(place) = descriptor.tl0 {
            let value = place.value.wrapping_add(self.tl0_offset);
            let newer = newest.unwrap_or_else(|| {
                self.newest_tl0
                    .is_none_or(|newest| (value.wrapping_sub(newest) as i8) > 0)
            });
            if newer {
                self.newest_tl0 = Some(value);
            }
        }
    }
}

fn is_newer(value: u16, newest: Option<u16>, mask: u16) -> bool {
    let Some(newest) = newest else {
        return true;
    };
    let ahead = value.wrapping_sub(newest) & mask;
    ahead != 0 && ahead <= mask / 2
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
