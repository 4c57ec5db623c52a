//! Offers and answers over the life of a call.

use std::time::Duration;

use rillway_core::api::{Action, Direction, EventKind, RequestError, Source, TransportState};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

fn pair(world: &mut World) -> [Who; 2] {
    let a = world.join("r", vec![TrackSpec::audio(), TrackSpec::video(2)]);
    let b = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(b, a)));
    [a, b]
}

/// Highest number of m-lines in an offer the client got.
fn sections(world: &World, who: Who) -> usize {
    let offers = world.client(who).events.iter().filter_map(|e| match e {
        EventKind::Offer { sdp, .. } => Some(sdp.matches("\nm=").count()),
        _ => None,
    });
    offers.max().unwrap_or(0)
}

#[test]
fn a_second_offer_adds_a_track_and_leaves_the_others_alone() {
    let mut world = World::with_shard(21);
    let [a, b] = pair(&mut world);
    let screen = TrackSpec::video(3).with_source(Source::Screen);
    let reference = world
        .with(a, |c, now| c.add_track(now, screen))
        .expect("an offer");
    world.answer_to(a, reference).expect("accepted");
    assert!(world.run_until(SOON, |w| w.received(b, a, 2) > 0));
    let info = &world.client(b).tracks[&world.track(a, 2)];
    assert_eq!(info.source, Source::Screen);
    world.run_for(Duration::from_secs(1));
    world.stop_media();
    for index in 0..3 {
        world.assert_complete(b, a, index, 200);
    }
    world.assert_sound();
}

#[test]
fn unsubscribing_stops_a_track_and_its_section_is_used_again() {
    let mut world = World::with_shard(22);
    let [a, b] = pair(&mut world);
    let before = sections(&world, b);
    assert_eq!(before, 2);
    let video = world.track(a, 1);
    for round in 0..5 {
        world
            .ask(b, Action::Unsubscribe(video))
            .expect("subscribed");
        world.run_for(Duration::from_millis(200));
        let stopped = world.received(b, a, 1);
        let audio = world.received(b, a, 0);
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.received(b, a, 1), stopped, "round {round}");
        assert!(world.received(b, a, 0) >= audio + 49, "audio must go on");
        let subscriptions = world.stats(0).subscriptions;
        assert_eq!(subscriptions, 1);

        world
            .ask(b, Action::Subscribe(video))
            .expect("a track of the room");
        let resumed = world.run_until(SOON, |w| w.received(b, a, 1) > stopped + 10);
        assert!(resumed, "round {round}");
    }
    assert_eq!(sections(&world, b), before, "sections grow");
    world.assert_sound();
}

#[test]
fn a_section_left_by_one_track_carries_another() {
    let mut world = World::with_shard(23);
    let [a, b] = pair(&mut world);
    for _ in 0..4 {
        let c = world.join("r", vec![TrackSpec::audio(), TrackSpec::video(1)]);
        assert!(world.run_until(SOON, |w| w.hears(b, c) && w.hears(b, a)));
        world.run_for(Duration::from_millis(300));
        world.with(c, |client, _| client.leave());
        world.run_for(Duration::from_millis(300));
    }
    assert_eq!(
        sections(&world, b),
        4,
        "sections grow with everybody who ever came"
    );
    world.stop_media();
    world.assert_complete(b, a, 0, 200);
    world.assert_complete(b, a, 1, 200);
    world.assert_sound();
}

#[test]
fn subscribing_twice_or_to_oneself_gives_nothing_twice() {
    let mut world = World::with_shard(24);
    let [a, b] = pair(&mut world);
    let video = world.track(a, 1);
    let _ = world.ask(b, Action::Subscribe(video));
    let _ = world.ask(a, Action::Subscribe(video));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.stats(0).subscriptions, 2);
    assert!(world.client(a).inbound.is_empty());
    world.stop_media();
    world.assert_complete(b, a, 1, 200);
    world.assert_sound();
}

#[test]
fn muted_media_is_not_forwarded_even_if_it_is_sent() {
    let mut world = World::with_shard(25);
    let [a, b] = pair(&mut world);
    for index in 0..2 {
        let track = world.track(a, index);
        world.ask(a, Action::Mute(track, true)).expect("own track");
        world.run_for(Duration::from_millis(50));
        assert!(world.client(b).tracks[&track].muted);
        let muted = world.received(b, a, index);
        let sent = world.client(a).published[index].layers[0].sequence;
        world.run_for(Duration::from_secs(1));
        let still_sent = world.client(a).published[index].layers[0].sequence;
        assert!(still_sent > sent + 40, "the client keeps sending");
        assert_eq!(world.received(b, a, index), muted);

        world.ask(a, Action::Mute(track, false)).expect("own track");
        let heard = world.run_until(SOON, |w| w.received(b, a, index) > muted + 20);
        assert!(heard, "unmuted, not heard");
        assert!(!world.client(b).tracks[&track].muted);
        let own = world.client(a).events.iter();
        let told = own.filter(|e| matches!(e, EventKind::TrackMuted(t, _) if *t == track));
        assert_eq!(told.count(), 2, "the publisher is told too");
    }
    world.stop_media();
    for index in 0..2 {
        let gaps = world.inbound(b, a, index).expect("subscribed").rtp_gaps();
        assert_eq!(gaps, 0, "a pause is no gap in sequence numbers");
    }
    world.assert_sound();
}

