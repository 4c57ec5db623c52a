//! Seeds: an input of each shape that a target knows, so that fuzzers need not find these by themselves.

use std::fs;
use std::path::PathBuf;

use super::{media, texts};

/// Name of the target, name of the seed, input.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// Writes all of them, in place of those that are there.
pub fn write() {
    let root = PathBuf::from(std::env::var("RILLWAY_FUZZ_SEEDS").expect("RILLWAY_FUZZ_SEEDS"));
    let groups = [
        rtp(),
        payloads(),
        rtcp(),
        calls(),
        texts::descriptions(),
        packets(),
        turn(),
        streams(),
        texts::rooms(),
        texts::whip(),
        texts::others(),
    ];
    let mut count = 0;
    for (target, name, input) in groups.into_iter().flatten() {
        let folder = root.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), input).expect("a file");
        count += 1;
    }
    println!("{count} seeds");
}

/// With its length before it.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("short");
    [&[length], bytes].concat()
}

/// The same for longer ones.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}

pub fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn rtp() -> Vec<Seed> {
    let fixed = [0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    let packet = |first: u8, rest: &[u8]| {
        let mut packet = fixed.to_vec();
        packet[0] = first;
        packet.extend(rest);
        packet
    };
    let one_byte: &[u8] = &[
        0xbe, 0xde, 0, 9, 0x22, 1, 2, 3, 0x31, 4, 5, 0x41, b'a', b'b', 0x10, 0xa1, 0xd0, 3, 0x60,
        1, 0x7f, 0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0, 0, 0,
    ];
    let two_bytes: &[u8] = &[0x10, 0, 0, 2, 4, 1, b'a', 10, 1, b'l', 0, 0];
    let delay: &[u8] = &[0xbe, 0xde, 0, 2, 0x52, 1, 2, 3, 0xa0, b'h', 0xb0, b'h'];
    vec![
        ("rtp", "plain", packet(0x80, &[1, 2, 3])),
        ("rtp", "sources", packet(0x82, &[0, 0, 0, 9, 0, 0, 0, 8, 1])),
        ("rtp", "one-byte", packet(0x90, one_byte)),
        ("rtp", "two-bytes", packet(0x90, two_bytes)),
        ("rtp", "delay", packet(0x90, delay)),
        ("rtp", "padded", packet(0xa0, &[1, 0, 0, 3])),
    ]
}

/// Beginnings of payloads, by the codecs' order in both targets that read them.
const PAYLOADS: [(&str, u8, &[u8]); 15] = [
    ("vp8-start", 0, &[0x10, 0x11, 0, 0]),
    (
        "vp8-keyframe",
        0,
        &[
            0x90, 0xe0, 0x81, 0x02, 3, 0, 0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 9, 9,
        ],
    ),
    ("vp8-short-id", 0, &[0x90, 0xf0, 0x01, 2, 0x20, 0x11]),
    (
        "vp9-keyframe",
        1,
        &[
            0x8c, 0x01, 0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0b, 0x36,
        ],
    ),
    (
        "vp9-layers",
        1,
        &[0xaa, 0x81, 0x02, 0, 7, 0x18, 1, 0x40, 0, 0xb4, 0x82, 0x49],
    ),
    ("vp9-flexible", 1, &[0xfb, 0xff, 0xff, 2, 3, 5, 6]),
    (
        "av1-sequence",
        2,
        &[
            0x18, 0x0a, 0x0b, 0, 0, 0, 0x24, 0xce, 0x3f, 0x8e, 0xbf, 0x40,
        ],
    ),
    ("av1-two", 2, &[0x20, 2, 0x12, 0, 0x32, 1, 2, 3]),
    ("av1-continued", 2, &[0x50, 0x32, 1, 2, 3]),
    (
        "h264-stap",
        3,
        &[
            0x78, 0, 4, 0x67, 0x42, 0xc0, 0x1f, 0, 4, 0x68, 0xce, 0x3c, 0x80, 0, 2, 0x65, 0x88,
        ],
    ),
    (
        "h264-sps",
        3,
        &[
            0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 8, 0x84, 0x6a,
        ],
    ),
    ("h264-fu-start", 3, &[0x7c, 0x85, 0x88, 0x84, 0x21]),
    ("h264-fu-end", 3, &[0x7c, 0x45, 0x88]),
    ("opus", 4, &[0x78, 1, 2, 3, 4]),
    ("opus-frames", 4, &[0x03, 0x41, 1, 2, 3, 4]),
];

/// Dependency descriptors, each after its length: a keyframe of three spatial layers and frames after it; one of
/// three temporal layers, and a frame that differs from its template.
const DESCRIBED: [(&str, &[u8]); 2] = [
    (
        "described-spatial",
        &[
            0x20, 0x81, 0x00, 0x07, 0x80, 0x02, 0x22, 0x3b, 0xea, 0x2c, 0xa0, 0x82, 0x91, 0x28,
            0x20, 0x94, 0x10, 0x22, 0x22, 0x22, 0x30, 0x13, 0xf0, 0x0b, 0x30, 0x27, 0xf0, 0x16,
            0x70, 0x4f, 0xf0, 0x2c, 0xf0, 0x03, 0x41, 0x00, 0x07, 0x03, 0xc3, 0x00, 0x08, 0x03,
            0xc5, 0x00, 0x09, 0x03, 0xc0, 0x00, 0x0a,
        ],
    ),
    (
        "described-temporal",
        &[
            0x0e, 0x80, 0x00, 0x01, 0x80, 0x02, 0x17, 0xaa, 0xa1, 0x81, 0x4d, 0x14, 0x08, 0x88,
            0x88, 0x03, 0xc3, 0x00, 0x02, 0x03, 0xc2, 0x00, 0x03, 0x0a, 0xc2, 0x01, 0xf4, 0x7b,
            0x29, 0x59, 0xff, 0xfa, 0x00, 0x24,
        ],
    ),
];

fn payloads() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, described) in DESCRIBED {
        seeds.push(("descriptors", name, joined(&[&[0xff], described])));
    }
    for (name, codec, payload) in PAYLOADS {
        // There is H.265 in between in one of them.
        let described = if codec == 4 { 5 } else { codec };
        seeds.push((
            "descriptors",
            name,
            joined(&[&[described, 0x12, 0x34, 0x56], payload]),
        ));
        // Some frames of it, marked at their end, into either container.
        let mut film = vec![u8::from(codec == 1), codec];
        for packet in 0..4_u8 {
            let flags = if packet == 0 { 6 } else { 2 };
            film.extend([flags, 11]);
            film.extend(chunk(payload));
        }
        seeds.push(("recording", name, film));
    }
    let whole: Vec<u8> = PAYLOADS
        .iter()
        .filter(|(_, codec, _)| *codec == 3)
        .flat_map(|(name, _, payload)| {
            let last = name.ends_with("stap") || name.ends_with("end");
            joined(&[&[u8::from(last) << 1, u8::from(last) * 11], &chunk(payload)])
        })
        .collect();
    seeds.push(("recording", "h264-frame", joined(&[&[0, 3], &whole])));
    seeds
}

