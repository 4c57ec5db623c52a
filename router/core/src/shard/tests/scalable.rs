//! Temporal layers inside a stream of VP8: who gets them, what is listed of them, and what comes late.

use super::*;

/// A publisher of two temporal layers and a viewer.
struct Scene {
    bench: Bench,
    alice: usize,
    bob: usize,
    track: TrackId,
    feed: Feed,
    frames: u32,
    base: u8,
}

impl Scene {
    fn new() -> Self {
        let mut bench = Bench::new();
        let alice = bench.join("room");
        let mids = bench.publish(alice, &[VIDEO]);
        bench.run(Duration::from_secs(1));
        let track = bench.clients[alice].track(0);
        let bob = bench.join("room");
        bench.watch(bob, &[track]);
        Scene {
            bench,
            alice,
            bob,
            track,
            feed: Feed::video(mids[0], None),
            frames: 0,
            base: 0,
        }
    }

    /// The next frame: every other one is of layer 1, and depends on the one before it.
    fn next(&mut self) -> TestPacket {
        self.bench.run(FRAME);
        let temporal = (self.frames % 2) as u8;
        let mut packet = self.feed.next(self.frames == 0, temporal + 1);
        self.base = self.base.wrapping_add(1 - temporal);
        self.frames += 1;
        packet.payload[4] = self.base;
        packet.payload[5] = temporal << 6 | 0x20;
        packet
    }

    fn frames(&mut self, count: u32) {
        for _ in 0..count {
            let packet = self.next();
            self.bench.send(self.alice, &packet);
        }
    }

    fn wish(&mut self, fps: u16) {
        let wish = Wish {
            track: self.track,
            width: 0,
            height: 0,
            fps,
            priority: 0,
            paused: false,
        };
        self.bench.ok(self.bob, Action::Wish(wish));
    }

    fn told(&self) -> Option<(Option<u8>, Option<u8>)> {
        let events = self.bench.clients[self.bob].events.iter().rev();
        let mut told = events.filter_map(|event| match event {
            EventKind::Layer {
                spatial, temporal, ..
            } => Some((*spatial, *temporal)),
            _ => None,
        });
        told.next()
    }

    /// Picture ids of what came, in order, and how many packets had no content.
    fn pictures(&mut self) -> (Vec<u16>, usize) {
        let received = &mut self.bench.clients[self.bob].subscribe().received;
        let mut packets = std::mem::take(received);
        packets.sort_by_key(|packet| packet.seq_no);
        let whole = packets.iter().filter(|packet| !packet.payload.is_empty());
        let id = |payload: &[u8]| u16::from_be_bytes([payload[2] & 0x7f, payload[3]]);
        let ids: Vec<u16> = whole.map(|packet| id(&packet.payload)).collect();
        let empty = packets.len() - ids.len();
        (ids, empty)
    }
}

#[test]
fn fewer_frames_leave_no_gap_and_come_back() {
    let mut scene = Scene::new();
    scene.frames(60);
    assert_eq!(scene.told(), Some((Some(0), Some(1))));
    let mid = scene.bench.clients[scene.bob].mid_of(scene.track);
    for (fps, temporal, frames) in [(10, 0, 20), (0, 1, 40), (12, 0, 20), (20, 1, 40)] {
        scene.wish(fps);
        scene.frames(2);
        scene.bench.clients[scene.bob].subscribe().received.clear();
        scene.frames(40);
        assert_eq!(scene.told(), Some((Some(0), Some(temporal))), "{fps}");
        assert_eq!(scene.bench.gaps(scene.bob, mid), 0);
        let (ids, empty) = scene.pictures();
        assert_eq!((ids.len(), empty), (frames, 0), "{fps}");
        let next = |pair: &[u16]| pair[1] == (pair[0] + 1) & 0x7fff;
        assert!(ids.windows(2).all(next), "{ids:?}");
    }
}

#[test]
fn what_is_not_due_any_more_fills_its_number_when_it_comes_late() {
    let mut scene = Scene::new();
    scene.frames(61);
    scene.wish(10);
    scene.frames(2);
    let mid = scene.bench.clients[scene.bob].mid_of(scene.track);
    scene.pictures();
    for _ in 0..4 {
        let late = scene.next();
        scene.frames(1);
        scene.bench.send(scene.alice, &late);
        scene.frames(2);
    }
    assert_eq!(scene.bench.gaps(scene.bob, mid), 0);
    let (ids, empty) = scene.pictures();
    assert_eq!((ids.len(), empty), (8, 4));
    // Which pictures those were nobody could know in time.
    assert_eq!(ids.last().unwrap() - ids[0], 7 + 3);
}

#[test]
fn layers_are_listed_with_what_each_adds() {
    let mut scene = Scene::new();
    scene.frames(100);
    let carol = scene.bench.join("room");
    let joined = scene.bench.clients[carol].events.iter();
    let mut tracks = joined.filter_map(|event| match event {
        EventKind::Joined { tracks, .. } => Some(tracks.clone()),
        _ => None,
    });
    let layers = tracks.next().unwrap().remove(0).layers;
    let indices: Vec<_> = layers.iter().map(|l| (l.spatial, l.temporal)).collect();
    assert_eq!(indices, [(0, 0), (0, 1)]);
    let [base, above] = layers.as_slice() else {
        panic!("two");
    };
    assert!(base.active && above.active);
    assert!((11..=14).contains(&base.fps), "{base:?}");
    assert!((22..=26).contains(&above.fps), "{above:?}");
    let apart = base.bitrate_bps.abs_diff(above.bitrate_bps);
    assert!(base.bitrate_bps > 8_000 && apart < 2_000, "{layers:?}");
}

#[test]
fn a_frame_that_was_lost_is_sent_again_as_it_was() {
    let mut scene = Scene::new();
    scene.frames(60);
    scene.wish(10);
    scene.frames(3);
    let mid = scene.bench.clients[scene.bob].mid_of(scene.track);
    scene.pictures();
    let mut all = Vec::new();
    for frame in 0..60 {
        scene.bench.lose_media_to_clients = frame % 12 == 5;
        scene.frames(1);
        scene.bench.lose_media_to_clients = false;
    }
    scene.bench.run(Duration::from_secs(1));
    assert_eq!(scene.bench.gaps(scene.bob, mid), 0);
    all.extend(scene.pictures().0);
    assert_eq!(all.len(), 30);
    assert!(all.windows(2).all(|pair| pair[1] == (pair[0] + 1) & 0x7fff));
}
