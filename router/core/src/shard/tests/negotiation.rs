use super::*;

use str0m::media::{Direction as EngineDirection, MediaKind as Kind};

fn offers(bench: &Bench, client: usize) -> usize {
    let events = bench.clients[client].events.iter();
    events
        .filter(|event| matches!(event, EventKind::Offer { .. }))
        .count()
}

fn subscribe_at_once(bench: &mut Bench, client: usize, tracks: &[TrackId]) {
    for (index, track) in tracks.iter().enumerate() {
        let request = Request {
            client: bench.clients[client].id,
            reference: Reference(90_000 + index as u64),
            action: Action::Subscribe(*track),
        };
        bench.shard.handle_request(bench.now, request);
    }
    bench.settle();
}

#[test]
fn what_changes_in_one_turn_or_during_an_offer_is_coalesced() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let (carol, _) = bench.talker("room");
    let tracks = [
        bench.clients[alice].track(0),
        bench.clients[alice].track(1),
        bench.clients[carol].track(0),
        bench.clients[carol].track(1),
    ];
    let bob = bench.join("room");
    bench.clients[bob].answers = false;
    subscribe_at_once(&mut bench, bob, &tracks[..2]);
    assert_eq!(offers(&bench, bob), 1, "one offer for one turn");
    let (first, sdp, lines) = bench.clients[bob].last_offer();
    let carried: Vec<_> = lines.iter().filter_map(|line| line.track).collect();
    assert_eq!(carried, tracks[..2]);
    assert_eq!(sdp.matches("\r\nm=").count(), 2);
    // While it is outstanding nothing else is offered.
    bench.ok(bob, Action::Subscribe(tracks[2]));
    bench.ok(bob, Action::Subscribe(tracks[3]));
    bench.ok(bob, Action::Unsubscribe(tracks[0]));
    bench.run(Duration::from_secs(5));
    assert_eq!(offers(&bench, bob), 1);
    bench.clients[bob].answers = true;
    bench.answer(bob, first, &sdp);
    bench.settle();
    assert_eq!(offers(&bench, bob), 2, "the rest came in one offer");
    let (second, _, lines) = bench.clients[bob].last_offer();
    assert_eq!(second, first + 1, "ids grow by one");
    let carried: Vec<_> = lines.iter().map(|line| line.track).collect();
    assert_eq!(
        carried,
        [None, Some(tracks[1]), Some(tracks[2]), Some(tracks[3])]
    );
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[bob].subscribe().connected);
}

#[test]
fn an_offer_names_what_its_sections_carry() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let track = bench.clients[alice].track(1);
    let me = bench.clients[alice].me();
    let bob = bench.join("room");
    bench.ok(bob, Action::Subscribe(track));
    let (_, sdp, _) = bench.clients[bob].last_offer();
    let msid = format!("a=msid:{:x} {:x}\r\n", me.0, track.0);
    assert!(sdp.contains(&msid), "{sdp}");
    assert!(sdp.contains("a=sendonly"), "{sdp}");
    assert!(sdp.contains("a=ice-lite"), "{sdp}");
    assert!(sdp.contains("a=setup:actpass"), "{sdp}");
    assert!(sdp.contains(" 10.0.0.1 40000 typ host"), "{sdp}");
}

#[test]
fn answers_that_do_not_fit_are_refused_and_may_be_mended() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let track = bench.clients[alice].track(0);
    let bob = bench.join("room");
    bench.clients[bob].answers = false;
    let answer = |offer_id, sdp: &str| Action::AcceptAnswer {
        offer_id,
        sdp: sdp.into(),
    };
    let none = RequestError::WrongState("no such offer is outstanding".into());
    assert_eq!(bench.refused(bob, answer(1, "v=0")), none);
    bench.ok(bob, Action::Subscribe(track));
    let (id, offer, _) = bench.clients[bob].last_offer();
    assert_eq!(bench.refused(bob, answer(id + 1, "v=0")), none);
    let mut end = bench.end();
    let offer = str0m::change::SdpOffer::from_sdp_string(&offer).unwrap();
    let good = end
        .rtc
        .sdp_api()
        .accept_offer(offer)
        .unwrap()
        .to_sdp_string();
    let mid = good
        .lines()
        .find(|line| line.starts_with("a=mid:"))
        .unwrap();
    for bad in [
        String::new(),
        "v=0\r\n".into(),
        "x".repeat(70_000),
        good.replace(mid, "a=mid:zzz"),
        good.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
        good.replace("a=ice-pwd", "a=ice-nothing"),
        good.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    ] {
        bench.refused(bob, answer(id, &bad));
    }
    bench.clients[bob].subscribe = Some(end);
    bench.ok(bob, answer(id, &good));
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[bob].subscribe().connected);
    assert_eq!(bench.refused(bob, answer(id, &good)), none, "only once");
}

