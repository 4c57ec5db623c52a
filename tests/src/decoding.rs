//! What a decoder would make of a stream: which frames are whole, which can be shown, and for how long none could.
//!
//! It reads packets in the order of their sequence numbers, whatever order they come in, and holds neighbours
//! against each other: what the router numbered one behind the other must belong one behind the other.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rillway_core::api::MediaKind;

use crate::inbound::Arrival;

/// Packets kept behind the one that is read next, to hold late ones against.
const KEPT: u64 = 512;

/// A hole that has stayed for so long is not waited for any more: the decoder asks for a keyframe, microseconds.
const PATIENCE_MICROS: u64 = 400_000;

/// The state of one stream.
#[derive(Debug, Clone, Default)]
pub struct Decoding {
    arrivals: BTreeMap<u64, Arrival>,
    /// Sequence number of the packet that is to be read next.
    next: Option<u64>,
    /// Since when that packet, or its frame, is not there although later ones are.
    stuck_since: Option<u64>,
    /// When a keyframe was asked for last.
    asked_at: u64,
    /// Frames that can be shown.
    pub shown: u64,
    /// When the newest one was complete, microseconds since the world's start.
    pub shown_at: u64,
    /// The longest time between two of them, microseconds.
    pub longest_micros: u64,
    /// Times a hole was jumped over to a keyframe.
    pub jumps: u64,
    /// Keyframes asked for.
    pub asked: u64,
    /// Everything that came, in the order in which it came, as a number.
    pub trace: u64,
}

impl Decoding {
    /// Notes a packet that came at `micros` since the world's start; says which rules are broken.
    pub fn note(&mut self, kind: MediaKind, arrival: &Arrival, micros: u64) -> Vec<String> {
        self.trace = mix(self.trace, micros);
        self.trace = mix(
            self.trace,
            u64::from(arrival.body.sequence) << 8 | u64::from(arrival.body.layer),
        );
        self.trace = mix(self.trace, arrival.sequence);
        let mut broken = Vec::new();
        let before = self.arrivals.range(..arrival.sequence).next_back();
        let after = self.arrivals.range(arrival.sequence + 1..).next();
        let neighbours = [
            before.map(|(_, before)| (before, arrival)),
            after.map(|(_, after)| (arrival, after)),
        ];
        for (left, right) in neighbours.into_iter().flatten() {
            if left.sequence + 1 == right.sequence {
                broken.extend(follows(kind, left, right));
            }
        }
        self.arrivals.insert(arrival.sequence, *arrival);
        let next = *self.next.get_or_insert(arrival.sequence);
        if arrival.sequence < next && self.shown == 0 {
            self.next = Some(arrival.sequence);
        }
        match kind {
            MediaKind::Audio => self.show(micros),
            MediaKind::Video => self.read(micros),
        }
        if let Some(next) = self.next
            && self.arrivals.len() as u64 > 2 * KEPT
        {
            self.arrivals = self.arrivals.split_off(&next.saturating_sub(KEPT));
        }
        broken
    }

    fn show(&mut self, micros: u64) {
        if self.shown > 0 {
            let pause = micros.saturating_sub(self.shown_at);
            self.longest_micros = self.longest_micros.max(pause);
        }
        self.shown += 1;
        self.shown_at = micros;
    }

    /// Shows what can be shown.
    fn read(&mut self, micros: u64) {
        loop {
            let Some(next) = self.next else { return };
            match self.whole_frame(next) {
                ControlFlow::Continue(count) => {
                    self.stuck_since = None;
                    self.next = Some(next + count);
                    self.show(micros);
                }
                ControlFlow::Break(()) => {
                    let Some(begin) = self.later_keyframe(next) else {
                        break;
                    };
                    self.jumps += 1;
                    self.next = Some(begin);
                }
            }
        }
        let later = self.arrivals.keys().next_back().copied();
        if later >= self.next {
            self.stuck_since.get_or_insert(micros);
        }
    }

    /// How many packets the frame has that begins there, if all are there, and it can be shown.
    fn whole_frame(&self, first: u64) -> ControlFlow<(), u64> {
        let Some(begin) = self.arrivals.get(&first) else {
            return ControlFlow::Break(());
        };
        let count = u64::from(begin.body.count);
        let all = (0..count).all(|n| {
            let packet = self.arrivals.get(&(first + n));
            packet.is_some_and(|p| {
                (p.body.frame, p.body.layer) == (begin.body.frame, begin.body.layer)
            })
        });
        let begins = begin.body.index == 0 && (self.shown > 0 || begin.body.keyframe);
        if all && begins {
            ControlFlow::Continue(count)
        } else {
            ControlFlow::Break(())
        }
    }

    /// Where the next whole keyframe begins.
    fn later_keyframe(&self, from: u64) -> Option<u64> {
        let mut later = self.arrivals.range(from + 1..);
        let found = later.find(|(sequence, packet)| {
            packet.body.keyframe
                && packet.body.index == 0
                && self.whole_frame(**sequence).is_continue()
        });
        found.map(|(sequence, _)| *sequence)
    }

    /// When a keyframe is to be asked for, if nothing changes.
    pub fn asks_at(&self) -> Option<u64> {
        let since = self.stuck_since?;
        Some((since + PATIENCE_MICROS).max(self.asked_at + PATIENCE_MICROS))
    }

    /// Whether a keyframe is to be asked for now.
    pub fn asks(&mut self, micros: u64) -> bool {
        let due = self.asks_at().is_some_and(|at| at <= micros);
        if due {
            self.asked_at = micros;
            self.asked += 1;
        }
        due
    }
}

/// Adds a number to a trace.
pub fn mix(trace: u64, value: u64) -> u64 {
    (trace ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(31)
}

/// Rules of two packets that are numbered one behind the other (reliability invariants 2 to 5): a frame is whole
/// before another begins, none is left out between frames that need each other, and a layer is entered at a
/// keyframe.
fn follows(kind: MediaKind, left: &Arrival, right: &Arrival) -> Option<String> {
    let (a, b) = (&left.body, &right.body);
    if kind == MediaKind::Audio {
        let later = b.sequence > a.sequence;
        return (!later).then(|| format!("audio packet {} after {}", b.sequence, a.sequence));
    }
    if b.keyframe && b.index == 0 && (a.layer, a.frame) != (b.layer, b.frame) {
        return None;
    }
    if a.layer != b.layer {
        let (from, to) = (a.layer, b.layer);
        return Some(format!(
            "from layer {from} to packet {} of frame {} of layer {to}",
            b.index, b.frame
        ));
    }
    let same = a.frame == b.frame && a.index + 1 == b.index;
    let next = a.frame + 1 == b.frame && a.index + 1 == a.count && b.index == 0;
    (!same && !next).then(|| {
        format!(
            "packet {} of {} of frame {} is followed by packet {} of frame {} of layer {}",
            a.index, a.count, a.frame, b.index, b.frame, b.layer
        )
    })
}
