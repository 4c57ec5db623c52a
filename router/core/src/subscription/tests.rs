use std::time::Instant;

use super::*;
use crate::id::TrackId;
use crate::shard::slab::Key;
use crate::shard::testing::start;

fn subscription(video: bool) -> Subscription {
    let wish = Wish {
        track: TrackId(1),
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
        paused: false,
    };
    let subscriber = ParticipantKey::from_parts(0, 1);
    Subscription::new(subscriber, TrackKey::from_parts(0, 1), video, wish, 9)
}

fn switch(to: &mut Subscription, layer: u8, arrival: &Arrival) {
    to.switch(&due(layer, arrival, None));
}

fn due<'a>(layer: u8, arrival: &'a Arrival, frame: Option<&'a Frame>) -> Due<'a> {
    Due {
        layer,
        epoch: 1,
        arrival,
        descriptor: None,
        frame,
        keyframe: true,
        top: Level::ALL,
        compact: true,
    }
}

fn arrival(now: Instant) -> Arrival {
    Arrival {
        sequence: 1,
        timestamp: 1,
        captured: now,
        clock_rate: 90_000,
    }
}

#[test]
fn audio_flows_at_once_and_after_every_break() {
    let mut audio = subscription(false);
    assert_eq!(audio.judge(0, 1, false), Verdict::Switch);
    switch(&mut audio, 0, &arrival(start()));
    assert_eq!(audio.judge(0, 1, false), Verdict::Forward);
    assert_eq!(audio.judge(0, 2, false), Verdict::Switch);
}

#[test]
fn video_switches_at_keyframes_of_the_target_only() {
    let mut video = subscription(true);
    assert_eq!(
        video.judge(0, 1, true),
        Verdict::Skip,
        "nothing is chosen yet"
    );
    video.target = Some(1);
    assert_eq!(video.judge(0, 1, true), Verdict::Skip);
    assert_eq!(video.judge(1, 1, false), Verdict::Skip);
    assert_eq!(video.judge(1, 1, true), Verdict::Switch);
    switch(&mut video, 1, &arrival(start()));
    assert_eq!(video.judge(1, 1, false), Verdict::Forward);
    video.target = Some(0);
    assert_eq!(
        video.judge(1, 1, false),
        Verdict::Forward,
        "until the switch"
    );
    assert_eq!(video.judge(0, 1, false), Verdict::Skip);
    assert_eq!(video.judge(0, 1, true), Verdict::Switch);
    switch(&mut video, 0, &arrival(start()));
    assert_eq!(video.judge(1, 1, true), Verdict::Skip, "abandoned");
    assert_eq!(video.judge(0, 2, false), Verdict::Skip, "after a break");
    assert_eq!(video.judge(0, 2, true), Verdict::Switch);
    video.wish.paused = true;
    assert_eq!(video.judge(0, 1, true), Verdict::Skip);
}

#[test]
fn what_is_held_back_goes_on_at_a_keyframe() {
    let mut video = subscription(true);
    video.target = Some(1);
    switch(&mut video, 1, &arrival(start()));
    assert!(video.hold(true));
    assert!(!video.hold(true), "no news");
    assert_eq!(video.current, None, "nothing is forwarded");
    assert_eq!(video.judge(1, 1, true), Verdict::Skip);
    assert!(video.hold(false));
    assert_eq!(video.judge(1, 1, false), Verdict::Skip);
    assert_eq!(video.judge(1, 1, true), Verdict::Switch);
}

#[test]
fn what_is_left_out_and_comes_late_fills_its_number_alone() {
    use crate::layers::frame::Up;
    let now = start();
    let mut video = subscription(true);
    video.inside = Level::new(0, 0);
    let at = |sequence: u64| Arrival {
        sequence,
        timestamp: 3_000 * sequence as u32,
        captured: now,
        clock_rate: 90_000,
    };
    let frame = |temporal| Frame {
        level: Level::new(0, temporal),
        starts: true,
        ends: true,
        up: Up::Synced(false),
    };
    let first = at(100);
    video.switch(&due(0, &first, None));
    let mut place = |sequence: u64, temporal| {
        let (arrival, frame) = (at(sequence), frame(temporal));
        let due = Due {
            keyframe: sequence == 100,
            ..due(0, &arrival, Some(&frame))
        };
        let placed = video.place(&due);
        placed.map(|(place, v)| (place.sequence, v.pictures, v.hollow))
    };
    assert_eq!(place(100, 0), Some((9, 0, false)));
    assert_eq!(place(101, 1), None);
    // 102 is late.
    assert_eq!(place(103, 1), None);
    assert_eq!(place(104, 0), Some((11, 2, false)));
    assert_eq!(place(105, 1), None);
    assert_eq!(
        place(102, 1),
        Some((10, 0, true)),
        "its number was kept free"
    );
    assert_eq!(place(103, 1), None, "and that of what was left out was not");
    assert_eq!(place(106, 0), Some((12, 3, false)));
    // 107 and 108 are late.
    assert_eq!(place(109, 1), None);
    assert_eq!(place(110, 0), Some((15, 4, false)));
    assert_eq!(
        place(108, 0),
        Some((14, 3, false)),
        "what is due keeps its place"
    );
    assert_eq!(place(107, 1), Some((13, 0, true)));
}