/// A part of a compound packet, of whole words.
fn part(kind: u8, count: u8, words: &[u32]) -> Vec<u8> {
    let length = u16::try_from(words.len()).expect("short").to_be_bytes();
    let mut part = vec![0x80 | count, kind, length[0], length[1]];
    part.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    part
}

fn reports() -> Vec<(&'static str, Vec<u8>)> {
    let remb = u32::from_be_bytes(*b"REMB");
    let block = [9, 0x0a00_0001, 70_000, 5, 0x1234_5678, 655];
    let receiver = part(201, 1, &joined_words(&[1], &block));
    let feedback = part(
        205,
        15,
        &[1, 0, 0x0001_0004, 0x0000_0201, 0x2004_0408, 0x0c10_0000],
    );
    vec![
        ("receiver", receiver.clone()),
        (
            "sender",
            part(200, 1, &joined_words(&[1, 2, 3, 4, 5, 6], &block)),
        ),
        ("nack", part(205, 1, &[1, 9, 0x0064_0003, 0x0100_0000])),
        ("pli", part(206, 1, &[1, 9])),
        (
            "fir",
            part(206, 4, &[1, 0, 9, 0x0100_0000, 11, 0x0200_0000]),
        ),
        ("remb", part(206, 15, &[1, 0, remb, 0x0109_0000, 9])),
        (
            "clock",
            part(207, 0, &[8, 0x0400_0002, 0xaaaa_bbbb, 0xcccc_dddd]),
        ),
        ("arrivals", feedback.clone()),
        ("bye", part(203, 1, &[1])),
        (
            "all",
            joined(&[&receiver, &feedback, &part(206, 1, &[1, 9])]),
        ),
    ]
}

