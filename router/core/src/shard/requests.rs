//! What clients ask for. Every request is checked against the grant and answered once.

use std::time::Instant;

use super::slab::{ParticipantKey, TrackKey};
use super::{Shard, from_public, to_public};
use crate::api::{Action, Direction, EventKind, Grant, Request, RequestError, Wish};
use crate::id::{ClientId, ParticipantId, Reference, TrackId};
use crate::limits::CANDIDATE_BYTES;
use crate::mutants::{self, Mutant};
use crate::participant::{DataAccount, Offers, Participant, check_grant};
use crate::room::Room;
use crate::shard::bucket::Bucket;

/// How a request that succeeded is answered.
enum Answer {
    /// With [`EventKind::Done`].
    Done,
    /// An event of its own has been queued.
    Given,
}

impl Shard {
    pub(super) fn on_request(&mut self, now: Instant, request: Request) {
        let Request {
            client,
            reference,
            action,
        } = request;
        let key = self.clients.get(&client).copied();
        let answer = match (key, action) {
            (
                None,
                Action::Join {
                    grant,
                    joined_at_ms,
                },
            ) => self.join(now, client, reference, grant, joined_at_ms),
            (Some(_), Action::Join { .. }) => {
                Err(RequestError::WrongState("already joined".into()))
            }
            // A leave crosses a removal on the way: nobody waits for its answer.
            (None, Action::Leave) => return,
            (None, _) => Err(RequestError::WrongState("not joined".into())),
            (Some(key), action) => self.act(now, key, reference, action),
        };
        match answer {
            Ok(Answer::Done) => self.emit(client, EventKind::Done { reference }),
            Ok(Answer::Given) => {}
            Err(error) => self.emit(client, EventKind::Failed { reference, error }),
        }
    }

    fn act(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        reference: Reference,
        action: Action,
    ) -> Result<Answer, RequestError> {
        match action {
            Action::Join { .. } => return Err(RequestError::WrongState("already joined".into())),
            Action::Leave => self.remove_participant(now, key, None),
            Action::AcceptOffer { sdp, sources } => {
                self.accept_offer(now, key, reference, &sdp, &sources)?;
                return Ok(Answer::Given);
            }
            Action::AcceptReceivingOffer { sdp } => {
                self.accept_receiving_offer(now, key, reference, &sdp)?;
                return Ok(Answer::Given);
            }
            Action::AcceptAnswer { offer_id, sdp } => {
                self.accept_answer(now, key, offer_id, &sdp)?;
            }
            Action::AddCandidate(_, line) => check_candidate(&line)?,
            Action::RestartIce => self.restart_ice(key)?,
            Action::CloseTransport(direction) => self.close_direction(now, key, direction)?,
            Action::Subscribe(track) => self.subscribe(now, key, track)?,
            Action::Unsubscribe(track) => self.unsubscribe(key, track)?,
            Action::Wish(wish) => self.wish(now, key, wish)?,
            Action::Mute(track, muted) => self.mute(now, key, track, muted)?,
            Action::Unpublish(track) => self.unpublish(now, key, track)?,
            Action::SendData { to, label, payload } => {
                self.send_signaled(now, key, &to, &label, &payload)?;
            }
        }
        Ok(Answer::Done)
    }

    fn join(
        &mut self,
        now: Instant,
        client: ClientId,
        reference: Reference,
        grant: Grant,
        joined_at_ms: u64,
    ) -> Result<Answer, RequestError> {
        check_grant(&grant)?;
        let limits = self.config.limits;
        let room = self.room_named(&grant.room)?;
        let most = limits.participants_per_room;
        let present = self
            .rooms
            .get(room)
            .map(|room| room.participants.len() + room.elsewhere().count());
        if present.is_none_or(|present| present >= most as usize) {
            return Err(RequestError::Limit(format!(
                "{most} participants in a room"
            )));
        }
        let worker = self.config.worker;
        let name = grant.room.clone();
        let inserted = self.participants.insert_with(|key| {
            let id = ParticipantId(to_public(worker, key));
            new_participant(
                client,
                id,
                room,
                grant,
                joined_at_ms,
                limits.data_bytes_per_second,
                now,
            )
        });
        let Some(key) = inserted else {
            self.forget_empty_room(room);
            return Err(RequestError::Limit("participants".into()));
        };
        if let Some(participant) = self.participants.get_mut(key) {
            participant.unanswered = Some(reference);
        }
        self.room_names.insert(name, room);
        self.ask_parts(now, room);
        if let Some(state) = self.rooms.get_mut(room) {
            state.participants.push(key);
            if state.participants.len() == 1 {
                self.announce_opened(room);
            }
        }
        self.clients.insert(client, key);
        self.stats.rooms = self.rooms.len() as u64;
        self.stats.participants = self.participants.len() as u64;
        self.stats.joins += 1;
        if let Some(me) = self.participants.get(key).map(|p| p.info.clone()) {
            self.broadcast(room, Some(key), &|| {
                EventKind::ParticipantJoined(me.clone())
            });
        }
        self.answer_joins(now, room);
        Ok(Answer::Given)
    }

