use super::*;

use crate::limits::{SCTP_BUFFER_BYTES, SIGNALED_DATA_BYTES};

fn chatter(bench: &mut Bench, room: &str) -> usize {
    let client = bench.join(room);
    chat(bench, client);
    client
}

fn chat(bench: &mut Bench, client: usize) {
    bench.publish(client, &[Publication::Channels]);
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[client].publish().connected);
}

fn write(bench: &mut Bench, client: usize, label: &str, data: &[u8]) {
    let now = bench.now;
    assert!(bench.clients[client].publish().write(now, label, data));
    bench.settle();
}

fn data(bench: &mut Bench, client: usize) -> Vec<(String, Vec<u8>)> {
    std::mem::take(&mut bench.clients[client].publish().data)
}

fn dropped(bench: &Bench, client: usize, outgoing: bool) -> Vec<u64> {
    let events = bench.clients[client].events.iter();
    let counts = events.filter_map(|event| match event {
        EventKind::DataDropped { outgoing: o, count } if *o == outgoing => Some(*count),
        _ => None,
    });
    counts.collect()
}

#[test]
fn messages_reach_the_others_in_the_room_with_the_senders_id() {
    let mut bench = Bench::new();
    let alice = chatter(&mut bench, "room");
    let bob = chatter(&mut bench, "room");
    let carol = chatter(&mut bench, "room");
    let dave = chatter(&mut bench, "another");
    let erin = bench.join("room");
    bench.publish(erin, &[AUDIO]);
    bench.run(Duration::from_secs(1));
    let me = bench.clients[alice].me().0.to_be_bytes();
    for (label, text) in [("reliable", &b"hello"[..]), ("unreliable", &b"cursor"[..])] {
        write(&mut bench, alice, label, text);
        bench.run(Duration::from_millis(100));
        let expected = vec![(label.to_owned(), [&me[..], text].concat())];
        assert_eq!(data(&mut bench, bob), expected);
        assert_eq!(data(&mut bench, carol), expected);
        for nobody in [alice, dave, erin] {
            assert_eq!(data(&mut bench, nobody), []);
        }
    }
    assert_eq!(bench.shard.stats().data_forwarded, 4);
    assert_eq!(bench.shard.stats().data_dropped, 0);
}

#[test]
fn many_messages_arrive_whole_and_in_order() {
    let mut bench = Bench::new();
    let alice = chatter(&mut bench, "room");
    let bob = chatter(&mut bench, "room");
    let mut sent = 0_u32;
    for _ in 0..100 {
        for _ in 0..4 {
            let mut message = vec![sent as u8; 16_000];
            message[..4].copy_from_slice(&sent.to_be_bytes());
            sent += 1;
            write(&mut bench, alice, "reliable", &message);
        }
        bench.run(Duration::from_millis(20));
    }
    bench.run(Duration::from_secs(2));
    let received = data(&mut bench, bob);
    assert_eq!(received.len(), 400);
    for (index, (_, message)) in received.iter().enumerate() {
        assert_eq!(message.len(), 16_008);
        assert_eq!(message[8..12], (index as u32).to_be_bytes());
        assert!(message[12..].iter().all(|byte| *byte == index as u8));
    }
}

#[test]
fn the_grant_the_size_and_the_rate_bound_a_sender() {
    let limits = crate::limits::Limits {
        data_message_bytes: 1_000,
        data_bytes_per_second: 10_000,
        ..Default::default()
    };
    let mut bench = Bench::with_limits(limits);
    let mut silent = grant("room");
    silent.publish_data = false;
    let alice = bench.join_with(silent);
    chat(&mut bench, alice);
    let bob = chatter(&mut bench, "room");
    let carol = chatter(&mut bench, "room");
    write(&mut bench, alice, "reliable", b"not allowed");
    assert_eq!(dropped(&bench, alice, true), [1]);
    for _ in 0..30 {
        write(&mut bench, bob, "reliable", &[1; 1_000]);
    }
    bench.run(Duration::from_millis(200));
    let through = data(&mut bench, carol).len();
    assert!((10..=12).contains(&through), "{through}");
    bench.run(Duration::from_secs(2));
    let told = dropped(&bench, bob, true);
    assert_eq!(told.len(), 2, "at most one report a second: {told:?}");
    assert_eq!(told.iter().sum::<u64>() + through as u64, 30);
    write(&mut bench, bob, "reliable", &[1; 1_000]);
    bench.run(Duration::from_millis(200));
    assert_eq!(data(&mut bench, carol).len(), 1, "the bucket fills again");
    assert_eq!(
        bench.shard.stats().data_dropped,
        told.iter().sum::<u64>() + 1
    );
}

