//! What test media carries: a body that says who sent it, as which packet of which frame of which
//! track, and a checksum over every byte, so that a receiver can prove what it got.
//!
//! Video bodies are wrapped as VP8 (RFC 7741), because a router that forwards layers looks at the
//! payload descriptor and at the key frame bit, and may rewrite picture ids in it.

use rillway_core::id::{ParticipantId, TrackId};

const MAGIC: u32 = 0x524c_5731;
const HEADER_BYTES: usize = 54;
const CHECKSUM_BYTES: usize = 8;

/// Smallest body, bytes.
pub const BODY_BYTES_MIN: usize = HEADER_BYTES + CHECKSUM_BYTES;

/// Bytes of the VP8 descriptor written by [`write_video`].
pub const VP8_DESCRIPTOR_BYTES: usize = 6;

/// Bytes of the VP8 frame header at the start of a key frame.
const VP8_KEY_HEADER_BYTES: usize = 10;

/// Bytes of the VP8 frame header at the start of any other frame.
const VP8_DELTA_HEADER_BYTES: usize = 3;

/// What one packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// Hash of the room's name in this world; equal names in different rooms get different ones.
    pub room: u64,
    /// The publisher.
    pub publisher: ParticipantId,
    /// The track.
    pub track: TrackId,
    /// Microseconds since the world's start at which it was sent.
    pub sent_micros: u64,
    /// Counts the packets of this layer of this track, from 0.
    pub sequence: u32,
    /// Counts the frames of this layer, from 0.
    pub frame: u32,
    /// Index of the packet in its frame.
    pub index: u16,
    /// Packets in the frame.
    pub count: u16,
    /// Simulcast layer, 0 = smallest.
    pub layer: u8,
    /// Whether the frame is a key frame (audio: always).
    pub keyframe: bool,
}

/// Why a payload is not what a client of this world sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Shorter than a body or a descriptor.
    #[error("payload of {0} bytes is too short")]
    Short(usize),
    /// It does not start as a body does.
    #[error("not a body of this world (starts with {0:08x})")]
    Magic(u32),
    /// A byte changed on the way.
    #[error("checksum {found:016x}, computed {computed:016x}")]
    Checksum {
        /// In the packet.
        found: u64,
        /// Over the packet.
        computed: u64,
    },
    /// The length differs from the one sent.
    #[error("{found} bytes, sent {sent}")]
    Length {
        /// Received.
        found: usize,
        /// As the body says.
        sent: usize,
    },
}

