//! Who wants what recorded.

use std::collections::{BTreeMap, BTreeSet};

use rillway_plugin_sdk::types::{ParticipantId, TrackId};

/// Requesters remembered of one wish. Who asks after so many changes nothing: it is recorded already.
const REQUESTERS_MAX: usize = 64;

/// Who asked; `None`: an operator.
type Requesters = BTreeSet<Option<ParticipantId>>;

/// What was asked for. No more than the room has tracks.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// For the whole room; empty: nobody.
    everything: Requesters,
    /// For a track. Never empty.
    tracks: BTreeMap<TrackId, Requesters>,
    /// Not to be recorded, though everything is.
    except: BTreeSet<TrackId>,
}

fn add(requesters: &mut Requesters, by: Option<ParticipantId>) {
    if requesters.len() < REQUESTERS_MAX {
        requesters.insert(by);
    }
}

impl Wishes {
    /// Whether a track is to be recorded.
    pub(crate) fn wants(&self, track: TrackId) -> bool {
        let in_room = !self.everything.is_empty() && !self.except.contains(&track);
        in_room || self.tracks.contains_key(&track)
    }

    /// Everything is asked for.
    pub(crate) fn everything(&mut self, by: Option<ParticipantId>) {
        self.except.clear();
        add(&mut self.everything, by);
    }

    /// A track is asked for.
    pub(crate) fn track(&mut self, track: TrackId, by: Option<ParticipantId>) {
        add(self.tracks.entry(track).or_default(), by);
    }

    /// A track is to be recorded no more.
    pub(crate) fn except(&mut self, track: TrackId) {
        self.tracks.remove(&track);
        self.except.insert(track);
    }

    /// A track is gone.
    pub(crate) fn forget(&mut self, track: TrackId) {
        self.tracks.remove(&track);
        self.except.remove(&track);
    }

    /// A participant left, and with it what only it asked for.
    pub(crate) fn leave(&mut self, who: ParticipantId) {
        self.everything.remove(&Some(who));
        self.tracks.retain(|_, requesters| {
            requesters.remove(&Some(who));
            !requesters.is_empty()
        });
    }
}
