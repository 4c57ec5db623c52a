use std::collections::BTreeMap;
use std::net::SocketAddr;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use str0m::rtp::{Extension, ExtensionMap};
use str0m_proto::crypto::dtls::SrtpProfile;

use super::*;
use crate::egress::Egress;
use crate::egress::extensions::{Ids, Passed};
use crate::egress::rtcp::{self, Feedback};
use crate::egress::sent::{Origin, Variation};
use crate::id::SocketId;
use crate::layers::rewrite::Shift;
use crate::shard::slab::{Key, TrackKey};
use crate::shard::testing::{Sink, start};

const MAIN: u32 = 0x1111_1111;
const REPAIR: u32 = 0x2222_2222;

/// A sender, and the client's keys to look at what it sends.
struct Rig {
    sender: Sender,
    egress: Egress,
    client: Keys,
    opener: RtcpOpener,
    now: Instant,
    stream: u16,
}

fn keys(client: bool) -> Keys {
    let material: Vec<u8> = (0..56).collect();
    Keys::exported(SrtpProfile::AEAD_AES_128_GCM, &material, client).unwrap()
}

fn negotiated(ssrc: u32, repair_ssrc: Option<u32>) -> Negotiated {
    let mut map = ExtensionMap::empty();
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    Negotiated {
        mid: "v1".into(),
        ssrc,
        repair_ssrc,
        repairs: repair_ssrc.map(|_| (96, 97)).into_iter().collect(),
        ids: Ids::negotiated(&map),
        cname: "somebody".into(),
    }
}

fn origin() -> Origin {
    Origin {
        track: TrackKey::from_parts(1, 1),
        layer: 0,
        epoch: 1,
        shift: Shift {
            timestamp: 1_000,
            ..Shift::default()
        },
        payload_type: 96,
    }
}

/// An RTP packet as the client sees it.
struct Seen {
    ssrc: u32,
    sequence: u16,
    payload_type: u8,
    timestamp: u32,
    transport_sequence: u16,
    mid: bool,
    padded: bool,
    payload: Vec<u8>,
}

impl Rig {
    fn new(repair_ssrc: Option<u32>) -> Self {
        let now = start();
        let mut sender = Sender::new(99);
        sender.secure(&keys(false));
        let stream = sender.open(negotiated(MAIN, repair_ssrc)).unwrap();
        Rig {
            sender,
            egress: Egress::new(now, Duration::from_secs(1_700_000_000)),
            opener: keys(true).rtcp_opener().unwrap(),
            client: keys(true),
            now,
            stream,
        }
    }

    fn packet(&self, number: u64) -> Packet {
        Packet {
            payload: vec![number as u8; 1_000].into(),
            extensions: Passed::default(),
            dependency: None,
            descriptor: None,
            marker: true,
            sequence: number,
            timestamp: number as u32 * 3_000,
            captured: self.now,
            clock_rate: 90_000,
        }
    }

    fn queue(&mut self, sequence: u64, again: bool) {
        let packet = self.packet(sequence);
        let departure = Departure {
            packet: self.egress.admit(packet),
            stream: self.stream,
            again,
            waits: true,
            sequence,
            origin: origin(),
            variation: Variation::default(),
        };
        assert!(self.sender.queue(departure));
    }

    fn flush(&mut self) -> (Written, Vec<Vec<u8>>) {
        let destination: SocketAddr = "10.0.0.9:5".parse().unwrap();
        let route = Route {
            stream: false,
            socket: SocketId(0),
            destination,
        };
        let mut sink = Sink::default();
        let sender = &mut self.sender;
        let written = self.egress.flush(self.now, sender, Some(route), &mut sink);
        self.egress.clear();
        (
            written,
            sink.0.into_iter().map(|(_, _, bytes)| bytes).collect(),
        )
    }

    /// Sends packets with these numbers.
    fn send(&mut self, sequences: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
        for sequence in sequences {
            self.queue(sequence, false);
        }
        self.flush().1
    }

