//! Rings between two and three workers, by hand.

use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use super::*;

#[derive(Default)]
struct Alarm(AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn pair() -> (Handover, Handover) {
    let mut both = mesh(&[WorkerId(0), WorkerId(1)]);
    let second = both.pop().expect("two");
    (both.pop().expect("two"), second)
}

fn letter(port: u16) -> Letter {
    Letter {
        socket: SocketId(0),
        source: SocketAddr::from(([192, 0, 2, 1], port)),
        arrived: None,
    }
}

fn to(worker: u8, proven: bool) -> Elsewhere {
    Elsewhere {
        worker: Some(WorkerId(worker)),
        proven,
    }
}

fn all(handover: &mut Handover) -> Vec<(u16, Vec<u8>)> {
    let mut taken = Vec::new();
    while handover
        .take(|_, letter, bytes| taken.push((letter.source.port(), bytes.to_vec())))
        .1
    {}
    taken
}

#[test]
fn datagrams_come_whole_and_in_order_round_and_round_the_ring() {
    let (mut first, mut second) = pair();
    let mut sent = 0_u32;
    for round in 0..4_000_u32 {
        for length in [1, 1_200, 60 + (round % 700) as usize] {
            let mut contents = vec![sent as u8; length];
            contents[length - 1] = round as u8;
            first.give(to(1, true), letter(sent as u16), &contents);
            sent += 1;
        }
        let taken = all(&mut second);
        assert_eq!(taken.len(), 3);
        for (index, (port, contents)) in taken.iter().enumerate() {
            let number = sent - 3 + index as u32;
            assert_eq!(*port, number as u16);
            let (last, rest) = contents.split_last().expect("bytes");
            assert_eq!(*last, round as u8);
            assert!(rest.iter().all(|byte| *byte == number as u8));
        }
    }
    assert_eq!(first.stats().given, u64::from(sent));
    assert_eq!(second.stats().taken, u64::from(sent));
    assert_eq!(first.stats().dropped, 0);
}

#[test]
fn who_sleeps_is_woken_once_for_all_of_a_turn() {
    let (mut first, mut second) = pair();
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    let context = Context::from_waker(&waker);
    assert!(!second.poll_ready(&context));
    for _ in 0..5 {
        first.give(to(1, true), letter(1), &[1]);
    }
    assert_eq!(alarm.0.load(Ordering::Relaxed), 0);
    first.wake();
    first.wake();
    assert_eq!(alarm.0.load(Ordering::Relaxed), 1);
    assert!(second.poll_ready(&context));
    assert_eq!(all(&mut second).len(), 5);
    assert!(!second.poll_ready(&context));
}

#[test]
fn a_full_ring_drops_strangers_first_and_never_waits() {
    let (mut first, mut second) = pair();
    let packet = [7; 1_000];
    for _ in 0..2_000 {
        first.give(to(1, false), letter(1), &packet);
    }
    let strangers = first.stats().given;
    assert_eq!(strangers, (RING_BYTES_MAX / 2 / 1_000) as u64);
    for _ in 0..2_000 {
        first.give(to(1, true), letter(2), &packet);
    }
    assert_eq!(first.stats().given, (RING_BYTES_MAX / 1_000) as u64);
    assert_eq!(first.stats().given + first.stats().dropped, 4_000);
    assert_eq!(all(&mut second).len() as u64, first.stats().given);
    // Many small ones: places are the bound.
    for _ in 0..10_000 {
        first.give(to(1, true), letter(3), &[1]);
    }
    assert_eq!(all(&mut second).len(), RING_BYTES_MAX / BYTES_PER_PLACE);
}

#[test]
fn what_may_be_anybodys_goes_to_everybody() {
    let ids: Vec<_> = (0..3).map(WorkerId).collect();
    let mut three = mesh(&ids);
    let anybodys = Elsewhere {
        worker: None,
        proven: false,
    };
    three[1].give(anybodys, letter(7), &[1, 2]);
    assert_eq!(three[1].stats().given, 2);
    for (index, taken) in [(0, 1), (1, 0), (2, 1)] {
        assert_eq!(all(&mut three[index]).len(), taken);
    }
}

#[test]
fn a_turn_takes_a_bounded_number_and_from_each_in_turn() {
    let ids: Vec<_> = (0..3).map(WorkerId).collect();
    let mut three = mesh(&ids);
    let (givers, taker) = three.split_at_mut(2);
    for giver in givers {
        for _ in 0..1_000 {
            giver.give(to(2, true), letter(1), &[0]);
        }
    }
    let mut from = [0; 2];
    for _ in 0..4 {
        let (taken, more) = taker[0].take(|worker, _, _| from[usize::from(worker.0)] += 1);
        assert_eq!((taken, more), (TAKEN_PER_TURN, true));
    }
    assert_eq!(from, [2 * TAKEN_PER_TURN; 2]);
}

#[test]
fn claims_come_to_who_handed_over() {
    let (mut first, mut second) = pair();
    let claim = Claim {
        socket: SocketId(0),
        remote: letter(9).source,
    };
    let mut heard = Vec::new();
    first.take_claims(|from, claim| heard.push((from, claim)));
    assert_eq!(heard, []);
    second.claim([(WorkerId(0), claim), (WorkerId(9), claim)].into_iter());
    first.take_claims(|from, claim| heard.push((from, claim)));
    assert_eq!(heard, [(WorkerId(1), claim)]);
    // One that is not there to hear them loses them; nobody is held up.
    for _ in 0..10_000 {
        second.claim(std::iter::once((WorkerId(0), claim)));
    }
    heard.clear();
    first.take_claims(|from, claim| heard.push((from, claim)));
    assert_eq!(heard.len(), CLAIMS_MAX);
}

#[test]
fn who_is_alone_has_nobody_to_hand_to_and_a_worker_that_is_gone_costs_nothing() {
    let mut alone = mesh(&[WorkerId(0)]);
    let alone = alone.first_mut().expect("one");
    assert_eq!(alone.others(), []);
    assert_eq!(alone.take(|_, _, _| ()), (0, false));
    let (mut first, second) = pair();
    drop(second);
    first.give(to(1, true), letter(1), &[1]);
    first.wake();
    assert_eq!(first.stats().dropped, 1);
}
