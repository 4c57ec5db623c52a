//! Handles of the plugin host behind the seams of rooms' rules.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_policy::{
    Fault, LayerInstance as Chooser, LayerSelectionPolicy, Plugin, RecordingInstance as Decider,
    RecordingPolicy, Refusal, VersionId,
};

use crate::rules::{
    LayerFactory, LayerInstance, Opening, RecordingFactory, RecordingInstance, RuleFault,
};

/// Calls of one input before a plugin that is called too often counts as suspended. The host lets each wait
/// for a quarter of a second, so that this is two seconds: less than a room waits for its layers.
const ATTEMPTS_MAX: u32 = 4;
/// Between two of them.
const APART: Duration = Duration::from_millis(250);
/// How long a plugin that is called too often, or has too many instances, is left alone by a room.
const RELIEF: Duration = Duration::from_secs(10);

/// A component selects layers; each room has an instance of its own.
pub(super) struct Layers(pub(super) LayerSelectionPolicy);

impl LayerFactory for Layers {
    fn policy(&self) -> Rc<str> {
        self.0.plugin().name().into()
    }

    fn open(&self, _room: &str) -> Opening<dyn LayerInstance> {
        let policy = self.0.clone();
        Box::pin(async move {
            let instance = policy.open().await.map_err(|fault| rule_fault(&fault))?;
            let name = format!("{} {}", policy.plugin().name(), instance.version());
            let room = RoomLayers {
                plugin: policy.plugin().clone(),
                name: name.into(),
                instance,
            };
            Ok(Box::new(room) as Box<dyn LayerInstance>)
        })
    }
}

struct RoomLayers {
    plugin: Plugin,
    name: Arc<str>,
    instance: Chooser,
}

impl LayerInstance for RoomLayers {
    fn policy(&self) -> Arc<str> {
        self.name.clone()
    }

    fn choose(&mut self, view: View) -> LocalBoxFuture<'_, Result<Decision, RuleFault>> {
        Box::pin(patiently(view, async |view| {
            self.instance.choose(view).await
        }))
    }

    fn retired(&self) -> LocalBoxFuture<'static, ()> {
        replaced(&self.plugin, self.instance.version())
    }
}

/// A component decides what is recorded; each room has an instance of its own.
pub(super) struct Recording(pub(super) RecordingPolicy);

impl RecordingFactory for Recording {
    fn policy(&self) -> Rc<str> {
        self.0.plugin().name().into()
    }

    fn open(&self, _room: &str) -> Opening<dyn RecordingInstance> {
        let policy = self.0.clone();
        Box::pin(async move {
            let instance = policy.open().await.map_err(|fault| rule_fault(&fault))?;
            let plugin = policy.plugin().clone();
            Ok(Box::new(RoomRecording { plugin, instance }) as Box<dyn RecordingInstance>)
        })
    }
}

struct RoomRecording {
    plugin: Plugin,
    instance: Decider,
}

impl RecordingInstance for RoomRecording {
    fn decide(&mut self, event: Event) -> LocalBoxFuture<'_, Result<Vec<Order>, RuleFault>> {
        Box::pin(patiently(event, async |event| {
            self.instance.decide(event).await
        }))
    }

    fn retired(&self) -> LocalBoxFuture<'static, ()> {
        replaced(&self.plugin, self.instance.version())
    }
}

/// Clients keep the version of a signaling that they began with. Rooms may last for days, so theirs change.
fn replaced(plugin: &Plugin, version: VersionId) -> LocalBoxFuture<'static, ()> {
    let plugin = plugin.clone();
    Box::pin(async move { plugin.replaced(version).await })
}

/// Calls until it is not refused because the plugin is called too often: neither a view nor an event is lost
/// to a moment in which many rooms have something to say.
async fn patiently<I: Clone, O>(
    input: I,
    mut call: impl AsyncFnMut(I) -> Result<O, Fault>,
) -> Result<O, RuleFault> {
    for _ in 1..ATTEMPTS_MAX {
        match call(input.clone()).await {
            Err(Fault::Refused(Refusal::Rate)) => tokio::time::sleep(APART).await,
            done => return done.map_err(|fault| rule_fault(&fault)),
        }
    }
    call(input).await.map_err(|fault| rule_fault(&fault))
}

fn rule_fault(fault: &Fault) -> RuleFault {
    let retry_after = match fault {
        Fault::Refused(Refusal::BreakerOpen { retry_in }) => *retry_in,
        Fault::Refused(_) => RELIEF,
        fault => return RuleFault::Failed(fault.to_string()),
    };
    RuleFault::Suspended {
        reason: fault.to_string(),
        retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(test)
    }

    #[test]
    fn a_call_that_came_too_early_is_made_again_with_the_same_input() {
        block_on(async {
            let busy = || Fault::Refused(Refusal::Rate);
            let mut calls = 0;
            let done = patiently("view", async |input| {
                calls += 1;
                if calls < 3 { Err(busy()) } else { Ok(input) }
            });
            assert_eq!(done.await, Ok("view"));
            let mut calls = 0;
            let refused = patiently((), async |()| {
                calls += 1;
                Err::<(), _>(busy())
            });
            assert!(matches!(
                refused.await,
                Err(RuleFault::Suspended {
                    retry_after: RELIEF,
                    ..
                })
            ));
            assert_eq!(calls, ATTEMPTS_MAX);
            let mut calls = 0;
            let failed = patiently((), async |()| {
                calls += 1;
                Err::<(), _>(Fault::Gone)
            });
            assert!(matches!(failed.await, Err(RuleFault::Failed(_))));
            assert_eq!(calls, 1, "a fault is final");
        });
    }

    #[test]
    fn an_open_breaker_says_when_it_lets_somebody_in() {
        let retry_in = Duration::from_millis(1_700);
        let fault = Fault::Refused(Refusal::BreakerOpen { retry_in });
        let RuleFault::Suspended {
            reason,
            retry_after,
        } = rule_fault(&fault)
        else {
            panic!("{fault}");
        };
        assert_eq!(retry_after, retry_in);
        assert!(reason.contains("1700 ms"), "{reason}");
    }
}
