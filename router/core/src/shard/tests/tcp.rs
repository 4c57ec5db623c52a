use std::net::SocketAddr;

use super::security::inject;
use super::*;
use crate::path::PathKind;

/// The transports of a client, as operators see them.
fn over_tcp(bench: &mut Bench, client: usize) -> Vec<bool> {
    let me = bench.clients[client].me();
    let seen = bench.participants(None);
    let seen = seen.iter().find(|p| p.info.id == me).unwrap();
    let transports = [seen.publish, seen.subscribe].into_iter().flatten();
    transports.map(|t| t.path.is_some() && t.tcp).collect()
}

/// One on TCP alone, one on UDP: both hear and see each other.
#[test]
fn media_goes_both_ways_over_tcp() {
    let mut bench = Bench::with_tcp();
    bench.tcp = true;
    let (alice, alices) = bench.talker("room");
    bench.tcp = false;
    let (bob, bobs) = bench.talker("room");
    for (from, to) in [(alice, bob), (bob, alice)] {
        bench.tcp = to == alice;
        let tracks = [bench.clients[from].track(0), bench.clients[from].track(1)];
        bench.watch(to, &tracks);
    }
    let mut feeds = [
        (alice, Feed::audio(alices[0]), Feed::video(alices[1], None)),
        (bob, Feed::audio(bobs[0]), Feed::video(bobs[1], None)),
    ];
    for frame in 0..60 {
        bench.run(FRAME);
        for (client, audio, video) in &mut feeds {
            bench.send(*client, &audio.next(false, 31));
            bench.send(*client, &video.next(frame == 3, 32));
        }
    }
    for client in [alice, bob] {
        for payload in [31, 32] {
            let heard = bench.count(client, payload);
            assert!(heard > 40, "{client} {payload}: {heard}");
        }
    }
    assert_eq!(over_tcp(&mut bench, alice), [true, true]);
    assert_eq!(over_tcp(&mut bench, bob), [false, false]);
    let by_path = bench.shard.stats().connects_by_path;
    assert_eq!(by_path[PathKind::Udp as usize], 2);
    assert_eq!(by_path[PathKind::Tcp as usize], 2);
    assert_eq!(bench.shard.stats().connects, 4);
}

#[test]
fn tcp_is_offered_below_udp() {
    let mut bench = Bench::with_tcp();
    let alice = bench.join("room");
    bench.publish(alice, &[AUDIO]);
    let answer = bench.clients[alice].events.iter().find_map(|e| match e {
        EventKind::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    let mut priorities = Vec::new();
    for line in answer.lines().filter(|l| l.starts_with("a=candidate:")) {
        let words: Vec<&str> = line.split(' ').collect();
        let priority: u32 = words[3].parse().unwrap();
        let tcp = words[2].eq_ignore_ascii_case("tcp");
        assert_eq!(tcp, line.contains("tcptype passive"), "{line}");
        priorities.push((priority, tcp));
    }
    priorities.sort_unstable();
    let order: Vec<bool> = priorities.iter().map(|(_, tcp)| *tcp).collect();
    assert_eq!(order, [true, false], "{answer}");
}

#[test]
fn a_stranger_on_a_connection_gets_no_answer() {
    let mut bench = Bench::with_tcp();
    let from: SocketAddr = "192.0.2.66:6666".parse().unwrap();
    let mut plain = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    plain.extend([7; 12]);
    bench
        .shard
        .handle_datagram(bench.now, SocketId(1), from, &plain);
    let mut sink = Sink::default();
    bench.shard.flush(bench.now, &mut sink);
    assert!(sink.0.is_empty());
    assert_eq!(bench.drops(DropCause::StunUnauthenticated), 1);
    inject(&mut bench, "192.0.2.66:6666", &plain);
    bench.shard.flush(bench.now, &mut sink);
    assert_eq!(sink.0.len(), 1, "over UDP it does");
}
