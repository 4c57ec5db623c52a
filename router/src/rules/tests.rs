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
use rillway_plugin_sdk::layers::{Choice, Decision, Scope, View};
use rillway_plugin_sdk::recording::{Container, Event, Order, Request, Start};
use rillway_plugin_sdk::types;
use rillway_recorder::api as recorder;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::*;
use crate::telemetry::metrics::Registry;

mod layers;
mod parts;
mod recorded;
mod recording;

const ROOM: RoomId = RoomId(5);
const EVERY: Duration = Duration::from_millis(200);
/// First wait after a fault.
const RETRY: Duration = Duration::from_millis(40);

/// Rules, the queue of worker 0, and the recorder.
struct Stage {
    rules: Rules,
    queue: mpsc::Receiver<ToWorker>,
    registry: Registry,
    recorder: Rc<FakeRecorder>,
    told: Rc<Told>,
}

/// Keeps what it is ordered.
#[derive(Default)]
struct FakeRecorder {
    orders: RefCell<Vec<recorder::Order>>,
    busy: Cell<bool>,
}

impl RecorderOrders for FakeRecorder {
    fn give(&self, order: recorder::Order) -> bool {
        if !self.busy.get() {
            self.orders.borrow_mut().push(order);
        }
        !self.busy.get()
    }
}

/// What the room was told.
#[derive(Default)]
struct Told(RefCell<Vec<RecordingState>>);

impl Audience for Told {
    fn recording(&self, room: &str, state: &RecordingState) {
        assert_eq!(room, "room");
        self.0.borrow_mut().push(state.clone());
    }
}

impl Stage {
    fn new(set: RuleSet, queue: usize) -> Self {
        Self::with(set, queue, None)
    }

    /// `absence`: there is no recorder, for this reason.
    fn with(set: RuleSet, queue: usize, absence: Option<&'static str>) -> Self {
        let registry = Registry::new();
        let (sender, queue) = mpsc::channel(queue);
        let (recorder, told) = (Rc::new(FakeRecorder::default()), Rc::new(Told::default()));
        let orders: Rc<dyn RecorderOrders> = recorder.clone();
        let desk = Desk::new(absence.map_or(Ok(orders), Err), told.clone());
        Stage {
            rules: Rules::new(set, vec![sender], registry.rules(), desk),
            queue,
            registry,
            recorder,
            told,
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
        assert!(stage.rules.parts.borrow().is_empty());
        let refused = stage
            .rules
            .request_recording("room", ParticipantId(1), true);
        assert_eq!(refused.err(), Some(NO_POLICY));
    });
}
