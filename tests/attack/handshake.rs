//! Somebody who forges the source address of a participant while it connects, and participants that
//! are not who they say.

use std::time::Duration;

use rillway_core::api::{Action, Direction};
use rillway_tests::forge::{self, Kind};
use rillway_tests::world::World;

use crate::scene::Scene;

/// Moments of a handshake at which forged datagrams arrive.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// ICE has validated the address; no DTLS was seen yet.
    BeforeDtls,
    /// The participant's first flight was seen.
    AfterFirstFlight,
    /// The router's answer is out, and the participant's second flight is under way.
    BetweenFlights,
    /// All done.
    Connected,
}

const MOMENTS: [Moment; 4] = [
    Moment::BeforeDtls,
    Moment::AfterFirstFlight,
    Moment::BetweenFlights,
    Moment::Connected,
];

/// Runs a scene up to a moment of the handshake of one transport.
fn scene_at(moment: Moment, direction: Direction, passive: bool) -> Scene {
    let mut scene = Scene::begin(21, passive);
    let address = match direction {
        Direction::Publish => scene.publish_from,
        Direction::Subscribe => scene.subscribe_from,
    };
    let (inward, outward) = match moment {
        Moment::BeforeDtls => {
            let validated = |w: &World| w.ledger.account(address).validated;
            let seen = scene.world.run_closely(Duration::from_secs(3), validated);
            assert!(seen, "no checks");
            assert_eq!(scene.count(true, address, Kind::Dtls), 0, "too late");
            return scene;
        }
        Moment::AfterFirstFlight => (1, 0),
        Moment::BetweenFlights => (1, 1),
        Moment::Connected => {
            scene.wait_for_media();
            return scene;
        }
    };
    for _ in 0..10_000 {
        let seen_in = scene.count(true, address, Kind::Dtls);
        let seen_out = scene.count(false, address, Kind::Dtls);
        if seen_in >= inward && seen_out >= outward {
            return scene;
        }
        scene
            .world
            .run_closely(Duration::from_micros(100), |_| false);
    }
    panic!("no handshake at {address}");
}

fn forgeries(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        (
            "another ClientHello".to_owned(),
            forge::client_hello(scene.world.now),
        ),
        ("ServerHello".to_owned(), forge::server_hello()),
        (
            "HelloVerifyRequest".to_owned(),
            forge::hello_verify_request(),
        ),
        ("fatal alert".to_owned(), forge::fatal_alert()),
    ];
    for (name, datagram) in forge::dtls_oddities() {
        all.push((name.to_owned(), datagram));
    }
    for bytes in 20..=27 {
        all.push((format!("RTCP of {bytes} bytes"), forge::rtcp(201, bytes)));
    }
    for payload in [0, 1, 4, 15, 16, 17] {
        all.push((
            format!("RTP of {payload} bytes"),
            forge::rtp(96, 7, 7, payload),
        ));
    }
    all
}

/// One scene for each forgery and moment, so that none hides the effect of another. `lost_to` names
/// those that no DTLS 1.2 endpoint can survive, since its handshake is not authenticated before its end;
/// even then the participant alone is cut off, and can connect again.
fn survive_each(direction: Direction, passive: bool, lost_to: &[&str]) {
    let count = forgeries(&Scene::begin(21, passive)).len();
    let mut lost = Vec::new();
    for moment in MOMENTS {
        for index in 0..count {
            let mut scene = scene_at(moment, direction, passive);
            let (name, datagram) = forgeries(&scene).swap_remove(index);
            let address = match direction {
                Direction::Publish => scene.publish_from,
                Direction::Subscribe => scene.subscribe_from,
            };
            scene.inject(address, &datagram);
            let heard = is_heard(&mut scene);
            if !heard || scene.world.stats(0).transports != [0, 0, 2, 0] {
                let name = format!("{name} at {moment:?}");
                assert_eq!(scene.world.stats(0).transport_panics, 0, "{name}");
                if lost_to.contains(&name.as_str()) {
                    connect_again(&mut scene, direction);
                } else {
                    lost.push(name);
                }
            }
        }
    }
    assert!(
        lost.is_empty(),
        "{direction:?}, clients passive: {passive}: lost to {lost:#?}"
    );
}

fn is_heard(scene: &mut Scene) -> bool {
    let (to, from) = (scene.subscriber, scene.publisher);
    let packets = |w: &World| {
        if w.hears(to, from) {
            w.received(to, from, 0)
        } else {
            0
        }
    };
    let before = packets(&scene.world);
    scene
        .world
        .run_until(Duration::from_secs(8), |w| packets(w) > before + 20)
}

fn connect_again(scene: &mut Scene, direction: Direction) {
    let who = match direction {
        Direction::Publish => scene.publisher,
        Direction::Subscribe => scene.subscriber,
    };
    let _ = scene.world.ask(who, Action::CloseTransport(direction));
    scene.world.run_for(Duration::from_millis(100));
    match direction {
        Direction::Publish => {
            scene.world.with(who, |c, now| c.publish(now));
        }
        Direction::Subscribe => {
            for index in 0..2 {
                let track = scene.world.track(scene.publisher, index);
                let _ = scene.world.ask(who, Action::Subscribe(track));
            }
        }
    }
    assert!(is_heard(scene), "{direction:?}: no second connection");
}

