use std::net::SocketAddr;

use super::*;

/// Sample request (RFC 5769 §2.1).
const REQUEST: &str = "
    00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74
    00240004 6e0001ff
    80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020
    00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    80280004 e57a3bcf";

/// Sample IPv4 response (RFC 5769 §2.2).
const RESPONSE_V4: &str = "
    0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
    80280004 c07d4c96";

/// Sample IPv6 response (RFC 5769 §2.3).
const RESPONSE_V6: &str = "
    01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
    80280004 c8fb0b4c";

/// Sample request with long-term authentication (RFC 5769 §2.4).
const REQUEST_LONG_TERM: &str = "
    00010060 2112a442 78ad3433 c6ad72c0 29da412e
    00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700
    00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

const TRANSACTION: [u8; 12] = [
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A binding request with these attributes.
fn request(attributes: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 1];
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE);
    message.extend(TRANSACTION);
    message.extend(attributes);
    message
}

/// The same with a FINGERPRINT, whose CRC is XORed with `wrong`.
fn fingerprinted(attributes: &[u8], wrong: u32) -> Vec<u8> {
    let mut message = request(attributes);
    message[2..4].copy_from_slice(&(attributes.len() as u16 + 8).to_be_bytes());
    let crc = crc32fast::hash(&message) ^ FINGERPRINT_MASK ^ wrong;
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(crc.to_be_bytes());
    message
}

fn answer(request: &[u8], source: &str) -> Vec<u8> {
    let binding = read(request).unwrap().expect("a stranger's request");
    binding.answer(source.parse().unwrap()).contents().to_vec()
}

#[test]
fn fingerprints_are_those_of_the_samples() {
    for sample in [REQUEST, RESPONSE_V4, RESPONSE_V6] {
        let message = bytes(sample);
        let (covered, said) = message.split_at(message.len() - 4);
        let crc = crc32fast::hash(&covered[..covered.len() - 4]) ^ FINGERPRINT_MASK;
        assert_eq!(crc.to_be_bytes(), said);
    }
}

#[test]
fn requests_with_credentials_are_left_to_ice() {
    for sample in [REQUEST, REQUEST_LONG_TERM] {
        assert_eq!(read(&bytes(sample)), Ok(None));
    }
    // And what is no binding request is nobody's here.
    for sample in [RESPONSE_V4, RESPONSE_V6] {
        assert_eq!(read(&bytes(sample)), Ok(None));
    }
}

#[test]
fn the_samples_verify_with_the_engine_that_checks_ice() {
    let hmac = str0m_aws_lc_rs::default_provider().sha1_hmac_provider;
    let message = bytes(REQUEST);
    let parsed = str0m::ice::StunMessage::parse(&message).unwrap();
    assert_eq!(parsed.split_username(), Some(("evtj", "h6vY")));
    let verify = |password: &[u8]| parsed.verify(password, |key, parts| hmac.sha1_hmac(key, parts));
    assert!(verify(b"VOkJxbRl1RmTxUk/WvJxBt"));
    assert!(!verify(b"VOkJxbRl1RmTxUk/WvJxBT"));
}

#[test]
fn addresses_are_written_as_in_the_samples() {
    for (sample, source, address) in [
        (RESPONSE_V4, "192.0.2.1:32853", 36..48),
        (
            RESPONSE_V6,
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
            36..60,
        ),
    ] {
        let expected = bytes(sample);
        let written = answer(&request(&[]), source);
        assert_eq!(written[..2], expected[..2], "a success response");
        assert_eq!(written[4..20], expected[4..20], "cookie and transaction");
        assert_eq!(written[20..], expected[address], "{source}");
        assert_eq!(usize::from(written[3]), written.len() - 20);
    }
}

