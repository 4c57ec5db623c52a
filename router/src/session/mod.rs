//! Sessions: one actor per client, a WebSocket connection or an HTTP resource, on the control thread.
//!
//! A session hands its plugin what the client sent and what happened in the room, and carries out
//! the commands that come back, in order. The plugin is not trusted: every command is checked for
//! size (`check.rs`) and for state (here) before anything is done, and the core checks grants. Each
//! command is answered exactly once, as [`Input::Done`] promises, but for successes that the plugin does
//! not want to hear of.

mod auth;
mod check;
mod clients;
mod commands;
mod connection;
mod factory;
mod member;
mod requests;
mod trail;
mod translate;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::LocalBoxFuture;
use rillway_core::api::{Action as CoreAction, EventKind, Request, TransportState};
use rillway_core::id::{ClientId, Reference, WorkerId};
use rillway_plugin_sdk::signaling::{FailureCode, Input, Notices, QUIET};
use rillway_plugin_sdk::types::{Denial, Grant, ParticipantId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::directory::Directory;
use crate::rate::Bucket;
use crate::rules::{Outcome, Rules};
use crate::telemetry::metrics::{GatewayRecorder, Reject};
use crate::telemetry::traces::Place;
use crate::worker::ToWorker;

pub(crate) use auth::Authenticator;
#[cfg(test)]
pub(crate) use auth::Open;
pub(crate) use clients::Clients;
#[cfg(test)]
pub(crate) use clients::Company;
pub(crate) use connection::{
    Answer, Close, Connection, Exchange, Incoming, Outgoing, OutgoingQueue, Peer, close,
    frame_bytes, pair, resource,
};
pub(crate) use factory::{PluginFault, SignalingFactory, SignalingInstance};
pub(crate) use requests::{ANSWER_TIME, IDLE_TIME};
pub(crate) use trail::Arrival;
pub(crate) use translate::{
    JoinFacts, participant as participant_for_plugins, track as track_for_plugins,
};

pub(crate) use clients::Mail;
use connection::{Outbox, Way};
use member::Membership;
use requests::Requests;
use trail::Trail;

/// Commands one call may return: an automatic subscription to every track of a large room fits.
const COMMANDS_MAX: usize = 4_096;
/// Length of a chain of inputs each caused by the answer to the one before, after which the plugin
/// is taken to run in circles.
const CHAIN_MAX: u8 = 16;
/// Publishing offers and ICE restarts a client may ask for per second, and at once. Each costs its
/// worker about a millisecond, which others in the same core would feel.
const NEGOTIATIONS_PER_SECOND: u32 = 10;
/// Time a worker has to answer a join.
pub(crate) const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// A grant's expiry is compared with the wall clock at least this often, because that clock may be
/// set while we wait by another one.
const EXPIRY_CHECK: Duration = Duration::from_secs(15);

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everybody is welcome.
    Serving,
    /// Clients are told to leave until this moment; nobody new gets in.
    Draining(Instant),
    /// Connections are being closed.
    Closing,
}

impl Phase {
    /// Its word, as operators see it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Serving => "serving",
            Phase::Draining(_) => "draining",
            Phase::Closing => "closing",
        }
    }
}

/// What all sessions share.
pub(crate) struct Control {
    /// Room placement.
    pub(crate) directory: Box<dyn Directory>,
    /// Queues to the workers, by index.
    pub(crate) workers: Vec<mpsc::Sender<ToWorker>>,
    /// Clients in rooms.
    pub(crate) clients: Rc<Clients>,
    /// Policies of rooms.
    pub(crate) rules: Rc<Rules>,
    /// Who may join.
    pub(crate) authenticator: Box<dyn Authenticator>,
    /// What joining clients are told; a reload replaces it.
    pub(crate) facts: RefCell<Rc<JoinFacts>>,
    /// The process's life.
    pub(crate) phase: watch::Receiver<Phase>,
    /// Time a worker has to answer a join: [`JOIN_TIMEOUT`] but in tests.
    pub(crate) join_timeout: Duration,
    /// Time a client over HTTP may have nothing to do: [`IDLE_TIME`] but in tests.
    pub(crate) idle_time: Duration,
    /// Counts denials, and the time from join to connected.
    pub(crate) recorder: GatewayRecorder,
}

