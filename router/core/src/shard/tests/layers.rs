//! Layers decided by a policy outside the core: what it is shown, what its choices do, and what wrong
//! ones do not.

use super::*;
use crate::limits::{POLICY_PATIENCE, VIEW_REFRESH};

const EVERY: Duration = Duration::from_millis(200);
/// Bytes of the frames of each layer.
const BYTES: [usize; 3] = [100, 400, 1_200];
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1_280, 720)];

/// A room with a simulcast publisher, viewers, and a policy that the test plays.
struct Scene {
    bench: Bench,
    alice: usize,
    track: TrackId,
    viewers: Vec<usize>,
    feeds: Vec<Feed>,
    frames: u32,
    room: RoomId,
    views: Vec<RoomView>,
}

impl Scene {
    fn new(viewers: usize) -> Self {
        let mut bench = Bench::new();
        bench.shard.announce_rooms();
        let alice = bench.join("room");
        let mids = bench.publish(alice, &[SIMULCAST]);
        bench.run(Duration::from_secs(1));
        let track = bench.clients[alice].track(0);
        let opened = bench.shard.poll_room_event().expect("an event");
        let viewers = (0..viewers).map(|_| {
            let viewer = bench.join("room");
            bench.watch(viewer, &[track]);
            viewer
        });
        let viewers = viewers.collect();
        let mut feeds: Vec<Feed> = ["q", "h", "f"]
            .iter()
            .map(|rid| Feed::video(mids[0], Some(rid)))
            .collect();
        for (index, feed) in feeds.iter_mut().enumerate() {
            feed.packet.timestamp = 1_000_000 * index as u32;
            feed.packet.sequence = 100 + 7_000 * index as u64;
        }
        Scene {
            bench,
            alice,
            track,
            viewers,
            feeds,
            frames: 0,
            room: opened.room,
            views: Vec::new(),
        }
    }

    /// With a policy, and layers that have been measured.
    fn with_policy(viewers: usize) -> Self {
        let mut scene = Scene::new(viewers);
        scene.order(RoomOrderKind::WatchLayers { every: EVERY });
        scene.frames(60);
        scene
    }

