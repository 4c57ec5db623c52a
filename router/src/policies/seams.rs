//! Handles of the plugin host behind the session's seams.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use rillway_policy::{AuthenticationPolicy, Fault, SignalingInstance as Instance, SignalingPolicy};

use crate::session::{Authenticator, PluginFault, SignalingFactory, SignalingInstance};
use crate::telemetry::traces::Span;

/// A component decides who may join.
pub(super) struct Authentication(pub(super) AuthenticationPolicy);

impl Authenticator for Authentication {
    fn authenticate(
        &self,
        attempt: Attempt,
        mut span: Span,
    ) -> LocalBoxFuture<'static, Result<Grant, Denial>> {
        let policy = self.0.clone();
        Box::pin(async move {
            let (decision, version) = policy.authenticate_by(attempt).await;
            if span.is_kept() {
                span.set_text("rillway.plugin", policy.plugin().name());
                span.set_text("rillway.plugin.version", &version.to_string());
                span.set("rillway.outcome", outcome(&decision));
            }
            if matches!(decision, Err(Denial::Unavailable(_))) {
                span.fail("no decision");
            }
            decision
        })
    }
}

/// A decision without its text, which may quote what the client sent.
fn outcome(decision: &Result<Grant, Denial>) -> &'static str {
    match decision {
        Ok(_) => "granted",
        Err(Denial::Unauthenticated(_)) => "unauthenticated",
        Err(Denial::Forbidden(_)) => "forbidden",
        Err(Denial::OverQuota(_)) => "over quota",
        Err(Denial::Unavailable(_)) => "unavailable",
    }
}

/// A component speaks to clients; each has an instance of its own.
pub(super) struct Signaling {
    name: Rc<str>,
    policy: SignalingPolicy,
}

impl Signaling {
    pub(super) fn new(policy: SignalingPolicy) -> Self {
        Signaling {
            name: policy.plugin().name().into(),
            policy,
        }
    }
}

impl SignalingFactory for Signaling {
    fn plugin(&self) -> Rc<str> {
        self.name.clone()
    }

    fn open(&self) -> LocalBoxFuture<'static, Result<Box<dyn SignalingInstance>, PluginFault>> {
        let policy = self.policy.clone();
        Box::pin(async move {
            let instance = policy.open().await.map_err(|error| fault(&error))?;
            Ok(Box::new(Client(instance)) as Box<dyn SignalingInstance>)
        })
    }
}

struct Client(Instance);

impl SignalingInstance for Client {
    fn call(&mut self, input: Input) -> LocalBoxFuture<'_, Result<Vec<Command>, PluginFault>> {
        Box::pin(async move { self.0.call(input).await.map_err(|error| fault(&error)) })
    }

    fn version(&self) -> String {
        self.0.version().to_string()
    }
}

fn fault(fault: &Fault) -> PluginFault {
    match fault {
        Fault::Refused(_) => PluginFault::Unavailable(fault.to_string()),
        fault => PluginFault::Host(fault.to_string()),
    }
}