impl Control {
    /// What joining clients are told now.
    fn facts(&self) -> Rc<JoinFacts> {
        self.facts.borrow().clone()
    }

    fn worker(&self, worker: WorkerId) -> Option<&mpsc::Sender<ToWorker>> {
        self.workers.get(usize::from(worker.0))
    }
}

/// Hands leaves over that found their worker's queue full.
pub(crate) async fn deliver_leaves(control: Rc<Control>) {
    loop {
        let (worker, client) = control.clients.late_leave().await;
        if let Some(queue) = control.worker(worker) {
            // An error means that the worker is gone, and the client's place with it.
            let _ = queue.send(leave(client)).await;
        }
    }
}

fn leave(client: ClientId) -> ToWorker {
    ToWorker::Request(Request {
        client,
        reference: Reference(0),
        action: CoreAction::Leave,
    })
}

/// Runs a session until its connection is gone.
pub(crate) async fn run(
    control: Rc<Control>,
    plugin: Rc<str>,
    instance: Box<dyn SignalingInstance>,
    connection: Connection,
) {
    let Connection {
        opened,
        incoming,
        way,
        arrival,
    } = connection;
    let phase = control.phase.clone();
    let client = match way {
        Way::Socket(outbox) => Client::Socket(outbox),
        Way::Requests => Client::Http(Requests::new(control.idle_time)),
    };
    let mut session = Session {
        control,
        plugin,
        instance,
        incoming,
        client,
        remote_address: ip_address(&opened.remote_address),
        inputs: VecDeque::from([(Input::Opened(opened), 0, Place::default())]),
        grant: None,
        membership: Membership::Outside,
        authenticating: None,
        recording: None,
        tick: None,
        phase,
        draining_told: false,
        negotiations: Bucket::new(NEGOTIATIONS_PER_SECOND, Instant::now()),
        notices: Notices::default(),
        quiet: false,
        trail: Trail::new(arrival),
    };
    session.run().await;
}

/// Authentication gets no port: it would tell one client from itself.
fn ip_address(address: &str) -> String {
    match address.parse::<std::net::SocketAddr>() {
        Ok(address) => address.ip().to_canonical().to_string(),
        Err(_) => address.to_owned(),
    }
}

/// Ends a connection that got no instance of its plugin.
pub(crate) async fn refuse(plugin: &str, fault: &PluginFault, connection: Connection) {
    let close = closing(plugin, fault);
    let mut arrival = connection.arrival;
    arrival.span.fail("no instance of the plugin");
    let mut incoming = connection.incoming;
    match connection.way {
        Way::Socket(mut outbox) => {
            outbox.abort(close);
            while incoming.recv().await.is_some() {}
        }
        Way::Requests => {
            incoming.close();
            while let Some(message) = incoming.recv().await {
                if let Incoming::Request(exchange) = message {
                    let _ = exchange.answer.send(Answer::of(&close));
                }
            }
        }
    }
}

/// Logs a fault; returns how the client is closed for it.
fn closing(plugin: &str, fault: &PluginFault) -> Close {
    tracing::warn!(plugin, %fault, "signaling plugin fault: client closed");
    match fault {
        PluginFault::Unavailable(_) => Close::new(
            close::UNAVAILABLE,
            "the signaling plugin takes no clients now: try later",
        ),
        _ => Close::new(close::PLUGIN_FAULT, "fault in the signaling plugin"),
    }
}

/// How the client is reached.
enum Client {
    Socket(Outbox),
    Http(Requests),
}

struct Authenticating {
    reference: u64,
    /// The room that was asked for, if one was.
    room: Option<String>,
    decision: LocalBoxFuture<'static, Result<Grant, Denial>>,
}