/// With the router as DTLS server: a forged certificate takes the place of the genuine one in its
/// handshake, which nobody can tell before the signature over all of it; and a ClientHello that was there
/// before the participant's own is answered, which the participant takes for the answer to its own.
const AS_SERVER: [&str; 3] = [
    "certificate out of order at AfterFirstFlight",
    "certificate out of order at BetweenFlights",
    "another ClientHello at BeforeDtls",
];

/// With the router as DTLS client: who answers its ClientHello first is believed.
const AS_CLIENT: [&str; 2] = [
    "ServerHello at BeforeDtls",
    "HelloVerifyRequest at BeforeDtls",
];

#[test]
fn a_publisher_survives_each_forgery_with_the_router_as_dtls_server() {
    survive_each(Direction::Publish, false, &AS_SERVER);
}

#[test]
fn a_subscriber_survives_each_forgery_with_the_router_as_dtls_server() {
    survive_each(Direction::Subscribe, false, &AS_SERVER);
}

#[test]
fn a_publisher_survives_each_forgery_with_the_router_as_dtls_client() {
    survive_each(Direction::Publish, true, &AS_CLIENT);
}

#[test]
fn a_subscriber_survives_each_forgery_with_the_router_as_dtls_client() {
    survive_each(Direction::Subscribe, true, &AS_CLIENT);
}

#[test]
fn no_dtls_is_spoken_with_an_address_that_ice_has_not_validated() {
    // Even the participant's own, before its checks: somebody may have forged it to have it flooded.
    let mut scene = Scene::begin(22, false);
    let hello = forge::client_hello(scene.world.now);
    let address = scene.publish_from;
    for _ in 0..50 {
        let early = !scene.world.ledger.account(address).validated;
        if early {
            assert_eq!(scene.inject(address, &hello), 0);
            assert_eq!(scene.bytes_to(address), 0);
        }
        scene
            .world
            .run_closely(Duration::from_micros(100), |_| false);
    }
    scene.wait_for_media();
    scene.assert_unharmed();
}

/// Changes the fingerprint in an SDP to that of nobody.
fn wrong_fingerprint(sdp: &str) -> String {
    let lines = sdp
        .lines()
        .map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(print) => {
                let flipped: String = print
                    .chars()
                    .map(|c| match c {
                        'A' => '0',
                        '0' => 'A',
                        c => c,
                    })
                    .collect();
                assert_ne!(flipped, print);
                format!("a=fingerprint:sha-256 {flipped}\r\n")
            }
            None => format!("{line}\r\n"),
        });
    lines.collect()
}

fn impostor(wrong: Direction, passive: bool) -> Scene {
    let mut scene = Scene::begin(23, passive);
    let who = match wrong {
        Direction::Publish => scene.publisher,
        Direction::Subscribe => scene.subscriber,
    };
    scene.world.with(who, |client, _| {
        client.sdp_filter = Some(Box::new(move |direction, sdp| {
            if direction == wrong {
                wrong_fingerprint(&sdp)
            } else {
                sdp
            }
        }));
    });
    scene.world.run_for(Duration::from_secs(5));
    scene
}

#[test]
fn a_publisher_with_another_certificate_than_announced_is_not_heard() {
    for passive in [false, true] {
        let scene = impostor(Direction::Publish, passive);
        let from = scene.publish_from;
        assert!(
            scene.count(true, from, Kind::Dtls) > 0,
            "no handshake was tried"
        );
        let stats = scene.world.stats(0);
        assert_eq!(stats.rtp_received, 0, "passive: {passive}");
        assert_eq!(stats.rtp_forwarded, 0, "passive: {passive}");
        assert_eq!(scene.count(false, scene.subscribe_from, Kind::Rtp), 0);
        assert!(scene.world.client(scene.subscriber).messages.is_empty());
        assert_eq!(scene.world.ledger.violations, Vec::<String>::new());
    }
}

#[test]
fn a_subscriber_with_another_certificate_than_announced_gets_no_media() {
    for passive in [false, true] {
        let scene = impostor(Direction::Subscribe, passive);
        let to = scene.subscribe_from;
        assert!(
            scene.count(true, to, Kind::Dtls) > 0,
            "no handshake was tried"
        );
        assert!(
            scene.world.stats(0).rtp_received > 100,
            "the publisher is heard"
        );
        assert_eq!(scene.count(false, to, Kind::Rtp), 0, "passive: {passive}");
        assert_eq!(scene.world.stats(0).rtp_forwarded, 0, "passive: {passive}");
        assert_eq!(
            scene.world.received(scene.subscriber, scene.publisher, 0),
            0
        );
    }
}