    /// Asks for a packet as the client would; true: it is queued.
    fn miss(&mut self, number: u16) -> bool {
        let wanted = self.sender.take_again(self.now, MAIN, number);
        if let Some((stream, wanted)) = wanted {
            assert_eq!(stream, self.stream);
            assert_eq!(wanted.source, wanted.sequence);
            self.queue(wanted.sequence, true);
        }
        wanted.is_some()
    }

    fn reports(&mut self, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let reports = datagrams.iter().filter(|d| (192..224).contains(&d[1]));
        reports
            .map(|sealed| {
                let mut copy = sealed.clone();
                self.opener.open(&mut copy).expect("sealed for us").to_vec()
            })
            .collect()
    }
}

/// Opens an RTP datagram with the key of the router's side, derived as in RFC 7714 §11.
fn open(datagram: &[u8]) -> Seen {
    let header = 16 + 4 * usize::from(u16::from_be_bytes([datagram[14], datagram[15]]));
    let (head, body) = datagram.split_at(header);
    let ssrc = u32::from_be_bytes(datagram[8..12].try_into().unwrap());
    let (key, salt) = crate::egress::srtp::rtp_session_key(&keys(false));
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[10..].copy_from_slice(&datagram[2..4]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let mut body = body.to_vec();
    let payload = key
        .open_in_place(nonce, Aad::from(head), &mut body)
        .expect("genuine");
    assert_eq!(head[12..14], [0xbe, 0xde]);
    assert_eq!(head[16], 0x31, "the transport's number comes first");
    Seen {
        ssrc,
        sequence: u16::from_be_bytes([datagram[2], datagram[3]]),
        payload_type: datagram[1] & 0x7f,
        timestamp: u32::from_be_bytes(datagram[4..8].try_into().unwrap()),
        transport_sequence: u16::from_be_bytes([head[17], head[18]]),
        padded: head[0] & 0x20 != 0,
        mid: head[19..].starts_with(&[0x41, b'v', b'1']),
        payload: payload.to_vec(),
    }
}

fn media(datagrams: &[Vec<u8>]) -> Vec<Seen> {
    let media = datagrams.iter().filter(|d| !(192..224).contains(&d[1]));
    media.map(|d| open(d)).collect()
}

#[test]
fn packets_have_the_subscribers_numbers_and_the_transports() {
    let mut rig = Rig::new(Some(REPAIR));
    let seen = media(&rig.send([10, 11, 12]));
    let first = seen[0].transport_sequence;
    for (n, packet) in seen.iter().enumerate() {
        assert_eq!(packet.ssrc, MAIN);
        assert_eq!(packet.sequence, 10 + n as u16);
        assert_eq!(packet.payload_type, 96);
        assert_eq!(packet.timestamp, (10 + n as u32) * 3_000 + 1_000);
        assert_eq!(packet.transport_sequence, first.wrapping_add(n as u16));
        assert_eq!(packet.payload, vec![10 + n as u8; 1_000]);
        assert!(packet.mid);
    }
    let reception = Reception {
        ssrc: MAIN,
        fraction_lost: 0,
        highest: 12,
        last_report: 0,
        delay: 0,
    };
    let clock = rig.egress.clock;
    rig.sender.on_reception(rig.now, &clock, &reception);
    let seen = media(&rig.send([13]));
    assert!(!seen[0].mid, "the receiver knows the SSRC now");
    assert_eq!(seen[0].transport_sequence, first.wrapping_add(3));
}

#[test]
fn no_number_is_sealed_twice_whatever_is_queued() {
    let mut rig = Rig::new(Some(REPAIR));
    let mut used: BTreeMap<(u32, u16), Vec<u8>> = BTreeMap::new();
    let mut refused = 0;
    for round in 0..40_u64 {
        for sequence in [round * 3, round * 3 + 1, round * 3, round, round * 3 + 2] {
            rig.queue(sequence, false);
        }
        rig.miss((round as u16 * 3).wrapping_sub(3));
        rig.now += Duration::from_millis(7);
        let (written, datagrams) = rig.flush();
        refused += written.refused;
        for datagram in datagrams
            .iter()
            .filter(|d| d[1] & 0x7f < 64 || d[1] & 0x7f > 95)
        {
            let seen = open(datagram);
            let before = used.insert((seen.ssrc, seen.sequence), datagram.clone());
            assert_eq!(before, None, "{:x} {}", seen.ssrc, seen.sequence);
        }
    }
    assert!(refused >= 40);
    assert!(used.keys().any(|(ssrc, _)| *ssrc == REPAIR));
    assert_eq!(used.keys().filter(|(ssrc, _)| *ssrc == MAIN).count(), 120);
}

#[test]
fn what_is_missed_comes_on_the_other_stream_once_in_a_round_trip() {
    let mut rig = Rig::new(Some(REPAIR));
    rig.send(100..110);
    assert!(rig.miss(105));
    assert!(!rig.miss(105), "once");
    let (written, datagrams) = rig.flush();
    assert_eq!((written.packets, written.again), (1, 1));
    let seen = &media(&datagrams)[0];
    assert_eq!((seen.ssrc, seen.payload_type), (REPAIR, 97));
    assert_eq!(seen.timestamp, 105 * 3_000 + 1_000);
    assert_eq!(seen.payload[..2], 105_u16.to_be_bytes(), "RFC 4588 §4");
    assert_eq!(seen.payload[2..], [105; 1_000]);
    rig.now += UNKNOWN_ROUND_TRIP;
    assert!(rig.miss(105), "again after a round trip");
    let again = &media(&rig.flush().1)[0];
    assert_eq!(again.sequence, seen.sequence + 1, "a number of its own");
    assert!(!rig.miss(99) && !rig.miss(110), "never sent");
}

#[test]
fn without_a_stream_for_them_nothing_is_sent_again() {
    let mut rig = Rig::new(None);
    rig.send(100..110);
    for number in 100..110 {
        assert!(!rig.miss(number));
    }
    rig.queue(105, true);
    assert_eq!(rig.flush().0.refused, 1);
}

#[test]
fn a_subscriber_cannot_have_everything_sent_again() {
    let mut rig = Rig::new(Some(REPAIR));
    let mut again = 0;
    let mut sent = 0;
    for round in 0..200_u64 {
        rig.send(round * 10..round * 10 + 10);
        sent += 10;
        rig.now += Duration::from_millis(110);
        for number in 0..500 {
            rig.miss(((round * 10 + 9).wrapping_sub(number)) as u16);
        }
        again += rig.flush().0.again;
    }
    let burst = u64::from(RTX_BURST) / 1_000;
    assert!(again <= sent / 2 + burst, "{again} of {sent}");
    assert!(again >= sent / 2, "{again}");
}

const RTX_BURST: u32 = crate::limits::RTX_BURST_BYTES;

#[test]
fn senders_report_when_they_begin_and_every_second_after() {
    let mut rig = Rig::new(Some(REPAIR));
    let mut reported = Vec::new();
    for frame in 0..300_u64 {
        let datagrams = rig.send([frame]);
        for report in rig.reports(&datagrams) {
            reported.push((rig.now, frame, report));
        }
        rig.now += Duration::from_millis(33);
    }
    assert_eq!(reported[0].1, 0, "with the first packet");
    assert!((6..=20).contains(&reported.len()), "{}", reported.len());
    for pair in reported.windows(2) {
        let pause = pair[1].0 - pair[0].0;
        assert!(pause > REPORT_INTERVAL / 2 && pause < REPORT_INTERVAL * 8 / 5);
    }
    let (at, frame, report) = reported.last().unwrap();
    let word = |at: usize| u32::from_be_bytes(report[at..at + 4].try_into().unwrap());
    assert_eq!((report[1], word(4)), (200, MAIN));
    let ntp = (u64::from(word(8)) << 32) | u64::from(word(12));
    assert_eq!(ntp, rig.egress.clock.ntp(*at));
    assert_eq!(word(16), *frame as u32 * 3_000 + 1_000, "captured now");
    assert_eq!(
        (word(20), word(24)),
        (*frame as u32 + 1, (*frame as u32 + 1) * 1_000)
    );
    assert!(report[28..].windows(8).any(|w| w == b"somebody"));
    // Silence: the sender is none any more.
    rig.now += Duration::from_secs(10);
    assert!(rig.flush().1.is_empty());
    assert_eq!(rig.sender.wake_at(rig.now), None, "and wakes nobody");
    let datagrams = rig.send([301]);
    assert_eq!(rig.reports(&datagrams).len(), 1, "until it goes on");
}

#[test]
fn many_streams_report_in_few_datagrams() {
    let mut rig = Rig::new(None);
    for n in 0..60 {
        rig.stream = rig.sender.open(negotiated(MAIN + 1 + n, None)).unwrap();
        rig.queue(1, false);
    }
    let datagrams = rig.flush().1;
    let reports = rig.reports(&datagrams);
    assert!((3..=4).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|report| report.len() <= REPORT_BYTES));
    let senders = reports
        .iter()
        .flat_map(|r| r.windows(4).filter(|w| *w == [0x80, 200, 0, 6]));
    assert_eq!(senders.count(), 60);
}

