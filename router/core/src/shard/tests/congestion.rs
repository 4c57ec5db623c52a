//! Layers and estimates toward subscribers behind links, in virtual time.

use std::time::Instant;

use str0m::media::{KeyframeRequestKind, Mid};

use super::*;
use crate::inspect::EstimateBounds;

/// Bits per second of the layers' payload.
const LAYERS_BPS: [u32; 3] = [150_000, 500_000, 1_400_000];
const RIDS: [&str; 3] = ["q", "h", "f"];
const PICTURE: Duration = Duration::from_micros(33_333);
const SOUND: Duration = Duration::from_millis(20);
/// Payload type of sound.
const OPUS: u8 = 111;
const STEP: Duration = Duration::from_millis(1);

/// A publisher of sound and three layers, and a viewer behind a link.
struct Scene {
    bench: Bench,
    alice: usize,
    bob: usize,
    picture: TrackId,
    sound: Feed,
    layers: Vec<(Feed, u32)>,
    began: Instant,
    sound_at: Instant,
    picture_at: Instant,
    /// Share of the bit rate that is used now.
    busy: f64,
    /// A keyframe is so much larger than other pictures.
    keyframe: usize,
    /// Alice says nothing.
    silent: bool,
    /// Estimates every 100 ms: seconds, bits per second.
    estimates: Vec<(f64, f64)>,
    noise: fastrand::Rng,
}

impl Scene {
    fn new(layers: &[u32], link: LinkConfig) -> Self {
        Self::with(Bench::new(), layers, link)
    }

    fn with(mut bench: Bench, layers: &[u32], link: LinkConfig) -> Self {
        fastrand_seed(11);
        let alice = bench.join("room");
        let video = if layers.len() == 3 { SIMULCAST } else { VIDEO };
        let mids = bench.publish(alice, &[AUDIO, video]);
        bench.run(Duration::from_secs(1));
        let bob = bench.join("room");
        let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
        bench.watch(bob, &tracks);
        bench.set_link(bob, link);
        let feed = |(place, bps): (usize, &u32)| {
            let rid = (layers.len() == 3).then_some(RIDS[place]);
            let mut feed = Feed::video(mids[1], rid);
            feed.packet.timestamp = 1_000_000 * place as u32;
            feed.packet.sequence = 100 + 7_000 * place as u64;
            (feed, *bps)
        };
        let now = bench.now;
        Scene {
            alice,
            bob,
            picture: tracks[1],
            sound: Feed::audio(mids[0]),
            layers: layers.iter().enumerate().map(feed).collect(),
            began: now,
            sound_at: now,
            picture_at: now,
            busy: 1.0,
            keyframe: 5,
            silent: false,
            estimates: Vec::new(),
            noise: fastrand::Rng::with_seed(3),
            bench,
        }
    }

    fn run(&mut self, seconds: f64) {
        let until = self.bench.now + Duration::from_secs_f64(seconds);
        while self.bench.now < until {
            self.bench.now += STEP;
            let now = self.bench.now;
            if now >= self.sound_at && !self.silent {
                self.sound_at += SOUND;
                let packet = self.sound.next(false, 1);
                self.bench.clients[self.alice]
                    .publish()
                    .send_rtp(now, &packet);
            }
            if now >= self.picture_at {
                self.picture_at += PICTURE;
                self.send_pictures(now);
            }
            self.bench.settle();
            let elapsed = (now - self.began).as_millis();
            if elapsed.is_multiple_of(100) {
                let bps = self.bench.network(self.bob).estimate_bps;
                self.estimates
                    .push((elapsed as f64 / 1_000.0, bps.map_or(0.0, f64::from)));
            }
        }
    }

    fn send_pictures(&mut self, now: Instant) {
        let end = self.bench.clients[self.alice].publish();
        let asked: Vec<Option<String>> = std::mem::take(&mut end.keyframe_requests)
            .into_iter()
            .map(|(_, rid)| rid.map(|rid| rid.to_string()))
            .collect();
        for (place, (feed, bps)) in self.layers.iter_mut().enumerate() {
            let rid = feed.packet.rid.map(|rid| rid.to_string());
            let first = feed.picture == 500;
            let keyframe = first || asked.contains(&rid);
            let mean = f64::from(*bps) * PICTURE.as_secs_f64() / 8.0 * self.busy;
            // Pictures differ in size.
            let mean = mean * (0.8 + 0.4 * self.noise.f64());
            let bytes = mean as usize * if keyframe { self.keyframe } else { 1 };
            let whole = feed.next(keyframe, place as u8);
            let packets = bytes.div_ceil(1_100).max(1);
            for part in 0..packets {
                let mut packet = whole.clone();
                packet.sequence = feed.packet.sequence;
                packet.marker = part + 1 == packets;
                if part > 0 {
                    // Not the first of a partition (RFC 7741 §4.2).
                    packet.payload[0] &= !0x10;
                    feed.packet.sequence += 1;
                    packet.sequence += 1;
                }
                packet
                    .payload
                    .resize((bytes / packets).max(60), place as u8);
                end.send_rtp(now, &packet);
            }
        }
    }

