//! The books of a recording policy.

use std::collections::BTreeMap;

use super::{Container, Event, Files, Named, Order, Start};
use crate::clock;
use crate::types::{ParticipantId, Track, TrackId};

/// Most orders of one call (part of the ABI), one of them for ticks; what is left is ordered at the next event.
const ORDERS_MAX: usize = 1_024;
/// Pause after a failure, nanoseconds; twice as long after each further one. The router reports a track's
/// failure at most every 10 s, so a shorter pause would miss the next one.
const PAUSE_NS: u64 = 15_000_000_000;
/// Between two looks whether a pause is over, milliseconds.
const TICK_MS: u32 = 5_000;
/// Most that the pause doubles: 15 s become 16 min.
const DOUBLINGS: u32 = 6;
/// A recording that went well for this long has no failures behind it.
const WELL_NS: u64 = 600_000_000_000;

/// Keeps what a recording policy has to know of its room, and orders what makes recorded what is wanted.
///
/// It is told every event, and asked for orders after each. Tracks that are recorded at a time and whose names
/// differ in nothing but the time have the time of the first of them, so that they share a file (see
/// [`super::NamePattern`]). A track whose recording failed is begun again after a pause that grows from 15 s
/// to 16 min; as long as there is one, it orders ticks. What an instance before this one began goes on.
///
/// Uses [`clock`]. Holds as much as the room has participants and tracks.
#[derive(Debug)]
pub struct Recorder {
    files: Files,
    room: String,
    identities: BTreeMap<ParticipantId, String>,
    tracks: BTreeMap<TrackId, Entry>,
    /// Ticks are ordered.
    ticking: bool,
}

#[derive(Debug)]
struct Entry {
    track: Track,
    state: State,
    /// When it was last begun, monotonic nanoseconds.
    begun_ns: u64,
    /// The time in its name, Unix milliseconds.
    named_ms: u64,
    /// Since it last went well.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Recorded,
    /// Failed; not to be begun before this moment, monotonic nanoseconds.
    Failed {
        until_ns: u64,
    },
}

impl Recorder {
    /// For a room in which nothing has happened.
    #[must_use]
    pub fn new(files: Files) -> Self {
        Recorder {
            files,
            room: String::new(),
            identities: BTreeMap::new(),
            tracks: BTreeMap::new(),
            ticking: false,
        }
    }

