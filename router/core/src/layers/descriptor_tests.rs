use super::*;

#[test]
fn vp8_descriptors_in_all_widths() {
    type Case = (&'static [u8], Option<(u16, bool)>, Option<u8>);
    let cases: [Case; 6] = [
        (&[0x10, 0xaa], None, None),
        (&[0x90, 0x80, 0x7f, 0xaa], Some((0x7f, false)), None),
        (&[0x90, 0x80, 0x81, 0x02, 0xaa], Some((0x102, true)), None),
        (
            &[0x90, 0xe0, 0x81, 0x02, 9, 0, 0xaa],
            Some((0x102, true)),
            Some(9),
        ),
        (&[0x90, 0x40, 9, 0xaa], None, Some(9)),
        (&[0x90, 0x20, 0x40, 0xaa], None, None),
    ];
    for (payload, picture, tl0) in cases {
        let parsed = parse(Codec::Vp8, payload).unwrap();
        let found = parsed.picture.map(|p| (p.value, p.long));
        assert_eq!(
            (found, parsed.tl0.map(|t| t.value)),
            (picture, tl0),
            "{payload:x?}"
        );
    }
}

#[test]
fn vp9_descriptors_with_and_without_layers() {
    // Non-flexible with layer indices and TL0PICIDX; flexible has none.
    let parsed = parse(Codec::Vp9, &[0xa8, 0x81, 0x02, 0x20, 77, 0xaa]).unwrap();
    assert_eq!(parsed.picture.map(|p| p.value), Some(0x102));
    assert_eq!(parsed.tl0.map(|t| t.value), Some(77));
    let parsed = parse(Codec::Vp9, &[0xb8, 0x05, 0x20, 0xaa]).unwrap();
    assert_eq!(parsed.picture.map(|p| (p.value, p.long)), Some((5, false)));
    assert_eq!(parsed.tl0, None);
}

#[test]
fn torn_descriptors_are_no_descriptors() {
    for length in 0..5 {
        let whole = [0x90, 0xe0, 0x81, 0x02, 9];
        let parsed = parse(Codec::Vp8, &whole[..length]);
        assert_eq!(parsed.is_some(), length == 5, "{length}");
    }
    assert_eq!(parse(Codec::H264, &[1, 2, 3]), None);
}

#[test]
fn what_is_written_is_read_again() {
    for payload in [
        vec![0x90, 0xe0, 0x81, 0x02, 9, 0, 0xaa],
        vec![0x90, 0xe0, 0x12, 9, 0, 0xaa],
    ] {
        let descriptor = parse(Codec::Vp8, &payload).unwrap();
        let mut copy = payload.clone();
        let mask = descriptor.picture.unwrap().mask();
        let replacement = Replacement {
            descriptor,
            picture: Some(0x7abc),
            tl0: Some(200),
        };
        replacement.apply(&mut copy);
        let again = parse(Codec::Vp8, &copy).unwrap();
        assert_eq!(again.picture.unwrap().value, 0x7abc & mask);
        assert_eq!(again.tl0.unwrap().value, 200);
        assert_eq!(copy.len(), payload.len());
        assert_eq!(copy.last(), payload.last());
    }
}
