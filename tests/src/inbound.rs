//! What a subscriber got of one track, and whether it is what the rules of forwarding allow.

use std::collections::BTreeMap;

use rillway_core::api::{MediaKind, TrackInfo};

use crate::decoding::Decoding;
use crate::payload::{Body, Vp8};

/// Set of small integers.
#[derive(Debug, Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Adds; false if it was there.
    fn insert(&mut self, n: u32) -> bool {
        let (word, bit) = (n as usize / 64, 1_u64 << (n % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn contains(&self, n: u32) -> bool {
        self.0
            .get(n as usize / 64)
            .is_some_and(|w| w & (1 << (n % 64)) != 0)
    }
}

/// Packets of one layer.
#[derive(Debug, Clone, Default)]
pub struct LayerLog {
    seen: Bits,
    /// Lowest sequence seen.
    pub first: u32,
    /// Highest sequence seen.
    pub highest: u32,
    /// Packets seen, each once.
    pub packets: u64,
}

impl LayerLog {
    /// Sequences missing from `from` up to and without `end`.
    pub fn missing(&self, from: u32, end: u32) -> Vec<u32> {
        (from..end).filter(|n| !self.seen.contains(*n)).collect()
    }
}

/// Delays, in buckets of 100 µs up to one second.
#[derive(Debug, Clone)]
pub struct Delays {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Delays {
            buckets: vec![0; 10_001],
            count: 0,
        }
    }
}

impl Delays {
    /// Adds one, microseconds.
    pub fn add(&mut self, micros: u64) {
        let bucket = (micros / 100).min(self.buckets.len() as u64 - 1) as usize;
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    /// Joins another one's.
    pub fn merge(&mut self, other: &Delays) {
        for (a, b) in self.buckets.iter_mut().zip(&other.buckets) {
            *a += b;
        }
        self.count += other.count;
    }

    /// The delay that `share` (0 to 1) of all are at most, milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let rank = (self.count as f64 * share).ceil() as u64;
        let mut sum = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            sum += n;
            if sum >= rank.max(1) {
                return (i + 1) as f64 / 10.0;
            }
        }
        f64::NAN
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// One RTP packet as received, with its body.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Extended sequence number.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// SSRC.
    pub ssrc: u32,
    /// Marker bit.
    pub marker: bool,
    /// VP8 fields, for video.
    pub vp8: Option<Vp8>,
    /// Body.
    pub body: Body,
}

/// What was received of one subscribed track.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// The track as announced.
    pub info: TrackInfo,
    /// Packets, each RTP sequence number once.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Starts of key frames.
    pub keyframes: u64,
    /// By simulcast layer.
    pub layers: BTreeMap<u8, LayerLog>,
    /// Changes from one layer to another.
    pub switches: u64,
    /// From the publisher's write to the subscriber's read.
    pub delays: Delays,
    /// SSRCs it came with.
    pub ssrcs: Vec<u32>,
    /// First packet.
    pub first: Option<Arrival>,
    /// The packet of the highest RTP sequence number.
    pub newest: Option<Arrival>,
    /// What a decoder makes of it, where that is looked at.
    pub decoding: Option<Box<Decoding>>,
    lowest_sequence: u64,
}

impl Inbound {
    /// Nothing received yet.
    pub fn new(info: TrackInfo) -> Self {
        Inbound {
            info,
            packets: 0,
            bytes: 0,
            keyframes: 0,
            layers: BTreeMap::new(),
            switches: 0,
            delays: Delays::default(),
            ssrcs: Vec::new(),
            first: None,
            newest: None,
            decoding: None,
            lowest_sequence: u64::MAX,
        }
    }

    /// Begins anew: what came so far counts no more.
    pub fn forget(&mut self) {
        *self = Inbound {
            ssrcs: std::mem::take(&mut self.ssrcs),
            decoding: self.decoding.take(),
            ..Inbound::new(self.info.clone())
        };
    }

    /// Begins anew as another subscription, with numbers and an SSRC of its own.
    pub fn restart(&mut self) {
        let decodes = self.decoding.is_some();
        *self = Inbound::new(self.info.clone());
        self.decoding = decodes.then(Box::default);
    }

    /// RTP sequence numbers between the lowest and the highest seen that did not arrive. What the
    /// router numbers is contiguous, so on a network without loss this is 0.
    pub fn rtp_gaps(&self) -> u64 {
        match self.newest {
            Some(newest) => newest.sequence - self.lowest_sequence + 1 - self.packets,
            None => 0,
        }
    }

