//! Clients that offer to receive (WHEP).

use super::*;

use str0m::change::SdpAnswer;
use str0m::media::{Direction as EngineDirection, MediaKind as Kind, Mid};

/// Has a client offer to receive these kinds; the router's answer is applied. Returns the mids.
fn offer(
    bench: &mut Bench,
    client: usize,
    kinds: &[Kind],
    edit: &dyn Fn(String) -> String,
) -> Vec<Mid> {
    if bench.clients[client].subscribe.is_none() {
        let end = bench.end();
        bench.clients[client].subscribe = Some(end);
    }
    let mut api = bench.clients[client].subscribe().rtc.sdp_api();
    let mids = kinds
        .iter()
        .map(|kind| api.add_media(*kind, EngineDirection::RecvOnly, None, None, None))
        .collect();
    let (offer, pending) = api.apply().expect("an offer");
    let sdp = edit(offer.to_sdp_string());
    bench.ignore_answers = true;
    bench.ok(client, Action::AcceptReceivingOffer { sdp });
    bench.ignore_answers = false;
    let answer = SdpAnswer::from_sdp_string(&last_answer(bench, client)).unwrap();
    let now = bench.now;
    let end = bench.clients[client].subscribe();
    end.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    end.tick_at(now);
    mids
}

fn unchanged(sdp: String) -> String {
    sdp
}

fn last_answer(bench: &Bench, client: usize) -> String {
    let answer = bench.clients[client]
        .events
        .iter()
        .rev()
        .find_map(|event| match event {
            EventKind::Answer { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
    answer.expect("an answer")
}

fn ufrag_of(sdp: &str) -> &str {
    sdp.lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"))
        .unwrap()
}

/// A viewer of a talker in a room: the talker's index and mids, the viewer's index and mids.
fn viewer(bench: &mut Bench) -> (usize, Vec<Mid>, usize, Vec<Mid>) {
    let (alice, sent) = bench.talker("room");
    let bob = bench.join("room");
    let received = offer(bench, bob, &[Kind::Audio, Kind::Video], &unchanged);
    for track in tracks(bench, alice) {
        bench.ok(bob, Action::Subscribe(track));
    }
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[bob].subscribe().connected);
    (alice, sent, bob, received)
}

fn tracks(bench: &Bench, client: usize) -> [TrackId; 2] {
    [
        bench.clients[client].track(0),
        bench.clients[client].track(1),
    ]
}

/// The sender speaks and shows for 40 frames, marked with `tag`; the first is a keyframe.
fn perform(bench: &mut Bench, client: usize, feeds: &mut [Feed; 2], tag: u8) {
    for frame in 0..40 {
        bench.run(FRAME);
        for feed in &mut *feeds {
            let packet = feed.next(frame == 0, tag);
            bench.send(client, &packet);
        }
    }
}

fn feeds(mids: &[Mid]) -> [Feed; 2] {
    [Feed::audio(mids[0]), Feed::video(mids[1], None)]
}

fn assert_no_offer(bench: &Bench, client: usize) {
    let mut events = bench.clients[client].events.iter();
    assert!(
        !events.any(|event| matches!(event, EventKind::Offer { .. })),
        "the router offers nothing where the client does"
    );
}

#[test]
fn a_viewer_gets_what_it_subscribes_to_in_the_sections_it_offered() {
    let mut bench = Bench::new();
    let (alice, sent, bob, received) = viewer(&mut bench);
    let answer = last_answer(&bench, bob);
    assert_eq!(answer.matches("a=sendonly\r\n").count(), 2, "{answer}");
    assert!(
        answer.contains("a=candidate:") && answer.contains("a=ice-lite"),
        "{answer}"
    );
    let streams: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("a=msid:")?.split(' ').next())
        .collect();
    assert!(streams.len() == 2 && streams[0] == streams[1], "{answer}");

    perform(&mut bench, alice, &mut feeds(&sent), 1);
    assert_eq!(bench.count(bob, 1), 80);
    for mid in received {
        bench.assert_continuous(bob, mid);
    }
    assert_no_offer(&bench, bob);
    assert_eq!(
        bench.clients[bob].states(Direction::Subscribe).last(),
        Some(&TransportState::Connected)
    );
    bench.ok(bob, Action::Leave);
    assert_eq!(bench.shard.stats().subscriptions, 0);
}

#[test]
fn a_section_serves_one_track_after_the_other_without_a_word() {
    let mut bench = Bench::new();
    let (alice, sent, bob, received) = viewer(&mut bench);
    let (carol, others) = bench.talker("room");
    perform(&mut bench, alice, &mut feeds(&sent), 1);
    let next = tracks(&bench, carol);
    for track in next {
        let refused = bench.refused(bob, Action::Subscribe(track));
        assert!(matches!(refused, RequestError::WrongState(_)), "{refused}");
    }
    assert_eq!(
        bench.shard.stats().subscriptions,
        2,
        "a refusal leaves nothing"
    );
    // One publisher goes, another takes its place: the same streams go on.
    bench.ok(alice, Action::CloseTransport(Direction::Publish));
    for track in next {
        bench.ok(bob, Action::Subscribe(track));
    }
    perform(&mut bench, carol, &mut feeds(&others), 2);
    assert_eq!((bench.count(bob, 1), bench.count(bob, 2)), (80, 80));
    for mid in received {
        bench.assert_continuous(bob, mid);
    }
    assert_no_offer(&bench, bob);
}

#[test]
fn a_track_in_a_codec_that_was_not_offered_is_refused() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let bob = bench.join("room");
    let without = |sdp: String| sdp.replace("VP8/90000", "VP7/90000");
    offer(&mut bench, bob, &[Kind::Audio, Kind::Video], &without);
    let [audio, video] = tracks(&bench, alice);
    bench.ok(bob, Action::Subscribe(audio));
    let refused = bench.refused(bob, Action::Subscribe(video));
    let RequestError::Invalid(text) = refused else {
        panic!("{refused}");
    };
    assert!(text.to_lowercase().contains("vp8"), "{text}");
    assert_eq!(bench.shard.stats().subscriptions, 1);
}

