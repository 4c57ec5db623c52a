//! The clients that are in rooms, and the way of events to them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

use rillway_core::api::{Event, EventKind};
use rillway_core::id::{ClientId, WorkerId};
use tokio::sync::{Notify, mpsc};

/// Events waiting for one session. The control thread runs sessions between batches of events, so
/// only a session that waits for its plugin lets them pile up.
const MAILBOX_MAX: usize = 2_048;
/// Free places below which dispensable events are dropped.
const MAILBOX_RESERVE: usize = MAILBOX_MAX / 2;

/// What clients of a worker that died are told.
const WORKER_ENDED: &str = "the media worker of this room failed; join again";

/// Every client that is in a room or on its way into one.
#[derive(Default)]
pub(crate) struct Clients {
    entries: RefCell<HashMap<ClientId, Entry>>,
    next: Cell<u64>,
    /// Leaves that found their worker's queue full. Each client leaves once, so there are never
    /// more than there were clients.
    late: RefCell<VecDeque<(WorkerId, ClientId)>>,
    late_added: Notify,
}

struct Entry {
    worker: WorkerId,
    mailbox: mpsc::Sender<EventKind>,
}

impl Clients {
    /// Names a new client of `worker` and opens its mailbox. A closed mailbox means that the
    /// session fell behind.
    pub(crate) fn add(&self, worker: WorkerId) -> (ClientId, mpsc::Receiver<EventKind>) {
        let client = ClientId(self.next.get());
        self.next.set(client.0 + 1);
        let (mailbox, receiver) = mpsc::channel(MAILBOX_MAX);
        self.entries
            .borrow_mut()
            .insert(client, Entry { worker, mailbox });
        (client, receiver)
    }

    /// Forgets a client; events still on their way to it are dropped.
    pub(crate) fn remove(&self, client: ClientId) {
        self.entries.borrow_mut().remove(&client);
    }

    /// Keeps the leave of a client whose worker's queue is full.
    pub(super) fn leave_late(&self, worker: WorkerId, client: ClientId) {
        self.late.borrow_mut().push_back((worker, client));
        self.late_added.notify_one();
    }

    /// The next leave kept.
    pub(super) async fn late_leave(&self) -> (WorkerId, ClientId) {
        loop {
            let next = self.late.borrow_mut().pop_front();
            match next {
                Some(leave) => return leave,
                None => self.late_added.notified().await,
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Hands an event to its client, if it is still there.
    pub(crate) fn deliver(&self, event: Event) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get(&event.client) else {
            return;
        };
        if is_dispensable(&event.kind) && entry.mailbox.capacity() < MAILBOX_RESERVE {
            return;
        }
        if entry.mailbox.try_send(event.kind).is_err() {
            entries.remove(&event.client);
        }
    }

    /// A worker has ended: its clients are told that they are in no room any more. Returns how many.
    pub(crate) fn worker_ended(&self, worker: WorkerId) -> usize {
        let mut entries = self.entries.borrow_mut();
        let before = entries.len();
        entries.retain(|_, entry| {
            if entry.worker != worker {
                return true;
            }
            let reason = WORKER_ENDED.to_owned();
            // With a full mailbox the session ends as one that fell behind.
            let _ = entry.mailbox.try_send(EventKind::Removed { reason });
            false
        });
        before - entries.len()
    }
}

fn is_dispensable(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Data { .. } | EventKind::Speakers(_) | EventKind::Layer { .. }
    )
}

#[cfg(test)]
mod tests {
    use rillway_core::id::ParticipantId;

    use super::*;

    fn event(client: ClientId, participant: u64) -> Event {
        Event {
            client,
            kind: EventKind::ParticipantLeft(ParticipantId(participant)),
        }
    }

    #[test]
    fn events_reach_their_client_only() {
        let clients = Clients::default();
        let (a, mut to_a) = clients.add(WorkerId(0));
        let (b, mut to_b) = clients.add(WorkerId(0));
        assert_ne!(a, b);
        clients.deliver(event(a, 1));
        clients.deliver(event(ClientId(99), 2));
        assert_eq!(to_a.try_recv(), Ok(event(a, 1).kind));
        assert!(to_b.try_recv().is_err());
        clients.remove(a);
        clients.deliver(event(a, 3));
        assert_eq!(
            to_a.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn a_session_that_falls_behind_loses_dispensable_events_then_its_place() {
        let clients = Clients::default();
        let (a, mut to_a) = clients.add(WorkerId(0));
        let speakers = || Event {
            client: a,
            kind: EventKind::Speakers(Vec::new()),
        };
        for _ in 0..MAILBOX_MAX {
            clients.deliver(speakers());
        }
        let free = MAILBOX_MAX - to_a.len();
        assert!(free + 1 >= MAILBOX_RESERVE && free > 0);
        for i in 0..=free as u64 {
            clients.deliver(event(a, i));
        }
        assert_eq!(clients.len(), 0);
        while to_a.try_recv().is_ok() {}
        assert_eq!(
            to_a.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn clients_of_a_dead_worker_are_told() {
        let clients = Clients::default();
        let (_, mut to_a) = clients.add(WorkerId(0));
        let (b, mut to_b) = clients.add(WorkerId(1));
        assert_eq!(clients.worker_ended(WorkerId(0)), 1);
        assert!(matches!(to_a.try_recv(), Ok(EventKind::Removed { .. })));
        clients.deliver(event(b, 1));
        assert_eq!(to_b.try_recv(), Ok(event(b, 1).kind));
    }
}