#[test]
fn tracks_come_and_go_by_offers() {
    let mut bench = Bench::new();
    let bob = bench.join("room");
    let (alice, mids) = bench.talker("room");
    let first = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    let screen = Publication::Track(Kind::Video, Source::Screen, &[]);
    bench.publish(alice, &[screen]);
    let lines = bench.clients[alice].published();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[0].track,
        Some(first[0]),
        "known tracks keep their ids"
    );
    let third = lines[2].track.unwrap();
    let infos: Vec<TrackInfo> = bench.clients[bob]
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::TrackPublished(info) => Some(info.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(infos.len(), 3);
    let sources: Vec<Source> = infos.iter().map(|info| info.source).collect();
    assert_eq!(
        sources,
        [Source::Microphone, Source::Camera, Source::Screen]
    );
    let codecs: Vec<&str> = infos.iter().map(|info| info.codec.as_str()).collect();
    assert_eq!(codecs, ["opus", "VP8", "VP8"]);
    assert_eq!(infos[2].id, third);
    // The camera stops.
    let set_direction = |bench: &mut Bench, direction| {
        let end = bench.clients[alice].publish();
        let mut api = end.rtc.sdp_api();
        api.set_direction(mids[1], direction);
        let (offer, pending) = api.apply().unwrap();
        end.pending = Some(pending);
        let sdp = offer.to_sdp_string();
        let sources = vec![(mids[1].to_string(), Source::Camera)];
        bench.ok(alice, Action::AcceptOffer { sdp, sources });
    };
    set_direction(&mut bench, EngineDirection::Inactive);
    let gone = EventKind::TrackUnpublished(first[1]);
    assert!(bench.clients[bob].events.contains(&gone));
    assert_eq!(bench.clients[alice].published()[1].track, None);
    // And starts again: that is another track.
    set_direction(&mut bench, EngineDirection::SendOnly);
    let again = bench.clients[alice].published()[1].track.unwrap();
    assert_ne!(again, first[1], "ids are never reused");
}

#[test]
fn an_unpublished_section_stays_unpublished_until_it_stopped() {
    let mut bench = Bench::new();
    let bob = bench.join("room");
    let (alice, mids) = bench.talker("room");
    let camera = bench.clients[alice].track(1);
    bench.ok(bob, Action::Subscribe(camera));
    bench.run(Duration::from_secs(1));
    assert_eq!(
        bench.refused(bob, Action::Unpublish(camera)),
        RequestError::NotFound("track".into())
    );
    bench.ok(alice, Action::Unpublish(camera));
    let gone = EventKind::TrackUnpublished(camera);
    assert!(bench.clients[bob].events.contains(&gone));
    assert_eq!(bench.shard.table_sizes().subscriptions, 0);
    let (_, _, lines) = bench.clients[bob].last_offer();
    assert_eq!(lines[0].track, None, "its section is idle");
    let mut feed = Feed::video(mids[1], None);
    for _ in 0..10 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(true, 1));
    }
    assert_eq!(bench.shard.stats().rtp_forwarded, 0);
    bench.publish(
        alice,
        &[Publication::Track(Kind::Audio, Source::Other, &[])],
    );
    assert_eq!(bench.clients[alice].published()[1].track, None);
}

