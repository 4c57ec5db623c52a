//! Nothing is ever sealed twice under one key, SSRC and packet index: with AES-GCM that would give away
//! what both packets say, and the means to forge others (NIST SP 800-38D §8; CVE-2026-26014 in Pion).
//!
//! Seen from outside, by capture: the SSRC and the sequence number are in the clear, the rollover counter is
//! followed as a receiver does, and RTCP carries its index at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rillway_core::api::{Action, Direction, TransportState};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Sighting, Who, World};
use str0m_netem::NetemConfig;

/// Which key: the client's subscribing transport, counted up with each DTLS handshake.
type Key = (SocketAddr, usize);

#[derive(Default)]
struct Auditor {
    handshakes: BTreeMap<SocketAddr, usize>,
    /// Highest index by key and SSRC.
    highest: BTreeMap<(Key, u32), u64>,
    rtp: BTreeSet<(Key, u32, u64)>,
    rtcp: BTreeSet<(Key, u32, u32)>,
    reused: Vec<String>,
}

/// First byte of a DTLS record with a handshake message in the clear, and its type.
fn is_server_hello(contents: &[u8]) -> bool {
    contents.first() == Some(&22)
        && contents.get(3..5) == Some(&[0, 0])
        && contents.get(13) == Some(&2)
}

impl Auditor {
    /// Notes what the router sent; `home` is the transport an outside address belongs to.
    fn look(&mut self, seen: &Sighting, home: SocketAddr) {
        let contents = &seen.contents;
        if is_server_hello(contents) {
            *self.handshakes.entry(home).or_default() += 1;
        }
        if seen.inward || !(128..192).contains(&contents[0]) {
            return;
        }
        let key = (home, self.handshakes.get(&home).copied().unwrap_or(0));
        let word = |at: usize| u32::from_be_bytes(contents[at..at + 4].try_into().expect("4"));
        if (64..96).contains(&(contents[1] & 0x7f)) {
            let index = word(contents.len() - 4);
            assert!(index >> 31 == 1, "RTCP in the clear");
            if !self.rtcp.insert((key, word(4), index)) {
                self.reused.push(format!("RTCP {:08x} {index}", word(4)));
            }
            return;
        }
        let sequence = u16::from_be_bytes([contents[2], contents[3]]);
        let index = self.index(key, word(8), sequence);
        if !self.rtp.insert((key, word(8), index)) {
            self.reused.push(format!("RTP {:08x} {index}", word(8)));
        }
    }

    /// The packet index nearest to the highest so far (RFC 3711 §3.3.1).
    fn index(&mut self, key: Key, ssrc: u32, sequence: u16) -> u64 {
        let highest = self.highest.entry((key, ssrc)).or_insert(sequence.into());
        let ahead = sequence.wrapping_sub(*highest as u16) as i16;
        let index = highest.saturating_add_signed(ahead.into());
        *highest = (*highest).max(index);
        index
    }
}

/// Hands everything captured so far to the auditor.
fn audit(world: &mut World, auditor: &mut Auditor, who: &[Who]) {
    for seen in world.tap.replace(Vec::new()).expect("a capture") {
        for who in who {
            let home = world.client(*who).config.subscribe_address;
            if world.outside_of(home) == seen.outside {
                auditor.look(&seen, home);
            }
        }
    }
    assert_eq!(auditor.reused, Vec::<String>::new());
}

