//! Bounds and faults: what is too much is refused, what breaks costs only itself.

use std::time::Duration;

use rillway_core::api::{Action, Direction, EventKind, RequestError, TransportState};
use rillway_core::limits::Limits;
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

/// A room that must not notice anything.
fn bystanders(world: &mut World) -> [Who; 2] {
    let a = world.join("bystanders", vec![TrackSpec::audio(), TrackSpec::video(2)]);
    let b = world.join("bystanders", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(b, a)));
    [a, b]
}

fn assert_unmoved(world: &mut World, [a, b]: [Who; 2]) {
    world.run_for(Duration::from_secs(1));
    world.stop_media();
    world.assert_complete(b, a, 0, 200);
    world.assert_complete(b, a, 1, 200);
}

fn offer_of(
    world: &mut World,
    change: impl Fn(String) -> String + Send + 'static,
) -> Result<(), RequestError> {
    let who = world.add_client("r", |config| {
        config.tracks = vec![TrackSpec::audio(), TrackSpec::video(1)];
        config.auto_publish = false;
    });
    world.with(who, |c, _| {
        c.sdp_filter = Some(Box::new(move |_, sdp| change(sdp)));
        c.join();
    });
    assert!(world.run_until(SOON, |w| w.client(who).me.is_some()));
    let reference = world.with(who, |c, now| c.publish(now)).expect("an offer");
    let result = world.answer_to(who, reference);
    world.with(who, |c, _| c.leave());
    world.run_for(Duration::from_millis(100));
    result
}

#[test]
fn a_description_above_a_bound_is_refused() {
    let mut world = World::with_shard(71);
    let others = bystanders(&mut world);
    assert_eq!(
        offer_of(&mut world, |sdp| sdp),
        Ok(()),
        "the offer itself is fine"
    );
    let limit = Limits::default().sdp_bytes as usize;
    let refused = |result: Result<(), RequestError>, what: &str| {
        assert!(
            matches!(
                result,
                Err(RequestError::Limit(_) | RequestError::Invalid(_))
            ),
            "{what}: {result:?}"
        );
    };
    let long = offer_of(&mut world, move |sdp| {
        let line = format!("a=x:{}\r\n", "y".repeat(1_000));
        sdp + &line.repeat(limit / line.len() + 1)
    });
    assert!(
        matches!(long, Err(RequestError::Limit(_))),
        "SDP above its bound: {long:?}"
    );
    let line = offer_of(&mut world, |sdp| {
        sdp + &format!("a=x:{}\r\n", "y".repeat(8_000))
    });
    refused(line, "a line of 8,000 bytes");
    let candidates = offer_of(&mut world, |sdp| {
        let lines: String = (0..200)
            .map(|n| {
                format!(
                    "a=candidate:{n} 1 udp 2130706175 10.9.{n}.1 {} typ host\r\n",
                    1_000 + n
                )
            })
            .collect();
        sdp + &lines
    });
    refused(candidates, "200 candidates");
    let sections = offer_of(&mut world, |sdp| {
        let start = sdp.find("m=video").expect("a video section");
        let section = sdp[start..].to_owned();
        (0..100).fold(sdp, |sdp, _| sdp + &section)
    });
    refused(sections, "100 sections");
    assert_unmoved(&mut world, others);
    assert_eq!(world.stats(0).participants, 2);
}

#[test]
fn trickled_candidates_are_bounded_and_not_sent_to() {
    let mut world = World::with_shard(72);
    let [a, b] = bystanders(&mut world);
    for n in 0..2_000_u32 {
        let ip = std::net::Ipv4Addr::from(0xc633_6400 + n);
        let line = format!("candidate:{n} 1 udp 2130706175 {ip} 9 typ host generation 0 ufrag x");
        world.with(a, |c, _| {
            c.request(Action::AddCandidate(Direction::Publish, line))
        });
    }
    for line in [
        "",
        "candidate:",
        "nonsense",
        "candidate:1 1 tcp 1 host.local 9 typ host tcptype active",
        "candidate:1 1 udp 1 0af3.local 9 typ host",
    ] {
        world.with(b, |c, _| {
            c.request(Action::AddCandidate(Direction::Subscribe, line.to_owned()))
        });
    }
    world.run_for(Duration::from_secs(5));
    // An ICE-lite agent sends no checks, least of all to addresses a client made up.
    world.assert_sound();
    assert_unmoved(&mut world, [a, b]);
}