    /// Frames of all layers, keyframes among them.
    fn frames(&mut self, count: u32) {
        for _ in 0..count {
            self.bench.run(FRAME);
            let keyframe = self.frames.is_multiple_of(10);
            self.frames += 1;
            for layer in 0..3 {
                let mut packet = self.feeds[layer].next(keyframe, layer as u8 + 1);
                let tag = packet.payload.pop().unwrap();
                packet.payload.resize(BYTES[layer] - 1, 0);
                packet.payload.push(tag);
                if keyframe {
                    let (width, height) = SIZES[layer];
                    packet.payload[12..14].copy_from_slice(&width.to_le_bytes());
                    packet.payload[14..16].copy_from_slice(&height.to_le_bytes());
                }
                self.bench.send(self.alice, &packet);
            }
            self.collect();
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.bench.shard.poll_room_event() {
            if let RoomEventKind::View(view) = event.kind {
                assert_eq!(event.room, self.room);
                self.views.push(*view);
            }
        }
    }

    fn order(&mut self, kind: RoomOrderKind) {
        let room = self.room;
        let order = RoomOrder { room, kind };
        self.bench.shard.handle_order(self.bench.now, order);
        self.bench.settle();
        self.collect();
    }

    fn choices(&self, choices: Vec<Choice>) -> RoomOrderKind {
        RoomOrderKind::Choose(Choices {
            view: self.views.last().map_or(0, |view| view.sequence),
            policy: "scripted 1.0".into(),
            choices,
        })
    }

    fn choice(&self, viewer: usize, spatial: u8) -> Choice {
        Choice {
            subscriber: self.bench.clients[viewer].me(),
            track: self.track,
            spatial,
            temporal: 9,
            paused: false,
            reason: "because".into(),
        }
    }

    /// The policy answers the last view.
    fn choose(&mut self, choices: Vec<Choice>) {
        let order = self.choices(choices);
        self.order(order);
    }

    /// As [`Scene::choose`], from a fresh view.
    fn choose_afresh(&mut self, choices: Vec<Choice>) {
        self.await_view();
        self.choose(choices);
    }

    fn await_view(&mut self) {
        let seen = self.views.len();
        for _ in 0..90 {
            self.frames(1);
            if self.views.len() > seen {
                return;
            }
        }
        panic!("no view");
    }

    fn told(&self, viewer: usize) -> Option<u8> {
        let events = self.bench.clients[viewer].events.iter().rev();
        let mut layers = events.filter_map(|event| match event {
            EventKind::Layer { spatial, .. } => Some(*spatial),
            _ => None,
        });
        layers.next().expect("a layer was told")
    }

    fn decision(&self, viewer: usize) -> Decision {
        let me = self.bench.clients[viewer].me();
        let mut decisions = self.bench.shard.decisions(me);
        assert_eq!(decisions.len(), 1);
        decisions.remove(0)
    }

    fn stale(&self) -> u64 {
        self.bench.shard.stats().layer_choices_stale
    }
}

#[test]
fn every_subscriber_follows_the_policy_at_keyframes() {
    let mut scene = Scene::with_policy(3);
    let viewers = scene.viewers.clone();
    for viewer in &viewers {
        assert_eq!(scene.told(*viewer), Some(2), "built-in: the largest");
    }
    for layers in [[0, 1, 2], [2, 2, 0], [1, 0, 1], [0, 0, 0], [2, 1, 0]] {
        let chosen = viewers.iter().zip(layers);
        let chosen = chosen.map(|(viewer, layer)| scene.choice(*viewer, layer));
        let chosen = chosen.collect();
        scene.choose_afresh(chosen);
        scene.frames(20);
        for (viewer, layer) in viewers.iter().zip(layers) {
            assert_eq!(scene.told(*viewer), Some(layer), "{layers:?}");
            let received = &mut scene.bench.clients[*viewer].subscribe().received;
            received.clear();
        }
        scene.frames(10);
        for (viewer, layer) in viewers.iter().zip(layers) {
            for other in 0..3 {
                let expected = if other == layer { 10 } else { 0 };
                let count = scene.bench.count(*viewer, other + 1);
                assert_eq!(count, expected, "{layers:?}, layer {other}");
            }
        }
    }
    for viewer in viewers {
        let decision = scene.decision(viewer);
        assert_eq!(decision.by, Decider::Policy("scripted 1.0".into()));
        assert_eq!(decision.reason, "because");
    }
    assert_eq!(scene.bench.shard.stats().layer_choices, 15);
    assert_eq!(scene.bench.shard.stats().layer_choices_refused, 0);
}

#[test]
fn the_policy_is_shown_the_room_as_it_is() {
    let mut scene = Scene::with_policy(2);
    let wish = Wish {
        track: scene.track,
        width: 300,
        height: 100,
        fps: 15,
        priority: 7,
        paused: false,
    };
    scene.bench.ok(scene.viewers[1], Action::Wish(wish));
    scene.choose_afresh(vec![]);
    scene.frames(35);
    scene.choose_afresh(vec![]);
    let view = scene.views.last().unwrap().clone();
    assert_eq!(view.tracks.len(), 1);
    let track = &view.tracks[0];
    assert_eq!(
        (track.id, track.owner),
        (scene.track, scene.bench.clients[scene.alice].me())
    );
    assert_eq!(track.codec, "VP8");
    for (index, layer) in track.layers.iter().enumerate() {
        assert_eq!(usize::from(layer.spatial), index);
        assert_eq!((layer.width, layer.height), SIZES[index]);
        // The bench moves on in steps of 10 ms.
        assert!((24..=26).contains(&layer.fps), "{} fps", layer.fps);
        let least = BYTES[index] as u32 * 8 * 25;
        assert!(
            (least..least + 20_000).contains(&layer.bitrate_bps),
            "{layer:?}"
        );
        assert!(layer.active);
    }
    let ids: Vec<_> = view.subscribers.iter().map(|s| s.id).collect();
    let viewers: Vec<_> = scene
        .viewers
        .iter()
        .map(|v| scene.bench.clients[*v].me())
        .collect();
    assert_eq!(ids, viewers);
    let second = &view.subscribers[1];
    // Nothing hints at a limit: what arrived at first, and half again.
    let estimate = second.estimate_bps.expect("measured");
    assert!((350_000..600_000).contains(&estimate), "{estimate}");
    assert_eq!(second.subscriptions.len(), 1);
    assert_eq!(second.subscriptions[0].wish, wish);
    assert_eq!(second.subscriptions[0].spatial, Some(0));
    assert!(second.rtt_ms > 0, "measured by the feedback");
}

#[test]
fn views_come_when_something_changed_and_are_bounded() {
    let mut scene = Scene::with_policy(1);
    let viewer = scene.viewers[0];
    scene.choose_afresh(vec![]);
    scene.frames(1);
    scene.views.clear();
    // Two seconds of nothing but media: measured once a second.
    scene.bench.ok(viewer, Action::Subscribe(scene.track));
    for _ in 0..60 {
        scene.frames(1);
        let answer = !scene.views.is_empty();
        if answer {
            scene.choose(vec![]);
        }
    }
    let quiet = scene.views.len();
    assert!((1..=3).contains(&quiet), "{quiet} views of a quiet room");
    scene.views.clear();
    for round in 0..50 {
        let wish = Wish {
            track: scene.track,
            width: 100 + round,
            height: 100,
            fps: 0,
            priority: 0,
            paused: false,
        };
        scene.bench.ok(viewer, Action::Wish(wish));
        scene.frames(1);
        if !scene.views.is_empty() {
            scene.choose(vec![]);
        }
    }
    let lively = scene.views.len();
    assert!((8..=11).contains(&lively), "{lively} views in 2 s");
    let times: Vec<u64> = scene.views.iter().map(|view| view.now_ms).collect();
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= 200, "{times:?}");
    }
    // One that answers nothing is not flooded.
    scene.views.clear();
    scene.frames(90);
    assert!(
        scene.views.len() <= 4,
        "{} views unanswered",
        scene.views.len()
    );
}

