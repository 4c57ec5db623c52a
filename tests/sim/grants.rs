//! The core enforces what the grant says, whatever the client asks.

use std::time::Duration;

use rillway_core::api::{Action, EventKind, RequestError, Source};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::World;
use rillway_tests::world::checks::SOON;

#[test]
fn a_source_that_is_not_granted_is_not_published() {
    let mut world = World::with_shard(31);
    let listener = world.join("r", vec![]);
    let speaker = world.join_with("r", |config| {
        config.tracks = vec![TrackSpec::audio()];
        config.grant.publish = vec![Source::Microphone];
    });
    assert!(world.run_until(SOON, |w| w.hears(listener, speaker)));
    for source in [Source::Camera, Source::Screen, Source::Other] {
        let spec = TrackSpec::video(1).with_source(source);
        let reference = world
            .with(speaker, |c, now| c.add_track(now, spec))
            .expect("an offer");
        let result = world.answer_to(speaker, reference);
        assert!(
            matches!(result, Err(RequestError::Forbidden(_))),
            "{source:?}: {result:?}"
        );
        world.with(speaker, |c, _| {
            c.published.pop();
            c.config.tracks.pop();
        });
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.client(listener).tracks.len(), 1);
    assert_eq!(world.stats(0).tracks, 1);
    world.stop_media();
    world.assert_complete(listener, speaker, 0, 100);
    world.assert_sound();
}

#[test]
fn without_the_right_to_subscribe_nothing_is_received() {
    let mut world = World::with_shard(32);
    let speaker = world.join("r", vec![TrackSpec::audio(), TrackSpec::video(1)]);
    let deaf = world.join_with("r", |config| config.grant.subscribe = false);
    let ok = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(ok, speaker)));
    for index in 0..2 {
        let track = world.track(speaker, index);
        let result = world.ask(deaf, Action::Subscribe(track));
        assert!(
            matches!(result, Err(RequestError::Forbidden(_))),
            "{result:?}"
        );
    }
    world.run_for(Duration::from_secs(1));
    assert!(world.client(deaf).subscriber.is_none());
    assert_eq!(world.stats(0).subscriptions, 2);
    world.assert_sound();
}

#[test]
fn no_more_is_forwarded_than_the_granted_bit_rate() {
    let mut world = World::with_shard(34);
    let listener = world.join("r", vec![]);
    // 25 frames of 6 packets of 1,100 bytes a second: 1.3 Mb/s.
    let greedy = world.join_with("r", |config| {
        config.tracks = vec![TrackSpec::video(6)];
        config.grant.max_publish_bps = Some(400_000);
    });
    let modest = world.join_with("r", |config| {
        config.tracks = vec![TrackSpec::audio()];
        config.grant.max_publish_bps = Some(400_000);
    });
    assert!(world.run_until(SOON, |w| w.hears(listener, greedy)
        && w.hears(listener, modest)));
    let bytes = |w: &World| w.inbound(listener, greedy, 0).map_or(0, |i| i.bytes);
    // The burst is used up. A quarter above the bound is allowed for headers and retransmissions.
    world.run_for(Duration::from_secs(2));
    let before = bytes(&world);
    world.run_for(Duration::from_secs(10));
    let rate = (bytes(&world) - before) * 8 / 10;
    assert!((200_000..=520_000).contains(&rate), "{rate} b/s forwarded");
    world.stop_media();
    world.assert_complete(listener, modest, 0, 50);
}

#[test]
fn without_the_right_to_send_data_none_arrives() {
    let mut world = World::with_shard(33);
    let receiver = world.join_with("r", |config| config.channels = true);
    let mute = world.join_with("r", |config| {
        config.channels = true;
        config.grant.publish_data = false;
    });
    let ok = world.join_with("r", |config| config.channels = true);
    let open = |w: &World| {
        [receiver, ok]
            .iter()
            .all(|who| w.client(*who).is_open("reliable"))
    };
    assert!(world.run_until(SOON, open));
    world.run_for(Duration::from_secs(1));
    for label in ["reliable", "unreliable"] {
        // The channel may or may not open; what counts is what arrives.
        world.with(mute, |c, now| c.send_data(now, label, b"forbidden"));
        assert!(world.with(ok, |c, now| c.send_data(now, label, b"allowed")));
    }
    let action = Action::SendData {
        to: Vec::new(),
        label: "x".to_owned(),
        payload: b"forbidden".to_vec(),
    };
    let result = world.ask(mute, action);
    assert!(
        matches!(result, Err(RequestError::Forbidden(_))),
        "{result:?}"
    );
    world.run_for(Duration::from_secs(1));
    for who in [receiver, ok, mute] {
        let client = world.client(who);
        let forbidden = client.messages.iter().filter(|m| m.payload == b"forbidden");
        assert_eq!(forbidden.count(), 0);
        let data = client
            .events
            .iter()
            .filter(|e| matches!(e, EventKind::Data { .. }));
        assert_eq!(data.count(), 0);
    }
    assert_eq!(world.client(receiver).messages.len(), 2);
}
