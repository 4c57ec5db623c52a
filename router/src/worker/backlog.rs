//! Events on their way from a worker to the control thread, kept in order and in bounds.
//!
//! The queue between the threads is bounded; what does not fit waits here, bounded too. A worker
//! never waits for the control thread: at the bound, events that a client can do without (data,
//! speakers, layers) are dropped first and counted; a client whose indispensable event has no room
//! is lost: it leaves the room and is told so as soon as there is room.

use std::collections::{BTreeSet, VecDeque};

use rillway_core::api::{Event, EventKind};
use rillway_core::id::ClientId;
use tokio::sync::mpsc;

/// Events the backlog keeps. A room of 1,000 people whose control thread stalls while everybody
/// re-joins makes a few thousand.
const EVENTS_MAX: usize = 16_384;

/// Events above which dispensable ones are dropped, so that the rest of the room is kept for
/// indispensable ones.
const DISPENSABLE_MAX: usize = EVENTS_MAX / 4;

/// Bytes of SDP and payload the backlog keeps.
const BYTES_MAX: usize = 32 << 20;

/// What the backlog had to give up, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BacklogStats {
    /// Dispensable events dropped.
    pub(crate) dropped: u64,
    /// Clients given up because an indispensable event had no room.
    pub(crate) clients_lost: u64,
}

/// The sending end of a worker's events.
pub(crate) struct Backlog {
    queue: mpsc::Sender<Event>,
    waiting: VecDeque<Event>,
    waiting_bytes: usize,
    lost: BTreeSet<ClientId>,
    stats: BacklogStats,
}

impl Backlog {
    /// Sends through `queue`.
    pub(crate) fn new(queue: mpsc::Sender<Event>) -> Self {
        Backlog {
            queue,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lost: BTreeSet::new(),
            stats: BacklogStats::default(),
        }
    }

    /// Counters since start.
    pub(crate) fn stats(&self) -> BacklogStats {
        self.stats
    }

    /// Whether something waits for room in the queue.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.lost.is_empty()
    }

    /// Sends or keeps an event. Returns the client that is lost by it, if one is: the caller
    /// removes it from its room.
    #[must_use]
    pub(crate) fn push(&mut self, event: Event) -> Option<ClientId> {
        if self.lost.contains(&event.client) {
            return None;
        }
        let event = if self.is_waiting() {
            event
        } else {
            match self.queue.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return None,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            }
        };
        self.keep(event)
    }

    fn keep(&mut self, event: Event) -> Option<ClientId> {
        let bytes = bytes_of(&event.kind);
        let (events_max, bytes_max) = if is_dispensable(&event.kind) {
            (DISPENSABLE_MAX, BYTES_MAX / 4)
        } else {
            (EVENTS_MAX, BYTES_MAX)
        };
        if self.waiting.len() < events_max && self.waiting_bytes + bytes <= bytes_max {
            self.waiting_bytes += bytes;
            self.waiting.push_back(event);
            return None;
        }
        if is_dispensable(&event.kind) {
            self.stats.dropped += 1;
            return None;
        }
        self.stats.clients_lost += 1;
        self.forget(event.client);
        self.lost.insert(event.client);
        Some(event.client)
    }

    /// A lost client gets nothing more but the news of it.
    fn forget(&mut self, client: ClientId) {
        self.waiting.retain(|event| event.client != client);
        self.waiting_bytes = self.waiting.iter().map(|e| bytes_of(&e.kind)).sum();
    }

    /// Sends what waits, as far as the queue has room.
    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            let bytes = bytes_of(&event.kind);
            match self.queue.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
                }
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
            }
        }
        while let Some(client) = self.lost.pop_first() {
            let reason = "the router could not keep up with this client's events".to_owned();
            let kind = EventKind::Removed { reason };
            if let Err(mpsc::error::TrySendError::Full(_)) =
                self.queue.try_send(Event { client, kind })
            {
                self.lost.insert(client);
                return;
            }
        }
    }
}