#[test]
fn another_connection_object_replaces_the_first() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let bob = bench.join("room");
    let first = bench.clients[alice].track(1);
    bench.watch(bob, &[first]);
    let before = bench.shard.table_sizes();
    bench.clients[alice].publish = None;
    let mids = bench.publish(alice, &[AUDIO, VIDEO]);
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[alice].publish().connected);
    let second = bench.clients[alice].track(1);
    assert_ne!(first, second);
    let after = bench.shard.table_sizes();
    assert_eq!(after.transports, before.transports);
    assert_eq!(after.tracks, before.tracks);
    bench.watch(bob, &[second]);
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..10 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    assert_eq!(bench.count(bob, 1), 10);
}

/// Bounds that a reload changes hold for those who come next, and nobody has to go.
#[test]
fn other_bounds_hold_for_who_comes_next() {
    let narrow = crate::limits::Limits {
        rooms: 1,
        participants_per_room: 2,
        tracks_per_participant: 2,
        ..Default::default()
    };
    let mut bench = Bench::with_limits(narrow);
    bench.talker("room");
    bench.join("room");
    let join = |room: &str| Action::Join {
        grant: grant(room),
        joined_at_ms: 0,
    };
    let joins = |bench: &mut Bench, room: &str, fits: bool| {
        let client = bench.clients.len();
        bench.add_client();
        match fits {
            true => bench.ok(client, join(room)),
            false => assert!(matches!(
                bench.refused(client, join(room)),
                RequestError::Limit(_)
            )),
        }
    };
    joins(&mut bench, "room", false);
    joins(&mut bench, "other", false);
    let wide = crate::limits::Limits {
        rooms: 2,
        participants_per_room: 3,
        ..narrow
    };
    bench.shard.set_limits(bench.now, wide);
    joins(&mut bench, "room", true);
    joins(&mut bench, "other", true);
    let closed = crate::limits::Limits {
        rooms: 1,
        participants_per_room: 1,
        tracks_per_participant: 9,
        ..narrow
    };
    bench.shard.set_limits(bench.now, closed);
    joins(&mut bench, "room", false);
    let sizes = bench.shard.table_sizes();
    assert_eq!(
        (sizes.rooms, sizes.participants),
        (2, 4),
        "nobody has to go"
    );
}