#[test]
fn a_room_without_a_policy_makes_no_views() {
    let mut scene = Scene::new(1);
    scene.frames(60);
    assert_eq!(scene.views, []);
    assert_eq!(scene.bench.shard.stats().layer_views, 0);
    scene.order(RoomOrderKind::WatchLayers { every: EVERY });
    scene.frames(10);
    assert!(!scene.views.is_empty());
    scene.choose(vec![scene.choice(scene.viewers[0], 0)]);
    scene.frames(20);
    assert_eq!(scene.told(scene.viewers[0]), Some(0));
    let seen = scene.views.len();
    scene.order(RoomOrderKind::LeaveLayers);
    scene.frames(60);
    assert_eq!(scene.views.len(), seen);
    assert_eq!(
        scene.told(scene.viewers[0]),
        Some(2),
        "the built-in policy's"
    );
    assert_eq!(scene.decision(scene.viewers[0]).by, Decider::BuiltIn);
    // A second policy starts where the first left: answers to the first say nothing.
    let old = scene.choices(vec![scene.choice(scene.viewers[0], 0)]);
    scene.order(RoomOrderKind::WatchLayers { every: EVERY });
    scene.order(old);
    assert_eq!(scene.stale(), 1);
    scene.frames(10);
    assert!(scene.views.last().unwrap().sequence > scene.views[seen - 1].sequence);
}

#[test]
fn wrong_choices_change_nothing() {
    let mut scene = Scene::with_policy(1);
    let viewer = scene.viewers[0];
    let stranger = scene.bench.join("another");
    let strange_mid = scene.bench.publish(stranger, &[VIDEO, AUDIO]);
    let other = scene.bench.join("another");
    scene.bench.run(Duration::from_secs(1));
    let strange = scene.bench.clients[stranger].track(0);
    scene.bench.watch(other, &[strange]);
    let mut feed = Feed::video(strange_mid[0], None);
    scene.bench.send(stranger, &feed.next(true, 9));
    let right = scene.choice(viewer, 1);
    let to = |subscriber: ParticipantId, track: TrackId| Choice {
        subscriber,
        track,
        paused: true,
        ..right.clone()
    };
    let me = scene.bench.clients[viewer].me();
    let owner = scene.bench.clients[scene.alice].me();
    let wrong = [
        to(ParticipantId(0), scene.track),
        to(ParticipantId(u64::MAX), scene.track),
        to(me, TrackId(0)),
        to(me, TrackId(u64::MAX)),
        to(me, TrackId(scene.track.0 + (1 << 20))),
        to(me, strange),
        to(owner, scene.track),
        to(scene.bench.clients[other].me(), strange),
        to(scene.bench.clients[other].me(), scene.track),
    ];
    let count = wrong.len() as u64;
    scene.choose_afresh(wrong.to_vec());
    assert_eq!(scene.bench.shard.stats().layer_choices_refused, count);
    assert_eq!(scene.bench.shard.stats().layer_choices, 0);
    scene.frames(30);
    assert_eq!(scene.told(viewer), Some(2));
    scene.bench.send(stranger, &feed.next(true, 9));
    scene.bench.settle();
    assert!(scene.bench.count(other, 9) > 0, "another room is untouched");
    let elsewhere = scene.bench.clients[other].me();
    assert_eq!(
        scene.bench.shard.decisions(elsewhere)[0].by,
        Decider::BuiltIn
    );
    // Orders for rooms that are not here.
    let kind = scene.choices(vec![right.clone()]);
    for room in [
        RoomId(0),
        RoomId(u64::MAX),
        RoomId(scene.room.0 + (1 << 20)),
    ] {
        let order = RoomOrder {
            room,
            kind: kind.clone(),
        };
        scene.bench.shard.handle_order(scene.bench.now, order);
    }
    assert_eq!(scene.bench.shard.stats().layer_choices, 0);
    // A view that never was, and one already answered.
    let RoomOrderKind::Choose(choices) = kind else {
        unreachable!()
    };
    let future = Choices {
        view: choices.view + 9,
        ..choices.clone()
    };
    scene.order(RoomOrderKind::Choose(future));
    scene.choose_afresh(vec![]);
    scene.choose(vec![right]);
    assert_eq!(scene.stale(), 2);
    assert_eq!(scene.bench.shard.stats().layer_choices, 0);
}

