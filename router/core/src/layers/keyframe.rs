//! Where keyframes begin, and how large their pictures are.

use str0m::format::{
    Codec, detect_av1_keyframe, detect_h264_keyframe, detect_h265_keyframe, detect_vp8_keyframe,
    detect_vp9_keyframe,
};

use super::frame::{self, LEVELS};
use crate::guard::quietly;

/// Whether a payload is the first packet of a keyframe: the only place where a receiver may be
/// switched to a stream. False for a codec that is not understood.
pub(crate) fn begins(codec: Codec, payload: &[u8]) -> bool {
    let detect = || match codec {
        Codec::Vp8 => detect_vp8_keyframe(payload),
        Codec::Vp9 => detect_vp9_keyframe(payload) && begins_vp9(payload),
        Codec::H264 => detect_h264_keyframe(payload),
        Codec::H265 => detect_h265_keyframe(payload),
        Codec::Av1 => detect_av1_keyframe(payload),
        _ => false,
    };
    quietly("keyframe", detect).unwrap_or(false)
}

/// Whether a payload is the first of a picture: the beginning of its lowest spatial layer (RFC 9628 §4.2). That
/// nothing is predicted from other pictures holds for all of a keyframe's packets.
fn begins_vp9(payload: &[u8]) -> bool {
    let begins = payload.first().is_some_and(|first| first & 0x08 != 0);
    let frame = frame::read(Codec::Vp9, payload, false);
    begins && frame.is_none_or(|frame| frame.level.spatial == 0)
}

/// Width and height of the keyframe that begins in this payload, where the codec tells cheaply.
pub(crate) fn size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
    let size = match codec {
        Codec::Vp8 => vp8_size(payload),
        Codec::H264 => h264_size(payload),
        Codec::Vp9 => vp9_size(payload),
        _ => None,
    }?;
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// RFC 6386 §9.1: three bytes of frame tag, start code, then 14 bits each.
fn vp8_size(payload: &[u8]) -> Option<(u16, u16)> {
    let first = *payload.first()?;
    let mut offset = 1;
    if first & 0x80 != 0 {
        let extension = *payload.get(1)?;
        offset = 2;
        if extension & 0x80 != 0 {
            offset += if payload.get(offset)? & 0x80 != 0 {
                2
            } else {
                1
            };
        }
        if extension & 0x40 != 0 {
            offset += 1;
        }
        if extension & 0x30 != 0 {
            offset += 1;
        }
    }
    let frame = payload.get(offset..offset + 10)?;
    let &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = frame else {
        return None;
    };
    if tag & 1 != 0 {
        return None;
    }
    let width = u16::from_le_bytes([w0, w1]) & 0x3fff;
    let height = u16::from_le_bytes([h0, h1]) & 0x3fff;
    Some((width, height))
}

fn vp9_size(payload: &[u8]) -> Option<(u16, u16)> {
    vp9_sizes(payload)?.iter().rev().find_map(|size| *size)
}

/// The same of each spatial layer inside the stream.
pub(crate) fn sizes(codec: Codec, payload: &[u8]) -> Option<[Option<(u16, u16)>; LEVELS]> {
    (codec == Codec::Vp9).then(|| vp9_sizes(payload)).flatten()
}

/// The scalability structure of the payload descriptor (RFC 9628 §4.2.1).
fn vp9_sizes(payload: &[u8]) -> Option<[Option<(u16, u16)>; LEVELS]> {
    let first = *payload.first()?;
    let mut offset = 1;
    if first & 0x80 != 0 {
        offset += if payload.get(offset)? & 0x80 != 0 {
            2
        } else {
            1
        };
    }
    let flexible = first & 0x10 != 0;
    if first & 0x20 != 0 {
        offset += if flexible { 1 } else { 2 };
    }
    // P and F: up to three reference indices, each saying whether another follows.
    if flexible && first & 0x40 != 0 {
        for _ in 0..3 {
            let reference = *payload.get(offset)?;
            offset += 1;
            if reference & 1 == 0 {
                break;
            }
        }
    }
    if first & 0x02 == 0 {
        return None;
    }
    let structure = *payload.get(offset)?;
    if structure & 0x10 == 0 {
        return None;
    }
    let mut told = payload.get(offset + 1..)?.chunks_exact(4);
    let mut sizes = [None; LEVELS];
    for spatial in 0..=usize::from(structure >> 5) {
        let &[w0, w1, h0, h1] = told.next()? else {
            return None;
        };
        let size = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        // What is above the last that is told apart belongs to it.
        if let Some(slot) = sizes.get_mut(spatial.min(LEVELS - 1)) {
            *slot = Some(size);
        }
    }
    Some(sizes)
}

const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;

/// The sequence parameter set in a single-NAL or STAP-A packet (RFC 6184 §5.6, §5.7.1).
fn h264_size(payload: &[u8]) -> Option<(u16, u16)> {
    match payload.first()? & 0x1f {
        NAL_SPS => sps_size(payload),
        NAL_STAP_A => {
            let mut rest = payload.get(1..)?;
            loop {
                let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
                let unit = rest.get(2..2 + length)?;
                if unit.first()? & 0x1f == NAL_SPS {
                    return sps_size(unit);
                }
                rest = rest.get(2 + length..)?;
            }
        }
        _ => None,
    }
}

/// ITU-T H.264 §7.3.2.1.1, as far as the size.
fn sps_size(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(unit.get(1..)?);
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.unsigned()?;
    let mut chroma = 1;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128) {
        chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.take(1)?;
        }
        bits.unsigned()?;
        bits.unsigned()?;
        bits.take(1)?;
        if bits.take(1)? == 1 {
            // Scaling matrices: no browser sends them.
            return None;
        }
    }
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => return None,
        _ => {}
    }
    bits.unsigned()?;
    bits.take(1)?;
    let width = (bits.unsigned()? + 1) * 16;
    let map_units = bits.unsigned()? + 1;
    let frame_only = bits.take(1)?;
    if frame_only == 0 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let height = (2 - frame_only) * map_units * 16;
    let (mut crop_x, mut crop_y) = (0, 0);
    if bits.take(1)? == 1 {
        let (left, right) = (bits.unsigned()?, bits.unsigned()?);
        let (top, bottom) = (bits.unsigned()?, bits.unsigned()?);
        let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 } * (2 - frame_only);
        crop_x = (left + right) * unit_x;
        crop_y = (top + bottom) * unit_y;
    }
    Some((
        u16::try_from(width.checked_sub(crop_x)?).ok()?,
        u16::try_from(height.checked_sub(crop_y)?).ok()?,
    ))
}

/// A bit reader that skips emulation prevention bytes.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u8,
    bit: u8,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Bits {
            bytes,
            at: 0,
            zeros: 0,
            bit: 0,
        }
    }

    fn one(&mut self) -> Option<u32> {
        if self.bit == 0 && self.zeros >= 2 && *self.bytes.get(self.at)? == 3 {
            self.at += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.at)?;
        let value = byte >> (7 - self.bit) & 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.at += 1;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        }
        Some(u32::from(value))
    }

    fn take(&mut self, count: u8) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.one()?;
        }
        Some(value)
    }

    /// ue(v), bounded far above any size.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.one()? == 0 {
            zeros += 1;
            if zeros > 20 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
#[path = "keyframe_tests.rs"]
mod tests;
