//! The ways between media workers: what parts of a room on several of them tell each other.
//!
//! From each worker to each other one there is a ring with one writer and one reader, without locks. What a turn
//! has goes in at its end, and who sleeps is woken once for all of it. Nobody waits for room: packets are lost, those
//! of video as soon as a quarter of the ring is left, those of audio when nothing is; everything else is kept here,
//! in order, until there is room. A worker that is behind by thousands of such words is stuck, and loses some.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;

use futures_util::task::AtomicWaker;
use rillway_core::crossing::{Crossing, Worth};
use rillway_core::id::WorkerId;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Places of all the rings into one worker: with two workers a third of a second of 50 cameras.
const PLACES: usize = 8_192;
/// Places of one ring, whatever the number of workers.
const RING_MIN: usize = 256;
const RING_MAX: usize = 4_096;
/// Words that wait for room in a ring at most.
const LATE_MAX: usize = 16_384;
/// Crossings that one turn takes from one ring at most.
const TAKEN_PER_TURN: usize = 1_024;

/// What was lost between workers, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LinkStats {
    /// Packets of video that found no room.
    pub(crate) dropped_video: u64,
    /// Packets of audio.
    pub(crate) dropped_audio: u64,
    /// Anything else, which a worker that is stuck loses.
    pub(crate) dropped_words: u64,
    /// Gauge: crossings that wait to be taken.
    pub(crate) waiting: u64,
}

/// A worker's ends of all its ways.
pub(crate) struct Links {
    out: Vec<Out>,
    into: Vec<(WorkerId, Consumer<Crossing>)>,
    /// Woken by whoever puts something into one of `into`.
    waker: Arc<AtomicWaker>,
    stats: LinkStats,
}

struct Out {
    to: WorkerId,
    ring: Producer<Crossing>,
    waker: Arc<AtomicWaker>,
    late: VecDeque<Crossing>,
    /// Something was put in since its reader was last woken.
    fresh: bool,
    /// Free places below which video is lost.
    reserve: usize,
}

/// Ways between all of these workers, for each its ends.
pub(crate) fn mesh(workers: &[WorkerId]) -> Vec<Links> {
    let others = workers.len().saturating_sub(1).max(1);
    let places = (PLACES / others).clamp(RING_MIN, RING_MAX);
    let mut all: Vec<Links> = workers.iter().map(|_| Links::none()).collect();
    for (from, of) in workers.iter().enumerate() {
        for (to, by) in workers.iter().enumerate() {
            if from == to {
                continue;
            }
            let (ring, read) = RingBuffer::new(places);
            let waker = all.get_mut(to).map(|links| {
                links.into.push((*of, read));
                links.waker.clone()
            });
            if let (Some(links), Some(waker)) = (all.get_mut(from), waker) {
                links.out.push(Out {
                    to: *by,
                    ring,
                    waker,
                    late: VecDeque::new(),
                    fresh: false,
                    reserve: places / 4,
                });
            }
        }
    }
    all
}

impl Links {
    /// Of a worker that is the only one.
    pub(crate) fn none() -> Self {
        Links {
            out: Vec::new(),
            into: Vec::new(),
            waker: Arc::new(AtomicWaker::new()),
            stats: LinkStats::default(),
        }
    }

    /// Gives what a turn has for others, and wakes those that sleep.
    pub(crate) fn give(&mut self, crossings: impl Iterator<Item = (WorkerId, Crossing)>) {
        for out in &mut self.out {
            out.retry();
        }
        for (to, crossing) in crossings {
            // Nobody else has a part of any room.
            if let Some(out) = self.out.iter_mut().find(|out| out.to == to) {
                out.push(crossing, &mut self.stats);
            }
        }
        for out in &mut self.out {
            if std::mem::take(&mut out.fresh) {
                out.waker.wake();
            }
        }
    }

    /// Takes what has come, up to a bound; true: there is more.
    pub(crate) fn take(&mut self, mut each: impl FnMut(WorkerId, Crossing)) -> bool {
        let mut more = false;
        for (from, ring) in &mut self.into {
            for _ in 0..TAKEN_PER_TURN {
                let Ok(crossing) = ring.pop() else {
                    break;
                };
                each(*from, crossing);
            }
            more |= !ring.is_empty();
        }
        more
    }

    /// Whether something has come; if not, the task is woken when something does.
    pub(crate) fn poll_ready(&self, context: &Context<'_>) -> bool {
        if self.into.is_empty() {
            return false;
        }
        self.waker.register(context.waker());
        self.has_come()
    }

    fn has_come(&self) -> bool {
        self.into.iter().any(|(_, ring)| !ring.is_empty())
    }

