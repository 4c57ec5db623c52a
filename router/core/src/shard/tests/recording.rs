//! What a recorder gets of a track.

use super::*;

/// A publisher of audio and of three layers of video, and a recorder that the test plays. Nobody watches.
struct Scene {
    bench: Bench,
    alice: usize,
    room: RoomId,
    audio: TrackId,
    video: TrackId,
    sound: Feed,
    layers: Vec<Feed>,
    recorded: Vec<RecordedPacket>,
}

impl Scene {
    fn new() -> Self {
        let mut bench = Bench::new();
        bench.shard.announce_rooms();
        let alice = bench.join("room");
        let mids = bench.publish(alice, &[AUDIO, SIMULCAST]);
        bench.run(Duration::from_secs(1));
        let opened = bench.shard.poll_room_event().expect("an event");
        let mut layers: Vec<Feed> = ["q", "h", "f"]
            .iter()
            .map(|rid| Feed::video(mids[1], Some(rid)))
            .collect();
        for (index, feed) in layers.iter_mut().enumerate() {
            feed.packet.timestamp = 1_000_000 * index as u32;
            feed.packet.sequence = 100 + 7_000 * index as u64;
        }
        Scene {
            audio: bench.clients[alice].track(0),
            video: bench.clients[alice].track(1),
            bench,
            alice,
            room: opened.room,
            sound: Feed::audio(mids[0]),
            layers,
            recorded: Vec::new(),
        }
    }

    fn order(&mut self, kind: RoomOrderKind) {
        let room = self.room;
        let order = RoomOrder { room, kind };
        self.bench.shard.handle_order(self.bench.now, order);
        self.bench.settle();
    }

    /// Frames of these layers, tagged 1, 2, 3, and the sound with them.
    fn frames(&mut self, count: u32, layers: &[usize], keyframes: bool) {
        for _ in 0..count {
            self.bench.run(FRAME);
            self.send_sound();
            for layer in layers {
                let packet = self.layers[*layer].next(keyframes, *layer as u8 + 1);
                self.bench.send(self.alice, &packet);
            }
            self.collect();
        }
    }

    fn send_sound(&mut self) {
        self.bench.send(self.alice, &self.sound.next(false, 9));
    }

    fn collect(&mut self) {
        self.recorded.extend(self.bench.shard.drain_recorded());
    }

    fn events(&mut self) -> Vec<RoomEventKind> {
        let mut events = Vec::new();
        while let Some(event) = self.bench.shard.poll_room_event() {
            assert_eq!(event.room, self.room);
            events.push(event.kind);
        }
        events
    }

    fn of(&self, track: TrackId) -> Vec<&RecordedPacket> {
        self.recorded.iter().filter(|p| p.track == track).collect()
    }

    /// Tags of a track's packets, runs of one written once.
    fn runs(&self, track: TrackId) -> Vec<u8> {
        let tags = self.of(track).into_iter();
        let mut tags: Vec<u8> = tags.filter_map(|p| p.payload.last().copied()).collect();
        tags.dedup();
        tags
    }

    fn asked(&mut self) -> Vec<String> {
        let asked = std::mem::take(&mut self.bench.clients[self.alice].publish().keyframe_requests);
        let rids = asked.iter().filter_map(|(_, rid)| rid.as_ref());
        rids.map(ToString::to_string).collect()
    }

    /// One stream: numbers without holes, timestamps that grow.
    fn assert_one_stream(&self, track: TrackId) {
        for pair in self.of(track).windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!((1..1 << 31).contains(&ticks), "{ticks}");
            assert!(pair[0].captured <= pair[1].captured);
        }
    }
}