#[test]
fn a_slow_reader_loses_its_own_data_only() {
    let limits = crate::limits::Limits {
        data_queue_bytes: 100_000,
        data_bytes_per_second: 100_000_000,
        ..Default::default()
    };
    let mut bench = Bench::with_limits(limits);
    let alice = chatter(&mut bench, "room");
    let slow = chatter(&mut bench, "room");
    let quick = chatter(&mut bench, "room");
    let address = bench.clients[slow].publish().address;
    bench.blackhole = Some(address);
    let count = 100;
    for _ in 0..count {
        write(&mut bench, alice, "reliable", &[1; 10_000]);
        write(&mut bench, alice, "unreliable", &[2; 1_000]);
        bench.run(Duration::from_millis(20));
    }
    assert_eq!(data(&mut bench, quick).len(), 2 * count);
    bench.run(Duration::from_secs(2));
    let lost: u64 = dropped(&bench, slow, false).iter().sum();
    assert!(lost > 30, "{lost}");
    assert_eq!(dropped(&bench, quick, false), [0; 0]);
    assert_eq!(dropped(&bench, alice, true), [0; 0]);
    assert_eq!(bench.shard.stats().data_dropped, lost);
    // It wakes: what was kept arrives, whole and in order, and new messages do.
    bench.blackhole = None;
    bench.run(Duration::from_secs(10));
    let kept = data(&mut bench, slow);
    let bytes: usize = kept.iter().map(|(_, message)| message.len()).sum();
    assert!(bytes <= 100_000 + SCTP_BUFFER_BYTES + 70_000, "{bytes}");
    assert!(kept.len() as u64 + lost >= 2 * count as u64 - 60);
    write(&mut bench, alice, "reliable", b"still there");
    bench.run(Duration::from_secs(2));
    let last = data(&mut bench, slow).pop().unwrap().1;
    assert_eq!(&last[8..], b"still there");
}

#[test]
fn data_through_signaling() {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let bob = bench.join("room");
    let carol = bench.join("room");
    let dave = bench.join("another");
    let (from, to) = (bench.clients[alice].me(), bench.clients[bob].me());
    let other_room = bench.clients[dave].me();
    let send = |to: Vec<ParticipantId>, bytes: usize| Action::SendData {
        to,
        label: "note".into(),
        payload: vec![7; bytes],
    };
    bench.ok(alice, send(vec![], 3));
    bench.ok(alice, send(vec![to, other_room], 5));
    let received = |bench: &Bench, client: usize| -> Vec<usize> {
        let events = bench.clients[client].events.iter();
        let sizes = events.filter_map(|event| match event {
            EventKind::Data {
                from: f,
                label,
                payload,
            } => {
                assert_eq!((*f, label.as_str()), (from, "note"));
                Some(payload.len())
            }
            _ => None,
        });
        sizes.collect()
    };
    assert_eq!(received(&bench, alice), []);
    assert_eq!(received(&bench, bob), [3, 5]);
    assert_eq!(received(&bench, carol), [3]);
    assert_eq!(received(&bench, dave), [0; 0]);
    let refused = bench.refused(alice, send(vec![], SIGNALED_DATA_BYTES + 1));
    assert!(matches!(refused, RequestError::Limit(_)));
    let mut silent = grant("room");
    silent.publish_data = false;
    let erin = bench.join_with(silent);
    let refused = bench.refused(erin, send(vec![], 1));
    assert!(matches!(refused, RequestError::Forbidden(_)));
}
