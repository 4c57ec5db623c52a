use super::*;

struct Layers {
    feeds: Vec<Feed>,
}

impl Layers {
    fn new(mid: str0m::media::Mid) -> Self {
        let mut feeds: Vec<Feed> = ["q", "h", "f"]
            .iter()
            .map(|rid| Feed::video(mid, Some(rid)))
            .collect();
        for (index, feed) in feeds.iter_mut().enumerate() {
            let index = index as u32;
            feed.packet.timestamp = 1_000_000 * index;
            feed.packet.sequence = 100 + 7_000 * u64::from(index);
            feed.picture = 1_000 * index as u16;
        }
        Layers { feeds }
    }

    /// One frame of each of these layers. Payloads are tagged 1, 2, 3.
    fn frame(&mut self, bench: &mut Bench, client: usize, layers: &[usize], keyframe: bool) {
        bench.run(FRAME);
        for layer in layers {
            let packet = self.feeds[*layer].next(keyframe, *layer as u8 + 1);
            bench.send(client, &packet);
        }
    }
}

fn scene() -> (Bench, usize, usize, TrackId, Layers) {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let mids = bench.publish(alice, &[SIMULCAST]);
    bench.run(Duration::from_secs(1));
    let track = bench.clients[alice].track(0);
    let bob = bench.join("room");
    bench.watch(bob, &[track]);
    (bench, alice, bob, track, Layers::new(mids[0]))
}

fn layer_events(bench: &Bench, client: usize) -> Vec<Option<u8>> {
    let events = bench.clients[client].events.iter();
    let layers = events.filter_map(|event| match event {
        EventKind::Layer { spatial, .. } => Some(*spatial),
        _ => None,
    });
    layers.collect()
}

#[test]
fn the_highest_active_layer_is_forwarded_and_silence_falls_back() {
    let (mut bench, alice, bob, track, mut layers) = scene();
    layers.frame(&mut bench, alice, &[0, 1, 2], true);
    for frame in 0..60 {
        layers.frame(&mut bench, alice, &[0, 1, 2], frame == 30);
    }
    let mid = bench.clients[bob].mid_of(track);
    assert_eq!(layer_events(&bench, bob).last(), Some(&Some(2)));
    assert!(bench.count(bob, 3) >= 30);
    // The top layer falls silent; a second later the next one is asked for a keyframe.
    bench.clients[bob].subscribe().received.clear();
    bench.clients[alice].publish().keyframe_requests.clear();
    for _ in 0..50 {
        layers.frame(&mut bench, alice, &[0, 1], false);
    }
    let asked = bench.clients[alice].publish().keyframe_requests.clone();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|(_, rid)| rid.as_deref() == Some("h")),
        "{asked:?}"
    );
    assert_eq!(bench.count(bob, 2), 0, "no switch but at a keyframe");
    layers.frame(&mut bench, alice, &[0, 1], true);
    for _ in 0..20 {
        layers.frame(&mut bench, alice, &[0, 1], false);
    }
    assert_eq!(bench.count(bob, 2), 21);
    assert_eq!(layer_events(&bench, bob).last(), Some(&Some(1)));
    // It comes back.
    for frame in 0..60 {
        layers.frame(&mut bench, alice, &[0, 1, 2], frame == 40);
    }
    assert_eq!(layer_events(&bench, bob).last(), Some(&Some(2)));
    assert_eq!(bench.count(bob, 3), 20);
    assert_eq!(bench.count(bob, 1), 0);
    bench.assert_continuous(bob, mid);
}

#[test]
fn a_late_packet_of_the_abandoned_layer_is_never_forwarded() {
    let (mut bench, alice, bob, track, mut layers) = scene();
    layers.frame(&mut bench, alice, &[1], true);
    layers.frame(&mut bench, alice, &[1], false);
    let late = layers.feeds[1].next(false, 77);
    layers.frame(&mut bench, alice, &[1], false);
    layers.frame(&mut bench, alice, &[2], true);
    layers.frame(&mut bench, alice, &[2], true);
    assert!(bench.count(bob, 3) > 0, "switched up");
    bench.send(alice, &late);
    layers.frame(&mut bench, alice, &[2], false);
    assert_eq!(bench.count(bob, 77), 0);
    let mid = bench.clients[bob].mid_of(track);
    // The missing one was sent before the switch: its gap stays, everything else is continuous.
    let gaps = bench.gaps(bob, mid);
    assert_eq!(gaps, 1);
}

