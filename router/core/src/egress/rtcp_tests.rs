use super::*;

fn all(packet: &[u8]) -> Vec<Feedback<'_>> {
    let mut found = Vec::new();
    read(packet, &mut |feedback| found.push(feedback));
    found
}

/// A part of a compound packet.
fn part(kind: u8, count: u8, words: &[u32]) -> Vec<u8> {
    let length = (words.len() as u16).to_be_bytes();
    let mut bytes = vec![0x80 | count, kind, length[0], length[1]];
    for word in words {
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

const BLOCK: [u32; 6] = [7, 0x4000_0001, 0x0001_0002, 3, 4, 5];

fn reception() -> Feedback<'static> {
    Feedback::Reception(Reception {
        ssrc: 7,
        fraction_lost: 0x40,
        highest: 0x0001_0002,
        last_report: 4,
        delay: 5,
    })
}

#[test]
fn reports_requests_and_rates_are_read_from_one_compound() {
    let mut receiver = vec![1];
    receiver.extend(BLOCK);
    let mut sender = vec![1, 2, 3, 4, 5, 6];
    sender.extend(BLOCK);
    let mut packet = part(201, 1, &receiver);
    packet.extend(part(200, 1, &sender));
    packet.extend(part(202, 1, &[1, 0x0102_6161]));
    packet.extend(part(205, 1, &[1, 9, 0x0005_8001, 0x0100_0000]));
    packet.extend(part(206, 1, &[1, 9]));
    packet.extend(part(206, 4, &[1, 0, 11, 0x0100_0000, 12, 0x0200_0000]));
    let remb = u32::from_be_bytes(*b"REMB");
    packet.extend(part(
        206,
        15,
        &[1, 0, remb, 0x0100_0000 | (3 << 18) | 1_000, 9],
    ));
    packet.extend(part(207, 0, &[8, 0x0400_0002, 0xaaaa_bbbb, 0xcccc_dddd]));
    packet.extend(part(205, 15, &[1, 9, 0x0001_0001, 0x0002_0003]));
    assert_eq!(
        all(&packet),
        [
            reception(),
            reception(),
            Feedback::Missing {
                ssrc: 9,
                first: 5,
                following: 0x8001
            },
            Feedback::Missing {
                ssrc: 9,
                first: 0x100,
                following: 0
            },
            Feedback::Keyframe { ssrc: 9 },
            Feedback::Keyframe { ssrc: 11 },
            Feedback::Keyframe { ssrc: 12 },
            Feedback::Capacity { bps: 8_000 },
            Feedback::Reference {
                sender: 8,
                ntp: 0xaaaa_bbbb_cccc_dddd
            },
            Feedback::Arrivals(&[0, 1, 0, 1, 0, 2, 0, 3]),
        ]
    );
}

#[test]
fn padding_is_not_read_and_a_wrong_length_ends_the_packet() {
    let mut padded = part(206, 1, &[1, 9, 4]);
    padded[0] |= 0x20;
    assert_eq!(all(&padded), [Feedback::Keyframe { ssrc: 9 }]);
    *padded.last_mut().unwrap() = 200;
    assert_eq!(all(&padded), [], "more padding than packet");
    let mut torn = part(206, 1, &[1, 9]);
    torn.extend(&part(206, 1, &[1, 10])[..8]);
    assert_eq!(all(&torn), [Feedback::Keyframe { ssrc: 9 }]);
    let mut other = part(206, 1, &[1, 9]);
    other[0] = 0x40;
    assert_eq!(all(&other), [], "another version");
}

#[test]
fn a_count_beyond_the_blocks_reads_those_that_are_there() {
    let mut words = vec![1];
    words.extend(BLOCK);
    assert_eq!(all(&part(201, 31, &words)), [reception()]);
}

#[test]
fn no_bytes_make_it_panic_or_loop() {
    let mut state = 0x1234_5678_u32;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    for _ in 0..50_000 {
        let words: Vec<u32> = (0..next() % 20).map(|_| next()).collect();
        let kinds = [200, 201, 202, 203, 205, 206, 207, 199];
        let mut packet = part(kinds[next() as usize % 8], (next() % 32) as u8, &words);
        for _ in 0..next() % 4 {
            let at = next() as usize % packet.len();
            packet[at] = next() as u8;
        }
        packet.truncate(packet.len() - next() as usize % packet.len());
        assert!(all(&packet).len() <= packet.len());
    }
}

const INFO: SenderInfo = SenderInfo {
    ssrc: 0x0102_0304,
    ntp: 0x0506_0708_090a_0b0c,
    timestamp: 0x0d0e_0f10,
    packets: 0x1112_1314,
    octets: 0x1516_1718,
};

#[test]
fn reports_are_written_as_rfc_3550_has_them() {
    let mut slot = [0xee; 200];
    let mut compound = Compound::new(&mut slot);
    assert!(compound.report(&INFO, b"name"));
    let echo = Echo {
        sender: 1,
        reference: 2,
        delay: 3,
    };
    assert!(compound.echoes(9, &[echo]).is_some());
    assert!(compound.goodbye(&[5, 6]).is_some());
    let bytes = compound.bytes();
    let mut expected = vec![0x80, 200, 0, 6];
    expected.extend(1..=0x18);
    expected.extend([0x81, 202, 0, 3, 1, 2, 3, 4, 1, 4]);
    expected.extend(b"name\0\0");
    expected.extend([0x80, 207, 0, 5, 0, 0, 0, 9, 5, 0, 0, 3]);
    expected.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
    expected.extend([0x82, 203, 0, 2, 0, 0, 0, 5, 0, 0, 0, 6]);
    assert_eq!(slot[..bytes], expected);
    assert!(slot[bytes..].iter().all(|b| *b == 0xee));
}

#[test]
fn what_does_not_fit_is_left_out_whole() {
    for room in 0..60 {
        let mut slot = vec![0; room];
        let mut compound = Compound::new(&mut slot);
        let added = compound.report(&INFO, b"a name of some length");
        assert_eq!(added, room >= 60, "{room}");
        assert_eq!(compound.bytes(), if added { 60 } else { 0 });
    }
    let mut slot = [0; 400];
    assert!(Compound::new(&mut slot).goodbye(&[0; 32]).is_none());
    assert!(!Compound::new(&mut slot).report(&INFO, &[b'a'; 300]));
}
