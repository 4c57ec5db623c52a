use super::*;

#[test]
fn who_is_in_a_room_is_told_and_nobody_else() {
    let mut bench = Bench::new();
    let mut first = grant("room");
    first.identity = "ada".into();
    first.name = Some("Ada".into());
    first.attributes = vec![("colour".into(), "red".into())];
    let alice = bench.join_with(first);
    let (bob, _) = bench.talker("room");
    let carol = bench.join("another");
    let joined = |bench: &Bench, client: usize| {
        let event = bench.clients[client].events[0].clone();
        let EventKind::Joined {
            me,
            participants,
            tracks,
        } = event
        else {
            panic!("joined comes first");
        };
        (me, participants, tracks)
    };
    let (me, participants, tracks) = joined(&bench, alice);
    assert_eq!((participants.len(), tracks.len()), (0, 0));
    let (_, participants, _) = joined(&bench, bob);
    assert_eq!(participants.as_slice(), std::slice::from_ref(&me));
    assert_eq!(me.name.as_deref(), Some("Ada"));
    assert_eq!(me.joined_at_ms, 7);
    let (_, participants, tracks) = joined(&bench, carol);
    assert_eq!((participants.len(), tracks.len()), (0, 0));
    assert_eq!(bench.clients[carol].events.len(), 1);
    let dave = bench.join("room");
    let (_, participants, tracks) = joined(&bench, dave);
    assert_eq!((participants.len(), tracks.len()), (2, 2));
    let bob_id = bench.clients[bob].me();
    let bob_tracks = [bench.clients[bob].track(0), bench.clients[bob].track(1)];
    bench.ok(bob, Action::Leave);
    let ends = [
        EventKind::TrackUnpublished(bob_tracks[0]),
        EventKind::TrackUnpublished(bob_tracks[1]),
        EventKind::ParticipantLeft(bob_id),
    ];
    for client in [alice, dave] {
        let events = &bench.clients[client].events;
        assert_eq!(events[events.len() - 3..], ends);
    }
    assert_eq!(bench.clients[carol].events.len(), 1);
    bench.request(bob, Action::Leave);
    assert_eq!(
        bench.clients[bob].failures(),
        [],
        "leaving twice is no fault"
    );
}

#[test]
fn rooms_with_equal_names_of_everything_share_nothing() {
    let mut bench = Bench::new();
    // The same engine randomness gives both publishers the same SSRCs, mids and ICE names.
    let mut scenes = Vec::new();
    for room in ["a", "b"] {
        fastrand_seed(77);
        let (talker, mids) = bench.talker(room);
        let watcher = bench.join(room);
        let tracks = [
            bench.clients[talker].track(0),
            bench.clients[talker].track(1),
        ];
        fastrand_seed(78);
        bench.watch(watcher, &tracks);
        scenes.push((talker, mids, watcher, tracks));
    }
    assert_eq!(scenes[0].1, scenes[1].1, "equal mids");
    let ssrc = |bench: &mut Bench, scene: usize| {
        let (talker, mids, ..) = &scenes[scene];
        let end = bench.clients[*talker].publish();
        let mut api = end.rtc.direct_api();
        *api.stream_tx_by_mid(mids[1], None).unwrap().ssrc()
    };
    assert_eq!(ssrc(&mut bench, 0), ssrc(&mut bench, 1), "equal SSRCs");
    // Tracks of the other room cannot be asked for, nor seen.
    for (own, other) in [(0, 1), (1, 0)] {
        let watcher = scenes[own].2;
        for track in scenes[other].3 {
            let absent = RequestError::NotFound("track".into());
            assert_eq!(bench.refused(watcher, Action::Subscribe(track)), absent);
            assert_eq!(bench.refused(watcher, Action::Unsubscribe(track)), absent);
            assert_eq!(bench.refused(watcher, Action::Mute(track, true)), absent);
            assert_eq!(bench.refused(watcher, Action::Unpublish(track)), absent);
            let wish = Wish {
                track,
                width: 0,
                height: 0,
                fps: 0,
                priority: 0,
                paused: false,
            };
            assert_eq!(bench.refused(watcher, Action::Wish(wish)), absent);
        }
    }
    let mut feeds: Vec<(Feed, Feed)> = scenes
        .iter()
        .map(|scene| (Feed::audio(scene.1[0]), Feed::video(scene.1[1], None)))
        .collect();
    for frame in 0..30 {
        bench.run(FRAME);
        for (room, (audio, video)) in feeds.iter_mut().enumerate() {
            let talker = scenes[room].0;
            bench.send(talker, &audio.next(false, 10 + room as u8));
            bench.send(talker, &video.next(frame == 0, 20 + room as u8));
        }
    }
    for room in 0..2_u8 {
        let watcher = scenes[usize::from(room)].2;
        for (tag, expected) in [(10, 1 - room), (11, room), (20, 1 - room), (21, room)] {
            assert_eq!(bench.count(watcher, tag), 30 * usize::from(expected));
        }
        for event in &bench.clients[watcher].events {
            let EventKind::TrackPublished(info) = event else {
                continue;
            };
            assert_eq!(
                Some(info.owner),
                Some(bench.clients[scenes[usize::from(room)].0].me())
            );
        }
    }
}

#[test]
fn a_panic_in_one_transport_costs_one_participant() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    let carol = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    bench.watch(carol, &[track]);
    let bob_id = bench.clients[bob].me();
    let mut feed = Feed::audio(mids[0]);
    bench.send(alice, &feed.next(false, 1));
    bench.shard.inject_panic(bob_id, Direction::Subscribe);
    for _ in 0..20 {
        bench.run(Duration::from_millis(20));
        bench.send(alice, &feed.next(false, 2));
    }
    assert_eq!(bench.shard.stats().transport_panics, 1);
    let removed = bench.clients[bob].events.last().unwrap();
    assert!(matches!(removed, EventKind::Removed { .. }), "{removed:?}");
    assert!(
        bench.clients[carol]
            .events
            .contains(&EventKind::ParticipantLeft(bob_id))
    );
    assert_eq!(bench.count(carol, 2), 20, "the others lose nothing");
    assert_eq!(bench.shard.table_sizes().participants, 2);
    let gone = RequestError::WrongState("not joined".into());
    assert_eq!(bench.refused(bob, Action::Subscribe(track)), gone);
    // A publisher's, in the middle of its packets.
    bench
        .shard
        .inject_panic(bench.clients[alice].me(), Direction::Publish);
    bench.send(alice, &feed.next(false, 3));
    assert_eq!(bench.shard.stats().transport_panics, 2);
    bench.ok(carol, Action::Leave);
    assert_eq!(bench.shard.table_sizes(), TableSizes::default());
}
