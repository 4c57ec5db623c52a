use std::time::Duration;

use super::*;
use crate::shard::testing::start;

#[test]
fn capture_times_of_two_streams_agree_by_their_reports() {
    let now = start();
    let ntp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let mut clock = PublisherClock::default();
    clock.observe(ntp, now);
    let mut audio = Layer::new(None);
    let mut video = Layer::new(None);
    audio.on_sender_report(ntp, 48_000);
    video.on_sender_report(ntp + Duration::from_millis(500), u32::MAX - 44_999);
    let arrived = now + Duration::from_secs(3);
    // Both packets were captured two seconds after the first report.
    let heard = audio.captured(&clock, 48_000 * 3, 48_000, arrived);
    let seen = video.captured(&clock, 90_000, 90_000, arrived);
    assert_eq!(heard, now + Duration::from_secs(2));
    assert_eq!(seen, heard, "across the wrap of the video's timestamps");
}

#[test]
fn without_a_report_or_with_nonsense_the_arrival_counts() {
    let now = start();
    let ntp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let clock = PublisherClock::default();
    let mut layer = Layer::new(None);
    assert_eq!(layer.captured(&clock, 5, 90_000, now), now);
    layer.on_sender_report(ntp, 0);
    assert_eq!(layer.captured(&clock, 5, 90_000, now), now);
    let mut clock = PublisherClock::default();
    clock.observe(ntp, now);
    let future = layer.captured(&clock, 90_000, 90_000, now);
    assert_eq!(future, now, "never later than the arrival");
    let ancient = layer.captured(&clock, 0, 90_000, now + Duration::from_secs(60));
    assert_eq!(ancient, now + Duration::from_secs(60));
}

#[test]
fn the_least_delayed_report_sets_the_clock_and_drift_moves_it() {
    let now = start();
    let ntp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let mut clock = PublisherClock::default();
    clock.observe(ntp, now + Duration::from_millis(300));
    clock.observe(
        ntp + Duration::from_secs(1),
        now + Duration::from_millis(1_050),
    );
    assert_eq!(clock.local(ntp), Some(now + Duration::from_millis(50)));
    // A delayed one hardly moves it.
    clock.observe(
        ntp + Duration::from_secs(2),
        now + Duration::from_millis(2_114),
    );
    assert_eq!(clock.local(ntp), Some(now + Duration::from_millis(51)));
    // Its clock was set.
    clock.observe(
        ntp + Duration::from_secs(3_600),
        now + Duration::from_secs(10),
    );
    assert_eq!(
        clock.local(ntp + Duration::from_secs(3_600)),
        Some(now + Duration::from_secs(10))
    );
}

#[test]
fn keyframe_requests_keep_their_distance() {
    let now = start();
    let mut layer = Layer::new(None);
    assert!(!layer.take_keyframe_request(now));
    layer.want_keyframe();
    assert!(layer.take_keyframe_request(now));
    layer.want_keyframe();
    assert!(!layer.take_keyframe_request(now + Duration::from_millis(999)));
    assert!(layer.is_keyframe_wanted());
    assert!(layer.take_keyframe_request(now + Duration::from_secs(1)));
    layer.want_keyframe();
    layer.on_keyframe(None);
    assert!(!layer.take_keyframe_request(now + Duration::from_secs(9)));
}

#[test]
fn a_layer_knows_its_bit_rate_and_whether_it_lives() {
    let now = start();
    let mut layer = Layer::new(None);
    assert!(!layer.is_active(now));
    let mut at = now;
    for sequence in 0..300 {
        at = now + Duration::from_millis(10 * sequence);
        assert!(layer.on_packet(at, 7, (sequence, 0), 1_250));
    }
    let bps = layer.bitrate_bps(at);
    assert!((950_000..=1_050_000).contains(&bps), "{bps}");
    assert!(!layer.on_packet(at, 7, (5, 0), 1), "out of order");
    let epoch = layer.epoch;
    assert!(
        layer.on_packet(at, 8, (5, 0), 1),
        "another SSRC starts anew"
    );
    assert_ne!(layer.epoch, epoch);
    assert!(layer.is_active(at + Duration::from_millis(999)));
    assert!(!layer.is_active(at + Duration::from_secs(1)));
    assert_eq!(layer.bitrate_bps(at + Duration::from_secs(60)), 0);
}
