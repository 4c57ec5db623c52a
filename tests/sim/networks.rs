//! Networks that lose, delay, reorder and squeeze: what of a picture still comes, and whether anything stands in a queue.

use std::time::Duration;

use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};
use str0m_netem::{Bitrate, DataSize, GilbertElliot, NetemConfig, Probability};

/// A publisher of sound and these pictures, and a viewer, who decodes.
fn call(seed: u64, pictures: Vec<TrackSpec>) -> (World, Who, Who) {
    let mut world = World::with_shard(seed);
    let mut tracks = vec![TrackSpec::audio()];
    tracks.extend(pictures);
    let from = world.join("r", tracks);
    let to = world.join_with("r", |config| config.decodes = true);
    assert!(world.run_until(SOON, |w| w.hears(to, from)));
    world.run_for(Duration::from_secs(1));
    (world, from, to)
}

/// Frames shown of a track, and the longest time without one.
fn shown(world: &World, to: Who, from: Who, index: usize) -> (u64, Duration) {
    let inbound = world.inbound(to, from, index).expect("subscribed");
    let decoding = inbound.decoding.as_ref().expect("it decodes");
    (
        decoding.shown,
        Duration::from_micros(decoding.longest_micros),
    )
}

/// 3 % of single packets are lost and 2 % in bursts of three, 1 % is overtaken, a packet takes 35 to 65 ms.
fn bad(seed: u64) -> NetemConfig {
    let loss = GilbertElliot::new()
        .good_duration(150.0)
        .bad_duration(3.0)
        .loss_in_good(Probability::new(0.03));
    NetemConfig::new()
        .latency(Duration::from_millis(50))
        .jitter(Duration::from_millis(15))
        .reorder_gap(100)
        .loss(loss)
        .seed(seed)
}

#[test]
fn of_a_picture_over_a_bad_network_nearly_every_frame_is_shown() {
    for seed in 1..=8 {
        let (mut world, from, to) = call(600 + seed, vec![TrackSpec::video(3)]);
        let (up, down) = world.links(to);
        up.set_config(NetemConfig::new().latency(Duration::from_millis(50)));
        down.set_config(bad(seed));
        world.run_for(Duration::from_secs(3));
        let sent = |world: &World| u64::from(world.client(from).published[1].layers[0].frame);
        let before = (shown(&world, to, from, 1).0, sent(&world));
        world.run_for(Duration::from_secs(60));
        let (after, pause) = shown(&world, to, from, 1);
        let (frames, sent) = (after - before.0, sent(&world) - before.1);
        println!("seed {seed}: {frames} of {sent} frames, {pause:?} without one at most");
        assert!(frames * 1_000 >= sent * 995, "{frames} of {sent} frames");
        assert!(pause < Duration::from_secs(1), "{pause:?} without a frame");
        world.assert_sound();
    }
}

/// What an estimate counts of a packet of about 1,040 bytes that a simulated link does not: headers of IP and UDP.
const HEADERS: f64 = 1_068.0 / 1_040.0;

/// Average of the estimates of ten seconds, kilobits per second, and the longest queue, milliseconds.
fn watch(world: &mut World, to: Who) -> (f64, u16) {
    let (mut sum, mut queue) = (0.0, 0);
    for _ in 0..100 {
        world.run_for(Duration::from_millis(100));
        let network = world.network(to).expect("a network");
        sum += f64::from(network.estimate_bps.expect("measured"));
        queue = queue.max(network.queue_ms);
    }
    (sum / 100_000.0, queue)
}

#[test]
fn on_a_link_that_changes_the_estimate_follows_nothing_stands_in_a_queue_and_sound_goes_on() {
    for seed in 1..=4 {
        let pictures = (0..3).map(|_| TrackSpec::simulcast()).collect();
        let (mut world, from, to) = call(700 + seed, pictures);
        let mut dice = fastrand::Rng::with_seed(seed);
        for _ in 0..6 {
            // Less than all layers take.
            let kbps = dice.u64(400..1_800);
            let second = DataSize::bytes(kbps as i64 * 1_000 / 8);
            let link = NetemConfig::new()
                .latency(Duration::from_millis(20))
                .link(Bitrate::kbps(kbps), second)
                .seed(seed);
            world.links(to).1.set_config(link);
            world.run_for(Duration::from_secs(10));
            let (estimate, queue) = watch(&mut world, to);
            println!("seed {seed}: {kbps} kbit/s, estimate {estimate:.0}, queue {queue} ms");
            let share = estimate / HEADERS / kbps as f64;
            assert!((0.9..=1.1).contains(&share), "{estimate} of {kbps} kbit/s");
            assert!(queue <= 250, "{queue} ms stand in a queue");
        }
        let (_, pause) = shown(&world, to, from, 0);
        println!("seed {seed}: {pause:?} without sound at most");
        assert!(
            pause < Duration::from_millis(500),
            "{pause:?} without sound"
        );
        world.assert_sound();
    }
}
