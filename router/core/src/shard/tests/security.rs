use std::net::SocketAddr;

use super::*;
use crate::limits::{ADDRESSES_PER_TRANSPORT, STUN_FAILURES_PER_TRANSPORT};
use crate::stats::DropCause;

pub(super) const STRANGER: &str = "192.0.2.66:6666";

pub(super) fn inject(bench: &mut Bench, from: &str, bytes: &[u8]) {
    let from: SocketAddr = from.parse().unwrap();
    bench
        .shard
        .handle_datagram(bench.now, SocketId(0), from, bytes);
}

/// What the shard sends now, by receiver.
pub(super) fn sent(bench: &mut Bench) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut sink = Sink::default();
    bench.shard.flush(bench.now, &mut sink);
    sink.0
        .into_iter()
        .map(|(_, to, bytes)| (to, bytes))
        .collect()
}

fn is_dtls(bytes: &[u8]) -> bool {
    (20..64).contains(&bytes[0])
}

/// Lets a call go on and asserts that nothing is lost.
pub(super) fn assert_call_works(bench: &mut Bench, alice: usize, bob: usize, feed: &mut Feed) {
    let before = bench.count(bob, 200);
    for _ in 0..10 {
        bench.run(Duration::from_millis(20));
        bench.send(alice, &feed.next(false, 200));
    }
    assert_eq!(bench.count(bob, 200) - before, 10);
}

pub(super) fn call() -> (Bench, usize, usize, Feed) {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    (bench, alice, bob, Feed::audio(mids[0]))
}

#[test]
fn any_first_byte_at_any_length_from_anywhere_changes_nothing() {
    let (mut bench, alice, bob, mut feed) = call();
    assert_call_works(&mut bench, alice, bob, &mut feed);
    let known = bench.clients[alice].publish().address.to_string();
    let viewer = bench.clients[bob].subscribe().address.to_string();
    let lengths = (0..40).chain((40..1_600).step_by(41));
    for length in lengths {
        for first in 0..=255_u8 {
            // Both what a sloppy parser reads as short and as long.
            for fill in [0, 0xff] {
                let mut bytes = vec![fill; length];
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                for from in [STRANGER, &known, &viewer] {
                    inject(&mut bench, from, &bytes);
                }
            }
        }
        let out = sent(&mut bench);
        let stranger: SocketAddr = STRANGER.parse().unwrap();
        assert!(out.iter().all(|(to, _)| *to != stranger));
    }
    assert_eq!(bench.shard.stats().transport_panics, 0);
    assert_call_works(&mut bench, alice, bob, &mut feed);
    for cause in [
        DropCause::Malformed,
        DropCause::UnvalidatedSource,
        DropCause::Refused,
    ] {
        assert!(bench.drops(cause) > 1_000, "{cause:?}");
    }
}

#[test]
fn a_stranger_gets_no_answer_whatever_it_sends() {
    let (mut bench, alice, bob, mut feed) = call();
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let mut other = creds.ufrag.clone();
    other.replace_range(
        12..13,
        if other.as_bytes()[12] == b'A' {
            "B"
        } else {
            "A"
        },
    );
    for (ufrag, password, cause) in [
        (
            creds.ufrag.as_str(),
            "guess",
            DropCause::StunUnauthenticated,
        ),
        (other.as_str(), &creds.pass, DropCause::StunUnknownUfrag),
        ("nonsense", "", DropCause::StunUnknownUfrag),
    ] {
        let before = bench.drops(cause);
        inject(
            &mut bench,
            STRANGER,
            &binding_request(ufrag, &remote, password),
        );
        assert_eq!(bench.drops(cause), before + 1, "{ufrag}");
    }
    // Packets and handshakes of a real client, from elsewhere.
    let mut copies = Vec::new();
    let packet = feed.next(false, 1);
    let now = bench.now;
    bench.clients[alice].publish().send_rtp(now, &packet);
    copies.extend(bench.clients[alice].publish().take_sent());
    assert!(!copies.is_empty());
    for bytes in &copies {
        inject(&mut bench, STRANGER, bytes);
    }
    let hello = client_hello(&bench);
    inject(&mut bench, STRANGER, &hello);
    assert!(bench.drops(DropCause::UnvalidatedSource) >= 2);
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    assert!(sent(&mut bench).iter().all(|(to, _)| *to != stranger));
    assert_eq!(bench.count(bob, 1), 0);
    assert_call_works(&mut bench, alice, bob, &mut feed);
}

