//! Paths that change under a call: ICE restarts, new addresses, silence.

use std::net::SocketAddr;
use std::time::Duration;

use rillway_core::api::{Action, Direction, EventKind, TransportState};
use rillway_tests::forge::{self, Kind};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

fn pair(world: &mut World) -> [Who; 2] {
    let a = world.join("r", vec![TrackSpec::audio(), TrackSpec::video(2)]);
    let b = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(b, a)));
    world.run_for(Duration::from_secs(1));
    [a, b]
}

/// The router's ufrag and password in an SDP.
fn credentials(sdp: &str) -> (String, String) {
    let of = |name: &str| {
        let line = sdp.lines().find_map(|l| l.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {sdp}"))
            .to_owned()
    };
    (of("a=ice-ufrag:"), of("a=ice-pwd:"))
}

fn answers(world: &World, who: Who) -> Vec<(String, String)> {
    let events = world.client(who).events.iter();
    let sdps = events.filter_map(|e| match e {
        EventKind::Answer { sdp, .. } => Some(credentials(sdp)),
        _ => None,
    });
    sdps.collect()
}

fn offers(world: &World, who: Who) -> Vec<(String, String)> {
    let events = world.client(who).events.iter();
    let sdps = events.filter_map(|e| match e {
        EventKind::Offer { sdp, .. } => Some(credentials(sdp)),
        _ => None,
    });
    sdps.collect()
}

#[test]
fn an_ice_restart_of_the_publisher_loses_nothing() {
    let mut world = World::with_shard(61);
    let [a, b] = pair(&mut world);
    for _ in 0..3 {
        let reference = world
            .with(a, |c, now| c.restart_publish(now))
            .expect("an offer");
        world.answer_to(a, reference).expect("accepted");
        let back = world.run_until(SOON, |w| w.client(a).is_publishing());
        assert!(back, "no path after the restart");
        world.run_for(Duration::from_secs(1));
    }
    let answers = answers(&world, a);
    assert_eq!(answers.len(), 4);
    for pair in answers.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "the ufrag must change (RFC 8445 §9)");
        assert_ne!(pair[0].1, pair[1].1, "the password must change");
    }
    world.stop_media();
    world.assert_complete(b, a, 0, 200);
    world.assert_complete(b, a, 1, 200);
    world.assert_sound();
}

#[test]
fn an_ice_restart_of_the_subscriber_loses_nothing() {
    let mut world = World::with_shard(62);
    let [a, b] = pair(&mut world);
    for _ in 0..3 {
        world.ask(b, Action::RestartIce).expect("subscribed");
        world.run_for(Duration::from_millis(100));
        let back = world.run_until(SOON, |w| w.client(b).is_subscribing());
        assert!(back, "no path after the restart");
        world.run_for(Duration::from_secs(1));
    }
    let mut offers = offers(&world, b);
    offers.dedup();
    assert_eq!(
        offers.len(),
        4,
        "each restart has its own credentials: {offers:?}"
    );
    world.stop_media();
    world.assert_complete(b, a, 0, 200);
    world.assert_complete(b, a, 1, 200);
    world.assert_sound();
}

#[test]
fn credentials_name_their_transport_also_after_a_restart() {
    // The engine makes up credentials of its own at a restart, from a generator that can be guessed
    // and without the worker and the transport in them: none of those may ever be used.
    let mut world = World::with_shard(63);
    let [a, b] = pair(&mut world);
    let reference = world
        .with(a, |c, now| c.restart_publish(now))
        .expect("an offer");
    world.answer_to(a, reference).expect("accepted");
    world.ask(b, Action::RestartIce).expect("subscribed");
    world.run_for(Duration::from_secs(1));
    for list in [answers(&world, a), offers(&world, b)] {
        let first = &list[0].0;
        for (ufrag, password) in &list {
            assert_eq!(ufrag.len(), first.len());
            assert!(
                password.len() >= 22,
                "RFC 8839 §5.4: at least 22 characters"
            );
            // Worker, slot and generation come first; the rest is random.
            assert_eq!(ufrag[..10], first[..10], "another transport is named");
        }
    }
}

