use super::*;
use crate::shard::testing::vp8;

#[test]
fn vp8_keyframes_tell_their_size() {
    assert_eq!(size(Codec::Vp8, &vp8(true, 7, 7, 0)), Some((320, 180)));
    assert_eq!(size(Codec::Vp8, &vp8(false, 7, 7, 0)), None);
    assert!(begins(Codec::Vp8, &vp8(true, 7, 7, 0)));
    assert!(!begins(Codec::Vp8, &vp8(false, 7, 7, 0)));
}

#[test]
fn h264_parameter_sets_tell_their_size() {
    // From Chromium's OpenH264 at 1280 × 720 (constrained baseline) and x264 at 1920 × 1080 (high).
    let baseline = [
        0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdd, 0x80, 0x88, 0x45, 0x38,
    ];
    let high = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
        0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    assert_eq!(size(Codec::H264, &baseline), Some((1280, 720)));
    assert_eq!(size(Codec::H264, &high), Some((1920, 1080)));
    let mut aggregate = vec![0x78, 0, baseline.len() as u8];
    aggregate.extend(baseline);
    aggregate.extend([0, 2, 0x68, 0xce]);
    assert_eq!(size(Codec::H264, &aggregate), Some((1280, 720)));
    for length in 0..high.len() {
        // Torn ones end in nothing, or in the same size once that was read.
        let found = size(Codec::H264, &high[..length]);
        assert!(found.is_none() || found == Some((1920, 1080)), "{length}");
    }
}

#[test]
fn vp9_structures_tell_the_largest_size() {
    // I, L, B, V; two spatial layers with sizes.
    let payload = [
        0xaa, 0x81, 0x02, 0x00, 0x00, 0x30, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 0, 0,
    ];
    assert_eq!(size(Codec::Vp9, &payload), Some((640, 360)));
    assert_eq!(size(Codec::Vp9, &payload[..9]), None);
}

#[test]
fn no_bytes_make_any_of_it_panic() {
    let mut state = 1_u64;
    for length in 0..64 {
        for _ in 0..500 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            for codec in [
                Codec::Vp8,
                Codec::Vp9,
                Codec::H264,
                Codec::H265,
                Codec::Av1,
                Codec::Opus,
            ] {
                begins(codec, &bytes);
                size(codec, &bytes);
                super::super::descriptor::parse(codec, &bytes);
            }
        }
    }
}
