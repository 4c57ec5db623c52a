//! A participant that misuses what it may do.

use std::net::SocketAddr;
use std::time::Duration;

use rillway_core::api::EventKind;
use rillway_core::limits::{ADDRESS_LIFETIME, ADDRESSES_PER_SESSION};
use rillway_tests::forge::{self, BindingRequest, Kind, stranger};
use rillway_tests::media::{LayerSpec, TrackSpec};
use rillway_tests::world::World;
use rillway_tests::world::checks::SOON;

use crate::scene::Scene;

/// The user name and password that checks toward the subscriber's transport are signed with.
fn keys(scene: &Scene) -> (String, String) {
    let client = scene.world.client(scene.subscriber);
    let offer = client.events.iter().rev().find_map(|e| match e {
        EventKind::Offer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let offer = offer.expect("an offer");
    let of = |name: &str| {
        let line = offer.lines().find_map(|l| l.strip_prefix(name));
        line.expect("credentials").to_owned()
    };
    let check = scene
        .sighted(true, scene.subscribe_from, Kind::Stun)
        .expect("checks");
    // USERNAME comes first in what str0m sends; take the sender's half from there.
    let start = check
        .windows(2)
        .position(|w| w == [0, 6])
        .expect("a user name");
    let length = usize::from(u16::from_be_bytes([check[start + 2], check[start + 3]]));
    let username = &check[start + 4..start + 4 + length];
    let username = String::from_utf8(username.to_vec()).expect("text");
    (username, of("a=ice-pwd:"))
}

#[test]
fn one_participant_cannot_fill_the_router_with_addresses() {
    let mut scene = Scene::connected(41, false);
    let (username, password) = keys(&scene);
    scene.world.tap = None;
    let mut answered = 0;
    // Waves that are apart by more than an address is remembered.
    for n in 0..16_000_u16 {
        let mut transaction = [0; 12];
        transaction[..2].copy_from_slice(&n.to_be_bytes());
        let request = BindingRequest {
            username: &username,
            password: Some(&password),
            transaction,
            use_candidate: false,
            fingerprint: true,
        }
        .to_bytes();
        let back = scene.inject(stranger(n), &request);
        assert!(back <= request.len(), "{back} bytes for {}", request.len());
        answered += u32::from(back > 0);
        if n % 2_000 == 1_999 {
            scene
                .world
                .run_for(ADDRESS_LIFETIME + Duration::from_secs(1));
        }
    }
    assert!(
        answered > 0,
        "the checks are not valid: this test shows nothing"
    );
    let most = ADDRESSES_PER_SESSION;
    assert!(answered <= most, "{answered} addresses were taken in");
    // Those answers were owed; nothing else went there.
    let strays = std::mem::take(&mut scene.world.strays);
    assert!(strays.iter().all(|(_, c)| forge::kind(c) == Kind::Stun));
    scene.assert_unharmed();
}

#[test]
fn a_check_that_was_listened_to_moves_no_media_when_repeated_from_elsewhere() {
    // Somebody on the path repeats a participant's own signed check from an address of its choice. An
    // ICE-lite agent cannot ask back; what it can do is to know that it has seen this transaction.
    let mut scene = Scene::connected(42, false);
    let check = scene
        .sighted(true, scene.subscribe_from, Kind::Stun)
        .expect("checks");
    let victim: SocketAddr = stranger(4_242);
    for _ in 0..100 {
        scene.inject(victim, &check);
        scene.world.run_for(Duration::from_millis(20));
    }
    assert_eq!(
        scene.count(false, victim, Kind::Rtp),
        0,
        "media went to the victim"
    );
    assert_eq!(scene.count(false, victim, Kind::Rtcp), 0);
    assert_eq!(scene.count(false, victim, Kind::Dtls), 0);
    let account = scene.world.ledger.account(victim);
    assert!(account.received <= account.sent, "{account:?}");
}

#[test]
fn payloads_of_any_size_cost_at_most_their_sender() {
    let mut world = World::with_shard(43);
    let sane = world.join("r", vec![TrackSpec::audio()]);
    let listener = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(listener, sane)));
    for bytes in (60..1_460).step_by(7).chain(1_380..=1_460) {
        let layer = LayerSpec {
            rid: None,
            packets_per_frame: 1,
            payload_bytes: bytes,
            size: (640, 360),
        };
        let spec = TrackSpec {
            layers: vec![layer],
            interval: Duration::from_millis(5),
            ..TrackSpec::video(1)
        };
        if bytes % 70 == 0 || bytes > 1_380 {
            let odd = world.join("r", vec![spec]);
            world.run_for(Duration::from_millis(120));
            world.with(odd, |c, _| c.leave());
        }
    }
    assert_eq!(world.stats(0).transport_panics, 0);
    world.stop_media();
    world.assert_complete(listener, sane, 0, 100);
    assert_eq!(world.client(listener).violations, Vec::<String>::new());
}