#[test]
fn a_wish_is_met_by_the_smallest_layer_that_fills_it() {
    let (mut bench, alice, bob, track, mut layers) = scene();
    let sizes = [(320, 180), (640, 360), (1280, 720)];
    let frame = |bench: &mut Bench, layers: &mut Layers, keyframe: bool| {
        bench.run(FRAME);
        for (layer, (width, height)) in sizes.iter().enumerate() {
            let mut packet = layers.feeds[layer].next(keyframe, layer as u8 + 1);
            if keyframe {
                set_size(&mut packet.payload, *width, *height);
            }
            bench.send(alice, &packet);
        }
    };
    frame(&mut bench, &mut layers, true);
    for number in 0..30 {
        frame(&mut bench, &mut layers, number % 10 == 9);
    }
    assert_eq!(layer_events(&bench, bob).last(), Some(&Some(2)));
    let wish = |width, height, paused| {
        Action::Wish(Wish {
            track,
            width,
            height,
            fps: 0,
            priority: 0,
            paused,
        })
    };
    for ((width, height), expected) in [((300, 100), 0), ((400, 300), 1), ((4000, 3000), 2)] {
        bench.ok(bob, wish(width, height, false));
        for number in 0..30 {
            frame(&mut bench, &mut layers, number % 10 == 9);
        }
        assert_eq!(layer_events(&bench, bob).last(), Some(&Some(expected)));
    }
    bench.ok(bob, wish(0, 0, true));
    assert_eq!(layer_events(&bench, bob).last(), Some(&None));
    bench.clients[bob].subscribe().received.clear();
    for number in 0..30 {
        frame(&mut bench, &mut layers, number % 10 == 9);
    }
    assert!(bench.clients[bob].subscribe().received.is_empty());
    bench.ok(bob, wish(0, 0, false));
    for number in 0..30 {
        frame(&mut bench, &mut layers, number % 10 == 9);
    }
    assert_eq!(layer_events(&bench, bob).last(), Some(&Some(2)));
    let mid = bench.clients[bob].mid_of(track);
    bench.assert_continuous(bob, mid);
}

#[test]
fn layers_declared_in_reverse_are_put_in_order_by_their_pictures() {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let reversed = Publication::Track(
        str0m::media::MediaKind::Video,
        Source::Camera,
        &["f", "h", "q"],
    );
    let mids = bench.publish(alice, &[reversed]);
    bench.run(Duration::from_secs(1));
    let track = bench.clients[alice].track(0);
    let bob = bench.join("room");
    bench.watch(bob, &[track]);
    let mut layers = Layers::new(mids[0]);
    let sizes = [(320, 180), (640, 360), (1280, 720)];
    for number in 0..60 {
        bench.run(FRAME);
        for (layer, (width, height)) in sizes.iter().enumerate() {
            let keyframe = number % 15 == 0;
            let mut packet = layers.feeds[layer].next(keyframe, layer as u8 + 1);
            if keyframe {
                set_size(&mut packet.payload, *width, *height);
            }
            bench.send(alice, &packet);
        }
    }
    assert_eq!(layer_events(&bench, bob).last(), Some(&Some(2)));
    let last = bench.clients[bob].subscribe().received.last().unwrap();
    assert_eq!(last.payload.last(), Some(&3), "the 720p layer, rid f");
    let carol = bench.join("room");
    let infos = bench.clients[carol].events.iter().find_map(|e| match e {
        EventKind::Joined { tracks, .. } => Some(tracks.clone()),
        _ => None,
    });
    let layers: Vec<_> = infos.unwrap().remove(0).layers;
    let order: Vec<&str> = layers.iter().filter_map(|l| l.rid.as_deref()).collect();
    assert_eq!(order, ["q", "h", "f"]);
    assert!(layers.iter().all(|layer| layer.active));
}

/// Writes a size into the keyframe that `vp8` makes.
fn set_size(payload: &mut [u8], width: u16, height: u16) {
    payload[12..14].copy_from_slice(&width.to_le_bytes());
    payload[14..16].copy_from_slice(&height.to_le_bytes());
}