    fn seconds(&self) -> f64 {
        (self.bench.now - self.began).as_secs_f64()
    }

    /// The layer the viewer was last told.
    fn layer(&self) -> Option<u8> {
        let events = self.bench.clients[self.bob].events.iter().rev();
        let mut told = events.filter_map(|event| match event {
            EventKind::Layer { spatial, .. } => Some(*spatial),
            _ => None,
        });
        told.next().flatten()
    }

    /// Runs until the viewer has this layer; how long that took.
    fn until(&mut self, layer: Option<u8>, most: f64) -> f64 {
        let begin = self.seconds();
        while self.layer() != layer && self.seconds() - begin < most {
            self.run(0.1);
        }
        self.seconds() - begin
    }

    /// Mean of the estimates from a second on, and the worst deviation from a rate.
    fn mean(&self, from: f64) -> f64 {
        let estimates = self.estimates.iter().filter(|(at, _)| *at >= from);
        let known: Vec<f64> = estimates.map(|(_, bps)| *bps).collect();
        known.iter().sum::<f64>() / known.len() as f64
    }

    fn within(&self, from: f64, bps: f64, share: f64) -> f64 {
        let estimates = self.estimates.iter().filter(|(at, _)| *at >= from);
        let known: Vec<bool> = estimates
            .map(|(_, estimate)| (estimate / bps - 1.0).abs() <= share)
            .collect();
        known.iter().filter(|near| **near).count() as f64 / known.len() as f64
    }

    fn passages(&self, from: f64) -> impl Iterator<Item = &Passage> {
        let from = self.began + Duration::from_secs_f64(from);
        let passed = self.bench.link.as_ref().unwrap().passed.iter();
        passed.filter(move |passage| passage.sent >= from)
    }

    /// Longest time in the queue from a second on, milliseconds.
    fn queue_ms(&self, from: f64) -> u128 {
        let queued = self.passages(from).filter_map(|passage| passage.queued);
        queued.max().unwrap().as_millis()
    }

    /// Sound sent and lost from a second on.
    fn sound(&self, from: f64) -> (usize, usize) {
        let sound = |passage: &&Passage| passage.payload_type == OPUS;
        let sent = self.passages(from).filter(sound).count();
        let lost = self
            .passages(from)
            .filter(sound)
            .filter(|p| p.queued.is_none());
        (sent, lost.count())
    }

    /// Longest time between two arrivals of sound from a second on, milliseconds.
    fn silence_ms(&self, from: f64) -> u128 {
        let sound = self.passages(from).filter(|p| p.payload_type == OPUS);
        let arrivals: Vec<Instant> = sound.filter_map(|p| Some(p.sent + p.queued?)).collect();
        let gaps = arrivals.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap().as_millis()
    }

    /// How often the viewer was told another layer.
    fn switches(&self) -> usize {
        let events = self.bench.clients[self.bob].events.iter();
        let told = events.filter(|event| matches!(event, EventKind::Layer { .. }));
        told.count()
    }

    fn mid(&self) -> Mid {
        self.bench.clients[self.bob].mid_of(self.picture)
    }

    /// For failures: what happened.
    fn story(&self, from: f64) -> String {
        let estimates = self.estimates.iter().filter(|(at, _)| *at >= from);
        let estimates: Vec<u64> = estimates.step_by(5).map(|e| (e.1 / 1e3) as u64).collect();
        format!(
            "mean {:.0} kb/s, queue {} ms, layer {:?}, sound sent and lost {:?}, silent {} ms, {:?}, {:?}, \
             kb/s each half second {estimates:?}",
            self.mean(from) / 1e3,
            self.queue_ms(from),
            self.layer(),
            self.sound(from),
            self.silence_ms(from),
            self.bench.network(self.bob),
            self.bench.shard.stats(),
        )
    }
}

