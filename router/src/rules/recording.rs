//! The recording policy of one room: it hears what happens, and its orders are checked and carried out.
//!
//! What is being recorded is in the books (`books.rs`), which go on when a policy fails. A start that
//! cannot be carried out is answered with [`Event::Failed`], as it is when a disk is full.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_core::api::{RoomEventKind, RoomOrderKind};
use rillway_core::id;
use rillway_plugin_sdk::recording::{Event, Failure, FailureCause, Order, Request, Start};
use rillway_plugin_sdk::signaling::RecordingState;
use rillway_plugin_sdk::types::TrackId;
use rillway_recorder::api::Event as RecorderEvent;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Interval, MissedTickBehavior};

use super::books::{self, Books, Problem};
use super::desk::Desk;
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
/// Shortest tick, milliseconds (part of the ABI).
const TICK_MS_LEAST: u32 = 1_000;
/// Longest wanted name, bytes (part of the ABI).
const NAME_BYTES: usize = 128;
/// A track's recording is reported failed at most once in this time: a policy that tries again at once
/// would run in circles.
const FAILURE_INTERVAL: Duration = Duration::from_secs(10);
/// Time an instance has for what is left when its room closed.
const CLOSING_TIME: Duration = Duration::from_secs(10);

/// The answer to a request where no recording policy is configured.
pub(crate) const NO_POLICY: &str =
    "this router records nothing: its `recording.policy` is \"none\"";
const NOT_NOW: &str = "the recording policy is not available now";
const TOO_MANY: &str = "too many recording requests in this room";

/// How a request of a participant ended: done, or what is in the way, for people.
pub(crate) type Outcome = Result<(), String>;

/// A room whose recording a policy decides. When it is dropped, the policy is told that the room closed.
pub(super) struct RecordingRoom {
    state: Rc<State>,
}

/// Between the room and its task.
pub(super) struct State {
    books: Rc<Books>,
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
        desk: &Rc<Desk>,
        retry: Duration,
    ) -> Self {
        let books = Books::new(room.clone(), orders.clone(), desk.clone());
        let state = Rc::new(State {
            books: Rc::new(books),
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
            desk: desk.clone(),
            pace: Pace::new(retry),
            failed: HashMap::new(),
            said: false,
            tick: None,
        };
        desk.task_began();
        let (desk, served) = (desk.clone(), state.clone());
        tokio::task::spawn_local(async move {
            task.run().await;
            desk.task_ended(&served);
        });
        RecordingRoom { state }
    }

    /// Something happened in the room.
    pub(super) fn tell(&self, kind: RoomEventKind) {
        match kind {
            RoomEventKind::RecordingEnded(track) => {
                self.state.books.ended(track);
                self.state.books.announce();
            }
            RoomEventKind::RecordingRefused(track, reason) => {
                self.state.books.refused(track);
                self.state.books.announce();
                let cause = FailureCause::Other;
                self.state.push_failed(track, (cause, reason));
            }
            kind => {
                if let Some(event) = translate::event(kind) {
                    self.state.picture.borrow_mut().apply(&event);
                    self.state.push(Item::Event(event));
                }
            }
        }
    }

    /// The part of the room on a worker is no more: whoever and whatever was there has gone, said or not.
    pub(super) fn forget(&self, worker: id::WorkerId) {
        let (people, tracks) = self.state.picture.borrow().of_worker(worker);
        for track in self.state.books.recorded() {
            if track.worker() == worker {
                self.tell(RoomEventKind::RecordingEnded(track));
            }
        }
        for track in tracks {
            self.tell(RoomEventKind::Unpublished(track));
        }
        for id in people {
            self.tell(RoomEventKind::Left(id));
        }
    }

    /// What is recorded, for people; `None`: nothing.
    pub(super) fn recorded(&self) -> Option<RecordingState> {
        self.state.books.state()
    }

    /// The same for operators.
    pub(super) fn underway(&self) -> Vec<super::Underway> {
        self.state.books.underway()
    }

    /// A participant, or an operator, wants the recording to start or stop.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(super) fn request(
        &self,
        request: Request,
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
        let (answer, outcome) = oneshot::channel();
        self.state.push(Item::Asked(request, answer));
        Ok(outcome)
    }
}

