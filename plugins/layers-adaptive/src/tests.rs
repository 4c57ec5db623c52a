use proptest::prelude::*;
use sdk::LayerSelection as _;
use sdk::types::{Layer, MediaKind, Track};

use super::*;

/// Bit rates of a camera's layers, bits per second.
const CAMERA: [u32; 3] = [100_000, 400_000, 1_500_000];
const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1_280, 720)];

fn layer(spatial: u8, bitrate_bps: u32) -> Layer {
    let (width, height) = SIZES[usize::from(spatial)];
    Layer {
        spatial,
        temporal: 0,
        rid: Some(format!("r{spatial}")),
        width,
        height,
        fps: 30,
        bitrate_bps,
        active: bitrate_bps > 0,
    }
}

fn track(id: u64, bps: &[u32]) -> Track {
    let layers = bps.iter().enumerate();
    Track {
        id: TrackId(id),
        owner: ParticipantId(id + 100),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: "VP8".to_owned(),
        encrypted: false,
        muted: false,
        layers: layers
            .map(|(spatial, bps)| layer(spatial as u8, *bps))
            .collect(),
        attributes: Vec::new(),
    }
}

fn wish(track: u64, width: u16, height: u16) -> Subscription {
    Subscription {
        track: TrackId(track),
        width,
        height,
        fps: 0,
        priority: 0,
        paused: false,
        spatial: None,
        temporal: None,
    }
}

/// A room with one viewer, whom the test plays.
struct Room {
    policy: Adaptive,
    /// Is told what changed alone, and has to choose the same.
    sparing: Adaptive,
    told: Option<View>,
    view: View,
}

impl Room {
    fn new(tracks: Vec<Track>) -> Self {
        let subscriptions = tracks.iter().map(|track| wish(track.id.0, 0, 0)).collect();
        let viewer = Subscriber {
            id: ParticipantId(1),
            estimate_bps: None,
            audio_bps: 0,
            rtt_ms: 0,
            loss_permille: 0,
            subscriptions,
            attributes: Vec::new(),
        };
        sdk::testing::install(sdk::testing::Host::default());
        Room {
            policy: sdk::testing::start().expect("the defaults are good"),
            sparing: sdk::testing::start().expect("the defaults are good"),
            told: None,
            view: View {
                now_ms: 1_000,
                tracks,
                subscribers: vec![viewer],
                ..View::default()
            },
        }
    }

    fn cameras(count: u64) -> Self {
        Room::new((1..=count).map(|id| track(id, &CAMERA)).collect())
    }

    /// A second later, with this estimate. The router does as it is told at once.
    fn choose(&mut self, estimate_bps: impl Into<Option<u32>>) -> Vec<Choice> {
        self.view.now_ms += 1_000;
        let viewer = &mut self.view.subscribers[0];
        viewer.estimate_bps = estimate_bps.into();
        let choices = self.policy.choose(self.view.clone());
        let changes = match &self.told {
            Some(told) => sdk::testing::changes(told, &self.view),
            None => self.view.clone(),
        };
        assert_eq!(self.sparing.choose(changes), choices, "told changes alone");
        self.told = Some(self.view.clone());
        for choice in &choices {
            assert!(choice.reason.len() <= 128, "{}", choice.reason);
            let viewer = &mut self.view.subscribers[0];
            let mut subscriptions = viewer.subscriptions.iter_mut();
            let chosen = subscriptions
                .find(|s| s.track == choice.track)
                .expect("subscribed");
            chosen.spatial = (!choice.paused).then_some(choice.spatial);
            chosen.temporal = (!choice.paused).then_some(choice.temporal);
        }
        choices
    }

    /// What the viewer gets.
    fn layers(&self) -> Vec<Option<u8>> {
        let viewer = &self.view.subscribers[0];
        viewer.subscriptions.iter().map(|s| s.spatial).collect()
    }

    fn subscription(&mut self, index: usize) -> &mut Subscription {
        &mut self.view.subscribers[0].subscriptions[index]
    }
}

#[test]
fn without_an_estimate_tiles_decide() {
    let mut room = Room::cameras(4);
    for (index, size) in [(0, 0), (100, 100), (640, 360), (1_920, 1_080)]
        .into_iter()
        .enumerate()
    {
        *room.subscription(index) = wish(index as u64 + 1, size.0, size.1);
    }
    let choices = room.choose(None);
    assert_eq!(room.layers(), [Some(2), Some(0), Some(1), Some(2)]);
    assert_eq!(choices[1].reason, "320x180: shown at 100x100");
    assert_eq!(room.choose(None), [], "nothing changed");
}

