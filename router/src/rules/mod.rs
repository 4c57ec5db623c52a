//! Rules of rooms: layer selection and recording by policies outside the core, on the control thread.
//!
//! A worker says when rooms open and close. For each room this opens an instance of the layer policy and
//! one of the recording policy, if there are such, in a task of its own each: a slow or broken policy
//! costs its own room, and there only what it decides. Layers: the newest view is shown, the choices go to
//! the worker's queue, and the core checks them (`layers.rs`). Recording: every event in order, orders are
//! checked here (`recording.rs`) and go to core and recorder (`books.rs`, `desk.rs`).

mod books;
mod changes;
mod desk;
mod layers;
mod orders;
mod picture;
mod recording;
mod seams;
mod translate;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rillway_core::api::{RoomEvent, RoomEventKind};
use rillway_core::id::{self, ParticipantId, RoomId, WorkerId};
use rillway_plugin_sdk::recording::Request;
use rillway_plugin_sdk::signaling::RecordingState;
use rillway_plugin_sdk::types;
use rillway_recorder::api as recorder;
use tokio::sync::{mpsc, oneshot};

use crate::telemetry::metrics::RulesRecorder;
use crate::worker::ToWorker;

use layers::LayerRoom;
use orders::Orders;
use recording::RecordingRoom;

pub(crate) use books::Underway;
pub(crate) use desk::Desk;
pub(crate) use recording::{NO_POLICY, Outcome};
pub(crate) use seams::{
    Audience, LayerFactory, LayerInstance, Opening, RecorderOrders, RecordingFactory,
    RecordingInstance, RuleFault,
};

/// Attribute of a recording request: name in the certificate of the operator who asks.
const OPERATOR: &str = "operator";
/// Attribute of a recording request: a track that is meant, as a decimal number.
const TRACK: &str = "track";

/// The layer policy of all rooms.
#[derive(Clone)]
pub(crate) struct LayerRule {
    /// Makes its instances.
    pub(crate) factory: Rc<dyn LayerFactory>,
    /// Least time between two calls for one room; of rooms that open from now on.
    pub(crate) every: Cell<Duration>,
}

/// Which policies rooms have. `None`: the built-in one, and no recording.
#[derive(Clone)]
pub(crate) struct RuleSet {
    /// Layers.
    pub(crate) layers: Option<LayerRule>,
    /// Recording.
    pub(crate) recording: Option<Rc<dyn RecordingFactory>>,
    /// First wait for another instance after a fault; a second but in tests.
    pub(crate) retry: Duration,
}

impl Default for RuleSet {
    fn default() -> Self {
        RuleSet {
            layers: None,
            recording: None,
            retry: seams::RETRY_FIRST,
        }
    }
}

/// The rooms of all workers, and their policies.
pub(crate) struct Rules {
    set: RuleSet,
    workers: Vec<mpsc::Sender<ToWorker>>,
    rooms: RefCell<HashMap<RoomId, Room>>,
    /// A name is in force on one worker at a time: the directory sees to that.
    by_name: RefCell<HashMap<Rc<str>, RoomId>>,
    recorder: RulesRecorder,
    desk: Rc<Desk>,
}

/// An open room. Its tasks end when it is dropped.
struct Room {
    name: Rc<str>,
    layers: Option<LayerRoom>,
    recording: Option<RecordingRoom>,
}

impl Rules {
    /// Rules for the rooms of these workers, by index.
    pub(crate) fn new(
        set: RuleSet,
        workers: Vec<mpsc::Sender<ToWorker>>,
        recorder: RulesRecorder,
        desk: Desk,
    ) -> Self {
        Rules {
            set,
            workers,
            rooms: RefCell::default(),
            by_name: RefCell::default(),
            recorder,
            desk: Rc::new(desk),
        }
    }

    /// Rooms that open from now on have other bounds: of their layer policy, and, at once, of the recorder. Within
    /// a `LocalSet`.
    pub(crate) fn set(&self, layers_every: Option<Duration>, recorder: Option<recorder::Bounds>) {
        if let (Some(layers), Some(every)) = (&self.set.layers, layers_every) {
            layers.every.set(every);
        }
        if let Some(bounds) = recorder {
            self.desk.must(recorder::Order::Bounds(bounds));
        }
    }

    /// Something happened at the recorder. Within a `LocalSet`.
    pub(crate) fn on_recorder(&self, event: rillway_recorder::api::Event) {
        self.desk.on_event(event);
    }

    /// The recorder has ended. Within a `LocalSet`.
    pub(crate) fn recorder_ended(&self) {
        self.desk.recorder_ended();
    }

    /// Until the recording policies of all rooms that closed have heard of it.
    pub(crate) async fn recordings_ended(&self) {
        self.desk.all_ended().await;
    }

