//! Pages for operators, and their orders.

use super::*;
use crate::api::{Decider, Fit};
use crate::inspect::{SubscriptionView, *};
use crate::limits::Limits;
use crate::subscription::decided::DECISIONS_KEPT;

impl Bench {
    fn page(&self, query: &Query, from: u32) -> Page {
        self.shard.inspect(self.now, query, from)
    }

    pub(super) fn participants(&self, room: Option<&str>) -> Vec<ParticipantView> {
        let room = room.map(str::to_owned);
        match self.page(&Query::Participants { room }, 0).items {
            Items::Participants(items) => items,
            other => panic!("{other:?}"),
        }
    }

    fn subscriptions(&self, participant: Option<ParticipantId>) -> Vec<SubscriptionView> {
        let query = Query::Subscriptions {
            room: None,
            participant,
        };
        match self.page(&query, 0).items {
            Items::Subscriptions(items) => items,
            other => panic!("{other:?}"),
        }
    }

    fn order(&mut self, order: &Order) -> Result<Outcome, RequestError> {
        let outcome = self.shard.administer(self.now, order);
        self.settle();
        outcome
    }
}

#[test]
fn a_call_is_seen_as_it_is() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    bench.join("another");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    let mut video = Feed::video(mids[1], None);
    for frame in 0..60 {
        bench.run(FRAME);
        bench.send(alice, &video.next(frame == 3, 2));
    }

    let Items::Rooms(rooms) = bench.page(&Query::Rooms { name: None }, 0).items else {
        panic!("rooms")
    };
    let room = rooms
        .iter()
        .find(|r| r.name == "room")
        .expect("it is there");
    assert_eq!(rooms.len(), 2);
    assert_eq!(
        (room.participants, room.tracks, room.subscriptions),
        (2, 4, 2)
    );
    assert!(room.received_bps > 1_000, "{room:?}");

    let only = |name: &str| Query::Rooms {
        name: Some(name.to_owned()),
    };
    assert_eq!(
        bench.page(&only("room"), 0).items,
        Items::Rooms(vec![room.clone()])
    );
    assert_eq!(
        bench.page(&only("nowhere"), 0).items,
        Items::Rooms(Vec::new())
    );

    let (ada, ben) = (bench.clients[alice].me(), bench.clients[bob].me());
    assert_eq!(bench.participants(None).len(), 3);
    assert_eq!(bench.participants(Some("nowhere")), []);
    let there = bench.participants(Some("room"));
    let seen = there.iter().find(|p| p.info.id == ben).expect("Bob");
    assert_eq!((there.len(), seen.tracks, seen.subscriptions), (2, 2, 2));
    for transport in [seen.publish, seen.subscribe] {
        let transport = transport.expect("negotiated");
        assert_eq!(transport.state, TransportState::Connected);
        assert!(transport.path.is_some());
    }
    assert_eq!(seen.publish.and_then(|t| t.network), None);
    let network = seen.subscribe.and_then(|t| t.network).expect("reported");
    assert!(network.rtt_ms > 0, "{network:?}");
    assert_eq!((network.estimate_bps, network.loss_permille), (None, 0));

    let room = Some("room".to_owned());
    let Items::Tracks(seen) = bench.page(&Query::Tracks { room }, 0).items else {
        panic!("tracks")
    };
    let picture = seen.iter().find(|t| t.info.id == tracks[1]).expect("video");
    assert_eq!((seen.len(), picture.subscriptions), (4, 1));
    assert_eq!(picture.sizes.len(), picture.info.layers.len());
    assert!(picture.info.layers[0].active);

    assert_eq!(bench.subscriptions(Some(ada)), []);
    let received = bench.subscriptions(Some(ben));
    let picture = received.iter().find(|s| s.video).expect("video");
    assert_eq!((received.len(), picture.publisher), (2, ada));
    assert_eq!((picture.negotiated, picture.spatial), (true, Some(0)));
    assert!(!picture.held && picture.bitrate_bps > 1_000, "{picture:?}");
    // A packet a frame, from the keyframe on.
    assert_eq!(picture.packets, 57, "{picture:?}");
    let (from, to) = (
        bench.participants(Some("room"))[0].publish.expect("hers"),
        bench.participants(Some("room"))[1].subscribe.expect("his"),
    );
    assert!(from.traffic.packets_received >= 60, "{from:?}");
    assert_eq!(from.traffic.packets_sent, 0);
    assert!(to.traffic.packets_sent >= 57, "{to:?}");
    assert!(to.traffic.bytes_sent > to.traffic.packets_sent * 12);
    assert_eq!(
        (to.traffic.packets_received, to.traffic.packets_lost),
        (0, 0)
    );
    let stranger = ParticipantId(ben.0 ^ 1 << 30);
    assert_eq!(bench.subscriptions(Some(stranger)), []);
}