/// Whether a client that misses this event still has a true picture of its room.
fn is_dispensable(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Data { .. }
            | EventKind::DataDropped { .. }
            | EventKind::Speakers(_)
            | EventKind::Layer { .. }
    )
}

/// Bytes of the parts that clients can make large.
fn bytes_of(kind: &EventKind) -> usize {
    match kind {
        EventKind::Data { label, payload, .. } => label.len() + payload.len(),
        EventKind::Answer { sdp, .. } | EventKind::Offer { sdp, .. } => sdp.len(),
        EventKind::Joined {
            participants,
            tracks,
            ..
        } => 512 * (participants.len() + tracks.len()),
        EventKind::Speakers(speakers) => 16 * speakers.len(),
        _ => 256,
    }
}

#[cfg(test)]
mod tests {
    use rillway_core::id::ParticipantId;

    use super::*;

    fn left(client: u64, participant: u64) -> Event {
        Event {
            client: ClientId(client),
            kind: EventKind::ParticipantLeft(ParticipantId(participant)),
        }
    }

    fn data(client: u64, bytes: usize) -> Event {
        Event {
            client: ClientId(client),
            kind: EventKind::Data {
                from: ParticipantId(1),
                label: String::new(),
                payload: vec![0; bytes],
            },
        }
    }

    fn drained(backlog: &mut Backlog, queue: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            while let Ok(event) = queue.try_recv() {
                events.push(event);
            }
            if !backlog.is_waiting() {
                return events;
            }
            backlog.drain();
        }
    }

    #[test]
    fn order_is_kept_across_a_full_queue() {
        let (sender, mut receiver) = mpsc::channel(4);
        let mut backlog = Backlog::new(sender);
        for i in 0..100 {
            assert_eq!(backlog.push(left(1, i)), None);
        }
        let events = drained(&mut backlog, &mut receiver);
        assert_eq!(events, (0..100).map(|i| left(1, i)).collect::<Vec<_>>());
        assert_eq!(backlog.stats(), BacklogStats::default());
        assert_eq!(backlog.waiting_bytes, 0);
    }

    #[test]
    fn dispensable_events_go_first() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut backlog = Backlog::new(sender);
        for _ in 0..=DISPENSABLE_MAX {
            assert_eq!(backlog.push(data(1, 1)), None);
        }
        assert_eq!(backlog.push(data(1, 1)), None);
        assert_eq!(backlog.stats().dropped, 1);
        assert_eq!(backlog.push(left(1, 7)), None);
        let events = drained(&mut backlog, &mut receiver);
        assert_eq!(events.last(), Some(&left(1, 7)));
        assert_eq!(events.len(), DISPENSABLE_MAX + 2);
    }

    #[test]
    fn bytes_are_bounded() {
        let (sender, _receiver) = mpsc::channel(1);
        let mut backlog = Backlog::new(sender);
        for _ in 0..1_000 {
            assert_eq!(backlog.push(data(1, 64 * 1024)), None);
        }
        assert!(backlog.waiting_bytes <= BYTES_MAX / 4);
        assert!(backlog.stats().dropped > 800);
    }

    #[test]
    fn a_client_whose_news_has_no_room_is_lost_and_told_last() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mut backlog = Backlog::new(sender);
        for i in 0..=EVENTS_MAX as u64 {
            assert_eq!(backlog.push(left(i % 2, i)), None);
        }
        assert_eq!(backlog.push(left(0, 0)), Some(ClientId(0)));
        assert_eq!(backlog.push(left(0, 1)), None, "lost only once");
        assert_eq!(
            backlog.push(left(1, 2)),
            None,
            "its share made room for others"
        );
        let events = drained(&mut backlog, &mut receiver);
        let of_lost: Vec<_> = events.iter().filter(|e| e.client == ClientId(0)).collect();
        assert!(
            of_lost.len() <= 2,
            "at most the one already in the queue, and the news"
        );
        assert!(matches!(
            events.last().map(|e| &e.kind),
            Some(EventKind::Removed { .. })
        ));
        assert_eq!(backlog.stats().clients_lost, 1);
    }
}
