//! One record of a dump, and its bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::api::{Codec, Packet, TrackId};

/// What every dump begins with. The line ending shows a file that went through a text conversion.
pub const MAGIC: [u8; 8] = *b"RLWYRTP\n";
/// Of the format.
pub const VERSION: u16 = 1;
/// Longest body of a record: a UDP payload, and the fields of a packet.
pub(super) const BODY_BYTES_MAX: usize = 66_000;
/// Length and checksum.
pub(super) const HEAD_BYTES: usize = 8;

const HEADER: u8 = 1;
const TRACK: u8 = 2;
const PACKET: u8 = 3;
const LOST: u8 = 4;
const END: u8 = 5;

const MARKER: u8 = 1;
const KEYFRAME: u8 = 2;
const SWITCHED: u8 = 4;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// The first one.
    Header {
        /// [`VERSION`].
        version: u16,
        /// All other times count from here.
        start: SystemTime,
    },
    /// Before the first packet of a track, or of another codec of it.
    Track(RecordedTrack),
    /// A packet.
    Packet(RecordedPacket),
    /// Packets of a track were dropped in the router before this place.
    Lost {
        /// Track.
        track: TrackId,
    },
    /// The last one: the file is complete.
    End {
        /// Packets in the file.
        packets: u64,
    },
}

/// A track of a dump. One whose codec changed is there once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedTrack {
    /// The router's number.
    pub track: TrackId,
    /// Video, or audio.
    pub video: bool,
    /// Codec.
    pub codec: Codec,
    /// Hz.
    pub clock_rate: u32,
    /// RTP payload type of its first packet.
    pub payload_type: u8,
}

/// A packet of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPacket {
    /// Its track.
    pub track: TrackId,
    /// Its codec.
    pub codec: Codec,
    /// Of its timestamp, Hz.
    pub clock_rate: u32,
    /// Extended sequence number.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// When it was captured, since the start; may be before it, ns.
    pub captured_ns: i64,
    /// When it arrived.
    pub arrived_ns: i64,
    /// RTP marker bit.
    pub marker: bool,
    /// It begins a keyframe.
    pub keyframe: bool,
    /// The first of another source.
    pub switched: bool,
    /// RTP payload type.
    pub payload_type: u8,
    /// Payload; of an encrypted track, as it was encrypted.
    pub payload: Vec<u8>,
}

fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Vp8 => 1,
        Codec::Vp9 => 2,
        Codec::Av1 => 3,
        Codec::H264 => 4,
        Codec::Opus => 5,
        Codec::Other => 0,
    }
}

fn codec_of(number: u8) -> Codec {
    match number {
        1 => Codec::Vp8,
        2 => Codec::Vp9,
        3 => Codec::Av1,
        4 => Codec::H264,
        5 => Codec::Opus,
        _ => Codec::Other,
    }
}

/// As in SDP.
pub(crate) fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Vp8 => "VP8",
        Codec::Vp9 => "VP9",
        Codec::Av1 => "AV1",
        Codec::H264 => "H264",
        Codec::Opus => "opus",
        Codec::Other => "other",
    }
}

/// Writes the head and body of a record behind what is in `into`; `body` adds the body.
fn framed(into: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let at = into.len();
    into.extend_from_slice(&[0; HEAD_BYTES]);
    into.push(kind);
    body(into);
    let length = into.len().saturating_sub(at + HEAD_BYTES);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let content = into.get(at + HEAD_BYTES..).unwrap_or_default();
    let checksum = checksum(length, content).to_be_bytes();
    if let Some(head) = into.get_mut(at..at + HEAD_BYTES) {
        let (first, second) = head.split_at_mut(4);
        first.copy_from_slice(&length);
        second.copy_from_slice(&checksum);
    }
}

/// Of a record: its length field, then its body.
pub(super) fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&length);
    hash.update(body);
    hash.finalize()
}