#[test]
fn unpublishing_ends_a_track_for_everybody() {
    let mut world = World::with_shard(26);
    let [a, b] = pair(&mut world);
    let video = world.track(a, 1);
    world.ask(a, Action::Unpublish(video)).expect("own track");
    world.run_for(Duration::from_millis(100));
    assert!(!world.client(b).tracks.contains_key(&video));
    let before = world.received(b, a, 1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.received(b, a, 1), before);
    assert_eq!(world.stats(0).tracks, 1);
    assert_eq!(world.stats(0).subscriptions, 1);
    let again = world.ask(a, Action::Unpublish(video));
    assert!(matches!(again, Err(RequestError::NotFound(_))), "{again:?}");
    world.assert_sound();
}

#[test]
fn closing_a_transport_frees_it_and_a_new_one_can_be_negotiated() {
    let mut world = World::with_shard(27);
    let [a, b] = pair(&mut world);
    assert_eq!(world.stats(0).transports.iter().sum::<u64>(), 2);

    world
        .ask(a, Action::CloseTransport(Direction::Publish))
        .expect("open");
    world.run_for(Duration::from_millis(200));
    assert!(
        world.client(b).tracks.is_empty(),
        "tracks end with their transport"
    );
    assert_eq!(world.stats(0).tracks, 0);
    assert_eq!(
        world.client(a).states[&Direction::Publish],
        TransportState::Closed
    );
    world.with(a, |c, now| c.publish(now)).expect("an offer");
    assert!(world.run_until(SOON, |w| w.hears(b, a)));

    world
        .ask(b, Action::CloseTransport(Direction::Subscribe))
        .expect("open");
    world.run_for(Duration::from_millis(200));
    assert!(world.client(b).subscriber.is_none());
    let stopped = world.received(b, a, 1);
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.received(b, a, 1), stopped);
    let video = world.track(a, 1);
    let _ = world.ask(b, Action::Subscribe(video));
    let resumed = world.run_until(SOON, |w| w.received(b, a, 1) > stopped);
    assert!(
        resumed,
        "a closed subscribing transport can be opened again"
    );
}

#[test]
fn an_offer_is_outstanding_until_it_is_answered() {
    let mut world = World::with_shard(28);
    let a = world.join("r", vec![TrackSpec::audio()]);
    assert!(world.run_until(SOON, |w| w.client(a).is_publishing()));
    let b = world.join("r", vec![]);
    world.with(b, |c, _| c.hold_offers = true);
    assert!(world.run_until(SOON, |w| !w.client(b).held_offers.is_empty()));
    let c = world.join("r", vec![TrackSpec::video(2)]);
    assert!(world.run_until(SOON, |w| w.client(c).is_publishing()));
    world.run_for(Duration::from_secs(1));
    assert_eq!(
        world.client(b).held_offers.len(),
        1,
        "a second offer before the answer"
    );

    let wrong = Action::AcceptAnswer {
        offer_id: 999,
        sdp: String::new(),
    };
    let refused = world.ask(b, wrong);
    assert!(
        matches!(
            refused,
            Err(RequestError::WrongState(_) | RequestError::NotFound(_))
        ),
        "{refused:?}"
    );

    world.with(b, |client, now| {
        client.hold_offers = false;
        let (id, sdp, tracks) = client.held_offers.remove(0);
        client.answer_offer(now, id, &sdp, &tracks);
    });
    assert!(world.run_until(SOON, |w| w.hears(b, a) && w.hears(b, c)));
    world.assert_sound();
}

#[test]
fn requests_out_of_place_are_refused_and_change_nothing() {
    let mut world = World::with_shard(29);
    let [a, b] = pair(&mut world);
    let nobody = world.add_client("r", |_| {});
    let track = world.track(a, 0);
    for action in [
        Action::Subscribe(track),
        Action::Mute(track, true),
        Action::RestartIce,
        Action::CloseTransport(Direction::Publish),
        Action::AcceptAnswer {
            offer_id: 1,
            sdp: "v=0\r\n".to_owned(),
        },
        Action::AddCandidate(
            Direction::Publish,
            "candidate:1 1 udp 1 10.9.9.9 9 typ host".to_owned(),
        ),
    ] {
        let text = format!("{action:?}");
        let result = world.ask(nobody, action);
        assert!(result.is_err(), "not joined, yet may {text}");
    }
    let again = world.client(b).config.grant.clone();
    let twice = world.ask(
        b,
        Action::Join {
            grant: again,
            joined_at_ms: 0,
        },
    );
    assert!(
        matches!(twice, Err(RequestError::WrongState(_))),
        "{twice:?}"
    );
    for sdp in [
        "",
        "v=0",
        "not sdp at all",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    ] {
        let offer = Action::AcceptOffer {
            sdp: sdp.to_owned(),
            sources: Vec::new(),
        };
        let result = world.ask(b, offer);
        assert!(
            matches!(result, Err(RequestError::Invalid(_))),
            "{sdp:?}: {result:?}"
        );
    }
    world.run_for(Duration::from_secs(1));
    world.stop_media();
    world.assert_complete(b, a, 0, 200);
    world.assert_complete(b, a, 1, 200);
    world.assert_sound();
}
