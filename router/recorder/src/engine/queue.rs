//! The way of packets from a media worker to the recorder: wait-free, bounded, lossy by whole frames.

use std::collections::HashMap;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use super::stats::{self, Stats};
use crate::api::{Codec, Packet, TrackId};

/// Tracks of one worker that can be losing frames at once and be remembered; beyond it single packets are
/// dropped, which the film sees as losses. More than the default bound of recorded tracks of a worker.
const LOSING_MAX: usize = 4096;

/// What is in the ring.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) track: TrackId,
    pub(crate) packet: Packet,
    /// Packets of this track that were dropped just before it.
    pub(crate) lost: u32,
}

/// Whole frames are dropped, up to a keyframe. One for each place where they can be.
#[derive(Debug)]
pub(crate) struct Gate {
    losing: HashMap<TrackId, u32>,
}

/// What a gate says about a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It may pass; so many of its track were dropped before it.
    After(u32),
    /// It waits for a keyframe in vain.
    No,
}

impl Gate {
    pub(crate) fn new() -> Self {
        // Twice the bound: a table at most half full reuses its places and never grows.
        Self {
            losing: HashMap::with_capacity(2 * LOSING_MAX),
        }
    }

    /// Whether the packet is worth taking.
    pub(crate) fn pass(&self, track: TrackId, packet: &Packet) -> Pass {
        if self.losing.is_empty() {
            return Pass::After(0);
        }
        match self.losing.get(&track) {
            None => Pass::After(0),
            Some(lost) if packet.keyframe || !by_frames(packet) => Pass::After(*lost),
            Some(_) => Pass::No,
        }
    }

    /// It passed.
    pub(crate) fn passed(&mut self, track: TrackId) {
        if !self.losing.is_empty() {
            self.losing.remove(&track);
        }
    }

    /// It was dropped. True: the first one of its track.
    pub(crate) fn dropped(&mut self, track: TrackId) -> bool {
        if let Some(lost) = self.losing.get_mut(&track) {
            *lost = lost.saturating_add(1);
            return false;
        }
        if self.losing.len() < LOSING_MAX {
            self.losing.insert(track, 1);
        }
        true
    }
}

/// Whether frames depend on each other. Of a codec we do not know, keyframes may never be marked.
fn by_frames(packet: &Packet) -> bool {
    !matches!(packet.codec, Codec::Opus | Codec::Other)
}

/// A media worker's end: where it puts packets of recorded tracks.
#[derive(Debug)]
pub struct Tap {
    ring: Producer<Item>,
    /// Tracks that began to lose frames: the recorder asks for a keyframe.
    losses: Producer<TrackId>,
    gate: Gate,
    stats: Arc<Stats>,
}

impl Tap {
    /// Gives a packet to the recorder. Never waits, allocates, or calls the system, and wakes nobody; frees
    /// the packet if it is dropped. False: the queue is full, or it was and a keyframe has not come since;
    /// the recorder will ask for one.
    pub fn push(&mut self, track: TrackId, packet: Packet) -> bool {
        let Pass::After(lost) = self.gate.pass(track, &packet) else {
            return self.dropped(track);
        };
        let item = Item {
            track,
            packet,
            lost,
        };
        if self.ring.push(item).is_err() {
            return self.dropped(track);
        }
        self.gate.passed(track);
        true
    }

    fn dropped(&mut self, track: TrackId) -> bool {
        stats::add(&self.stats.packets_dropped_queue, 1);
        if self.gate.dropped(track) {
            stats::add(&self.stats.drops, 1);
            // Full: so many tracks lose frames that a keyframe more or less is no matter.
            let _ = self.losses.push(track);
        }
        false
    }
}

/// The recorder's end of a [`Tap`].
#[derive(Debug)]
pub(crate) struct Tail {
    ring: Consumer<Item>,
    losses: Consumer<TrackId>,
}

impl Tail {
    /// Packets that wait.
    pub(crate) fn len(&self) -> usize {
        self.ring.slots()
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        self.ring.pop().ok()
    }

    /// A track that began to lose frames.
    pub(crate) fn loss(&mut self) -> Option<TrackId> {
        self.losses.pop().ok()
    }
}

/// A queue of `packets`.
pub(crate) fn queue(packets: usize, stats: &Arc<Stats>) -> (Tap, Tail) {
    let (producer, consumer) = RingBuffer::new(packets);
    let (losses, lost) = RingBuffer::new(LOSING_MAX);
    let tap = Tap {
        ring: producer,
        losses,
        gate: Gate::new(),
        stats: Arc::clone(stats),
    };
    let tail = Tail {
        ring: consumer,
        losses: lost,
    };
    (tap, tail)
}