#[test]
fn everybody_is_seen_before_anybody_is_seen_sharply() {
    let mut room = Room::cameras(3);
    for (estimate, expected) in [
        (90_000, [None, None, None]),
        (250_000, [Some(0), Some(0), None]),
        (610_000, [Some(1), Some(0), Some(0)]),
        (1_250_000, [Some(1), Some(1), Some(1)]),
        (2_400_000, [Some(2), Some(1), Some(1)]),
        (4_600_000, [Some(2), Some(2), Some(2)]),
    ] {
        let mut fresh = Room::cameras(3);
        fresh.choose(estimate);
        assert_eq!(fresh.layers(), expected, "{estimate}");
    }
    let choices = room.choose(610_000);
    assert_eq!(
        choices[0].reason,
        "640x360: no size is wished, but 610 kb/s for all video"
    );
    let choices = Room::cameras(1).choose(50_000);
    assert_eq!(
        (choices[0].paused, &*choices[0].reason),
        (true, "no room: 50 kb/s for all video")
    );
}

#[test]
fn audio_comes_first() {
    let mut room = Room::cameras(1);
    room.view.subscribers[0].audio_bps = 200_000;
    room.choose(590_000);
    assert_eq!(room.layers(), [Some(0)]);
    room.view.subscribers[0].audio_bps = 700_000;
    room.choose(590_000);
    assert_eq!(room.layers(), [None]);
}

#[test]
fn priority_screens_speakers_and_large_tiles_come_first_in_this_order() {
    let mut room = Room::cameras(5);
    room.subscription(0).width = 10;
    room.subscription(1).width = 1_000;
    room.subscription(1).height = 500;
    room.view.speakers = vec![ParticipantId(103)];
    room.view.tracks[3].source = Source::Screen;
    room.subscription(4).priority = 1;
    let mut order = Vec::new();
    for count in 1..=5 {
        let mut policy: Adaptive = sdk::testing::start().unwrap();
        room.view.subscribers[0].estimate_bps = Some(count * 100_000);
        let choices = policy.choose(room.view.clone());
        let seen = choices.iter().filter(|choice| !choice.paused);
        let seen: Vec<u64> = seen.map(|choice| choice.track.0).collect();
        assert_eq!(seen.len(), count as usize);
        order.extend(seen.into_iter().find(|track| !order.contains(track)));
    }
    assert_eq!(order, [5, 4, 3, 2, 1]);
}

#[test]
fn what_the_client_wants_none_of_and_what_is_silent_is_left_alone() {
    let mut room = Room::cameras(3);
    room.subscription(0).paused = true;
    room.view.tracks[1].muted = true;
    for layer in &mut room.view.tracks[2].layers {
        layer.active = false;
    }
    assert_eq!(room.choose(500_000), []);
    room.view.subscribers[0].subscriptions.push(wish(99, 0, 0));
    assert_eq!(room.choose(None), [], "a track that is not there");
}

#[test]
fn a_wavering_estimate_changes_nothing_and_a_lasting_one_does() {
    let mut room = Room::cameras(1);
    room.choose(1_000_000);
    assert_eq!(room.layers(), [Some(1)]);
    for estimate in [1_500_000, 1_600_000, 1_450_000, 1_640_000] {
        assert_eq!(room.choose(estimate), [], "{estimate}: no headroom");
    }
    room.choose(1_700_000);
    assert_eq!(room.layers(), [Some(2)]);
    for estimate in [1_600_000, 1_510_000, 1_650_000] {
        assert_eq!(room.choose(estimate), [], "{estimate}: it fits");
    }
    room.choose(1_400_000);
    assert_eq!(room.layers(), [Some(1)], "at once");
    for _ in 0..2 {
        assert_eq!(room.choose(9_000_000), [], "patience");
    }
    room.choose(9_000_000);
    assert_eq!(room.layers(), [Some(2)]);
    room.choose(500_000);
    for _ in 0..5 {
        assert_eq!(room.choose(9_000_000), [], "twice the patience");
    }
    room.choose(9_000_000);
    assert_eq!(room.layers(), [Some(2)]);
}

#[test]
fn while_patient_pictures_are_shared_out_anew_but_take_no_more() {
    let mut room = Room::cameras(2);
    room.choose(4_000_000);
    assert_eq!(room.layers(), [Some(2), Some(2)]);
    room.choose(2_000_000);
    assert_eq!(room.layers(), [Some(2), Some(1)]);
    room.view.speakers = vec![ParticipantId(102)];
    room.choose(4_000_000);
    assert_eq!(
        room.layers(),
        [Some(1), Some(2)],
        "the speaker takes the other's place"
    );
    room.choose(4_000_000);
    room.choose(4_000_000);
    assert_eq!(room.layers(), [Some(2), Some(2)]);
}

#[test]
fn a_choice_that_does_not_come_about_is_made_again() {
    let mut room = Room::cameras(1);
    let first = room.choose(None);
    room.subscription(0).spatial = Some(0);
    assert_eq!(room.choose(None), [], "it may be on its way");
    room.subscription(0).spatial = Some(0);
    let again = room.choose(None);
    assert_eq!(again, first);
    assert_eq!(room.choose(None), []);
}

