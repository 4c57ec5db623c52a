//! No system call in here: `cargo +nightly miri test -p rillway-ring bookkeeping`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::address::{self, ADDRESS_BYTES, RawAddress};
use super::control::{
    self, RECEIVE_CONTROL_BYTES, SCM_TIMESTAMPNS, SEGMENT_CONTROL_BYTES, SOL_UDP, SegmentControl,
    UDP_GRO, UDP_SEGMENT,
};
use super::envelope::{self, OVERHEAD_BYTES};
use super::outbox::{MESSAGE_BYTES_MAX, Outbox, SEGMENTS_MAX};
use super::provided::{BufferId, ProvidedBook};
use super::ticket::Ticket;
use crate::driver::{SendError, SendRun, SocketId};

/// Few under Miri, which is a hundred times slower; failures are not written to disk (no system call).
fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        cases: if cfg!(miri) { 8 } else { 256 },
        ..ProptestConfig::default()
    }
}

fn destination() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

fn run(segment_bytes: usize, payload: &[u8]) -> SendRun<'_> {
    SendRun {
        socket: SocketId(3),
        destination: destination(),
        segment_bytes,
        payload,
    }
}

fn gro_segment(control: &[u8]) -> Option<usize> {
    control::read(control).segment_bytes
}

/// One control message in the kernel's layout.
fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

#[test]
fn addresses_have_the_kernels_layout() {
    let raw = RawAddress::from("1.2.3.4:258".parse::<SocketAddr>().unwrap());
    assert_eq!(raw.len(), 16);
    assert_eq!(
        raw.bytes()[..8],
        [2, 0, 1, 2, 1, 2, 3, 4],
        "AF_INET, port and address big-endian"
    );
    let raw = RawAddress::from("[fe80::1%7]:443".parse::<SocketAddr>().unwrap());
    assert_eq!(raw.len() as usize, ADDRESS_BYTES);
    assert_eq!(raw.bytes()[..4], [10, 0, 1, 187]);
    assert_eq!(raw.bytes()[8..10], [0xfe, 0x80]);
    assert_eq!(raw.bytes()[24..], [7, 0, 0, 0], "scope in host order");
    assert_eq!(address::decode(&[]), None);
    assert_eq!(address::decode(&[1, 0, 0, 0, 0, 0, 0, 0]), None, "AF_UNIX");
    assert_eq!(address::decode(&raw.bytes()[..27]), None, "too short");
}

#[test]
fn a_segment_message_has_the_kernels_layout() {
    let control = SegmentControl::new(1200);
    let expected = message(SOL_UDP, UDP_SEGMENT, &1200u16.to_ne_bytes());
    assert_eq!(control.bytes(), expected);
    assert_eq!(expected[0], 18, "CMSG_LEN(2)");
    assert_eq!(SEGMENT_CONTROL_BYTES, 24, "CMSG_SPACE(2)");
}

#[test]
fn the_time_of_arrival_is_found_beside_the_gro_size() {
    let words = |seconds: i64, nanoseconds: i64| {
        [seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat()
    };
    let stamp = |data: &[u8]| message(libc::SOL_SOCKET, SCM_TIMESTAMPNS, data);
    let gro = message(SOL_UDP, UDP_GRO, &1200i32.to_ne_bytes());
    let both = [stamp(&words(1_790_000_000, 999_999_999)), gro].concat();
    assert!(
        both.len() <= RECEIVE_CONTROL_BYTES,
        "there is room for both"
    );
    let found = control::read(&both);
    assert_eq!(found.segment_bytes, Some(1200));
    let arrived = Duration::new(1_790_000_000, 999_999_999);
    assert_eq!(found.arrived, Some(arrived));
    for broken in [
        words(-1, 0),
        words(0, 1_000_000_000),
        words(0, -1),
        vec![0; 15],
    ] {
        assert_eq!(control::read(&stamp(&broken)).arrived, None);
    }
}

#[test]
fn the_gro_size_is_found_among_others() {
    let gro = message(SOL_UDP, UDP_GRO, &1200i32.to_ne_bytes());
    let other = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[0; 17]);
    assert_eq!(gro_segment(&gro), Some(1200));
    assert_eq!(
        gro_segment(&[other.clone(), gro.clone()].concat()),
        Some(1200)
    );
    assert_eq!(
        gro_segment(&[gro.clone(), other.clone()].concat()),
        Some(1200)
    );
    assert_eq!(gro_segment(&other), None);
    assert_eq!(gro_segment(&[]), None);
    assert_eq!(gro_segment(&gro[..19]), None, "cut short");
    // The kernel passes the length without the padding of the last message.
    assert_eq!(gro_segment(&gro[..20]), Some(1200));
    for value in [0i32, -1] {
        let broken = message(SOL_UDP, UDP_GRO, &value.to_ne_bytes());
        assert_eq!(gro_segment(&broken), None);
    }
    let mut endless = message(libc::SOL_SOCKET, 1, &[]);
    endless[0] = 0;
    assert_eq!(gro_segment(&endless), None, "a zero length ends the walk");
    endless[..8].fill(0xff);
    assert_eq!(gro_segment(&endless), None, "so does an overflowing one");
}

