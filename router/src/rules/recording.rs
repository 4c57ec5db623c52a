//! The recording policy of one room.
//!
//! This router has no recorder yet. So a policy's orders are checked and counted, and each start is
//! answered with [`Event::Failed`], as it is when a disk is full: a policy written today is right when
//! there is one.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_core::api::{RoomEventKind, RoomOrderKind};
use rillway_core::id;
use rillway_plugin_sdk::recording::{Event, Failure, FailureCause, Order, Request, Start};
use rillway_plugin_sdk::types::{ParticipantId, TrackId};
use tokio::sync::{Notify, oneshot};

use super::orders::Orders;
use super::picture::Picture;
use super::seams::{Pace, RecordingFactory, RecordingInstance, RuleFault};
use super::translate;

/// Events waiting for one policy. One that is so far behind is told the room's state anew.
const EVENTS_MAX: usize = 4_096;
/// Requests of participants waiting among them; clients are told to try later above it.
const REQUESTS_MAX: usize = 64;
/// Orders one call may return (part of the ABI).
const ORDERS_MAX: usize = 1_024;
/// Longest wanted name, bytes (part of the ABI).
const NAME_BYTES: usize = 128;
/// A track's recording is reported failed at most once in this time: a policy that tries again at once
/// would run in circles.
const FAILURE_INTERVAL: Duration = Duration::from_secs(10);
/// Time an instance has for what is left when its room closed.
const CLOSING_TIME: Duration = Duration::from_secs(10);

/// Why nothing is recorded, for people.
const NO_RECORDER: &str = "this router has no recorder";
/// The answer to a request where no recording policy is configured.
pub(crate) const NO_POLICY: &str = "this router has no recording policy";
const NOT_NOW: &str = "the recording policy is not available now";
const TOO_MANY: &str = "too many recording requests in this room";

/// How a request of a participant ended: done, or what is in the way, for people.
pub(crate) type Outcome = Result<(), &'static str>;

/// A room whose recording a policy decides. When it is dropped, the policy is told that the room closed.
pub(super) struct RecordingRoom {
    state: Rc<State>,
}

/// Between the room and its task.
struct State {
    picture: RefCell<Picture>,
    queue: RefCell<VecDeque<Item>>,
    news: Notify,
    /// Events were lost: the next instance begins with the picture.
    behind: Cell<bool>,
    /// An instance takes events.
    serving: Cell<bool>,
    closed: Cell<bool>,
}

enum Item {
    Event(Event),
    Asked(Request, oneshot::Sender<Outcome>),
}

impl RecordingRoom {
    /// Begins. Within a `LocalSet`.
    pub(super) fn open(
        factory: &Rc<dyn RecordingFactory>,
        room: Rc<str>,
        orders: Orders,
        retry: Duration,
    ) -> Self {
        let state = Rc::new(State {
            picture: RefCell::new(Picture::new(room.clone())),
            queue: RefCell::default(),
            news: Notify::new(),
            behind: Cell::new(false),
            serving: Cell::new(false),
            closed: Cell::new(false),
        });
        let task = Task {
            factory: factory.clone(),
            room,
            state: state.clone(),
            orders,
            pace: Pace::new(retry),
            failed: HashMap::new(),
            said: false,
        };
        tokio::task::spawn_local(task.run());
        RecordingRoom { state }
    }

    /// Something happened in the room.
    pub(super) fn tell(&self, kind: RoomEventKind) {
        let Some(event) = translate::event(kind) else {
            return;
        };
        self.state.picture.borrow_mut().apply(&event);
        self.state.push(Item::Event(event));
    }

    /// A participant wants the recording to start or stop.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(super) fn request(
        &self,
        by: id::ParticipantId,
        start: bool,
    ) -> Result<oneshot::Receiver<Outcome>, &'static str> {
        if !self.state.serving.get() {
            return Err(NOT_NOW);
        }
        let queue = self.state.queue.borrow();
        let asked = queue.iter().filter(|item| matches!(item, Item::Asked(..)));
        if asked.count() >= REQUESTS_MAX {
            return Err(TOO_MANY);
        }
        drop(queue);
        let request = Request {
            start,
            by: Some(ParticipantId(by.0)),
            attributes: Vec::new(),
        };
        let (answer, outcome) = oneshot::channel();
        self.state.push(Item::Asked(request, answer));
        Ok(outcome)
    }
}

impl Drop for RecordingRoom {
    fn drop(&mut self) {
        self.state.closed.set(true);
        self.state.news.notify_one();
    }
}

impl State {
    fn push(&self, item: Item) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= EVENTS_MAX {
            self.behind.set(true);
            queue.clear();
        } else {
            queue.push_back(item);
        }
        self.news.notify_one();
    }

    /// The next item; `None`: the room closed, and there is none before that.
    async fn next(&self) -> Option<Item> {
        loop {
            let item = self.queue.borrow_mut().pop_front();
            if item.is_some() || self.closed.get() {
                return item;
            }
            self.news.notified().await;
        }
    }

    /// Until the room closed.
    async fn closed(&self) {
        while !self.closed.get() {
            self.news.notified().await;
        }
    }

    /// Forgets what waits. Whoever asked for something hears that nobody decided.
    fn clear(&self) {
        self.queue.borrow_mut().clear();
        self.behind.set(false);
    }

    /// Forgets the events that wait: the next instance begins with the picture, which has them all. It
    /// answers the requests.
    fn hand_over(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.retain(|item| matches!(item, Item::Asked(..)));
        self.behind.set(false);
    }
}

/// Why an instance is needed no more.
enum End {
    Closed,
    Fault(RuleFault),
    Behind,
}