/// What a file begins with.
pub(super) fn put_header(into: &mut Vec<u8>, start: SystemTime) {
    into.extend_from_slice(&MAGIC);
    framed(into, HEADER, |body| {
        body.extend_from_slice(&VERSION.to_be_bytes());
        let start = start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(start.as_nanos()).unwrap_or(u64::MAX);
        body.extend_from_slice(&start.to_be_bytes());
    });
}

pub(super) fn put_track(into: &mut Vec<u8>, index: u16, track: &RecordedTrack) {
    framed(into, TRACK, |body| {
        body.extend_from_slice(&index.to_be_bytes());
        body.extend_from_slice(&track.track.0.to_be_bytes());
        body.push(u8::from(track.video));
        body.push(codec_number(track.codec));
        body.extend_from_slice(&track.clock_rate.to_be_bytes());
        body.push(track.payload_type);
    });
}

pub(super) fn put_packet(
    into: &mut Vec<u8>,
    index: u16,
    packet: &Packet,
    captured_ns: i64,
    arrived_ns: i64,
) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(packet.marker, MARKER)
        | flag(packet.keyframe, KEYFRAME)
        | flag(packet.switched, SWITCHED);
    framed(into, PACKET, |body| {
        body.extend_from_slice(&index.to_be_bytes());
        body.push(flags);
        body.push(packet.payload_type);
        body.extend_from_slice(&packet.sequence.to_be_bytes());
        body.extend_from_slice(&packet.timestamp.to_be_bytes());
        body.extend_from_slice(&captured_ns.to_be_bytes());
        body.extend_from_slice(&arrived_ns.to_be_bytes());
        body.extend_from_slice(&packet.payload);
    });
}

pub(super) fn put_lost(into: &mut Vec<u8>, index: u16) {
    framed(into, LOST, |body| {
        body.extend_from_slice(&index.to_be_bytes());
    });
}

pub(super) fn put_end(into: &mut Vec<u8>, packets: u64) {
    framed(into, END, |body| {
        body.extend_from_slice(&packets.to_be_bytes());
    });
}

/// Takes fixed fields from the front of a body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

/// A record whose checksum is right. `Some(None)`: of a kind that this version does not know, which is
/// passed over; a track record is added to `tracks`, which are in the order of their indices.
pub(super) fn parse(body: &[u8], tracks: &mut Vec<RecordedTrack>) -> Option<Option<Record>> {
    let mut fields = Fields(body);
    let record = match fields.u8()? {
        HEADER => {
            let version = fields.u16()?;
            let start = Duration::from_nanos(fields.u64()?);
            let start = UNIX_EPOCH.checked_add(start)?;
            Record::Header { version, start }
        }
        TRACK => {
            let index = usize::from(fields.u16()?);
            let track = RecordedTrack {
                track: TrackId(fields.u64()?),
                video: fields.u8()? != 0,
                codec: codec_of(fields.u8()?),
                clock_rate: fields.u32()?,
                payload_type: fields.u8()?,
            };
            if index != tracks.len() {
                return None;
            }
            tracks.push(track);
            Record::Track(track)
        }
        PACKET => Record::Packet(parse_packet(fields, tracks)?),
        LOST => {
            let track = tracks.get(usize::from(fields.u16()?))?.track;
            Record::Lost { track }
        }
        END => Record::End {
            packets: fields.u64()?,
        },
        _ => return Some(None),
    };
    Some(Some(record))
}

fn parse_packet(mut fields: Fields<'_>, tracks: &[RecordedTrack]) -> Option<RecordedPacket> {
    let track = tracks.get(usize::from(fields.u16()?))?;
    let flags = fields.u8()?;
    Some(RecordedPacket {
        track: track.track,
        codec: track.codec,
        clock_rate: track.clock_rate,
        payload_type: fields.u8()?,
        sequence: fields.u64()?,
        timestamp: fields.u32()?,
        captured_ns: fields.i64()?,
        arrived_ns: fields.i64()?,
        marker: flags & MARKER != 0,
        keyframe: flags & KEYFRAME != 0,
        switched: flags & SWITCHED != 0,
        payload: fields.0.to_vec(),
    })
}
