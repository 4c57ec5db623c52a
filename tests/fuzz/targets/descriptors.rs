//! Payload descriptors: picture ids of VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2), and where keyframes of these, of
//! H.264, H.265 and AV1 begin.

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

/// Input: the codec, three bytes of ids to write, and a payload.
pub fn run(input: &[u8]) {
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
