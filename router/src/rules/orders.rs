//! The way of a room's orders to its worker.

use rillway_core::api::{Choices, RoomOrder, RoomOrderKind};
use rillway_core::id::RoomId;
use tokio::sync::mpsc;

use crate::telemetry::metrics::RulesRecorder;
use crate::worker::ToWorker;

/// Sends orders of one room.
#[derive(Clone)]
pub(super) struct Orders {
    room: RoomId,
    queue: mpsc::Sender<ToWorker>,
    pub(super) recorder: RulesRecorder,
}

impl Orders {
    /// For a room of the worker behind `queue`.
    pub(super) fn new(
        room: RoomId,
        queue: mpsc::Sender<ToWorker>,
        recorder: RulesRecorder,
    ) -> Self {
        Orders {
            room,
            queue,
            recorder,
        }
    }

    /// Sends an order that must arrive. A worker that is gone needs none.
    pub(super) async fn send(&self, kind: RoomOrderKind) {
        let _ = self.queue.send(self.order(kind)).await;
    }

    /// Sends choices, if the worker's queue has room: it shows the room again if they do not come.
    pub(super) fn choose(&self, choices: Choices) {
        let order = self.order(RoomOrderKind::Choose(choices));
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(order) {
            self.recorder.choices_dropped();
        }
    }

    /// Sends an order that is given again if it does not arrive.
    pub(super) fn nudge(&self, kind: RoomOrderKind) {
        // Full, or gone: whoever needs it says so again.
        let _ = self.queue.try_send(self.order(kind));
    }

    fn order(&self, kind: RoomOrderKind) -> ToWorker {
        ToWorker::Room(RoomOrder {
            room: self.room,
            kind,
        })
    }
}