/// Appends a body that is `bytes` long in all (at least [`BODY_BYTES_MIN`]).
pub fn write_body(out: &mut Vec<u8>, body: &Body, bytes: usize) {
    let bytes = bytes.max(BODY_BYTES_MIN);
    let start = out.len();
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&body.room.to_be_bytes());
    out.extend_from_slice(&body.publisher.0.to_be_bytes());
    out.extend_from_slice(&body.track.0.to_be_bytes());
    out.extend_from_slice(&body.sent_micros.to_be_bytes());
    out.extend_from_slice(&body.sequence.to_be_bytes());
    out.extend_from_slice(&body.frame.to_be_bytes());
    out.extend_from_slice(&body.index.to_be_bytes());
    out.extend_from_slice(&body.count.to_be_bytes());
    out.push(body.layer);
    out.push(u8::from(body.keyframe));
    out.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes());
    // Filler differs from packet to packet, so that bytes of one cannot pass for bytes of another.
    let mut word = u64::from(body.sequence) ^ body.track.0.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    let end = start + bytes - CHECKSUM_BYTES;
    while out.len() < end {
        word = word.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(23) ^ 0x2545;
        let filler = word.to_le_bytes();
        let take = filler.len().min(end - out.len());
        out.extend_from_slice(&filler[..take]);
    }
    let sum = checksum(&out[start..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// The next body among other bytes (those of a recording), from `at` on, which is moved behind it. Bytes that
/// only begin like one are none.
pub fn next_body(bytes: &[u8], at: &mut usize) -> Option<Body> {
    let magic = MAGIC.to_be_bytes();
    loop {
        let rest = bytes.get(*at..)?;
        *at += rest
            .windows(magic.len())
            .position(|window| window == magic)?;
        let begin = *at;
        *at += 1;
        let length = bytes.get(begin + 50..begin + 54)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let whole = bytes.get(begin..begin.checked_add(length)?);
        if let Some(Ok(body)) = whole.map(read_body) {
            *at = begin + length;
            return Some(body);
        }
    }
}

/// Reads a body and checks every byte of it.
///
/// # Errors
/// [`PayloadError`] says what is wrong.
pub fn read_body(data: &[u8]) -> Result<Body, PayloadError> {
    if data.len() < BODY_BYTES_MIN {
        return Err(PayloadError::Short(data.len()));
    }
    let u32_at = |i: usize| u32::from_be_bytes(data[i..i + 4].try_into().expect("4 bytes"));
    let u64_at = |i: usize| u64::from_be_bytes(data[i..i + 8].try_into().expect("8 bytes"));
    let u16_at = |i: usize| u16::from_be_bytes(data[i..i + 2].try_into().expect("2 bytes"));
    if u32_at(0) != MAGIC {
        return Err(PayloadError::Magic(u32_at(0)));
    }
    let sent = u32_at(50) as usize;
    if sent != data.len() {
        return Err(PayloadError::Length {
            found: data.len(),
            sent,
        });
    }
    let end = data.len() - CHECKSUM_BYTES;
    let (found, computed) = (u64_at(end), checksum(&data[..end]));
    if found != computed {
        return Err(PayloadError::Checksum { found, computed });
    }
    Ok(Body {
        room: u64_at(4),
        publisher: ParticipantId(u64_at(12)),
        track: TrackId(u64_at(20)),
        sent_micros: u64_at(28),
        sequence: u32_at(36),
        frame: u32_at(40),
        index: u16_at(44),
        count: u16_at(46),
        layer: data[48],
        keyframe: data[49] != 0,
    })
}

/// A word at a time, since load tests check tens of megabytes a second beside the router.
fn checksum(data: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64 ^ data.len() as u64;
    let mut words = data.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("8 bytes"));
        sum = (sum ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29);
    }
    for &byte in words.remainder() {
        sum = (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    sum ^ (sum >> 31)
}

/// Hash of a room's name, for [`Body::room`].
pub fn room_hash(world: u64, room: &str) -> u64 {
    checksum(room.as_bytes()) ^ world.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// VP8 fields beside the body, as read by a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8 {
    /// 15-bit picture id.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0: Option<u8>,
    /// Start of a frame.
    pub start: bool,
}

/// Appends a VP8 payload: descriptor, frame header where a frame starts, body. `size` in
/// pixels is told in key frames; `bytes` is the length of the whole payload.
pub fn write_video(out: &mut Vec<u8>, body: &Body, size: (u16, u16), bytes: usize) {
    let start = body.index == 0;
    let picture = (body.frame & 0x7fff) | 0x8000;
    let [_, _, high, low] = picture.to_be_bytes();
    // X, then S on a frame's first packet; I, L and T present; tid 0 with Y.
    out.push(0x80 | if start { 0x10 } else { 0 });
    out.push(0xe0);
    out.push(high);
    out.push(low);
    out.push((body.frame & 0xff) as u8);
    out.push(0x20);
    let mut used = VP8_DESCRIPTOR_BYTES;
    if start {
        used += write_frame_header(out, body.keyframe, size);
    }
    write_body(out, body, bytes.saturating_sub(used));
}

/// RFC 6386 §9.1: a frame tag, and for a key frame the start code and the size.
pub(crate) fn write_frame_header(
    out: &mut Vec<u8>,
    keyframe: bool,
    (width, height): (u16, u16),
) -> usize {
    // show_frame set, first partition of one byte; the lowest bit is the inverse key frame flag.
    let tag: u8 = 0x10 | u8::from(!keyframe);
    out.extend_from_slice(&[tag, 1, 0]);
    if !keyframe {
        return VP8_DELTA_HEADER_BYTES;
    }
    out.extend_from_slice(&[0x9d, 0x01, 0x2a]);
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&height.to_le_bytes());
    VP8_KEY_HEADER_BYTES
}

/// Reads a VP8 payload.
///
/// # Errors
/// [`PayloadError`] says what is wrong.
pub fn read_video(data: &[u8]) -> Result<(Vp8, Body), PayloadError> {
    let short = || PayloadError::Short(data.len());
    let first = *data.first().ok_or_else(short)?;
    let start = first & 0x10 != 0 && first & 0x07 == 0;
    let mut at = 1;
    let mut vp8 = Vp8 {
        picture_id: None,
        tl0: None,
        start,
    };
    if first & 0x80 != 0 {
        let flags = *data.get(at).ok_or_else(short)?;
        at += 1;
        if flags & 0x80 != 0 {
            let high = *data.get(at).ok_or_else(short)?;
            at += 1;
            vp8.picture_id = Some(u16::from(high & 0x7f));
            if high & 0x80 != 0 {
                let low = *data.get(at).ok_or_else(short)?;
                at += 1;
                vp8.picture_id = Some(u16::from_be_bytes([high & 0x7f, low]));
            }
        }
        if flags & 0x40 != 0 {
            vp8.tl0 = Some(*data.get(at).ok_or_else(short)?);
            at += 1;
        }
        if flags & 0x30 != 0 {
            at += 1;
        }
    }
    if start {
        let tag = *data.get(at).ok_or_else(short)?;
        at += if tag & 1 == 0 {
            VP8_KEY_HEADER_BYTES
        } else {
            VP8_DELTA_HEADER_BYTES
        };
    }
    Ok((vp8, read_body(data.get(at..).ok_or_else(short)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body {
        Body {
            room: 1,
            publisher: ParticipantId(2),
            track: TrackId(3),
            sent_micros: 4,
            sequence: 5,
            frame: 70_000,
            index: 0,
            count: 2,
            layer: 1,
            keyframe: true,
        }
    }

    #[test]
    fn a_body_comes_back_and_a_changed_bit_does_not() {
        let mut data = Vec::new();
        write_body(&mut data, &body(), 300);
        assert_eq!(data.len(), 300);
        assert_eq!(read_body(&data), Ok(body()));
        for i in 0..data.len() {
            data[i] ^= 1;
            assert!(read_body(&data).is_err(), "byte {i} is not covered");
            data[i] ^= 1;
        }
    }

    #[test]
    fn video_comes_back_with_its_descriptor() {
        for (index, keyframe) in [(0, true), (0, false), (1, true)] {
            let body = Body {
                index,
                keyframe,
                ..body()
            };
            let mut data = Vec::new();
            write_video(&mut data, &body, (640, 360), 1_000);
            assert_eq!(data.len(), 1_000);
            let (vp8, read) = read_video(&data).expect("readable");
            assert_eq!(read, body);
            assert_eq!(vp8.start, index == 0);
            assert_eq!(vp8.picture_id, Some((70_000 & 0x7fff) as u16));
            assert_eq!(
                str0m::format::detect_vp8_keyframe(&data),
                index == 0 && keyframe
            );
        }
    }
}
