//! Components of one version: linked, instantiated, called.

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use wasmtime::Store;
use wasmtime::component::{Component, InstancePre, Linker};

use super::bindings::exports::rillway::policy::{
    authentication, layer_selection, lifecycle, recording, signaling,
};

use super::{imports, recording as events, view as views};
use crate::abi::wrong_kind;
use crate::context::Context;
use crate::kind::{Capability, Kind};

/// A component with what it may import, ready to be instantiated.
pub(crate) struct Linked {
    instance: InstancePre<Context>,
    lifecycle: lifecycle::GuestIndices,
    authentication: Option<authentication::GuestIndices>,
    signaling: Option<signaling::GuestIndices>,
    layer_selection: Option<layer_selection::GuestIndices>,
    recording: Option<recording::GuestIndices>,
}

impl Linked {
    pub(in crate::abi) fn new(
        component: &Component,
        kinds: &[Kind],
        granted: &[Capability],
    ) -> wasmtime::Result<Linked> {
        let mut linker = Linker::new(component.engine());
        imports::link(&mut linker, granted)?;
        let instance = linker.instantiate_pre(component)?;
        let has = |kind| kinds.contains(&kind);
        let pre = &instance;
        Ok(Linked {
            lifecycle: lifecycle::GuestIndices::new(pre)?,
            authentication: has(Kind::Authentication)
                .then(|| authentication::GuestIndices::new(pre))
                .transpose()?,
            signaling: has(Kind::Signaling)
                .then(|| signaling::GuestIndices::new(pre))
                .transpose()?,
            layer_selection: has(Kind::LayerSelection)
                .then(|| layer_selection::GuestIndices::new(pre))
                .transpose()?,
            recording: has(Kind::Recording)
                .then(|| recording::GuestIndices::new(pre))
                .transpose()?,
            instance,
        })
    }

    /// An instance that is to be called for `kind`. Checks the types of that interface.
    pub(in crate::abi) async fn instantiate(
        &self,
        store: &mut Store<Context>,
        kind: Kind,
    ) -> wasmtime::Result<Entered> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        let missing = || wrong_kind(kind);
        let interface = match kind {
            Kind::Authentication => {
                let indices = self.authentication.as_ref().ok_or_else(missing)?;
                Interface::Authentication(indices.load(&mut *store, &instance)?)
            }
            Kind::Signaling => {
                let indices = self.signaling.as_ref().ok_or_else(missing)?;
                Interface::Signaling(indices.load(&mut *store, &instance)?)
            }
            Kind::LayerSelection => {
                let indices = self.layer_selection.as_ref().ok_or_else(missing)?;
                Interface::LayerSelection(indices.load(&mut *store, &instance)?)
            }
            Kind::Recording => {
                let indices = self.recording.as_ref().ok_or_else(missing)?;
                Interface::Recording(indices.load(&mut *store, &instance)?)
            }
        };
        let lifecycle = self.lifecycle.load(&mut *store, &instance)?;
        Ok(Entered {
            lifecycle,
            interface,
        })
    }
}

/// An instance.
pub(crate) struct Entered {
    lifecycle: lifecycle::Guest,
    interface: Interface,
}

enum Interface {
    Authentication(authentication::Guest),
    Signaling(signaling::Guest),
    LayerSelection(layer_selection::Guest),
    Recording(recording::Guest),
}

impl Entered {
    pub(in crate::abi) async fn start(
        &self,
        store: &mut Store<Context>,
    ) -> wasmtime::Result<Result<(), String>> {
        self.lifecycle.call_start(store).await
    }

    pub(in crate::abi) async fn authenticate(
        &self,
        store: &mut Store<Context>,
        attempt: Attempt,
    ) -> wasmtime::Result<Result<Grant, Denial>> {
        let Interface::Authentication(guest) = &self.interface else {
            return Err(wrong_kind(Kind::Authentication));
        };
        let decision = guest.call_authenticate(store, &attempt.into()).await?;
        Ok(decision.map(Grant::from).map_err(Denial::from))
    }

    pub(in crate::abi) async fn handle(
        &self,
        store: &mut Store<Context>,
        input: Input,
    ) -> wasmtime::Result<Vec<Command>> {
        let Interface::Signaling(guest) = &self.interface else {
            return Err(wrong_kind(Kind::Signaling));
        };
        let commands = guest.call_handle(store, &input.into()).await?;
        Ok(commands.into_iter().map(Command::from).collect())
    }

    pub(in crate::abi) async fn choose(
        &self,
        store: &mut Store<Context>,
        view: View,
    ) -> wasmtime::Result<Decision> {
        let Interface::LayerSelection(guest) = &self.interface else {
            return Err(wrong_kind(Kind::LayerSelection));
        };
        let decision = guest.call_choose(store, &view.into()).await?;
        Ok(views::decision(decision))
    }

    pub(in crate::abi) async fn decide(
        &self,
        store: &mut Store<Context>,
        event: Event,
    ) -> wasmtime::Result<Vec<Order>> {
        let Interface::Recording(guest) = &self.interface else {
            return Err(wrong_kind(Kind::Recording));
        };
        let Some(event) = events::event(event) else {
            // This version does not know of it.
            return Ok(Vec::new());
        };
        let orders = guest.call_decide(store, &event).await?;
        Ok(orders.into_iter().map(Order::from).collect())
    }
}