fn joined_words(a: &[u32], b: &[u32]) -> Vec<u32> {
    [a, b].concat()
}

fn rtcp() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = reports()
        .into_iter()
        .map(|(name, packet)| ("rtcp", name, packet))
        .collect();
    let control =
        |count: u8, rest: &[u8]| joined(&[&[1, 0xf4, 0xff, 0xfa, 0, count, 0, 0, 2, 1], rest]);
    let mixed: &[u8] = &[
        0x20, 3, 0xaa, 0xaa, 0xe4, 0x80, 4, 8, 0, 1, 1, 1, 1, 1, 1, 1, 0xff, 0xfc, 2, 1, 0,
    ];
    seeds.extend([
        ("arrivals", "run", control(4, &[0x20, 4, 4, 8, 0, 0])),
        ("arrivals", "mixed", control(21, mixed)),
        ("arrivals", "lost", control(200, &[0x1f, 0xff])),
    ]);
    seeds
}

/// A step of the call: the publisher sends.
fn packet(video: bool, number: u8, payload: &[u8]) -> Vec<u8> {
    let flags = 0x80 | u8::from(video);
    joined(&[&[0, flags, 1, number, 2, number], &chunk(payload), &[0]])
}

fn calls() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let keyframe = PAYLOADS[1].2;
    let mut video: Vec<u8> = (0..6)
        .flat_map(|number| packet(true, number, keyframe))
        .collect();
    seeds.push(("media", "video", video.clone()));
    for (name, report) in reports() {
        let mut input = video.clone();
        input.push(2);
        input.extend(chunk(&report));
        input.extend([3, 100]);
        seeds.push(("media", name, input));
    }
    video.extend([3, 200]);
    video.extend(packet(true, 0xf0, keyframe));
    video.extend(packet(false, 1, b"sound"));
    seeds.push(("media", "gap", video));
    seeds
}

/// A STUN message of this kind with these attributes.
fn stun(kind: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len())
        .expect("short")
        .to_be_bytes();
    let mut message = kind.to_be_bytes().to_vec();
    message.extend(length);
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend([7; 12]);
    message.extend(attributes);
    message
}

fn packets() -> Vec<Seed> {
    let plain = stun(1, &[]);
    let software = stun(1, &[0x80, 0x22, 0, 4, b't', b'e', b's', b't']);
    let unknown = stun(1, &[0, 0x42, 0, 0, 0, 0x43, 0, 1, 9, 0, 0, 0]);
    let named = stun(1, &[0, 6, 0, 4, b'a', b':', b'b', b'c']);
    let printed = [0x80, 0x28, 0, 4, 0, 0, 0, 0];
    let mut seeds = vec![
        ("stun", "plain", joined(&[&[0], &plain])),
        ("stun", "plain-6", joined(&[&[1], &plain])),
        ("stun", "software", joined(&[&[0], &software])),
        ("stun", "unknown", joined(&[&[1], &unknown])),
        ("stun", "named", joined(&[&[0], &named])),
        ("stun", "fingerprint", joined(&[&[0], &stun(1, &printed)])),
        ("datagrams", "stranger", joined(&[&[0, 1], &chunk(&plain)])),
    ];
    // A check that chooses its path, and what a client says then.
    let chosen = [2, 0, 0b1_0110, 0x6e, 0, 1, 0xff];
    let mut input = chosen.to_vec();
    for (index, datagram) in media::said().iter().enumerate() {
        if datagram[0] >= 20 && datagram.len() < 1_000 {
            input.extend([1, 0]);
            input.extend(long(datagram));
            if index % 4 == 0 {
                input.extend([3, 0, 30]);
            }
        }
        if input.len() > 1_500 {
            break;
        }
    }
    seeds.push(("datagrams", "handshake", input));
    let moved = joined(&[&chosen, &[3, 0, 250], &[2, 1, 0b1_0110, 0x6e, 0, 1, 0xff]]);
    seeds.push(("datagrams", "moved", moved));
    seeds
}

