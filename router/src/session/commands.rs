//! Carrying out what a plugin asks for.

use std::time::{Duration, Instant};

use rillway_core::id::{self, Reference};
use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::signaling::{self, Action, Command, FailureCode, Frame, Input, Notices};
use rillway_plugin_sdk::types::{Denial, ParticipantId};

use crate::rules::Outcome;

use super::auth::random_identity;
use super::clients::RelayError;
use super::member::{Member, Membership};
use super::{
    Authenticating, Client, Close, End, Phase, PluginFault, Session, check, close, failed, now_ms,
    trail, translate, unavailable,
};

/// Shortest tick, milliseconds (part of the ABI).
const TICK_MS_MIN: u32 = 100;
/// Time the authentication policy has; then the answer is no. Its own budget, a minute at most, ends first.
const AUTHENTICATE_TIMEOUT: Duration = Duration::from_secs(65);

impl Session {
    /// Carries out one command. Returns the answer if it is known at once.
    pub(super) async fn execute(&mut self, command: Command) -> Result<Option<Input>, End> {
        let Command { reference, action } = command;
        if let Err(refusal) = check::check(&action, &self.control.facts().limits) {
            if matches!(action, Action::Send(_) | Action::Respond(_)) {
                return Err(self.fault(&PluginFault::Excess(refusal.message)));
            }
            return Ok(Some(failed(reference, refusal.code, refusal.message)));
        }
        Ok(match action {
            Action::Send(frame) => {
                self.send(frame)?;
                None
            }
            Action::Respond(response) => {
                let Client::Http(requests) = &mut self.client else {
                    let fault = PluginFault::Misused("a response without a request");
                    return Err(self.fault(&fault));
                };
                requests.respond(response);
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
            } => match random_identity() {
                Ok(guest_identity) => self.authenticate(
                    reference,
                    Attempt {
                        scheme,
                        credentials,
                        room,
                        name,
                        remote_address: self.remote_address.clone(),
                        protocol: self.plugin.to_string(),
                        guest_identity,
                        attributes: Vec::new(),
                    },
                ),
                Err(denial) => Some(Input::Denied(denial)),
            },
            Action::Join => self.join(reference).await,
            Action::Leave => {
                self.membership = Membership::Outside;
                None
            }
            Action::Extension(extension) => self.extension(&extension.name),
            Action::Notify(notices) => {
                self.notify(notices);
                None
            }
            Action::SendTo(to, frame) => Some(self.relay(reference, to, frame)),
            Action::RequestRecording(start) => self.request_recording(reference, start),
            about_room => self.request(reference, about_room),
        })
    }

    /// What the plugin wants that its interface has no case for. One that this version does not know is no fault.
    fn extension(&mut self, name: &str) -> Option<Input> {
        self.quiet |= name == signaling::QUIET_DONE;
        None
    }

    fn send(&mut self, frame: Frame) -> Result<(), End> {
        match &mut self.client {
            Client::Socket(outbox) => outbox
                .send(frame)
                .map_err(|_| End::Abort(Close::new(close::EXCESS, "the client reads too slowly"))),
            Client::Http(_) => Err(self.fault(&PluginFault::Misused("a frame over HTTP"))),
        }
    }

    /// Which inputs that come often the plugin wants.
    fn notify(&mut self, notices: Notices) {
        self.notices = notices;
        if let Membership::Inside(member) | Membership::Joining { member, .. } = &self.membership {
            for event in member.notify(notices) {
                self.event(event);
            }
        }
    }

    fn request_recording(&mut self, reference: u64, start: bool) -> Option<Input> {
        let Membership::Inside(member) = &self.membership else {
            return Some(failed(reference, FailureCode::WrongState, "not in a room"));
        };
        if !self
            .grant
            .as_ref()
            .is_some_and(|grant| grant.record_control)
        {
            let message = "the grant does not allow control of the recording";
            return Some(failed(reference, FailureCode::Forbidden, message));
        }
        if self.recording.is_some() {
            let message = "a recording request is under way";
            return Some(failed(reference, FailureCode::WrongState, message));
        }
        match member.request_recording(start) {
            Ok(outcome) => {
                self.recording = Some((reference, outcome));
                None
            }
            Err(problem) => Some(unavailable(reference, problem)),
        }
    }

    /// The recording policy has decided; `None`: it was lost before it did.
    pub(super) fn recorded(&mut self, outcome: Option<Outcome>) {
        let Some((reference, _)) = self.recording.take() else {
            return;
        };
        let lost = Err("the recording policy failed".to_owned());
        let input = match outcome.unwrap_or(lost) {
            Ok(()) => Input::Done { reference },
            Err(problem) => unavailable(reference, &problem),
        };
        self.input(input);
    }

    fn relay(&self, reference: u64, to: ParticipantId, frame: Frame) -> Input {
        let Membership::Inside(member) = &self.membership else {
            return failed(reference, FailureCode::WrongState, "not in a room");
        };
        match member.relay(id::ParticipantId(to.0), frame) {
            Ok(()) => Input::Done { reference },
            Err(RelayError::Unknown) => {
                let message = "no participant of this room by this protocol";
                failed(reference, FailureCode::NotFound, message)
            }
            Err(RelayError::Behind) => {
                let message = "that participant is behind; try again later";
                failed(reference, FailureCode::LimitExceeded, message)
            }
        }
    }

    fn authenticate(&mut self, reference: u64, attempt: Attempt) -> Option<Input> {
        if self.authenticating.is_some() {
            let message = "an authentication is under way";
            return Some(failed(reference, FailureCode::WrongState, message));
        }
        // What an earlier decision allowed does not outlive the wish for another one.
        self.grant = None;
        let room = attempt.room.clone();
        let span = self.trail.asks("authenticate");
        let decision = self.control.authenticator.authenticate(attempt, span);
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
        let mut span = self.trail.asks("worker join");
        match Member::enter(&self.control, &self.plugin, reference, grant).await {
            Ok(member) => {
                // Nothing was received yet.
                member.notify(self.notices);
                self.trail.joining(span, member.worker());
                self.membership = Membership::Joining { reference, member };
                None
            }
            Err(problem) => {
                span.fail(problem);
                Some(unavailable(reference, problem))
            }
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
        if let Action::Unsubscribe(track) = action {
            member.forget_layer(track);
        }
        let question = trail::question(&action);
        let mut span = question.map(|name| self.trail.asks(name));
        let action = translate::action(action)?;
        let (asked, worker) = (
            member.request(Reference(reference), action),
            member.worker(),
        );
        match (asked, &mut span) {
            (Ok(()), Some(span)) => {
                let span = std::mem::take(span);
                self.trail.asked(Reference(reference), span, worker);
                None
            }
            (Ok(()), None) => None,
            (Err(problem), span) => {
                if let Some(span) = span {
                    span.fail(problem);
                }
                Some(unavailable(reference, problem))
            }
        }
    }
}

fn interval(period_ms: u32) -> tokio::time::Interval {
    let period = Duration::from_millis(u64::from(period_ms));
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}
