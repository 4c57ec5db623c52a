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
    rewriter.switch(&first, None, None);
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
    rewriter.switch(&arrival(100, 1_000, now), None, None);
    rewriter.place(&arrival(100, 1_000, now));
    rewriter.place(&arrival(105, 4_000, now));
    let at = now + Duration::from_millis(100);
    let other = arrival(60_000, u32::MAX - 10, at);
    rewriter.switch(&other, None, None);
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
        rewriter.switch(&first, None, None);
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
                rewriter.switch(&at, Some(&descriptor), None);
            }
            rewriter.place(&at).unwrap();
            let mut copy = payload.clone();
            rewriter.note_pictures(&descriptor, 0);
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

#[test]
fn both_picture_ids_go_on_after_a_publisher_was_away_for_six_seconds() {
    let now = start();
    let mut rewriter = Rewriter::new(1);
    let mut note = |sequence: u64, picture: u16, tl0: u8, switches: bool| {
        let payload = vp8(switches, picture, tl0, 0);
        let descriptor = parse(str0m::format::Codec::Vp8, &payload).unwrap();
        let at = arrival(sequence, sequence as u32, now);
        if switches {
            rewriter.switch(&at, Some(&descriptor), None);
        }
        rewriter.place(&at).unwrap();
        rewriter.note_pictures(&descriptor, 0);
        let mut copy = payload;
        rewriter.shift().apply(&descriptor, &mut copy);
        let written = parse(str0m::format::Codec::Vp8, &copy).unwrap();
        (written.picture.unwrap().value, written.tl0.unwrap().value)
    };
    assert_eq!(note(1, 100, 10, true), (100, 10));
    // 150 pictures of the same source are lost: more than half a round of TL0PICIDX.
    assert_eq!(note(151, 250, 160, false), (250, 160));
    assert_eq!(note(500, 7, 7, true), (251, 161), "another source");
}

#[test]
fn numbers_of_frames_go_on_across_sources() {
    let now = start();
    let mut rewriter = Rewriter::new(1);
    let mut expected = 65_500_u16;
    for (source, first) in [(0, 65_500_u16), (1, 3), (2, 40_000)] {
        for frame in 0..40_u16 {
            let number = first.wrapping_add(frame);
            let at = arrival(source * 1_000 + u64::from(frame), 0, now);
            if frame == 0 {
                rewriter.switch(&at, None, Some(number));
            }
            rewriter.note_frame(number);
            // One that comes late is no newer.
            rewriter.note_frame(number.wrapping_sub(1));
            let written = number.wrapping_add(rewriter.shift().frame);
            assert_eq!(written, expected);
            expected = expected.wrapping_add(1);
        }
    }
}

#[test]
fn pictures_left_out_leave_no_gap_in_the_ids_of_the_rest() {
    let now = start();
    let mut rewriter = Rewriter::new(1);
    let mut last = None;
    for frame in 0..100_u16 {
        let payload = vp8(frame % 50 == 0, 0x7fe0 + frame, frame as u8, 0);
        let descriptor = parse(str0m::format::Codec::Vp8, &payload).unwrap();
        let at = arrival(frame.into(), frame.into(), now);
        if frame == 0 || frame == 50 {
            rewriter.switch(&at, Some(&descriptor), None);
        }
        if frame % 3 == 1 {
            rewriter.omit(&at, true);
            continue;
        }
        let place = rewriter.place(&at).unwrap();
        rewriter.note_pictures(&descriptor, place.pictures);
        let mut copy = payload.clone();
        let shift = rewriter.shift().without(place.pictures);
        shift.apply(&descriptor, &mut copy);
        let written = parse(str0m::format::Codec::Vp8, &copy).unwrap();
        let id = written.picture.unwrap().value;
        if let Some((sequence, picture)) = last {
            assert_eq!(place.sequence, sequence + 1);
            assert_eq!(id, (picture + 1) & 0x7fff, "frame {frame}");
        }
        last = Some((place.sequence, id));
    }
}