#[test]
fn a_round_trip_is_what_the_receiver_did_not_wait_itself() {
    let mut rig = Rig::new(Some(REPAIR));
    let clock = rig.egress.clock;
    let report = |last_report: u32, delay: u32| Reception {
        ssrc: MAIN,
        fraction_lost: 0,
        highest: 0,
        last_report,
        delay,
    };
    let sent = clock.short_ntp(rig.now);
    let now = rig.now + Duration::from_millis(350);
    let waited = clock::to_short(Duration::from_millis(300));
    rig.sender.on_reception(now, &clock, &report(sent, waited));
    let measured = rig.sender.round_trip.unwrap();
    assert!(measured.abs_diff(Duration::from_millis(50)) < Duration::from_millis(1));
    // A time we never sent, and a client that claims to have waited longer than time has passed.
    rig.sender
        .on_reception(now, &clock, &report(sent.wrapping_add(1 << 30), 0));
    assert_eq!(rig.sender.round_trip, Some(measured));
    rig.sender
        .on_reception(now, &clock, &report(sent, u32::MAX));
    assert!(rig.sender.round_trip.unwrap() < measured);
}

#[test]
fn losses_are_counted_from_one_report_to_the_next() {
    let mut rig = Rig::new(Some(REPAIR));
    let clock = rig.egress.clock;
    let mut report = |ssrc, fraction_lost, highest| {
        let reception = Reception {
            ssrc,
            fraction_lost,
            highest,
            last_report: 0,
            delay: 0,
        };
        rig.sender.on_reception(rig.now, &clock, &reception)
    };
    assert_eq!(report(MAIN, 255, 1_000), None, "compared with nothing");
    assert_eq!(report(MAIN, 64, 1_400), Some((400, 100)));
    assert_eq!(report(REPAIR, 0, 7), None, "the other stream has its own");
    assert_eq!(report(REPAIR, 128, 17), Some((10, 5)));
    assert_eq!(report(MAIN, 0, 1_400), None, "nothing was due");
    assert_eq!(report(MAIN, 0, 1_300), None, "overtaken");
    assert_eq!(report(MAIN, 0, u32::MAX), None, "another numbering");
    assert_eq!(report(MAIN, 0, 9), Some((10, 0)), "rolled over");
    assert_eq!(report(77, 0, 10), None, "not ours");
}

