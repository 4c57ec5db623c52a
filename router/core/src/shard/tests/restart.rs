use super::*;
use crate::transport::credentials::parse_ufrag;

/// Every credential any engine uses or any SDP shows is one of ours.
fn assert_own_credentials(bench: &mut Bench) {
    for key in bench.shard.transport_keys() {
        let transport = bench.shard.transports.get_mut(key).unwrap();
        let used = transport
            .guard(|rtc| rtc.direct_api().local_ice_credentials())
            .unwrap();
        assert_eq!(&used, transport.credentials());
        let (worker, named) = parse_ufrag(&used.ufrag).expect("a ufrag of ours");
        assert_eq!((worker, named), (WorkerId(3), key));
        assert_eq!(used.pass.len(), 32);
    }
    for client in &bench.clients {
        for event in &client.events {
            let (EventKind::Answer { sdp, .. } | EventKind::Offer { sdp, .. }) = event else {
                continue;
            };
            for line in sdp.lines() {
                let ufrag = line
                    .strip_prefix("a=ice-ufrag:")
                    .or_else(|| line.split_once(" ufrag ").map(|(_, ufrag)| ufrag));
                if let Some(ufrag) = ufrag {
                    assert!(parse_ufrag(ufrag).is_some(), "{line}");
                }
                if let Some(password) = line.strip_prefix("a=ice-pwd:") {
                    assert_eq!(password.len(), 32, "{line}");
                }
            }
        }
    }
}

fn ufrag_of(sdp: &str) -> String {
    let line = sdp
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    line.unwrap().to_owned()
}

fn last_answer(bench: &Bench, client: usize) -> String {
    let answer = bench.clients[client]
        .events
        .iter()
        .rev()
        .find_map(|e| match e {
            EventKind::Answer { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
    answer.unwrap()
}

#[test]
fn a_publisher_restarts_ice_without_losing_a_packet() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    assert_own_credentials(&mut bench);
    let before = ufrag_of(&last_answer(&bench, alice));
    let mut feed = Feed::audio(mids[0]);
    for packet in 0..200 {
        bench.run(Duration::from_millis(20));
        if packet == 50 {
            let end = bench.clients[alice].publish();
            let mut api = end.rtc.sdp_api();
            api.ice_restart(true);
            let (offer, pending) = api.apply().unwrap();
            end.pending = Some(pending);
            let sdp = offer.to_sdp_string();
            let sources = vec![(mids[0].to_string(), Source::Microphone)];
            bench.ok(alice, Action::AcceptOffer { sdp, sources });
        }
        bench.send(alice, &feed.next(false, 1));
    }
    assert_ne!(ufrag_of(&last_answer(&bench, alice)), before);
    assert_own_credentials(&mut bench);
    assert_eq!(bench.count(bob, 1), 200);
    let mid = bench.clients[bob].mid_of(track);
    bench.assert_continuous(bob, mid);
    assert_eq!(bench.clients[alice].track(0), track, "the same track");
    assert_eq!(
        bench.clients[alice].states(Direction::Publish).last(),
        Some(&TransportState::Connected)
    );
}

#[test]
fn a_subscriber_restarts_ice_from_another_address() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    let before = ufrag_of(&bench.clients[bob].last_offer().1);
    let mut feed = Feed::audio(mids[0]);
    for packet in 0..300 {
        bench.run(Duration::from_millis(20));
        if packet == 50 {
            // A new network: the old address is gone.
            let address = "10.0.9.9:6000".parse().unwrap();
            bench.clients[bob].subscribe().move_to(address);
            bench.ok(bob, Action::RestartIce);
        }
        bench.send(alice, &feed.next(false, 1));
    }
    let (_, sdp, _) = bench.clients[bob].last_offer();
    assert_ne!(ufrag_of(&sdp), before);
    assert_own_credentials(&mut bench);
    let received = bench.count(bob, 1);
    assert!(received > 280, "{received} of 300");
    let last = bench.clients[bob].subscribe().received.last().unwrap();
    assert_eq!(last.header.sequence_number as u64, {
        let first = bench.clients[bob].subscribe.as_ref().unwrap().received[0].seq_no;
        (*first + 299) & 0xffff
    });
}

#[test]
fn checks_with_the_old_credentials_are_answered_for_a_while() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let old = bench.credentials(alice);
    let remote = bench.clients[alice].publish().local_ufrag();
    let end = bench.clients[alice].publish();
    let address = end.address;
    let mut api = end.rtc.sdp_api();
    api.ice_restart(true);
    let (offer, pending) = api.apply().unwrap();
    end.pending = Some(pending);
    let sdp = offer.to_sdp_string();
    bench.ok(
        alice,
        Action::AcceptOffer {
            sdp,
            sources: Vec::new(),
        },
    );
    bench.run(Duration::from_secs(1));
    let check = |bench: &mut Bench, from: &str, password: &str| {
        let request = binding_request(&old.ufrag, &remote, password);
        let from = from.parse().unwrap();
        bench
            .shard
            .handle_datagram(bench.now, SocketId(0), from, &request);
        let mut sink = Sink::default();
        bench.shard.flush(bench.now, &mut sink);
        sink.0
            .iter()
            .filter(|(_, to, bytes)| *to == from && bytes[0] == 1)
            .count()
    };
    let known = address.to_string();
    assert_eq!(check(&mut bench, &known, &old.pass), 1, "answered");
    assert_eq!(check(&mut bench, &known, "wrong"), 0, "only if verified");
    assert_eq!(
        check(&mut bench, "10.0.7.7:1", &old.pass),
        0,
        "old credentials validate no new address"
    );
    bench.run(Duration::from_secs(31));
    assert_eq!(check(&mut bench, &known, &old.pass), 0, "not for ever");
}

