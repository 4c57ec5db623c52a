//! Rules of rooms: layer selection and recording by policies outside the core, on the control thread.
//!
//! A worker says when rooms open and close there; a large one has a part on each of several. For each part this
//! opens an instance of the layer policy, and for each room, whatever its parts, one of the recording policy, if
//! there are such, in a task of its own each: a slow or broken policy
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
    /// Each part of a room by itself: a layer policy decides about the subscribers of one.
    parts: RefCell<HashMap<RoomId, Part>>,
    /// Recording is the whole room's.
    recordings: RefCell<HashMap<Rc<str>, Recorded>>,
    recorder: RulesRecorder,
    desk: Rc<Desk>,
}

/// An open room on one worker. Its tasks end when it is dropped.
struct Part {
    name: Rc<str>,
    layers: Option<LayerRoom>,
}

/// What is recorded of a room on all its workers.
struct Recorded {
    room: RecordingRoom,
    orders: Orders,
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
            parts: RefCell::default(),
            recordings: RefCell::default(),
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
        self.recordings.borrow().get(room)?.room.recorded()
    }

    /// What is recorded in a room, or in all, for operators: by room and track.
    pub(crate) fn underway(&self, room: Option<&str>) -> Vec<Underway> {
        let recordings = self.recordings.borrow();
        let meant = recordings
            .iter()
            .filter(|(name, _)| room.is_none_or(|room| ***name == *room));
        let mut all: Vec<_> = meant.flat_map(|(_, open)| open.room.underway()).collect();
        all.sort_by(|a, b| (&a.room, a.track.0).cmp(&(&b.room, b.track.0)));
        all
    }

    /// Something happened in a room. Within a `LocalSet`.
    pub(crate) fn on_event(&self, event: RoomEvent) {
        match event.kind {
            RoomEventKind::Opened { name } => self.open(event.room, name.into()),
            RoomEventKind::Closed => self.close(event.room),
            RoomEventKind::View(view) => {
                if let Some(part) = self.parts.borrow().get(&event.room)
                    && let Some(layers) = &part.layers
                {
                    layers.show(*view);
                }
            }
            kind => self.tell_recording(event.room, kind),
        }
    }

    fn tell_recording(&self, id: RoomId, kind: RoomEventKind) {
        let parts = self.parts.borrow();
        let recordings = self.recordings.borrow();
        let recording = parts.get(&id).and_then(|part| recordings.get(&part.name));
        // Every part says who speaks in all of them.
        let again = |open: &Recorded| {
            matches!(kind, RoomEventKind::Speakers(_)) && !open.orders.is_first(id)
        };
        if let Some(open) = recording.filter(|open| !again(open)) {
            open.room.tell(kind);
        }
    }

    fn open(&self, id: RoomId, name: Rc<str>) {
        let Some(queue) = self.workers.get(usize::from(id.worker().0)) else {
            return;
        };
        let retry = self.set.retry;
        let layers = self.set.layers.as_ref().map(|rule| {
            let orders = Orders::new(id, queue.clone(), self.recorder.clone());
            LayerRoom::open(rule, name.clone(), orders, retry)
        });
        if let Some(factory) = &self.set.recording {
            self.record(factory, id, &name);
        } else if layers.is_none() {
            return;
        }
        self.parts.borrow_mut().insert(id, Part { name, layers });
        self.recorder.rooms(self.parts.borrow().len());
    }

    /// A room that may be recorded has opened on a worker, the first or another one.
    fn record(&self, factory: &Rc<dyn RecordingFactory>, id: RoomId, name: &Rc<str>) {
        let Some(queue) = self.workers.get(usize::from(id.worker().0)) else {
            return;
        };
        let mut recordings = self.recordings.borrow_mut();
        if let Some(open) = recordings.get(name) {
            open.orders.add(id, queue.clone());
            let orders = open.orders.clone();
            tokio::task::spawn_local(async move { orders.watch(id).await });
            return;
        }
        let orders = Orders::new(id, queue.clone(), self.recorder.clone());
        let room = RecordingRoom::open(
            factory,
            name.clone(),
            orders.clone(),
            &self.desk,
            self.set.retry,
        );
        recordings.insert(name.clone(), Recorded { room, orders });
    }

    fn close(&self, id: RoomId) {
        let Some(part) = self.parts.borrow_mut().remove(&id) else {
            return;
        };
        let mut recordings = self.recordings.borrow_mut();
        if let Some(open) = recordings.get(&part.name) {
            if open.orders.remove(id) == 0 {
                recordings.remove(&part.name);
            } else {
                open.room.forget(id.worker());
            }
        }
        self.recorder.rooms(self.parts.borrow().len());
    }

    /// A worker has ended, and its parts of rooms with it.
    pub(crate) fn worker_ended(&self, worker: WorkerId) {
        let lost: Vec<RoomId> = {
            let parts = self.parts.borrow();
            let of_worker = parts.keys().filter(|id| id.worker() == worker);
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
        let recordings = self.recordings.borrow();
        recordings.get(room).ok_or(NO_POLICY)?.room.request(request)
    }
}

#[cfg(test)]
mod tests;
