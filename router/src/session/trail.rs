//! What of a session is traced (`docs/traces.md`): all of a client's way in, and each negotiation after it.
//!
//! Without tracing, and for clients whose traces are not kept, nothing is measured and nothing kept.

use std::time::SystemTime;

use rillway_core::api::{EventKind, RequestError};
use rillway_core::id::{ParticipantId, Reference, WorkerId};
use rillway_plugin_sdk::signaling::{Action, Command, Input};

use crate::telemetry::traces::{Place, Span};

use super::{PluginFault, SignalingInstance};

/// Spans of one client's way in. A client that never gets there makes no more.
const SPANS_MAX: u16 = 128;
/// Requests to the worker whose answers are waited for.
const ASKED_MAX: usize = 64;

/// How a client came, and where its spans belong.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// Over a WebSocket: open until the client is connected, or gone.
    pub(crate) span: Span,
    pub(crate) place: Place,
}

impl Arrival {
    /// By a request whose span this is; that goes on.
    pub(crate) fn open(span: Span) -> Arrival {
        Arrival {
            place: span.place(),
            span,
        }
    }

    /// By a request that somebody else answers.
    pub(crate) fn within(place: Place) -> Arrival {
        Arrival {
            span: Span::default(),
            place,
        }
    }
}

/// The traced part of a session.
pub(super) struct Trail {
    arrival: Arrival,
    /// No transport of it was connected yet.
    arriving: bool,
    /// Spans that its way in may still have.
    left: u16,
    /// The call whose commands are carried out.
    cause: Place,
    joining: Span,
    connecting: Span,
    asked: Vec<(Reference, Span)>,
}

/// A call of the plugin that is traced.
pub(super) struct Call {
    began: SystemTime,
    input: &'static str,
    /// Of the client's request that it answers, if it does.
    request: Place,
}

impl Trail {
    pub(super) fn new(arrival: Arrival) -> Trail {
        Trail {
            arrival,
            arriving: true,
            left: SPANS_MAX,
            cause: Place::default(),
            joining: Span::default(),
            connecting: Span::default(),
            asked: Vec::new(),
        }
    }

    /// The plugin is about to be called; `None`: that is not traced.
    pub(super) fn begin(&self, input: &Input, request: Place) -> Option<Call> {
        if !self.arrival.place.is_kept() && !request.is_kept() {
            return None;
        }
        Some(Call {
            began: SystemTime::now(),
            input: kind(input)?,
            request,
        })
    }

    /// It was called. What it asked for is traced below that.
    pub(super) fn called(
        &mut self,
        call: Option<Call>,
        plugin: &str,
        instance: &dyn SignalingInstance,
        result: &Result<Vec<Command>, PluginFault>,
    ) {
        self.cause = Place::default();
        let Some(call) = call else {
            return;
        };
        let name = format!("signaling {}", call.input);
        let negotiates = |commands: &Vec<Command>| {
            let mut commands = commands.iter();
            commands.any(|command| question(&command.action).is_some())
        };
        let mut span = if call.request.is_kept() {
            call.request.since(call.began, name)
        } else if self.arriving {
            self.left = self.left.saturating_sub(1);
            match self.left {
                0 => Span::default(),
                _ => self.arrival.place.since(call.began, name),
            }
        } else if result.as_ref().is_ok_and(negotiates) {
            // The client has long arrived: what it does now is no part of that.
            self.arrival.place.follow(call.began, name)
        } else {
            Span::default()
        };
        if !span.is_kept() {
            return;
        }
        span.set_text("rillway.plugin", plugin);
        span.set_text("rillway.plugin.version", &instance.version());
        span.set("rillway.input", call.input);
        match result {
            Ok(commands) => {
                let count = i64::try_from(commands.len()).unwrap_or(i64::MAX);
                span.set("rillway.commands", count);
            }
            Err(PluginFault::Unavailable(_)) => span.fail("unavailable"),
            Err(_) => span.fail("plugin fault"),
        }
        self.cause = span.place();
    }