struct Task {
    factory: Rc<dyn RecordingFactory>,
    room: Rc<str>,
    state: Rc<State>,
    orders: Orders,
    pace: Pace,
    /// When recording a track was last reported failed.
    failed: HashMap<TrackId, Instant>,
    /// The missing recorder has been logged.
    said: bool,
}

impl Task {
    /// One instance after the other.
    async fn run(mut self) {
        self.orders.send(RoomOrderKind::WatchEvents).await;
        let state = self.state.clone();
        loop {
            let opened = tokio::select! {
                opened = self.factory.open(&self.room) => opened,
                () = state.closed() => return,
            };
            let end = match opened {
                Ok(instance) => self.serve(instance).await,
                Err(fault) => End::Fault(fault),
            };
            if !matches!(end, End::Fault(RuleFault::Retired)) {
                state.serving.set(false);
                state.clear();
            }
            let wait = match end {
                End::Closed => return,
                End::Behind => {
                    tracing::warn!(
                        room = &*self.room,
                        "the recording policy fell behind: told anew"
                    );
                    Duration::ZERO
                }
                End::Fault(fault) => self.fault(&fault),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = state.closed() => return,
            }
        }
    }

    /// How long to wait after a fault.
    fn fault(&mut self, fault: &RuleFault) -> Duration {
        if *fault != RuleFault::Retired {
            self.orders.recorder.recording_fault();
            let (policy, room) = (self.factory.policy(), &*self.room);
            tracing::warn!(policy = &*policy, room, %fault, "nothing new is recorded");
        }
        self.pace.failed(fault)
    }

    async fn serve(&mut self, mut instance: Box<dyn RecordingInstance>) -> End {
        let state = self.state.clone();
        state.hand_over();
        state.serving.set(true);
        let begin = state.picture.borrow().events();
        for event in begin {
            if let Err(fault) = self.decide(&mut *instance, event).await {
                return End::Fault(fault);
            }
        }
        let mut retired = instance.retired();
        loop {
            // What nobody took is its successor's.
            let item = tokio::select! {
                biased;
                () = &mut retired => return End::Fault(RuleFault::Retired),
                item = state.next() => item,
            };
            let Some(item) = item else {
                break;
            };
            if state.behind.get() {
                return End::Behind;
            }
            if state.closed.get() {
                let left = self.wind_up(&mut *instance, item);
                // A policy that is too slow for its last words loses them.
                let _ = tokio::time::timeout(CLOSING_TIME, left).await;
                return End::Closed;
            }
            if let Err(fault) = self.item(&mut *instance, item).await {
                return End::Fault(fault);
            }
        }
        // Nobody hears what it orders now; its fault costs nothing.
        let _ = tokio::time::timeout(CLOSING_TIME, instance.decide(Event::RoomClosed)).await;
        End::Closed
    }

    /// The room closed while events were waiting: they come before that.
    async fn wind_up(
        &mut self,
        instance: &mut dyn RecordingInstance,
        first: Item,
    ) -> Result<(), RuleFault> {
        let mut item = Some(first);
        while let Some(next) = item {
            self.item(instance, next).await?;
            item = self.state.queue.borrow_mut().pop_front();
        }
        instance.decide(Event::RoomClosed).await.map(|_| ())
    }

    async fn item(
        &mut self,
        instance: &mut dyn RecordingInstance,
        item: Item,
    ) -> Result<(), RuleFault> {
        match item {
            Item::Event(event) => self.decide(instance, event).await.map(|_| ()),
            Item::Asked(request, answer) => {
                let event = Event::Requested(request);
                let unmet = self.decide(instance, event).await?;
                let outcome = if unmet > 0 { Err(NO_RECORDER) } else { Ok(()) };
                // The client may be gone.
                let _ = answer.send(outcome);
                Ok(())
            }
        }
    }

    /// Has the policy decide. Returns how many of its orders would have needed a recorder.
    async fn decide(
        &mut self,
        instance: &mut dyn RecordingInstance,
        event: Event,
    ) -> Result<usize, RuleFault> {
        let orders = instance.decide(event).await?;
        if orders.len() > ORDERS_MAX {
            let excess = format!("{} orders in one call", orders.len());
            return Err(RuleFault::Failed(excess));
        }
        self.pace.succeeded();
        let mut unmet = 0;
        for order in orders {
            match order {
                Order::Start(start) if self.is_valid(&start) => {
                    unmet += 1;
                    self.report_failed(start.track);
                }
                Order::Start(_) => self.orders.recorder.recording_order("refused"),
                // Nothing is recorded, so nothing is to be stopped.
                Order::Stop(_) => self.orders.recorder.recording_order("idle"),
                Order::TickEveryMs(_) => {}
            }
        }
        Ok(unmet)
    }

    fn is_valid(&self, start: &Start) -> bool {
        let named = !start.name.is_empty() && start.name.len() <= NAME_BYTES;
        named && self.state.picture.borrow().has_track(start.track)
    }

    /// Answers a start with the failure it is.
    fn report_failed(&mut self, track: TrackId) {
        self.orders.recorder.recording_order("no_recorder");
        if !self.said {
            self.said = true;
            tracing::warn!(
                room = &*self.room,
                "{NO_RECORDER}: its policy's orders do nothing"
            );
        }
        let now = Instant::now();
        let recent = |at: &Instant| now.duration_since(*at) < FAILURE_INTERVAL;
        if self.failed.get(&track).is_some_and(recent) {
            return;
        }
        self.failed.retain(|_, at| recent(at));
        self.failed.insert(track, now);
        let event = Event::Failed(Failure {
            track,
            cause: FailureCause::Unavailable,
            message: NO_RECORDER.to_owned(),
        });
        self.state.push(Item::Event(event));
    }
}
