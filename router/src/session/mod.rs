//! Sessions: one actor per client connection, on the control thread.
//!
//! A session hands its plugin what the client sent and what happened in the room, and carries out
//! the commands that come back, in order. The plugin is not trusted: every command is checked for
//! size (`check.rs`) and for state (here) before anything is done, and the core checks grants. Each
//! command is answered exactly once, as [`Input::Done`] promises.

mod auth;
mod check;
mod clients;
mod connection;
mod factory;
mod member;
mod translate;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::LocalBoxFuture;
use rillway_core::api::{Action as CoreAction, EventKind, Request, TransportState};
use rillway_core::id::{ClientId, Reference, WorkerId};
use rillway_plugin_sdk::signaling::{Action, Command, FailureCode, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use tokio::sync::{mpsc, watch};

use crate::directory::Directory;
use crate::rate::Bucket;
use crate::telemetry::metrics::{GatewayRecorder, Reject};
use crate::worker::ToWorker;

pub(crate) use auth::{Authenticator, Open};
pub(crate) use clients::Clients;
pub(crate) use connection::{
    Close, Connection, Incoming, Outgoing, OutgoingQueue, Peer, close, frame_bytes, pair,
};
pub(crate) use factory::{NativeFactory, PluginFault, SignalingFactory, SignalingInstance};
pub(crate) use translate::JoinFacts;

use auth::Credentials;
use member::{Member, Membership};

/// Commands one call may return: an automatic subscription to every track of a large room fits.
const COMMANDS_MAX: usize = 4_096;
/// Length of a chain of inputs each caused by the answer to the one before, after which the plugin
/// is taken to run in circles.
const CHAIN_MAX: u8 = 16;
/// Shortest tick, milliseconds (part of the ABI).
const TICK_MS_MIN: u32 = 100;
/// Publishing offers and ICE restarts a client may ask for per second, and at once. Each costs its
/// worker about a millisecond, which others in the same core would feel.
const NEGOTIATIONS_PER_SECOND: u32 = 10;
/// Time a worker has to answer a join.
pub(crate) const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time the authentication policy has; then the answer is no.
const AUTHENTICATE_TIMEOUT: Duration = Duration::from_secs(5);
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

/// What all sessions share.
pub(crate) struct Control {
    /// Room placement.
    pub(crate) directory: Box<dyn Directory>,
    /// Queues to the workers, by index.
    pub(crate) workers: Vec<mpsc::Sender<ToWorker>>,
    /// Clients in rooms.
    pub(crate) clients: Clients,
    /// Who may join.
    pub(crate) authenticator: Box<dyn Authenticator>,
    /// What joining clients are told.
    pub(crate) facts: JoinFacts,
    /// The process's life.
    pub(crate) phase: watch::Receiver<Phase>,
    /// Time a worker has to answer a join: [`JOIN_TIMEOUT`] but in tests.
    pub(crate) join_timeout: Duration,
    /// Counts denials, and the time from join to connected.
    pub(crate) recorder: GatewayRecorder,
}

impl Control {
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
    plugin: &'static str,
    instance: Box<dyn SignalingInstance>,
    connection: Connection,
) {
    let phase = control.phase.clone();
    let opened = Input::Opened(connection.opened.clone());
    let mut session = Session {
        control,
        plugin,
        instance,
        connection,
        inputs: VecDeque::from([(opened, 0)]),
        grant: None,
        membership: Membership::Outside,
        authenticating: None,
        tick: None,
        phase,
        draining_told: false,
        negotiations: Bucket::new(NEGOTIATIONS_PER_SECOND, Instant::now()),
    };
    session.run().await;
}

struct Authenticating {
    reference: u64,
    /// The room that was asked for, if one was.
    room: Option<String>,
    decision: LocalBoxFuture<'static, Result<Grant, Denial>>,
}

struct Session {
    control: Rc<Control>,
    plugin: &'static str,
    instance: Box<dyn SignalingInstance>,
    connection: Connection,
    /// Inputs for the plugin, each with the length of the chain that caused it.
    inputs: VecDeque<(Input, u8)>,
    grant: Option<Grant>,
    membership: Membership,
    authenticating: Option<Authenticating>,
    tick: Option<tokio::time::Interval>,
    phase: watch::Receiver<Phase>,
    draining_told: bool,
    negotiations: Bucket,
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
    Event(Option<EventKind>),
    Decided(Result<Grant, Denial>),
    Tick,
    Member,
    Phase,
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
        let reason = match end {
            End::Gone(reason) => reason,
            End::Close(close) => {
                let reason = close.reason.clone();
                self.connection.outbox.close(close);
                reason
            }
            End::Abort(close) => {
                let reason = close.reason.clone();
                self.connection.outbox.abort(close);
                reason
            }
        };
        // The plugin's last word is ignored, its fault too: the connection is over either way.
        let _ = self.instance.call(Input::Closed(reason)).await;
        self.await_closed().await;
    }

    /// Until the gateway has closed the connection, which it does within bounded time.
    async fn await_closed(&mut self) {
        while let Some(Incoming::Frame(_)) = self.connection.incoming.recv().await {}
    }

    /// Hands every waiting input to the plugin and carries out what it asks for.
    async fn deliver(&mut self) -> Result<(), End> {
        while let Some((input, chain)) = self.inputs.pop_front() {
            if chain > CHAIN_MAX {
                return Err(self.fault(&PluginFault::Excess("answers in circles")));
            }
            let commands = match self.instance.call(input).await {
                Ok(commands) if commands.len() <= COMMANDS_MAX => commands,
                Ok(_) => return Err(self.fault(&PluginFault::Excess("commands in one call"))),
                Err(fault) => return Err(self.fault(&fault)),
            };
            for command in commands {
                if let Some(answer) = self.execute(command).await? {
                    self.inputs.push_back((answer, chain + 1));
                }
            }
        }
        Ok(())
    }

    fn fault(&self, fault: &PluginFault) -> End {
        tracing::warn!(plugin = self.plugin, %fault, "signaling plugin fault: client closed");
        End::Abort(Close::new(
            close::PLUGIN_FAULT,
            "fault in the signaling plugin",
        ))
    }

    async fn wait(&mut self) -> Wake {
        let Session {
            connection,
            membership,
            authenticating,
            tick,
            phase,
            ..
        } = self;
        tokio::select! {
            incoming = connection.incoming.recv() => Wake::Incoming(incoming),
            wake = membership.wake() => wake,
            decision = decided(authenticating) => Wake::Decided(decision),
            () = ticked(tick) => Wake::Tick,
            () = changed(phase) => Wake::Phase,
        }
    }

    fn wake(&mut self, wake: Wake) -> Result<(), End> {
        match wake {
            Wake::Incoming(Some(Incoming::Frame(frame))) => self.input(Input::Message(frame)),
            Wake::Incoming(Some(Incoming::Closed(reason))) => return Err(End::Gone(reason)),
            Wake::Incoming(None) => return Err(End::Gone("connection lost".to_owned())),
            Wake::Event(Some(event)) => self.event(event),
            Wake::Event(None) => {
                let close = Close::new(close::EXCESS, "too slow for the events of this room");
                return Err(End::Abort(close));
            }
            Wake::Decided(decision) => self.decided(decision),
            Wake::Tick => self.input(Input::Tick),
            Wake::Member => self.member_timer(),
            Wake::Phase => return self.phase_changed(),
        }
        Ok(())
    }

    fn input(&mut self, input: Input) {
        self.inputs.push_back((input, 0));
    }

    fn event(&mut self, event: EventKind) {
        match (&event, &mut self.membership) {
            (EventKind::Joined { .. }, Membership::Joining { .. }) => self.membership.joined(),
            (EventKind::Failed { .. }, Membership::Joining { .. })
            | (EventKind::Removed { .. }, _) => self.membership = Membership::Outside,
            (
                EventKind::TransportState(_, TransportState::Connected),
                Membership::Inside(member),
            ) => {
                if let Some(took) = member.first_connected() {
                    self.control.recorder.joined(took);
                }
            }
            _ => {}
        }
        let input = translate::input(event, &self.control.facts);
        self.input(input);
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

    /// Carries out one command. Returns the answer if it is known at once.
    async fn execute(&mut self, command: Command) -> Result<Option<Input>, End> {
        let Command { reference, action } = command;
        if let Err(refusal) = check::check(&action, &self.control.facts.limits) {
            if matches!(action, Action::Send(_)) {
                return Err(self.fault(&PluginFault::Excess(refusal.message)));
            }
            return Ok(Some(failed(reference, refusal.code, refusal.message)));
        }
        Ok(match action {
            Action::Send(frame) => {
                self.connection.outbox.send(frame).map_err(|_| {
                    End::Abort(Close::new(close::EXCESS, "the client reads too slowly"))
                })?;
                None
            }
            Action::Close(code, reason) => {
                let code = if check::is_close_code(code) {
                    code
                } else {
                    close::NORMAL
                };
                return Err(End::Close(Close::new(code, reason)));
            }
            Action::TickEveryMs(period_ms) => {
                self.tick = (period_ms > 0).then(|| interval(period_ms.max(TICK_MS_MIN)));
                None
            }
            Action::Authenticate {
                scheme,
                credentials,
                room,
                name,
            } => self.authenticate(
                reference,
                Credentials {
                    scheme,
                    secret: credentials,
                    room,
                    name,
                },
            ),
            Action::Join => self.join(reference).await,
            Action::Leave => {
                self.membership = Membership::Outside;
                None
            }
            // Nobody waits for an HTTP answer yet, and this version knows no extension.
            Action::Respond(_) | Action::Extension(_) => None,
            Action::SendTo(..) => {
                let message = "clients cannot be reached through each other yet";
                Some(failed(reference, FailureCode::Unavailable, message))
            }
            Action::RequestRecording(_) => {
                let message = "this router does not record yet";
                Some(failed(reference, FailureCode::Unavailable, message))
            }
            about_room => self.request(reference, about_room),
        })
    }

    fn authenticate(&mut self, reference: u64, credentials: Credentials) -> Option<Input> {
        if self.authenticating.is_some() {
            let message = "an authentication is under way";
            return Some(failed(reference, FailureCode::WrongState, message));
        }
        // What an earlier decision allowed does not outlive the wish for another one.
        self.grant = None;
        let room = credentials.room.clone();
        let decision = self.control.authenticator.authenticate(credentials);
        self.authenticating = Some(Authenticating {
            reference,
            room,
            decision: Box::pin(async move {
                tokio::time::timeout(AUTHENTICATE_TIMEOUT, decision)
                    .await
                    .unwrap_or_else(|_| Err(Denial::Unavailable("no decision in time".to_owned())))
            }),
        });
        None
    }

    async fn join(&mut self, reference: u64) -> Option<Input> {
        if *self.phase.borrow() != Phase::Serving {
            return Some(unavailable(reference, "the router is draining"));
        }
        if !matches!(self.membership, Membership::Outside) {
            let message = "already in a room, or on the way into one";
            return Some(failed(reference, FailureCode::WrongState, message));
        }
        let Some(grant) = self.grant.clone() else {
            let message = "no grant: authenticate first";
            return Some(failed(reference, FailureCode::Forbidden, message));
        };
        if grant.expires_at_ms.is_some_and(|at| at <= now_ms()) {
            let message = "the grant has expired";
            return Some(failed(reference, FailureCode::Forbidden, message));
        }
        match Member::enter(&self.control, reference, grant).await {
            Ok(member) => {
                self.membership = Membership::Joining { reference, member };
                None
            }
            Err(problem) => Some(unavailable(reference, problem)),
        }
    }

    fn request(&mut self, reference: u64, action: Action) -> Option<Input> {
        let Membership::Inside(member) = &self.membership else {
            let message = "not in a room";
            return Some(failed(reference, FailureCode::WrongState, message));
        };
        let negotiates = matches!(
            action,
            Action::AcceptOffer { .. } | Action::AcceptReceivingOffer { .. } | Action::RestartIce
        );
        if negotiates && !self.negotiations.take(Instant::now()) {
            let message = "too many offers per second";
            return Some(failed(reference, FailureCode::LimitExceeded, message));
        }
        let action = translate::action(action)?;
        member
            .request(Reference(reference), action)
            .err()
            .map(|problem| unavailable(reference, problem))
    }
}

/// The decision of the authentication policy; never, if none was asked for.
async fn decided(authenticating: &mut Option<Authenticating>) -> Result<Grant, Denial> {
    match authenticating {
        Some(asked) => (&mut asked.decision).await,
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

fn interval(period_ms: u32) -> tokio::time::Interval {
    let period = Duration::from_millis(u64::from(period_ms));
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
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
mod tests;