#[test]
fn the_grant_and_the_bounds_are_enforced() {
    let limits = crate::limits::Limits {
        rooms: 2,
        participants_per_room: 3,
        tracks_per_participant: 2,
        subscriptions_per_participant: 1,
        ..Default::default()
    };
    let mut bench = Bench::with_limits(limits);
    let (alice, _) = bench.talker("room");
    let mut narrow = grant("room");
    narrow.publish = vec![Source::Microphone];
    narrow.subscribe = false;
    let bob = bench.join_with(narrow);
    let forbidden = |error| matches!(error, RequestError::Forbidden(_));
    let track = bench.clients[alice].track(0);
    assert!(forbidden(bench.refused(bob, Action::Subscribe(track))));
    // Publishing the camera is refused as a whole.
    let mut end = bench.end();
    let mut api = end.rtc.sdp_api();
    let audio = api.add_media(Kind::Audio, EngineDirection::SendOnly, None, None, None);
    let video = api.add_media(Kind::Video, EngineDirection::SendOnly, None, None, None);
    let (offer, _) = api.apply().unwrap();
    let sdp = offer.to_sdp_string();
    let sources = vec![
        (audio.to_string(), Source::Microphone),
        (video.to_string(), Source::Camera),
    ];
    let refused = bench.refused(bob, Action::AcceptOffer { sdp, sources });
    assert!(forbidden(refused));
    assert_eq!(bench.shard.table_sizes().transports, 1, "nothing changed");
    // Bounds.
    let limit = |error| matches!(error, RequestError::Limit(_));
    let carol = bench.join("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.ok(carol, Action::Subscribe(tracks[0]));
    bench.ok(carol, Action::Subscribe(tracks[0]));
    assert!(limit(bench.refused(carol, Action::Subscribe(tracks[1]))));
    let too_many = [VIDEO, VIDEO, VIDEO];
    let mut end = bench.end();
    let mut api = end.rtc.sdp_api();
    for _ in too_many {
        api.add_media(Kind::Video, EngineDirection::SendOnly, None, None, None);
    }
    let sdp = api.apply().unwrap().0.to_sdp_string();
    let sources = Vec::new();
    assert!(limit(
        bench.refused(carol, Action::AcceptOffer { sdp, sources })
    ));
    let join = |room: &str| Action::Join {
        grant: grant(room),
        joined_at_ms: 0,
    };
    for (room, fits) in [("room", false), ("other", true), ("third", false)] {
        let before = bench.shard.table_sizes();
        let client = bench.clients.len();
        bench.add_client();
        if fits {
            bench.ok(client, join(room));
        } else {
            assert!(limit(bench.refused(client, join(room))));
            assert_eq!(bench.shard.table_sizes(), before);
        }
    }
    let twice = bench.refused(alice, join("room"));
    assert_eq!(twice, RequestError::WrongState("already joined".into()));
}

#[test]
fn every_request_is_answered_once() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let track = bench.clients[alice].track(0);
    let me = bench.clients[alice].me();
    let bob = bench.join("room");
    let wish = Wish {
        track,
        width: 1,
        height: 1,
        fps: 1,
        priority: 0,
        paused: false,
    };
    let sdp = String::new();
    let actions = [
        Action::AcceptOffer {
            sdp: sdp.clone(),
            sources: Vec::new(),
        },
        Action::AcceptAnswer { offer_id: 5, sdp },
        Action::AddCandidate(
            Direction::Subscribe,
            "candidate:1 1 udp 1 1.2.3.4 5 typ host".into(),
        ),
        Action::AddCandidate(Direction::Publish, String::new()),
        Action::AddCandidate(Direction::Publish, "nonsense".into()),
        Action::RestartIce,
        Action::CloseTransport(Direction::Publish),
        Action::Subscribe(track),
        Action::Subscribe(TrackId(12)),
        Action::Wish(wish),
        Action::Unsubscribe(track),
        Action::Unsubscribe(track),
        Action::Mute(track, true),
        Action::Unpublish(track),
        Action::SendData {
            to: vec![me],
            label: "x".into(),
            payload: vec![1],
        },
    ];
    for action in actions {
        let before = bench.clients[bob].events.len();
        let text = format!("{action:?}");
        bench.request(bob, action);
        let answers = bench.clients[bob].events[before..].iter().filter(|event| {
            matches!(
                event,
                EventKind::Done { .. } | EventKind::Failed { .. } | EventKind::Answer { .. }
            )
        });
        // The subscribing side answers offers by itself, which is a request too.
        let offers = bench.clients[bob].events[before..]
            .iter()
            .filter(|event| matches!(event, EventKind::Offer { .. }));
        assert_eq!(answers.count(), 1 + offers.count(), "{text}");
    }
    bench.ok(bob, Action::Leave);
    let gone = RequestError::WrongState("not joined".into());
    assert_eq!(bench.refused(bob, Action::Subscribe(track)), gone);
}

#[test]
fn what_a_client_only_receives_is_not_published() {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let mut end = bench.end();
    let mut api = end.rtc.sdp_api();
    api.add_media(Kind::Audio, EngineDirection::SendRecv, None, None, None);
    api.add_media(Kind::Video, EngineDirection::RecvOnly, None, None, None);
    let (offer, pending) = api.apply().unwrap();
    end.pending = Some(pending);
    bench.clients[alice].publish = Some(end);
    let sdp = offer.to_sdp_string();
    bench.ok(
        alice,
        Action::AcceptOffer {
            sdp,
            sources: Vec::new(),
        },
    );
    let lines = bench.clients[alice].published();
    assert!(lines[0].track.is_some());
    assert!(lines[1].track.is_none());
    let answer = bench.clients[alice].events.iter().find_map(|e| match e {
        EventKind::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    assert!(answer.contains("a=recvonly") && answer.contains("a=inactive"));
    assert!(!answer.contains("a=sendrecv") && !answer.contains("a=sendonly"));
}