#[test]
fn no_index_is_used_twice_whatever_a_call_goes_through() {
    let mut world = World::with_shard(81);
    let lossy = NetemConfig::new()
        .latency(Duration::from_millis(15))
        .jitter(Duration::from_millis(4))
        .loss(str0m_netem::RandomLoss::new(str0m_netem::Probability::new(
            0.03,
        )));
    world.set_default_link(lossy);
    world.tap = Some(Vec::new());
    // A thousand packets a second, so that sequence numbers go round.
    let a = world.join("r", vec![TrackSpec::audio(), TrackSpec::video(40)]);
    let b = world.join("r", vec![TrackSpec::video(3)]);
    let c = world.join("r", vec![]);
    assert!(world.run_until(SOON * 3, |w| w.hears(c, a)
        && w.hears(c, b)
        && w.hears(b, a)));
    let [video, other] = [world.track(a, 1), world.track(b, 0)];
    let mut auditor = Auditor::default();
    for round in 0..14 {
        world.run_for(Duration::from_secs(3));
        match round % 7 {
            0 => world.ask(c, Action::RestartIce).expect("subscribed"),
            1 => {
                // The section is used again by the same track.
                world
                    .ask(c, Action::Unsubscribe(other))
                    .expect("subscribed");
                world.run_for(Duration::from_millis(150));
                world.ask(c, Action::Subscribe(other)).expect("there");
            }
            2 => {
                // And by another one.
                for track in [other, video] {
                    world
                        .ask(c, Action::Unsubscribe(track))
                        .expect("subscribed");
                }
                world.run_for(Duration::from_millis(150));
                world.ask(c, Action::Subscribe(video)).expect("there");
                world.ask(c, Action::Subscribe(other)).expect("there");
            }
            3 => {
                for muted in [true, false] {
                    world.ask(a, Action::Mute(video, muted)).expect("one's own");
                    world.run_for(Duration::from_millis(300));
                }
            }
            4 => {
                // Another path to the same association.
                let inside = world.client(c).config.subscribe_address;
                let port = 7_000 + round as u16;
                world.rebind(inside, SocketAddr::new(inside.ip(), port));
            }
            5 => {
                // Other keys: counting begins anew, and may.
                let close = Action::CloseTransport(Direction::Subscribe);
                world.ask(c, close).expect("it is there");
                world.run_for(Duration::from_millis(200));
                world.ask(c, Action::RestartIce).expect("a new transport");
            }
            _ => world.run_for(Duration::from_secs(20)),
        }
        let back = |w: &World| {
            w.client(c).states.get(&Direction::Subscribe) == Some(&TransportState::Connected)
        };
        assert!(world.run_until(SOON * 3, back), "round {round}");
        audit(&mut world, &mut auditor, &[a, b, c]);
    }
    let wraps = auditor
        .highest
        .values()
        .filter(|index| **index > 65_536)
        .count();
    assert!(wraps > 0, "no sequence number went round");
    let keys: BTreeSet<Key> = auditor.rtp.iter().map(|(key, ..)| *key).collect();
    let of_c = keys
        .iter()
        .filter(|(home, _)| *home == world.client(c).config.subscribe_address);
    assert_eq!(of_c.count(), 3, "keys of a client that came back twice");
    assert!(
        world.stats(0).rtp_retransmitted > 1_000,
        "nothing was sent again"
    );
    assert!(auditor.rtcp.len() > 100);
    for violation in &world.client(c).violations {
        assert!(violation.contains("SSRC changed"), "{violation}");
    }
}

#[test]
fn the_auditor_finds_what_it_looks_for() {
    let mut world = World::with_shard(82);
    world.tap = Some(Vec::new());
    let a = world.join("r", vec![TrackSpec::video(2)]);
    let b = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(b, a)));
    world.run_for(Duration::from_secs(2));
    let tap = world.tap.take().expect("a capture");
    let home = world.client(b).config.subscribe_address;
    for rtcp in [false, true] {
        let mut auditor = Auditor::default();
        let media = tap
            .iter()
            .filter(|s| !s.inward && s.outside == home && s.contents[0] >= 128);
        for seen in media.clone() {
            auditor.look(seen, home);
        }
        assert_eq!(auditor.reused, Vec::<String>::new());
        let repeated = media
            .clone()
            .find(|s| (192..224).contains(&s.contents[1]) == rtcp);
        auditor.look(repeated.expect("one of each"), home);
        assert_eq!(auditor.reused.len(), 1);
    }
}
