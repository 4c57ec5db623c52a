//! What calls cost: the same calls again and again on a policy thread, past rates, breakers and counters.

use std::sync::Arc;
use std::time::Duration;

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::View;
use rillway_plugin_sdk::recording::Event;
use rillway_plugin_sdk::signaling::Input;
use tokio::sync::oneshot;

use super::Plugin;
use crate::error::Fault;
use crate::kind::Kind;
use crate::runtime::instance::{
    Authentication, Instance, Interface, LayerSelection, Pace, Recording, Signaling,
};
use crate::runtime::threads::Task;
use crate::version::{PluginCore, VersionCore};

/// Calls of one kind, in order, for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// Of authentication.
    Authentication(Vec<Attempt>),
    /// Of signaling: the inputs of one client.
    Signaling(Vec<Input>),
    /// Of layer selection: views of one room.
    LayerSelection(Vec<View>),
    /// Of recording: the events of one room.
    Recording(Vec<Event>),
}

impl Calls {
    /// Which kind they are of.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Calls::Authentication(_) => Kind::Authentication,
            Calls::Signaling(_) => Kind::Signaling,
            Calls::LayerSelection(_) => Kind::LayerSelection,
            Calls::Recording(_) => Kind::Recording,
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Calls::Authentication(calls) => calls.len(),
            Calls::Signaling(calls) => calls.len(),
            Calls::LayerSelection(calls) => calls.len(),
            Calls::Recording(calls) => calls.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How often, and by which clock.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Instances, one after the other.
    pub instances: usize,
    /// How often each gets all the calls.
    pub repeats: usize,
    /// Time that the calling thread has used so far: processor time tells the plugin from its neighbours.
    pub clock: fn() -> Duration,
}

/// What calls cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    /// Making each instance, with its `lifecycle.start`.
    pub starts: Vec<Duration>,
    /// Each call, in order.
    pub calls: Vec<Duration>,
    /// Linear memory of the largest instance, bytes.
    pub memory_bytes_max: usize,
}

impl Plugin {
    /// Calls new instances of the present version on a policy thread and measures each call. Budgets of time
    /// and memory hold; rates, breakers and counters are left alone.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub async fn measure(&self, calls: Calls, rounds: Rounds) -> Result<Measured, Fault> {
        let (core, version) = (Arc::clone(&self.0.core), self.0.stable());
        let seat = core.host.threads.seat().ok_or(Fault::Gone)?;
        let (tasks, thread) = (seat.tasks(), seat.thread);
        let (done, measured) = oneshot::channel();
        let task: Task = Box::new(move || {
            Box::pin(async move {
                let subject = Subject {
                    core,
                    version,
                    thread,
                    rounds,
                };
                let result = match calls {
                    Calls::Authentication(calls) => subject.measure::<Authentication>(&calls).await,
                    Calls::Signaling(calls) => subject.measure::<Signaling>(&calls).await,
                    Calls::LayerSelection(calls) => subject.measure::<LayerSelection>(&calls).await,
                    Calls::Recording(calls) => subject.measure::<Recording>(&calls).await,
                };
                drop(seat);
                // Whoever asked may have gone.
                let _ = done.send(result);
            })
        });
        tasks.send(task).await.map_err(|_| Fault::Gone)?;
        measured.await.unwrap_or(Err(Fault::Gone))
    }
}

struct Subject {
    core: Arc<PluginCore>,
    version: Arc<VersionCore>,
    thread: usize,
    rounds: Rounds,
}

impl Subject {
    async fn measure<I: Interface>(&self, calls: &[I::Input]) -> Result<Measured, Fault>
    where
        I::Input: Clone,
    {
        let clock = self.rounds.clock;
        let mut measured = Measured::default();
        for _ in 0..self.rounds.instances {
            let began = clock();
            let mut instance = self.instance::<I>().await?;
            measured.starts.push(clock().saturating_sub(began));
            for _ in 0..self.rounds.repeats {
                for call in calls {
                    let call = call.clone();
                    let began = clock();
                    let answer = instance.call::<I>(call).await;
                    measured.calls.push(clock().saturating_sub(began));
                    drop(answer?);
                }
            }
            measured.memory_bytes_max = measured.memory_bytes_max.max(instance.memory_bytes());
            drop(instance);
            // The host may want to end.
            tokio::task::yield_now().await;
        }
        Ok(measured)
    }

    async fn instance<I: Interface>(&self) -> Result<Instance, Fault> {
        let version = &self.version;
        let context = version.context(&self.core.commons, I::KIND, self.thread);
        let limits = Arc::clone(version.limits(I::KIND));
        let host = &self.core.host;
        let tick = host.tick.clone();
        Instance::start(
            &version.linked,
            &host.engine,
            context,
            limits,
            Pace::Ticks(tick),
        )
        .await
    }
}
