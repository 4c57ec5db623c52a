//! Rooms that have a part on each of several workers: who and what is in the other parts.
//!
//! The control side says which workers have parts of a room ([`Shard::set_parts`]); the parts tell each
//! other the rest. Everything one part tells another comes in order, so a part's roster and what follows
//! it are always a true picture, even if it is one of the past for a moment.

use std::sync::Arc;
use std::time::Instant;

use super::slab::{ParticipantKey, RoomKey, TrackKey};
use super::timers::Timer;
use super::{Shard, from_public};
use crate::api::{EventKind, ParticipantInfo, RequestError};
use crate::crossing::{Crossing, Kind, Published};
use crate::id::{ParticipantId, TrackId, WorkerId};
use crate::limits::{PARTS_PATIENCE, ROOM_TICK};
use crate::mutants::{self, Mutant};
use crate::room::{Part, Room};
use crate::track::Track;

impl Shard {
    /// Which other workers have parts of a room. Given for rooms on several workers only, each time that
    /// changes, and with none when there are no others any more; also before anybody here is in the room.
    pub fn set_parts(&mut self, now: Instant, room: &str, others: &[WorkerId]) {
        let me = self.config.worker;
        let others: Vec<WorkerId> = others.iter().copied().filter(|w| *w != me).collect();
        let key = self.room_names.get(room).copied();
        if others.is_empty() {
            self.spans.remove(room);
        } else {
            self.spans.insert(room.to_owned(), others.clone());
        }
        let Some(key) = key else {
            return;
        };
        let parts = self.rooms.get(key).map(|room| room.parts.iter());
        let gone: Vec<WorkerId> = parts
            .into_iter()
            .flatten()
            .map(|part| part.worker)
            .filter(|worker| !others.contains(worker))
            .collect();
        for worker in gone {
            self.forget_part(now, key, worker);
        }
        self.ask_parts(now, key);
        self.answer_joins(now, key);
    }

