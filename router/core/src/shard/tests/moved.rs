//! Clients whose NAT gave them another port.

use std::net::SocketAddr;

use str0m::ice::StunMessage;

use super::*;
use crate::limits::MOVED_INTERVAL;

/// Somebody who hears somebody else, with a NAT that changes ports when asked.
struct Scene {
    bench: Bench,
    alice: usize,
    bob: usize,
    feed: Feed,
    /// The longest time between two packets that came.
    gap: Duration,
    last: std::time::Instant,
}

impl Scene {
    fn new() -> Self {
        Self::of(Bench::new())
    }

    fn of(mut bench: Bench) -> Self {
        let (alice, mids) = bench.talker("room");
        let bob = bench.join("room");
        let track = bench.clients[alice].track(0);
        bench.watch(bob, &[track]);
        let last = bench.now;
        Scene {
            bench,
            alice,
            bob,
            feed: Feed::audio(mids[0]),
            gap: Duration::ZERO,
            last,
        }
    }

    fn send(&mut self, packets: u32) {
        for _ in 0..packets {
            self.bench.run(Duration::from_millis(20));
            let before = self.bench.count(self.bob, 1);
            self.bench.send(self.alice, &self.feed.next(false, 1));
            if self.bench.count(self.bob, 1) > before {
                self.gap = self.gap.max(self.bench.now - self.last);
                self.last = self.bench.now;
            }
        }
    }

    /// Has a client moved to another port, in the midst of media.
    fn moves(&mut self, publisher: bool) {
        self.send(100);
        self.gap = Duration::ZERO;
        self.last = self.bench.now;
        let client = if publisher { self.alice } else { self.bob };
        let end = match publisher {
            true => self.bench.clients[client].publish(),
            false => self.bench.clients[client].subscribe(),
        };
        let port = end.outside().port() ^ 0x1000;
        end.mapped = Some(SocketAddr::new(end.outside().ip(), port));
    }
}

#[test]
fn a_subscriber_is_found_by_its_feedback() {
    let mut scene = Scene::new();
    scene.moves(false);
    scene.send(15);
    // Of sound it says something every few seconds; of pictures it would many times a second.
    let Scene {
        bench, alice, bob, ..
    } = &mut scene;
    let mid = {
        let track = bench.clients[*alice].track(0);
        bench.clients[*bob].mid_of(track)
    };
    let end = bench.clients[*bob].subscribe();
    let mut api = end.rtc.direct_api();
    let stream = api.stream_rx_by_mid(mid, None).unwrap();
    stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    end.tick_at(bench.now);
    scene.send(85);
    assert!(scene.gap < Duration::from_millis(500), "{:?}", scene.gap);
    assert_eq!(scene.last, scene.bench.now, "media flows again");
}

#[test]
fn a_publisher_is_found_by_its_media() {
    let mut scene = Scene::new();
    scene.moves(true);
    scene.send(100);
    assert!(scene.gap < Duration::from_millis(250), "{:?}", scene.gap);
    assert_eq!(scene.last, scene.bench.now, "media flows again");
    assert_eq!(scene.bench.shard.stats().paths_rebound, 1);
}

#[test]
fn a_client_is_found_again_and_again() {
    // With one port for several workers its new address is nobody's, and the kernel gives it to another worker.
    for bench in [Bench::new(), Bench::behind_another()] {
        let mut scene = Scene::of(bench);
        for time in 1..=20 {
            scene.moves(true);
            scene.send(100);
            assert!(scene.gap < Duration::from_millis(250), "{:?}", scene.gap);
            assert_eq!(scene.bench.shard.stats().paths_rebound, time);
        }
    }
}

/// Has a stranger at the client's address send `bytes` for a second, while the client is silent.
fn pretend(
    scene: &mut Scene,
    bytes: &[u8],
    mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> usize {
    let address = scene.bench.clients[scene.bob].subscribe().outside();
    let stranger = SocketAddr::new(address.ip(), 9);
    scene.bench.blackhole = Some(address);
    let mut asked = 0;
    for _ in 0..100 {
        scene.bench.run(Duration::from_millis(10));
        let now = scene.bench.now;
        scene
            .bench
            .shard
            .handle_datagram(now, SocketId(0), stranger, bytes);
        scene.bench.settle();
        for (destination, bytes) in std::mem::take(&mut scene.bench.strays) {
            assert_eq!(destination, stranger);
            if bytes[0] >= 4 {
                assert_eq!(
                    scene.bench.shard.stats().paths_rebound,
                    1,
                    "no media goes there"
                );
                continue;
            }
            asked += 1;
            if let Some(answer) = answer(&bytes) {
                let shard = &mut scene.bench.shard;
                shard.handle_datagram(now, SocketId(0), stranger, &answer);
            }
        }
    }
    scene.bench.blackhole = None;
    asked
}

/// RTCP of nobody in particular.
const REPORT: [u8; 52] = {
    let mut bytes = [7; 52];
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x81, 201, 0, 6);
    bytes
};

pub(super) fn signed_answer(request: &[u8], sees: SocketAddr, password: &str) -> Vec<u8> {
    let request = StunMessage::parse(request).unwrap();
    let mut buffer = vec![0; 256];
    let hmac = str0m_aws_lc_rs::default_provider().sha1_hmac_provider;
    let length = StunMessage::binding_reply(request.trans_id(), sees)
        .to_bytes(Some(password.as_bytes()), &mut buffer, |key, parts| {
            hmac.sha1_hmac(key, parts)
        })
        .unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn who_cannot_answer_gets_nothing() {
    let mut scene = Scene::new();
    scene.send(50);
    let asked = pretend(&mut scene, &REPORT, |question| {
        Some(signed_answer(question, router(), "a password of its own"))
    });
    let most = Duration::from_secs(1).as_millis() / MOVED_INTERVAL.as_millis();
    // Both who are at this address are silent.
    assert!((1..=2 * most as usize).contains(&asked), "{asked}");
    assert_eq!(scene.bench.shard.stats().paths_rebound, 0);
    scene.send(50);
    assert_eq!(scene.last, scene.bench.now, "media flows to the client");
}

#[test]
fn an_answer_that_was_handed_on_moves_nobody() {
    for (sees, moves) in [("10.3.3.3:3", 0), ("", 1)] {
        let mut scene = Scene::new();
        scene.send(50);
        let creds = {
            let end = scene.bench.clients[scene.bob].subscribe();
            end.rtc.direct_api().local_ice_credentials()
        };
        let sees = sees.parse().unwrap_or(router());
        pretend(&mut scene, &REPORT, |question| {
            Some(signed_answer(question, sees, &creds.pass))
        });
        assert_eq!(scene.bench.shard.stats().paths_rebound, moves, "{sees}");
    }
}

#[test]
fn nobody_who_is_heard_from_is_asked() {
    let mut scene = Scene::new();
    scene.send(50);
    let stranger = SocketAddr::new(scene.bench.clients[scene.alice].publish().outside().ip(), 9);
    for _ in 0..50 {
        scene.send(1);
        let now = scene.bench.now;
        let shard = &mut scene.bench.shard;
        shard.handle_datagram(now, SocketId(0), stranger, &REPORT);
        scene.bench.settle();
    }
    let to_alice = |destination: &SocketAddr| *destination == stranger;
    let asked = scene
        .bench
        .strays
        .iter()
        .filter(|(d, _)| to_alice(d))
        .count();
    assert_eq!(asked, 0);
}
