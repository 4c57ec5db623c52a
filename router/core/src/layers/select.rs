//! Which layers of one stream a receiver gets.
//!
//! Fewer at once: from the next picture on, since nothing that remains depends on what is left out. More temporal
//! layers where the codec says that one may; more spatial ones at a keyframe alone. A packet that comes late is
//! judged as it would have been in its place.

use super::dependency::Needs;
use super::frame::{Frame, Level, Up};

/// Changes that packets which come late are judged by.
const CHANGES: usize = 4;

/// A packet's place at the publisher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    /// Extended sequence number.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// The highest sequence number before it, of whatever layer.
    pub(crate) newest: u64,
    /// A keyframe begins: nothing from here on depends on what was before.
    pub(crate) keyframe: bool,
    /// The highest layers that the stream is known to have.
    pub(crate) top: Level,
}

impl Spot {
    fn in_order(&self) -> bool {
        self.newest < self.sequence
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// It is forwarded. `last`: it is the last of its picture that is.
    Take { last: bool },
    /// It is not. `picture`: it is the first seen of a picture that is left out.
    Leave { picture: bool },
}

/// The state for one receiver.
#[derive(Debug)]
pub(crate) struct Selector {
    /// What is forwarded now, at most.
    current: Level,
    /// Since which sequence numbers, but for packets of the picture before with this timestamp, and what before;
    /// newest first.
    changes: [(u64, Level, Option<u32>); CHANGES],
    /// Timestamp of the newest picture.
    picture: Option<u32>,
    /// Spatial layers whose frames of that picture say that one may go on with more temporal layers.
    ready: u8,
    had: Had,
}

/// The frames that a receiver was sent, by their numbers in the dependency descriptor.
#[derive(Debug, Clone, Copy)]
struct Had {
    newest: Option<u16>,
    /// Bit n: the frame n before the newest.
    frames: u128,
}

impl Selector {
    /// For a receiver that was sent everything so far, the last of it with this timestamp.
    pub(crate) fn new(picture: Option<u32>) -> Self {
        Selector {
            current: Level::ALL,
            changes: [(0, Level::ALL, None); CHANGES],
            picture,
            ready: 0,
            had: Had {
                newest: None,
                frames: u128::MAX,
            },
        }
    }

    /// The highest layers that are forwarded now.
    pub(crate) fn current(&self) -> Level {
        self.current
    }

    /// Another source begins, with a keyframe.
    pub(crate) fn restart(&mut self, target: Level) {
        *self = Selector::new(None);
        self.current = target;
        self.changes = [(0, target, None); CHANGES];
    }

    /// What becomes of a packet of a frame, if these layers are wanted.
    pub(crate) fn pick(&mut self, spot: &Spot, frame: &Frame, target: Level) -> Pick {
        let new_picture = spot.in_order() && self.picture != Some(spot.timestamp);
        if new_picture {
            let before = self.picture.replace(spot.timestamp);
            self.ready = 0;
            let least = self.current.least(target);
            if least != self.current {
                // What is missing before it may be of this picture already.
                self.change(spot.newest + 1, least, before);
            }
        }
        if spot.in_order() {
            self.rise(spot, frame, target);
        }
        let most = self.at(spot);
        if !frame.level.is_within(most) {
            return Pick::Leave {
                picture: new_picture,
            };
        }
        if let Up::Described { number, .. } = frame.up {
            self.had.note(number);
        }
        Pick::Take {
            last: frame.ends && frame.level.spatial == most.spatial,
        }
    }

    /// Goes on with more layers, if this is a place to.
    fn rise(&mut self, spot: &Spot, frame: &Frame, target: Level) {
        if self.current == target {
            return;
        }
        let level = if spot.keyframe {
            target
        } else {
            let wanted = target.temporal.min(spot.top.temporal);
            Level {
                temporal: self.temporal(frame, wanted, spot.top.spatial),
                ..self.current
            }
        };
        if level != self.current {
            self.change(spot.sequence, level, None);
        }
    }

    /// The temporal index to go on with from the first packet of a frame. `top`: the highest spatial index.
    fn temporal(&mut self, frame: &Frame, target: u8, top: u8) -> u8 {
        let now = self.current.temporal;
        let own = frame.level;
        if !frame.starts || target <= now || own.spatial > self.current.spatial {
            return now;
        }
        match frame.up {
            // Others of its layer depend on it, and those above may not.
            Up::Synced(true) if own.temporal == now + 1 => own.temporal,
            Up::Point(true) if own.temporal <= now => target,
            Up::Described {
                number,
                needs,
                switch,
            } if own.temporal <= now || self.had.all(number, needs) => {
                let temporals = switch.get(usize::from(own.spatial));
                if temporals.is_some_and(|all| all >> target & 1 == 1) {
                    self.ready |= 1 << own.spatial;
                }
                // Each spatial layer that is forwarded has to say so, in one picture.
                let every = (2_u8 << self.current.spatial.min(top)) - 1;
                if self.ready & every == every {
                    target
                } else {
                    now
                }
            }
            _ => now,
        }
    }

    fn change(&mut self, from: u64, level: Level, before: Option<u32>) {
        self.changes.rotate_right(1);
        if let Some(newest) = self.changes.first_mut() {
            *newest = (from, level, before);
        }
        self.current = level;
    }

    /// What was forwarded, at most, at a packet's place.
    fn at(&self, spot: &Spot) -> Level {
        let mut changes = self.changes.iter();
        let then = changes
            .find(|(from, _, before)| *from <= spot.sequence && *before != Some(spot.timestamp));
        // Of what is older than all that is known, nothing that is left out now is needed any more.
        then.map_or(self.current, |(_, level, _)| *level)
    }
}

impl Had {
    fn note(&mut self, number: u16) {
        let newest = *self.newest.get_or_insert(number);
        let ahead = number.wrapping_sub(newest);
        if ahead < 0x8000 {
            self.frames = self.frames.checked_shl(ahead.into()).unwrap_or_default() | 1;
            self.newest = Some(number);
        } else {
            let behind = u32::from(newest.wrapping_sub(number));
            self.frames |= 1_u128.checked_shl(behind).unwrap_or_default();
        }
    }

    /// Whether it has all the frames that one of this number needs.
    fn all(&self, number: u16, needs: Needs) -> bool {
        let Some(newest) = self.newest else {
            // Everything was forwarded so far.
            return true;
        };
        let ahead = number.wrapping_sub(newest);
        if needs.far || ahead == 0 || ahead >= 0x8000 {
            return !needs.far && needs.near == 0;
        }
        // None came of the frames between.
        let frames = self.frames.checked_shl(u32::from(ahead) - 1);
        needs.near & !frames.unwrap_or_default() == 0
    }
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
