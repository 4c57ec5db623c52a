//! The clients that are in rooms, and the way of events to them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use rillway_core::api::{Event, EventKind};
use rillway_core::id::{ClientId, ParticipantId, TrackId, WorkerId};
use rillway_plugin_sdk::signaling::{Frame, Notices, RecordingState};
use tokio::sync::{Notify, mpsc};

use crate::rules::Audience;

use super::connection::frame_bytes;

/// Events waiting for one session. The control thread runs sessions between batches of events, so
/// only a session that waits for its plugin lets them pile up.
const MAILBOX_MAX: usize = 2_048;
/// Free places below which dispensable events are dropped and relayed frames refused.
const MAILBOX_RESERVE: usize = MAILBOX_MAX / 2;
/// Bytes of relayed frames waiting for one session: a few of the largest.
const RELAYED_BYTES_MAX: usize = 1 << 20;

/// What clients of a worker that died are told.
const WORKER_ENDED: &str = "the media worker of this room failed; join again";

/// What reaches a client in a room.
#[derive(Debug, PartialEq)]
pub(crate) enum Mail {
    /// Of the room.
    Event(EventKind),
    /// Of another client's plugin instance.
    Relayed(ParticipantId, Frame),
    /// What is recorded in the room has changed.
    Recording(RecordingState),
    /// It is to leave and join again within this time: its place is on another worker.
    Move(Duration),
}

/// Why a frame did not reach another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayError {
    /// Nobody of this id is in the sender's room by the sender's plugin.
    Unknown,
    /// It has much to read already.
    Behind,
}

/// Every client that is in a room or on its way into one.
#[derive(Default)]
pub(crate) struct Clients {
    entries: RefCell<HashMap<ClientId, Entry>>,
    /// Those whose worker has confirmed the place.
    names: RefCell<HashMap<ParticipantId, ClientId>>,
    next: Cell<u64>,
    /// Leaves that found their worker's queue full. Each client leaves once, so there are never
    /// more than there were clients.
    late: RefCell<VecDeque<(WorkerId, ClientId)>>,
    late_added: Notify,
}

struct Entry {
    worker: WorkerId,
    mailbox: mpsc::Sender<Mail>,
    company: Company,
    participant: Option<ParticipantId>,
    relayed_bytes: Rc<Cell<usize>>,
    /// Which events that come often it wants.
    notices: Notices,
    /// The layer last forwarded, spatial and temporal, of each track that it receives.
    layers: BTreeMap<TrackId, (Option<u8>, Option<u8>)>,
}

impl Entry {
    /// Whether an event is to be handed over. Keeps what it says for whoever asks later.
    fn wants(&mut self, kind: &EventKind) -> bool {
        match kind {
            EventKind::Layer {
                track,
                spatial,
                temporal,
            } => {
                self.layers.insert(*track, (*spatial, *temporal));
                self.notices.layers
            }
            EventKind::TrackUnpublished(track) => {
                self.layers.remove(track);
                true
            }
            EventKind::Speakers(_) => self.notices.speakers,
            _ => true,
        }
    }
}

/// Whom a client may reach through its plugin: those who share both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Company {
    /// Name of the signaling plugin.
    pub(crate) plugin: Rc<str>,
    /// Name of the room.
    pub(crate) room: Rc<str>,
}

/// A client's end of the way of events.
pub(crate) struct Mailbox {
    mail: mpsc::Receiver<Mail>,
    relayed_bytes: Rc<Cell<usize>>,
}

impl Mailbox {
    /// The next thing; `None` when the session fell behind.
    pub(crate) async fn next(&mut self) -> Option<Mail> {
        let next = self.mail.recv().await;
        if let Some(Mail::Relayed(_, frame)) = &next {
            let left = self.relayed_bytes.get().saturating_sub(frame_bytes(frame));
            self.relayed_bytes.set(left);
        }
        next
    }
}

