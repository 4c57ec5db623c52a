//! Components for tests, made in the test from WebAssembly text: no toolchain is needed. Most are hostile.
//!
//! [`component`] makes one of a kind with a [`Behaviour`], [`spec`] what loads it. [`Assembly`] is for
//! whoever wants to write the calls of a component by hand.

mod assemble;
mod behaviour;

pub use assemble::Assembly;
pub use behaviour::{Behaviour, Start};

use crate::budgets::Budgets;
use crate::capabilities::http::Origin;
use crate::kind::{Capability, Kind};
use crate::spec::{PluginSpec, Source};

/// A component that starts and answers as told.
///
/// # Panics
/// The text of a behaviour is wrong: a fault of this module.
#[must_use]
pub fn component(kind: Kind, behaviour: &Behaviour) -> Vec<u8> {
    behaviour::assembly(kind, behaviour).build()
}

/// What loads [`component`]: with every capability granted, the defaults of the kind, and the origin it asks.
#[must_use]
pub fn spec(name: &str, kind: Kind, behaviour: &Behaviour) -> PluginSpec {
    let uri = behaviour::url(behaviour).and_then(|url| url.parse().ok());
    PluginSpec {
        http_origins: uri.and_then(|uri| Origin::of(&uri)).into_iter().collect(),
        ..bytes_spec(name, component(kind, behaviour))
    }
}

/// What loads a component with every capability granted.
#[must_use]
pub fn bytes_spec(name: &str, component: Vec<u8>) -> PluginSpec {
    PluginSpec {
        imports: Capability::ALL.to_vec(),
        budgets: Budgets::default(),
        ..PluginSpec::new(name, Source::Bytes(component.into()))
    }
}