impl Drop for RecordingRoom {
    fn drop(&mut self) {
        self.state.books.close();
        self.state.closed.set(true);
        self.state.news.notify_one();
    }
}

impl State {
    /// The recorder has something to say about a track of this room.
    pub(super) fn on_recorder(&self, event: RecorderEvent) {
        let track = |id: rillway_recorder::api::TrackId| id::TrackId(id.0);
        match event {
            RecorderEvent::Started(id) => {
                self.books.started(track(id));
                self.push(Item::Event(Event::Started(TrackId(id.0))));
            }
            RecorderEvent::KeyframeWanted(id) => self.books.keyframe(track(id)),
            RecorderEvent::Finished(file) => {
                self.books.finished(track(file.track));
                self.push(Item::Event(books::finished(file)));
            }
            RecorderEvent::Failed(id, cause, reason) => {
                self.books.failed(track(id));
                self.books.announce();
                self.push_failed(track(id), (translate::failure(cause), reason));
            }
            _ => {}
        }
    }

    /// Whether the recorder may still say something about a track.
    pub(super) fn expects(&self, track: id::TrackId) -> bool {
        self.books.expects(track)
    }

    /// There is no recorder any more.
    pub(super) fn recorder_ended(&self) {
        self.books.give_up();
        for track in self.books.recorded() {
            self.books.failed(track);
            let reason = "the recorder has ended".to_owned();
            self.push_failed(track, (FailureCause::Unavailable, reason));
        }
        self.books.announce();
        self.news.notify_one();
    }

    fn push_failed(&self, track: id::TrackId, (cause, message): Problem) {
        let track = TrackId(track.0);
        let failure = Failure {
            track,
            cause,
            message,
        };
        self.push(Item::Event(Event::Failed(failure)));
    }

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

    /// After the room closed: the next item, as long as files of it are not complete. `None`: there is none
    /// before the end.
    async fn next_of_end(&self, closed: tokio::time::Instant) -> Option<Item> {
        loop {
            let item = self.queue.borrow_mut().pop_front();
            if item.is_some() {
                return item;
            }
            let until = closed + self.books.patience()?;
            let news = tokio::time::timeout_at(until, self.news.notified());
            if news.await.is_err() {
                return None;
            }
        }
    }

    /// Until the room closed.
    async fn closed(&self) {
        while !self.closed.get() {
            self.news.notified().await;
        }
    }

    /// Forgets what waits. Whoever asked for something hears that nobody decided; the next instance hears of
    /// complete files.
    fn clear(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.retain(|item| matches!(item, Item::Event(Event::Finished(_))));
        self.behind.set(false);
    }