#[test]
fn an_answer_must_follow_the_restart() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let track = bench.clients[alice].track(0);
    let bob = bench.join("room");
    assert_eq!(
        bench.refused(bob, Action::RestartIce),
        RequestError::WrongState("nothing is subscribed".into())
    );
    bench.watch(bob, &[track]);
    bench.clients[bob].answers = false;
    bench.ok(bob, Action::RestartIce);
    let (offer_id, _, _) = bench.clients[bob].last_offer();
    // An answer with the credentials of before.
    let end = bench.clients[bob].subscribe();
    let ufrag = end.local_ufrag();
    let (_, sdp, _) = bench.clients[bob].last_offer();
    let offer = str0m::change::SdpOffer::from_sdp_string(&sdp).unwrap();
    let end = bench.clients[bob].subscribe();
    let answer = end
        .rtc
        .sdp_api()
        .accept_offer(offer)
        .unwrap()
        .to_sdp_string();
    let new = ufrag_of(&answer);
    let stale = answer.replace(&new, &ufrag);
    let refused = bench.refused(
        bob,
        Action::AcceptAnswer {
            offer_id,
            sdp: stale,
        },
    );
    assert!(matches!(refused, RequestError::Invalid(_)));
    bench.ok(
        bob,
        Action::AcceptAnswer {
            offer_id,
            sdp: answer,
        },
    );
    bench.run(Duration::from_secs(1));
    assert_own_credentials(&mut bench);
}

#[test]
fn a_client_that_is_gone_is_disconnected_then_failed_and_may_come_back() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mut feed = Feed::video(mids[1], None);
    // Bob's network dies; the signaling connection stays.
    bench.clients[bob].publish = None;
    bench.clients[bob].subscribe = None;
    for frame in 0..1_200 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame % 100 == 0, 1));
        if frame == 700 {
            bench.strays.clear();
        }
    }
    use TransportState::*;
    for direction in [Direction::Publish, Direction::Subscribe] {
        let states = bench.clients[bob].states(direction);
        assert_eq!(states, [Connecting, Connected, Disconnected, Failed]);
    }
    assert!(
        bench.strays.is_empty(),
        "nothing is sent without consent: {}",
        bench.strays.len()
    );
    let sizes = bench.shard.table_sizes();
    assert_eq!((sizes.participants, sizes.transports), (2, 1));
    assert_eq!((sizes.tracks, sizes.subscriptions), (2, 1));
    assert_eq!(bench.shard.stats().transports, [0, 0, 1, 0]);
    // It comes back with new connection objects.
    bench.ok(bob, Action::RestartIce);
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[bob].subscribe().connected);
    for frame in 0..10 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 2));
    }
    assert_eq!(bench.count(bob, 2), 10);
    bench.publish(bob, &[AUDIO]);
    bench.run(Duration::from_secs(1));
    assert!(bench.clients[bob].publish().connected);
}

#[test]
fn a_client_that_never_connects_is_failed() {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    bench.publish(alice, &[AUDIO]);
    bench.clients[alice].publish = None;
    bench.run(Duration::from_secs(61));
    let states = bench.clients[alice].states(Direction::Publish);
    assert_eq!(states.last(), Some(&TransportState::Failed));
    assert_eq!(bench.shard.table_sizes().transports, 0);
    assert_eq!(bench.shard.table_sizes().tracks, 0);
}

#[test]
fn closing_a_transport_on_purpose() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    bench.ok(bob, Action::CloseTransport(Direction::Subscribe));
    assert!(bench.clients[bob].subscribe().closed, "told by DTLS");
    bench.ok(alice, Action::CloseTransport(Direction::Publish));
    assert!(bench.clients[alice].publish().closed);
    let gone = EventKind::TrackUnpublished(track);
    assert!(bench.clients[bob].events.contains(&gone));
    let sizes = bench.shard.table_sizes();
    assert_eq!((sizes.transports, sizes.addresses, sizes.tracks), (0, 0, 0));
    assert!(matches!(
        bench.refused(alice, Action::CloseTransport(Direction::Publish)),
        RequestError::NotFound(_)
    ));
}

#[test]
fn a_client_that_says_goodbye_by_dtls_is_closed() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let now = bench.now;
    let end = bench.clients[alice].publish();
    end.rtc.close().unwrap();
    end.rtc.handle_input(str0m::Input::Timeout(now)).unwrap();
    end.drain();
    bench.run(Duration::from_secs(1));
    let states = bench.clients[alice].states(Direction::Publish);
    assert_eq!(states.last(), Some(&TransportState::Closed));
    assert_eq!(bench.shard.table_sizes().transports, 0);
    assert_eq!(bench.shard.table_sizes().participants, 1);
}
