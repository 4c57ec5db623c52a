//! Rules with scripted policies, and workers that are queues.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use rillway_core::api::{
    self as core, ParticipantInfo, RoomOrderKind, RoomView, SubscriberView, SubscriptionView,
    TrackInfo, Wish,
};
use rillway_core::id;
use rillway_plugin_sdk::layers::{Choice, View};
use rillway_plugin_sdk::recording::{Container, Event, Order, Request, Start};
use rillway_plugin_sdk::types;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::*;
use crate::telemetry::metrics::Registry;

mod layers;
mod recording;

const ROOM: RoomId = RoomId(5);
const EVERY: Duration = Duration::from_millis(200);
/// First wait after a fault.
const RETRY: Duration = Duration::from_millis(40);

/// Rules, and the queue of worker 0.
struct Stage {
    rules: Rules,
    queue: mpsc::Receiver<ToWorker>,
    registry: Registry,
}

impl Stage {
    fn new(set: RuleSet, queue: usize) -> Self {
        let registry = Registry::new();
        let (sender, queue) = mpsc::channel(queue);
        Stage {
            rules: Rules::new(set, vec![sender], registry.rules()),
            queue,
            registry,
        }
    }

    fn tell(&self, kind: RoomEventKind) {
        self.rules.on_event(RoomEvent { room: ROOM, kind });
    }

    fn open(&self) {
        self.tell(RoomEventKind::Opened {
            name: "room".to_owned(),
        });
    }

    /// The next order to the worker.
    async fn order(&mut self) -> RoomOrderKind {
        let next = tokio::time::timeout(Duration::from_secs(10), self.queue.recv());
        match next.await.expect("an order within 10 s") {
            Some(ToWorker::Room(order)) => {
                assert_eq!(order.room, ROOM);
                order.kind
            }
            other => panic!("{other:?}"),
        }
    }

    fn metric(&self, line: &str) -> bool {
        self.registry.render().lines().any(|known| known == line)
    }
}

/// Lets every task run until it waits for something.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Runs a test within a `LocalSet`.
fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn rooms_without_policies_cost_nothing() {
    local(async {
        let mut stage = Stage::new(RuleSet::default(), 4);
        stage.open();
        stage.tell(RoomEventKind::Left(ParticipantId(1)));
        settle().await;
        assert!(stage.queue.try_recv().is_err());
        assert!(stage.rules.rooms.borrow().is_empty());
        let refused = stage
            .rules
            .request_recording("room", ParticipantId(1), true);
        assert_eq!(refused.err(), Some(NO_POLICY));
    });
}