    /// What is recorded in a room, for people; `None`: nothing.
    pub(crate) fn recorded(&self, room: &str) -> Option<RecordingState> {
        let id = self.by_name.borrow().get(room).copied()?;
        self.rooms.borrow().get(&id)?.recording.as_ref()?.recorded()
    }

    /// What is recorded in a room, or in all, for operators: by room and track.
    pub(crate) fn underway(&self, room: Option<&str>) -> Vec<Underway> {
        let rooms = self.rooms.borrow();
        let meant = rooms
            .values()
            .filter(|open| room.is_none_or(|room| *open.name == *room));
        let recording = meant.filter_map(|open| open.recording.as_ref());
        let mut all: Vec<_> = recording.flat_map(RecordingRoom::underway).collect();
        all.sort_by(|a, b| (&a.room, a.track.0).cmp(&(&b.room, b.track.0)));
        all
    }

    /// Something happened in a room. Within a `LocalSet`.
    pub(crate) fn on_event(&self, event: RoomEvent) {
        match event.kind {
            RoomEventKind::Opened { name } => self.open(event.room, name.into()),
            RoomEventKind::Closed => self.close(event.room),
            RoomEventKind::View(view) => {
                if let Some(room) = self.rooms.borrow().get(&event.room)
                    && let Some(layers) = &room.layers
                {
                    layers.show(*view);
                }
            }
            kind => {
                if let Some(room) = self.rooms.borrow().get(&event.room)
                    && let Some(recording) = &room.recording
                {
                    recording.tell(kind);
                }
            }
        }
    }

    fn open(&self, id: RoomId, name: Rc<str>) {
        let Some(queue) = self.workers.get(usize::from(id.worker().0)) else {
            return;
        };
        let orders = Orders::new(id, queue.clone(), self.recorder.clone());
        let layers = self.set.layers.as_ref();
        let retry = self.set.retry;
        let layers = layers.map(|rule| LayerRoom::open(rule, name.clone(), orders.clone(), retry));
        let recording = self.set.recording.as_ref();
        let recording =
            recording.map(|f| RecordingRoom::open(f, name.clone(), orders, &self.desk, retry));
        if layers.is_none() && recording.is_none() {
            return;
        }
        self.by_name.borrow_mut().insert(name.clone(), id);
        let room = Room {
            name,
            layers,
            recording,
        };
        self.rooms.borrow_mut().insert(id, room);
        self.recorder.rooms(self.rooms.borrow().len());
    }

    fn close(&self, id: RoomId) {
        let Some(room) = self.rooms.borrow_mut().remove(&id) else {
            return;
        };
        let mut by_name = self.by_name.borrow_mut();
        if by_name.get(&room.name) == Some(&id) {
            by_name.remove(&room.name);
        }
        self.recorder.rooms(self.rooms.borrow().len());
    }

    /// A worker has ended, and its rooms with it.
    pub(crate) fn worker_ended(&self, worker: WorkerId) {
        let lost: Vec<RoomId> = {
            let rooms = self.rooms.borrow();
            let of_worker = rooms.keys().filter(|id| id.worker() == worker);
            of_worker.copied().collect()
        };
        for id in lost {
            self.close(id);
        }
    }

    /// A participant whose grant allows it asks for the recording of its room to start or stop. The
    /// answer comes when the policy has decided.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(crate) fn request_recording(
        &self,
        room: &str,
        by: ParticipantId,
        start: bool,
    ) -> Result<oneshot::Receiver<Outcome>, &'static str> {
        self.ask_to_record(
            room,
            Request {
                start,
                by: Some(types::ParticipantId(by.0)),
                attributes: Vec::new(),
            },
        )
    }

    /// The same for an operator: the policy hears his name in the attribute [`OPERATOR`], and which tracks
    /// he means, if not all.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(crate) fn request_recording_by_operator(
        &self,
        room: &str,
        operator: String,
        tracks: &[id::TrackId],
        start: bool,
    ) -> Result<oneshot::Receiver<Outcome>, &'static str> {
        // A policy that waits for tracks would say yes to what comes to nothing.
        if start && let Some(why) = self.desk.absence() {
            return Err(why);
        }
        let tracks = tracks.iter().map(|track| (TRACK, track.0.to_string()));
        let attributes = std::iter::once((OPERATOR, operator)).chain(tracks);
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
        self.ask_to_record(
            room,
            Request {
                start,
                by: None,
                attributes: attributes.collect(),
            },
        )
    }

    fn ask_to_record(
        &self,
        room: &str,
        request: Request,
    ) -> Result<oneshot::Receiver<Outcome>, &'static str> {
        let id = self.by_name.borrow().get(room).copied();
        let rooms = self.rooms.borrow();
        let recording = id.and_then(|id| rooms.get(&id)?.recording.as_ref());
        recording.ok_or(NO_POLICY)?.request(request)
    }
}

#[cfg(test)]
mod tests;