fn turn() -> Vec<Seed> {
    // Asked twice: the first time it is told the nonce.
    let allocate: &[u8] = &[2, 0, 2, 0];
    let permit: &[u8] = &[3, 0, 0];
    let bind: &[u8] = &[4, 0, 0, 1];
    let by_channel = joined(&[&[6, 0, 1], &chunk(b"media")]);
    let by_indication = joined(&[&[5, 0, 0], &chunk(b"hello")]);
    // Bound is the third of the peers, told the first.
    let back = joined(&[&[7, 0, 0, 2], &chunk(b"back")]);
    let forbidden = joined(&[&[3, 0, 7], &[5, 0, 7], &chunk(b"x"), &[4, 0, 3, 2]]);
    let public = joined(&[&[3, 0, 4], &[5, 0, 4], &chunk(b"x")]);
    let call = joined(&[allocate, permit, &by_indication, bind, &by_channel, &back]);
    let attributes: &[u8] = &[1, 0, 1, 3, 102, 1, 2, 0, 0, 0, 60, 0];
    vec![
        ("turn", "call", joined(&[&[0], &call])),
        (
            "turn",
            "late",
            joined(&[
                &[0],
                &call,
                &[8, 0, 1, 0x40],
                &by_channel,
                &[8, 0, 2, 0x80],
                &back,
            ]),
        ),
        ("turn", "forbidden", joined(&[&[0], allocate, &forbidden])),
        (
            "turn",
            "public",
            joined(&[&[1], allocate, &public, &forbidden]),
        ),
        (
            "turn",
            "gone",
            joined(&[&[0], &call, &[8, 0, 0, 0], &by_channel]),
        ),
        (
            "turn",
            "others",
            joined(&[&[0], allocate, &[2, 1, 2, 1, 2, 2, 2, 2, 2, 3, 2, 3]]),
        ),
        (
            "turn",
            "attributes",
            joined(&[&[0], attributes, attributes]),
        ),
        (
            "turn",
            "binding",
            joined(&[&[0, 0, 0], &chunk(&stun(1, &[]))]),
        ),
        (
            "turn",
            "refresh",
            joined(&[&[0], &call, &[1, 0, 2, 1, 2, 0, 0, 0, 0, 0], &by_channel]),
        ),
    ]
}

fn streams() -> Vec<Seed> {
    let channel: &[u8] = &[0x40, 1, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
    let frames = joined(&[&long(b"one"), &long(b""), &long(&[0x80; 300])]);
    vec![
        ("turn-stream", "channel", channel.to_vec()),
        (
            "turn-stream",
            "both",
            joined(&[
                &stun(1, &[]),
                channel,
                &stun(3, &[0, 0x19, 0, 4, 17, 0, 0, 0]),
            ]),
        ),
        ("turn-stream", "http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("ice-stream", "whole", joined(&[&chunk(&[]), &frames])),
        (
            "ice-stream",
            "pieces",
            joined(&[&chunk(&[1, 1, 2, 7, 100]), &frames]),
        ),
        (
            "ice-stream",
            "oversized",
            joined(&[&chunk(&[3]), &[0x08, 0x01, 1, 2, 3]]),
        ),
    ]
}