#[test]
fn an_answer_to_a_check_is_never_longer_than_the_check() {
    let (mut bench, alice, _, _) = call();
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let request = binding_request(&creds.ufrag, &remote, &creds.pass);
    sent(&mut bench);
    inject(&mut bench, "192.0.2.7:9", &request);
    let out = sent(&mut bench);
    assert_eq!(out.len(), 1);
    assert!(
        out[0].1.len() <= request.len(),
        "{} > {}",
        out[0].1.len(),
        request.len()
    );
}

#[test]
fn failed_checks_are_not_verified_without_end() {
    let (mut bench, alice, bob, mut feed) = call();
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let bad = binding_request(&creds.ufrag, &remote, "guess");
    for port in 1..500 {
        inject(&mut bench, &format!("192.0.2.1:{port}"), &bad);
    }
    let verified = bench.drops(DropCause::StunUnauthenticated);
    assert_eq!(verified, u64::from(STUN_FAILURES_PER_TRANSPORT));
    assert_eq!(bench.drops(DropCause::RateLimited), 499 - verified);
    // Whoever is known is not affected, nor is another transport.
    bench.run(Duration::from_secs(1));
    assert_call_works(&mut bench, alice, bob, &mut feed);
    let (carol, _) = bench.talker("room");
    assert!(bench.clients[carol].publish().connected);
}

#[test]
fn an_address_in_use_cannot_be_taken_over() {
    let (mut bench, alice, bob, mut feed) = call();
    let (mallory, _) = bench.talker("room");
    // Mallory forges Alice's address, with checks that are genuinely Mallory's.
    let key = bench
        .shard
        .transport_of(bench.clients[mallory].id, Direction::Publish);
    let creds = bench.shard.credentials_of(key);
    let remote = bench.clients[mallory].publish().local_ufrag();
    let victim = bench.clients[alice].publish().address.to_string();
    let check = binding_request(&creds.ufrag, &remote, &creds.pass);
    for _ in 0..10 {
        inject(&mut bench, &victim, &check);
        assert_call_works(&mut bench, alice, bob, &mut feed);
    }
    assert_eq!(bench.drops(DropCause::UnvalidatedSource), 10);
}

#[test]
fn addresses_of_one_transport_are_bounded() {
    let (mut bench, alice, bob, mut feed) = call();
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let check = binding_request(&creds.ufrag, &remote, &creds.pass);
    let others = bench.shard.table_sizes().addresses - 1;
    for port in 1..1_000 {
        inject(&mut bench, &format!("192.0.2.1:{port}"), &check);
        if port % 100 == 0 {
            bench.run(Duration::from_secs(20));
        }
    }
    let sizes = bench.shard.table_sizes();
    assert!(sizes.addresses <= others + ADDRESSES_PER_TRANSPORT);
    assert!(bench.drops(DropCause::RateLimited) > 500);
    let _ = &mut feed;
    bench.ok(alice, Action::Leave);
    bench.ok(bob, Action::Leave);
    assert_eq!(bench.shard.table_sizes().addresses, 0);
}

#[test]
fn wrong_tags_and_replays_are_dropped() {
    let (mut bench, alice, bob, mut feed) = call();
    let address = bench.clients[alice].publish().address.to_string();
    let packet = feed.next(false, 1);
    let now = bench.now;
    bench.clients[alice].publish().send_rtp(now, &packet);
    let genuine = bench.clients[alice].publish().take_sent();
    let rtp = genuine
        .iter()
        .find(|bytes| bytes[0] & 0xc0 == 0x80)
        .unwrap()
        .clone();
    for position in 12..rtp.len() {
        let mut forged = rtp.clone();
        forged[position] ^= 1;
        inject(&mut bench, &address, &forged);
    }
    bench.settle();
    assert_eq!(bench.count(bob, 1), 0);
    assert_eq!(bench.drops(DropCause::Refused), rtp.len() as u64 - 12);
    for _ in 0..10 {
        inject(&mut bench, &address, &rtp);
    }
    bench.settle();
    assert_eq!(bench.count(bob, 1), 1, "the genuine one once");
    assert_call_works(&mut bench, alice, bob, &mut feed);
}

/// A ClientHello of somebody else's.
pub(super) fn client_hello(bench: &Bench) -> Vec<u8> {
    let mut victim = Bench::new();
    victim.now = bench.now;
    let hello = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let kept = hello.clone();
    victim.filter = Some(Box::new(move |bytes| {
        if is_dtls(bytes) && kept.borrow().is_empty() {
            kept.borrow_mut().extend_from_slice(bytes);
        }
        true
    }));
    let client = victim.join("room");
    victim.publish(client, &[AUDIO]);
    victim.run(Duration::from_secs(1));
    victim.filter = None;
    let hello = hello.borrow().clone();
    assert_eq!((hello[0], hello[13]), (22, 1), "a ClientHello");
    hello
}

