use super::*;

/// Writes bits, the highest first.
#[derive(Default)]
pub(crate) struct Pen {
    bits: Vec<bool>,
}

impl Pen {
    pub(crate) fn put(&mut self, value: u32, count: u8) -> &mut Self {
        let bits = (0..count).rev().map(|bit| value >> bit & 1 == 1);
        self.bits.extend(bits);
        self
    }

    /// ns(n), as [`Bits::non_symmetric`] reads it.
    pub(crate) fn put_non_symmetric(&mut self, value: u32, values: u32) -> &mut Self {
        let width = (u32::BITS - values.leading_zeros()) as u8;
        let short = (1 << width) - values;
        if value < short {
            self.put(value, width - 1)
        } else {
            self.put(value + short, width)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let bytes = self.bits.chunks(8);
        let byte = |bits: &[bool]| {
            let bits = bits.iter().enumerate();
            bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        bytes.map(byte).collect()
    }
}

/// A template: spatial and temporal index, indications, differences.
pub(crate) type Form = (u8, u8, &'static str, &'static [u32]);

/// As Chromium's encoders make them.
pub(crate) const L1T3: [Form; 5] = [
    (0, 0, "SSS", &[]),
    (0, 0, "SSS", &[4]),
    (0, 1, "-DS", &[2]),
    (0, 2, "--D", &[1]),
    (0, 2, "--D", &[1]),
];
pub(crate) const L2T2_KEY: [Form; 6] = [
    (0, 0, "SSSS", &[]),
    (0, 0, "SS--", &[4]),
    (0, 1, "-D--", &[2]),
    (1, 0, "--SS", &[1]),
    (1, 0, "--SS", &[4]),
    (1, 1, "---D", &[2]),
];
pub(crate) const L3T1: [Form; 6] = [
    (0, 0, "SRR", &[3]),
    (0, 0, "SSS", &[]),
    (1, 0, "-SR", &[3, 1]),
    (1, 0, "-SS", &[1]),
    (2, 0, "--S", &[3, 1]),
    (2, 0, "--S", &[1]),
];

/// A packet with a structure, of its frame `template`.
pub(crate) fn keyframe(
    forms: &[Form],
    (first, template, number): (u8, u8, u16),
    chains: u32,
    sizes: &[(u16, u16)],
) -> Vec<u8> {
    let targets = forms[0].2.len() as u32;
    let mut pen = Pen::default();
    pen.put(0b10, 2).put((first + template).into(), 6);
    pen.put(number.into(), 16).put(0b10000, 5);
    pen.put(first.into(), 6).put(targets - 1, 5);
    for pair in forms.windows(2) {
        let next = match (pair[1].0 > pair[0].0, pair[1].1 > pair[0].1) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        pen.put(next, 2);
    }
    pen.put(3, 2);
    for indication in forms.iter().flat_map(|form| form.2.chars()) {
        pen.put("-DSR".find(indication).unwrap() as u32, 2);
    }
    for form in forms {
        for before in form.3 {
            pen.put(1, 1).put(before - 1, 4);
        }
        pen.put(0, 1);
    }
    pen.put_non_symmetric(chains, targets + 1);
    if chains > 0 {
        for target in 0..targets {
            pen.put_non_symmetric(target % chains, chains);
        }
        for _ in 0..forms.len() as u32 * chains {
            pen.put(1, 4);
        }
    }
    pen.put((!sizes.is_empty()).into(), 1);
    for (width, height) in sizes {
        pen.put((width - 1).into(), 16).put((height - 1).into(), 16);
    }
    pen.bytes()
}

/// A packet of three bytes.
pub(crate) fn plain(starts: bool, ends: bool, template: u8, number: u16) -> Vec<u8> {
    let mut pen = Pen::default();
    pen.put(starts.into(), 1).put(ends.into(), 1);
    pen.put(template.into(), 6).put(number.into(), 16);
    pen.bytes()
}

#[test]
fn a_keyframe_brings_the_templates_of_later_frames() {
    let sizes = [(320, 180), (640, 360), (1_280, 720)];
    for (first, chains) in [(0, 0), (5, 3), (60, 2)] {
        let bytes = keyframe(&L3T1, (first, 1, 77), chains, &sizes);
        let read_key = read(&bytes, None).unwrap();
        assert!(read_key.starts && !read_key.ends);
        assert_eq!(
            (read_key.number, read_key.spatial, read_key.temporal),
            (77, 0, 0)
        );
        assert_eq!(read_key.switch, [1, 1, 1, 0]);
        assert_eq!(read_key.needs, Needs::default());
        let structure = read_key.structure.unwrap();
        assert_eq!(structure.sizes[..3], sizes.map(Some));
        assert_eq!(structure.levels[..3], [(0, 0), (1, 0), (2, 0)]);
        // The numbers of templates go round at 64.
        let later = plain(false, true, (first + 4) % 64, 80);
        let later = read(&later, Some(&structure)).unwrap();
        assert!(!later.starts && later.ends);
        assert_eq!((later.spatial, later.temporal), (2, 0));
        assert_eq!(later.switch, [0, 0, 1, 0]);
        assert_eq!(later.needs.near, 0b101);
        let unknown = plain(true, true, (first + 6) % 64, 81);
        assert_eq!(read(&unknown, Some(&structure)), None, "no such template");
        assert_eq!(
            read(&plain(true, true, first, 1), None),
            None,
            "no structure"
        );
    }
}

#[test]
fn decode_targets_are_layers_and_their_switch_points() {
    let key = read(&keyframe(&L2T2_KEY, (0, 0, 1), 2, &[]), None).unwrap();
    let structure = key.structure.unwrap();
    assert_eq!(structure.levels[..4], [(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(key.switch, [0b11, 0b11, 0, 0]);
    let of = |template| read(&plain(true, true, template, 9), Some(&structure)).unwrap();
    assert_eq!(of(1).switch, [0b11, 0, 0, 0]);
    assert_eq!(of(2).switch, [0; 4], "discardable");
    assert_eq!(of(4).switch, [0, 0b11, 0, 0]);
    assert_eq!(
        (of(5).spatial, of(5).temporal, of(5).needs.near),
        (1, 1, 0b10)
    );
}

#[test]
fn a_frame_may_differ_from_its_template() {
    let structure = read(&keyframe(&L1T3, (0, 0, 1), 1, &[]), None).unwrap();
    let structure = structure.structure.unwrap();
    let mut pen = Pen::default();
    pen.put(0b11, 2).put(2, 6).put(500, 16);
    // No structure; targets, indications, differences and chains of its own.
    pen.put(0b01111, 5).put(0b011, 3);
    pen.put(0, 2).put(2, 2).put(2, 2);
    pen.put(1, 2)
        .put(5, 4)
        .put(2, 2)
        .put(127, 8)
        .put(3, 2)
        .put(4_000, 12)
        .put(0, 2);
    pen.put(9, 8);
    let frame = read(&pen.bytes(), Some(&structure)).unwrap();
    assert_eq!((frame.spatial, frame.temporal), (0, 1));
    assert_eq!(frame.switch, [0b110, 0, 0, 0]);
    let needs = Needs {
        near: 1 << 5 | 1 << 127,
        far: true,
    };
    assert_eq!(frame.needs, needs);
}

#[test]
fn torn_ones_are_none() {
    let whole = keyframe(&L3T1, (0, 1, 1), 3, &[(2, 2), (4, 4), (8, 8)]);
    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length], None), None, "{length}");
    }
    // 64 templates are the most.
    let mut pen = Pen::default();
    pen.put(0b10, 2).put(0, 6).put(1, 16).put(0b10000, 5);
    pen.put(0, 6).put(0, 5);
    for _ in 0..70 {
        pen.put(0, 2);
    }
    let mut bytes = pen.bytes();
    bytes.resize(BYTES_MOST, 0xff);
    assert_eq!(read(&bytes, None), None);
    let mut rng = fastrand::Rng::with_seed(11);
    let known = read(&whole, None).unwrap().structure;
    for _ in 0..50_000 {
        let length = rng.usize(0..60);
        let mut bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        if rng.bool() {
            bytes = whole[..length.min(whole.len())].to_vec();
            let at = rng.usize(0..60) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
        // Whatever is read stays within its bounds.
        if let Some(frame) = read(&bytes, known.as_ref()) {
            assert!(usize::from(frame.spatial) < SPATIALS && frame.temporal < TEMPORALS);
        }
    }
}

#[test]
fn the_number_is_written_anew_and_nothing_else() {
    let whole = keyframe(&L1T3, (0, 0, 0xabcd), 1, &[(8, 8)]);
    assert_eq!(number(&whole), Some(0xabcd));
    let mut copy = whole.clone();
    renumber(&mut copy, 0x1234);
    assert_eq!(number(&copy), Some(0x1234));
    renumber(&mut copy, 0xabcd);
    assert_eq!(copy, whole);
    renumber(&mut copy[..2], 7);
    assert_eq!(number(&whole[..2]), None);
}

#[test]
fn numbers_of_unequal_length() {
    for values in 1..40 {
        let mut pen = Pen::default();
        for value in 0..values {
            pen.put_non_symmetric(value, values);
        }
        let bytes = pen.bytes();
        let mut bits = Bits::new(&bytes);
        for value in 0..values {
            assert_eq!(bits.non_symmetric(values), Some(value), "of {values}");
        }
    }
}
