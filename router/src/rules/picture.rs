//! What a room looks like to a recording policy that joins late: a new instance after a fault is told the
//! present state as if it had just come about.

use std::rc::Rc;

use rillway_core::id::{self, WorkerId};
use rillway_plugin_sdk::recording::Event;
use rillway_plugin_sdk::types::{Participant, ParticipantId, Track, TrackId};

/// The present state of a room.
#[derive(Debug)]
pub(super) struct Picture {
    name: Rc<str>,
    participants: Vec<Participant>,
    tracks: Vec<Track>,
    speakers: Vec<ParticipantId>,
}

impl Picture {
    /// An empty room.
    pub(super) fn new(name: Rc<str>) -> Self {
        Picture {
            name,
            participants: Vec::new(),
            tracks: Vec::new(),
            speakers: Vec::new(),
        }
    }

    /// Something happened.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::ParticipantJoined(participant) => self.participants.push(participant.clone()),
            Event::ParticipantLeft(id) => self.participants.retain(|known| known.id != *id),
            Event::TrackPublished(track) => self.tracks.push(track.clone()),
            Event::TrackUnpublished(id) => self.tracks.retain(|known| known.id != *id),
            Event::TrackMuted(id, muted) => {
                let track = self.tracks.iter_mut().find(|known| known.id == *id);
                if let Some(track) = track {
                    track.muted = *muted;
                }
            }
            Event::Speakers(speakers) => self.speakers.clone_from(speakers),
            Event::RoomOpened(_)
            | Event::Requested(_)
            | Event::Finished(_)
            | Event::Started(_)
            | Event::Failed(_)
            | Event::Recording(_)
            | Event::Tick
            | Event::RoomClosed => {}
        }
    }

    /// Who and what is at one worker.
    pub(super) fn of_worker(&self, worker: WorkerId) -> (Vec<id::ParticipantId>, Vec<id::TrackId>) {
        let people = self.participants.iter().map(|p| id::ParticipantId(p.id.0));
        let tracks = self.tracks.iter().map(|track| id::TrackId(track.id.0));
        (
            people.filter(|id| id.worker() == worker).collect(),
            tracks.filter(|id| id.worker() == worker).collect(),
        )
    }

    /// A published track.
    pub(super) fn track(&self, id: TrackId) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// The identity of somebody who is here.
    pub(super) fn identity(&self, id: ParticipantId) -> Option<&str> {
        let known = self.participants.iter().find(|known| known.id == id)?;
        Some(&known.identity)
    }

    /// The events that lead here.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::RoomOpened((*self.name).to_owned())];
        events.extend(
            self.participants
                .iter()
                .cloned()
                .map(Event::ParticipantJoined),
        );
        events.extend(self.tracks.iter().cloned().map(Event::TrackPublished));
        if !self.speakers.is_empty() {
            events.push(Event::Speakers(self.speakers.clone()));
        }
        events
    }
}
