//! Events about rooms on their way to the control thread.
//!
//! As with events for clients (`backlog.rs`), the worker never waits. A view that has no room is dropped:
//! the shard makes another one when it was not answered. Everything else is kept in order up to a bound;
//! a room that does not fit any more is closed for the control thread as soon as there is room, and then
//! opened again, so that whoever follows it starts from a true picture.

use std::collections::{BTreeSet, VecDeque};

use rillway_core::api::{RoomEvent, RoomEventKind};
use rillway_core::id::RoomId;
use tokio::sync::mpsc;

/// Events kept at most: a room of 1,000 people that re-joins makes a few thousand.
const EVENTS_MAX: usize = 16_384;

/// Events in the queue above which no view is added. The view of a room of 100 is 250 kB.
const VIEWS_QUEUED_MAX: usize = 256;

/// What was given up, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RoomsStats {
    /// Views and speakers dropped.
    pub(crate) dropped: u64,
    /// Rooms closed and opened again because an event had no room.
    pub(crate) lost: u64,
}

/// The sending end of a worker's events about rooms.
pub(crate) struct Rooms {
    queue: mpsc::Sender<RoomEvent>,
    waiting: VecDeque<RoomEvent>,
    lost: BTreeSet<RoomId>,
    stats: RoomsStats,
}

impl Rooms {
    /// Sends through `queue`.
    pub(crate) fn new(queue: mpsc::Sender<RoomEvent>) -> Self {
        Rooms {
            queue,
            waiting: VecDeque::new(),
            lost: BTreeSet::new(),
            stats: RoomsStats::default(),
        }
    }

    /// Counters since start.
    pub(crate) fn stats(&self) -> RoomsStats {
        self.stats
    }

    /// Whether something waits for room in the queue.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.lost.is_empty()
    }

    /// Sends or keeps an event.
    pub(crate) fn push(&mut self, event: RoomEvent) {
        if self.lost.contains(&event.room) {
            return;
        }
        let dispensable = is_dispensable(&event.kind);
        let queued = self.queue.max_capacity() - self.queue.capacity();
        if dispensable && (self.is_waiting() || queued >= VIEWS_QUEUED_MAX) {
            self.stats.dropped += 1;
            return;
        }
        let event = if self.is_waiting() {
            event
        } else {
            match self.queue.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            }
        };
        self.keep(event);
    }

    fn keep(&mut self, event: RoomEvent) {
        if is_dispensable(&event.kind) {
            self.stats.dropped += 1;
        } else if self.waiting.len() < EVENTS_MAX {
            self.waiting.push_back(event);
        } else {
            self.stats.lost += 1;
            self.waiting.retain(|known| known.room != event.room);
            self.lost.insert(event.room);
        }
    }

    /// Sends what waits, as far as the queue has room. Returns rooms that are closed for the control
    /// thread now, to be announced again.
    #[must_use]
    pub(crate) fn drain(&mut self) -> Vec<RoomId> {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.queue.try_send(event) {
                self.waiting.push_front(event);
                return Vec::new();
            }
        }
        let mut closed = Vec::new();
        while let Some(room) = self.lost.pop_first() {
            let kind = RoomEventKind::Closed;
            let news = RoomEvent { room, kind };
            if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(news) {
                self.lost.insert(room);
                break;
            }
            closed.push(room);
        }
        closed
    }
}

/// Whether newer ones make up for it.
fn is_dispensable(kind: &RoomEventKind) -> bool {
    matches!(kind, RoomEventKind::View(_) | RoomEventKind::Speakers(_))
}

#[cfg(test)]
mod tests {
    use rillway_core::id::ParticipantId;

    use super::*;

    fn left(room: u64, participant: u64) -> RoomEvent {
        RoomEvent {
            room: RoomId(room),
            kind: RoomEventKind::Left(ParticipantId(participant)),
        }
    }

    fn view(room: u64) -> RoomEvent {
        RoomEvent {
            room: RoomId(room),
            kind: RoomEventKind::View(Box::default()),
        }
    }

    #[test]
    fn events_keep_their_order_and_views_never_wait() {
        let (sender, mut receiver) = mpsc::channel(4);
        let mut rooms = Rooms::new(sender);
        for participant in 0..10 {
            rooms.push(left(1, participant));
            rooms.push(view(1));
        }
        assert_eq!(rooms.stats().dropped, 8, "two fitted into the queue");
        let mut got = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            got.push(event);
            assert_eq!(rooms.drain(), []);
        }
        got.retain(|event| *event != view(1));
        let expected: Vec<_> = (0..10).map(|participant| left(1, participant)).collect();
        assert_eq!(got, expected);
        assert!(!rooms.is_waiting());
    }

    #[test]
    fn views_leave_most_of_the_queue_to_events() {
        let (sender, _receiver) = mpsc::channel(1_024);
        let mut rooms = Rooms::new(sender);
        for room in 0..500 {
            rooms.push(view(room));
        }
        assert_eq!(rooms.stats().dropped, 500 - VIEWS_QUEUED_MAX as u64);
        rooms.push(left(1, 1));
        assert!(!rooms.is_waiting());
    }

    #[test]
    fn a_room_that_does_not_fit_is_closed_and_others_are_not() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut rooms = Rooms::new(sender);
        rooms.push(left(2, 0));
        for participant in 0..=EVENTS_MAX as u64 {
            rooms.push(left(1 + participant % 2, participant));
        }
        assert_eq!(rooms.stats().lost, 1);
        rooms.push(left(1, 0));
        let (mut ones, mut twos, mut closed) = (0, 0, Vec::new());
        for _ in 0..2 * EVENTS_MAX {
            let Ok(event) = receiver.try_recv() else {
                break;
            };
            match event {
                RoomEvent {
                    kind: RoomEventKind::Closed,
                    room,
                } => assert_eq!(room, RoomId(1)),
                RoomEvent {
                    room: RoomId(1), ..
                } => ones += 1,
                _ => twos += 1,
            }
            closed.extend(rooms.drain());
        }
        assert_eq!((ones, twos), (0, 1 + EVENTS_MAX / 2));
        assert_eq!(closed, [RoomId(1)]);
        assert!(!rooms.is_waiting());
    }
}
