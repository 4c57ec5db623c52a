//! Frames to be sent, as an encoder might make them but for what only a decoder reads.

use rillway_recorder::api::Codec;

use crate::payloads::Payloader;

/// A baseline sequence and picture parameter set of x264, 320 × 180.
const SPS: [u8; 23] = [
    0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40,
    0x00, 0x00, 0x0f, 0x23, 0xc5, 0x0a, 0xa8,
];
const PPS: [u8; 4] = [0x68, 0xce, 0x0f, 0xc8];
/// A sequence header OBU of libaom, 320 × 180.
const AV1_SEQUENCE: [u8; 13] = [
    0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x00, 0x40,
];

/// A frame that is sent.
pub(crate) struct Made {
    /// In RTP.
    pub(crate) payloads: Vec<Vec<u8>>,
    /// In a file.
    pub(crate) stored: Vec<u8>,
}

/// Makes frames of one track.
pub(crate) struct Maker {
    codec: Codec,
    payloader: Payloader,
    dice: fastrand::Rng,
}

impl Maker {
    pub(crate) fn new(codec: Codec, seed: u64) -> Self {
        Maker {
            codec,
            payloader: Payloader::new(codec),
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next frame: a keyframe is large, others have one to four packets.
    pub(crate) fn frame(&mut self, keyframe: bool) -> Made {
        let bytes = match (self.codec, keyframe) {
            (Codec::Opus, _) => self.dice.usize(20..160),
            (_, true) => self.dice.usize(4_000..9_000),
            (_, false) => self.dice.usize(80..3_600),
        };
        // No zeros: neither a start code nor the prevention of one.
        let noise: Vec<u8> = (0..bytes).map(|_| self.dice.u8(1..)).collect();
        let (coded, stored) = match self.codec {
            Codec::Vp8 => same(&[vp8_header(keyframe), noise].concat()),
            Codec::Vp9 => same(&[vp9_header(keyframe), noise].concat()),
            Codec::Av1 => same(&av1(keyframe, &noise)),
            Codec::H264 => h264(keyframe, &noise),
            // RFC 6716 §3.1: one frame of 20 ms, stereo.
            _ => same(&[vec![0xfc], noise].concat()),
        };
        Made {
            payloads: self.payloader.payloads(&coded, keyframe),
            stored,
        }
    }
}

fn same(frame: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (frame.to_vec(), frame.to_vec())
}

/// RFC 6386 §9.1.
fn vp8_header(keyframe: bool) -> Vec<u8> {
    match keyframe {
        true => vec![0x10, 1, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00],
        false => vec![0x11, 1, 0],
    }
}

/// VP9 bitstream specification §6.2: profile 0, shown; of a keyframe BT.601 and 320 × 180.
fn vp9_header(keyframe: bool) -> Vec<u8> {
    if !keyframe {
        return vec![0x86];
    }
    // Three bits of colour, one of range, sixteen less one for each side.
    let bits: u64 = (0b0010 << 32) | (319 << 16) | 179;
    let [_, _, _, rest @ ..] = (bits << 4).to_be_bytes();
    [&[0x82, 0x49, 0x83, 0x42], &rest[..]].concat()
}

/// AV1 specification §5.3, §5.9.2: a keyframe follows its sequence header; every OBU has its size.
fn av1(keyframe: bool, noise: &[u8]) -> Vec<u8> {
    let mut unit = Vec::new();
    if keyframe {
        unit.extend_from_slice(&AV1_SEQUENCE);
    }
    let size = noise.len() + 1;
    unit.push(0x32);
    match size < 0x80 {
        true => unit.push(size as u8),
        false => unit.extend_from_slice(&[size as u8 | 0x80, (size >> 7) as u8]),
    }
    unit.push(if keyframe { 0x10 } else { 0x30 });
    unit.extend_from_slice(noise);
    unit
}

/// Annex B, and with lengths as ISO/IEC 14496-15 has them.
fn h264(keyframe: bool, noise: &[u8]) -> (Vec<u8>, Vec<u8>) {
    // ITU-T H.264 §7.3.3: it begins with the first macroblock.
    let slice = |kind: u8| [&[kind, 0x88], noise].concat();
    let units = match keyframe {
        true => vec![SPS.to_vec(), PPS.to_vec(), slice(0x65)],
        false => vec![slice(0x41)],
    };
    let coded = units.iter().map(|unit| [&[0, 0, 0, 1], &unit[..]].concat());
    let stored = units
        .iter()
        .map(|unit| [&(unit.len() as u32).to_be_bytes(), &unit[..]].concat());
    (
        coded.collect::<Vec<_>>().concat(),
        stored.collect::<Vec<_>>().concat(),
    )
}
