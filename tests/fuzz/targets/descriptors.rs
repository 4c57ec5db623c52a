//! Payload descriptors: picture ids of VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2), and where keyframes of these, of
//! H.264, H.265 and AV1 begin. Dependency descriptors of one stream.

use rillway_core::fuzzing;
use str0m::format::Codec;

const CODECS: [Codec; 6] = [
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::H264,
    Codec::H265,
    Codec::Opus,
];

/// In the place of a codec: dependency descriptors follow.
pub const DESCRIBED: u8 = 0xff;

/// Input: descriptors, each after its length.
fn described(mut rest: &[u8]) {
    let mut descriptors = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (descriptor, after) = after.split_at(usize::from(*length).min(after.len()));
        descriptors.push(descriptor);
        rest = after;
    }
    let frames = fuzzing::described_frames(&descriptors);
    for (frame, bytes) in frames.into_iter().zip(descriptors) {
        if let Some((spatial, temporal, number)) = frame {
            assert!(spatial < 4 && temporal < 4);
            assert_eq!(bytes[1..3], number.to_be_bytes());
        }
    }
}

/// Input: the codec, three bytes of ids to write, and a payload; or [`DESCRIBED`] and those.
pub fn run(input: &[u8]) {
    if let Some((&DESCRIBED, rest)) = input.split_first() {
        return described(rest);
    }
    let Some((&[codec, high, low, tl0], payload)) = input.split_first_chunk() else {
        return;
    };
    let codec = CODECS[usize::from(codec) % CODECS.len()];
    let (_, size) = fuzzing::keyframe(codec, payload);
    if let Some((width, height)) = size {
        assert!(width > 0 && height > 0);
    }
    let picture = u16::from_be_bytes([high, low]);
    let before = fuzzing::picture_ids(codec, payload);
    let mut written = payload.to_vec();
    fuzzing::renumber(codec, &mut written, picture, tl0);
    let Some((old, old_tl0)) = before else {
        assert_eq!(written, payload, "torn, and yet written to");
        return;
    };
    // The new ids are read where the old ones were, and nothing else has changed.
    let expected = old.map(|(_, mask)| (picture & mask, mask));
    let after = fuzzing::picture_ids(codec, &written);
    assert_eq!(after, Some((expected, old_tl0.map(|_| tl0))));
    fuzzing::renumber(
        codec,
        &mut written,
        old.map_or(0, |(value, _)| value),
        old_tl0.unwrap_or(0),
    );
    assert_eq!(written, payload);
}