fn elsewhere(address: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port + address.port())
}

#[test]
fn a_publisher_behind_a_new_address_is_heard_again() {
    let mut world = World::with_shard(64);
    let [a, b] = pair(&mut world);
    for round in 0..3 {
        let before = world.received(b, a, 0);
        let inside = world.client(a).config.publish_address;
        world.rebind(inside, elsewhere(inside, 1_000 + round));
        // The client knows nothing of it: its next check of the path is what the router learns from.
        let heard = world.run_until(Duration::from_secs(10), |w| {
            w.received(b, a, 0) > before + 5
        });
        assert!(heard, "round {round}: not heard from the new address");
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(world.ledger.violations, Vec::<String>::new());
    assert_eq!(world.client(b).violations, Vec::<String>::new());
}

#[test]
fn a_subscriber_behind_a_new_address_is_served_again_and_the_old_one_is_not() {
    let mut world = World::with_shard(65);
    let [a, b] = pair(&mut world);
    let inside = world.client(b).config.subscribe_address;
    let old = world.outside_of(inside);
    let new = elsewhere(inside, 2_000);
    world.rebind(inside, new);
    let before = world.received(b, a, 0);
    let served = world.run_until(Duration::from_secs(6), |w| w.received(b, a, 0) > before + 5);
    assert!(served, "not served at the new address");
    // Nothing went there before it proved to want it: the ledger checks each datagram.
    assert_eq!(world.ledger.violations, Vec::<String>::new());
    world.run_for(Duration::from_secs(1));
    let at_old = world.ledger.account(old).received;
    world.run_for(Duration::from_secs(3));
    assert_eq!(
        world.ledger.account(old).received,
        at_old,
        "the old address still gets media"
    );
    assert_eq!(world.client(b).violations, Vec::<String>::new());
}

#[test]
fn a_client_that_falls_silent_gets_no_media_for_long() {
    let mut world = World::with_shard(66);
    let [a, b] = pair(&mut world);
    let address = world.outside_of(world.client(b).config.subscribe_address);
    // Its packets do not arrive any more; the way to it still works.
    world.links(b).0.cut = true;
    let told = world.run_until(Duration::from_secs(40), |w| {
        w.client(b).events.iter().any(|e| {
            matches!(
                e,
                EventKind::TransportState(
                    Direction::Subscribe,
                    TransportState::Disconnected | TransportState::Failed
                )
            )
        })
    });
    assert!(told, "silence of 40 s goes unnoticed");
    world.tap = Some(Vec::new());
    world.run_for(Duration::from_secs(5));
    let media = |world: &World| {
        let tap = world.tap.iter().flatten();
        tap.filter(|s| !s.inward && s.outside == address && forge::kind(&s.contents) == Kind::Rtp)
            .count()
    };
    assert_eq!(media(&world), 0, "media to somebody who is not there");
    // RFC 7675 §5.1: nothing at all is sent without consent younger than 30 s.
    world.run_for(Duration::from_secs(20));
    let before = world.ledger.account(address).received_datagrams;
    world.run_for(Duration::from_secs(5));
    let after = world.ledger.account(address).received_datagrams;
    assert_eq!(after, before, "datagrams to somebody who is not there");
    assert_eq!(media(&world), 0);

    // The others do not notice, and it may come back.
    let c = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(c, a)));
    assert_eq!(world.ledger.violations, Vec::<String>::new());
}

#[test]
fn a_path_that_was_cut_for_some_seconds_comes_back_by_itself() {
    let mut world = World::with_shard(67);
    let [a, b] = pair(&mut world);
    for who in [a, b] {
        let (up, down) = world.links(who);
        up.cut = true;
        down.cut = true;
        world.run_for(Duration::from_secs(5));
        let before = world.received(b, a, 1);
        let (up, down) = world.links(who);
        up.cut = false;
        down.cut = false;
        let back = world.run_until(SOON, |w| w.received(b, a, 1) > before + 10);
        assert!(back, "{who:?} does not come back");
    }
}
