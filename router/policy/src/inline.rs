//! Plugins without threads and clocks, for simulations.
//!
//! A call runs on its caller and ends there. Its time is counted in fuel, [`FUEL_PER_US`] for each microsecond
//! of its budget, so that a call does the same on every machine, however busy; time and random bytes come from
//! the caller. Equal components, seeds, times and inputs give equal outputs and equal fuel.
//!
//! What a component may do is checked as in the [host](crate::Host), and memory, tables, and what is returned
//! have the same bounds. There are no rates, breakers and reloads, which belong to the clock of the host, and no
//! network: `http.send` answers `failed`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use wasmtime::Engine;

use crate::abi::{Linked, Survey};
use crate::budgets::{Limits, SharedLimits};
use crate::capabilities::clock::{Senses, Told};
use crate::context::{Commons, Context, Grants};
use crate::error::{Fault, HostError, LoadError};
use crate::host::HostConfig;
use crate::kind::Kind;
use crate::load;
use crate::runtime::engine::fuel_engine;
use crate::runtime::instance::{
    Authentication, Instance, Interface, LayerSelection, Pace, Recording, Signaling,
};
use crate::spec::PluginSpec;

pub use crate::runtime::instance::FUEL_PER_US;

/// What all runs of a host have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineConfig {
    /// Of all random bytes. Instances differ: each has its own, by its number in its plugin.
    pub seed: u64,
    /// Unix milliseconds of the caller's zero.
    pub unix_ms: u64,
}

/// Compiles plugins for such runs.
pub struct InlineHost {
    engine: Engine,
    config: InlineConfig,
    bounds: HostConfig,
}

impl fmt::Debug for InlineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InlineHost({:?})", self.config)
    }
}

impl InlineHost {
    /// A host without threads.
    ///
    /// # Errors
    /// [`HostError::Engine`].
    pub fn new(config: InlineConfig) -> Result<InlineHost, HostError> {
        let bounds = HostConfig::default();
        Ok(InlineHost {
            engine: fuel_engine(bounds.instance_memory_bytes)?,
            config,
            bounds,
        })
    }

    /// Loads a plugin, on the caller. Of its budgets those count that bound a call or an instance.
    ///
    /// # Errors
    /// [`LoadError`]. It is not tried: what its first instance does is found out with it.
    pub fn load(&self, spec: &PluginSpec) -> Result<InlinePlugin, LoadError> {
        load::check(spec, &self.bounds)?;
        let compiled = load::compile(&self.engine, spec, &self.bounds)?;
        let shared = SharedLimits::resolve(&spec.budgets);
        Ok(InlinePlugin {
            engine: self.engine.clone(),
            config: self.config.clone(),
            base: Instant::now(),
            commons: Arc::new(Commons::new(&spec.name, &shared, 1)),
            grants: Arc::new(load::grants(spec, None)),
            limits: load::limits(spec),
            linked: compiled.linked,
            survey: compiled.survey,
            opened: AtomicU64::new(0),
        })
    }
}

/// A loaded plugin. Its instances share what it keeps in `kv`.
pub struct InlinePlugin {
    engine: Engine,
    config: InlineConfig,
    base: Instant,
    commons: Arc<Commons>,
    grants: Arc<Grants>,
    limits: [Arc<Limits>; Kind::ALL.len()],
    linked: Linked,
    survey: Survey,
    opened: AtomicU64,
}

impl fmt::Debug for InlinePlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InlinePlugin({})", self.commons.name)
    }
}

impl InlinePlugin {
    /// What it decides.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.survey.kinds
    }

    fn senses(&self, now: Duration) -> Senses {
        let number = self.opened.fetch_add(1, Relaxed);
        let mut seed = [0; 32];
        for (place, word) in seed.chunks_mut(8).zip([self.config.seed, number]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Senses::Told(Box::new(Told {
            base: self.base,
            unix_ms: self.config.unix_ms,
            now,
            random: ChaCha12Rng::from_seed(seed),
        }))
    }

    fn open(&self, kind: Kind, now: Duration) -> Result<Running, Fault> {
        let limits = &self.limits[kind.index()];
        let senses = self.senses(now);
        let context = Context::new(&self.commons, &self.grants, kind, limits, 0, senses);
        let limits = Arc::clone(limits);
        let starting = Instance::start(&self.linked, &self.engine, context, limits, Pace::Fuel);
        Ok(Running {
            instance: Some(at_once(starting)?),
            fuel: 0,
        })
    }
}

/// Runs a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let waited =
        || Fault::Trapped("a host call waited, and there is nothing to wait for".to_owned());
    future.now_or_never().unwrap_or_else(|| Err(waited()))
}

/// An instance of any kind.
struct Running {
    /// Until its first fault.
    instance: Option<Instance>,
    fuel: u64,
}

impl Running {
    fn call<I: Interface>(&mut self, now: Duration, input: I::Input) -> Result<I::Output, Fault> {
        let instance = self.instance.as_mut().ok_or(Fault::Gone)?;
        instance.tell(now);
        let given = instance.fuel_for::<I>(&input);
        let result = at_once(instance.call::<I>(input));
        self.fuel = given.saturating_sub(instance.fuel_left());
        if result.is_err() {
            self.instance = None;
        }
        result
    }
}

macro_rules! instances {
    ($($(#[$doc:meta])* $name:ident, $interface:ident, $open:ident, $input:ty => $output:ty;)*) => {$(
        $(#[$doc])*
        pub struct $name(Running);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl $name {
            /// Calls it, at a time since the caller's zero.
            ///
            /// # Errors
            /// [`Fault`]: the instance is gone. [`Fault::Timeout`] means that its fuel was used up.
            pub fn call(&mut self, now: Duration, input: $input) -> Result<$output, Fault> {
                self.0.call::<$interface>(now, input)
            }

            /// Fuel that the last call used.
            #[must_use]
            pub fn fuel(&self) -> u64 {
                self.0.fuel
            }
        }

        impl InlinePlugin {
            /// An instance, made at a time since the caller's zero.
            ///
            /// # Errors
            /// [`Fault`]: it does not start, or the plugin does not export this kind.
            pub fn $open(&self, now: Duration) -> Result<$name, Fault> {
                self.open($interface::KIND, now).map($name)
            }
        }
    )*};
}

instances! {
    /// The signaling of one client.
    InlineSignaling, Signaling, signaling, Input => Vec<Command>;
    /// Decides who may join.
    InlineAuthentication, Authentication, authentication, Attempt => Result<Grant, Denial>;
    /// The layers of one room.
    InlineLayerSelection, LayerSelection, layer_selection, View => Decision;
    /// The recording of one room.
    InlineRecording, Recording, recording, Event => Vec<Order>;
}
