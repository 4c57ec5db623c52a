//! The queue, from a worker's side.

use std::sync::Arc;
use std::time::Instant;

use super::world::packet;
use crate::api::{Codec, TrackId};
use crate::engine::queue::queue;
use crate::engine::stats::Stats;

#[test]
fn a_full_queue_drops_whole_frames_up_to_a_keyframe() {
    let stats = Arc::new(Stats::default());
    let (mut tap, mut tail) = queue(4, &stats);
    let (now, video, audio) = (Instant::now(), TrackId(1), TrackId(2));
    for n in 0..4 {
        assert!(tap.push(video, packet(n, now, 10, n == 0)));
    }
    assert!(!tap.push(video, packet(4, now, 10, false)));
    let mut sound = packet(0, now, 10, false);
    sound.codec = Codec::Opus;
    assert!(!tap.push(audio, sound.clone()));
    assert_eq!(tail.loss(), Some(video));
    assert_eq!(tail.loss(), Some(audio));
    assert_eq!(tail.loss(), None);
    (0..4).for_each(|n| assert_eq!(tail.pop().expect("an item").packet.sequence, n));
    // There is room; a delta frame is of no use, audio is.
    assert!(!tap.push(video, packet(5, now, 10, false)));
    assert!(tap.push(audio, sound));
    assert!(tap.push(video, packet(6, now, 10, true)));
    assert!(tap.push(video, packet(7, now, 10, false)));
    let item = tail.pop().expect("an item");
    assert_eq!((item.track, item.lost), (audio, 1));
    let item = tail.pop().expect("an item");
    assert_eq!((item.packet.sequence, item.lost), (6, 2));
    assert_eq!(tail.pop().expect("an item").lost, 0);
    assert_eq!(stats.snapshot().packets_dropped_queue, 3);
    assert_eq!(stats.snapshot().drops, 2);
}

#[test]
fn a_push_allocates_nothing() {
    let stats = Arc::new(Stats::default());
    let (mut tap, mut tail) = queue(512, &stats);
    let now = Instant::now();
    let one = packet(0, now, 10, false);
    let allocated = allocation_counter::measure(|| {
        // More tracks than are remembered, all of them losing.
        for track in 0..20_000 {
            let _ = tap.push(TrackId(track), one.clone());
        }
    });
    assert_eq!(allocated.count_total, 0);
    while tail.pop().is_some() {}
    let allocated = allocation_counter::measure(|| {
        for round in 0..50_u64 {
            for track in 0..2_000 {
                let mut one = one.clone();
                one.keyframe = (round + track) % 7 == 0;
                let _ = tap.push(TrackId(track), one);
            }
            while tail.pop().is_some() {}
            while tail.loss().is_some() {}
        }
    });
    assert_eq!(allocated.count_total, 0);
    assert!(stats.snapshot().packets_dropped_queue > 20_000);
}