struct Session {
    control: Rc<Control>,
    plugin: Rc<str>,
    instance: Box<dyn SignalingInstance>,
    incoming: mpsc::Receiver<Incoming>,
    client: Client,
    /// IP address as the gateway saw it.
    remote_address: String,
    /// Inputs for the plugin, each with the length of the chain that caused it, and where its span belongs if it
    /// has a place of its own.
    inputs: VecDeque<(Input, u8, Place)>,
    grant: Option<Grant>,
    membership: Membership,
    authenticating: Option<Authenticating>,
    /// The recording request under way: its command, and the policy's answer.
    recording: Option<(u64, oneshot::Receiver<Outcome>)>,
    tick: Option<tokio::time::Interval>,
    phase: watch::Receiver<Phase>,
    draining_told: bool,
    negotiations: Bucket,
    /// Which inputs that come often the plugin wants.
    notices: Notices,
    /// It does not want to hear that quiet commands were carried out.
    quiet: bool,
    trail: Trail,
}

/// Why a session stops handing inputs to its plugin.
enum End {
    /// The gateway says that the connection is gone.
    Gone(String),
    /// We close it, after what was queued before.
    Close(Close),
    /// We close it at once.
    Abort(Close),
}

/// What a session waits for.
enum Wake {
    Incoming(Option<Incoming>),
    Mail(Option<Mail>),
    Decided(Result<Grant, Denial>),
    /// The recording policy answered, or was lost.
    Recording(Option<Outcome>),
    Tick,
    Member,
    Phase,
    /// A client over HTTP may have been idle for too long.
    Idle,
}

impl Session {
    async fn run(&mut self) {
        let end = loop {
            if let Err(end) = self.deliver().await {
                break end;
            }
            let wake = self.wait().await;
            if let Err(end) = self.wake(wake) {
                break end;
            }
        };
        self.membership = Membership::Outside;
        let reason = self.end(end);
        // The plugin's last word is ignored, its fault too: the connection is over either way.
        let _ = self.instance.call(Input::Closed(reason)).await;
        self.await_closed().await;
    }

    /// Tells the client that the session is over; returns why.
    fn end(&mut self, end: End) -> String {
        let (close, at_once) = match end {
            End::Gone(reason) => return reason,
            End::Close(close) => (close, false),
            End::Abort(close) => (close, true),
        };
        let reason = close.reason.clone();
        match &mut self.client {
            Client::Socket(outbox) if at_once => outbox.abort(close),
            Client::Socket(outbox) => outbox.close(close),
            Client::Http(requests) => {
                // What the plugin was handed and did not answer is its fault, whatever else it meant.
                requests.end(&|| Answer::of(&close));
                // Those that the plugin has not seen are answered by the session's end alone.
                let unseen = || match close.code {
                    close::GOING_AWAY | close::PLUGIN_FAULT | close::UNAVAILABLE => {
                        Answer::of(&close)
                    }
                    _ => Answer::Gone,
                };
                self.incoming.close();
                while let Ok(incoming) = self.incoming.try_recv() {
                    if let Incoming::Request(exchange) = incoming {
                        let _ = exchange.answer.send(unseen());
                    }
                }
            }
        }
        reason
    }

    /// Until the gateway has closed the connection, which it does within bounded time.
    async fn await_closed(&mut self) {
        while let Some(Incoming::Frame(_) | Incoming::Request(_)) = self.incoming.recv().await {}
    }

    /// Hands every waiting input to the plugin and carries out what it asks for.
    async fn deliver(&mut self) -> Result<(), End> {
        while let Some((input, chain, place)) = self.inputs.pop_front() {
            if chain > CHAIN_MAX {
                return Err(self.fault(&PluginFault::Excess("answers in circles")));
            }
            if matches!(input, Input::Done { reference } if self.quiet && reference & QUIET != 0) {
                continue;
            }
            let call = self.trail.begin(&input, place);
            let result = self.instance.call(input).await;
            self.trail
                .called(call, &self.plugin, &*self.instance, &result);
            let commands = match result {
                Ok(commands) if commands.len() <= COMMANDS_MAX => commands,
                Ok(_) => return Err(self.fault(&PluginFault::Excess("commands in one call"))),
                Err(fault) => return Err(self.fault(&fault)),
            };
            for command in commands {
                if let Some(answer) = self.execute(command).await? {
                    let answer = (answer, chain + 1, Place::default());
                    self.inputs.push_back(answer);
                }
            }
        }
        Ok(())
    }