    /// The room of this name, which may be new and still nameless.
    fn room_named(&mut self, name: &str) -> Result<super::slab::RoomKey, RequestError> {
        if let Some(room) = self.room_names.get(name) {
            return Ok(*room);
        }
        let most = self.config.limits.rooms;
        if self.rooms.len() >= most as usize {
            return Err(RequestError::Limit(format!("{most} rooms")));
        }
        self.rooms
            .insert_with(|_| Room::new(name.to_owned()))
            .ok_or_else(|| RequestError::Limit("rooms".into()))
    }

    /// Everybody in a room, in its other parts too.
    pub(super) fn participant_infos(
        &self,
        room: super::slab::RoomKey,
    ) -> Vec<crate::api::ParticipantInfo> {
        let mut all = self.local_infos(room);
        if let Some(room) = self.rooms.get(room) {
            all.extend(room.elsewhere().cloned());
        }
        all
    }

    /// Everybody in this part of a room.
    pub(super) fn local_infos(
        &self,
        room: super::slab::RoomKey,
    ) -> Vec<crate::api::ParticipantInfo> {
        let Some(room) = self.rooms.get(room) else {
            return Vec::new();
        };
        room.participants
            .iter()
            .filter_map(|key| Some(self.participants.get(*key)?.info.clone()))
            .collect()
    }

    /// Every track of a room, mirrors of those of its other parts too.
    pub(super) fn room_tracks(&self, room: super::slab::RoomKey) -> Vec<TrackKey> {
        let mut all = self.local_tracks(room);
        if let Some(room) = self.rooms.get(room) {
            all.extend(room.parts.iter().flat_map(|part| &part.tracks));
        }
        all
    }

    /// Every track of this part of a room.
    pub(super) fn local_tracks(&self, room: super::slab::RoomKey) -> Vec<TrackKey> {
        let Some(room) = self.rooms.get(room) else {
            return Vec::new();
        };
        room.participants
            .iter()
            .filter_map(|key| self.transports.get(self.participants.get(*key)?.publish?))
            .flat_map(|transport| transport.streams.tracks().iter().map(|(_, track)| *track))
            .collect()
    }

    pub(super) fn track_infos(
        &self,
        now: Instant,
        room: super::slab::RoomKey,
    ) -> Vec<crate::api::TrackInfo> {
        self.room_tracks(room)
            .into_iter()
            .filter_map(|key| Some(self.tracks.get(key)?.info(now)))
            .collect()
    }

    fn close_direction(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        direction: Direction,
    ) -> Result<(), RequestError> {
        let transport = self
            .participants
            .get(key)
            .and_then(|participant| participant.transport(direction))
            .ok_or_else(|| RequestError::NotFound("transport".into()))?;
        self.close_transport(now, transport);
        Ok(())
    }

    /// A track of the participant's own.
    pub(super) fn own_track(
        &self,
        key: ParticipantKey,
        id: TrackId,
    ) -> Result<TrackKey, RequestError> {
        let track = from_public::<TrackKey>(self.config.worker, id.0).filter(|track| {
            self.tracks
                .get(*track)
                .is_some_and(|track| track.owner == key)
        });
        track.ok_or_else(|| RequestError::NotFound("track".into()))
    }

    /// A track of somebody else in the participant's room.
    pub(super) fn others_track(
        &self,
        key: ParticipantKey,
        id: TrackId,
    ) -> Result<TrackKey, RequestError> {
        let room = self
            .participants
            .get(key)
            .map(|participant| participant.room);
        let track = self.known_track(id).filter(|track| {
            self.tracks.get(*track).is_some_and(|track| {
                let here = Some(track.room) == room || mutants::is(Mutant::OtherRooms);
                here && track.owner != key
            })
        });
        track.ok_or_else(|| RequestError::NotFound("track".into()))
    }