#[test]
fn a_receivers_clock_is_echoed_with_the_next_report() {
    let mut rig = Rig::new(None);
    rig.send([1]);
    rig.sender.on_reference(rig.now, 77, 0xaaaa_bbbb_cccc_dddd);
    rig.now += Duration::from_secs(2);
    let datagrams = rig.send([2]);
    let report = rig.reports(&datagrams).pop().unwrap();
    let echo = [
        77_u32.to_be_bytes(),
        0xbbbb_cccc_u32.to_be_bytes(),
        (2_u32 << 16).to_be_bytes(),
    ];
    assert!(report.ends_with(&echo.concat()), "{report:x?}");
    rig.now += Duration::from_secs(2);
    let datagrams = rig.send([3]);
    let report = rig.reports(&datagrams).pop().unwrap();
    assert!(!report.ends_with(&echo.concat()), "once");
}

#[test]
fn streams_that_sent_say_goodbye() {
    let mut rig = Rig::new(None);
    assert!(rig.sender.goodbye().is_empty());
    rig.send([1]);
    let sealed = rig.sender.goodbye();
    let mut copy = sealed[0].clone();
    let packet = rig.opener.open(&mut copy).unwrap();
    let mut expected = vec![0x80, 201, 0, 1];
    expected.extend(MAIN.to_be_bytes());
    expected.extend([0x81, 203, 0, 1]);
    expected.extend(MAIN.to_be_bytes());
    assert_eq!(packet, expected);
}

