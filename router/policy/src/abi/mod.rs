//! Versions of the ABI. Each has a folder that makes the SDK's values of its own and the other way round;
//! nothing outside of this module knows which version a component was built for.
//!
//! `same` has what all versions have in common: each version compiles those files against bindings of its own.
//!
//! To add one: copy the newest folder, give the copy the present WIT (the older folder gets the frozen copy
//! under `plugin-sdk/wit/released`), put what differs into files of its own, and add it to the two enums and to
//! [`Version`]. `tests/abi` keeps a component of each released version, and `tests/host/abi` shows
//! that what it sees and says has not changed. `docs/plugins/overview.md` has all the steps of a release.

#![allow(
    clippy::duplicate_mod,
    reason = "each version compiles `same` against its own bindings"
)]

#[macro_use]
#[path = "same/actions.rs"]
mod actions;
mod survey;
mod v0_1;
mod v0_2;

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use wasmtime::Store;
use wasmtime::component::Component;

use crate::context::Context;
use crate::kind::{Capability, Kind};

pub(crate) use survey::{Survey, survey};

/// A version of the ABI that the host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V0_1,
    V0_2,
}

impl Version {
    /// Every version, the newest first.
    const ALL: [Version; 2] = [Version::V0_2, Version::V0_1];

    /// As in `rillway:policy@…`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Version::V0_1 => v0_1::VERSION,
            Version::V0_2 => v0_2::VERSION,
        }
    }

    fn from_name(name: &str) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.name() == name)
    }
}

/// A component with what it may import, ready to be instantiated.
pub(crate) enum Linked {
    V0_1(v0_1::Linked),
    V0_2(v0_2::Linked),
}

impl Linked {
    /// Links a component that [`survey`] has found good.
    ///
    /// # Errors
    /// A function of an interface is missing or has another type.
    pub(crate) fn new(
        component: &Component,
        survey: &Survey,
        granted: &[Capability],
    ) -> wasmtime::Result<Linked> {
        match survey.version {
            Version::V0_1 => v0_1::Linked::new(component, &survey.kinds, granted).map(Linked::V0_1),
            Version::V0_2 => v0_2::Linked::new(component, &survey.kinds, granted).map(Linked::V0_2),
        }
    }

    /// An instance that is to be called for `kind`.
    ///
    /// # Errors
    /// What the component did or lacks.
    pub(crate) async fn instantiate(
        &self,
        store: &mut Store<Context>,
        kind: Kind,
    ) -> wasmtime::Result<Entered> {
        match self {
            Linked::V0_1(linked) => linked.instantiate(store, kind).await.map(Entered::V0_1),
            Linked::V0_2(linked) => linked.instantiate(store, kind).await.map(Entered::V0_2),
        }
    }
}

/// An instance. Its methods answer with an error where it traps, is interrupted or returns what is no value.
pub(crate) enum Entered {
    V0_1(v0_1::Entered),
    V0_2(v0_2::Entered),
}

impl Entered {
    pub(crate) async fn start(
        &self,
        store: &mut Store<Context>,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Entered::V0_1(entered) => entered.start(store).await,
            Entered::V0_2(entered) => entered.start(store).await,
        }
    }

    pub(crate) async fn authenticate(
        &self,
        store: &mut Store<Context>,
        attempt: Attempt,
    ) -> wasmtime::Result<Result<Grant, Denial>> {
        match self {
            Entered::V0_1(entered) => entered.authenticate(store, attempt).await,
            Entered::V0_2(entered) => entered.authenticate(store, attempt).await,
        }
    }

    pub(crate) async fn handle(
        &self,
        store: &mut Store<Context>,
        input: Input,
    ) -> wasmtime::Result<Vec<Command>> {
        match self {
            Entered::V0_1(entered) => entered.handle(store, input).await,
            Entered::V0_2(entered) => entered.handle(store, input).await,
        }
    }

    pub(crate) async fn choose(
        &self,
        store: &mut Store<Context>,
        view: View,
    ) -> wasmtime::Result<Decision> {
        match self {
            Entered::V0_1(entered) => entered.choose(store, view).await,
            Entered::V0_2(entered) => entered.choose(store, view).await,
        }
    }

    pub(crate) async fn decide(
        &self,
        store: &mut Store<Context>,
        event: Event,
    ) -> wasmtime::Result<Vec<Order>> {
        match self {
            Entered::V0_1(entered) => entered.decide(store, event).await,
            Entered::V0_2(entered) => entered.decide(store, event).await,
        }
    }
}

fn wrong_kind(kind: Kind) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the instance was not made for {kind}"))
}