#[test]
fn the_viewer_restarts_ice_by_its_next_offer() {
    let mut bench = Bench::new();
    let (alice, sent, bob, received) = viewer(&mut bench);
    let mut feeds = feeds(&sent);
    perform(&mut bench, alice, &mut feeds, 1);
    let refused = bench.refused(bob, Action::RestartIce);
    assert!(matches!(refused, RequestError::WrongState(_)), "{refused}");
    let before = ufrag_of(&last_answer(&bench, bob)).to_owned();
    let address = "10.0.9.9:6000".parse().unwrap();
    bench.clients[bob].subscribe().move_to(address);
    restart(&mut bench, bob);
    assert_ne!(ufrag_of(&last_answer(&bench, bob)), before);
    bench.run(Duration::from_secs(1));
    perform(&mut bench, alice, &mut feeds, 2);
    assert_eq!((bench.count(bob, 1), bench.count(bob, 2)), (80, 80));
    for mid in received {
        bench.assert_continuous(bob, mid);
    }
    assert_no_offer(&bench, bob);
}

/// An offer that changes nothing but the ICE credentials.
fn restart(bench: &mut Bench, client: usize) {
    let mut api = bench.clients[client].subscribe().rtc.sdp_api();
    api.ice_restart(true);
    let (offer, pending) = api.apply().expect("an offer");
    let sdp = offer.to_sdp_string();
    bench.ignore_answers = true;
    bench.ok(client, Action::AcceptReceivingOffer { sdp });
    bench.ignore_answers = false;
    let answer = SdpAnswer::from_sdp_string(&last_answer(bench, client)).unwrap();
    let now = bench.now;
    let end = bench.clients[client].subscribe();
    end.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    end.tick_at(now);
}