/// What anybody who can forge the client's address could send before the handshake is complete.
fn forgeries(bench: &Bench) -> Vec<Vec<u8>> {
    let alert = |level, what| vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, level, what];
    let mut forgeries = vec![alert(2, 40), alert(2, 0), alert(1, 0), alert(1, 90)];
    for message in [0_u8, 2, 3, 4, 8, 12, 13, 14] {
        let mut record = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 16];
        record.extend([message, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]);
        forgeries.push(record);
    }
    forgeries.push(vec![20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1]);
    forgeries.push(vec![23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1]);
    forgeries.push(vec![22; 200]);
    forgeries.push(client_hello(bench));
    forgeries
}

#[test]
fn forged_plain_dtls_does_not_end_a_handshake() {
    let forgeries = forgeries(&Bench::new());
    for (index, forgery) in forgeries.iter().enumerate() {
        // Before and after each datagram of the genuine handshake; a ClientHello before the genuine
        // one is answered, and the answer may mislead the client, so that is left to the next test.
        let hello = index + 1 == forgeries.len();
        for position in usize::from(hello)..5 {
            let mut bench = Bench::new();
            let alice = bench.join("room");
            bench.publish_quietly(alice, &[AUDIO, VIDEO]);
            let address = bench.clients[alice].publish().address;
            let mut seen = 0;
            for _ in 0..300 {
                bench.now += Duration::from_millis(10);
                bench.step_with(&mut |shard, now, bytes| {
                    if is_dtls(bytes) {
                        if seen == position {
                            shard.handle_datagram(now, SocketId(0), address, forgery);
                        }
                        seen += 1;
                    }
                });
            }
            assert!(
                bench.clients[alice].publish().connected,
                "forgery {index} before datagram {position}"
            );
            assert_eq!(bench.shard.stats().transports, [0, 0, 1, 0]);
        }
    }
}

#[test]
fn a_forged_hello_before_the_genuine_one_does_not_block_it() {
    let hello = client_hello(&Bench::new());
    // Sixteen handshakes in all are granted to a transport; within that bound the genuine one must
    // get through, beyond it nothing does, so that a flood costs a bounded number of signatures.
    for (forged, connects) in [(1_u8, true), (10, true), (40, false)] {
        let mut bench = Bench::new();
        let alice = bench.join("room");
        bench.ignore_answers = true;
        bench.publish(alice, &[AUDIO]);
        // Its first check has arrived; its handshake has not begun.
        let key = bench
            .shard
            .transport_of(bench.clients[alice].id, Direction::Publish);
        let creds = bench.shard.credentials_of(key);
        let remote = bench.clients[alice].publish().local_ufrag();
        let address = bench.clients[alice].publish().address.to_string();
        let check = binding_request(&creds.ufrag, &remote, &creds.pass);
        inject(&mut bench, &address, &check);
        for random in 0..forged {
            let mut hello = hello.clone();
            hello[13 + 12 + 2] ^= random;
            inject(&mut bench, &address, &hello);
        }
        let answers = sent(&mut bench);
        let answers = answers.iter().filter(|(_, bytes)| is_dtls(bytes)).count();
        assert!(answers >= usize::from(forged.min(4)));
        for _ in 0..100 {
            bench.now += Duration::from_millis(20);
            bench.shard.handle_timeout(bench.now);
            assert!(
                sent(&mut bench).iter().all(|(_, bytes)| !is_dtls(bytes)),
                "no repetition"
            );
        }
        bench.apply_answer(alice);
        bench.run(Duration::from_secs(5));
        assert_eq!(
            bench.clients[alice].publish().connected,
            connects,
            "{forged}"
        );
    }
}

#[test]
fn a_lost_answer_to_the_hello_is_given_again() {
    for lost in 1..4 {
        let mut bench = Bench::new();
        let alice = bench.join("room");
        bench.lose_dtls_to_clients = lost;
        bench.publish(alice, &[AUDIO]);
        bench.run(Duration::from_secs(20));
        assert_eq!(bench.lose_dtls_to_clients, 0);
        assert!(bench.clients[alice].publish().connected, "{lost} lost");
    }
}

#[test]
fn a_certificate_that_is_not_the_announced_one_gets_no_media_in_either_role() {
    for setup in ["actpass", "passive", "active"] {
        for genuine in [true, false] {
            let mut bench = Bench::new();
            let alice = bench.join("room");
            bench.edit_offer = Some(Box::new(move |sdp| {
                let sdp = sdp.replace("a=setup:actpass", &format!("a=setup:{setup}"));
                if genuine {
                    sdp
                } else {
                    forge_fingerprint(&sdp)
                }
            }));
            let mids = bench.publish(alice, &[AUDIO]);
            bench.run(Duration::from_secs(2));
            let mut feed = Feed::audio(mids[0]);
            if bench.clients[alice].publish().connected {
                bench.send(alice, &feed.next(false, 1));
            }
            let last = bench.clients[alice].states(Direction::Publish).pop();
            let received = bench.shard.stats().rtp_received;
            if genuine {
                assert_eq!(
                    (last, received),
                    (Some(TransportState::Connected), 1),
                    "{setup}"
                );
            } else {
                assert_eq!(
                    (last, received),
                    (Some(TransportState::Failed), 0),
                    "{setup}"
                );
            }
        }
    }
}