#[test]
fn a_steady_link_is_known_within_a_tenth_and_its_queue_stays_short() {
    for (rate, layer) in [(0.3e6, 0), (1e6, 1), (2e6, 2), (3e6, 2)] {
        for delay in [10, 150] {
            let mut link = LinkConfig::new(rate);
            link.delay = Duration::from_millis(delay);
            let mut scene = Scene::new(&LAYERS_BPS, link);
            scene.run(10.0);
            let before = scene.switches();
            scene.run(16.0);
            let story = format!("{rate} b/s, {delay} ms: {}", scene.story(8.0));
            assert!(scene.within(10.0, rate, 0.1) > 0.95, "{story}");
            assert!(scene.queue_ms(8.0) < 250, "{story}");
            assert_eq!(scene.layer(), Some(layer), "{story}");
            assert_eq!(scene.switches(), before, "{story}");
            assert_eq!(scene.sound(8.0).1, 0, "{story}");
            assert!(scene.silence_ms(8.0) < 150, "{story}");
        }
    }
}

#[test]
fn a_link_that_changes_is_followed_down_and_up() {
    let mut scene = Scene::new(&LAYERS_BPS, LinkConfig::new(2e6));
    scene.run(20.0);
    assert_eq!(scene.layer(), Some(2), "{}", scene.story(5.0));
    let changed = scene.seconds();
    scene.bench.set_link(scene.bob, LinkConfig::new(5e5));
    let took = scene.until(Some(0), 10.0);
    assert!(took < 3.0, "down after {took} s");
    scene.run(20.0);
    let story = scene.story(changed);
    assert!(scene.queue_ms(changed + 3.0) < 250, "{story}");
    assert!(scene.within(changed + 6.0, 5e5, 0.1) > 0.95, "{story}");
    assert_eq!(scene.sound(changed + 3.0).1, 0, "{story}");
    assert!(scene.silence_ms(changed) < 500, "{story}");
    let changed = scene.seconds();
    scene.bench.set_link(scene.bob, LinkConfig::new(2e6));
    let took = scene.until(Some(2), 30.0);
    assert!(took < 15.0, "up after {took} s");
    scene.run(20.0);
    let story = scene.story(changed);
    assert!(scene.within(changed + 15.0, 2e6, 0.1) > 0.95, "{story}");
    assert!(scene.queue_ms(changed) < 250, "{story}");
    assert!(scene.switches() < 12, "{}: {story}", scene.switches());
}

#[test]
fn loss_jitter_and_reordering_are_not_taken_for_congestion() {
    for seed in 0..3 {
        let mut link = LinkConfig::new(1e6);
        link.loss = 0.05;
        link.burst_loss = 0.005;
        link.reorder = 0.01;
        link.jitter = Duration::from_millis(30);
        link.delay = Duration::from_millis(50);
        let mut scene = Scene::new(&LAYERS_BPS, link);
        scene.noise = fastrand::Rng::with_seed(seed);
        scene.run(60.0);
        let story = scene.story(10.0);
        assert!(
            (scene.mean(10.0) / 1e6 - 1.0).abs() < 0.1,
            "{seed}: {story}"
        );
        assert!(scene.within(10.0, 1e6, 0.2) > 0.9, "{seed}: {story}");
        assert!(scene.queue_ms(8.0) < 250, "{seed}: {story}");
        assert_eq!(scene.layer(), Some(1), "{seed}: {story}");
        link.rate_bps = 5e6;
        let mut scene = Scene::new(&LAYERS_BPS, link);
        scene.noise = fastrand::Rng::with_seed(seed);
        scene.run(5.0);
        let before = scene.switches();
        scene.run(25.0);
        let story = scene.story(10.0);
        assert!(scene.mean(10.0) > 2.5e6, "{seed}: {story}");
        let after = scene.switches() - before;
        assert_eq!((scene.layer(), after), (Some(2), 0), "{seed}: {story}");
    }
}

#[test]
fn a_path_that_drops_instead_of_queueing_is_bounded_by_its_loss() {
    let mut link = LinkConfig::new(1e6);
    link.queue = Duration::from_millis(15);
    let mut scene = Scene::new(&LAYERS_BPS, link);
    scene.run(5.0);
    assert!(scene.mean(4.0) < 1e6, "{}", scene.story(0.0));
    scene.run(35.0);
    let story = scene.story(10.0);
    assert_eq!(scene.layer(), Some(1), "{story}");
    assert!((scene.mean(15.0) / 1e6 - 1.0).abs() < 0.1, "{story}");
    let (sent, lost) = scene.sound(10.0);
    assert!(lost * 20 < sent, "{story}");
}