    fn fault(&self, fault: &PluginFault) -> End {
        End::Abort(closing(&self.plugin, fault))
    }

    async fn wait(&mut self) -> Wake {
        let idle = self.idle_check();
        let Session {
            incoming,
            membership,
            authenticating,
            recording,
            tick,
            phase,
            ..
        } = self;
        tokio::select! {
            incoming = incoming.recv() => Wake::Incoming(incoming),
            wake = membership.wake() => wake,
            decision = decided(authenticating) => Wake::Decided(decision),
            outcome = recorded(recording) => Wake::Recording(outcome),
            () = ticked(tick) => Wake::Tick,
            () = changed(phase) => Wake::Phase,
            () = member::sleep_until(idle) => Wake::Idle,
        }
    }

    /// When to look whether a client over HTTP has been idle for too long.
    fn idle_check(&mut self) -> Option<Instant> {
        let inside = !matches!(self.membership, Membership::Outside);
        match &mut self.client {
            Client::Socket(_) => None,
            Client::Http(requests) => requests.idle_check(inside, Instant::now()),
        }
    }

    fn wake(&mut self, wake: Wake) -> Result<(), End> {
        match wake {
            Wake::Incoming(Some(Incoming::Frame(frame))) => self.input(Input::Message(frame)),
            Wake::Incoming(Some(Incoming::Request(exchange))) => self.asked(exchange),
            Wake::Incoming(Some(Incoming::Closed(reason))) => return Err(End::Gone(reason)),
            Wake::Incoming(None) => return Err(End::Gone("connection lost".to_owned())),
            Wake::Mail(Some(Mail::Event(event))) => self.event(event),
            Wake::Mail(Some(Mail::Relayed(from, frame))) => {
                self.input(Input::Relayed(ParticipantId(from.0), frame));
            }
            Wake::Mail(Some(Mail::Recording(state))) => self.input(Input::Recording(state)),
            Wake::Mail(Some(Mail::Move(within))) => self.input(Input::Draining {
                within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
                url: None,
            }),
            Wake::Mail(None) => {
                let close = Close::new(close::EXCESS, "too slow for the events of this room");
                return Err(End::Abort(close));
            }
            Wake::Decided(decision) => self.decided(decision),
            Wake::Recording(outcome) => self.recorded(outcome),
            Wake::Tick => self.input(Input::Tick),
            Wake::Member => self.member_timer(),
            Wake::Phase => return self.phase_changed(),
            Wake::Idle => return self.idle(),
        }
        Ok(())
    }

    fn asked(&mut self, exchange: Exchange) {
        let place = exchange.place.clone();
        if let Client::Http(requests) = &mut self.client
            && let Some(request) = requests.admit(exchange, Instant::now())
        {
            self.inputs.push_back((Input::Request(request), 0, place));
        }
    }

    fn idle(&self) -> Result<(), End> {
        match &self.client {
            Client::Http(requests) if requests.is_idle(Instant::now()) => {
                let reason = "in no room, and nothing was asked for";
                Err(End::Close(Close::new(close::IDLE, reason)))
            }
            _ => Ok(()),
        }
    }

    fn input(&mut self, input: Input) {
        self.inputs.push_back((input, 0, Place::default()));
    }

