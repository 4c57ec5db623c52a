//! How participants and transports come and go.

use std::time::Instant;

use rand_chacha::rand_core::Rng;
use str0m::media::MediaKind as EngineKind;

use super::Shard;
use super::slab::{ParticipantKey, SubscriptionKey, TrackKey, TransportKey};
use super::timers::Timer;
use crate::api::{Direction, EventKind, TransportState};
use crate::limits::OUTPUTS_PER_DRAIN;
use crate::mutants::{self, Mutant};
use crate::stats::FailCause;
use crate::transport::credentials;
use crate::transport::{Step, Transport, TransportFault};

impl Shard {
    /// A new transport of a participant; `None` when the shard is full.
    pub(super) fn new_transport(
        &mut self,
        now: Instant,
        participant: ParticipantKey,
        direction: Direction,
    ) -> Option<TransportKey> {
        let Shard {
            transports,
            factory,
            rng,
            config,
            hasher,
            ..
        } = self;
        let key = transports.insert_with(|key| {
            let creds = credentials::generate(rng, config.worker, key);
            let random = (hasher.clone(), rng.next_u64());
            Box::new(Transport::new(
                factory,
                participant,
                direction,
                creds,
                random,
                now,
            ))
        })?;
        self.participants
            .get_mut(participant)?
            .set_transport(direction, Some(key));
        self.count_state(TransportState::New, 1);
        if let Some(transport) = self.transports.get_mut(key) {
            let until = now + crate::limits::CONNECT_TIMEOUT;
            self.timers
                .arm(&mut transport.timer, Timer::Transport(key), until);
        }
        Some(key)
    }

    fn count_state(&mut self, state: TransportState, change: i64) {
        if let Some(gauge) = self.stats.transports.get_mut(state as usize) {
            *gauge = gauge.saturating_add_signed(change);
        }
    }