#[test]
fn a_choice_out_of_range_takes_the_next_lower_layer() {
    let mut scene = Scene::with_policy(1);
    let viewer = scene.viewers[0];
    scene.choose_afresh(vec![scene.choice(viewer, 0)]);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(0));
    let mut high = scene.choice(viewer, 255);
    high.reason = "\u{e9}".repeat(1_000);
    scene.choose_afresh(vec![high]);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(2));
    assert_eq!(scene.decision(viewer).reason, "\u{e9}".repeat(64), "cut");
}

#[test]
fn a_choice_for_a_subscription_before_this_one_is_stale() {
    let mut scene = Scene::with_policy(1);
    let viewer = scene.viewers[0];
    scene.choose_afresh(vec![]);
    scene.await_view();
    let answer = scene.choices(vec![scene.choice(viewer, 0)]);
    scene.bench.ok(viewer, Action::Unsubscribe(scene.track));
    scene.bench.watch(viewer, &[scene.track]);
    scene.order(answer);
    assert_eq!(scene.stale(), 1);
    scene.frames(30);
    assert_eq!(scene.told(viewer), Some(2));
}

#[test]
fn a_policy_may_pause_and_the_clients_pause_is_honoured() {
    let mut scene = Scene::with_policy(1);
    let viewer = scene.viewers[0];
    let paused = Choice {
        paused: true,
        ..scene.choice(viewer, 2)
    };
    scene.choose_afresh(vec![paused]);
    assert_eq!(scene.told(viewer), None);
    scene.bench.clients[viewer].subscribe().received.clear();
    scene.frames(30);
    assert!(scene.bench.clients[viewer].subscribe().received.is_empty());
    assert_eq!(scene.decision(viewer).wanted, None);
    scene.choose_afresh(vec![scene.choice(viewer, 1)]);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(1));
    let wish = Wish {
        track: scene.track,
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
        paused: true,
    };
    scene.bench.ok(viewer, Action::Wish(wish));
    assert_eq!(scene.told(viewer), None);
    scene.choose_afresh(vec![scene.choice(viewer, 2)]);
    scene.frames(30);
    assert_eq!(scene.told(viewer), None, "the client wants none");
    let mid = scene.bench.clients[viewer].mid_of(scene.track);
    scene.bench.assert_continuous(viewer, mid);
}

#[test]
fn a_policy_that_stops_answering_or_fails_gives_way_to_the_built_in_one() {
    let mut scene = Scene::with_policy(1);
    let viewer = scene.viewers[0];
    scene.choose_afresh(vec![scene.choice(viewer, 0)]);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(0));
    let silent = (POLICY_PATIENCE + VIEW_REFRESH * 2).as_millis() / FRAME.as_millis();
    scene.frames(silent as u32);
    assert_eq!(scene.told(viewer), Some(2), "lapsed");
    assert_eq!(scene.decision(viewer).by, Decider::BuiltIn);
    assert_eq!(scene.bench.shard.stats().layer_fallbacks, 1);
    scene.choose_afresh(vec![]);
    scene.frames(20);
    assert_eq!(
        scene.told(viewer),
        Some(0),
        "what was chosen before is in force again"
    );
    scene.order(RoomOrderKind::PolicyFailed);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(2), "failed");
    assert_eq!(scene.bench.shard.stats().layer_fallbacks, 2);
    scene.choose_afresh(vec![]);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(2), "what it chose is forgotten");
}