    fn event(&mut self, event: EventKind) {
        let joined = matches!(event, EventKind::Joined { .. });
        self.trail.hear(&event);
        match (&event, &mut self.membership) {
            (EventKind::Joined { me, .. }, Membership::Joining { .. }) => {
                self.membership.joined(me.id);
            }
            (EventKind::Failed { .. }, Membership::Joining { .. })
            | (EventKind::Removed { .. }, _) => {
                self.membership = Membership::Outside;
                self.trail.not_joined("refused");
            }
            (
                EventKind::TransportState(_, TransportState::Connected),
                Membership::Inside(member),
            ) => {
                if let Some(took) = member.first_connected() {
                    self.control.recorder.joined(took);
                    self.trail.connected();
                }
            }
            _ => {}
        }
        let expires_at_ms = match &self.membership {
            Membership::Inside(member) => member.expires_at_ms(),
            _ => None,
        };
        let input = translate::input(event, &self.control.facts(), expires_at_ms);
        self.input(input);
        if joined
            && let Membership::Inside(member) = &self.membership
            && let Some(state) = member.recorded()
        {
            self.input(Input::Recording(state));
        }
    }

    fn decided(&mut self, decision: Result<Grant, Denial>) {
        let Some(asked) = self.authenticating.take() else {
            return;
        };
        let decision = decision.and_then(|grant| {
            match auth::check_grant(&grant, asked.room.as_deref(), now_ms()) {
                Ok(()) => Ok(grant),
                Err(problem) => {
                    tracing::warn!(
                        problem,
                        reference = asked.reference,
                        "grant refused by the host"
                    );
                    Err(Denial::Unavailable("the grant is not valid".to_owned()))
                }
            }
        });
        match decision {
            Ok(grant) => {
                self.grant = Some(grant.clone());
                self.input(Input::Granted(grant));
            }
            Err(denial) => {
                self.control.recorder.rejected(Reject::Authentication);
                self.input(Input::Denied(denial));
            }
        }
    }

    /// A join that took too long, or a grant that ran out.
    fn member_timer(&mut self) {
        match &mut self.membership {
            Membership::Outside => {}
            Membership::Joining { reference, .. } => {
                let reference = *reference;
                self.membership = Membership::Outside;
                self.trail.not_joined("no answer");
                self.input(unavailable(reference, "the media worker did not answer"));
            }
            Membership::Inside(member) => {
                if member.expired(now_ms()) {
                    self.membership = Membership::Outside;
                    self.grant = None;
                    self.input(Input::Removed("the grant has expired".to_owned()));
                }
            }
        }
    }

    fn phase_changed(&mut self) -> Result<(), End> {
        let phase = *self.phase.borrow_and_update();
        match phase {
            Phase::Serving => Ok(()),
            Phase::Draining(until) if !self.draining_told => {
                self.draining_told = true;
                let left = until.saturating_duration_since(Instant::now());
                let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                self.input(Input::Draining {
                    within_ms: left_ms,
                    url: None,
                });
                Ok(())
            }
            Phase::Draining(_) => Ok(()),
            Phase::Closing => Err(End::Close(Close::new(
                close::GOING_AWAY,
                "the router is going away",
            ))),
        }
    }
}

/// The decision of the authentication policy; never, if none was asked for.
async fn decided(authenticating: &mut Option<Authenticating>) -> Result<Grant, Denial> {
    match authenticating {
        Some(asked) => (&mut asked.decision).await,
        None => std::future::pending().await,
    }
}

/// The answer to the recording request under way; never, if there is none.
async fn recorded(asked: &mut Option<(u64, oneshot::Receiver<Outcome>)>) -> Option<Outcome> {
    match asked {
        Some((_, outcome)) => outcome.await.ok(),
        None => std::future::pending().await,
    }
}

/// A new phase; never again, once the process is being torn down.
async fn changed(phase: &mut watch::Receiver<Phase>) {
    if phase.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn ticked(tick: &mut Option<tokio::time::Interval>) {
    match tick {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn failed(reference: u64, code: FailureCode, message: &str) -> Input {
    Input::Failed {
        reference,
        code,
        message: message.to_owned(),
    }
}

fn unavailable(reference: u64, message: &str) -> Input {
    failed(reference, FailureCode::Unavailable, message)
}

/// Unix milliseconds by the wall clock.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;