#[test]
fn pages_are_bounded_and_miss_nobody() {
    let mut bench = Bench::with_limits(Limits {
        participants_per_room: 1_000,
        ..Limits::default()
    });
    let mut clients: Vec<usize> = (0..600).map(|_| bench.join("room")).collect();
    for client in clients.drain(100..200) {
        bench.ok(client, Action::Leave);
    }
    let query = Query::Participants {
        room: Some("room".into()),
    };
    let (mut from, mut seen, mut pages) = (Some(0), Vec::new(), 0);
    while let Some(slot) = from {
        let page = bench.page(&query, slot);
        let Items::Participants(items) = page.items else {
            panic!("participants")
        };
        assert!(items.len() <= ITEMS_PER_PAGE);
        seen.extend(items.into_iter().map(|p| p.info.id));
        from = page.next;
        pages += 1;
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), pages), (500, 2));
    let nowhere = Query::Participants {
        room: Some("nowhere".into()),
    };
    assert_eq!(bench.page(&nowhere, 0).next, None);
    assert_eq!(bench.page(&query, u32::MAX).next, None);
}

#[test]
fn orders_are_carried_out_and_told() {
    let mut bench = Bench::new();
    let (alice, _) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    let (track, ada) = (bench.clients[alice].track(1), bench.clients[alice].me());
    bench.watch(bob, &[track]);
    for muted in [true, false] {
        assert_eq!(
            bench.order(&Order::Mute { track, muted }),
            Ok(Outcome::default())
        );
        for client in [alice, bob] {
            let told = EventKind::TrackMuted(track, muted);
            assert_eq!(bench.clients[client].events.last(), Some(&told));
        }
    }
    // Who mutes himself stays so when an operator takes his own mute back, and nobody undoes an operator's.
    bench.ok(alice, Action::Mute(track, true));
    bench
        .order(&Order::Mute { track, muted: true })
        .expect("a track");
    let refused = bench.refused(alice, Action::Mute(track, false));
    assert!(matches!(refused, RequestError::Forbidden(_)), "{refused:?}");
    let seen = |bench: &Bench| {
        let room = None;
        let Items::Tracks(tracks) = bench.page(&Query::Tracks { room }, 0).items else {
            panic!("tracks")
        };
        let seen = tracks.into_iter().find(|t| t.info.id == track);
        let seen = seen.expect("it is there");
        (seen.info.muted, seen.muted_by_owner, seen.muted_by_operator)
    };
    assert_eq!(seen(&bench), (true, true, true));
    bench
        .order(&Order::Mute {
            track,
            muted: false,
        })
        .expect("a track");
    assert_eq!(seen(&bench), (true, true, false));
    bench.ok(alice, Action::Mute(track, false));
    assert_eq!(seen(&bench), (false, false, false));
    let kick = Order::Kick {
        participant: ada,
        reason: "enough".into(),
    };
    assert_eq!(bench.order(&kick).map(|o| o.removed), Ok(1));
    let told = EventKind::Removed {
        reason: "enough".into(),
    };
    assert_eq!(bench.clients[alice].events.last(), Some(&told));
    let told = EventKind::ParticipantLeft(ada);
    assert!(bench.clients[bob].events.contains(&told));
    assert!(matches!(bench.order(&kick), Err(RequestError::NotFound(_))));
    assert!(matches!(
        bench.order(&Order::Mute { track, muted: true }),
        Err(RequestError::NotFound(_))
    ));
    assert_eq!(bench.shard.stats().participants, 1);
}

