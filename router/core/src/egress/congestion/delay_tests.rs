use super::*;

/// Sends a packet every 10 ms whose delay is what `delay_micros` says; when it was first over and under
/// used.
fn run(packets: i64, delay_micros: impl Fn(i64) -> i64) -> (Option<i64>, Option<i64>) {
    let mut detector = DelayDetector::default();
    let (mut over, mut under) = (None, None);
    for number in 0..packets {
        let sent = number * 10_000;
        detector.on_packet(sent, 5_000_000 + sent + delay_micros(number));
        match detector.usage() {
            Usage::Over => over = over.or(Some(number)),
            Usage::Under => under = under.or(Some(number)),
            Usage::Normal => {}
        }
    }
    (over, under)
}

fn jitter(number: i64, most: i64) -> i64 {
    (number.wrapping_mul(7_919) ^ number.wrapping_mul(104_729)).rem_euclid(most)
}

#[test]
fn a_steady_path_with_jitter_is_normal() {
    assert_eq!(run(3_000, |_| 20_000), (None, None));
    assert_eq!(run(3_000, |n| jitter(n, 4_000)), (None, None));
}

#[test]
fn a_queue_that_grows_is_found_within_half_a_second() {
    // From the 200th on each packet waits 2 ms longer.
    let (over, _) = run(400, |n| (n - 200).max(0) * 2_000);
    assert!((200..250).contains(&over.unwrap()), "{over:?}");
    let (over, _) = run(400, |n| (n - 200).max(0) * 2_000 + jitter(n, 3_000));
    assert!((200..250).contains(&over.unwrap()), "{over:?}");
}

#[test]
fn a_queue_that_drains_is_found() {
    let delay = |n: i64| 100_000 - (n - 200).clamp(0, 33) * 3_000;
    let (over, under) = run(400, delay);
    assert_eq!(over, None);
    assert!((200..300).contains(&under.unwrap()), "{under:?}");
}

#[test]
fn a_queue_that_stays_is_too_long_until_it_is_known_not_to_be_ours() {
    let mut detector = DelayDetector::default();
    let mut over = 0;
    for number in 0..3_000_i64 {
        let sent = number * 10_000;
        let longer = if number > 500 { 200_000 } else { 0 };
        let news = detector.on_packet(sent, sent + longer);
        if news && number % 20 == 0 && detector.usage() == Usage::Over {
            over += 1;
            detector.on_decrease();
        }
    }
    assert!((2..=STANDING_TRIALS + 3).contains(&over), "{over}");
    assert_eq!(detector.usage(), Usage::Normal);
    assert!(detector.queue_ms() < 1.0);
}

#[test]
fn a_jump_of_the_clock_or_a_pause_is_no_queue() {
    let (over, _) = run(600, |n| if n < 300 { 0 } else { 10_000_000 });
    assert_eq!(over, None);
}

#[test]
fn bursts_are_one_group() {
    let mut detector = DelayDetector::default();
    for frame in 0..500_i64 {
        for packet in 0..8_i64 {
            // They leave at once and arrive one after the other.
            let sent = frame * 33_000 + packet * 10;
            detector.on_packet(sent, sent + packet * 1_200);
        }
        assert_eq!(detector.usage(), Usage::Normal, "{frame}");
    }
}

#[test]
fn no_times_make_it_panic() {
    let mut detector = DelayDetector::default();
    let mut state = 12_345_u64;
    for round in 0..200_000_i64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // As far as feedback can tell: 24 bits of 64 ms and what deltas add.
        let arrived = (state % (1 << 41)) as i64 - (1 << 40);
        detector.on_packet(
            round * 1_000,
            if round % 3 == 0 {
                arrived
            } else {
                round * 1_000
            },
        );
        assert!(detector.queue_ms().is_finite());
    }
}