impl Clients {
    /// Names a new client of `worker` and opens its mailbox. A closed mailbox means that the
    /// session fell behind.
    pub(crate) fn add(&self, worker: WorkerId, company: Company) -> (ClientId, Mailbox) {
        let client = ClientId(self.next.get());
        self.next.set(client.0 + 1);
        let (mailbox, mail) = mpsc::channel(MAILBOX_MAX);
        let relayed_bytes = Rc::new(Cell::new(0));
        let entry = Entry {
            worker,
            mailbox,
            company,
            participant: None,
            relayed_bytes: relayed_bytes.clone(),
            notices: Notices::default(),
            layers: BTreeMap::new(),
        };
        self.entries.borrow_mut().insert(client, entry);
        let mailbox = Mailbox {
            mail,
            relayed_bytes,
        };
        (client, mailbox)
    }

    /// Forgets a client; events still on their way to it are dropped.
    pub(crate) fn remove(&self, client: ClientId) {
        let entry = self.entries.borrow_mut().remove(&client);
        if let Some(participant) = entry.and_then(|entry| entry.participant) {
            self.names.borrow_mut().remove(&participant);
        }
    }

    /// From now on a client gets these events of those that come often. Returns what it missed: the layers
    /// of the tracks it receives, if it wants them anew.
    pub(super) fn notify(&self, client: ClientId, notices: Notices) -> Vec<EventKind> {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(&client) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut entry.notices, notices);
        if before.layers || !notices.layers {
            return Vec::new();
        }
        let layers = entry.layers.iter();
        let event = |(track, (spatial, temporal)): (&TrackId, &_)| EventKind::Layer {
            track: *track,
            spatial: *spatial,
            temporal: *temporal,
        };
        layers.map(event).collect()
    }

    /// A client receives a track no more.
    pub(super) fn forget_layer(&self, client: ClientId, track: TrackId) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&client) {
            entry.layers.remove(&track);
        }
    }

    /// Hands a frame of one client's plugin instance to another's.
    ///
    /// # Errors
    /// [`RelayError`]; nothing was handed over then.
    pub(super) fn relay(
        &self,
        from: ClientId,
        to: ParticipantId,
        frame: Frame,
    ) -> Result<(), RelayError> {
        let entries = self.entries.borrow();
        let sender = entries.get(&from).ok_or(RelayError::Unknown)?;
        let name = sender.participant.ok_or(RelayError::Unknown)?;
        let receiver = self.names.borrow().get(&to).copied();
        let receiver = receiver
            .and_then(|receiver| entries.get(&receiver))
            .filter(|receiver| receiver.company == sender.company)
            .ok_or(RelayError::Unknown)?;
        let bytes = receiver.relayed_bytes.get() + frame_bytes(&frame);
        if bytes > RELAYED_BYTES_MAX || receiver.mailbox.capacity() < MAILBOX_RESERVE {
            return Err(RelayError::Behind);
        }
        let sent = receiver.mailbox.try_send(Mail::Relayed(name, frame));
        sent.map_err(|_| RelayError::Behind)?;
        receiver.relayed_bytes.set(bytes);
        Ok(())
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
        let Some(entry) = entries.get_mut(&event.client) else {
            return;
        };
        if !entry.wants(&event.kind) {
            return;
        }
        if is_dispensable(&event.kind) && entry.mailbox.capacity() < MAILBOX_RESERVE {
            return;
        }
        if let EventKind::Joined { me, .. } = &event.kind {
            entry.participant = Some(me.id);
            self.names.borrow_mut().insert(me.id, event.client);
        }
        let delivered = entry.mailbox.try_send(Mail::Event(event.kind));
        drop(entries);
        if delivered.is_err() {
            self.remove(event.client);
        }
    }

    /// Asks a participant's client to leave and join again. False: it is not there, or has much to read.
    pub(crate) fn ask_to_move(&self, participant: ParticipantId, within: Duration) -> bool {
        let entries = self.entries.borrow();
        let client = self.names.borrow().get(&participant).copied();
        client
            .and_then(|client| entries.get(&client))
            .is_some_and(|entry| entry.mailbox.try_send(Mail::Move(within)).is_ok())
    }

    /// A worker has ended: its clients are told that they are in no room any more. Returns how many.
    pub(crate) fn worker_ended(&self, worker: WorkerId) -> usize {
        let mut lost = Vec::new();
        for (client, entry) in self.entries.borrow().iter() {
            if entry.worker == worker {
                let reason = WORKER_ENDED.to_owned();
                // With a full mailbox the session ends as one that fell behind.
                let told = Mail::Event(EventKind::Removed { reason });
                let _ = entry.mailbox.try_send(told);
                lost.push(*client);
            }
        }
        for client in &lost {
            self.remove(*client);
        }
        lost.len()
    }
}

