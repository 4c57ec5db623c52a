//! A client's place in a room.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_core::api::{Action, EventKind, Request};
use rillway_core::id::{self, ClientId, ParticipantId, Reference, WorkerId};
use rillway_plugin_sdk::signaling::{Frame, Notices, RecordingState};
use rillway_plugin_sdk::types::{Grant, TrackId};
use tokio::sync::{mpsc, oneshot};

use crate::directory::{Comer, Lease};
use crate::rules::Outcome;
use crate::worker::ToWorker;

use super::clients::{Company, Mailbox, RelayError};
use super::{Control, EXPIRY_CHECK, Wake, leave, now_ms, translate};

/// Whether a session's client is in a room.
pub(super) enum Membership {
    /// It is not.
    Outside,
    /// The worker was asked.
    Joining {
        /// The command to answer.
        reference: u64,
        /// The place, not confirmed yet.
        member: Member,
    },
    /// It is.
    Inside(Member),
}

impl Membership {
    /// The worker has confirmed the place.
    pub(super) fn joined(&mut self, me: ParticipantId) {
        *self = match std::mem::replace(self, Membership::Outside) {
            Membership::Joining { mut member, .. } => {
                member.me = Some(me);
                Membership::Inside(member)
            }
            other => other,
        };
    }

    /// The next event of the room (`None` when the session fell behind), or the moment when the
    /// join is overdue or the expiry of the grant is to be looked at. Never, outside.
    pub(super) async fn wake(&mut self) -> Wake {
        let (member, timer) = match self {
            Membership::Outside => return std::future::pending().await,
            Membership::Joining { member, .. } => {
                let overdue = member.asked_at + member.control.join_timeout;
                (member, Some(overdue))
            }
            Membership::Inside(member) => {
                let look = member.expires_at_ms.map(|at| {
                    let left = Duration::from_millis(at.saturating_sub(now_ms()));
                    Instant::now() + left.min(EXPIRY_CHECK)
                });
                (member, look)
            }
        };
        tokio::select! {
            mail = member.mailbox.next() => Wake::Mail(mail),
            () = sleep_until(timer) => Wake::Member,
        }
    }
}

/// At this moment; never, if there is none.
pub(super) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// A place in a room; dropping it leaves the room, whatever the reason.
pub(super) struct Member {
    control: Rc<Control>,
    client: ClientId,
    lease: Lease,
    mailbox: Mailbox,
    room: Box<str>,
    /// Who it is, once the worker said so.
    me: Option<ParticipantId>,
    asked_at: Instant,
    connected: bool,
    expires_at_ms: Option<u64>,
}

impl Member {
    /// When its grant ends, Unix milliseconds.
    pub(super) fn expires_at_ms(&self) -> Option<u64> {
        self.expires_at_ms
    }

    /// Finds the room's worker and asks it for a place.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(super) async fn enter(
        control: &Rc<Control>,
        plugin: &Rc<str>,
        reference: u64,
        grant: Grant,
    ) -> Result<Member, &'static str> {
        let comer = Comer {
            identity: &grant.identity,
            name: grant.name.as_deref(),
        };
        let lease = control
            .directory
            .place(&grant.room, comer)
            .await
            .map_err(|_| "no media worker is running")?;
        let company = Company {
            plugin: plugin.clone(),
            room: grant.room.as_str().into(),
        };
        let (client, mailbox) = control.clients.add(lease.worker(), company);
        let member = Member {
            control: control.clone(),
            client,
            lease,
            mailbox,
            room: grant.room.as_str().into(),
            me: None,
            asked_at: Instant::now(),
            connected: false,
            expires_at_ms: grant.expires_at_ms,
        };
        let join = Action::Join {
            grant: translate::grant(grant),
            joined_at_ms: now_ms(),
        };
        member.request(Reference(reference), join)?;
        Ok(member)
    }

    /// The worker of the room.
    pub(super) fn worker(&self) -> WorkerId {
        self.lease.worker()
    }

    /// Asks the worker for something.
    ///
    /// # Errors
    /// What is in the way, for people; nothing was asked then.
    pub(super) fn request(&self, reference: Reference, action: Action) -> Result<(), &'static str> {
        let queue = self
            .control
            .worker(self.lease.worker())
            .ok_or("this room's media worker does not exist")?;
        let request = Request {
            client: self.client,
            reference,
            action,
        };
        queue
            .try_send(ToWorker::Request(request))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => "the media worker is overloaded",
                mpsc::error::TrySendError::Closed(_) => "the media worker has ended",
            })
    }

    /// Which events that come often are wanted; returns those to begin with.
    pub(super) fn notify(&self, notices: Notices) -> Vec<EventKind> {
        self.control.clients.notify(self.client, notices)
    }

    /// A track is received no more.
    pub(super) fn forget_layer(&self, track: TrackId) {
        let track = id::TrackId(track.0);
        self.control.clients.forget_layer(self.client, track);
    }

    /// Asks the room's recording policy to start or stop.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(super) fn request_recording(
        &self,
        start: bool,
    ) -> Result<oneshot::Receiver<Outcome>, &'static str> {
        let me = self.me.ok_or("not in a room")?;
        self.control.rules.request_recording(&self.room, me, start)
    }

    /// What is recorded in the room; `None`: nothing.
    pub(super) fn recorded(&self) -> Option<RecordingState> {
        self.control.rules.recorded(&self.room)
    }

    /// Hands a frame to another client of the same plugin in this room.
    ///
    /// # Errors
    /// [`RelayError`].
    pub(super) fn relay(&self, to: ParticipantId, frame: Frame) -> Result<(), RelayError> {
        self.control.clients.relay(self.client, to, frame)
    }

    /// Time from the join to the first connected transport; `None` for every later one.
    pub(super) fn first_connected(&mut self) -> Option<Duration> {
        let first = !self.connected;
        self.connected = true;
        first.then(|| self.asked_at.elapsed())
    }

    /// Whether the grant has run out.
    pub(super) fn expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.control.clients.remove(self.client);
        let worker = self.lease.worker();
        let Some(queue) = self.control.worker(worker) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(leave(self.client)) {
            self.control.clients.leave_late(worker, self.client);
        }
    }
}
