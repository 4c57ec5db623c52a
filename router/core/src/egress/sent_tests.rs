use super::*;
use crate::shard::slab::Key;
use crate::shard::testing::start;

const PAUSE: Duration = Duration::from_millis(50);

fn origin(layer: u8) -> Origin {
    Origin {
        track: TrackKey::from_parts(1, 1),
        layer,
        epoch: 1,
        shift: Shift::default(),
        payload_type: 96,
    }
}

#[test]
fn a_number_leads_back_to_its_source() {
    let now = start();
    let mut log = SentLog::new(now);
    for n in 0..100 {
        log.note(
            5_000_000_000 + n,
            60_000 + n,
            &origin(0),
            Variation::default(),
        );
    }
    // Another source, whose numbers go on elsewhere; one of it comes late.
    for n in [0, 1, 3, 2] {
        log.note(77 + n, 60_100 + n, &origin(1), Variation::default());
    }
    let mut find = |number: u64| log.take(now, number as u16, PAUSE);
    assert_eq!(find(60_050).map(|w| w.source), Some(5_000_000_050));
    let wanted = find(60_102).unwrap();
    assert_eq!((wanted.source, wanted.origin.layer), (79, 1));
    assert_eq!(wanted.sequence, 60_102);
    assert_eq!(find(60_104), None, "not sent yet");
    assert_eq!(find(59_999), None, "never sent");
}

#[test]
fn numbers_are_those_of_the_present_round() {
    let now = start();
    let mut log = SentLog::new(now);
    for n in 65_400..65_700 {
        log.note(n, n, &origin(0), Variation::default());
    }
    assert_eq!(log.take(now, 65_500, PAUSE).unwrap().sequence, 65_500);
    assert_eq!(log.take(now, 100, PAUSE).unwrap().sequence, 65_636);
    assert_eq!(log.take(now, 164, PAUSE), None);
}

#[test]
fn a_packet_is_given_out_once_in_a_pause() {
    let now = start();
    let mut log = SentLog::new(now);
    log.note(1, 1, &origin(0), Variation::default());
    log.note(2, 2, &origin(0), Variation::default());
    let after = |ms| now + Duration::from_millis(ms);
    assert!(log.take(after(0), 1, PAUSE).is_some());
    assert!(log.take(after(1), 2, PAUSE).is_some(), "another one");
    for ms in 0..50 {
        assert!(log.take(after(ms), 1, PAUSE).is_none(), "{ms}");
    }
    assert!(log.take(after(60), 1, PAUSE).is_some());
    assert!(log.take(after(70), 1, PAUSE).is_none());
}

#[test]
fn what_is_long_ago_is_forgotten() {
    let now = start();
    let mut log = SentLog::new(now);
    for n in 0..2_000 {
        log.note(n, n, &origin(0), Variation::default());
    }
    let oldest = 2_000 - ENTRIES as u64;
    assert!(log.take(now, oldest as u16, PAUSE).is_some());
    assert!(log.take(now, oldest as u16 - 1, PAUSE).is_none());
    log.note(oldest - 1, oldest - 1, &origin(0), Variation::default());
    assert!(
        log.take(now, oldest as u16 + 511, PAUSE).is_some(),
        "a late packet does not take a newer one's place"
    );
}

#[test]
fn an_origin_that_was_replaced_is_not_mistaken_for_another() {
    let now = start();
    let mut log = SentLog::new(now);
    for n in 0..20 {
        log.note(1_000 * n, n, &origin(n as u8), Variation::default());
    }
    for n in 0..20_u64 {
        let found = log.take(now, n as u16, PAUSE);
        let known = n >= 20 - ORIGINS as u64;
        assert_eq!(found.map(|w| w.origin.layer), known.then_some(n as u8));
        assert!(found.is_none_or(|w| w.source == 1_000 * n));
    }
}

#[test]
fn what_is_different_about_a_packet_is_remembered_with_it() {
    let now = start();
    let mut log = SentLog::new(now);
    let variation = |n: u64| Variation {
        pictures: (n as u16).wrapping_mul(1_000),
        last: n.is_multiple_of(2),
        hollow: n.is_multiple_of(3),
    };
    // Origins are counted in fewer bits than there may be of them.
    for n in 0..40_000 {
        let origin = origin((n / 4 % 7) as u8);
        log.note(n, n, &origin, variation(n));
    }
    for n in 40_000 - 28..40_000 {
        let wanted = log.take(now, n as u16, PAUSE).unwrap();
        assert_eq!(wanted.variation, variation(n));
        assert_eq!((wanted.source, wanted.origin.layer), (n, (n / 4 % 7) as u8));
    }
}
