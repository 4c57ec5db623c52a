//! A publisher's packet, as far as whoever may get it needs to know it.

use std::time::Instant;

use str0m::format::{Codec, PayloadParams};
use str0m::rtp::RtpPacket;

use super::slab::TrackKey;
use crate::egress::extensions::{Passed, dependency_of};
use crate::egress::history::Packet;
use crate::layers::frame::{Frame, Level};
use crate::layers::rewrite::Arrival;
use crate::layers::{Layer, descriptor, keyframe};
use crate::limits::PACKET_OVERHEAD_BYTES;
use crate::subscription::Due;
use crate::track::PayloadFormat;

/// What is to be known of a packet to measure it, whichever worker it came in at.
pub(super) struct Observed<'a> {
    pub(super) ssrc: u32,
    /// Extended.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) header_bytes: usize,
    pub(super) payload: &'a [u8],
    pub(super) marker: bool,
    pub(super) dependency: Option<&'a [u8]>,
    pub(super) audio_level: Option<i8>,
    pub(super) when: When,
}

/// What is known of a packet's time.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// It arrived now; when it was captured is to be found.
    Arrived(Instant),
    /// It was captured then, by our clock.
    Captured(Instant),
}

/// What all subscriptions of a layer need to know of a packet.
pub(super) struct Incoming {
    pub(super) track: TrackKey,
    pub(super) arrival: Arrival,
    pub(super) format: PayloadFormat,
    pub(super) video: bool,
    pub(super) layer: u8,
    pub(super) epoch: u32,
    /// A keyframe begins, and nothing later came before it: a place to switch at.
    pub(super) keyframe: bool,
    /// A keyframe begins, however late.
    pub(super) begins_keyframe: bool,
    pub(super) descriptor: Option<descriptor::Descriptor>,
    /// Its frame, where layers inside the stream are told apart.
    pub(super) frame: Option<Frame>,
    /// The highest of those layers.
    pub(super) top: Level,
    pub(super) payload_bytes: u64,
    /// Its number in the turn.
    pub(super) packet: u32,
}

impl Incoming {
    /// No content: a publisher without a retransmission stream probes its bandwidth so. It still uses up
    /// a sequence number, and would count as lost if the stream went on without it.
    pub(super) fn is_padding(&self) -> bool {
        self.payload_bytes == 0
    }

    /// As a subscription needs to know it.
    pub(super) fn due(&self) -> Due<'_> {
        Due {
            layer: self.layer,
            epoch: self.epoch,
            arrival: &self.arrival,
            descriptor: self.descriptor.as_ref(),
            frame: self.frame.as_ref(),
            keyframe: self.keyframe,
            top: self.top,
            compact: self.format.codec == Codec::Vp8,
        }
    }
}

/// What a packet says of its frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// Where layers inside the stream are told apart, or frames counted.
    pub(super) frame: Option<Frame>,
    /// The highest of those layers.
    pub(super) top: Level,
    pub(super) begins_keyframe: bool,
}

impl Told {
    /// Reads it, and tells the layer. `in_order`: nothing later came before it. A keyframe whose beginning comes late
    /// (retransmitted) is no place to switch at: what came before it was not forwarded.
    pub(super) fn read(
        now: Instant,
        layer: &mut Layer,
        codec: Codec,
        packet: &Observed<'_>,
        in_order: bool,
    ) -> Self {
        let (payload, marker) = (packet.payload, packet.marker);
        let (frame, begins) = layer.read_frame(codec, payload, marker, packet.dependency);
        if let Some(frame) = &frame {
            layer.on_frame(now, frame, packet.bytes());
        }
        let begins_keyframe = begins.unwrap_or_else(|| keyframe::begins(codec, payload));
        if begins_keyframe && in_order {
            layer.on_keyframe(keyframe::size(codec, payload));
            if let Some(sizes) = keyframe::sizes(codec, payload) {
                layer.on_sizes(&sizes);
            }
        }
        let matters = |frame: &Frame| layer.levels.is_some() || frame.number().is_some();
        Told {
            frame: frame.filter(matters),
            top: layer.top(),
            begins_keyframe,
        }
    }
}

impl Observed<'_> {
    /// On the wire, headers included.
    pub(super) fn bytes(&self) -> usize {
        PACKET_OVERHEAD_BYTES + self.header_bytes + self.payload.len()
    }
}

/// What subscribers get of a packet.
pub(super) fn outgoing(packet: &RtpPacket, incoming: &Incoming) -> Packet {
    Packet {
        payload: packet.payload.clone(),
        extensions: Passed::of(&packet.header.ext_vals),
        dependency: dependency_of(&packet.header.ext_vals),
        descriptor: incoming.descriptor,
        marker: packet.header.marker,
        sequence: incoming.arrival.sequence,
        timestamp: incoming.arrival.timestamp,
        captured: incoming.arrival.captured,
        clock_rate: incoming.arrival.clock_rate,
    }
}

/// The same in few words.
pub(super) fn format_by(params: &PayloadParams) -> PayloadFormat {
    let spec = params.spec();
    // RTP counts G.722 at half its sampling rate (RFC 3551 §4.5.2).
    let clock_rate = if spec.codec == Codec::G722 {
        8_000
    } else {
        spec.clock_rate.get()
    };
    PayloadFormat {
        payload_type: params.pt(),
        codec: spec.codec,
        clock_rate,
    }
}