#[test]
fn a_stream_that_nearly_fills_its_link_keeps_it() {
    let mut scene = Scene::new(&[700_000], LinkConfig::new(1e6));
    scene.run(5.0);
    let before = scene.switches();
    scene.run(55.0);
    let story = scene.story(5.0);
    let after = scene.switches() - before;
    assert_eq!((scene.layer(), after), (Some(0), 0), "{story}");
    assert!((scene.mean(10.0) / 1e6 - 1.0).abs() < 0.1, "{story}");
    assert!(scene.queue_ms(5.0) < 250, "{story}");
}

#[test]
fn what_stands_still_keeps_its_estimate_and_may_move_at_once() {
    let mut scene = Scene::new(&[1_000_000], LinkConfig::new(20e6));
    scene.run(10.0);
    assert!(scene.mean(8.0) > 2e6, "{}", scene.story(0.0));
    scene.busy = 0.02;
    scene.run(60.0);
    assert!(scene.mean(68.0) > 2e6, "{}", scene.story(60.0));
    scene.busy = 1.5;
    scene.run(5.0);
    assert_eq!(
        (scene.layer(), scene.switches()),
        (Some(0), 1),
        "{}",
        scene.story(60.0)
    );
    assert_eq!(scene.bench.shard.stats().pacer_dropped, 0);
}

impl Scene {
    fn viewer_asks(&mut self, ask: impl Fn(&mut str0m::rtp::StreamRx)) {
        let mid = self.mid();
        let now = self.bench.now;
        let end = self.bench.clients[self.bob].subscribe();
        let mut api = end.rtc.direct_api();
        ask(api.stream_rx_by_mid(mid, None).unwrap());
        end.tick_at(now);
    }
}

#[test]
fn a_keyframe_is_spread_and_sound_passes_it() {
    let mut scene = Scene::new(&LAYERS_BPS, LinkConfig::new(1e6));
    scene.run(20.0);
    let asked = scene.bench.shard.stats().keyframe_requests_sent;
    // 250 ms of the link.
    scene.keyframe = 15;
    for _ in 0..5 {
        scene.viewer_asks(|stream| stream.request_keyframe(KeyframeRequestKind::Pli));
        scene.run(3.0);
    }
    let asked = scene.bench.shard.stats().keyframe_requests_sent - asked;
    let story = scene.story(20.0);
    assert_eq!(asked, 5, "{story}");
    assert!(scene.queue_ms(20.0) < 120, "{story}");
    assert!(scene.silence_ms(20.0) < 120, "{story}");
    assert_eq!(scene.layer(), Some(1), "{story}");
}

#[test]
fn a_link_that_all_but_stops_leaves_no_gap_and_pictures_come_back() {
    let mut link = LinkConfig::new(2e6);
    link.queue = Duration::from_secs(60);
    let mut scene = Scene::new(&LAYERS_BPS, link);
    scene.run(10.0);
    for round in 0..3 {
        link.rate_bps = 120_000.0;
        scene.bench.set_link(scene.bob, link);
        scene.run(10.0);
        assert_eq!(scene.layer(), None, "{round}: {}", scene.story(10.0));
        link.rate_bps = 2e6;
        scene.bench.set_link(scene.bob, link);
        let took = scene.until(Some(2), 30.0);
        assert!(took < 15.0, "{round}: {took} s: {}", scene.story(10.0));
        scene.run(3.0);
    }
    let (bob, mid) = (scene.bob, scene.mid());
    assert_eq!(scene.bench.gaps(bob, mid), 0);
    assert_eq!(scene.sound(0.0).1, 0);
}

#[test]
fn pictures_come_back_even_where_nothing_else_is_sent() {
    let mut link = LinkConfig::new(2e6);
    let mut scene = Scene::new(&[700_000], link);
    scene.silent = true;
    scene.run(10.0);
    assert_eq!(scene.layer(), Some(0));
    link.rate_bps = 120_000.0;
    scene.bench.set_link(scene.bob, link);
    let took = scene.until(None, 10.0);
    assert!(took < 5.0, "{took} s");
    scene.run(60.0);
    assert_eq!(scene.layer(), None);
    link.rate_bps = 2e6;
    scene.bench.set_link(scene.bob, link);
    let took = scene.until(Some(0), 60.0);
    assert!(took < 15.0, "{took} s");
    // A way that is lost and found.
    link.rate_bps = 120_000.0;
    scene.bench.set_link(scene.bob, link);
    scene.until(None, 10.0);
    let address = scene.bench.clients[scene.bob].subscribe().outside();
    scene.bench.link = None;
    scene.bench.blackhole = Some(address);
    scene.run(8.0);
    scene.bench.blackhole = None;
    let took = scene.until(Some(0), 60.0);
    assert!(took < 20.0, "{took} s");
}

