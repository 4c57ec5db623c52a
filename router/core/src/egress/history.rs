//! Packets of a layer kept for retransmission: once, whatever the number of subscribers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::extensions::Passed;
use crate::layers::descriptor::Descriptor;
use crate::limits::{HISTORY_AGE, HISTORY_BYTES, HISTORY_PACKETS};

/// A publisher's packet, as far as subscribers get the same.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) payload: Arc<[u8]>,
    pub(crate) extensions: Passed,
    /// The dependency descriptor, as on the wire.
    pub(crate) dependency: Option<Arc<[u8]>>,
    /// Where picture ids are in the payload.
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) marker: bool,
    /// Extended.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    /// When it was captured, by our clock: what reports relate to.
    pub(crate) captured: Instant,
    /// Of its timestamp, Hz.
    pub(crate) clock_rate: u32,
}

#[derive(Debug)]
struct Kept {
    at: Instant,
    packet: Packet,
}

/// The last packets of one layer, by the publisher's sequence numbers.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By sequence number.
    packets: VecDeque<Kept>,
    bytes: usize,
}

impl History {
    /// Keeps a packet, and no longer those that are too many, too large or too old.
    pub(crate) fn keep(&mut self, now: Instant, packet: &Packet) {
        let sequence = packet.sequence;
        // Nearly always at the end.
        let later = self.packets.iter().rev();
        let later = later.take_while(|kept| kept.packet.sequence >= sequence);
        let position = self.packets.len() - later.count();
        let there = self.packets.get(position);
        if there.is_some_and(|kept| kept.packet.sequence == sequence) {
            return;
        }
        self.bytes += packet.payload.len();
        let kept = Kept {
            at: now,
            packet: packet.clone(),
        };
        self.packets.insert(position, kept);
        self.prune(now);
    }

    /// The packet with this number.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Packet> {
        let found = self
            .packets
            .binary_search_by_key(&sequence, |k| k.packet.sequence);
        self.packets.get(found.ok()?).map(|kept| &kept.packet)
    }

    /// Forgets what is too old; true: something is left.
    pub(crate) fn prune(&mut self, now: Instant) -> bool {
        while let Some(oldest) = self.packets.front() {
            let age = now.saturating_duration_since(oldest.at);
            let fits = self.packets.len() <= HISTORY_PACKETS && self.bytes <= HISTORY_BYTES;
            if fits && age <= HISTORY_AGE {
                return true;
            }
            self.bytes = self.bytes.saturating_sub(oldest.packet.payload.len());
            self.packets.pop_front();
        }
        false
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Forgets everything, and frees the memory: numbers mean something else from now on, or nobody
    /// receives the layer any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