#[test]
fn nobody_gets_more_than_the_estimate_whatever_is_chosen() {
    let mut scene = Scene::with_policy(2);
    let (poor, rich) = (scene.viewers[0], scene.viewers[1]);
    let estimate = |scene: &mut Scene, bps: u64| {
        let me = scene.bench.clients[poor].me();
        scene.bench.shard.inject_estimate(scene.bench.now, me, bps);
    };
    scene.choose_afresh(vec![scene.choice(poor, 2), scene.choice(rich, 2)]);
    // Layers take about 33, 93 and 255 kb/s.
    for (bps, expected) in [
        (200_000, Some(1)),
        (60_000, Some(0)),
        (20_000, None),
        (60_000, Some(0)),
        (1_000_000, Some(2)),
    ] {
        estimate(&mut scene, bps);
        scene.frames(30);
        assert_eq!(scene.told(poor), expected, "{bps}");
        assert_eq!(scene.told(rich), Some(2), "{bps}");
    }
    estimate(&mut scene, 200_000);
    scene.choose_afresh(vec![scene.choice(poor, 2)]);
    let view = scene.views.last().unwrap();
    assert_eq!(view.subscribers[0].estimate_bps, Some(200_000));
    let other = view.subscribers[1].estimate_bps.expect("measured");
    assert!(other > 350_000, "what arrived and more: {other}");
    let decision = scene.decision(poor);
    assert_eq!(
        (decision.wanted, decision.fits),
        (Some(2), Some(Fit::Layer(1)))
    );
}

#[test]
fn the_built_in_policy_keeps_to_the_estimate_and_serves_the_important_first() {
    let mut scene = Scene::new(1);
    let viewer = scene.viewers[0];
    let me = scene.bench.clients[viewer].me();
    scene.frames(60);
    assert_eq!(scene.told(viewer), Some(2));
    scene
        .bench
        .shard
        .inject_estimate(scene.bench.now, me, 150_000);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(1));
    assert_eq!(scene.decision(viewer).fits, Some(Fit::Layer(1)));
    // Wavering about what the next step needs does not flap.
    for bps in [260_000, 250_000, 270_000, 257_000] {
        scene.bench.shard.inject_estimate(scene.bench.now, me, bps);
        scene.frames(20);
        assert_eq!(scene.told(viewer), Some(1), "{bps}");
    }
    scene
        .bench
        .shard
        .inject_estimate(scene.bench.now, me, 400_000);
    scene.frames(20);
    assert_eq!(scene.told(viewer), Some(2));
}

#[test]
fn what_happens_in_a_watched_room_is_told_and_nothing_of_another() {
    let mut bench = Bench::new();
    let early = bench.join("room");
    bench.shard.announce_rooms();
    bench.publish(early, &[AUDIO, VIDEO]);
    bench.join("another");
    let drain = |bench: &mut Bench| -> Vec<RoomEvent> {
        std::iter::from_fn(|| bench.shard.poll_room_event()).collect()
    };
    let events = drain(&mut bench);
    let names: Vec<_> = events
        .iter()
        .map(|event| match &event.kind {
            RoomEventKind::Opened { name } => name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["room", "another"]);
    let room = events[0].room;
    assert_eq!(room.worker(), WorkerId(3));
    for _ in 0..2 {
        let kind = RoomOrderKind::WatchEvents;
        bench
            .shard
            .handle_order(bench.now, RoomOrder { room, kind });
    }
    let late = bench.join("room");
    let mids = bench.publish(late, &[AUDIO]);
    assert_eq!(mids.len(), 1);
    let track = bench.clients[late].track(0);
    bench.ok(late, Action::Mute(track, true));
    bench.ok(late, Action::Leave);
    bench.join("another");
    bench.ok(early, Action::Leave);
    let told: Vec<String> = drain(&mut bench)
        .into_iter()
        .map(|event| {
            assert_eq!(event.room, room);
            match event.kind {
                RoomEventKind::Joined(info) if info.id == bench.clients[early].me() => {
                    "early".into()
                }
                RoomEventKind::Joined(_) => "late".into(),
                RoomEventKind::Published(info) => format!("{:?}", info.kind),
                RoomEventKind::Muted(id, true) if id == track => "muted".into(),
                RoomEventKind::Unpublished(_) => "unpublished".into(),
                RoomEventKind::Left(_) => "left".into(),
                RoomEventKind::Closed => "closed".into(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    let expected = "early Audio Video late Audio muted unpublished left \
                    unpublished unpublished left closed";
    assert_eq!(told.join(" "), expected);
}
