use super::*;
use crate::types::{Layer, MediaKind, Source};

const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1_280, 720)];

/// Simulcast, each size with two temporal layers of this bit rate.
fn ladder(bps: &[u32]) -> Ladder {
    let layers = bps.iter().enumerate().flat_map(|(spatial, bps)| {
        (0..2).map(move |temporal| Layer {
            spatial: spatial as u8,
            temporal,
            rid: Some(format!("r{spatial}")),
            width: SIZES[spatial].0,
            height: SIZES[spatial].1,
            fps: 15 * (u16::from(temporal) + 1),
            bitrate_bps: *bps,
            active: true,
        })
    });
    Ladder::of(&Track {
        id: TrackId(1),
        owner: ParticipantId(1),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: "VP8".to_owned(),
        encrypted: false,
        muted: false,
        layers: layers.collect(),
        attributes: Vec::new(),
    })
}

fn wish(width: u16, fps: u16) -> Subscription {
    Subscription {
        track: TrackId(1),
        width,
        height: 0,
        fps,
        priority: 0,
        paused: false,
        spatial: None,
        temporal: None,
    }
}

fn layers(steps: &Steps) -> Vec<(u8, u8)> {
    let steps = steps.all().iter();
    steps.map(|rung| (rung.spatial, rung.temporal)).collect()
}

const CAUTION: Caution = Caution {
    headroom_percent: 10,
    patience_ms: 3_000,
};

fn viewer(estimate_bps: Option<u32>) -> Subscriber {
    Subscriber {
        id: ParticipantId(9),
        estimate_bps,
        audio_bps: 0,
        rtt_ms: 0,
        loss_permille: 0,
        subscriptions: Vec::new(),
        attributes: Vec::new(),
    }
}

fn ask<'a>(track: u64, tier: u8, ladder: &'a Ladder, why: &'a str) -> Ask<'a, &'a str> {
    Ask {
        track: TrackId(track),
        ladder,
        steps: ladder.steps(&wish(0, 0)),
        tier,
        rank: 0,
        shown: None,
        why,
    }
}

/// Track and spatial layer of each choice.
fn seen(choices: &[Choice]) -> Vec<(u64, Option<u8>)> {
    let seen = |choice: &Choice| (choice.track.0, (!choice.paused).then_some(choice.spatial));
    choices.iter().map(seen).collect()
}

#[test]
fn steps_end_where_the_tile_is_full() {
    let ladder = ladder(&[100, 200, 300]);
    let steps = |width, fps| layers(&ladder.steps(&wish(width, fps)));
    assert_eq!(steps(0, 0), [(0, 0), (0, 1), (1, 1), (2, 1)]);
    assert_eq!(steps(400, 0), [(0, 0), (0, 1), (1, 1)]);
    assert_eq!(steps(0, 15), [(0, 0), (1, 0), (2, 0)]);
    let smallest = ladder.steps(&wish(0, 0)).smallest();
    assert_eq!(layers(&smallest), [(0, 0), (0, 1)]);
    assert_eq!(layers(&Steps::default().smallest()), []);
}

#[test]
fn what_is_chosen_becomes_what_is_sent() {
    let ladder = ladder(&[100, 200]);
    let at_most = |spatial, temporal| ladder.at_most(spatial, temporal).map(|rung| rung.bps);
    assert_eq!(at_most(3, 3), Some(400));
    assert_eq!(at_most(1, 0), Some(200));
    assert_eq!(at_most(0, 7), Some(200));
    assert_eq!(Ladder::default().at_most(3, 3), None);
}

#[test]
fn a_higher_tier_has_all_it_may_before_a_lower_one_has_anything() {
    let ladder = ladder(&[50_000, 100_000, 500_000]);
    let chosen = |tiers: [u8; 3], estimate| {
        let asks = [1, 2, 3].map(|n| ask(n, tiers[n as usize - 1], &ladder, "why"));
        let mut choices = Vec::new();
        let viewer_now = viewer(Some(estimate));
        Viewer::default().choose(&CAUTION, 0, &viewer_now, &asks, &mut choices);
        seen(&choices)
    };
    let none = None;
    assert_eq!(
        chosen([0, 1, 0], 1_050_000),
        [(1, Some(0)), (2, Some(2)), (3, none)]
    );
    assert_eq!(
        chosen([0, 1, 0], 350_000),
        [(1, Some(0)), (2, Some(1)), (3, Some(0))]
    );
    assert_eq!(
        chosen([0, 0, 0], 350_000),
        [(1, Some(0)), (2, Some(0)), (3, Some(0))]
    );
}

#[test]
fn what_may_have_nothing_is_told_so_once() {
    let ladder = ladder(&[100]);
    let mut viewer_state = Viewer::default();
    let mut asks = vec![ask(1, 0, &ladder, "seen"), ask(2, 0, &ladder, "unseen")];
    asks[1].steps = Steps::default();
    let mut choose = |now_ms, asks: &[Ask<'_, &str>]| {
        let mut choices = Vec::new();
        viewer_state.choose(&CAUTION, now_ms, &viewer(None), asks, &mut choices);
        choices
    };
    let choices = choose(0, &asks);
    assert_eq!(seen(&choices), [(1, Some(0)), (2, None)]);
    assert_eq!(choices[0].reason, "320x180: seen");
    assert_eq!(choices[1].reason, "unseen");
    asks[0].shown = Some(0);
    assert_eq!(choose(10_000, &asks), []);
    // Others before, between and after: each is found again.
    asks.insert(0, ask(3, 0, &ladder, "seen"));
    asks.insert(2, ask(4, 0, &ladder, "seen"));
    let new = seen(&choose(10_100, &asks));
    assert_eq!(new, [(3, Some(0)), (4, Some(0))]);
    asks.reverse();
    assert_eq!(choose(10_200, &asks), []);
}

