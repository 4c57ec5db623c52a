//! What a store carries: the host's side of one instance.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::budgets::{Limits, SharedLimits};
use crate::capabilities::crypto::Keys;
use crate::capabilities::kv::Kv;
use crate::capabilities::log::Log;
use crate::capabilities::metrics::Metrics;
use crate::kind::Kind;
use crate::runtime::memory::Memory;
use crate::runtime::meter::{Meter, Turn};

/// What all instances of one plugin share, whatever their version.
#[derive(Debug)]
pub(crate) struct Commons {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) kv: Kv,
    /// Memory that instances of a kind draw together.
    pub(crate) memory: [Arc<AtomicUsize>; Kind::ALL.len()],
    /// The plugin's turn on each policy thread.
    pub(crate) turns: Vec<Turn>,
}

impl Commons {
    pub(crate) fn new(name: &str, limits: &SharedLimits, threads: usize) -> Commons {
        Commons {
            name: name.to_owned(),
            log: Log::new(limits.log_lines_per_second),
            metrics: Metrics::default(),
            kv: Kv::new(limits.kv_bytes),
            memory: std::array::from_fn(|_| Arc::default()),
            turns: (0..threads).map(|_| Turn::default()).collect(),
        }
    }

    /// Changes what a reload has changed.
    pub(crate) fn set_limits(&self, limits: &SharedLimits) {
        self.log.set_rate(limits.log_lines_per_second);
        self.kv.set_bytes_max(limits.kv_bytes);
    }
}

/// What instances of one version share.
#[derive(Debug)]
pub(crate) struct Grants {
    /// `plugins.NAME.config`, JSON.
    pub(crate) config: String,
    pub(crate) keys: Keys,
}

/// The data of one store.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) commons: Arc<Commons>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) kind: Kind,
    pub(crate) meter: Meter,
    pub(crate) memory: Memory,
}

impl Context {
    pub(crate) fn new(
        commons: &Arc<Commons>,
        grants: &Arc<Grants>,
        kind: Kind,
        limits: &Limits,
        thread: usize,
    ) -> Context {
        let turn = commons.turns.get(thread).cloned().unwrap_or_default();
        Context {
            commons: Arc::clone(commons),
            grants: Arc::clone(grants),
            kind,
            meter: Meter::new(turn),
            memory: Memory::new(limits, Arc::clone(&commons.memory[kind.index()])),
        }
    }
}
