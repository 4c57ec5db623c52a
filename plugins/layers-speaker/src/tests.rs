use proptest::prelude::*;
use sdk::LayerSelection as _;
use sdk::types::{Layer, MediaKind, Track};

use super::*;

/// Bit rates of a picture's layers, bits per second.
const CAMERA: [u32; 3] = [100_000, 400_000, 1_500_000];
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1_280, 720)];
/// Who watches in most tests; owns no track.
const VIEWER: ParticipantId = ParticipantId(1_000);

/// A track; its owner has its number.
fn track(id: u64, source: Source) -> Track {
    let layers = CAMERA.iter().enumerate().map(|(spatial, bps)| Layer {
        spatial: spatial as u8,
        temporal: 0,
        rid: Some(format!("r{spatial}")),
        width: SIZES[spatial].0,
        height: SIZES[spatial].1,
        fps: 30,
        bitrate_bps: *bps,
        active: true,
    });
    Track {
        id: TrackId(id),
        owner: ParticipantId(id),
        kind: MediaKind::Video,
        source,
        codec: "VP8".to_owned(),
        encrypted: false,
        muted: false,
        layers: layers.collect(),
        attributes: Vec::new(),
    }
}

fn subscriber(id: ParticipantId, tracks: &[Track]) -> Subscriber {
    let wish = |track: &Track| Subscription {
        track: track.id,
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
        paused: false,
        spatial: None,
        temporal: None,
    };
    Subscriber {
        id,
        estimate_bps: None,
        audio_bps: 0,
        rtt_ms: 0,
        loss_permille: 0,
        subscriptions: tracks.iter().map(wish).collect(),
        attributes: Vec::new(),
    }
}

fn start(config: &str) -> Result<Speaker, String> {
    sdk::testing::install(sdk::testing::Host {
        config: config.to_owned(),
        ..sdk::testing::Host::default()
    });
    sdk::testing::start()
}

/// A room whose router does as it is told at once.
struct World {
    policy: Speaker,
    /// Is told what changed alone, and has to choose the same.
    sparing: Speaker,
    told: Option<View>,
    view: View,
}

impl World {
    /// Cameras 1 to `cameras`, which [`VIEWER`] watches.
    fn new(cameras: u64, config: &str) -> Self {
        let tracks: Vec<Track> = (1..=cameras).map(|id| track(id, Source::Camera)).collect();
        World {
            policy: start(config).expect("a good configuration"),
            sparing: start(config).expect("a good configuration"),
            told: None,
            view: View {
                now_ms: 1_000,
                subscribers: vec![subscriber(VIEWER, &tracks)],
                tracks,
                ..View::default()
            },
        }
    }

    /// A quarter of a second later.
    fn choose(&mut self) -> Vec<Choice> {
        self.view.now_ms += 250;
        let choices = self.policy.choose(self.view.clone());
        let changes = match &self.told {
            Some(told) => sdk::testing::changes(told, &self.view),
            None => self.view.clone(),
        };
        assert_eq!(self.sparing.choose(changes), choices, "told changes alone");
        self.told = Some(self.view.clone());
        for choice in &choices {
            assert!(choice.reason.len() <= 128, "{}", choice.reason);
            let mut subscribers = self.view.subscribers.iter_mut();
            let subscriber = subscribers.find(|s| s.id == choice.subscriber);
            let mut subscriptions = subscriber.expect("there").subscriptions.iter_mut();
            let chosen = subscriptions.find(|s| s.track == choice.track);
            let chosen = chosen.expect("subscribed");
            chosen.spatial = (!choice.paused).then_some(choice.spatial);
            chosen.temporal = (!choice.paused).then_some(choice.temporal);
        }
        choices
    }

    /// These speak for so long.
    fn speak(&mut self, speakers: &[u64], ms: u64) {
        self.view.speakers = speakers.iter().map(|id| ParticipantId(*id)).collect();
        for _ in 0..ms / 250 {
            self.choose();
        }
    }

