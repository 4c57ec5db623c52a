//! What operators who watch are told: of rooms, workers, recordings, plugins and the process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rillway_core::api::{RoomEvent, RoomEventKind, RoomOrder, RoomOrderKind};
use rillway_core::id::{ParticipantId, RoomId, TrackId, WorkerId};
use rillway_plugin_sdk::signaling::RecordingState;
use rillway_policy::{KindStats, Plugin};
use tokio::sync::{mpsc, watch};

use crate::management::events::Events;
use crate::management::id;
use crate::management::wire::Event;
use crate::rules::Audience;
use crate::session::{Clients, Phase};
use crate::worker::ToWorker;

/// Between two looks at the plugins' counters.
const PLUGIN_PERIOD: Duration = Duration::from_secs(1);

/// Makes events of what workers say about their rooms.
pub(super) struct Feed {
    events: Events,
    workers: Vec<mpsc::Sender<ToWorker>>,
    rooms: RefCell<HashMap<RoomId, Room>>,
}

/// What is known of a room: events name who and what by id alone.
struct Room {
    name: String,
    people: HashMap<ParticipantId, String>,
    tracks: HashMap<TrackId, Published>,
}

struct Published {
    owner: ParticipantId,
    source: &'static str,
}

impl Room {
    fn event(&self, kind: &str) -> Event {
        Event {
            kind: kind.to_owned(),
            room: self.name.clone(),
            ..Event::default()
        }
    }

    fn about(&self, kind: &str, who: ParticipantId) -> Event {
        Event {
            participant: id(who.0),
            identity: self.people.get(&who).cloned().unwrap_or_default(),
            ..self.event(kind)
        }
    }

    fn about_track(&self, kind: &str, track: TrackId) -> Event {
        let published = self.tracks.get(&track);
        let event = published.map(|published| Event {
            detail: published.source.to_owned(),
            ..self.about(kind, published.owner)
        });
        Event {
            track: id(track.0),
            ..event.unwrap_or_else(|| self.event(kind))
        }
    }
}

impl Feed {
    /// Of rooms of these workers, by index.
    pub(super) fn new(events: Events, workers: Vec<mpsc::Sender<ToWorker>>) -> Self {
        Feed {
            events,
            workers,
            rooms: RefCell::default(),
        }
    }

    /// Something happened in a room. Within a `LocalSet`.
    pub(super) fn on_event(&self, event: &RoomEvent) {
        let id = event.room;
        if let RoomEventKind::Opened { name } = &event.kind {
            self.opened(id, name);
            return;
        }
        let mut rooms = self.rooms.borrow_mut();
        let Some(room) = rooms.get_mut(&id) else {
            return;
        };
        match &event.kind {
            RoomEventKind::Joined(info) => {
                room.people.insert(info.id, info.identity.clone());
                self.events.publish(|| Event {
                    detail: info.name.clone().unwrap_or_default(),
                    ..room.about("joined", info.id)
                });
            }
            RoomEventKind::Left(who) => {
                self.events.publish(|| room.about("left", *who));
                room.people.remove(who);
            }
            RoomEventKind::Published(info) => {
                let published = Published {
                    owner: info.owner,
                    source: info.source.as_str(),
                };
                room.tracks.insert(info.id, published);
                self.events
                    .publish(|| room.about_track("published", info.id));
            }
            RoomEventKind::Unpublished(track) => {
                self.events
                    .publish(|| room.about_track("unpublished", *track));
                room.tracks.remove(track);
            }
            RoomEventKind::Muted(track, muted) => {
                let kind = if *muted { "muted" } else { "unmuted" };
                self.events.publish(|| room.about_track(kind, *track));
            }
            RoomEventKind::Closed => {
                self.events.publish(|| room.event("room_closed"));
                rooms.remove(&id);
            }
            _ => {}
        }
    }

    fn opened(&self, id: RoomId, name: &str) {
        let room = Room {
            name: name.to_owned(),
            people: HashMap::new(),
            tracks: HashMap::new(),
        };
        self.events.publish(|| room.event("room_opened"));
        self.rooms.borrow_mut().insert(id, room);
        let Some(queue) = self.workers.get(usize::from(id.worker().0)).cloned() else {
            return;
        };
        tokio::task::spawn_local(async move {
            let order = RoomOrder {
                room: id,
                kind: RoomOrderKind::WatchEvents,
            };
            // A worker that has ended has no rooms.
            let _ = queue.send(ToWorker::Room(order)).await;
        });
    }

    /// A worker has ended, and its rooms with it.
    pub(super) fn worker_ended(&self, worker: WorkerId) {
        self.rooms.borrow_mut().retain(|id, room| {
            let lost = id.worker() == worker;
            if lost {
                self.events.publish(|| Event {
                    detail: "its media worker has ended".to_owned(),
                    ..room.event("room_closed")
                });
            }
            !lost
        });
        self.events.publish(|| Event {
            kind: "worker_ended".to_owned(),
            detail: worker.0.to_string(),
            ..Event::default()
        });
    }
}

/// Whoever hears what is recorded: the clients in the room, and operators.
pub(super) struct Told {
    pub(super) clients: Rc<Clients>,
    pub(super) events: Events,
}

impl Audience for Told {
    fn recording(&self, room: &str, state: &RecordingState) {
        self.clients.recording(room, state);
        self.events.publish(|| {
            let kind = if state.active {
                "recording"
            } else {
                "recording_stopped"
            };
            let tracks: Vec<String> = state.tracks.iter().map(|track| id(track.0)).collect();
            Event {
                kind: kind.to_owned(),
                room: room.to_owned(),
                participant: state.by.map(|by| id(by.0)).unwrap_or_default(),
                detail: tracks.join(" "),
                ..Event::default()
            }
        });
    }
}

/// Publishes what changes about a plugin, for as long as it is polled.
pub(super) async fn plugin(plugin: Plugin, events: Events) {
    let look = || {
        let stats = plugin.stats();
        let faults = stats.kinds.iter().map(KindStats::faults_total).sum::<u64>();
        (plugin.version().to_string(), faults, stats.returns)
    };
    let mut before = look();
    loop {
        tokio::time::sleep(PLUGIN_PERIOD).await;
        let now = look();
        let said = |kind: &str, detail: String| Event {
            kind: kind.to_owned(),
            plugin: plugin.name().to_owned(),
            detail,
            ..Event::default()
        };
        if now.1 > before.1 {
            let count = now.1 - before.1;
            events.publish(|| said("plugin_fault", format!("{count} calls failed; {}", now.0)));
        }
        if now.2 > before.2 {
            events.publish(|| said("plugin_returned", format!("{} is in use again", now.0)));
        } else if now.0 != before.0 {
            events.publish(|| said("plugin_changed", now.0.clone()));
        }
        before = now;
    }
}

/// Publishes where the process is in its life.
pub(super) async fn phases(mut phase: watch::Receiver<Phase>, events: Events) {
    while phase.changed().await.is_ok() {
        let detail = phase.borrow_and_update().as_str();
        events.publish(|| Event {
            kind: "phase".to_owned(),
            detail: detail.to_owned(),
            ..Event::default()
        });
    }
}