/// A filled receive buffer as the kernel writes it.
fn filled(source: SocketAddr, control: &[u8], payload: &[u8], flags: u32) -> Vec<u8> {
    let name = RawAddress::from(source);
    let mut buffer = Vec::new();
    for word in [
        name.len(),
        control.len() as u32,
        payload.len() as u32,
        flags,
    ] {
        buffer.extend(word.to_ne_bytes());
    }
    buffer.extend(&name.bytes()[..name.len() as usize]);
    buffer.resize(16 + ADDRESS_BYTES, 0);
    buffer.extend(control);
    buffer.resize(OVERHEAD_BYTES, 0);
    buffer.extend(payload);
    buffer
}

#[test]
fn an_envelope_is_opened() {
    let gro = message(SOL_UDP, UDP_GRO, &2i32.to_ne_bytes());
    let buffer = filled(destination(), &gro, b"aabbc", 0);
    let open = envelope::open(&buffer).unwrap();
    assert_eq!(open.source, Some(destination()));
    assert_eq!(&buffer[open.payload.clone()], b"aabbc");
    assert_eq!(
        (open.controls.segment_bytes, open.truncated),
        (Some(2), false)
    );
    // A stale control message behind the stated length is not read.
    let mut stale = buffer.clone();
    stale[4..8].fill(0);
    assert_eq!(envelope::open(&stale).unwrap().controls.segment_bytes, None);
    // Truncated: by flag, and by a stated length above what was written.
    let flagged = filled(destination(), &[], b"x", libc::MSG_TRUNC as u32);
    assert!(envelope::open(&flagged).unwrap().truncated);
    let short = envelope::open(&buffer[..buffer.len() - 1]).unwrap();
    assert!(short.truncated);
    assert_eq!(short.payload.len(), 4);
    let empty = filled(destination(), &[], b"", 0);
    assert!(envelope::open(&empty).unwrap().payload.is_empty());
    assert_eq!(envelope::open(&buffer[..OVERHEAD_BYTES - 1]), None);
}

#[test]
fn a_buffer_has_one_owner() {
    let mut book = ProvidedBook::new(4);
    assert_eq!((book.len(), book.with_kernel(), book.tail()), (4, 0, 0));
    assert!(!book.take(BufferId(0)), "it is ours already");
    assert_eq!(book.give(BufferId(2)), Some(0));
    assert_eq!(book.give(BufferId(2)), None, "given once");
    assert_eq!(book.give(BufferId(4)), None, "there is no such buffer");
    assert!(!book.take(BufferId(4)));
    assert_eq!((book.with_kernel(), book.tail()), (1, 1));
    assert!(book.take(BufferId(2)));
    assert!(!book.take(BufferId(2)), "taken once");
    assert_eq!((book.with_kernel(), book.tail()), (0, 1));
}