#[test]
fn a_track_that_nobody_watches_is_recorded_from_a_keyframe_that_was_asked_for() {
    let mut scene = Scene::new();
    scene.frames(30, &[0, 1, 2], false);
    assert!(scene.recorded.is_empty(), "nothing without an order");
    scene.asked();
    scene.order(RoomOrderKind::Record(scene.audio));
    scene.order(RoomOrderKind::Record(scene.video));
    assert_eq!(
        scene.events(),
        [],
        "an order that is carried out is not answered"
    );
    assert_eq!(scene.asked(), ["f"], "the best layer that is being sent");
    scene.frames(5, &[0, 1, 2], false);
    assert_eq!(
        scene.of(scene.audio).len(),
        5,
        "sound from the first packet on"
    );
    assert!(scene.of(scene.video).is_empty(), "video from a keyframe on");
    scene.frames(1, &[0, 1, 2], true);
    scene.frames(9, &[0, 1, 2], false);
    assert_eq!(scene.of(scene.video).len(), 10);
    assert_eq!(scene.runs(scene.video), [3]);
    for track in [scene.audio, scene.video] {
        scene.assert_one_stream(track);
        let packets = scene.of(track);
        let switched = packets.iter().filter(|p| p.switched).count();
        assert!(packets[0].switched && switched == 1);
    }
    let first = scene.of(scene.video)[0].clone();
    assert!(first.keyframe && first.marker);
    assert_eq!(
        (first.codec, first.clock_rate),
        (RecordedCodec::Vp8, 90_000)
    );
    assert!(scene.of(scene.video)[1..].iter().all(|p| !p.keyframe));
    let sound = scene.of(scene.audio)[0];
    assert_eq!(
        (sound.codec, sound.clock_rate),
        (RecordedCodec::Opus, 48_000)
    );
    assert!(!sound.keyframe);
    let stats = *scene.bench.shard.stats();
    assert_eq!((stats.recordings, stats.rtp_recorded), (2, 25));
    assert_eq!((stats.subscriptions, stats.rtp_forwarded), (0, 0));
    assert_eq!(stats.dropped, [0; DropCause::COUNT]);
}

#[test]
fn the_recorder_gets_one_stream_over_layers_that_come_and_go() {
    let mut scene = Scene::new();
    scene.frames(10, &[0, 1, 2], false);
    scene.order(RoomOrderKind::Record(scene.video));
    scene.frames(1, &[0, 1, 2], true);
    scene.frames(20, &[0, 1, 2], false);
    scene.asked();
    // The best layer falls silent: the next one, once it has a keyframe.
    scene.frames(45, &[0, 1], false);
    assert_eq!(scene.runs(scene.video), [3], "no switch but at a keyframe");
    let asked = scene.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|rid| rid == "h"),
        "{asked:?}"
    );
    scene.frames(1, &[0, 1], true);
    scene.frames(10, &[0, 1], false);
    assert_eq!(scene.runs(scene.video), [3, 2]);
    // It is back.
    scene.frames(40, &[0, 1, 2], false);
    assert!(scene.asked().contains(&"f".to_owned()));
    scene.frames(1, &[0, 1, 2], true);
    scene.frames(10, &[0, 1, 2], false);
    assert_eq!(scene.runs(scene.video), [3, 2, 3]);
    scene.assert_one_stream(scene.video);
    let packets = scene.of(scene.video);
    let switched: Vec<_> = packets.iter().filter(|p| p.switched).collect();
    assert_eq!(switched.len(), 3);
    assert!(switched.iter().all(|p| p.keyframe));
}

#[test]
fn what_comes_late_has_its_place_and_what_is_lost_leaves_a_hole() {
    let mut scene = Scene::new();
    scene.order(RoomOrderKind::Record(scene.video));
    scene.frames(1, &[2], true);
    let late = scene.layers[2].next(true, 7);
    let _lost = scene.layers[2].next(false, 8);
    scene.frames(2, &[2], false);
    scene.bench.send(scene.alice, &late);
    scene.frames(1, &[2], false);
    let numbers =
        |scene: &Scene| -> Vec<u64> { scene.of(scene.video).iter().map(|p| p.sequence).collect() };
    assert_eq!(numbers(&scene), [0, 3, 4, 1, 5]);
    let late = scene.of(scene.video)[3];
    assert!(
        late.keyframe && !late.switched,
        "a keyframe, but no place to switch at"
    );
}

#[test]
fn nothing_of_a_muted_track_is_recorded_and_it_goes_on_at_a_keyframe() {
    let mut scene = Scene::new();
    scene.order(RoomOrderKind::Record(scene.video));
    scene.order(RoomOrderKind::Record(scene.audio));
    scene.frames(1, &[2], true);
    scene.frames(5, &[2], false);
    for track in [scene.audio, scene.video] {
        scene.bench.ok(scene.alice, Action::Mute(track, true));
    }
    let before = scene.recorded.len();
    scene.frames(30, &[2], true);
    assert_eq!(scene.recorded.len(), before);
    scene.asked();
    for track in [scene.audio, scene.video] {
        scene.bench.ok(scene.alice, Action::Mute(track, false));
    }
    assert_eq!(scene.asked(), ["f"]);
    scene.frames(3, &[2], false);
    assert_eq!(scene.of(scene.audio).len(), 9);
    assert_eq!(scene.of(scene.video).len(), 6);
    scene.frames(2, &[2], true);
    scene.assert_one_stream(scene.video);
    scene.assert_one_stream(scene.audio);
    let video = scene.of(scene.video);
    let pause = video[6].timestamp.wrapping_sub(video[5].timestamp);
    assert!(
        (90_000..120_000).contains(&pause),
        "a second and more: {pause}"
    );
    assert!(video[6].switched && scene.of(scene.audio)[6].switched);
}

