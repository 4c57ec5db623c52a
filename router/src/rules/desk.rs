//! Where rooms meet the recorder: orders to it, and the way of its events to their rooms.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use rillway_core::id::TrackId;
use rillway_plugin_sdk::recording::FailureCause;
use rillway_plugin_sdk::signaling::RecordingState;
use rillway_recorder::api::{Event, Order, Start};
use tokio::sync::Notify;

use super::books::Problem;
use super::recording::State;
use super::seams::{Audience, RecorderOrders};

/// People are told what is recorded so long after it changed: tracks begin in groups.
pub(super) const ANNOUNCED_AFTER: Duration = Duration::from_millis(25);
/// Between two tries to give an order that the recorder was too busy for.
const AGAIN: Duration = Duration::from_millis(20);
const TOO_BUSY: &str = "the recorder is too busy to begin another recording";

/// The recorder as the rules see it.
pub(crate) struct Desk {
    /// Or why there is none, for people.
    recorder: Result<Rc<dyn RecorderOrders>, &'static str>,
    audience: Rc<dyn Audience>,
    /// Whom events about a track concern.
    rooms: RefCell<HashMap<TrackId, Rc<State>>>,
    /// Orders that must arrive and that the recorder was too busy for.
    late: RefCell<VecDeque<Order>>,
    ended: Cell<bool>,
    /// Tasks of rooms that run.
    tasks: Cell<usize>,
    task_ended: Notify,
}

impl Desk {
    /// With a recorder, or the reason why there is none, for people; and who hears what is recorded.
    pub(crate) fn new(
        recorder: Result<Rc<dyn RecorderOrders>, &'static str>,
        audience: Rc<dyn Audience>,
    ) -> Self {
        Desk {
            recorder,
            audience,
            rooms: RefCell::default(),
            late: RefCell::default(),
            ended: Cell::new(false),
            tasks: Cell::new(0),
            task_ended: Notify::new(),
        }
    }

    /// Why nothing can be recorded, for people.
    pub(super) fn absence(&self) -> Option<&'static str> {
        if self.ended.get() {
            return Some("the recorder has ended");
        }
        self.recorder.as_ref().err().copied()
    }

    /// Has a track recorded.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(super) fn start(&self, start: Start) -> Result<(), Problem> {
        let absent = |why: &str| (FailureCause::Unavailable, why.to_owned());
        let recorder = self.recorder.as_ref().map_err(|why| absent(why))?;
        if let Some(why) = self.absence() {
            return Err(absent(why));
        }
        // It must not overtake what is late.
        if !self.late.borrow().is_empty() || !recorder.give(Order::Start(Box::new(start))) {
            return Err((FailureCause::Overload, TOO_BUSY.to_owned()));
        }
        Ok(())
    }

    /// Gives an order that must arrive. Within a `LocalSet`.
    pub(super) fn must(self: &Rc<Self>, order: Order) {
        let Ok(recorder) = &self.recorder else {
            return;
        };
        if self.ended.get() {
            return;
        }
        let mut late = self.late.borrow_mut();
        if late.is_empty() && recorder.give(order.clone()) {
            return;
        }
        late.push_back(order);
        if late.len() == 1 {
            tokio::task::spawn_local(self.clone().deliver_late());
        }
    }

    async fn deliver_late(self: Rc<Self>) {
        let Ok(recorder) = &self.recorder else {
            return;
        };
        while !self.ended.get() {
            let Some(order) = self.late.borrow().front().cloned() else {
                return;
            };
            if recorder.give(order) {
                self.late.borrow_mut().pop_front();
            } else {
                tokio::time::sleep(AGAIN).await;
            }
        }
        self.late.borrow_mut().clear();
    }

    /// Events about a track concern this room from now on.
    pub(super) fn expect(&self, track: TrackId, room: &Rc<State>) {
        self.rooms.borrow_mut().insert(track, room.clone());
    }

    /// A room's task begins.
    pub(super) fn task_began(&self) {
        self.tasks.set(self.tasks.get() + 1);
    }

    /// A room's task has ended: nobody hears about its tracks.
    pub(super) fn task_ended(&self, room: &Rc<State>) {
        self.rooms
            .borrow_mut()
            .retain(|_, known| !Rc::ptr_eq(known, room));
        self.tasks.set(self.tasks.get().saturating_sub(1));
        self.task_ended.notify_waiters();
    }

    /// Until every room's task has ended.
    pub(super) async fn all_ended(&self) {
        loop {
            let ended = self.task_ended.notified();
            if self.tasks.get() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Something happened at the recorder.
    pub(super) fn on_event(&self, event: Event) {
        let track = match &event {
            Event::Started(track) | Event::KeyframeWanted(track) | Event::Failed(track, ..) => {
                *track
            }
            Event::Finished(file) => file.track,
            _ => return,
        };
        let track = TrackId(track.0);
        let room = self.rooms.borrow().get(&track).cloned();
        if let Some(room) = room {
            let last = matches!(event, Event::Finished(_) | Event::Failed(..));
            room.on_recorder(event);
            if last && !room.expects(track) {
                self.rooms.borrow_mut().remove(&track);
            }
        }
    }

    /// The recorder has ended: nothing is recorded any more.
    pub(super) fn recorder_ended(&self) {
        self.ended.set(true);
        let mut rooms: Vec<Rc<State>> = self.rooms.borrow().values().cloned().collect();
        rooms.sort_by_key(|room| Rc::as_ptr(room) as usize);
        rooms.dedup_by(|a, b| Rc::ptr_eq(a, b));
        for room in rooms {
            room.recorder_ended();
        }
    }

    /// Tells the clients in a room what is recorded.
    pub(super) fn tell(&self, room: &str, state: &RecordingState) {
        self.audience.recording(room, state);
    }
}