#[test]
fn long_runs_are_cut() {
    let mut outbox = Outbox::new(16, 1 << 20);
    let payload = vec![7; 200 * 1200];
    assert_eq!(outbox.push(run(1200, &payload), true), Ok(200));
    let counts: Vec<_> = outbox
        .letters()
        .iter()
        .map(|letter| letter.datagrams)
        .collect();
    assert_eq!(
        counts,
        [54, 54, 54, 38],
        "54 datagrams of 1,200 fit into 65,507 bytes"
    );
    outbox.clear();
    assert_eq!(outbox.push(run(100, &payload[..20_000]), true), Ok(200));
    let counts: Vec<_> = outbox
        .letters()
        .iter()
        .map(|letter| letter.datagrams)
        .collect();
    assert_eq!(counts, [64, 64, 64, 8], "64 datagrams to a message");
    outbox.clear();
    assert_eq!(outbox.push(run(1200, &payload[..2500]), false), Ok(3));
    let singles: Vec<_> = outbox
        .letters()
        .iter()
        .map(|letter| (letter.bytes, letter.control.is_some()))
        .collect();
    assert_eq!(
        singles,
        [(1200, false), (1200, false), (100, false)],
        "one by one without GSO"
    );
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let mut outbox = Outbox::new(2, 100_000);
    let long = vec![0; 200_000];
    let cases = [
        (1, 0),
        (0, 1),
        (MESSAGE_BYTES_MAX + 1, 70_000),
        (1, 2 * SEGMENTS_MAX + 1),
        (60_000, 100_001),
    ];
    for (segment, bytes) in cases {
        assert_eq!(
            outbox.push(run(segment, &long[..bytes]), true),
            Err(SendError::Invalid),
            "{segment} {bytes}"
        );
    }
    assert!(outbox.is_empty());
    // A segment size above the limit is of no consequence where the payload is one short datagram.
    assert_eq!(outbox.push(run(1 << 20, &long[..9]), true), Ok(1));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn addresses_survive(address: SocketAddr) {
        let raw = RawAddress::from(address);
        prop_assert_eq!(raw.decoded(), Some(address));
    }

    #[test]
    fn tickets_survive(socket: u16, datagrams: u16, segmented: bool) {
        let socket = SocketId(socket);
        for ticket in [Ticket::Receive(socket), Ticket::Send { socket, datagrams, segmented }, Ticket::Other] {
            prop_assert_eq!(Ticket::from(u64::from(ticket)), ticket);
        }
    }

    /// Bytes of any kind: no panic, nothing outside the buffer.
    #[test]
    fn an_envelope_of_noise_stays_inside(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Some(open) = envelope::open(&bytes) {
            prop_assert!(bytes.get(open.payload).is_some());
        }
        let _ = gro_segment(&bytes);
        let _ = address::decode(&bytes);
    }

    #[test]
    fn an_envelope_says_what_was_put_in(
        source: SocketAddr,
        segment in proptest::option::of(1i32..65_536),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let control = segment.map(|size| message(SOL_UDP, UDP_GRO, &size.to_ne_bytes())).unwrap_or_default();
        prop_assert!(control.len() <= RECEIVE_CONTROL_BYTES);
        let buffer = filled(source, &control, &payload, 0);
        let open = envelope::open(&buffer).unwrap();
        prop_assert_eq!(open.source, Some(source));
        prop_assert_eq!(&buffer[open.payload], &payload[..]);
        prop_assert_eq!(open.controls.segment_bytes, segment.map(|size| size as usize));
        prop_assert!(!open.truncated);
    }

    /// The kernel takes buffers in the order of the ring, whatever the order of their return.
    #[test]
    fn the_book_agrees_with_a_ring(exponent in 0u32..5, steps in proptest::collection::vec(any::<(bool, u8)>(), 0..300)) {
        let count = 1u16 << exponent;
        let mut book = ProvidedBook::new(count);
        // What a kernel would hold: entries of the ring, and the ids in them.
        let mut ring = vec![None; usize::from(count)];
        let mut head = 0u16;
        let mut ours: VecDeque<u16> = (0..count).collect();
        for (give, which) in steps {
            if give && !ours.is_empty() {
                let buffer = ours.remove(usize::from(which) % ours.len()).unwrap();
                let entry = book.give(BufferId(buffer));
                prop_assert!(entry.is_some());
                let entry = entry.unwrap();
                prop_assert_eq!(ring[entry], None, "an entry that the kernel has not read yet");
                ring[entry] = Some(buffer);
                prop_assert_eq!(book.give(BufferId(buffer)), None);
            } else if head != book.tail() {
                let entry = usize::from(head) & (ring.len() - 1);
                let buffer = ring[entry].take().unwrap();
                head = head.wrapping_add(1);
                prop_assert!(book.take(BufferId(buffer)));
                ours.push_back(buffer);
            }
            prop_assert_eq!(book.with_kernel() + ours.len(), usize::from(count));
        }
    }

    /// Whatever is pushed: letters cover exactly the payloads, in order, within all bounds; a refused
    /// run leaves no trace.
    #[test]
    fn the_outbox_loses_nothing(
        runs in proptest::collection::vec((0usize..3000, 0usize..4000, any::<bool>()), 0..12),
        slots in 1usize..20,
    ) {
        let mut outbox = Outbox::new(slots, 10_000);
        let arena = outbox.arena().as_ptr();
        let mut expected = Vec::new();
        for (number, (segment, bytes, segmentation)) in runs.into_iter().enumerate() {
            let payload = vec![number as u8; bytes];
            let (letters, used) = (outbox.letters().len(), expected.len());
            match outbox.push(run(segment, &payload), segmentation) {
                Ok(datagrams) => {
                    prop_assert_eq!(datagrams, bytes.div_ceil(segment));
                    let added: usize = outbox.letters()[letters..].iter().map(|letter| letter.datagrams).sum();
                    prop_assert_eq!(added, datagrams);
                    expected.extend(payload);
                }
                Err(SendError::Full) => {
                    prop_assert!(letters > 0, "an empty outbox is not full");
                    prop_assert_eq!(outbox.letters().len(), letters);
                }
                Err(_) => prop_assert_eq!((outbox.letters().len(), used), (letters, expected.len())),
            }
        }
        let mut offset = 0;
        for letter in outbox.letters() {
            prop_assert_eq!(letter.offset, offset);
            prop_assert!(letter.bytes <= MESSAGE_BYTES_MAX && letter.datagrams <= SEGMENTS_MAX);
            prop_assert_eq!(letter.control.is_some(), letter.datagrams > 1);
            let segment = letter.segment_bytes.unwrap_or(letter.bytes);
            prop_assert_eq!(letter.bytes.div_ceil(segment), letter.datagrams);
            prop_assert_eq!(letter.destination.decoded(), Some(destination()));
            offset += letter.bytes;
        }
        prop_assert_eq!(&outbox.arena()[..offset], &expected[..]);
        prop_assert!(outbox.letters().len() <= slots);
        prop_assert_eq!(outbox.arena().as_ptr(), arena, "the arena never moves");
    }
}
