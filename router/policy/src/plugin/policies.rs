//! What the router asks of a plugin. All of it may be used from any thread and any runtime.

use std::fmt;
use std::sync::Arc;

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};

use super::versions::Version;
use super::{Inner, Plugin};
use crate::error::{Fault, Refusal};
use crate::kind::Kind;
use crate::runtime::actor::{self, Mailbox};
use crate::runtime::instance::{Authentication, Interface, LayerSelection, Recording, Signaling};
use crate::spec::VersionId;
use crate::version::Ticket;

/// Attempts that may wait for each instance of authentication; a waiting one is refused beyond that.
const WAITING_PER_INSTANCE: usize = 64;

/// An instance, of whatever kind.
struct Open<I: Interface> {
    mailbox: Mailbox<I>,
    version: VersionId,
}

impl Inner {
    async fn open<I: Interface>(&self) -> Result<Open<I>, Fault> {
        let version = self.pick();
        self.open_in(&version).await
    }

    async fn open_in<I: Interface>(&self, version: &Arc<Version>) -> Result<Open<I>, Fault> {
        let ticket = Ticket::take(&self.core, &version.core, I::KIND)?;
        Ok(Open {
            mailbox: actor::open(ticket).await?,
            version: version.core.id,
        })
    }
}

macro_rules! debug_as_version {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.version)
            }
        }
    )*};
}

debug_as_version!(SignalingInstance, LayerInstance, RecordingInstance);

/// A signaling protocol.
#[derive(Debug, Clone)]
pub struct SignalingPolicy(pub(super) Plugin);

impl SignalingPolicy {
    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.0
    }

    /// An instance for a client.
    ///
    /// # Errors
    /// [`Fault`]: no instance was made.
    pub async fn open(&self) -> Result<SignalingInstance, Fault> {
        self.0.0.open().await.map(SignalingInstance)
    }
}

/// The signaling of one client. Dropping it ends the instance.
pub struct SignalingInstance(Open<Signaling>);

impl SignalingInstance {
    /// Hands one input over and returns what the router shall do, in order. If the future is dropped, the
    /// call goes on, and its answer is lost.
    ///
    /// # Errors
    /// [`Fault`]. Unless it [was refused](Fault::ends_instance), the instance is gone.
    pub async fn call(&mut self, input: Input) -> Result<Vec<Command>, Fault> {
        self.0.mailbox.call(input).await
    }

    /// The version that it is an instance of.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.0.version
    }
}

/// Decides who may join.
#[derive(Debug, Clone)]
pub struct AuthenticationPolicy(pub(super) Plugin);

impl AuthenticationPolicy {
    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.0
    }

    /// Decides about an attempt. A fault is a denial: nobody gets in because a policy failed.
    ///
    /// # Errors
    /// [`Denial`].
    pub async fn authenticate(&self, attempt: Attempt) -> Result<Grant, Denial> {
        self.authenticate_by(attempt).await.0
    }

    /// The same, with the version that decided.
    pub async fn authenticate_by(&self, attempt: Attempt) -> (Result<Grant, Denial>, VersionId) {
        let version = self.0.0.pick();
        let decision = match self.decide_in(&version, attempt).await {
            Ok(decision) => decision,
            Err(Fault::Refused(Refusal::Rate | Refusal::Busy)) => Err(Denial::Unavailable(
                "too many people are joining; try again".to_owned(),
            )),
            Err(_) => Err(Denial::Unavailable(
                "the decision could not be made; try again".to_owned(),
            )),
        };
        (decision, version.core.id)
    }

    /// The same, with the fault if there was one.
    ///
    /// # Errors
    /// [`Fault`]: no decision was made.
    pub async fn decide(&self, attempt: Attempt) -> Result<Result<Grant, Denial>, Fault> {
        let version = self.0.0.pick();
        self.decide_in(&version, attempt).await
    }

    async fn decide_in(
        &self,
        version: &Arc<Version>,
        attempt: Attempt,
    ) -> Result<Result<Grant, Denial>, Fault> {
        let inner = &self.0.0;
        let limits = version.core.limits(Kind::Authentication);
        let waiting = inner.waiting.enter();
        if waiting.count() > limits.instances.saturating_mul(WAITING_PER_INSTANCE) {
            let fault = Fault::Refused(Refusal::Busy);
            inner.core.kind(Kind::Authentication).counters.fault(&fault);
            return Err(fault);
        }
        // Never closed while the version is held.
        let _place = version.places.acquire().await.map_err(|_| Fault::Gone)?;
        drop(waiting);
        let mailbox = match version.take_idle() {
            Some(mailbox) => mailbox,
            None => inner.open_in::<Authentication>(version).await?.mailbox,
        };
        let decision = mailbox.call(attempt).await;
        version.give_back(mailbox);
        decision
    }
}

/// Chooses layers.
#[derive(Debug, Clone)]
pub struct LayerSelectionPolicy(pub(super) Plugin);

impl LayerSelectionPolicy {
    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.0
    }

    /// An instance for a room.
    ///
    /// # Errors
    /// [`Fault`]: no instance was made.
    pub async fn open(&self) -> Result<LayerInstance, Fault> {
        self.0.0.open().await.map(LayerInstance)
    }
}

/// The layer selection of one room. Dropping it ends the instance.
pub struct LayerInstance(Open<LayerSelection>);

impl LayerInstance {
    /// Chooses; subscriptions that are not named keep what they have. Which subscriptions exist is the
    /// router's to check.
    ///
    /// # Errors
    /// [`Fault`]. Unless it [was refused](Fault::ends_instance), the instance is gone.
    pub async fn choose(&mut self, view: View) -> Result<Decision, Fault> {
        self.0.mailbox.call(view).await
    }

    /// The version that it is an instance of.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.0.version
    }
}

/// Decides what is recorded.
#[derive(Debug, Clone)]
pub struct RecordingPolicy(pub(super) Plugin);

impl RecordingPolicy {
    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.0
    }

    /// An instance for a room. Its first event is [`Event::RoomOpened`].
    ///
    /// # Errors
    /// [`Fault`]: no instance was made.
    pub async fn open(&self) -> Result<RecordingInstance, Fault> {
        self.0.0.open().await.map(RecordingInstance)
    }
}

/// The recording of one room. Dropping it ends the instance.
pub struct RecordingInstance(Open<Recording>);

impl RecordingInstance {
    /// Decides.
    ///
    /// # Errors
    /// [`Fault`]. Unless it [was refused](Fault::ends_instance), the instance is gone.
    pub async fn decide(&mut self, event: Event) -> Result<Vec<Order>, Fault> {
        self.0.mailbox.call(event).await
    }

    /// The version that it is an instance of.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.0.version
    }
}