    /// An operation that the plugin's last call asked for.
    pub(super) fn asks(&self, name: &'static str) -> Span {
        self.cause.span(name)
    }

    /// The worker was asked for a place.
    pub(super) fn joining(&mut self, mut span: Span, worker: WorkerId) {
        span.set("rillway.worker", i64::from(worker.0));
        self.joining = span;
    }

    /// It gave none.
    pub(super) fn not_joined(&mut self, why: &'static str) {
        let mut span = std::mem::take(&mut self.joining);
        span.fail(why);
    }

    /// The worker was asked for something else.
    pub(super) fn asked(&mut self, reference: Reference, mut span: Span, worker: WorkerId) {
        if span.is_kept() && self.asked.len() < ASKED_MAX {
            span.set("rillway.worker", i64::from(worker.0));
            self.asked.push((reference, span));
        }
    }

    /// What the worker says.
    pub(super) fn hear(&mut self, event: &EventKind) {
        match event {
            EventKind::Joined { me, .. } => self.joined(me.id),
            EventKind::Answer { reference, .. } | EventKind::Done { reference } => {
                self.answered(*reference, None);
            }
            EventKind::Failed { reference, error } => {
                self.answered(*reference, Some(refusal(error)));
            }
            EventKind::Removed { .. } => self.asked.clear(),
            _ => {}
        }
    }

    fn joined(&mut self, me: ParticipantId) {
        let mut span = std::mem::take(&mut self.joining);
        // Numbers of participants are the router's own; `rillway participant ls` has them.
        span.set(
            "rillway.participant",
            i64::try_from(me.0).unwrap_or(i64::MAX),
        );
    }

    fn answered(&mut self, reference: Reference, refused: Option<&'static str>) {
        let place = self.asked.iter().position(|(asked, _)| *asked == reference);
        let Some(place) = place else {
            return;
        };
        let (_, mut span) = self.asked.swap_remove(place);
        match refused {
            Some(why) => span.fail(why),
            // Now it is up to client and worker, by ICE and DTLS.
            None if self.arriving && !self.connecting.is_kept() => {
                self.connecting = self.arrival.place.span("transport connect");
            }
            None => {}
        }
    }

    /// A transport is connected, the first one.
    pub(super) fn connected(&mut self) {
        self.arriving = false;
        self.connecting.end();
        self.arrival.span.set("rillway.connected", true);
        self.arrival.span.end();
    }
}

/// Inputs that belong to a client's way in, or may lead to a negotiation.
fn kind(input: &Input) -> Option<&'static str> {
    Some(match input {
        Input::Opened(_) => "opened",
        Input::Message(_) => "message",
        Input::Request(_) => "request",
        Input::Granted(_) => "granted",
        Input::Denied(_) => "denied",
        Input::Joined { .. } => "joined",
        Input::Answer { .. } => "answer",
        Input::Offer { .. } => "offer",
        Input::Failed { .. } => "failed",
        Input::Removed(_) => "removed",
        Input::TransportState(..) => "transport-state",
        _ => return None,
    })
}

/// What a worker is asked, where its answer is waited for.
pub(super) fn question(action: &Action) -> Option<&'static str> {
    Some(match action {
        Action::AcceptOffer { .. } => "worker accept-offer",
        Action::AcceptReceivingOffer { .. } => "worker accept-receiving-offer",
        Action::AcceptAnswer { .. } => "worker accept-answer",
        Action::RestartIce => "worker restart-ice",
        Action::Subscribe(_) => "worker subscribe",
        _ => return None,
    })
}

/// Why, without what: it may quote what the client sent.
fn refusal(error: &RequestError) -> &'static str {
    match error {
        RequestError::Forbidden(_) => "forbidden",
        RequestError::NotFound(_) => "not found",
        RequestError::Invalid(_) => "invalid",
        RequestError::Limit(_) => "limit",
        RequestError::WrongState(_) => "wrong state",
        _ => "internal",
    }
}