    /// Something happened.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::RoomOpened(room) => self.room.clone_from(room),
            Event::ParticipantJoined(participant) => {
                let identity = participant.identity.clone();
                self.identities.insert(participant.id, identity);
            }
            Event::ParticipantLeft(id) => {
                self.identities.remove(id);
            }
            Event::TrackPublished(track) => {
                let entry = Entry {
                    track: Track {
                        layers: Vec::new(),
                        ..track.clone()
                    },
                    state: State::Idle,
                    begun_ns: 0,
                    named_ms: 0,
                    failures: 0,
                };
                self.tracks.insert(track.id, entry);
            }
            // The router ends the recording of a track that ends.
            Event::TrackUnpublished(id) => {
                self.tracks.remove(id);
            }
            Event::Failed(failure) => {
                if let Some(entry) = self.tracks.get_mut(&failure.track) {
                    entry.failed(clock::monotonic_ns());
                }
            }
            // What an instance before this one ordered goes on.
            Event::Recording(recorded) => {
                for one in recorded {
                    if let Some(entry) = self.tracks.get_mut(&one.track) {
                        entry.state = State::Recorded;
                        entry.begun_ns = clock::monotonic_ns();
                    }
                }
            }
            Event::RoomClosed => {
                self.identities.clear();
                self.tracks.clear();
            }
            Event::TrackMuted(..)
            | Event::Speakers(_)
            | Event::Requested(_)
            | Event::Started(_)
            | Event::Tick
            | Event::Finished(_) => {}
        }
    }

    /// Whether a track is published.
    #[must_use]
    pub fn has_track(&self, track: TrackId) -> bool {
        self.tracks.contains_key(&track)
    }

    /// Whether every track is recorded that the configuration has recorded at all; true where there is none.
    #[must_use]
    pub fn has_all(&self) -> bool {
        let mut entries = self.tracks.values();
        entries.all(|entry| {
            entry.state == State::Recorded || self.files.container(&entry.track).is_none()
        })
    }

    /// Takes every track for recorded, so that each that is not wanted is stopped: also what an instance
    /// before this one began, which ended by a fault or a reload.
    pub fn assume_recorded(&mut self) {
        for entry in self.tracks.values_mut() {
            entry.state = State::Recorded;
        }
    }

    /// What has to change so that what is recorded is what is `wanted`, as far as the configuration has it
    /// recorded. At most 1,024 orders.
    pub fn orders(&mut self, wanted: impl Fn(&Track) -> bool) -> Vec<Order> {
        let mut orders = Vec::new();
        let tracks: Vec<TrackId> = self.tracks.keys().copied().collect();
        for id in tracks {
            if orders.len() == ORDERS_MAX - 1 {
                break;
            }
            let Some(entry) = self.tracks.get_mut(&id) else {
                continue;
            };
            let container = self.files.container(&entry.track);
            match container.filter(|_| wanted(&entry.track)) {
                Some(container) if entry.is_due() => {
                    entry.state = State::Recorded;
                    entry.begun_ns = clock::monotonic_ns();
                    orders.extend(self.start(id, container));
                }
                Some(_) => {}
                None => {
                    if entry.state == State::Recorded {
                        orders.push(Order::Stop(id));
                    }
                    entry.state = State::Idle;
                    entry.failures = 0;
                }
            }
        }
        orders.extend(self.tick_order());
        orders
    }

    /// Ticks are wanted while a track waits to be tried again.
    fn tick_order(&mut self) -> Option<Order> {
        let waits = |entry: &Entry| matches!(entry.state, State::Failed { .. });
        let wanted = self.tracks.values().any(waits);
        let news = std::mem::replace(&mut self.ticking, wanted) != wanted;
        news.then_some(Order::TickEveryMs(if wanted { TICK_MS } else { 0 }))
    }

    fn start(&mut self, id: TrackId, container: Container) -> Option<Order> {
        let track = &self.tracks.get(&id)?.track;
        let began_ms = self.began_with(track).unwrap_or_else(clock::now_ms);
        let name = self.name(track, began_ms);
        let order = Order::Start(Start {
            track: id,
            container,
            name,
            max_segment_s: self.files.segment_s(),
            attributes: Vec::new(),
        });
        self.tracks.get_mut(&id)?.named_ms = began_ms;
        Some(order)
    }

    /// The time in the names of other tracks that would share a file with this one.
    fn began_with(&self, track: &Track) -> Option<u64> {
        let same = |other: &&Entry| {
            other.state == State::Recorded
                && other.named_ms > 0
                && other.track.id != track.id
                && other.track.owner == track.owner
                && self.name(&other.track, 0) == self.name(track, 0)
        };
        self.tracks.values().find(same).map(|other| other.named_ms)
    }

    fn name(&self, track: &Track, began_ms: u64) -> String {
        let owner = self.identities.get(&track.owner);
        self.files.name().name(&Named {
            room: &self.room,
            participant: owner.map_or("", String::as_str),
            track: track.id,
            source: track.source,
            kind: track.kind,
            began_ms,
        })
    }
}

impl Entry {
    fn is_due(&self) -> bool {
        match self.state {
            State::Idle => true,
            State::Recorded => false,
            State::Failed { until_ns } => clock::monotonic_ns() >= until_ns,
        }
    }

    fn failed(&mut self, now_ns: u64) {
        // What is not wanted any more may still be reported.
        if self.state != State::Recorded {
            return;
        }
        if now_ns.saturating_sub(self.begun_ns) >= WELL_NS {
            self.failures = 0;
        }
        let pause_ns = PAUSE_NS << self.failures.min(DOUBLINGS);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Failed {
            until_ns: now_ns.saturating_add(pause_ns),
        };
    }
}
