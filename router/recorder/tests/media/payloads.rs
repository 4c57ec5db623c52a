//! RTP payloads of frames, written from the payload formats for these tests alone.

use rillway_recorder::api::Codec;

/// Bytes of a payload.
const MTU: usize = 1_100;

/// Makes payloads of one stream.
pub(crate) struct Payloader {
    codec: Codec,
    picture: u16,
}

impl Payloader {
    pub(crate) fn new(codec: Codec) -> Self {
        Payloader { codec, picture: 0 }
    }

    /// The payloads of one frame, in order.
    pub(crate) fn payloads(&mut self, frame: &[u8], keyframe: bool) -> Vec<Vec<u8>> {
        self.picture = (self.picture + 1) & 0x7fff;
        match self.codec {
            Codec::Vp8 => self.vp8(frame),
            Codec::Vp9 => self.vp9(frame, keyframe),
            Codec::Av1 => av1(frame, keyframe),
            Codec::H264 => h264(frame),
            _ => vec![frame.to_vec()],
        }
    }

    /// RFC 7741 §4.2: X, then I with 15 bits; S on the first.
    fn vp8(&self, frame: &[u8]) -> Vec<Vec<u8>> {
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let parts = frame.chunks(MTU - 4).enumerate();
        let payload = |(index, part): (usize, &[u8])| {
            let start = if index == 0 { 0x10 } else { 0 };
            [&[0x80 | start, 0x80, high, low], part].concat()
        };
        parts.map(payload).collect()
    }

    /// RFC 9628 §4.2: I with 15 bits; P but for keyframes; B and E.
    fn vp9(&self, frame: &[u8], keyframe: bool) -> Vec<Vec<u8>> {
        let [high, low] = (self.picture | 0x8000).to_be_bytes();
        let parts: Vec<&[u8]> = frame.chunks(MTU - 3).collect();
        let last = parts.len() - 1;
        let payload = |(index, part): (usize, &&[u8])| {
            let predicted = if keyframe { 0 } else { 0x40 };
            let begins = if index == 0 { 0x08 } else { 0 };
            let ends = if index == last { 0x04 } else { 0 };
            [&[0x80 | predicted | begins | ends, high, low], *part].concat()
        };
        parts.iter().enumerate().map(payload).collect()
    }
}

/// AV1 RTP 1.0 §4: one OBU element or a part of one in each (W = 1), without size fields and temporal
/// delimiters.
fn av1(unit: &[u8], keyframe: bool) -> Vec<Vec<u8>> {
    const TEMPORAL_DELIMITER: u8 = 2;
    let mut payloads = Vec::new();
    let mut rest = unit;
    while let [header, ..] = *rest {
        let extended = usize::from(header & 0x04 != 0);
        let (bytes, length) = leb128(&rest[1 + extended..]);
        let begin = 1 + extended + length;
        let mut element = rest[..=extended].to_vec();
        // The element's own length says it.
        element[0] &= !0x02;
        element.extend_from_slice(&rest[begin..begin + bytes]);
        rest = &rest[begin + bytes..];
        if (header >> 3) & 0x0f == TEMPORAL_DELIMITER {
            continue;
        }
        let parts: Vec<&[u8]> = element.chunks(MTU - 1).collect();
        for (index, part) in parts.iter().enumerate() {
            let continues = if index > 0 { 0x80 } else { 0 };
            let goes_on = if index + 1 < parts.len() { 0x40 } else { 0 };
            let starts = if keyframe && payloads.is_empty() {
                0x08
            } else {
                0
            };
            payloads.push([&[continues | goes_on | 0x10 | starts], *part].concat());
        }
    }
    payloads
}

/// A number and how many bytes it took.
fn leb128(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (value, index + 1);
        }
    }
    panic!("an OBU without a size")
}

/// RFC 6184 §5: parameter sets together (STAP-A), others alone or in parts (FU-A). No delimiters.
fn h264(unit: &[u8]) -> Vec<Vec<u8>> {
    const DELIMITER: u8 = 9;
    let (mut sets, mut payloads) = (Vec::new(), Vec::new());
    for nal in nals(unit) {
        match nal[0] & 0x1f {
            DELIMITER => {}
            7 | 8 => sets.push(nal),
            _ if nal.len() <= MTU => payloads.push(nal.to_vec()),
            kind => {
                let parts: Vec<&[u8]> = nal[1..].chunks(MTU - 2).collect();
                for (index, part) in parts.iter().enumerate() {
                    let starts = if index == 0 { 0x80 } else { 0 };
                    let ends = if index + 1 == parts.len() { 0x40 } else { 0 };
                    let indicator = (nal[0] & 0xe0) | 28;
                    payloads.push([&[indicator, starts | ends | kind], *part].concat());
                }
            }
        }
    }
    if !sets.is_empty() {
        let mut aggregate = vec![(sets[0][0] & 0xe0) | 24];
        for set in sets {
            let bytes = u16::try_from(set.len()).expect("small");
            aggregate.extend_from_slice(&bytes.to_be_bytes());
            aggregate.extend_from_slice(set);
        }
        payloads.insert(0, aggregate);
    }
    payloads
}

/// NAL units of an Annex B stream.
fn nals(unit: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..unit.len().saturating_sub(2))
        .filter(|at| unit[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([unit.len()]);
    let nal = |(start, end): (&usize, usize)| {
        let nal = &unit[start + 3..end];
        // A longer start code begins with the zero of this one.
        let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
        &nal[..nal.len() - zeros]
    };
    starts.iter().zip(ends).map(nal).collect()
}