#[test]
fn two_streams_never_share_an_ssrc() {
    let mut rig = Rig::new(Some(REPAIR));
    for (main, repair) in [
        (REPAIR, None),
        (5, Some(MAIN)),
        (5, Some(REPAIR)),
        (5, Some(5)),
    ] {
        assert_eq!(rig.sender.open(negotiated(main, repair)), None);
    }
    assert_eq!(
        rig.sender.open(negotiated(MAIN, Some(REPAIR))),
        Some(rig.stream)
    );
    assert_eq!(
        rig.sender.open(negotiated(5, Some(6))),
        Some(rig.stream + 1)
    );
}

#[test]
fn a_section_negotiated_anew_goes_on_counting() {
    let mut rig = Rig::new(Some(REPAIR));
    rig.send([5]);
    rig.miss(5);
    let first = media(&rig.flush().1)[0].sequence;
    assert_eq!(
        rig.sender.open(negotiated(MAIN, Some(REPAIR))),
        Some(rig.stream)
    );
    rig.queue(5, false);
    assert_eq!(rig.flush().0.refused, 1, "the number is used");
    rig.now += Duration::from_secs(1);
    rig.miss(5);
    assert_eq!(media(&rig.flush().1)[0].sequence, first + 1);
}

#[test]
fn keys_are_taken_once() {
    let mut rig = Rig::new(None);
    rig.sender.secure(&keys(false));
    let mut sealer = rig.client.rtcp_sealer().unwrap();
    let mut slot = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
    slot.resize(40, 0);
    let bytes = sealer.seal(&mut slot, 8).unwrap();
    assert!(
        rig.sender
            .open_feedback(&mut slot.clone()[..bytes])
            .is_some()
    );
    rig.sender.secure(&keys(false));
    assert!(
        rig.sender.open_feedback(&mut slot[..bytes]).is_none(),
        "its replay window did not begin anew"
    );
}

#[test]
fn without_keys_or_route_nothing_leaves_and_nothing_waits() {
    let mut rig = Rig::new(None);
    rig.queue(1, false);
    let mut sink = Sink::default();
    let written = rig.egress.flush(rig.now, &mut rig.sender, None, &mut sink);
    assert_eq!((written, sink.0.len()), (Written::default(), 0));
    assert_eq!(rig.sender.queue.len(), 0);
    rig.sender.crypto = None;
    rig.queue(2, false);
    assert_eq!(rig.flush(), (Written::default(), Vec::new()));
}

#[test]
fn feedback_is_read_with_the_clients_key_only() {
    let mut rig = Rig::new(None);
    let seal = |keys: &Keys| {
        let mut slot = vec![0x81, 206, 0, 2, 0, 0, 0, 9];
        slot.extend(MAIN.to_be_bytes());
        slot.resize(48, 0);
        let bytes = keys.rtcp_sealer().unwrap().seal(&mut slot, 12).unwrap();
        slot.truncate(bytes);
        slot
    };
    let mut ours = seal(&keys(false));
    assert_eq!(rig.sender.open_feedback(&mut ours), None, "turned around");
    let mut theirs = seal(&rig.client);
    let packet = rig.sender.open_feedback(&mut theirs).unwrap();
    let mut found = Vec::new();
    rtcp::read(packet, &mut |feedback| found.push(feedback));
    assert_eq!(found, [Feedback::Keyframe { ssrc: MAIN }]);
    assert_eq!(rig.sender.mid_of(MAIN), Some("v1".into()));
    assert_eq!(rig.sender.mid_of(3), None);
}

#[path = "departing_tests.rs"]
mod departing;
