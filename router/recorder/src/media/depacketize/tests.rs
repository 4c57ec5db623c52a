//! Payloads from hostile hands, and those of which libraries are wrong.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CODECS: [Codec; 5] = [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264, Codec::Opus];

/// Bytes that get past the first checks more often than noise does.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let headers = prop::sample::select(vec![
        vec![],
        vec![0x10],                               // VP8, start
        vec![0x90, 0xf0, 0x80],                   // VP8, all extensions
        vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a], // VP8, keyframe
        vec![0x8c, 0x01, 0x82, 0x49, 0x83, 0x42], // VP9, keyframe
        vec![0xfb, 0xff, 0xff],                   // VP9, everything
        vec![0x2a, 0x00, 0xff],                   // VP9, structure
        vec![0x18, 0x0a, 0x0b],                   // AV1, sequence header
        vec![0x10, 0x0f],                         // AV1, an extension that is missing
        vec![0x90],                               // AV1, continued
        vec![0x50],                               // AV1, to be continued
        vec![0x78, 0x00],                         // H.264, STAP-A
        vec![0x67, 0x42, 0x00, 0x1f],             // H.264, SPS
        vec![0x67, 0x64, 0x00, 0x1f],             // H.264, SPS, High
        vec![0x68],                               // H.264, PPS
        vec![0x7c, 0x85],                         // H.264, FU-A, start of an IDR
        vec![0x7c, 0x45],                         // H.264, FU-A, end of it
        vec![0x65],                               // H.264, IDR
        vec![0x03, 0xff],                         // Opus, several frames
    ]);
    (headers, vec(any::<u8>(), 0..40)).prop_map(|(mut head, tail)| {
        head.extend(tail);
        head
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_payload_panics(payloads in vec(payload(), 1..12), finish in vec(any::<bool>(), 12)) {
        for codec in CODECS {
            let mut depacketizer = Depacketizer::new(codec).unwrap();
            for (payload, finish) in payloads.iter().zip(&finish) {
                let _ = depacketizer.begins_keyframe(payload);
                let pushed = depacketizer.push(payload);
                if *finish || pushed.is_err() {
                    if let Ok(whole) = depacketizer.finish() {
                        prop_assert_eq!(whole.keyframe, whole.config.is_some());
                        // Whatever was accepted can be described in a file.
                        if let Some(config) = whole.config {
                            prop_assert!(config.sample_entry().is_ok());
                        }
                    }
                    depacketizer.reset();
                }
            }
        }
    }
}

fn whole(codec: Codec, payloads: &[&[u8]]) -> Result<Whole, Malformed> {
    let mut depacketizer = Depacketizer::new(codec).unwrap();
    for payload in payloads {
        depacketizer.push(payload)?;
    }
    depacketizer.finish()
}

#[test]
fn vp8_of_three_bytes_is_lawful() {
    // A descriptor of one byte, an interframe whose last packet has one byte.
    let frame = whole(Codec::Vp8, &[&[0x10, 0x31, 0, 0, 7], &[0x00, 9]]).unwrap();
    assert_eq!(frame.data, [0x31, 0, 0, 7, 9]);
    assert!(!frame.keyframe);
}

#[test]
fn vp9_with_three_references_is_lawful_and_four_are_not() {
    let frame = [0x86, 0x00, 0x40, 0x92];
    let with = |references: &[u8]| {
        let mut payload = vec![0xdc, 0x05];
        payload.extend_from_slice(references);
        payload.extend_from_slice(&frame);
        whole(Codec::Vp9, &[&payload])
    };
    assert_eq!(with(&[3, 5, 8]).unwrap().data, frame);
    assert!(with(&[3, 5, 9]).is_err());
}

#[test]
fn vp9_layers_become_a_superframe() {
    // Lowest layer B and E, then the second one; L present, flexible.
    let (low, high) = ([0x86, 0x00, 0x40, 0x92, 1], [0x86, 0x00, 0x40, 0x92, 2, 3]);
    let payload = |layer: u8, frame: &[u8]| [&[0xbc, 0x07, layer << 1], frame].concat();
    let picture = whole(Codec::Vp9, &[&payload(0, &low), &payload(1, &high)]).unwrap();
    assert_eq!(picture.data[..11], [low.as_slice(), &high].concat()[..]);
    assert_eq!(picture.data[11..], [0xc1, 5, 6, 0xc1]);
}

#[test]
fn av1_obus_get_their_sizes() {
    // Two elements with lengths (W = 0): a temporal delimiter, which goes, and a frame OBU in two packets.
    let unit = whole(
        Codec::Av1,
        &[&[0x40, 1, 0x10, 3, 0x30, 1, 2], &[0x90, 3, 4]],
    )
    .unwrap();
    assert_eq!(unit.data, [0x32, 4, 1, 2, 3, 4]);
    // Already with a size, and with an extension.
    let unit = whole(Codec::Av1, &[&[0x10, 0x36, 0x08, 2, 8, 9]]).unwrap();
    assert_eq!(unit.data, [0x36, 0x08, 2, 8, 9]);
    // One byte that announces an extension (a library panics here), and an end that never comes.
    assert!(whole(Codec::Av1, &[&[0x10, 0x34]]).is_err());
    assert!(whole(Codec::Av1, &[&[0x50, 0x30, 1]]).is_err());
}

#[test]
fn h264_units_get_their_lengths() {
    // STAP-A of a delimiter, which goes, and a slice; then a slice in two fragments.
    let unit = whole(
        Codec::H264,
        &[
            &[0x78, 0, 2, 0x09, 0x10, 0, 2, 0x41, 7],
            &[0x5c, 0x81, 8],
            &[0x5c, 0x41, 9],
        ],
    )
    .unwrap();
    assert_eq!(unit.data, [0, 0, 0, 2, 0x41, 7, 0, 0, 0, 3, 0x41, 8, 9]);
    // Half a length (a library panics here), a fragment without beginning, one without end.
    assert!(whole(Codec::H264, &[&[0x78, 0]]).is_err());
    assert!(whole(Codec::H264, &[&[0x5c, 0x01, 8]]).is_err());
    assert!(whole(Codec::H264, &[&[0x5c, 0x81, 8]]).is_err());
}

#[test]
fn the_rest_of_an_h264_keyframe_is_known_for_that() {
    let (sps, pps): (&[u8], &[u8]) = (&sps(39, 22), &[0x68, 0xce, 0x38, 0x80]);
    let (first, second): (&[u8], &[u8]) = (&[0x65, 0x88, 1], &[0x65, 0x40, 2]);
    let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
    let mut headless = |payloads: &[&[u8]]| {
        for payload in payloads {
            depacketizer.push(payload).unwrap();
        }
        let whole = depacketizer.finish().unwrap();
        assert!(whole.keyframe);
        whole.headless
    };
    assert!(!headless(&[sps, pps, first, second]));
    // Its first slice is missing, in spite of parameter sets.
    assert!(headless(&[sps, pps, second]));
    // Its parameter sets are; a sender that sends them no more is believed the second time.
    assert!(headless(&[first, second]));
    assert!(!headless(&[first, second]));
    assert!(headless(&[second]));
}

#[test]
fn sizes_that_no_decoder_takes_are_refused() {
    // 16,383 × 16,383 in VP8, whose headers can say so.
    let payload = [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f];
    assert_eq!(
        whole(Codec::Vp8, &[&payload]),
        Err(Malformed("a VP8 picture too large to decode"))
    );
    // H.264 counts macroblocks, less one.
    let unit = |width, height| {
        whole(
            Codec::H264,
            &[
                &sps(width, height),
                &[0x68, 0xce, 0x38, 0x80],
                &[0x65, 1, 2],
            ],
        )
        .map(|whole| whole.config)
    };
    let config = unit(39, 22).unwrap().unwrap();
    assert_eq!(config.size(), (640, 368));
    assert!(unit(65_534, 65_534).is_err());
    assert!(unit(1023, 1023).is_err());
}

/// Of a Baseline stream with so many macroblocks a side, less one.
fn sps(width: u32, height: u32) -> Vec<u8> {
    let golomb = |value: u32| {
        let bits = format!("{:b}", value + 1);
        "0".repeat(bits.len() - 1) + &bits
    };
    // Profile, constraints, level; id, frame number, order count, references, gaps; size; frames only.
    let mut bits = format!("{:08b}{:08b}{:08b}", 66, 0xc0, 31);
    bits += &(golomb(0) + &golomb(0) + &golomb(2) + &golomb(1) + "0");
    bits += &(golomb(width) + &golomb(height) + "1100" + "1");
    let bytes = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| format!("{:0<8}", std::str::from_utf8(byte).unwrap()));
    [0x67]
        .into_iter()
        .chain(bytes.map(|byte| u8::from_str_radix(&byte, 2).unwrap()))
        .collect()
}