    /// Sets a transport's state and tells its client.
    pub(super) fn set_state(&mut self, key: TransportKey, state: TransportState) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut transport.state, state);
        if before == state {
            return;
        }
        let (participant, direction) = (transport.participant, transport.direction);
        self.count_state(before, -1);
        self.count_state(state, 1);
        if let Some(participant) = self.participants.get(participant) {
            let client = participant.client;
            self.emit(client, EventKind::TransportState(direction, state));
        }
    }

    /// Moves on to a state that follows the present one at the start; never back.
    pub(super) fn advance(&mut self, _now: Instant, key: TransportKey, state: TransportState) {
        if let Some(transport) = self.transports.get(key)
            && transport.state == TransportState::New
        {
            self.set_state(key, state);
        }
    }

    /// A fault of the transport's own: a panic costs the participant, anything else the transport.
    pub(super) fn fail_transport(
        &mut self,
        now: Instant,
        key: TransportKey,
        fault: &TransportFault,
    ) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let participant = transport.participant;
        match fault {
            TransportFault::Panicked(_) => {
                self.stats.transport_panics += 1;
                tracing::error!(%fault, "participant removed");
                // This engine is not asked to say goodbye: its state is unknown.
                self.detach_transport(now, key, TransportState::Failed);
                self.remove_participant(now, participant, Some(fault.to_string()));
            }
            TransportFault::Ended(reason) => self.end_transport(now, key, reason),
        }
    }

    /// The association is over without our doing.
    pub(super) fn end_transport(&mut self, now: Instant, key: TransportKey, reason: &str) {
        let closed = self
            .transports
            .get(key)
            .is_some_and(|transport| transport.closed_by_client);
        let state = if closed {
            TransportState::Closed
        } else {
            self.stats.failed(FailCause::Fault);
            TransportState::Failed
        };
        tracing::debug!(reason, ?state, "transport ended");
        self.detach_transport(now, key, state);
    }

    /// Drops a transport, and what only it carried; the participant stays.
    pub(super) fn detach_transport(
        &mut self,
        now: Instant,
        key: TransportKey,
        state: TransportState,
    ) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let (owner, direction) = (transport.participant, transport.direction);
        match direction {
            Direction::Publish => {
                let tracks: Vec<TrackKey> =
                    transport.streams.tracks().iter().map(|t| t.1).collect();
                for track in tracks {
                    self.end_track(now, track);
                }
            }
            Direction::Subscribe => self.close_outlets(owner),
        }
        self.drop_transport(key, state);
    }

    /// Takes a transport out of every table.
    fn drop_transport(&mut self, key: TransportKey, state: TransportState) {
        self.set_state(key, state);
        self.count_state(state, -1);
        let Some(mut transport) = self.transports.remove(key) else {
            return;
        };
        for address in &transport.addresses {
            self.forget_address(address.socket, address.remote, key);
        }
        self.timers
            .disarm(&mut transport.timer, Timer::Transport(key));
        if let Some(sender) = &mut transport.sender {
            self.timers.disarm(&mut sender.timer, Timer::Reports(key));
        }
        if transport.queued {
            self.dirty.retain(|known| *known != key);
        }
        if transport.sending {
            self.sending.retain(|known| *known != key);
        }
        self.farewells.append(&mut transport.outgoing);
        if let Some(participant) = self.participants.get(transport.participant)
            && let Some(room) = self.rooms.get_mut(participant.room)
        {
            room.ended.add(&transport.traffic);
        }
        if let Some(participant) = self.participants.get_mut(transport.participant)
            && participant.transport(transport.direction) == Some(key)
        {
            participant.set_transport(transport.direction, None);
            participant.offers.suspended |= transport.direction == Direction::Subscribe;
        }
    }

    /// Ends an association on purpose: the client's engine is told.
    pub(super) fn close_transport(&mut self, now: Instant, key: TransportKey) {
        if let Some(transport) = self.transports.get_mut(key)
            && transport.secured
        {
            transport.say_goodbye(&self.factory, now);
        }
        if let Some(transport) = self.transports.get_mut(key)
            && transport.secured
            && transport.guard(str0m::Rtc::close).is_ok()
        {
            for _ in 0..OUTPUTS_PER_DRAIN {
                match transport.poll(&self.factory) {
                    Ok(Step::Again | Step::Event(_)) => {}
                    Ok(Step::Idle(_)) | Err(_) => break,
                }
            }
        }
        self.detach_transport(now, key, TransportState::Closed);
    }

    /// Takes a participant and everything of it out. `reason`: it did not ask for that and is told.
    pub(super) fn remove_participant(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        reason: Option<String>,
    ) {
        let Some(participant) = self.participants.get(key) else {
            return;
        };
        let (client, id, room) = (participant.client, participant.id, participant.room);
        let transports = [participant.publish, participant.subscribe];
        let subscriptions: Vec<SubscriptionKey> =
            participant.subscriptions.iter().map(|s| s.1).collect();
        // From here on nothing is told to it but why it is out.
        self.clients.remove(&client);
        if let Some(room) = self.rooms.get_mut(room) {
            room.participants.retain(|known| *known != key);
        }
        for subscription in subscriptions {
            self.end_subscription(subscription);
        }
        let told = self.events.len();
        for transport in transports.into_iter().flatten() {
            self.close_transport(now, transport);
        }
        self.forget_events(told, client);
        if let Some(mut participant) = self.participants.remove(key) {
            self.timers
                .disarm(&mut participant.timer, Timer::Participant(key));
            if participant.offers.queued {
                self.offers_due.retain(|known| *known != key);
            }
        }
        self.stats.participants = self.participants.len() as u64;
        if !mutants::is(Mutant::SilentLeave) {
            self.broadcast(room, None, &|| EventKind::ParticipantLeft(id));
        }
        if let Some(reason) = reason {
            self.emit(client, EventKind::Removed { reason });
        }
        self.remove_room_if_empty(room);
    }

    /// Takes back what was queued for a client since `from`.
    fn forget_events(&mut self, from: usize, client: crate::id::ClientId) {
        let mut index = 0;
        self.events.retain(|event| {
            index += 1;
            index <= from || event.client != client
        });
    }

    fn remove_room_if_empty(&mut self, key: super::slab::RoomKey) {
        let empty = self
            .rooms
            .get(key)
            .is_some_and(|room| room.participants.is_empty());
        if !empty || mutants::is(Mutant::RoomsStay) {
            return;
        }
        self.forget_view_timer(key);
        self.announce_closed(key);
        if let Some(mut room) = self.rooms.remove(key) {
            self.timers.disarm(&mut room.timer, Timer::Room(key));
            self.room_names.remove(&*room.name);
            self.forget_mirrors(&room);
        }
        self.stats.rooms = self.rooms.len() as u64;
    }

    /// A track has ended: its subscriptions end with it, and the others in the room are told.
    pub(super) fn end_track(&mut self, _now: Instant, key: TrackKey) {
        self.end_recording(key);
        let Some(track) = self.tracks.get(key) else {
            return;
        };
        let (id, owner, room) = (track.id, track.owner, track.room);
        let (transport, subscriptions) = (track.transport, track.subscriptions.clone());
        let mirrored = track.mirror.as_ref().map(|mirror| mirror.worker);
        for subscription in subscriptions {
            if !mutants::is(Mutant::SubscriptionsStay) {
                self.end_subscription(subscription);
            }
        }
        if let Some(transport) = self.transports.get_mut(transport) {
            transport.streams.remove(key);
        }
        self.tracks.remove(key);
        let told = || EventKind::TrackUnpublished(id);
        if let Some(worker) = mirrored {
            self.mirrors.remove(&id);
            if let Some(part) = self.rooms.get_mut(room).and_then(|room| room.part(worker)) {
                part.tracks.retain(|known| *known != key);
            }
            self.tell_present(room, None, &told);
        } else if !mutants::is(Mutant::SilentEnd) {
            self.broadcast(room, Some(owner), &told);
        }
        self.count_tracks();
    }

    /// A subscription has ended: its section becomes free with the next negotiation.
    pub(super) fn end_subscription(&mut self, key: SubscriptionKey) {
        let Some(mut subscription) = self.subscriptions.remove(key) else {
            return;
        };
        self.stats.subscriptions = self.subscriptions.len() as u64;
        self.drop_from_track(subscription.track, key);
        let (outlet, rewriter) = subscription.close().unzip();
        let Some(participant) = self.participants.get_mut(subscription.subscriber) else {
            return;
        };
        participant.subscriptions.retain(|(_, known)| *known != key);
        let room = participant.room;
        if let Some(transport) = participant.subscribe
            && let Some(transport) = self.transports.get_mut(transport)
        {
            transport.lines.release(key, rewriter);
            if let Some((outlet, sender)) = outlet.zip(transport.sender.as_mut()) {
                self.stats.pacer_dropped += sender.end(outlet.stream);
            }
            self.want_offer(subscription.subscriber);
        }
        self.touch(room);
    }

    /// The subscribing transport is going: its subscriptions wait for another.
    fn close_outlets(&mut self, owner: ParticipantKey) {
        let Some(participant) = self.participants.get(owner) else {
            return;
        };
        for (_, key) in &participant.subscriptions {
            if let Some(subscription) = self.subscriptions.get_mut(*key) {
                subscription.close();
                // The other way may be a better one.
                subscription.fit = None;
            }
        }
    }
}

/// The engine's word for a kind.
pub(super) fn engine_kind(kind: crate::api::MediaKind) -> EngineKind {
    match kind {
        crate::api::MediaKind::Audio => EngineKind::Audio,
        crate::api::MediaKind::Video => EngineKind::Video,
    }
}
