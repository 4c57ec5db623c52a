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
    audio.switch(0, 1, &arrival(start()), None);
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
    video.switch(1, 1, &arrival(start()), None);
    assert_eq!(video.judge(1, 1, false), Verdict::Forward);
    video.target = Some(0);
    assert_eq!(
        video.judge(1, 1, false),
        Verdict::Forward,
        "until the switch"
    );
    assert_eq!(video.judge(0, 1, false), Verdict::Skip);
    assert_eq!(video.judge(0, 1, true), Verdict::Switch);
    video.switch(0, 1, &arrival(start()), None);
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
    video.switch(1, 1, &arrival(start()), None);
    assert!(video.hold(true));
    assert!(!video.hold(true), "no news");
    assert_eq!(video.current, None, "nothing is forwarded");
    assert_eq!(video.judge(1, 1, true), Verdict::Skip);
    assert!(video.hold(false));
    assert_eq!(video.judge(1, 1, false), Verdict::Skip);
    assert_eq!(video.judge(1, 1, true), Verdict::Switch);
}
