//! Packets of one track into their order, with patience for what is sent again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::Packet;

/// How long a hole may stay open. A recording is no live playback: retransmissions are asked for several
/// times, and each takes a round trip.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long the first packet of a track waits for earlier ones, unless a keyframe begins with it.
const PATIENCE_AT_START: Duration = Duration::from_millis(400);
/// Packets that wait for a hole: more than two seconds at 20 Mb/s. Beyond it, holes are given up.
const MAX_PACKETS: usize = 4096;
/// Their payloads together.
const MAX_BYTES: usize = 8 << 20;

/// What comes out, in order.
#[derive(Debug)]
pub(super) enum Ordered {
    /// The next packet, padding included.
    Packet(Packet),
    /// At least one packet will never come.
    Hole,
}

/// The packets of one track that came too early. At most 4,096 packets and 8 MiB.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    bytes: usize,
    hole_since: Option<Instant>,
    /// Between this number and the next packet, some were dropped by ourselves.
    broken_after: Option<u64>,
}

impl Reorder {
    /// A packet, in whatever order. What came before, or is too late, is dropped.
    pub(super) fn insert(&mut self, packet: &Packet) {
        if self.next.is_some_and(|next| packet.sequence < next)
            || self.waiting.contains_key(&packet.sequence)
        {
            return;
        }
        self.bytes = self.bytes.saturating_add(packet.payload.len());
        self.waiting.insert(packet.sequence, packet.clone());
    }

    /// Packets were dropped by ourselves before the next one that comes.
    pub(super) fn broken_here(&mut self) {
        let last = self.waiting.last_key_value().map(|(sequence, _)| *sequence);
        self.broken_after = last.or(self.next.and_then(|next| next.checked_sub(1)));
    }

    /// More than may wait: the caller should take packets out now.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > MAX_PACKETS || self.bytes > MAX_BYTES
    }

    /// What is next by `now`; with `all`, as if nothing more could come.
    pub(super) fn pop(&mut self, now: Instant, all: bool) -> Option<Ordered> {
        let (&first, packet) = self.waiting.first_key_value()?;
        let given_up = |since: Instant, patience| now.saturating_duration_since(since) >= patience;
        let Some(next) = self.next else {
            let keyframe = packet.keyframe;
            let since = *self.hole_since.get_or_insert(now);
            if !(all || keyframe || self.is_full() || given_up(since, PATIENCE_AT_START)) {
                return None;
            }
            self.hole_since = None;
            return self.take(first);
        };
        let broken = self.broken_after.is_some_and(|last| first > last);
        if first == next && !broken {
            return self.take(first);
        }
        let since = *self.hole_since.get_or_insert(now);
        let hopeless =
            all || broken || self.is_full() || self.waiting.values().any(|packet| packet.switched);
        if !hopeless && !given_up(since, PATIENCE) {
            return None;
        }
        if broken {
            self.broken_after = None;
        }
        self.hole_since = None;
        self.next = Some(first);
        Some(Ordered::Hole)
    }

    fn take(&mut self, sequence: u64) -> Option<Ordered> {
        let packet = self.waiting.remove(&sequence)?;
        self.bytes = self.bytes.saturating_sub(packet.payload.len());
        self.next = Some(sequence.saturating_add(1));
        self.hole_since = None;
        Some(Ordered::Packet(packet))
    }
}