impl Audience for Clients {
    /// Those who are on their way into the room are told when they are there.
    fn recording(&self, room: &str, state: &RecordingState) {
        let mut behind = Vec::new();
        for (client, entry) in self.entries.borrow().iter() {
            let there = entry.participant.is_some() && &*entry.company.room == room;
            let mail = || Mail::Recording(state.clone());
            if there && entry.mailbox.try_send(mail()).is_err() {
                behind.push(*client);
            }
        }
        for client in behind {
            self.remove(client);
        }
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
    use super::*;
    use crate::session::tests::joined;

    fn event(client: ClientId, participant: u64) -> Event {
        Event {
            client,
            kind: EventKind::ParticipantLeft(ParticipantId(participant)),
        }
    }

    fn company(plugin: &str, room: &str) -> Company {
        Company {
            plugin: plugin.into(),
            room: room.into(),
        }
    }

    fn add(clients: &Clients, worker: u8) -> (ClientId, Mailbox) {
        clients.add(WorkerId(worker), company("p", "r"))
    }

    impl Mailbox {
        /// What is there; an error when the session fell behind.
        fn try_next(&mut self) -> Result<Mail, mpsc::error::TryRecvError> {
            self.mail.try_recv()
        }
    }

    /// A client of worker 0 that has joined.
    fn member(clients: &Clients, id: u64, plugin: &str, room: &str) -> (ClientId, Mailbox) {
        let (client, mut mailbox) = clients.add(WorkerId(0), company(plugin, room));
        let mut kind = joined();
        if let EventKind::Joined { me, .. } = &mut kind {
            me.id = ParticipantId(id);
        }
        clients.deliver(Event { client, kind });
        assert!(matches!(
            mailbox.try_next(),
            Ok(Mail::Event(EventKind::Joined { .. }))
        ));
        (client, mailbox)
    }

    fn text(bytes: usize) -> Frame {
        Frame::Text("x".repeat(bytes))
    }

    #[test]
    fn events_reach_their_client_only() {
        let clients = Clients::default();
        let (a, mut to_a) = add(&clients, 0);
        let (b, mut to_b) = add(&clients, 0);
        assert_ne!(a, b);
        clients.deliver(event(a, 1));
        clients.deliver(event(ClientId(99), 2));
        assert_eq!(to_a.try_next(), Ok(Mail::Event(event(a, 1).kind)));
        assert!(to_b.try_next().is_err());
        clients.remove(a);
        clients.deliver(event(a, 3));
        assert_eq!(
            to_a.try_next(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn a_session_that_falls_behind_loses_dispensable_events_then_its_place() {
        let clients = Clients::default();
        let (a, mut to_a) = add(&clients, 0);
        let speakers = || Event {
            client: a,
            kind: EventKind::Speakers(Vec::new()),
        };
        for _ in 0..MAILBOX_MAX {
            clients.deliver(speakers());
        }
        let free = MAILBOX_MAX - to_a.mail.len();
        assert!(free + 1 >= MAILBOX_RESERVE && free > 0);
        for i in 0..=free as u64 {
            clients.deliver(event(a, i));
        }
        assert_eq!(clients.len(), 0);
        while to_a.try_next().is_ok() {}
        assert_eq!(
            to_a.try_next(),
            Err(mpsc::error::TryRecvError::Disconnected)
        );
    }

    #[test]
    fn clients_of_a_dead_worker_are_told() {
        let clients = Clients::default();
        let (_, mut to_a) = add(&clients, 0);
        let (b, mut to_b) = add(&clients, 1);
        assert_eq!(clients.worker_ended(WorkerId(0)), 1);
        assert!(matches!(
            to_a.try_next(),
            Ok(Mail::Event(EventKind::Removed { .. }))
        ));
        clients.deliver(event(b, 1));
        assert_eq!(to_b.try_next(), Ok(Mail::Event(event(b, 1).kind)));
    }

    #[test]
    fn frames_are_relayed_within_a_room_and_a_plugin() {
        let clients = Clients::default();
        let (ada, _to_ada) = member(&clients, 1, "rooms", "r");
        let (_, mut to_bob) = member(&clients, 2, "rooms", "r");
        let (_, mut elsewhere) = member(&clients, 3, "rooms", "other");
        let (_, mut otherwise) = member(&clients, 4, "whip", "r");
        let relay = |to| clients.relay(ada, ParticipantId(to), text(3));
        assert_eq!(relay(2), Ok(()));
        assert_eq!(
            to_bob.try_next(),
            Ok(Mail::Relayed(ParticipantId(1), text(3)))
        );
        for stranger in [3, 4, 5] {
            assert_eq!(relay(stranger), Err(RelayError::Unknown));
        }
        assert!(elsewhere.try_next().is_err() && otherwise.try_next().is_err());
        let (early, _mail) = add(&clients, 0);
        assert_eq!(
            clients.relay(early, ParticipantId(2), text(1)),
            Err(RelayError::Unknown),
            "who has not joined is nobody"
        );
    }

    #[test]
    fn everybody_in_a_room_hears_what_is_recorded_whatever_they_speak() {
        let clients = Clients::default();
        let (_, mut to_ada) = member(&clients, 1, "rooms", "r");
        let (_, mut to_bob) = member(&clients, 2, "whip", "r");
        let (_, mut elsewhere) = member(&clients, 3, "rooms", "other");
        let (_, mut early) = add(&clients, 0);
        let state = RecordingState {
            active: true,
            by: None,
            tracks: Vec::new(),
        };
        clients.recording("r", &state);
        for mailbox in [&mut to_ada, &mut to_bob] {
            assert_eq!(mailbox.try_next(), Ok(Mail::Recording(state.clone())));
        }
        assert!(elsewhere.try_next().is_err() && early.try_next().is_err());
    }

    #[test]
    fn somebody_who_left_is_not_reached() {
        let clients = Clients::default();
        let (ada, _to_ada) = member(&clients, 1, "rooms", "r");
        let (bob, _to_bob) = member(&clients, 2, "rooms", "r");
        clients.remove(bob);
        let relayed = clients.relay(ada, ParticipantId(2), text(1));
        assert_eq!(relayed, Err(RelayError::Unknown));
        assert_eq!(clients.names.borrow().len(), 1);
    }

    #[tokio::test]
    async fn bytes_and_frames_relayed_are_bounded_and_given_back() {
        let clients = Clients::default();
        let (ada, _to_ada) = member(&clients, 1, "rooms", "r");
        let (_, mut to_bob) = member(&clients, 2, "rooms", "r");
        let relay = |bytes| clients.relay(ada, ParticipantId(2), text(bytes));
        for _ in 0..8 {
            assert_eq!(relay(128 << 10), Ok(()));
        }
        assert_eq!(relay(1), Err(RelayError::Behind));
        to_bob.next().await.unwrap();
        assert_eq!(relay(128 << 10), Ok(()));
        while to_bob.try_next().is_ok() {}
        to_bob.relayed_bytes.set(0);
        let sent = (0..MAILBOX_MAX).filter(|_| relay(1).is_ok()).count();
        assert!(
            (1..=MAILBOX_MAX - MAILBOX_RESERVE + 1).contains(&sent),
            "{sent}"
        );
        clients.deliver(event(ClientId(1), 9));
        assert_eq!(clients.len(), 2, "what the room says still has a place");
    }
}
