//! A room, kept from views of what changed in it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Scope, Subscriber, View};
use crate::types::{Attributes, ParticipantId, Track, TrackId};

/// The room as it is after every view so far, whatever they showed.
///
/// ```
/// # use rillway_plugin_sdk::layers::{Room, View};
/// # let view = View::default();
/// let mut room = Room::default();
/// let news = room.update(view);
/// for subscriber in room.subscribers() {
///     if news.concerns(subscriber) {
///         // Choose anew.
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct Room {
    now_ms: u64,
    tracks: Vec<Track>,
    subscribers: BTreeMap<ParticipantId, Subscriber>,
    speakers: Vec<ParticipantId>,
    attributes: Attributes,
}

/// What a view brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Tracks that are new, changed or gone.
    pub tracks: BTreeSet<TrackId>,
    /// Subscribers that are new or changed.
    pub subscribers: BTreeSet<ParticipantId>,
    /// Subscribers that are gone.
    pub gone: BTreeSet<ParticipantId>,
    /// Whether others speak now, or the same in another order.
    pub speakers: bool,
}

impl News {
    /// Whether anything changed of a subscriber, or of a track it subscribes to.
    #[must_use]
    pub fn concerns(&self, subscriber: &Subscriber) -> bool {
        let changed = |track: &TrackId| self.tracks.contains(track);
        let mut tracks = subscriber.subscriptions.iter().map(|s| s.track);
        self.subscribers.contains(&subscriber.id)
            || (!self.tracks.is_empty() && tracks.any(|track| changed(&track)))
    }
}

impl Room {
    /// Takes the next view, and says what it brought. All of a whole view is news, whether it differs from
    /// what was known or not.
    pub fn update(&mut self, view: View) -> News {
        let mut news = News {
            speakers: self.speakers != view.speakers,
            ..News::default()
        };
        self.now_ms = view.now_ms;
        self.speakers = view.speakers;
        self.attributes = view.attributes;
        let tracks_gone: BTreeSet<TrackId> = match view.scope {
            Scope::Changes => view.tracks_gone.into_iter().collect(),
            Scope::Whole => self.tracks.drain(..).map(|track| track.id).collect(),
        };
        let gone: BTreeSet<ParticipantId> = match view.scope {
            Scope::Changes => view.subscribers_gone.into_iter().collect(),
            Scope::Whole => std::mem::take(&mut self.subscribers).into_keys().collect(),
        };
        self.tracks.retain(|track| !tracks_gone.contains(&track.id));
        self.subscribers.retain(|id, _| !gone.contains(id));
        news.tracks = tracks_gone;
        for track in view.tracks {
            news.tracks.insert(track.id);
            match self.tracks.iter_mut().find(|known| known.id == track.id) {
                Some(known) => *known = track,
                None => self.tracks.push(track),
            }
        }
        for subscriber in view.subscribers {
            news.subscribers.insert(subscriber.id);
            self.subscribers.insert(subscriber.id, subscriber);
        }
        let missing = gone.into_iter();
        news.gone = missing
            .filter(|id| !self.subscribers.contains_key(id))
            .collect();
        news
    }

    /// Milliseconds since an arbitrary moment, of the last view.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Video tracks, in the order in which they were published.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Who subscribes to video, by id.
    pub fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.values()
    }

    /// One of them.
    #[must_use]
    pub fn subscriber(&self, id: ParticipantId) -> Option<&Subscriber> {
        self.subscribers.get(&id)
    }

    /// Who speaks, loudest first.
    #[must_use]
    pub fn speakers(&self) -> &[ParticipantId] {
        &self.speakers
    }

    /// Further facts.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}
