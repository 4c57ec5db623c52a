//! When what is due: one entry per owner, ordered by time, no scan over owners.

use std::collections::BTreeSet;
use std::time::Instant;

use super::slab::{ParticipantKey, RoomKey, TransportKey};

/// Whose timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A transport's next timeout.
    Transport(TransportKey),
    /// What a subscribing transport sends next by itself: reports, and packets that wait.
    Reports(TransportKey),
    /// A room's tick: speakers, layers, keyframe requests.
    Room(RoomKey),
    /// A participant's report of dropped data.
    Participant(ParticipantKey),
    /// A view of a room for its layer policy, or that policy's silence.
    View(RoomKey),
}

/// The queue. Each owner keeps the time it is queued under in a slot of its own.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Arms a timer for `at` at the latest. A later time than the one already queued changes nothing:
    /// the owner is asked too early then and arms again, which is cheaper than moving the entry with
    /// every packet.
    pub(crate) fn arm(&mut self, slot: &mut Option<Instant>, timer: Timer, at: Instant) {
        match *slot {
            Some(queued) if queued <= at => return,
            Some(queued) => {
                self.queue.remove(&(queued, timer));
            }
            None => {}
        }
        self.queue.insert((at, timer));
        *slot = Some(at);
    }

    /// Takes an owner's entry out.
    pub(crate) fn disarm(&mut self, slot: &mut Option<Instant>, timer: Timer) {
        if let Some(queued) = slot.take() {
            self.queue.remove(&(queued, timer));
        }
    }

    /// Moves every timer due by `now` to `due`; their owners must clear their slots.
    pub(crate) fn take_due(&mut self, now: Instant, due: &mut Vec<Timer>) {
        while let Some(&(at, timer)) = self.queue.first() {
            if at > now {
                return;
            }
            self.queue.pop_first();
            due.push(timer);
        }
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