    /// Sequences of the publisher's layer that did not arrive, from the first that did up to `end`.
    pub fn missing(&self, layer: u8, end: u32) -> Vec<u32> {
        match self.layers.get(&layer) {
            Some(log) => log.missing(log.first, end),
            None => (0..end).collect(),
        }
    }

    /// Notes an arrival; says which rule it breaks.
    pub fn note(&mut self, arrival: &Arrival, bytes: usize) -> Vec<String> {
        let mut broken = Vec::new();
        let body = &arrival.body;
        self.packets += 1;
        self.bytes += bytes as u64;
        let starts_keyframe = body.keyframe && body.index == 0;
        self.keyframes += u64::from(starts_keyframe && self.info.kind == MediaKind::Video);
        if !self.ssrcs.contains(&arrival.ssrc) {
            self.ssrcs.push(arrival.ssrc);
        }
        let log = self.layers.entry(body.layer).or_default();
        if !log.seen.insert(body.sequence) {
            broken.push(format!(
                "packet {} of layer {} came twice, the second time as RTP sequence {}",
                body.sequence, body.layer, arrival.sequence
            ));
        }
        if log.packets == 0 || body.sequence < log.first {
            log.first = body.sequence;
        }
        log.highest = log.highest.max(body.sequence);
        log.packets += 1;
        let last = body.index + 1 == body.count;
        if self.info.kind == MediaKind::Video && arrival.marker != last {
            broken.push(format!(
                "marker {} on packet {} of {}",
                arrival.marker, body.index, body.count
            ));
        }
        if self.first.is_none() {
            self.first = Some(*arrival);
        }
        self.lowest_sequence = self.lowest_sequence.min(arrival.sequence);
        match self.newest {
            Some(newest) if arrival.sequence <= newest.sequence => {}
            newest => {
                if let Some(newest) = newest {
                    self.compare(&newest, arrival, &mut broken);
                }
                self.newest = Some(*arrival);
            }
        }
        broken
    }

    /// Rules between two packets in the order of their sequence numbers (reliability invariants 3
    /// and 4): timestamps never go back, one frame has one timestamp and another frame another,
    /// picture ids rise, and a layer is entered at a key frame only.
    fn compare(&mut self, old: &Arrival, new: &Arrival, broken: &mut Vec<String>) {
        let same_layer = old.body.layer == new.body.layer;
        let same_frame = same_layer && old.body.frame == new.body.frame;
        let step = new.timestamp.wrapping_sub(old.timestamp) as i32;
        if step < 0 || (step == 0) != same_frame {
            broken.push(format!(
                "timestamp moved by {step} from frame {} of layer {} to frame {} of layer {}",
                old.body.frame, old.body.layer, new.body.frame, new.body.layer
            ));
        }
        if let (Some(a), Some(b)) = (
            old.vp8.and_then(|v| v.picture_id),
            new.vp8.and_then(|v| v.picture_id),
        ) {
            let step = b.wrapping_sub(a) & 0x7fff;
            if (step == 0) != same_frame || step >= 0x4000 {
                broken.push(format!(
                    "picture id moved from {a} to {b}, same frame: {same_frame}"
                ));
            }
        }
        // Every frame of this world is of temporal layer 0: both count the same.
        if let (Some(a), Some(b)) = (old.vp8, new.vp8)
            && let (Some(ids), Some(tl0s)) = (a.picture_id.zip(b.picture_id), a.tl0.zip(b.tl0))
        {
            let (ids, tl0) = (ids.1.wrapping_sub(ids.0), tl0s.1.wrapping_sub(tl0s.0));
            if ids as u8 != tl0 {
                broken.push(format!("TL0PICIDX moved by {tl0}, the picture id by {ids}"));
            }
        }
        if !same_layer {
            self.switches += 1;
            let contiguous = old.sequence + 1 == new.sequence;
            if contiguous && !(new.body.keyframe && new.body.index == 0) {
                broken.push(format!(
                    "switched from layer {} to {} in the middle (frame {}, packet {}, key {})",
                    old.body.layer,
                    new.body.layer,
                    new.body.frame,
                    new.body.index,
                    new.body.keyframe
                ));
            }
        }
        if self.ssrcs.len() > 1 {
            broken.push(format!("SSRC changed: {:?}", self.ssrcs));
            self.ssrcs.drain(..self.ssrcs.len() - 1);
        }
    }
}