    /// Whether something waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.out.iter().any(|out| !out.late.is_empty())
    }

    /// Counters since start.
    pub(crate) fn stats(&self) -> LinkStats {
        let waiting = self.into.iter().map(|(_, ring)| ring.slots() as u64);
        LinkStats {
            waiting: waiting.sum(),
            ..self.stats
        }
    }
}

impl Out {
    /// Puts in what waited, as far as there is room.
    fn retry(&mut self) {
        if self.ring.is_abandoned() {
            self.late.clear();
            return;
        }
        while let Some(crossing) = self.late.pop_front() {
            if let Err(PushError::Full(crossing)) = self.ring.push(crossing) {
                self.late.push_front(crossing);
                return;
            }
            self.fresh = true;
        }
    }

    fn push(&mut self, crossing: Crossing, stats: &mut LinkStats) {
        if self.ring.is_abandoned() {
            return;
        }
        let worth = crossing.worth();
        let free = match worth {
            // Nothing may overtake what waits; packets need not wait at all.
            _ if !self.late.is_empty() => 0,
            Worth::Video => self.ring.slots().saturating_sub(self.reserve),
            Worth::Audio | Worth::Word => self.ring.slots(),
        };
        let pushed = if free == 0 {
            Err(PushError::Full(crossing))
        } else {
            self.ring.push(crossing)
        };
        match (pushed, worth) {
            (Ok(()), _) => self.fresh = true,
            (Err(_), Worth::Video) => stats.dropped_video += 1,
            (Err(_), Worth::Audio) => stats.dropped_audio += 1,
            (Err(PushError::Full(crossing)), Worth::Word) => {
                if self.late.len() < LATE_MAX {
                    self.late.push_back(crossing);
                } else {
                    stats.dropped_words += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use rillway_core::crossing::samples;

    use super::*;

    #[derive(Default)]
    struct Alarm(AtomicUsize);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pair() -> (Links, Links) {
        let mut both = mesh(&[WorkerId(0), WorkerId(1)]);
        let second = both.pop().expect("two");
        (both.pop().expect("two"), second)
    }

    fn all(links: &mut Links) -> Vec<Worth> {
        let mut taken = Vec::new();
        while links.take(|from, crossing| {
            assert_eq!(from, WorkerId(0));
            taken.push(crossing.worth());
        }) {}
        taken
    }

    #[test]
    fn who_sleeps_is_woken_once_for_all_of_a_turn() {
        let (mut first, mut second) = pair();
        let alarm = Arc::new(Alarm::default());
        let waker = Waker::from(alarm.clone());
        let context = Context::from_waker(&waker);
        assert!(!second.poll_ready(&context));
        let three = [samples::audio(), samples::video(), samples::word()];
        first.give(three.into_iter().map(|c| (WorkerId(1), c)));
        assert_eq!(alarm.0.load(Ordering::Relaxed), 1);
        assert!(second.poll_ready(&context));
        assert_eq!(all(&mut second), [Worth::Audio, Worth::Video, Worth::Word]);
        first.give(std::iter::once((WorkerId(9), samples::audio())));
        assert_eq!(all(&mut second), [], "for nobody");
    }

    #[test]
    fn video_is_lost_before_audio_and_words_never() {
        let (mut first, mut second) = pair();
        let many = |make: fn() -> Crossing| {
            std::iter::repeat_with(move || (WorkerId(1), make())).take(RING_MAX)
        };
        first.give(many(samples::video));
        assert_eq!(first.stats().dropped_video, RING_MAX as u64 / 4);
        first.give(many(samples::audio));
        assert_eq!(first.stats().dropped_audio, RING_MAX as u64 * 3 / 4);
        first.give(many(samples::word));
        assert!(first.is_waiting());
        assert_eq!(second.stats().waiting, RING_MAX as u64);
        // What comes after them must not overtake them.
        let mut taken = all(&mut second);
        first.give(std::iter::once((WorkerId(1), samples::audio())));
        taken.extend(all(&mut second));
        first.give(std::iter::empty());
        taken.extend(all(&mut second));
        let count = |worth| taken.iter().filter(|known| **known == worth).count();
        assert_eq!(count(Worth::Word), RING_MAX);
        assert_eq!(first.stats().dropped_words, 0);
        assert!(!first.is_waiting());
        let (video, rest) = taken.split_at(RING_MAX * 3 / 4);
        assert!(video.iter().all(|worth| *worth == Worth::Video));
        let (audio, _) = rest.split_at(RING_MAX / 4);
        assert!(audio.iter().all(|worth| *worth == Worth::Audio));
    }

    #[test]
    fn a_worker_that_is_gone_costs_nothing() {
        let (mut first, second) = pair();
        drop(second);
        first.give((0..10).map(|_| (WorkerId(1), samples::word())));
        assert!(!first.is_waiting());
        assert_eq!(first.stats(), LinkStats::default());
    }
}
