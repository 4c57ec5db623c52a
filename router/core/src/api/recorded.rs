//! What a shard hands to a recorder.

use std::sync::Arc;
use std::time::Instant;

use crate::id::TrackId;

/// How a recorded payload is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordedCodec {
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// AV1 RTP payload specification 1.0.
    Av1,
    /// RFC 6184.
    H264,
    /// RFC 7587.
    Opus,
    /// Anything else.
    Other,
}

/// A packet of a recorded track: all of a track make one stream, whatever layers they came from.
#[derive(Debug, Clone)]
pub struct RecordedPacket {
    /// Of this track.
    pub track: TrackId,
    /// Extended sequence number; rises by one per packet of the stream, across layer switches. A hole is a
    /// loss, unless its packet comes later (reordered or retransmitted).
    pub sequence: u64,
    /// In units of `clock_rate`, continuous across layer switches.
    pub timestamp: u32,
    /// Of `timestamp`, Hz.
    pub clock_rate: u32,
    /// When it was captured, by the shard's clock, from the publisher's sender reports (RFC 3550 §6.4.1);
    /// without any, when it arrived.
    pub captured: Instant,
    /// When it arrived.
    pub arrived: Instant,
    /// RTP marker bit.
    pub marker: bool,
    /// RTP payload type, as published.
    pub payload_type: u8,
    /// Codec.
    pub codec: RecordedCodec,
    /// It begins a keyframe.
    pub keyframe: bool,
    /// It is the first of another source (a layer, an SSRC, or the same after a mute), and so is the very
    /// first packet. For video always with a keyframe.
    pub switched: bool,
    /// As published: picture ids are not continuous across switches. Empty: padding that only uses up a
    /// sequence number.
    pub payload: Arc<[u8]>,
}
