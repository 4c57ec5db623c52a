use std::time::Duration;

use super::*;
use crate::layers::descriptor::parse;
use crate::shard::testing::{start, vp8};

fn arrival(sequence: u64, timestamp: u32, captured: Instant) -> Arrival {
    Arrival {
        sequence,
        timestamp,
        captured,
        clock_rate: 90_000,
    }
}

#[test]
fn the_first_packet_takes_the_first_number_and_keeps_its_time() {
    let now = start();
    let mut rewriter = Rewriter::new(77);
    let first = arrival(5_000_000_000, 123, now);
    rewriter.switch(&first, None);
    let place = rewriter.place(&first).unwrap();
    assert_eq!((place.sequence, place.timestamp), (77, 123));
    let later = rewriter.place(&arrival(5_000_000_010, 999, now)).unwrap();
    assert_eq!(later.sequence, 87, "the publisher's gaps stay gaps");
    let between = rewriter.place(&arrival(5_000_000_004, 555, now)).unwrap();
    assert_eq!(between.sequence, 81, "and are filled when it comes late");
}

#[test]
fn a_switch_goes_on_where_the_other_source_was() {
    let now = start();
    let mut rewriter = Rewriter::new(1);
    rewriter.switch(&arrival(100, 1_000, now), None);
    rewriter.place(&arrival(100, 1_000, now));
    rewriter.place(&arrival(105, 4_000, now));
    let at = now + Duration::from_millis(100);
    let other = arrival(60_000, u32::MAX - 10, at);
    rewriter.switch(&other, None);
    let place = rewriter.place(&other).unwrap();
    assert_eq!(place.sequence, 7);
    assert_eq!(place.timestamp, 4_000 + 9_000, "100 ms later");
    let next = rewriter.place(&arrival(60_001, 100, at)).unwrap();
    assert_eq!(next.timestamp, 4_000 + 9_000 + 111, "across the wrap");
    assert_eq!(
        rewriter.place(&arrival(59_999, 0, at)),
        None,
        "before the switch"
    );
}

#[test]
fn time_never_stands_still_over_a_switch() {
    let now = start();
    let mut rewriter = Rewriter::new(1);
    let mut last = 0;
    for source in 0..100_u64 {
        let first = arrival(
            source * 1_000,
            (source as u32).wrapping_mul(77_777_777),
            now,
        );
        rewriter.switch(&first, None);
        let place = rewriter.place(&first).unwrap();
        assert_eq!(place.sequence, source + 1);
        if source > 0 {
            assert!(place.timestamp.wrapping_sub(last) >= 90);
        }
        last = place.timestamp;
    }
}

#[test]
fn picture_ids_go_on_across_their_wrap_and_across_sources() {
    let now = start();
    let mut rewriter = Rewriter::new(1);
    let mut expected: Option<(u16, u8)> = None;
    let mut sequence = 0;
    for (source, first) in [(0_u16, 0x7ff0_u16), (1, 3), (2, 0x4000)] {
        for frame in 0..40 {
            let picture = (first + frame) & 0x7fff;
            let payload = vp8(frame == 0, picture, (source * 9 + frame) as u8, 0);
            let descriptor = parse(str0m::format::Codec::Vp8, &payload).unwrap();
            sequence += 1;
            let at = arrival(sequence, u32::from(frame), now);
            if frame == 0 {
                rewriter.switch(&at, Some(&descriptor));
            }
            rewriter.place(&at).unwrap();
            let mut copy = payload.clone();
            rewriter.note_pictures(&descriptor);
            rewriter.shift().apply(&descriptor, &mut copy);
            let written = parse(str0m::format::Codec::Vp8, &copy).unwrap();
            let ids = (written.picture.unwrap().value, written.tl0.unwrap().value);
            if let Some((picture, tl0)) = expected {
                assert_eq!(ids, ((picture + 1) & 0x7fff, tl0.wrapping_add(1)));
            }
            expected = Some(ids);
        }
    }
}