#[test]
fn layers_that_depend_on_each_other_cost_what_all_of_them_cost() {
    let mut svc = track(1, &CAMERA);
    let mut temporal = Vec::new();
    for layer in &mut svc.layers {
        layer.rid = None;
        layer.fps = 15;
        temporal.push(Layer {
            temporal: 1,
            fps: 30,
            bitrate_bps: layer.bitrate_bps / 2,
            ..layer.clone()
        });
    }
    svc.layers.extend(temporal);
    let chosen = |estimate: u32, fps: u16| {
        let mut room = Room::new(vec![svc.clone()]);
        room.subscription(0).fps = fps;
        let choice = room.choose(estimate).remove(0);
        (choice.spatial, choice.temporal, choice.paused)
    };
    assert_eq!(chosen(99_000, 0), (0, 0, true));
    assert_eq!(chosen(100_000, 0), (0, 0, false));
    assert_eq!(chosen(150_000, 0), (0, 1, false));
    assert_eq!(chosen(749_000, 0), (0, 1, false));
    assert_eq!(chosen(750_000, 0), (1, 1, false));
    assert_eq!(chosen(2_999_000, 0), (1, 1, false));
    assert_eq!(chosen(3_000_000, 0), (2, 1, false));
    assert_eq!(chosen(500_000, 10), (1, 0, false));
    assert_eq!(chosen(9_000_000, 10), (2, 0, false), "15 frames are enough");
}

#[test]
fn configuration_is_typed_and_bounded() {
    let start = |json: &str| {
        sdk::testing::install(sdk::testing::Host {
            config: json.to_owned(),
            ..sdk::testing::Host::default()
        });
        sdk::testing::start::<Adaptive>().map(|policy| policy.config.headroom_percent)
    };
    assert_eq!(start("{}"), Ok(10));
    assert_eq!(start(r#"{"headroom_percent": 0}"#), Ok(0));
    assert_eq!(
        start(r#"{"headroom_percent": 51}"#),
        Err("headroom_percent: 0 to 50".to_owned())
    );
    assert!(start(r#"{"headroom": 5}"#).is_err());
}

fn any_track(id: u64) -> impl Strategy<Value = Track> {
    let bps = prop::collection::vec(prop_oneof![Just(0), 1_000..3_000_000_u32], 0..4);
    (bps, any::<bool>(), any::<bool>(), 0..10_u8).prop_map(move |(bps, rids, screen, muted)| {
        let mut track = track(id, &bps.into_iter().take(3).collect::<Vec<_>>());
        for layer in &mut track.layers {
            layer.rid = layer.rid.take().filter(|_| rids);
        }
        if screen {
            track.source = Source::Screen;
        }
        track.muted = muted == 0;
        track
    })
}

/// What of a track is paid for, by the view that a choice was made from.
fn cost(view: &View, id: TrackId, layer: (u8, u8)) -> u64 {
    let track = view
        .tracks
        .iter()
        .find(|track| track.id == id)
        .expect("it is there");
    let needed = track.layers.iter().filter(|known| {
        let svc = known.rid.is_none() && known.spatial < layer.0;
        known.active && known.temporal <= layer.1 && (known.spatial == layer.0 || svc)
    });
    needed.map(|known| u64::from(known.bitrate_bps)).sum()
}

proptest! {
    /// Whatever comes one after the other: everything chosen, and audio, stays within each estimate.
    #[test]
    fn no_estimate_is_exceeded(
        steps in prop::collection::vec(
            (
                (any_track(1), any_track(2), any_track(3), any_track(4)),
                prop::collection::vec((0..1_400_u16, 0..800_u16, 0..3_u8, 0..8_u8), 4),
                0..6_000_000_u32,
                0..200_000_u32,
                0..5_u64,
                0..4_000_u64,
            ),
            1..12,
        ),
    ) {
        let mut room = Room::cameras(4);
        let mut chosen: BTreeMap<TrackId, Option<(u8, u8)>> = BTreeMap::new();
        for (tracks, wishes, estimate, audio, speaker, wait) in steps {
            room.view.tracks = vec![tracks.0, tracks.1, tracks.2, tracks.3];
            for (index, (width, height, priority, paused)) in wishes.into_iter().enumerate() {
                let subscription = room.subscription(index);
                subscription.priority = priority;
                (subscription.width, subscription.height) = (width, height);
                subscription.paused = paused == 0;
            }
            room.view.speakers = vec![ParticipantId(100 + speaker)];
            room.view.subscribers[0].audio_bps = audio;
            room.view.now_ms += wait;
            for choice in room.choose(estimate) {
                let layer = (choice.spatial, choice.temporal);
                chosen.insert(choice.track, (!choice.paused).then_some(layer));
            }
            let mut sum = 0;
            let subscriptions = room.view.subscribers[0].subscriptions.clone();
            for subscription in subscriptions {
                let track = room.view.tracks.iter().find(|t| t.id == subscription.track).unwrap();
                let asks = !subscription.paused
                    && !track.muted
                    && track.layers.iter().any(|layer| layer.active);
                if let (true, Some(Some(layer))) = (asks, chosen.get(&subscription.track)) {
                    let exists = track.layers.iter().any(|known| known.active && known.spatial == layer.0);
                    prop_assert!(exists, "{layer:?} of {track:?}");
                    sum += cost(&room.view, subscription.track, *layer);
                }
            }
            let left = estimate.saturating_sub(audio);
            prop_assert!(sum <= left.into(), "{sum} of {left}");
        }
    }
}
