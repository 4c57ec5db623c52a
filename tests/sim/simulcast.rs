//! Simulcast: which layer a subscriber gets, and that no switch shows.

use std::time::Duration;

use rillway_core::api::{Action, EventKind, Wish};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

/// Sizes of the layers of [`TrackSpec::simulcast`].
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1_280, 720)];

fn wish(world: &mut World, who: Who, from: Who, (width, height): (u16, u16), paused: bool) {
    let track = world.track(from, 0);
    let wish = Wish {
        track,
        width,
        height,
        fps: 0,
        priority: 0,
        paused,
    };
    world.ask(who, Action::Wish(wish)).expect("subscribed");
}

/// The layer of the newest packet.
fn layer(world: &World, who: Who, from: Who) -> Option<u8> {
    let newest = world.inbound(who, from, 0)?.newest?;
    Some(newest.body.layer)
}

/// A publisher whose layers have run for a while, and a viewer.
fn room(seed: u64) -> (World, Who, Who) {
    let mut world = World::with_shard(seed);
    let from = world.join("r", vec![TrackSpec::simulcast()]);
    let to = world.join("r", vec![]);
    assert!(
        world.run_until(SOON, |w| w.hears(to, from)),
        "simulcast is not heard"
    );
    world.run_for(Duration::from_secs(2));
    (world, from, to)
}

#[test]
fn the_wished_size_chooses_the_layer_and_switches_do_not_show() {
    let (mut world, from, to) = room(51);
    let order = [0, 2, 1, 0, 1, 2, 0, 2, 2, 1];
    for wanted in order {
        wish(&mut world, to, from, SIZES[wanted], false);
        let reached = world.run_until(SOON, |w| layer(w, to, from) == Some(wanted as u8));
        assert!(reached, "layer {wanted} is not reached");
        // And it stays there, alone.
        let before: Vec<u64> = (0..3).map(|l| packets(&world, to, from, l)).collect();
        world.run_for(Duration::from_millis(700));
        for (l, before) in (0..3).zip(before) {
            let more = packets(&world, to, from, l) - before;
            assert_eq!(
                more > 10,
                usize::from(l) == wanted,
                "layer {l}: {more} packets"
            );
        }
    }
    world.stop_media();
    let inbound = world.inbound(to, from, 0).expect("subscribed");
    assert_eq!(inbound.rtp_gaps(), 0);
    assert_eq!(inbound.ssrcs.len(), 1);
    assert!(inbound.switches >= 7, "{} switches", inbound.switches);
    world.assert_sound();
    let told: Vec<_> = world
        .client(to)
        .events
        .iter()
        .filter_map(|e| match e {
            EventKind::Layer {
                spatial: Some(spatial),
                ..
            } => Some(*spatial),
            _ => None,
        })
        .collect();
    assert!(
        told.ends_with(&[0, 2, 1, 0, 1, 2, 0, 2, 1]),
        "told {told:?}"
    );
}

fn packets(world: &World, to: Who, from: Who, layer: u8) -> u64 {
    let inbound = world.inbound(to, from, 0);
    let log = inbound.and_then(|i| i.layers.get(&layer));
    log.map_or(0, |l| l.packets)
}

#[test]
fn viewers_with_different_wishes_get_different_layers_at_once() {
    let (mut world, from, first) = room(52);
    let mut viewers = vec![first];
    for _ in 0..5 {
        viewers.push(world.join("r", vec![]));
    }
    assert!(world.run_until(SOON, |w| viewers.iter().all(|v| w.hears(*v, from))));
    for (i, viewer) in viewers.iter().enumerate() {
        wish(&mut world, *viewer, from, SIZES[i % 3], false);
    }
    world.run_for(Duration::from_secs(3));
    for (i, viewer) in viewers.iter().enumerate() {
        assert_eq!(
            layer(&world, *viewer, from),
            Some((i % 3) as u8),
            "viewer {i}"
        );
    }
    world.stop_media();
    world.assert_sound();
}

#[test]
fn a_paused_wish_stops_a_track_and_its_end_resumes_it() {
    let (mut world, from, to) = room(53);
    for round in 0..3 {
        wish(&mut world, to, from, SIZES[2], true);
        world.run_for(Duration::from_millis(100));
        let stopped = world.received(to, from, 0);
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.received(to, from, 0), stopped, "round {round}");
        wish(&mut world, to, from, SIZES[2], false);
        let resumed = world.run_until(SOON, |w| w.received(to, from, 0) > stopped + 30);
        assert!(resumed, "round {round}");
    }
    world.stop_media();
    assert_eq!(
        world.inbound(to, from, 0).expect("subscribed").rtp_gaps(),
        0
    );
    world.assert_sound();
}

#[test]
fn a_layer_that_falls_silent_is_replaced_by_a_smaller_one() {
    let (mut world, from, to) = room(54);
    wish(&mut world, to, from, SIZES[2], false);
    assert!(world.run_until(SOON, |w| layer(w, to, from) == Some(2)));
    world.with(from, |c, _| c.published[0].layers[2].paused = true);
    let fell = world.run_until(SOON, |w| layer(w, to, from) == Some(1));
    assert!(fell, "still waits for a layer that is gone");
    world.run_for(Duration::from_secs(1));
    world.with(from, |c, _| c.published[0].layers[2].paused = false);
    let rose = world.run_until(SOON * 2, |w| layer(w, to, from) == Some(2));
    assert!(rose, "does not come back");
    world.stop_media();
    world.assert_sound();
}

#[test]
fn packets_that_arrive_late_around_a_switch_do_not_show() {
    use str0m_netem::NetemConfig;
    let (mut world, from, to) = room(55);
    // Half of the publisher's packets overtake others: both layers are reordered while switching.
    let unruly = NetemConfig::new()
        .latency(Duration::from_millis(20))
        .jitter(Duration::from_millis(15));
    world.links(from).0.set_config(unruly.seed(551));
    for round in 0..20 {
        let wanted = [2, 0, 1][round % 3];
        wish(&mut world, to, from, SIZES[wanted], false);
        let reached = world.run_until(SOON, |w| layer(w, to, from) == Some(wanted as u8));
        assert!(reached, "round {round}");
        world.run_for(Duration::from_millis(300));
    }
    world.stop_media();
    world.assert_sound();
}
