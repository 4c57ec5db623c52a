//! The worker's loop: wait, then one turn.
//!
//! A turn: receive within a budget → what came from other workers (datagrams that are ours, then
//! crossings) → requests → timers → flush → what goes to other workers → recorded and captured
//! packets → events → an operator's question → counters. The receive
//! budget follows the time turns take, so that under load neither timers nor requests wait for
//! longer than a few milliseconds, and between turns the runtime is given the thread once.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rillway_core::Shard;
use rillway_core::api::{Action, Request, RoomOrder};
use rillway_core::id::{ClientId, Reference, WorkerId};
use rillway_core::limits::Limits;
use rillway_recorder::engine::Tap;
use rillway_ring::{Receiver, Steering, UdpDriver};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::recorder;
use crate::telemetry::metrics::WorkerRecorder;

use super::ask::{Asked, Command, Question};
use super::backlog::Backlog;
use super::capture::{Capture, Captures};
use super::counters::{TurnStats, WorkerStats};
use super::handover::{self, Handover, Letter};
use super::latency::{Latency, Window};
use super::links::Links;
use super::rooms::Rooms;
use super::transmit::RunBuffer;

/// Datagrams one turn receives at least: less would waste the batching the turn exists for.
const BUDGET_MIN: usize = 16;
/// Datagrams one turn receives at most: at 1–3 µs each that is below a millisecond of ingress.
const BUDGET_MAX: usize = 256;
/// Packets of one turn whose latency is measured: a budget and the train it ends in, and what others hand over.
const LATENCIES_MAX: usize = BUDGET_MAX + 64 + handover::TAKEN_PER_TURN;
/// A turn longer than this halves the next one's budget; one shorter than half of it doubles it.
/// Two milliseconds are a tenth of an audio frame.
const TURN_TARGET: Duration = Duration::from_millis(2);
/// Requests one turn handles at most, and the time after which it stops taking more: an offer costs
/// about a millisecond.
const REQUESTS_PER_TURN: usize = 32;
const REQUESTS_TIME: Duration = Duration::from_millis(2);
/// Counters are reported this often.
const REPORT_PERIOD: Duration = Duration::from_secs(1);
/// Waiting events are tried again this often.
const BACKLOG_PERIOD: Duration = Duration::from_millis(5);

/// What the control thread tells a worker.
#[derive(Debug)]
pub(crate) enum ToWorker {
    /// A client's request.
    Request(Request),
    /// What the rules of a room want.
    Room(RoomOrder),
    /// What an operator wants to see.
    Question(Question),
    /// What an operator wants done.
    Command(Command),
    /// What an operator wants to capture.
    Capture(Capture),
    /// Which other workers have parts of a room.
    Parts(Box<str>, Vec<WorkerId>),
    /// Other bounds from now on.
    Limits(Limits),
    /// Flush and end.
    Stop,
}

/// A worker's parts.
pub(crate) struct Turns<D: UdpDriver> {
    pub(crate) driver: D,
    pub(crate) shard: Shard,
    pub(crate) requests: mpsc::Receiver<ToWorker>,
    pub(crate) backlog: Backlog,
    pub(crate) rooms: Rooms,
    pub(crate) window: Window,
    pub(crate) recorder: WorkerRecorder,
    /// To the recorder of tracks, if there is one.
    pub(crate) tap: Option<Tap>,
    /// To and from the other workers.
    pub(crate) links: Links,
    /// To and from those behind the same UDP port.
    pub(crate) handover: Handover,
    /// Tells the kernel which datagrams are ours, where it is permitted.
    pub(crate) steering: Option<Steering>,
}

/// Runs until it is told to stop or the control thread is gone.
///
/// # Errors
/// A fault that ended the driver.
pub(crate) async fn run<D: UdpDriver>(turns: Turns<D>) -> io::Result<()> {
    let now = Instant::now();
    let mut state = Loop {
        turns,
        runs: RunBuffer::new(),
        stats: TurnStats::new(),
        latency: Latency::new(LATENCIES_MAX),
        sleep: Box::pin(tokio::time::sleep(REPORT_PERIOD)),
        sleep_until: now + REPORT_PERIOD,
        pending: None,
        asked: Asked::default(),
        captures: Captures::default(),
        stopping: false,
        busy: false,
        budget: BUDGET_MAX,
        reported: Reported {
            at: now,
            busy: Duration::ZERO,
        },
    };
    let result = state.run().await;
    state.turns.driver.shutdown();
    state.report(Instant::now());
    result
}

struct Reported {
    at: Instant,
    busy: Duration,
}

struct Loop<D: UdpDriver> {
    turns: Turns<D>,
    runs: RunBuffer,
    stats: TurnStats,
    latency: Latency,
    sleep: Pin<Box<Sleep>>,
    sleep_until: Instant,
    /// A request taken while waiting.
    pending: Option<ToWorker>,
    /// Operators' questions, for the end of a turn.
    asked: Asked,
    captures: Captures,
    stopping: bool,
    /// More work is known to be there: do not wait.
    busy: bool,
    budget: usize,
    reported: Reported,
}

