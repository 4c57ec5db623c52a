//! A room whose layers a policy outside the core decides: when it is shown the room, and whether its
//! choices are in force.

use std::time::{Duration, Instant};

use crate::limits::{POLICY_PATIENCE, VIEW_INTERVAL_LEAST, VIEW_REFRESH};

/// The core's side of the conversation with the policy of one room.
#[derive(Debug)]
pub(crate) struct External {
    every: Duration,
    /// Sequence of the last view.
    sequence: u64,
    /// Sequence of the last view answered.
    answered: u64,
    sent: Option<Instant>,
    /// When the first view was sent of those that wait for an answer.
    waiting_since: Option<Instant>,
    /// Something changed since the last view.
    touched: bool,
    in_force: bool,
    /// The room's place in the queue of timers.
    pub(crate) timer: Option<Instant>,
}

impl External {
    /// A policy that decides nothing yet and is shown the room as soon as may be. `sequence`: of the
    /// last view of the room, whoever got it.
    pub(crate) fn new(every: Duration, sequence: u64) -> Self {
        External {
            every: every.max(VIEW_INTERVAL_LEAST),
            sequence,
            answered: sequence,
            sent: None,
            waiting_since: None,
            touched: true,
            in_force: false,
            timer: None,
        }
    }

    /// Sequence of the last view.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether its choices count.
    pub(crate) fn in_force(&self) -> bool {
        self.in_force
    }

    /// Something in the room changed.
    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether the last view is so old that what was measured since is worth another.
    pub(crate) fn is_old(&self, now: Instant) -> bool {
        let old = |sent: Instant| now.saturating_duration_since(sent) >= VIEW_REFRESH;
        self.sent.is_none_or(old)
    }

    /// When something is to be done next, if nothing else happens.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let view = self.touched.then(|| self.due(now));
        let lapse = self.waiting_since.filter(|_| self.in_force);
        let lapse = lapse.map(|since| since + POLICY_PATIENCE);
        [view, lapse].into_iter().flatten().min()
    }

    /// When the next view may be sent: the last one was answered, or is taken to be lost.
    fn due(&self, now: Instant) -> Instant {
        let waits = self.waiting_since.is_some();
        let apart = if waits {
            self.every.max(VIEW_REFRESH)
        } else {
            self.every
        };
        self.sent.map_or(now, |sent| sent + apart)
    }

    /// The sequence of the view to be sent now, if one is; it counts as sent.
    pub(crate) fn take_view(&mut self, now: Instant) -> Option<u64> {
        if !self.touched || self.due(now) > now {
            return None;
        }
        self.touched = false;
        self.sent = Some(now);
        self.waiting_since.get_or_insert(now);
        self.sequence += 1;
        Some(self.sequence)
    }

    /// True once when the policy has left views unanswered for too long: it is out of force then.
    pub(crate) fn lapses(&mut self, now: Instant) -> bool {
        let late = |since: Instant| now.saturating_duration_since(since) >= POLICY_PATIENCE;
        let lapses = self.in_force && self.waiting_since.is_some_and(late);
        self.in_force &= !lapses;
        lapses
    }

    /// Choices from a view arrived. `None`: from no view that still counts; else whether the policy
    /// comes into force by them.
    pub(crate) fn answer(&mut self, view: u64) -> Option<bool> {
        if view <= self.answered || view > self.sequence {
            return None;
        }
        self.answered = view;
        self.waiting_since = self.sent.filter(|_| view != self.sequence);
        Some(!std::mem::replace(&mut self.in_force, true))
    }

    /// The policy failed; answers to views so far count no more. True if it was in force.
    pub(crate) fn fail(&mut self) -> bool {
        self.answered = self.sequence;
        self.waiting_since = None;
        self.touched = true;
        std::mem::replace(&mut self.in_force, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::testing::start;

    const EVERY: Duration = Duration::from_millis(200);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn views_are_sent_when_something_changed_and_no_faster_than_allowed() {
        let now = start();
        let mut room = External::new(EVERY, 0);
        assert_eq!(room.next(now), Some(now));
        assert_eq!(room.take_view(now), Some(1));
        assert_eq!(room.answer(1), Some(true));
        assert_eq!(room.next(now), None, "nothing changed");
        room.touch();
        assert_eq!(room.take_view(now + ms(199)), None);
        assert_eq!(room.next(now + ms(100)), Some(now + EVERY));
        assert_eq!(room.take_view(now + EVERY), Some(2));
        assert!(!room.is_old(now + ms(1_199)));
        assert_eq!(room.answer(2), Some(false));
        assert_eq!(room.next(now), None);
        assert!(room.is_old(now + ms(1_200)));
        room.touch();
        assert_eq!(room.take_view(now + ms(1_200)), Some(3));
        let hasty = External::new(Duration::ZERO, 0);
        assert_eq!(hasty.every, VIEW_INTERVAL_LEAST);
    }

    #[test]
    fn a_policy_that_has_not_answered_is_not_asked_again_at_once() {
        let now = start();
        let mut room = External::new(EVERY, 0);
        room.take_view(now);
        room.touch();
        assert_eq!(room.take_view(now + ms(999)), None);
        assert_eq!(room.take_view(now + VIEW_REFRESH), Some(2));
        assert_eq!(room.answer(1), Some(true), "late, but an answer");
        room.touch();
        assert_eq!(room.take_view(now + ms(1_999)), None, "the second waits");
        assert_eq!(room.answer(2), Some(false));
        assert_eq!(room.take_view(now + ms(1_999)), Some(3));
    }

    #[test]
    fn a_policy_that_stops_answering_lapses_once_and_may_come_back() {
        let now = start();
        let mut room = External::new(EVERY, 0);
        room.take_view(now);
        assert_eq!(room.answer(1), Some(true));
        room.touch();
        let asked = now + ms(500);
        room.take_view(asked);
        assert_eq!(room.next(asked), Some(asked + POLICY_PATIENCE));
        assert!(!room.lapses(asked + POLICY_PATIENCE - ms(1)));
        assert!(room.lapses(asked + POLICY_PATIENCE));
        assert!(!room.in_force());
        assert!(!room.lapses(asked + POLICY_PATIENCE));
        assert_eq!(room.answer(2), Some(true));
        // Silence in the room is none of the policy's.
        assert!(!room.lapses(asked + ms(3_600_000)));
        assert!(room.in_force());
    }

    #[test]
    fn answers_that_do_not_count_are_told_apart() {
        let now = start();
        let mut room = External::new(EVERY, 7);
        assert_eq!(room.answer(7), None, "of a policy before");
        assert_eq!(room.take_view(now), Some(8));
        assert_eq!(room.answer(9), None, "a view that never was");
        assert_eq!(room.answer(8), Some(true));
        assert_eq!(room.answer(8), None, "twice");
        room.touch();
        assert_eq!(room.take_view(now + EVERY), Some(9));
        assert!(room.fail());
        assert!(!room.fail());
        assert_eq!(room.answer(9), None, "of the instance that failed");
        assert_eq!(
            room.take_view(now + EVERY * 2),
            Some(10),
            "for the next one"
        );
        assert_eq!(room.answer(10), Some(true));
    }
}