    /// Forgets the events that wait: the next instance begins with the picture, which has them all but those
    /// about files. It answers the requests.
    fn hand_over(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.retain(|item| match item {
            Item::Asked(..) => true,
            Item::Event(event) => matches!(event, Event::Finished(_) | Event::Failed(..)),
        });
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
    desk: Rc<Desk>,
    pace: Pace,
    /// When a start of a track was last answered with its failure.
    failed: HashMap<TrackId, Instant>,
    /// That something is not recorded has been logged.
    said: bool,
    /// As the instance ordered.
    tick: Option<Interval>,
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
        self.tick = None;
        let mut begin = state.picture.borrow().events();
        // Also if that is nothing: so an instance knows that it has the whole picture.
        begin.push(Event::Recording(state.books.ordered()));
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
                () = ticked(&mut self.tick) => Some(Item::Event(Event::Tick)),
            };
            let Some(item) = item else {
                break;
            };
            if state.behind.get() {
                return End::Behind;
            }
            if state.closed.get() {
                state.queue.borrow_mut().push_front(item);
                break;
            }
            if let Err(fault) = self.item(&mut *instance, item).await {
                return End::Fault(fault);
            }
        }
        // A policy that is too slow for its last words loses them.
        let time = CLOSING_TIME + state.books.patience().unwrap_or_default();
        let _ = tokio::time::timeout(time, self.wind_up(&mut *instance)).await;
        End::Closed
    }

    /// The room closed: what waited comes before that, and what became of its files.
    async fn wind_up(&mut self, instance: &mut dyn RecordingInstance) -> Result<(), RuleFault> {
        let closed = tokio::time::Instant::now();
        while let Some(item) = self.state.next_of_end(closed).await {
            self.item(instance, item).await?;
        }
        // Nobody hears what it orders now; its fault costs nothing.
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
                if request.start {
                    self.state.books.asked_by(request.by);
                }
                let event = Event::Requested(request);
                let refusal = self.decide(instance, event).await?;
                // The client may be gone.
                let _ = answer.send(refusal.map_or(Ok(()), Err));
                Ok(())
            }
        }
    }

    /// Has the policy decide, and carries that out. Returns why a start failed, if one did.
    async fn decide(
        &mut self,
        instance: &mut dyn RecordingInstance,
        event: Event,
    ) -> Result<Option<String>, RuleFault> {
        let orders = instance.decide(event).await?;
        if orders.len() > ORDERS_MAX {
            let excess = format!("{} orders in one call", orders.len());
            return Err(RuleFault::Failed(excess));
        }
        self.pace.succeeded();
        let mut refusal = None;
        for order in orders {
            let result = match order {
                Order::Start(start) => match self.start(start).await {
                    Ok(result) => result,
                    Err((_, reason)) => {
                        refusal.get_or_insert(reason);
                        "failed"
                    }
                },
                Order::Stop(track) => {
                    let stopped = self.state.books.end(id::TrackId(track.0)).await;
                    if stopped {
                        self.state.books.announce();
                    }
                    if stopped { "stopped" } else { "idle" }
                }
                Order::TickEveryMs(period_ms) => {
                    self.tick = ticker(period_ms);
                    continue;
                }
            };
            self.orders.recorder.recording_order(result);
        }
        Ok(refusal)
    }

    /// Begins a recording. Returns what became of the order.
    ///
    /// # Errors
    /// Why not, for people; the policy hears of it.
    async fn start(&mut self, start: Start) -> Result<&'static str, Problem> {
        let named = !start.name.is_empty() && start.name.len() <= NAME_BYTES;
        let found = {
            let picture = self.state.picture.borrow();
            let track = picture.track(start.track).filter(|_| named);
            track.map(|track| {
                let identity = picture.identity(track.owner).unwrap_or_default();
                (track.clone(), identity.to_owned())
            })
        };
        let Some((track, identity)) = found.filter(|_| !self.state.closed.get()) else {
            return Ok("refused");
        };
        let id = id::TrackId(track.id.0);
        // The one before this instance may have begun it.
        if self.state.books.is_running(id) {
            return Ok("running");
        }
        let begun = match self.desk.absence() {
            Some(why) => Err((FailureCause::Unavailable, why.to_owned())),
            None => {
                self.desk.expect(id, &self.state);
                self.state.books.begin(start, &track, &identity).await
            }
        };
        if let Err(problem) = &begun {
            self.report_failed(track.id, problem);
        } else {
            self.state.books.announce();
        }
        begun.map(|()| "started")
    }

    /// Answers a start with the failure it is.
    fn report_failed(&mut self, track: TrackId, problem: &Problem) {
        if !std::mem::replace(&mut self.said, true) {
            let (room, reason) = (&*self.room, &*problem.1);
            tracing::warn!(
                room,
                reason,
                "a track is not recorded though the policy wants it"
            );
        }
        let now = Instant::now();
        let recent = |at: &Instant| now.duration_since(*at) < FAILURE_INTERVAL;
        if self.failed.get(&track).is_some_and(recent) {
            return;
        }
        self.failed.retain(|_, at| recent(at));
        self.failed.insert(track, now);
        let (cause, message) = problem.clone();
        let event = Event::Failed(Failure {
            track,
            cause,
            message,
        });
        self.state.push(Item::Event(event));
    }
}

/// A tick of this period; `None`: 0 ends it.
fn ticker(period_ms: u32) -> Option<Interval> {
    let period = Duration::from_millis(period_ms.max(TICK_MS_LEAST).into());
    (period_ms > 0).then(|| {
        let mut ticker = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticker
    })
}

async fn ticked(tick: &mut Option<Interval>) {
    match tick {
        Some(tick) => {
            tick.tick().await;
        }
        None => std::future::pending().await,
    }
}
