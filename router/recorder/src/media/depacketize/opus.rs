//! Opus, RFC 7587: each payload is a frame.

use super::{Malformed, Whole};
use crate::media::frame::Config;

/// RFC 6716 §3.2.1: of one frame.
const MAX_FRAME: usize = 1275;
/// RFC 6716 §3.2.5, R5: 120 ms.
const MAX_SAMPLES: u32 = 5760;

#[derive(Debug, Default)]
pub(in crate::media) struct Opus {
    data: Vec<u8>,
    samples: u32,
}

impl Opus {
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<usize, Malformed> {
        if !self.data.is_empty() {
            return Err(Malformed("two Opus packets with one timestamp"));
        }
        self.samples = samples(payload).ok_or(Malformed("no Opus packet"))?;
        self.data.extend_from_slice(payload);
        Ok(self.data.len())
    }

    pub(super) fn finish(&mut self) -> Result<Whole, Malformed> {
        let data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return Err(Malformed("no Opus packet"));
        }
        Ok(Whole {
            data,
            keyframe: true,
            config: Some(Config::Opus),
            samples: std::mem::take(&mut self.samples),
            headless: false,
        })
    }
}

/// How long a packet is, in units of 48 kHz. None: not an Opus packet (RFC 6716 §3.4).
fn samples(packet: &[u8]) -> Option<u32> {
    let (&toc, rest) = packet.split_first()?;
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => (rest.len() <= MAX_FRAME).then_some(1)?,
        1 => (rest.len() % 2 == 0 && rest.len() / 2 <= MAX_FRAME).then_some(2)?,
        2 => {
            let (first, rest) = length(rest)?;
            let second = rest.len().checked_sub(first)?;
            (second <= MAX_FRAME).then_some(2)?
        }
        _ => several(rest)?,
    };
    let samples = frame * frames;
    (samples <= MAX_SAMPLES).then_some(samples)
}

/// RFC 6716 §3.2.1.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [first @ 0..252, rest @ ..] => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] => Some((usize::from(*second) * 4 + usize::from(*first), rest)),
        _ => None,
    }
}

/// RFC 6716 §3.2.5: the number of frames of a code 3 packet.
fn several(bytes: &[u8]) -> Option<u32> {
    let (&header, mut rest) = bytes.split_first()?;
    let frames = header & 0x3f;
    let mut padding = 0_usize;
    if header & 0x40 != 0 {
        loop {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            padding += usize::from(byte.min(254));
            if byte != 255 {
                break;
            }
        }
    }
    let mut bytes = rest.len().checked_sub(padding)?;
    if frames == 0 {
        return None;
    }
    if header & 0x80 == 0 {
        let each = bytes / usize::from(frames);
        return (bytes % usize::from(frames) == 0 && each <= MAX_FRAME)
            .then_some(u32::from(frames));
    }
    for _ in 1..frames {
        let before = rest.len();
        let (frame, after) = length(rest)?;
        rest = after;
        bytes = bytes.checked_sub(before - rest.len() + frame)?;
    }
    (bytes <= MAX_FRAME).then_some(u32::from(frames))
}