fn forge_fingerprint(sdp: &str) -> String {
    let (before, after) = sdp.split_once("a=fingerprint:sha-256 ").unwrap();
    let (line, _) = after.split_once("\r\n").unwrap();
    let forged = if line.starts_with("00") { "11" } else { "00" };
    let forged = format!("{forged}{}", &line[2..]);
    let _ = before;
    sdp.replace(line, &forged)
}

#[test]
fn mutilated_offers_are_refused_or_answered_but_break_nothing() {
    let offer = include_str!("chrome_offer.sdp").replace('\n', "\r\n");
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut bench = Bench::new();
    let (mut refused, mut answered) = (0, 0);
    for _ in 0..600 {
        let mut lines: Vec<String> = offer.split("\r\n").map(str::to_owned).collect();
        for _ in 0..=random(3) {
            let at = random(lines.len());
            match random(5) {
                0 => {
                    lines.remove(at);
                }
                1 => {
                    let line = lines[at].clone();
                    lines.insert(random(lines.len()), line);
                }
                2 => {
                    let other = random(lines.len());
                    lines.swap(at, other);
                }
                3 => lines[at] = lines[at].chars().rev().collect(),
                _ => {
                    let digits = lines[at].replace(|c: char| c.is_ascii_digit(), "9");
                    lines[at] = digits;
                }
            }
        }
        let client = bench.join("room");
        let before = bench.clients[client].events.len();
        bench.ignore_answers = true;
        let sdp = lines.join("\r\n");
        bench.request(
            client,
            Action::AcceptOffer {
                sdp,
                sources: Vec::new(),
            },
        );
        for event in &bench.clients[client].events[before..] {
            match event {
                EventKind::Failed { .. } => refused += 1,
                EventKind::Answer { .. } => answered += 1,
                _ => {}
            }
        }
        bench.request(client, Action::Leave);
    }
    assert_eq!(bench.shard.stats().transport_panics, 0);
    assert_eq!(refused + answered, 600);
    assert!(refused > 100 && answered > 50, "{refused} {answered}");
    assert_eq!(bench.shard.table_sizes(), TableSizes::default());
}

#[test]
fn every_address_is_advertised_and_answers_from_its_own_socket() {
    let now = start();
    let outside: [SocketAddr; 2] = [
        "203.0.113.5:41000".parse().unwrap(),
        "[2001:db8::5]:41000".parse().unwrap(),
    ];
    let mut setup = config(crate::limits::Limits::default());
    // A 1:1 NAT before the first: what is bound is not what clients see.
    setup.local_addresses = vec![
        "10.0.0.5:40000".parse().unwrap(),
        "[2001:db8::5]:41000".parse().unwrap(),
    ];
    setup.advertised_addresses = outside.to_vec();
    let mut bench = Bench::new();
    bench.shard = crate::Shard::new(setup, now);
    bench.now = now;
    let alice = bench.join("room");
    bench.ignore_answers = true;
    bench.publish(alice, &[AUDIO]);
    let answer = bench.clients[alice].events.iter().find_map(|e| match e {
        EventKind::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    assert!(answer.contains(" 203.0.113.5 41000 typ host"), "{answer}");
    assert!(answer.contains(" 2001:db8::5 41000 typ host"), "{answer}");
    assert!(!answer.contains("10.0.0.5"), "{answer}");
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let check = binding_request(&creds.ufrag, &remote, &creds.pass);
    for (socket, from) in [(0, "192.0.2.9:9"), (1, "[2001:db8::9]:9")] {
        let from: SocketAddr = from.parse().unwrap();
        bench
            .shard
            .handle_datagram(now, SocketId(socket), from, &check);
        let mut sink = Sink::default();
        bench.shard.flush(now, &mut sink);
        let answers: Vec<_> = sink.0.iter().map(|(s, to, _)| (*s, *to)).collect();
        assert_eq!(answers, [(SocketId(socket), from)]);
    }
    bench
        .shard
        .handle_datagram(now, SocketId(7), "192.0.2.9:9".parse().unwrap(), &check);
    assert!(sent(&mut bench).is_empty(), "a socket nobody knows");
}
