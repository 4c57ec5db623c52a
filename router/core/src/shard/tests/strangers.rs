use std::net::SocketAddr;

use super::security::{STRANGER, assert_call_works, call, inject, sent};
use super::*;
use crate::limits::{Limits, STUN_ANSWERS_PER_SOURCE};
use crate::stats::DropCause;

/// A binding request without credentials (RFC 8489 §2).
fn plain_request(transaction: u8) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend([transaction; 12]);
    message
}

#[test]
fn a_stranger_learns_its_address_and_leaves_no_trace() {
    let (mut bench, alice, bob, mut feed) = call();
    sent(&mut bench);
    let sizes = bench.shard.table_sizes();
    inject(&mut bench, STRANGER, &plain_request(7));
    let out = sent(&mut bench);
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let to_stranger: Vec<_> = out.iter().filter(|(to, _)| *to == stranger).collect();
    assert_eq!(to_stranger.len(), 1);
    assert_eq!(to_stranger[0].1[..2], [1, 1]);
    assert_eq!(to_stranger[0].1[8..20], [7; 12]);
    assert_eq!(bench.shard.stats().stun_answered, 1);
    assert_eq!(bench.shard.table_sizes(), sizes);
    let mut wrong = plain_request(8);
    wrong[3] = 8;
    wrong.extend([0x80, 0x28, 0, 4, 1, 2, 3, 4]);
    let before = bench.drops(DropCause::StunUnauthenticated);
    inject(&mut bench, STRANGER, &wrong);
    assert_eq!(bench.drops(DropCause::StunUnauthenticated), before + 1);
    let nowhere = bench.drops(DropCause::Malformed);
    inject(&mut bench, "192.0.2.66:0", &plain_request(9));
    assert_eq!(bench.drops(DropCause::Malformed), nowhere + 1);
    assert!(sent(&mut bench).iter().all(|(to, _)| *to != stranger));
    assert_call_works(&mut bench, alice, bob, &mut feed);
}

#[test]
fn strangers_are_answered_at_a_bounded_rate() {
    let mut bench = Bench::with_limits(Limits {
        stun_answers_per_second: 200,
        ..Limits::default()
    });
    // One address, whoever it really is, gets its share and no more.
    for _ in 0..1_000 {
        inject(&mut bench, STRANGER, &plain_request(1));
    }
    assert_eq!(sent(&mut bench).len(), STUN_ANSWERS_PER_SOURCE as usize);
    // All together get what the worker gives.
    for host in 0..5_000_u32 {
        let from = format!("198.51.{}.{}:3478", host / 256, host % 256);
        inject(&mut bench, &from, &plain_request(1));
    }
    let rest = 200 - STUN_ANSWERS_PER_SOURCE as usize;
    assert_eq!(sent(&mut bench).len(), rest);
    assert_eq!(bench.drops(DropCause::RateLimited), 6_000 - 200);
    // Whoever has credentials is not kept waiting by them.
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    assert_call_works(&mut bench, alice, bob, &mut Feed::audio(mids[0]));
}

#[test]
fn a_shard_may_answer_no_stranger() {
    let mut bench = Bench::with_limits(Limits {
        stun_answers_per_second: 0,
        ..Limits::default()
    });
    bench.run(Duration::from_secs(5));
    inject(&mut bench, STRANGER, &plain_request(1));
    assert!(sent(&mut bench).is_empty());
    assert_eq!(bench.drops(DropCause::RateLimited), 1);
    // Until it may.
    bench.shard.set_limits(bench.now, Limits::default());
    inject(&mut bench, STRANGER, &plain_request(2));
    assert_eq!(sent(&mut bench).len(), 1);
}
