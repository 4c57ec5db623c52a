//! The way of a room's orders to the workers that have it.

use std::cell::RefCell;
use std::rc::Rc;

use rillway_core::api::{Choices, RoomOrder, RoomOrderKind};
use rillway_core::id::{RoomId, TrackId, WorkerId};
use tokio::sync::mpsc;

use crate::telemetry::metrics::RulesRecorder;
use crate::worker::ToWorker;

/// Sends orders of one room, to each of its parts what concerns it.
#[derive(Clone)]
pub(super) struct Orders {
    parts: Rc<RefCell<Vec<Part>>>,
    pub(super) recorder: RulesRecorder,
}

/// The room on one worker.
#[derive(Clone)]
struct Part {
    room: RoomId,
    queue: mpsc::Sender<ToWorker>,
}

impl Part {
    fn order(&self, kind: RoomOrderKind) -> ToWorker {
        ToWorker::Room(RoomOrder {
            room: self.room,
            kind,
        })
    }
}

impl Orders {
    /// For a room of the worker behind `queue`.
    pub(super) fn new(
        room: RoomId,
        queue: mpsc::Sender<ToWorker>,
        recorder: RulesRecorder,
    ) -> Self {
        Orders {
            parts: Rc::new(RefCell::new(vec![Part { room, queue }])),
            recorder,
        }
    }

    /// The room has a part on another worker, too.
    pub(super) fn add(&self, room: RoomId, queue: mpsc::Sender<ToWorker>) {
        self.parts.borrow_mut().push(Part { room, queue });
    }

    /// It has it no more. Returns how many are left.
    pub(super) fn remove(&self, room: RoomId) -> usize {
        let mut parts = self.parts.borrow_mut();
        parts.retain(|part| part.room != room);
        parts.len()
    }

    /// Whether this is the part that has been there longest.
    pub(super) fn is_first(&self, room: RoomId) -> bool {
        let parts = self.parts.borrow();
        parts.first().is_some_and(|part| part.room == room)
    }

    /// Sends an order that must arrive to whom it concerns: those about a track to its worker, others to all.
    /// A worker that is gone needs none.
    pub(super) async fn send(&self, kind: RoomOrderKind) {
        let parts = self.parts.borrow().clone();
        let worker = concerned(&kind);
        for part in parts {
            if worker.is_none_or(|worker| worker == part.room.worker()) {
                let _ = part.queue.send(part.order(kind.clone())).await;
            }
        }
    }

    /// Has one part tell what happens there.
    pub(super) async fn watch(&self, room: RoomId) {
        let part = self.part(|part| part.room == room);
        if let Some(part) = part {
            let _ = part
                .queue
                .send(part.order(RoomOrderKind::WatchEvents))
                .await;
        }
    }

    /// Sends choices, if the worker's queue has room: it shows the room again if they do not come.
    pub(super) fn choose(&self, choices: Choices) {
        let Some(part) = self.part(|_| true) else {
            return;
        };
        let order = part.order(RoomOrderKind::Choose(choices));
        if let Err(mpsc::error::TrySendError::Full(_)) = part.queue.try_send(order) {
            self.recorder.choices_dropped();
        }
    }

    /// Sends an order about a track that is given again if it does not arrive.
    pub(super) fn nudge(&self, track: TrackId, kind: RoomOrderKind) {
        let part = self.part(|part| part.room.worker() == track.worker());
        if let Some(part) = part {
            // Full, or gone: whoever needs it says so again.
            let _ = part.queue.try_send(part.order(kind));
        }
    }

    fn part(&self, wanted: impl Fn(&Part) -> bool) -> Option<Part> {
        self.parts
            .borrow()
            .iter()
            .find(|part| wanted(part))
            .cloned()
    }
}

/// The worker of the track that an order is about, if it is about one.
fn concerned(kind: &RoomOrderKind) -> Option<WorkerId> {
    match kind {
        RoomOrderKind::Record(track)
        | RoomOrderKind::StopRecording(track)
        | RoomOrderKind::AskKeyframe(track) => Some(track.worker()),
        _ => None,
    }
}