    /// Asks those parts of a room who is there that were never asked.
    pub(super) fn ask_parts(&mut self, now: Instant, key: RoomKey) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        let Some(others) = self.spans.get(&*room.name) else {
            return;
        };
        let known = |worker: &WorkerId| room.parts.iter().any(|part| part.worker == *worker);
        let new: Vec<WorkerId> = others.iter().copied().filter(|w| !known(w)).collect();
        for worker in new {
            if let Some(room) = self.rooms.get_mut(key) {
                room.parts.push(Part::new(worker));
                room.asked = Some(now);
                self.timers
                    .arm(&mut room.timer, Timer::Room(key), now + ROOM_TICK);
            }
            self.tell_roster(key, worker, true);
        }
    }

    /// Tells a part who and what is here.
    fn tell_roster(&mut self, key: RoomKey, to: WorkerId, answer: bool) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        let tracks = self.local_tracks(key);
        let tracks = tracks.iter().filter_map(|key| self.tracks.get(*key));
        let roster = Kind::Roster {
            room: Arc::clone(&room.name),
            participants: self.local_infos(key),
            tracks: tracks.map(Track::published).collect(),
            answer,
        };
        self.outbound.push((to, Crossing(roster)));
    }

    /// A part on another worker has told who and what is there.
    pub(super) fn on_roster(
        &mut self,
        now: Instant,
        from: WorkerId,
        room: &Arc<str>,
        (participants, tracks): (Vec<ParticipantInfo>, Vec<Published>),
        answer: bool,
    ) {
        let Some(key) = self.room_names.get(&**room).copied() else {
            if answer {
                let nobody = Kind::Roster {
                    room: Arc::clone(room),
                    participants: Vec::new(),
                    tracks: Vec::new(),
                    answer: false,
                };
                self.outbound.push((from, Crossing(nobody)));
            }
            return;
        };
        if answer {
            self.tell_roster(key, from, false);
        }
        // One that the control side has not named yet will be asked when it has been.
        let Some(part) = self.rooms.get_mut(key).and_then(|room| room.part(from)) else {
            return;
        };
        part.heard = true;
        let here = |id: ParticipantId| participants.iter().any(|info| info.id == id);
        let left: Vec<ParticipantId> = part.participants.iter().map(|info| info.id).collect();
        let left = left.into_iter().filter(|id| !here(*id));
        let mirrored = part.tracks.clone();
        let ended = mirrored.into_iter().filter(|key| {
            let id = self.tracks.get(*key).map(|track| track.id);
            !tracks.iter().any(|track| Some(track.id) == id)
        });
        let (left, ended): (Vec<_>, Vec<_>) = (left.collect(), ended.collect());
        for track in ended {
            self.end_track(now, track);
        }
        for id in left {
            self.on_left_elsewhere(key, from, id);
        }
        for info in participants {
            self.on_joined_elsewhere(key, from, &info);
        }
        for track in tracks {
            self.on_published_elsewhere(now, key, from, &track);
        }
        self.answer_joins(now, key);
    }

    /// Who joins a room is answered when all its parts were heard of, or have had time enough for that.
    pub(super) fn answer_joins(&mut self, now: Instant, key: RoomKey) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        let patient = |at: Instant| now.saturating_duration_since(at) < PARTS_PATIENCE;
        if room.is_waiting() && room.asked.is_some_and(patient) {
            return;
        }
        let unanswered = |key: &ParticipantKey| {
            let participant = self.participants.get(*key);
            participant.is_some_and(|participant| participant.unanswered.is_some())
        };
        let waiting = room.participants.iter().copied().filter(unanswered);
        let waiting: Vec<ParticipantKey> = waiting.collect();
        for participant in waiting {
            self.answer_join(now, key, participant);
        }
    }

    /// Tells a participant that it is in, and who else is; or that the room is full, which only its other
    /// parts could tell.
    fn answer_join(&mut self, now: Instant, room: RoomKey, key: ParticipantKey) {
        let most = self.config.limits.participants_per_room;
        let present = |room: &Room| room.participants.len() + room.elsewhere().count();
        let full = self.rooms.get(room).map(present) > Some(most as usize);
        let participant = self.participants.get_mut(key);
        let asked = participant.and_then(|p| Some((p.client, p.unanswered.take()?)));
        if let (true, Some((client, reference))) = (full, asked) {
            self.remove_participant(now, key, None);
            let error = RequestError::Limit(format!("{most} participants in a room"));
            return self.emit(client, EventKind::Failed { reference, error });
        }
        let tracks = self.track_infos(now, room);
        let participants = self.participant_infos(room);
        let Some(participant) = self.participants.get(key) else {
            return;
        };
        let (client, me) = (participant.client, participant.info.clone());
        let own = me.id;
        let others = participants.into_iter().filter(|info| info.id != own);
        let joined = EventKind::Joined {
            me,
            participants: others.collect(),
            tracks: tracks.into_iter().filter(|t| t.owner != own).collect(),
        };
        self.emit(client, joined);
    }

    pub(super) fn on_joined_elsewhere(
        &mut self,
        key: RoomKey,
        from: WorkerId,
        info: &ParticipantInfo,
    ) {
        let Some(part) = self.rooms.get_mut(key).and_then(|room| room.part(from)) else {
            return;
        };
        if part.participants.iter().any(|known| known.id == info.id) {
            return;
        }
        part.participants.push(info.clone());
        self.tell_present(key, None, &|| EventKind::ParticipantJoined(info.clone()));
    }

    pub(super) fn on_left_elsewhere(&mut self, key: RoomKey, from: WorkerId, id: ParticipantId) {
        let Some(part) = self.rooms.get_mut(key).and_then(|room| room.part(from)) else {
            return;
        };
        let before = part.participants.len();
        part.participants.retain(|known| known.id != id);
        part.levels.retain(|(known, _)| *known != id);
        if part.participants.len() < before {
            self.tell_present(key, None, &|| EventKind::ParticipantLeft(id));
        }
    }

    pub(super) fn on_published_elsewhere(
        &mut self,
        now: Instant,
        key: RoomKey,
        from: WorkerId,
        published: &Published,
    ) {
        if self.mirrors.contains_key(&published.id) {
            return self.on_muted_elsewhere(now, published.id, published.muted);
        }
        let part = self.rooms.get_mut(key).and_then(|room| room.part(from));
        if part.is_none() {
            return;
        }
        let made = self
            .tracks
            .insert_with(|_| Track::mirrored(from, key, published));
        let Some(track) = made else {
            return;
        };
        self.mirrors.insert(published.id, track);
        if let Some(part) = self.rooms.get_mut(key).and_then(|room| room.part(from)) {
            part.tracks.push(track);
        }
        if let Some(info) = self.tracks.get(track).map(|track| track.info(now)) {
            self.tell_present(key, None, &|| EventKind::TrackPublished(info.clone()));
        }
    }

    pub(super) fn on_muted_elsewhere(&mut self, now: Instant, id: TrackId, muted: bool) {
        let Some(key) = self.mirrors.get(&id).copied() else {
            return;
        };
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        let before = track.is_muted();
        track.muted_by_owner = muted;
        self.settle_mute(now, key, before);
    }

    /// A part of a room is no more, or its worker is not: whoever was there has left.
    fn forget_part(&mut self, now: Instant, key: RoomKey, worker: WorkerId) {
        let Some(part) = self.rooms.get_mut(key).and_then(|room| room.part(worker)) else {
            return;
        };
        let tracks = std::mem::take(&mut part.tracks);
        let people: Vec<ParticipantId> = part.participants.iter().map(|info| info.id).collect();
        for track in tracks {
            self.end_track(now, track);
        }
        for id in people {
            self.on_left_elsewhere(key, worker, id);
        }
        for track in self.local_tracks(key) {
            if let Some(track) = self.tracks.get_mut(track) {
                track.watchers.retain(|known| *known != worker);
            }
        }
        if let Some(room) = self.rooms.get_mut(key) {
            room.parts.retain(|part| part.worker != worker);
        }
    }

    /// A room is closed: what mirrors of other parts are left goes with it.
    pub(super) fn forget_mirrors(&mut self, room: &Room) {
        for key in room.parts.iter().flat_map(|part| &part.tracks) {
            if let Some(track) = self.tracks.remove(*key) {
                self.mirrors.remove(&track.id);
            }
        }
        self.count_tracks();
    }

    /// Tracks of this shard, those of other parts not counted.
    pub(super) fn count_tracks(&mut self) {
        let mirrors = self.mirrors.len();
        self.stats.tracks = self.tracks.len().saturating_sub(mirrors) as u64;
    }

    /// The key of a track that is published or mirrored here.
    pub(super) fn known_track(&self, id: TrackId) -> Option<TrackKey> {
        from_public::<TrackKey>(self.config.worker, id.0).or_else(|| self.mirrors.get(&id).copied())
    }

    /// Tells the other parts of a room.
    pub(super) fn cross(&mut self, key: RoomKey, kind: &dyn Fn(Arc<str>) -> Kind) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        for part in &room.parts {
            let crossing = Crossing(kind(Arc::clone(&room.name)));
            self.outbound.push((part.worker, crossing));
        }
    }

    /// Tells the other parts of a room what everybody in it is told.
    pub(super) fn cross_event(&mut self, key: RoomKey, event: &EventKind) {
        match event {
            EventKind::ParticipantJoined(info) => {
                self.cross(key, &|room| Kind::Joined(room, info.clone()));
            }
            EventKind::ParticipantLeft(_) if mutants::is(Mutant::WordsLost) => {}
            EventKind::ParticipantLeft(id) => self.cross(key, &|room| Kind::Left(room, *id)),
            EventKind::TrackPublished(info) => {
                let track = self.known_track(info.id);
                let published = track.and_then(|key| Some(self.tracks.get(key)?.published()));
                if let Some(published) = published {
                    self.cross(key, &|room| Kind::Published(room, published.clone()));
                }
            }
            EventKind::TrackUnpublished(id) => self.cross(key, &|_| Kind::Unpublished(*id)),
            EventKind::TrackMuted(id, muted) => {
                self.cross(key, &|_| Kind::Muted(*id, *muted));
            }
            _ => {}
        }
    }
}