    fn wish(&mut self, now: Instant, key: ParticipantKey, wish: Wish) -> Result<(), RequestError> {
        let track = self.others_track(key, wish.track)?;
        let subscription = self
            .participants
            .get(key)
            .and_then(|participant| participant.subscription(track))
            .ok_or_else(|| RequestError::NotFound("subscription".into()))?;
        if let Some(subscription) = self.subscriptions.get_mut(subscription) {
            if wish.paused && !subscription.wish.paused {
                subscription.suspend();
            }
            subscription.wish = wish;
        }
        self.choose_layer(now, subscription);
        if let Some(room) = self.participants.get(key).map(|p| p.room) {
            self.touch(room);
        }
        Ok(())
    }

    pub(super) fn mute(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        id: TrackId,
        muted: bool,
    ) -> Result<(), RequestError> {
        let track_key = self.own_track(key, id)?;
        let Some(track) = self.tracks.get_mut(track_key) else {
            return Ok(());
        };
        if !muted && track.muted_by_operator {
            let why = "an operator has muted this track";
            return Err(RequestError::Forbidden(why.into()));
        }
        let before = track.is_muted();
        track.muted_by_owner = muted;
        self.settle_mute(now, track_key, before);
        Ok(())
    }

    /// Brings what its publisher or an operator has said about a track into force; `before`: it was muted.
    pub(super) fn settle_mute(&mut self, now: Instant, track_key: TrackKey, before: bool) {
        let Some(track) = self.tracks.get_mut(track_key) else {
            return;
        };
        let (id, room, muted) = (track.id, track.room, track.is_muted());
        if muted == before {
            return;
        }
        track.interrupt();
        track.level.clear();
        let mirrored = track.mirror.is_some();
        let told = || EventKind::TrackMuted(id, muted);
        if mirrored {
            self.touch(room);
            self.tell_present(room, None, &told);
        } else {
            self.broadcast(room, None, &told);
        }
        if !muted {
            self.ask_keyframes_for(now, track_key);
        }
    }

    fn unpublish(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        id: TrackId,
    ) -> Result<(), RequestError> {
        let track_key = self.own_track(key, id)?;
        if let Some(track) = self.tracks.get(track_key)
            && let Some(transport) = self.transports.get_mut(track.transport)
        {
            // The client may go on sending in the section; that publishes nothing until it stopped.
            transport.streams.withdraw(track.mid);
        }
        self.end_track(now, track_key);
        Ok(())
    }

    fn forget_empty_room(&mut self, key: super::slab::RoomKey) {
        if self
            .rooms
            .get(key)
            .is_some_and(|room| room.participants.is_empty())
        {
            self.rooms.remove(key);
        }
    }
}

fn new_participant(
    client: ClientId,
    id: ParticipantId,
    room: super::slab::RoomKey,
    grant: Grant,
    joined_at_ms: u64,
    data_rate: u32,
    now: Instant,
) -> Participant {
    Participant {
        client,
        id,
        room,
        unanswered: None,
        info: crate::api::ParticipantInfo {
            id,
            identity: grant.identity.clone(),
            name: grant.name.clone(),
            attributes: grant.attributes.clone(),
            joined_at_ms,
        },
        media: grant.max_publish_bps.map(|bps| media_bucket(bps, now)),
        grant,
        publish: None,
        subscribe: None,
        subscriptions: Vec::new(),
        offers: Offers::default(),
        clock: Default::default(),
        data: DataAccount {
            bucket: Bucket::new(data_rate, now),
            dropped_outgoing: 0,
            dropped_incoming: 0,
            reported: None,
        },
        timer: None,
    }
}

/// A quarter above the bound, so that a client that keeps to it on average is never caught.
fn media_bucket(bps: u64, now: Instant) -> Bucket {
    let bytes = bps / 8 * 5 / 4;
    Bucket::new(u32::try_from(bytes).unwrap_or(u32::MAX), now)
}

/// A trickled candidate is only looked at: an ICE-lite agent learns addresses from checks.
fn check_candidate(line: &str) -> Result<(), RequestError> {
    if line.len() > CANDIDATE_BYTES {
        return Err(RequestError::Limit(format!(
            "candidate: {CANDIDATE_BYTES} bytes"
        )));
    }
    let line = line.strip_prefix("a=").unwrap_or(line);
    if line.is_empty() || line.starts_with("candidate:") {
        return Ok(());
    }
    Err(RequestError::Invalid("candidate line".into()))
}