#[test]
fn whoever_asks_why_is_told_what_was_decided_and_what_was_made_of_it() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    let (sound, picture) = (bench.clients[alice].track(0), bench.clients[alice].track(1));
    bench.watch(bob, &[sound, picture]);
    let ben = bench.clients[bob].me();
    let mut video = Feed::video(mids[1], None);
    let mut frames = |bench: &mut Bench, count: usize| {
        for frame in 0..count {
            bench.run(FRAME);
            bench.send(alice, &video.next(frame == 3, 2));
        }
    };
    frames(&mut bench, 60);
    let why = |bench: &Bench, track| {
        let query = Query::Reasons {
            participant: ben,
            track,
        };
        let Items::Reasons(reasons) = bench.page(&query, 0).items else {
            panic!("reasons")
        };
        reasons
    };
    assert_eq!(why(&bench, None).len(), 2);
    let heard = why(&bench, Some(sound)).remove(0);
    assert_eq!(heard.decisions, [], "sound needs no decision");
    let seen = why(&bench, Some(picture)).remove(0);
    let last = seen.decisions.last().expect("one was made");
    assert_eq!((last.by.clone(), last.chosen), (Decider::BuiltIn, None));
    assert_eq!((last.wanted, last.fits, last.due), (Some(0), None, Some(0)));
    assert!(last.reason.contains("no size is wished"), "{last:?}");

    // A network that carries nothing of it: what is wanted stays, and what is due by the estimate is nothing.
    let now = bench.now;
    bench.shard.inject_estimate(now, ben, 1_000);
    frames(&mut bench, 10);
    let held = why(&bench, Some(picture)).remove(0);
    let last = held.decisions.last().expect("another one");
    assert_eq!(
        (last.wanted, last.fits, last.due),
        (Some(0), Some(Fit::Nothing), None)
    );
    assert!(held.subscription.held && held.decisions.len() > seen.decisions.len());
    assert_eq!(held.network.and_then(|n| n.estimate_bps), Some(1_000));
    // However it wavers, the last ones are kept.
    for round in 0..20 {
        let bps = if round % 2 == 0 { 50_000_000 } else { 1_000 };
        let now = bench.now;
        bench.shard.inject_estimate(now, ben, bps);
        frames(&mut bench, 10);
    }
    let wavered = why(&bench, Some(picture)).remove(0).decisions;
    assert_eq!(wavered.len(), DECISIONS_KEPT);
    assert!(wavered.is_sorted_by(|a, b| a.age >= b.age), "{wavered:?}");
    assert_ne!(wavered[4].due, wavered[5].due);
    let stranger = Query::Reasons {
        participant: ParticipantId(ben.0 ^ 1 << 30),
        track: None,
    };
    assert_eq!(bench.page(&stranger, 0).items, Items::Reasons(Vec::new()));
}

#[test]
fn reasons_come_in_pages_and_each_once() {
    let mut bench = Bench::new();
    let talkers: Vec<usize> = (0..REASONS_PER_PAGE / 2 + 2)
        .map(|_| bench.talker("room").0)
        .collect();
    let (watcher, _) = bench.talker("room");
    let tracks: Vec<TrackId> = talkers
        .iter()
        .flat_map(|talker| [0, 1].map(|n| bench.clients[*talker].track(n)))
        .collect();
    bench.watch(watcher, &tracks);
    let query = Query::Reasons {
        participant: bench.clients[watcher].me(),
        track: None,
    };
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let page = bench.page(&query, at);
        let Items::Reasons(reasons) = page.items else {
            panic!("reasons")
        };
        sizes.push(reasons.len());
        seen.extend(reasons.iter().map(|reason| reason.track.info.id));
        from = page.next;
    }
    assert_eq!(sizes, [REASONS_PER_PAGE, 4]);
    seen.sort_unstable();
    let mut wanted = tracks.clone();
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    // One of the last page is found without the first.
    let one = Query::Reasons {
        participant: bench.clients[watcher].me(),
        track: tracks.last().copied(),
    };
    let page = bench.page(&one, 0);
    assert!(matches!(&page.items, Items::Reasons(one) if one.len() == 1));
    assert_eq!(page.next, None);
}

#[test]
fn a_room_is_closed_in_bounded_steps() {
    let mut bench = Bench::new();
    let most = REMOVED_PER_ORDER;
    for _ in 0..most + 5 {
        bench.join("room");
    }
    bench.join("another");
    let close = || Order::CloseRoom {
        room: "room".into(),
        reason: "closed".into(),
    };
    let outcome = |removed, left| Ok(Outcome { removed, left });
    assert_eq!(bench.order(&close()), outcome(most as u32, 5));
    assert_eq!(bench.order(&close()), outcome(5, 0));
    assert!(matches!(
        bench.order(&close()),
        Err(RequestError::NotFound(_))
    ));
    assert_eq!(bench.participants(None).len(), 1);
    let told = bench.clients.iter().filter(|client| {
        let last = client.events.last();
        matches!(last, Some(EventKind::Removed { reason }) if reason == "closed")
    });
    assert_eq!(told.count(), most + 5);
}
