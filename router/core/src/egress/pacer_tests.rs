use std::sync::Arc;

use super::*;
use crate::egress::extensions::Passed;
use crate::egress::sent::{Origin, Variation};
use crate::layers::rewrite::Shift;
use crate::shard::slab::{Key, TrackKey};
use crate::shard::testing::start;

const BYTES: usize = 1_000;

fn departure(stream: u16, sequence: u64, again: bool) -> Departure {
    Departure {
        packet: 0,
        stream,
        again,
        waits: true,
        sequence,
        origin: Origin {
            track: TrackKey::from_parts(1, 1),
            layer: 0,
            epoch: 1,
            shift: Shift::default(),
            payload_type: 96,
        },
        variation: Variation::default(),
    }
}

fn packet(now: Instant) -> Packet {
    Packet {
        payload: Arc::from(vec![0; BYTES]),
        extensions: Passed::default(),
        dependency: None,
        descriptor: None,
        marker: false,
        sequence: 0,
        timestamp: 0,
        captured: now,
        clock_rate: 90_000,
    }
}

fn pace(bps: f64) -> Option<Pace> {
    Some(Pace {
        bytes_per_second: bps / 8.0,
        burst_bytes: bps / 8.0 * 0.01,
    })
}

#[test]
fn without_an_estimate_nothing_waits() {
    let now = start();
    let mut pacer = Pacer::default();
    for _ in 0..10_000 {
        pacer.begin_turn(now, None);
        assert!(pacer.is_open());
        pacer.spend(BYTES);
    }
    assert_eq!(pacer.wake_at(now), None);
}

#[test]
fn a_burst_is_spread_at_the_rate_and_keeps_its_order() {
    let mut now = start();
    let began = now;
    let mut pacer = Pacer::default();
    pacer.begin_turn(now, pace(1e6));
    let mut sent = Vec::new();
    for sequence in 0..100 {
        if pacer.is_open() {
            pacer.spend(BYTES);
            sent.push(sequence);
        } else {
            assert!(pacer.hold(now, departure(3, sequence, false), &packet(now)));
        }
    }
    assert_eq!(sent.len(), 3, "what may leave at once");
    while let Some(at) = pacer.wake_at(now) {
        assert!(at >= now + INTERVAL && at <= now + Duration::from_millis(20));
        now = at;
        pacer.begin_turn(now, pace(1e6));
        while let Some(held) = pacer.release() {
            pacer.spend(held.packet.payload.len());
            sent.push(held.departure.sequence);
        }
    }
    assert!(sent.iter().copied().eq(0..100));
    // 97,000 bytes at 125,000 a second.
    let spent = now - began;
    assert!(
        spent.abs_diff(Duration::from_millis(776)) < Duration::from_millis(25),
        "{spent:?}"
    );
}

#[test]
fn what_somebody_waits_for_goes_first() {
    let now = start();
    let mut pacer = Pacer::default();
    pacer.begin_turn(now, pace(1e6));
    for sequence in 0..4 {
        let again = sequence == 3;
        assert!(pacer.hold(now, departure(0, sequence, again), &packet(now)));
    }
    let released = std::iter::from_fn(|| pacer.release());
    let order: Vec<u64> = released.map(|held| held.departure.sequence).collect();
    assert_eq!(order, [3, 0, 1, 2]);
}

#[test]
fn debts_are_bounded_and_credit_is_not_saved_up() {
    let mut now = start();
    let mut pacer = Pacer::default();
    pacer.begin_turn(now, pace(1e6));
    pacer.spend(1_000_000);
    assert!(!pacer.is_open());
    now += Duration::from_millis(30);
    pacer.begin_turn(now, pace(1e6));
    assert!(
        pacer.is_open(),
        "sound does not keep pictures back for long"
    );
    now += Duration::from_secs(60);
    pacer.begin_turn(now, pace(1e6));
    for _ in 0..3 {
        assert!(pacer.is_open());
        pacer.spend(BYTES);
    }
    assert!(!pacer.is_open());
    pacer.allow(2 * BYTES);
    assert!(pacer.is_open(), "asked for");
}

#[test]
fn what_waits_too_long_is_told_of_and_forgotten() {
    let mut now = start();
    let mut pacer = Pacer::default();
    pacer.begin_turn(now, pace(1e6));
    for sequence in 0..5 {
        assert!(pacer.hold(now, departure(1, sequence, false), &packet(now)));
    }
    assert!(pacer.hold(now, departure(2, 0, true), &packet(now)));
    now += AGE;
    assert!(pacer.hold(now, departure(4, 0, false), &packet(now)));
    assert_eq!(pacer.overdue(now), None);
    now += Duration::from_millis(1);
    assert_eq!(pacer.overdue(now), Some(1));
    assert_eq!(pacer.forget(1), (5, Some((0, 4))));
    assert_eq!(pacer.overdue(now), None);
    assert_eq!(pacer.release().map(|held| held.departure.stream), Some(4));
    assert!(pacer.is_empty());
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let now = start();
    let mut pacer = Pacer::default();
    pacer.begin_turn(now, pace(1e6));
    let packet = packet(now);
    for sequence in 0..HELD as u64 {
        assert!(pacer.hold(now, departure(1, sequence, sequence % 2 == 0), &packet));
    }
    assert!(!pacer.hold(now, departure(1, 9, false), &packet));
    assert!(!pacer.hold(now, departure(1, 9, true), &packet));
    assert_eq!(pacer.clear(), HELD as u64);
    assert_eq!(pacer.wake_at(now), None);
    assert_eq!(Arc::strong_count(&packet.payload), 1);
}