#[test]
fn tracks_above_the_bound_are_refused() {
    let mut world = World::new(73);
    world.add_shard(Limits {
        tracks_per_participant: 3,
        ..Limits::default()
    });
    let a = world.join("r", vec![TrackSpec::audio(); 3]);
    assert!(world.run_until(SOON, |w| w.client(a).is_publishing()));
    let reference = world
        .with(a, |c, now| c.add_track(now, TrackSpec::audio()))
        .expect("an offer");
    let result = world.answer_to(a, reference);
    assert!(matches!(result, Err(RequestError::Limit(_))), "{result:?}");
    assert_eq!(world.stats(0).tracks, 3);
}

#[test]
fn subscriptions_above_the_bound_are_refused() {
    let mut world = World::new(74);
    world.add_shard(Limits {
        subscriptions_per_participant: 2,
        ..Limits::default()
    });
    let a = world.join("r", vec![TrackSpec::audio(); 4]);
    assert!(world.run_until(SOON, |w| w.client(a).is_publishing()));
    let b = world.join_with("r", |config| config.auto_subscribe = false);
    assert!(world.run_until(SOON, |w| w.client(b).me.is_some()));
    for index in 0..4 {
        let track = world.track(a, index);
        let result = world.ask(b, Action::Subscribe(track));
        assert_eq!(result.is_ok(), index < 2, "{index}: {result:?}");
    }
    assert!(world.run_until(SOON, |w| w.received(b, a, 0) > 0 && w.received(b, a, 1) > 0));
    assert_eq!(world.stats(0).subscriptions, 2);
    // Room is made by giving one up.
    let (first, last) = (world.track(a, 0), world.track(a, 3));
    world
        .ask(b, Action::Unsubscribe(first))
        .expect("subscribed");
    world
        .ask(b, Action::Subscribe(last))
        .expect("there is room");
    assert!(world.run_until(SOON, |w| w.received(b, a, 3) > 0));
    world.assert_sound();
}

#[test]
fn rooms_and_participants_above_the_bound_are_refused() {
    let mut world = World::new(75);
    world.add_shard(Limits {
        rooms: 2,
        participants_per_room: 3,
        ..Limits::default()
    });
    let joined = |world: &mut World, room: &str| {
        let who = world.join(room, vec![]);
        assert!(world.run_until(SOON, |w| w.client(who).unanswered.is_empty()));
        let ok = world.client(who).me.is_some();
        let refused = matches!(
            world.client(who).failures[..],
            [(_, RequestError::Limit(_))]
        );
        assert!(ok != refused, "{:?}", world.client(who).failures);
        (who, ok)
    };
    let first = joined(&mut world, "one");
    assert!(first.1);
    assert!(joined(&mut world, "one").1);
    assert!(joined(&mut world, "one").1);
    assert!(!joined(&mut world, "one").1, "a fourth participant");
    assert!(joined(&mut world, "two").1);
    assert!(!joined(&mut world, "three").1, "a third room");
    world.with(first.0, |c, _| c.leave());
    world.run_for(Duration::from_millis(100));
    assert!(joined(&mut world, "one").1, "a seat was given up");
}

#[test]
fn a_panic_in_one_transport_costs_one_participant() {
    let mut world = World::with_shard(76);
    let others = bystanders(&mut world);
    for direction in [Direction::Publish, Direction::Subscribe] {
        let room: Vec<_> = (0..3)
            .map(|_| world.join("r", vec![TrackSpec::audio()]))
            .collect();
        let [a, b, victim] = room[..] else {
            unreachable!()
        };
        let all = [
            (a, b),
            (b, a),
            (a, victim),
            (victim, a),
            (b, victim),
            (victim, b),
        ];
        assert!(world.run_until(SOON, |w| all.iter().all(|(to, from)| w.hears(*to, *from))));
        let panics = world.stats(0).transport_panics;
        let gone = world.client(victim).me.expect("joined");
        world.provoke_panic(victim, direction);
        world.run_for(Duration::from_millis(500));
        assert_eq!(world.stats(0).transport_panics, panics + 1);
        let events = &world.client(victim).events;
        assert!(
            events
                .iter()
                .any(|e| matches!(e, EventKind::Removed { .. })),
            "the victim is not told"
        );
        for who in [a, b] {
            let left = world.client(who).events.iter();
            let left = left.filter(|e| matches!(e, EventKind::ParticipantLeft(p) if *p == gone));
            assert_eq!(left.count(), 1);
        }
        world.run_for(Duration::from_secs(1));
        world.stop_media();
        world.assert_complete(a, b, 0, 200);
        world.assert_complete(b, a, 0, 200);
        for who in room {
            world.with(who, |c, _| c.leave());
        }
        world.run_for(Duration::from_millis(200));
        assert_eq!(world.stats(0).participants, 2);
    }
    let states = world.stats(0).transports;
    assert_eq!(states.iter().sum::<u64>(), 2);
    for who in others {
        assert!(
            !world
                .client(who)
                .states
                .values()
                .any(|s| *s == TransportState::Failed)
        );
    }
}