    /// A digit for each subscription of a viewer: its layer, `.` for none.
    fn seen(&self, viewer: usize) -> String {
        let subscriptions = self.view.subscribers[viewer].subscriptions.iter();
        let digit = |s: &Subscription| s.spatial.map_or('.', |layer| char::from(b'0' + layer));
        subscriptions.map(digit).collect()
    }

    fn subscription(&mut self, index: usize) -> &mut Subscription {
        &mut self.view.subscribers[0].subscriptions[index]
    }
}

#[test]
fn who_speaks_is_seen_large_and_the_others_small_or_not_at_all() {
    let mut world = World::new(5, r#"{"thumbnails": 2}"#);
    world.speak(&[4], 250);
    assert_eq!(world.seen(0), "00.2.");
    world.view.speakers = vec![ParticipantId(3)];
    world.speak(&[3], 2_500);
    assert_eq!(world.seen(0), "0.20.", "who spoke last is seen small");
    world.speak(&[], 60_000);
    assert_eq!(world.seen(0), "0.20.", "silence changes nothing");
}

#[test]
fn every_choice_has_its_reason_and_is_said_once() {
    let mut world = World::new(3, r#"{"thumbnails": 1}"#);
    world.view.tracks.push(track(4, Source::Screen));
    world.view.subscribers = vec![subscriber(VIEWER, &world.view.tracks)];
    world.view.subscribers[0].estimate_bps = Some(1_000_000);
    world.view.speakers = vec![ParticipantId(2)];
    let choices = world.choose();
    let reasons: Vec<&str> = choices.iter().map(|choice| &*choice.reason).collect();
    assert_eq!(
        reasons,
        [
            "320x180: listens",
            "640x360: speaks, or did last, but 1000 kb/s for all video",
            "listens, beyond 1 small pictures",
            "640x360: a shared screen, but 1000 kb/s for all video",
        ]
    );
    assert_eq!(world.choose(), [], "nothing changed");
}

#[test]
fn a_place_is_kept_for_a_while_and_no_longer() {
    let mut world = World::new(3, r#"{"hold_ms": 1000}"#);
    world.speak(&[1], 5_000);
    assert_eq!(world.seen(0), "200");
    world.speak(&[2], 750);
    world.speak(&[1], 250);
    world.speak(&[2, 1], 750);
    assert_eq!(world.seen(0), "200", "quick answers");
    world.speak(&[2, 1], 250);
    assert_eq!(world.seen(0), "020", "the other is louder all the time");
    world.speak(&[3, 2, 1], 750);
    assert_eq!(world.seen(0), "020");
}

#[test]
fn the_most_recent_share_the_stage() {
    let mut world = World::new(4, r#"{"speakers": 2, "hold_ms": 500}"#);
    world.speak(&[3], 500);
    world.speak(&[4], 1_000);
    assert_eq!(world.seen(0), "0022");
    world.speak(&[1, 4], 500);
    assert_eq!(world.seen(0), "2002", "whoever was silent longest goes");
    let stage = world.policy.stage.seen_by(VIEWER, 2, &[]);
    assert_eq!(stage, [ParticipantId(1), ParticipantId(4)]);
}

#[test]
fn until_somebody_spoke_the_first_are_on_the_stage() {
    let mut world = World::new(3, "{}");
    world.choose();
    assert_eq!(world.seen(0), "200");
    world.view.tracks[0].muted = true;
    world.choose();
    assert_eq!(world.seen(0), "220", "the muted one is left as it is");
    world.speak(&[3], 250);
    assert_eq!(world.seen(0), "202");
    world.speak(&[1], 5_000);
    assert_eq!(world.seen(0), "202", "a speaker without a picture");
}

#[test]
fn nobody_gets_its_own_picture() {
    let mut world = World::new(3, "{}");
    let tracks = world.view.tracks.clone();
    world.view.subscribers = vec![
        subscriber(ParticipantId(1), &tracks),
        subscriber(ParticipantId(2), &tracks),
    ];
    world.speak(&[1], 250);
    assert_eq!(world.seen(0), ".20", "nobody spoke before it");
    assert_eq!(world.seen(1), "2.0");
    world.speak(&[3], 5_000);
    assert_eq!(world.seen(0), ".02");
    world.speak(&[1], 5_000);
    assert_eq!(world.seen(0), ".02", "it sees who spoke before");
    assert_eq!(world.seen(1), "2.0");
    world.view.tracks[0].source = Source::Screen;
    world.choose();
    assert_eq!(world.seen(0), ".02", "nor its own screen");
}

#[test]
fn what_the_client_wishes_counts() {
    let mut world = World::new(6, r#"{"thumbnails": 2}"#);
    world.view.speakers = vec![ParticipantId(1)];
    world.subscription(0).width = 500;
    world.subscription(1).paused = true;
    world.subscription(3).priority = 127;
    world.subscription(4).priority = 128;
    world.choose();
    assert_eq!(world.seen(0), "1.002.");
    let reason = |world: &mut World, index: usize| {
        *world.subscription(index) = Subscription {
            width: 320,
            ..*world.subscription(index)
        };
        world.choose().remove(0).reason
    };
    assert_eq!(reason(&mut world, 4), "320x180: pinned by its priority");
}

#[test]
fn large_pictures_come_before_small_ones_within_the_estimate() {
    let mut world = World::new(4, "{}");
    world.view.tracks.push(track(5, Source::Screen));
    world.view.speakers = vec![ParticipantId(3)];
    for (estimate, expected) in [
        (90_000, "....."),
        (150_000, "....0"),
        (490_000, "000.0"),
        (500_000, "..0.1"),
        (1_000_000, "001.1"),
        (2_000_000, "0.1.2"),
        (3_300_000, "00202"),
    ] {
        let mut fresh = World::new(4, "{}");
        fresh.view.tracks.clone_from(&world.view.tracks);
        fresh.view.speakers.clone_from(&world.view.speakers);
        fresh.view.subscribers = vec![subscriber(VIEWER, &world.view.tracks)];
        fresh.view.subscribers[0].estimate_bps = Some(estimate + 50_000);
        fresh.view.subscribers[0].audio_bps = 50_000;
        fresh.choose();
        assert_eq!(fresh.seen(0), expected, "{estimate}");
    }
}

#[test]
fn a_new_speaker_takes_over_while_the_network_recovers() {
    let mut world = World::new(2, "{}");
    world.view.subscribers[0].estimate_bps = Some(2_000_000);
    world.speak(&[1], 3_000);
    assert_eq!(world.seen(0), "20");
    world.view.subscribers[0].estimate_bps = Some(1_000_000);
    world.choose();
    assert_eq!(world.seen(0), "10");
    world.view.subscribers[0].estimate_bps = Some(2_000_000);
    world.view.speakers = vec![ParticipantId(2)];
    world.speak(&[2], 2_000);
    assert_eq!(world.seen(0), "01", "not more than before");
    world.speak(&[2], 1_500);
    assert_eq!(world.seen(0), "02");
}

#[test]
fn memory_is_bounded_by_what_is_there() {
    let mut world = World::new(50, r#"{"speakers": 3}"#);
    for speaker in 1..=50 {
        world.speak(&[speaker], 2_500);
    }
    world.view.tracks.truncate(2);
    world.view.subscribers.clear();
    world.choose();
    for policy in [&world.policy, &world.sparing] {
        assert!(policy.viewers.is_empty());
        let memory = format!("{:?} {:?}", policy.stage, policy.viewers);
        assert!(memory.len() < 1_000, "{memory}");
        let all = format!("{policy:?}");
        assert!(all.len() < 4_000, "two tracks: {all}");
    }
}

#[test]
fn configuration_is_typed_and_bounded() {
    assert_eq!(start("{}").map(|p| p.config.speakers), Ok(1));
    let problem = |json| start(json).map(|_| ()).expect_err(json);
    assert_eq!(
        problem(r#"{"speakers": 17}"#),
        "config: `speakers` is 17: 1 to 16"
    );
    assert_eq!(
        problem(r#"{"pinned_priority": 0}"#),
        "config: `pinned_priority` is 0: 1 to 255"
    );
    assert_eq!(
        problem(r#"{"headroom_percent": 51}"#),
        "config: `headroom_percent` is 51: 0 to 50"
    );
    let unknown = problem(r#"{"thumbs": 3}"#);
    assert!(unknown.contains("unknown field `thumbs`"), "{unknown}");
}

/// One moment: tracks (owner, muted, screen, layers), wishes (width, priority, paused), speakers, estimate,
/// audio, time passed.
type Moment = (
    Vec<(u64, bool, bool, usize)>,
    Vec<(u16, u8, bool)>,
    Vec<u64>,
    Option<u32>,
    u32,
    u64,
);

fn moment() -> impl Strategy<Value = Moment> {
    (
        prop::collection::vec(
            (
                1..6_u64,
                prop::bool::weighted(0.1),
                any::<bool>(),
                0..4_usize,
            ),
            8,
        ),
        prop::collection::vec((0..1_400_u16, any::<u8>(), prop::bool::weighted(0.1)), 8),
        prop::collection::vec(1..9_u64, 0..5),
        prop::option::weighted(0.8, 0..8_000_000_u32),
        0..200_000_u32,
        0..4_000_u64,
    )
}

proptest! {
    /// Whatever comes one after the other: nobody gets more than its network carries, more small pictures
    /// than configured, or its own picture, and what is chosen is sent.
    #[test]
    fn rules_hold(moments in prop::collection::vec(moment(), 1..12), speakers in 1..4_u8) {
        let mut world = World::new(8, &format!(r#"{{"speakers": {speakers}, "thumbnails": 2}}"#));
        let viewer = ParticipantId(2);
        world.view.subscribers[0].id = viewer;
        for (tracks, wishes, speaking, estimate, audio, wait) in moments {
            for (track, (owner, muted, screen, layers)) in world.view.tracks.iter_mut().zip(tracks) {
                track.owner = ParticipantId(owner);
                track.muted = muted;
                track.source = if screen { Source::Screen } else { Source::Camera };
                for (index, layer) in track.layers.iter_mut().enumerate() {
                    layer.active = index < layers;
                }
            }
            for (index, (width, priority, paused)) in wishes.into_iter().enumerate() {
                let subscription = world.subscription(index);
                (subscription.width, subscription.priority, subscription.paused) = (width, priority, paused);
            }
            world.view.speakers = speaking.into_iter().map(ParticipantId).collect();
            world.view.subscribers[0].estimate_bps = estimate;
            world.view.subscribers[0].audio_bps = audio;
            world.view.now_ms += wait;
            world.choose();
            let large = world.policy.stage.seen_by(viewer, speakers.into(), &Pictures::new(&world.view.tracks).visible);
            prop_assert!(large.len() <= usize::from(speakers) && !large.contains(&viewer));
            let (mut bps, mut small) = (0, 0);
            for subscription in &world.view.subscribers[0].subscriptions {
                let track = &world.view.tracks[subscription.track.0 as usize - 1];
                let idle = track.muted || track.layers.iter().all(|layer| !layer.active);
                let Some(spatial) = subscription.spatial.filter(|_| !subscription.paused && !idle) else {
                    continue;
                };
                let layer = &track.layers[usize::from(spatial)];
                prop_assert!(layer.active && track.owner != viewer);
                bps += layer.bitrate_bps;
                let pinned = subscription.priority >= 128;
                if !pinned && track.source != Source::Screen && !large.contains(&track.owner) {
                    small += 1;
                    prop_assert_eq!(spatial, 0);
                }
            }
            prop_assert!(small <= 2, "{small} small pictures");
            if let Some(estimate) = estimate {
                prop_assert!(bps <= estimate.saturating_sub(audio), "{bps} of {estimate}");
            }
        }
    }
}