#[test]
fn another_connection_object_takes_the_tracks_along() {
    let mut bench = Bench::new();
    let (alice, sent, bob, _) = viewer(&mut bench);
    let mut feeds = feeds(&sent);
    perform(&mut bench, alice, &mut feeds, 1);
    bench.clients[bob].subscribe = None;
    offer(&mut bench, bob, &[Kind::Audio, Kind::Video], &unchanged);
    bench.run(Duration::from_secs(1));
    perform(&mut bench, alice, &mut feeds, 2);
    assert_eq!(bench.count(bob, 2), 80);
    // With fewer sections, what finds none is no longer received.
    bench.clients[bob].subscribe = None;
    offer(&mut bench, bob, &[Kind::Audio], &unchanged);
    assert_eq!(bench.shard.stats().subscriptions, 1);
    assert_no_offer(&bench, bob);
}

#[test]
fn a_client_offers_in_place_of_the_router() {
    let mut bench = Bench::new();
    let (alice, sent) = bench.talker("room");
    let bob = bench.join("room");
    let tracks = tracks(&bench, alice);
    bench.watch(bob, &tracks);
    let made = |bench: &Bench| {
        let events = bench.clients[bob].events.iter();
        events
            .filter(|e| matches!(e, EventKind::Offer { .. }))
            .count()
    };
    let before = made(&bench);
    bench.clients[bob].subscribe = None;
    offer(&mut bench, bob, &[Kind::Audio, Kind::Video], &unchanged);
    bench.run(Duration::from_secs(1));
    perform(&mut bench, alice, &mut feeds(&sent), 1);
    assert_eq!(bench.count(bob, 1), 80);
    assert_eq!(made(&bench), before);
}

#[test]
fn receiving_offers_that_cannot_be_are_refused_before_anything_changes() {
    let mut bench = Bench::new();
    let mut mute = grant("room");
    mute.subscribe = false;
    let mallory = bench.join_with(mute);
    let bob = bench.join("room");
    let mut end = bench.end();
    let mut api = end.rtc.sdp_api();
    api.add_media(Kind::Audio, EngineDirection::RecvOnly, None, None, None);
    let good = api.apply().unwrap().0.to_sdp_string();
    let ask = |sdp: &str| Action::AcceptReceivingOffer { sdp: sdp.into() };
    let forbidden = bench.refused(mallory, ask(&good));
    assert!(
        matches!(forbidden, RequestError::Forbidden(_)),
        "{forbidden}"
    );
    for bad in [
        good.replace("a=recvonly", "a=sendonly"),
        good.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
        "v=0\r\n".to_owned(),
        String::new(),
    ] {
        let refused = bench.refused(bob, ask(&bad));
        assert!(matches!(refused, RequestError::Invalid(_)), "{refused}");
    }
    let long = bench.refused(bob, ask(&"x".repeat(1 << 20)));
    assert!(matches!(long, RequestError::Limit(_)), "{long}");
    assert_eq!(bench.shard.transport_keys().len(), 0);

    bench.ignore_answers = true;
    bench.ok(bob, ask(&good));
    let other = good.replace("m=audio", "m=video");
    let refused = bench.refused(bob, ask(&other));
    assert!(matches!(refused, RequestError::Invalid(_)), "{refused}");
    assert_eq!(bench.shard.transport_keys().len(), 1, "the first one stays");
}

#[test]
fn sections_that_stop_receiving_end_their_subscriptions() {
    let mut bench = Bench::new();
    let (_, _, bob, received) = viewer(&mut bench);
    let mut api = bench.clients[bob].subscribe().rtc.sdp_api();
    api.set_direction(received[1], EngineDirection::Inactive);
    let (offer, _) = api.apply().expect("an offer");
    let sdp = offer.to_sdp_string();
    bench.ignore_answers = true;
    bench.ok(bob, Action::AcceptReceivingOffer { sdp });
    assert_eq!(bench.shard.stats().subscriptions, 1);
    let tracks: Vec<_> = bench.clients[bob].published();
    assert!(tracks[0].track.is_some() && tracks[1].track.is_none());
}