#[test]
fn the_recorder_may_ask_for_keyframes_but_not_more_often_than_others() {
    let mut scene = Scene::new();
    scene.order(RoomOrderKind::AskKeyframe(scene.video));
    assert_eq!(scene.asked(), [""; 0], "it is not recorded");
    scene.order(RoomOrderKind::Record(scene.video));
    scene.order(RoomOrderKind::Record(scene.audio));
    scene.frames(1, &[2], true);
    scene.frames(60, &[2], false);
    scene.asked();
    for _ in 0..20 {
        scene.order(RoomOrderKind::AskKeyframe(scene.video));
        scene.order(RoomOrderKind::AskKeyframe(scene.audio));
    }
    assert_eq!(scene.asked(), ["f"]);
    scene.frames(60, &[2], false);
    assert_eq!(scene.asked(), ["f"], "the others together, a second later");
}

#[test]
fn recordings_end_by_order_with_their_track_and_with_its_publisher() {
    let mut scene = Scene::new();
    let (audio, video) = (scene.audio, scene.video);
    let ended = RoomEventKind::RecordingEnded;
    scene.order(RoomOrderKind::Record(audio));
    scene.order(RoomOrderKind::Record(video));
    scene.order(RoomOrderKind::StopRecording(audio));
    assert_eq!(scene.events(), [ended(audio)]);
    scene.order(RoomOrderKind::StopRecording(audio));
    assert_eq!(scene.events(), [], "it is not recorded any more");
    scene.frames(3, &[2], true);
    assert!(scene.of(audio).is_empty() && scene.of(video).len() == 3);
    scene.bench.ok(scene.alice, Action::Unpublish(video));
    assert_eq!(scene.events(), [ended(video)]);
    scene.order(RoomOrderKind::Record(audio));
    scene.order(RoomOrderKind::WatchEvents);
    scene.events();
    let me = scene.bench.clients[scene.alice].me();
    scene.bench.ok(scene.alice, Action::Leave);
    let expected = [
        ended(audio),
        RoomEventKind::Unpublished(audio),
        RoomEventKind::Left(me),
        RoomEventKind::Closed,
    ];
    assert_eq!(scene.events(), expected);
    assert_eq!(scene.bench.shard.stats().recordings, 0);
    assert_eq!(scene.bench.shard.table_sizes(), TableSizes::default());
}

#[test]
fn orders_about_tracks_of_nobody_here_are_refused_with_the_reason() {
    let mut scene = Scene::new();
    let (bob, _) = scene.bench.talker("another");
    let elsewhere = scene.bench.clients[bob].track(1);
    while scene.bench.shard.poll_room_event().is_some() {}
    for track in [elsewhere, TrackId(77), TrackId(u64::MAX)] {
        scene.order(RoomOrderKind::Record(track));
        let reason = format!("track {} is not published in this room", track.0);
        assert_eq!(
            scene.events(),
            [RoomEventKind::RecordingRefused(track, reason)]
        );
        scene.order(RoomOrderKind::StopRecording(track));
        scene.order(RoomOrderKind::AskKeyframe(track));
        assert_eq!(scene.events(), []);
    }
    scene.order(RoomOrderKind::Record(scene.video));
    scene.order(RoomOrderKind::Record(scene.video));
    let reason = format!("track {} is being recorded already", scene.video.0);
    assert_eq!(
        scene.events(),
        [RoomEventKind::RecordingRefused(scene.video, reason)]
    );
    assert_eq!(scene.bench.shard.stats().recordings, 1);
    scene
        .bench
        .shard
        .announce_again(scene.bench.now, scene.room);
    assert_eq!(
        scene.bench.shard.stats().recordings,
        0,
        "whoever ordered it is gone"
    );
}