#[test]
fn a_reason_is_cut_to_what_the_abi_takes() {
    let ladder = ladder(&[100]);
    let long = "ä".repeat(100);
    let mut choices = Vec::new();
    let asks = [ask(1, 0, &ladder, &long)];
    Viewer::default().choose(&CAUTION, 0, &viewer(None), &asks, &mut choices);
    assert_eq!(choices[0].reason.len(), 127);
}

#[test]
fn a_viewer_is_due_when_time_alone_may_change_its_choice() {
    let ladder = ladder(&[50_000, 500_000]);
    let mut state = Viewer::default();
    assert!(state.is_due(0), "nothing was chosen so far");
    let mut choose = |now_ms, estimate, shown| {
        let mut asks = [ask(1, 0, &ladder, "why")];
        asks[0].shown = shown;
        let mut choices = Vec::new();
        state.choose(
            &CAUTION,
            now_ms,
            &viewer(Some(estimate)),
            &asks,
            &mut choices,
        );
        let due = |at| state.is_due(at);
        (seen(&choices), [1_999, 2_000, 3_999, 4_000].map(due))
    };
    let high = || vec![(1, Some(1))];
    // It has not come about yet, and is said again after two seconds.
    let (chosen, due) = choose(0, 2_000_000, None);
    assert_eq!((chosen, due), (high(), [false, true, true, true]));
    let (chosen, due) = choose(100, 2_000_000, Some(1));
    assert_eq!((chosen, due), (vec![], [false; 4]));
    // It falls, and waits for three seconds.
    let (chosen, due) = choose(1_000, 600_000, Some(1));
    assert_eq!(
        (chosen, due),
        (vec![(1, Some(0))], [false, false, true, true])
    );
    let (chosen, due) = choose(1_100, 2_000_000, Some(0));
    assert_eq!((chosen, due), (vec![], [false, false, false, true]));
    let (chosen, due) = choose(4_000, 2_000_000, Some(0));
    assert_eq!(chosen, high(), "the patience is over");
    assert_eq!(due, [false; 4], "until it is said again at 6 s");
}

fn subscriber(id: u64, tracks: &[u64]) -> Subscriber {
    let wishes = tracks.iter().map(|track| Subscription {
        track: TrackId(*track),
        ..wish(0, 0)
    });
    Subscriber {
        id: ParticipantId(id),
        subscriptions: wishes.collect(),
        ..viewer(None)
    }
}

fn camera(id: u64) -> Track {
    Track {
        id: TrackId(id),
        owner: ParticipantId(id),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: "VP8".to_owned(),
        encrypted: false,
        muted: false,
        layers: Vec::new(),
        attributes: Vec::new(),
    }
}

/// Whom the news concern, by id.
fn concerned(room: &Room, news: &News) -> Vec<u64> {
    let concerned = room.subscribers().filter(|s| news.concerns(s));
    concerned.map(|subscriber| subscriber.id.0).collect()
}

#[test]
fn a_room_is_kept_from_what_changed() {
    let mut room = Room::default();
    let whole = View {
        now_ms: 1,
        tracks: vec![camera(5), camera(3)],
        subscribers: vec![
            subscriber(1, &[5]),
            subscriber(2, &[3]),
            subscriber(4, &[5, 3]),
        ],
        speakers: vec![ParticipantId(5)],
        ..View::default()
    };
    let news = room.update(whole.clone());
    assert!(news.speakers);
    assert_eq!(concerned(&room, &news), [1, 2, 4]);
    let changes = || View {
        now_ms: 2,
        scope: Scope::Changes,
        speakers: vec![ParticipantId(5)],
        ..View::default()
    };
    assert_eq!(room.update(changes()), News::default());
    assert_eq!((room.now_ms(), room.tracks().len()), (2, 2));

    // A track changes where it is, one is new; a subscriber is new.
    let mut muted = camera(5);
    muted.muted = true;
    let news = room.update(View {
        tracks: vec![muted.clone(), camera(1)],
        subscribers: vec![subscriber(9, &[])],
        speakers: Vec::new(),
        ..changes()
    });
    assert!(news.speakers && room.speakers().is_empty());
    assert_eq!(concerned(&room, &news), [1, 4, 9]);
    assert_eq!(room.tracks(), [muted, camera(3), camera(1)]);

    let news = room.update(View {
        tracks_gone: vec![TrackId(3)],
        subscribers_gone: vec![ParticipantId(2), ParticipantId(77)],
        ..changes()
    });
    assert_eq!(concerned(&room, &news), [4]);
    assert_eq!(news.gone, [ParticipantId(2), ParticipantId(77)].into());
    assert_eq!(room.subscriber(ParticipantId(2)), None);
    assert_eq!(room.tracks().len(), 2);

    // A whole view takes the place of everything.
    let news = room.update(whole);
    assert_eq!(news.gone, [ParticipantId(9)].into());
    assert_eq!(room.tracks(), [camera(5), camera(3)]);
    let ids: Vec<u64> = room.subscribers().map(|s| s.id.0).collect();
    assert_eq!(ids, [1, 2, 4]);
}
