//! Two workers behind one port, and the kernel gives everything to the wrong one.

use std::net::SocketAddr;

use super::moved::signed_answer;
use super::security::{STRANGER, assert_call_works, client_hello};
use super::*;
use crate::limits::{ADDRESS_LIFETIME, MOVED_SCANS, OWNED_ADDRESSES, OWNED_LIFETIME};
use crate::shard::{Claim, Elsewhere, Shard};

const OURS: WorkerId = WorkerId(3);

fn from(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn claim(remote: &str) -> Claim {
    Claim {
        socket: SocketId(0),
        remote: from(remote),
    }
}

/// Who else is said to have a packet of media from there.
fn whose(bench: &mut Bench, source: &str) -> Option<WorkerId> {
    let neighbour = bench.neighbour.as_mut().unwrap();
    let elsewhere = neighbour.handle_datagram(bench.now, SocketId(0), from(source), &[0x80; 40]);
    assert!(elsewhere.is_none_or(|e| e.proven == e.worker.is_some()));
    elsewhere.and_then(|e| e.worker)
}

fn neighbour_drops(bench: &Bench, cause: DropCause) -> u64 {
    bench.neighbour.as_ref().unwrap().stats().dropped[cause as usize]
}

#[test]
fn a_call_goes_through_the_other_worker_and_nothing_is_lost() {
    let mut bench = Bench::behind_another();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    let mut feed = Feed::audio(mids[0]);
    // Longer than anything is remembered without being claimed again.
    for _ in 0..300 {
        assert_call_works(&mut bench, alice, bob, &mut feed);
    }
    assert_eq!(bench.shard.stats().dropped, [0; DropCause::COUNT]);
    let neighbour = bench.neighbour.as_ref().unwrap();
    assert_eq!(neighbour.stats().dropped, [0; DropCause::COUNT]);
    assert_eq!(neighbour.stats().rtp_received, 0);
    assert_eq!(bench.shard.stats().rtp_received, 3_000);
}

#[test]
fn only_what_a_client_has_proven_moves_its_packets() {
    let mut bench = Bench::behind_another();
    let (alice, _) = bench.talker("room");
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let now = bench.now;
    let at = |bench: &mut Bench, bytes: &[u8]| {
        let neighbour = bench.neighbour.as_mut().unwrap();
        neighbour.handle_datagram(now, SocketId(0), from(STRANGER), bytes)
    };
    let hello = client_hello(&bench);
    // It may be of a client that has moved, and then it is asked; nothing else comes of it.
    let anywhere = Elsewhere {
        worker: None,
        proven: false,
    };
    assert_eq!(at(&mut bench, &hello), Some(anywhere));
    let stranger = (SocketId(0), from(STRANGER));
    bench.shard.handle_handed(now, NEIGHBOUR, stranger, &hello);
    assert_eq!(bench.drops(DropCause::UnvalidatedSource), 1);
    // A check goes to whom it names, and whoever cannot answer for it is nobody.
    let forged = binding_request(&creds.ufrag, &remote, "guess");
    let elsewhere = Elsewhere {
        worker: Some(OURS),
        proven: false,
    };
    assert_eq!(at(&mut bench, &forged), Some(elsewhere));
    bench.shard.handle_handed(now, NEIGHBOUR, stranger, &forged);
    assert_eq!(bench.drops(DropCause::StunUnauthenticated), 1);
    assert_eq!(bench.shard.drain_claims().count(), 0);
    assert_eq!(at(&mut bench, &hello), Some(anywhere));
    // With the password it is a client, and is claimed.
    let right = binding_request(&creds.ufrag, &remote, &creds.pass);
    bench.shard.handle_handed(now, NEIGHBOUR, stranger, &right);
    let claims: Vec<_> = bench.shard.drain_claims().collect();
    assert_eq!(claims, [(NEIGHBOUR, claim(STRANGER))]);
    let neighbour = bench.neighbour.as_mut().unwrap();
    neighbour.handle_claim(now, OURS, claims[0].1);
    let elsewhere = Elsewhere {
        worker: Some(OURS),
        proven: true,
    };
    assert_eq!(at(&mut bench, &hello), Some(elsewhere));
    assert_eq!(at(&mut bench, &right), Some(elsewhere));
}

#[test]
fn nothing_is_handed_to_and_fro_nor_to_a_worker_that_is_not_there() {
    let mut bench = Bench::behind_another();
    let mut third = Bench::of_worker(WorkerId(9));
    let (alice, _) = third.talker("room");
    let creds = third.credentials(alice);
    let check = binding_request(&creds.ufrag, "them", &creds.pass);
    let neighbour = bench.neighbour.as_mut().unwrap();
    let stranger = (SocketId(0), from(STRANGER));
    let given = neighbour.handle_datagram(bench.now, stranger.0, stranger.1, &check);
    assert_eq!(given, None, "nobody has that number");
    assert_eq!(neighbour_drops(&bench, DropCause::StunUnknownUfrag), 1);
    let now = bench.now;
    bench.shard.handle_claim(now, NEIGHBOUR, claim(STRANGER));
    let before = bench.drops(DropCause::UnvalidatedSource);
    bench
        .shard
        .handle_handed(now, NEIGHBOUR, stranger, &[0x80; 40]);
    assert_eq!(bench.drops(DropCause::UnvalidatedSource), before + 1);
}

#[test]
fn others_are_asked_of_strangers_only_so_often() {
    let mut bench = Bench::behind_another();
    let now = bench.now;
    let neighbour = bench.neighbour.as_mut().unwrap();
    let mut asked = 0;
    for port in 1..2_000 {
        let source = SocketAddr::new(from(STRANGER).ip(), port);
        let elsewhere = neighbour.handle_datagram(now, SocketId(0), source, &[0x80; 40]);
        asked += u32::from(elsewhere.is_some());
    }
    assert_eq!(asked, MOVED_SCANS);
    // The same of answers to questions that nobody put.
    let answer = signed_answer(&binding_request("a", "b", "c"), from(STRANGER), "d");
    let mut asked = |at| neighbour.handle_datagram(at, SocketId(0), from(STRANGER), &answer);
    assert_eq!(asked(now), None);
    assert!(asked(now + Duration::from_secs(1)).is_some());
    assert_eq!(neighbour_drops(&bench, DropCause::StunUnauthenticated), 1);
}

#[test]
fn an_address_is_one_workers_until_it_is_silent() {
    let mut bench = Bench::behind_another();
    let third = WorkerId(5);
    let note = |bench: &mut Bench, worker| {
        let now = bench.now;
        let neighbour = bench.neighbour.as_mut().unwrap();
        neighbour.handle_claim(now, worker, claim(STRANGER));
    };
    note(&mut bench, OURS);
    bench.now += ADDRESS_LIFETIME / 2;
    note(&mut bench, third);
    assert_eq!(whose(&mut bench, STRANGER), Some(OURS), "not forged away");
    bench.now += ADDRESS_LIFETIME;
    note(&mut bench, third);
    assert_eq!(whose(&mut bench, STRANGER), Some(third));
    bench.now += OWNED_LIFETIME;
    assert_eq!(whose(&mut bench, STRANGER), None);
}

#[test]
fn a_participant_cannot_forge_the_address_of_another_workers_client() {
    let mut bench = Bench::behind_another();
    let (alice, _) = bench.talker("room");
    let creds = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let check = binding_request(&creds.ufrag, &remote, &creds.pass);
    let now = bench.now;
    bench.shard.handle_claim(now, NEIGHBOUR, claim(STRANGER));
    let sizes = bench.shard.table_sizes();
    let stranger = (SocketId(0), from(STRANGER));
    bench.shard.handle_handed(now, NEIGHBOUR, stranger, &check);
    assert_eq!(bench.shard.table_sizes(), sizes);
    assert_eq!(bench.drops(DropCause::UnvalidatedSource), 1);
    let later = now + ADDRESS_LIFETIME;
    bench
        .shard
        .handle_handed(later, NEIGHBOUR, stranger, &check);
    assert_eq!(bench.shard.table_sizes().addresses, sizes.addresses + 1);
}

#[test]
fn what_is_remembered_of_others_is_bounded() {
    let mut bench = Bench::behind_another();
    let now = bench.now;
    let host = |index: usize| {
        let [_, a, b, c] = (index as u32).to_be_bytes();
        format!("10.{a}.{b}.{c}:9")
    };
    let note = |shard: &mut Shard, at, index| shard.handle_claim(at, OURS, claim(&host(index)));
    let neighbour = bench.neighbour.as_mut().unwrap();
    for index in 0..=OWNED_ADDRESSES {
        note(neighbour, now, index);
    }
    assert_eq!(whose(&mut bench, &host(0)), Some(OURS));
    assert_eq!(whose(&mut bench, &host(OWNED_ADDRESSES)), None);
    bench.now += OWNED_LIFETIME;
    let now = bench.now;
    note(bench.neighbour.as_mut().unwrap(), now, OWNED_ADDRESSES);
    assert_eq!(whose(&mut bench, &host(OWNED_ADDRESSES)), Some(OURS));
}