#[test]
fn a_client_without_transport_wide_feedback_is_bounded_by_what_it_says() {
    let mut bench = Bench::new();
    bench.without_transport_feedback = true;
    let mut scene = Scene::with(bench, &LAYERS_BPS, LinkConfig::new(10e6));
    scene.run(5.0);
    let network = scene.bench.network(scene.bob);
    assert_eq!((network.estimate_bps, scene.layer()), (None, Some(2)));
    assert_eq!(network.bounds, EstimateBounds::default());
    scene.viewer_asks(|stream| stream.request_remb(str0m::bwe::Bitrate::kbps(800)));
    scene.run(5.0);
    let network = scene.bench.network(scene.bob);
    assert_eq!(
        (network.estimate_bps, scene.layer()),
        (Some(800_000), Some(1))
    );
    assert_eq!(network.bounds.remb_bps, Some(800_000));
    let stats = scene.bench.shard.stats();
    let sent = (stats.probes_sent, stats.padding_sent, stats.pacer_dropped);
    assert_eq!((stats.feedback_received, sent), (0, (0, 0, 0)));
}

#[test]
fn packets_are_numbered_where_feedback_on_them_was_negotiated_and_nowhere_else() {
    for (video, audio) in [(true, true), (true, false), (false, false)] {
        let mut bench = Bench::new();
        let (alice, mids) = bench.talker("room");
        let bob = bench.join("room");
        bench.clients[bob].answers = false;
        let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
        for track in tracks {
            bench.ok(bob, Action::Subscribe(track));
        }
        // The last offer has both, and is due when the one before is answered.
        for offer in 0..2 {
            let (offer_id, mut sdp, _) = bench.clients[bob].last_offer();
            assert!(sdp.contains("transport-wide-cc-extensions-01"), "{sdp}");
            let offered = sdp.contains("a=rtcp-fb:111 transport-cc\r\n");
            assert_eq!(offered, offer == 0 || audio, "{sdp}");
            let kept = |line: &&str| {
                let sound = line.starts_with("a=rtcp-fb:111 ");
                let known = if sound { audio } else { video };
                known || !line.contains(" transport-cc")
            };
            sdp = sdp.split_inclusive('\n').filter(kept).collect();
            bench.answer(bob, offer_id, &sdp);
            bench.settle();
        }
        bench.run(Duration::from_secs(1));
        let mut feeds = [Feed::audio(mids[0]), Feed::video(mids[1], None)];
        for frame in 0..30 {
            bench.run(FRAME);
            for feed in &mut feeds {
                bench.send(alice, &feed.next(frame == 0, 1));
            }
        }
        let sections = tracks.map(|track| bench.clients[bob].mid_of(track));
        let end = bench.clients[bob].subscribe();
        for (mid, numbered) in sections.into_iter().zip([audio, video]) {
            let ssrc = end
                .rtc
                .direct_api()
                .stream_rx_by_mid(mid, None)
                .unwrap()
                .ssrc();
            let packets = end.received.iter().filter(|p| p.header.ssrc == ssrc);
            let numbers = packets.map(|p| p.header.ext_vals.transport_cc.is_some());
            let numbers: Vec<bool> = numbers.collect();
            assert!(numbers.len() > 20);
            assert_eq!(numbers, vec![numbered; numbers.len()], "{video} {audio}");
        }
        let stats = bench.shard.stats();
        assert_eq!(stats.feedback_received > 0, video || audio);
        assert_eq!(stats.feedback_malformed, 0);
        assert_eq!(bench.network(bob).loss_permille, 0);
    }
}

#[test]
fn a_viewer_costs_little_and_leaves_nothing() {
    let mut scene = Scene::new(&LAYERS_BPS, LinkConfig::new(0.5e6));
    scene.run(10.0);
    assert!(scene.bench.shard.stats().probes_sent > 0);
    let (alice, bob) = (scene.alice, scene.bob);
    scene.bench.link = None;
    for client in [bob, alice] {
        scene.bench.ok(client, Action::Leave);
    }
    assert_eq!(scene.bench.shard.table_sizes(), TableSizes::default());
    assert_eq!(scene.bench.shard.poll_timeout(), None);
}