#[test]
fn a_frame_has_a_bound() {
    let mut depacketizer = Depacketizer::new(Codec::H264).unwrap();
    let payload = vec![0x41; 60_000];
    let pushed = (0..)
        .map(|_| depacketizer.push(&payload))
        .position(|pushed| pushed.is_err());
    assert_eq!(pushed, Some(MAX_FRAME / 60_004));
}

#[test]
fn opus_packets_tell_their_length() {
    let samples = |packet: &[u8]| whole(Codec::Opus, &[packet]).map(|whole| whole.samples);
    assert_eq!(samples(&[0x78, 1, 2]), Ok(960)); // Hybrid, 20 ms.
    assert_eq!(samples(&[0xfc, 1, 2]), Ok(960)); // CELT, 20 ms, stereo.
    assert_eq!(samples(&[0xf9, 1, 2]), Ok(1920)); // Two of them.
    assert_eq!(samples(&[0xf8]), Ok(960)); // Silence that is not sent.
    assert_eq!(samples(&[0x1b, 0x02, 1, 2]), Ok(5760)); // SILK, twice 60 ms.
    assert!(samples(&[0x1b, 0x03, 1, 2, 3]).is_err()); // 180 ms.
    assert!(samples(&[0xf9, 1, 2, 3]).is_err()); // Two of unequal length that should be equal.
}
