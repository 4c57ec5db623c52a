//! Rooms: participants that may share tracks and data.

use std::sync::Arc;
use std::time::Instant;

use crate::api::ParticipantInfo;
use crate::id::{ParticipantId, WorkerId};
use crate::inspect::Traffic;
use crate::policy::external::External;
use crate::shard::slab::{ParticipantKey, TrackKey};

/// One room.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    pub(crate) participants: Vec<ParticipantKey>,
    /// Who was last announced as speaking, loudest first.
    speakers: Vec<ParticipantId>,
    pub(crate) timer: Option<Instant>,
    /// The control side is told what happens here.
    pub(crate) watched: bool,
    /// A policy outside the core decides about layers.
    pub(crate) external: Option<External>,
    /// Sequence of the last view while nobody outside the core decides.
    views: u64,
    /// In the shard's list of rooms with news for that policy.
    pub(crate) touched: bool,
    /// What went over transports that are gone.
    pub(crate) ended: Traffic,
    /// Its parts on other workers.
    pub(crate) parts: Vec<Part>,
    /// When it was asked for those that were not heard of yet.
    pub(crate) asked: Option<Instant>,
    /// Somebody of this part was last told to the others as speaking.
    pub(crate) levels_told: bool,
}

/// The part of a room on another worker, as that worker tells it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) worker: WorkerId,
    /// It has told who and what is there.
    pub(crate) heard: bool,
    pub(crate) participants: Vec<ParticipantInfo>,
    /// Its tracks, as they are mirrored here.
    pub(crate) tracks: Vec<TrackKey>,
    /// Who speaks there.
    pub(crate) levels: Vec<(ParticipantId, u8)>,
}

impl Part {
    /// One that was not heard of.
    pub(crate) fn new(worker: WorkerId) -> Self {
        Part {
            worker,
            heard: false,
            participants: Vec::new(),
            tracks: Vec::new(),
            levels: Vec::new(),
        }
    }
}

impl Room {
    /// An empty room.
    pub(crate) fn new(name: String) -> Self {
        Room {
            name: name.into(),
            participants: Vec::new(),
            speakers: Vec::new(),
            timer: None,
            watched: false,
            external: None,
            views: 0,
            touched: false,
            ended: Traffic::default(),
            parts: Vec::new(),
            asked: None,
            levels_told: false,
        }
    }

    /// Whether it has a part that was not heard of.
    pub(crate) fn is_waiting(&self) -> bool {
        self.parts.iter().any(|part| !part.heard)
    }

    /// The part on a worker.
    pub(crate) fn part(&mut self, worker: WorkerId) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.worker == worker)
    }

    /// Whoever is in its other parts.
    pub(crate) fn elsewhere(&self) -> impl Iterator<Item = &ParticipantInfo> {
        self.parts.iter().flat_map(|part| &part.participants)
    }

    /// Whether the choices of a policy outside the core count.
    pub(crate) fn policy_in_force(&self) -> bool {
        self.external.as_ref().is_some_and(External::in_force)
    }

    /// Sequence of the last view; 0: there was none.
    pub(crate) fn view_sequence(&self) -> u64 {
        self.external
            .as_ref()
            .map_or(self.views, External::sequence)
    }

    /// The built-in policy decides from now on. False if it did before.
    pub(crate) fn leave_policy(&mut self) -> bool {
        self.views = self.view_sequence();
        self.touched = false;
        self.external.take().is_some()
    }

    /// Who was last announced as speaking, loudest first.
    pub(crate) fn speakers(&self) -> &[ParticipantId] {
        &self.speakers
    }

    /// Whether somebody is among them.
    pub(crate) fn speaks(&self, id: ParticipantId) -> bool {
        self.speakers.contains(&id)
    }

    /// Takes who speaks now. True if that is another set, or another order that lasted: only then is
    /// it worth an event.
    pub(crate) fn update_speakers(&mut self, speakers: &mut [(ParticipantId, u8)]) -> bool {
        // The order announced stays unless somebody is clearly louder: levels move all the time.
        speakers.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let rank = |id: ParticipantId| self.speakers.iter().position(|known| *known == id);
        for end in 1..speakers.len() {
            for at in (1..=end).rev() {
                let (Some(&above), Some(&below)) = (speakers.get(at - 1), speakers.get(at)) else {
                    break;
                };
                let was_above = match (rank(below.0), rank(above.0)) {
                    (Some(below), Some(above)) => below < above,
                    _ => false,
                };
                if !was_above || above.1 > below.1.saturating_add(CLEARLY_LOUDER) {
                    break;
                }
                speakers.swap(at - 1, at);
            }
        }
        let same = speakers.len() == self.speakers.len()
            && speakers.iter().zip(&self.speakers).all(|(a, b)| a.0 == *b);
        if !same {
            self.speakers = speakers.iter().map(|(id, _)| *id).collect();
        }
        !same
    }

    /// Whether anybody was last announced as speaking.
    pub(crate) fn has_speakers(&self) -> bool {
        !self.speakers.is_empty()
    }
}

/// Decibels by which somebody must exceed another to be put before them.
const CLEARLY_LOUDER: u8 = 6;

#[cfg(test)]
mod tests;