impl<D: UdpDriver> Loop<D> {
    async fn run(&mut self) -> io::Result<()> {
        while !self.stopping {
            self.wait().await?;
            let started = Instant::now();
            let datagrams = self.turn(started)?;
            let ended = Instant::now();
            self.account(started, ended, datagrams);
        }
        Ok(())
    }

    /// Waits for the driver, a request or the next timer; with work left over, only lets the
    /// runtime see to its own events.
    async fn wait(&mut self) -> io::Result<()> {
        if self.busy {
            self.busy = false;
            tokio::task::yield_now().await;
            return Ok(());
        }
        let deadline = self.deadline();
        if deadline <= Instant::now() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        if deadline != self.sleep_until {
            self.sleep.as_mut().reset(deadline.into());
            self.sleep_until = deadline;
        }
        poll_fn(|context| self.poll_work(context)).await
    }

    fn deadline(&self) -> Instant {
        let mut deadline = self.reported.at + REPORT_PERIOD;
        if let Some(timeout) = self.turns.shard.poll_timeout() {
            deadline = deadline.min(timeout);
        }
        let turns = &self.turns;
        if turns.backlog.is_waiting() || turns.rooms.is_waiting() || turns.links.is_waiting() {
            deadline = deadline.min(Instant::now() + BACKLOG_PERIOD);
        }
        deadline
    }

    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ready = false;
        match self.turns.driver.poll_ready(context) {
            Poll::Ready(Ok(())) => ready = true,
            Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
            Poll::Pending => {}
        }
        ready |= self.turns.links.poll_ready(context);
        ready |= self.turns.handover.poll_ready(context);
        if let Poll::Ready(request) = self.turns.requests.poll_recv(context) {
            self.pending = Some(request.unwrap_or(ToWorker::Stop));
            ready = true;
        }
        if self.sleep.as_mut().poll(context).is_ready() {
            // Armed again only with another deadline, so force that.
            self.sleep_until = Instant::now();
            ready = true;
        }
        if ready {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// One turn; returns how many datagrams it received.
    fn turn(&mut self, now: Instant) -> io::Result<usize> {
        let mut feed = Feed {
            shard: &mut self.turns.shard,
            latency: &mut self.latency,
            handover: &mut self.turns.handover,
            arrived: None,
            now,
        };
        let datagrams = self.turns.driver.receive(self.budget, &mut feed)?;
        self.busy = datagrams >= self.budget;
        self.turns.handover.wake();
        let datagrams = datagrams + self.handed(now);
        let shard = &mut self.turns.shard;
        self.busy |= self
            .turns
            .links
            .take(|from, crossing| shard.handle_crossing(now, from, crossing));
        self.requests();
        let now = Instant::now();
        if self.turns.shard.poll_timeout().is_some_and(|t| t <= now) {
            self.turns.shard.handle_timeout(now);
        }
        self.turns.handover.claim(self.turns.shard.drain_claims());
        self.route();
        let mut sender = self.runs.sender(&mut self.turns.driver);
        self.turns.shard.flush(now, &mut sender);
        sender.finish()?;
        self.latency.sent();
        self.turns.links.give(self.turns.shard.drain_crossings());
        self.record();
        self.captures.turn(&mut self.turns.shard);
        self.events(now);
        self.asked.answer(&self.turns.shard, now);
        self.busy |= self.asked.is_waiting();
        Ok(datagrams)
    }

    /// Tells the kernel whose clients are ours, where it listens.
    fn route(&mut self) {
        for route in self.turns.shard.drain_routes() {
            let Some(steering) = &self.turns.steering else {
                continue;
            };
            let socket = rillway_ring::SocketId(route.socket.0);
            let told = match route.ours {
                true => steering.take(socket, route.remote),
                false => steering.leave(socket, route.remote),
            };
            if let Err(error) = told {
                // Others hand over what comes to them.
                tracing::debug!(%error, remote = %route.remote, "the kernel does not steer");
            }
        }
    }

    /// Datagrams that came in at other workers; returns how many.
    fn handed(&mut self, now: Instant) -> usize {
        let (shard, latency) = (&mut self.turns.shard, &mut self.latency);
        let (taken, more) = self.turns.handover.take(|from, letter, contents| {
            latency.message(letter.arrived);
            let forwarded = shard.stats().rtp_forwarded;
            shard.handle_handed(now, from, (letter.socket, letter.source), contents);
            if shard.stats().rtp_forwarded != forwarded {
                latency.forwarded();
            }
        });
        self.busy |= more;
        taken
    }

    /// Before the events: when a recording is reported to have ended, all of it is with the recorder.
    fn record(&mut self) {
        let recorded = self.turns.shard.drain_recorded();
        if let Some(tap) = &mut self.turns.tap {
            for packet in recorded {
                let (track, packet) = recorder::packet(packet);
                // It counts what it drops, and asks for a keyframe.
                tap.push(track, packet);
            }
        }
    }

    fn requests(&mut self) {
        let started = Instant::now();
        for handled in 0..REQUESTS_PER_TURN {
            let now = Instant::now();
            if handled > 0 && now.duration_since(started) > REQUESTS_TIME {
                self.busy = true;
                return;
            }
            let next = match self.pending.take() {
                Some(next) => next,
                None => match self.turns.requests.try_recv() {
                    Ok(next) => next,
                    Err(mpsc::error::TryRecvError::Empty) => return,
                    Err(mpsc::error::TryRecvError::Disconnected) => ToWorker::Stop,
                },
            };
            match next {
                ToWorker::Request(request) => {
                    self.stats.requests += 1;
                    self.turns.shard.handle_request(now, request);
                }
                ToWorker::Room(order) => {
                    self.stats.requests += 1;
                    self.turns.shard.handle_order(now, order);
                }
                ToWorker::Question(question) => self.asked.put(question),
                ToWorker::Command(command) => {
                    self.stats.requests += 1;
                    command.carry_out(&mut self.turns.shard, now);
                }
                ToWorker::Capture(capture) => {
                    self.stats.requests += 1;
                    self.captures.begin(&mut self.turns.shard, now, capture);
                }
                ToWorker::Parts(room, others) => {
                    self.turns.shard.set_parts(now, &room, &others);
                }
                ToWorker::Limits(limits) => self.turns.shard.set_limits(now, limits),
                ToWorker::Stop => {
                    self.stopping = true;
                    return;
                }
            }
        }
        self.busy = true;
    }

    fn events(&mut self, now: Instant) {
        if self.turns.backlog.is_waiting() {
            self.turns.backlog.drain();
        }
        while let Some(event) = self.turns.shard.poll_event() {
            self.stats.events += 1;
            if let Some(client) = self.turns.backlog.push(event) {
                self.remove(now, client);
            }
        }
        if self.turns.rooms.is_waiting() {
            for room in self.turns.rooms.drain() {
                self.turns.shard.announce_again(now, room);
            }
        }
        while let Some(event) = self.turns.shard.poll_room_event() {
            self.turns.rooms.push(event);
        }
    }

    /// Takes a client that cannot be reached any more out of its room.
    fn remove(&mut self, now: Instant, client: ClientId) {
        self.busy = true;
        self.turns.shard.handle_request(
            now,
            Request {
                client,
                reference: Reference(0),
                action: Action::Leave,
            },
        );
    }

    fn account(&mut self, started: Instant, ended: Instant, datagrams: usize) {
        let took = ended.duration_since(started);
        self.stats.turn(took, datagrams);
        self.budget = next_budget(self.budget, took);
        if ended.duration_since(self.reported.at) >= REPORT_PERIOD {
            self.report(ended);
        }
    }

    fn report(&mut self, now: Instant) {
        self.captures.tidy(&mut self.turns.shard, now);
        let elapsed = now.duration_since(self.reported.at).as_secs_f64();
        let busy = (self.stats.busy - self.reported.busy).as_secs_f64();
        self.reported = Reported {
            at: now,
            busy: self.stats.busy,
        };
        let stats = WorkerStats {
            turn: self.stats,
            latency: self.latency.coarse(),
            driver: self.turns.driver.stats(),
            shard: *self.turns.shard.stats(),
            transmit: self.runs.stats(),
            backlog: self.turns.backlog.stats(),
            rooms: self.turns.rooms.stats(),
            links: self.turns.links.stats(),
            handover: self.turns.handover.stats(),
            busy_ratio: if elapsed > 0.0 {
                (busy / elapsed).clamp(0.0, 1.0)
            } else {
                0.0
            },
            requests_waiting: self.turns.requests.len(),
        };
        stats.record(&mut self.turns.recorder);
        self.turns.window.show(now, &stats, &self.latency);
    }
}

fn next_budget(budget: usize, took: Duration) -> usize {
    if took > TURN_TARGET {
        (budget / 2).max(BUDGET_MIN)
    } else if took < TURN_TARGET / 2 {
        (budget * 2).min(BUDGET_MAX)
    } else {
        budget
    }
}

/// Hands datagrams of the driver to the shard.
struct Feed<'a> {
    shard: &'a mut Shard,
    latency: &'a mut Latency,
    handover: &'a mut Handover,
    /// When the message that is being taken apart arrived.
    arrived: Option<Duration>,
    now: Instant,
}

impl Receiver for Feed<'_> {
    fn message(&mut self, arrived: Option<Duration>) {
        self.latency.message(arrived);
        self.arrived = arrived;
        let (shard, now) = (&mut *self.shard, self.now);
        self.handover
            .take_claims(|from, claim| shard.handle_claim(now, from, claim));
    }

    fn datagram(&mut self, socket: rillway_ring::SocketId, source: SocketAddr, data: &mut [u8]) {
        let forwarded = self.shard.stats().rtp_forwarded;
        let socket = rillway_core::id::SocketId(socket.0);
        let elsewhere = self.shard.handle_datagram(self.now, socket, source, data);
        if let Some(whose) = elsewhere {
            let letter = Letter {
                socket,
                source,
                arrived: self.arrived,
            };
            self.handover.give(whose, letter, data);
        }
        if self.shard.stats().rtp_forwarded != forwarded {
            self.latency.forwarded();
        }
    }
}

#[cfg(test)]
mod tests;