#[test]
fn a_fingerprint_is_checked_and_returned() {
    let written = answer(&fingerprinted(&[], 0), "192.0.2.1:32853");
    assert_eq!(written.len(), 40);
    assert_eq!(usize::from(written[3]), 20);
    let crc = crc32fast::hash(&written[..32]) ^ FINGERPRINT_MASK;
    assert_eq!(written[36..], crc.to_be_bytes());
    for wrong in [1, u32::MAX, 1 << 31] {
        let refused = read(&fingerprinted(&[], wrong));
        assert_eq!(refused, Err(DropCause::StunUnauthenticated));
    }
    let mut followed = fingerprinted(&[], 0);
    followed.extend([0x80, 0x22, 0, 0]);
    followed[3] += 4;
    assert_eq!(read(&followed), Err(DropCause::Malformed));
}

#[test]
fn attributes_that_must_be_understood_are_named() {
    // CHANGE-REQUEST (RFC 5780), what classic clients ask for; SOFTWARE may be ignored.
    let change = [0, 3, 0, 4, 0, 0, 0, 6, 0x80, 0x22, 0, 1, b'x', 0, 0, 0];
    let written = answer(&request(&change), "192.0.2.1:1");
    assert_eq!(written[..4], [1, 0x11, 0, 16]);
    assert_eq!(
        written[20..],
        [0, 9, 0, 4, 0, 0, 4, 20, 0, 10, 0, 2, 0, 3, 0, 0]
    );
    // Many are cut to as many as fit, and the rest goes on being read.
    let many: Vec<u8> = (0x7000..0x7040_u16)
        .flat_map(|kind| [kind.to_be_bytes(), [0, 0]].concat())
        .collect();
    let written = answer(&fingerprinted(&many, 0), "[::1]:1");
    assert_eq!(written.len(), 20 + 8 + 4 + 16 + 8);
    assert_eq!(usize::from(written[3]), written.len() - 20);
}

#[test]
fn an_answer_is_hardly_longer_than_its_request() {
    let sources: [(&str, usize); 2] = [("192.0.2.1:9", 12), ("[2001:db8::1]:9", 24)];
    let mut attributes = Vec::new();
    for count in 0..40_u16 {
        for (source, more) in sources {
            for message in [request(&attributes), fingerprinted(&attributes, 0)] {
                let written = answer(&message, source);
                assert!(written.len() <= message.len() + more, "{count} {source}");
            }
        }
        attributes.extend((0x7000 + count).to_be_bytes());
        attributes.extend([0, 0]);
    }
}

#[test]
fn whatever_is_not_whole_is_malformed() {
    let whole = fingerprinted(&[0x80, 0x22, 0, 4, b'a', b'b', b'c', b'd'], 0);
    assert!(read(&whole).unwrap().is_some());
    for length in 0..whole.len() {
        assert_eq!(
            read(&whole[..length]),
            Err(DropCause::Malformed),
            "{length}"
        );
    }
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[place] ^= 1 << bit;
            // What an optional attribute has swallowed, or has become one, is not looked for.
            if let Ok(Some(binding)) = read(&bent) {
                assert!(!binding.fingerprint, "byte {place}, bit {bit}");
                assert!(place == 23 || place >= whole.len() - 8, "byte {place}");
            }
        }
    }
    let classic = {
        let mut message = request(&[]);
        message[4] = 0;
        message
    };
    assert_eq!(read(&classic), Err(DropCause::Malformed), "RFC 3489");
    let long = [0x80, 0x22, 2, 0x20].into_iter().chain([0; 544]);
    let long = request(&long.collect::<Vec<u8>>());
    assert!(long.len() > STUN_REQUEST_BYTES);
    assert_eq!(read(&long), Err(DropCause::Malformed));
}

#[test]
fn random_attributes_are_never_read_past_their_end() {
    let mut random = fastrand::Rng::with_seed(8489);
    for _ in 0..20_000 {
        let length = 4 * random.usize(0..40);
        let attributes: Vec<u8> = (0..length)
            .map(|_| {
                if random.bool() {
                    random.u8(..4)
                } else {
                    random.u8(..)
                }
            })
            .collect();
        let message = request(&attributes);
        if let Ok(Some(binding)) = read(&message) {
            let source: SocketAddr = "[2001:db8::1]:65535".parse().unwrap();
            let answer = binding.answer(source);
            assert!(answer.contents().len() <= message.len() + 24);
        }
    }
}
