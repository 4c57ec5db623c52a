//! What a store carries: the host's side of one instance.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crate::budgets::{Limits, SharedLimits};
use crate::capabilities::clock::Senses;
use crate::capabilities::crypto::Keys;
use crate::capabilities::http::{Error, Http, Request, Response, Traffic};
use crate::capabilities::kv::Kv;
use crate::capabilities::log::Log;
use crate::capabilities::metrics::Metrics;
use crate::error::Excess;
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
    pub(crate) traffic: Traffic,
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
            traffic: Traffic::new(limits.http_requests),
            memory: std::array::from_fn(|_| Arc::default()),
            turns: (0..threads).map(|_| Turn::default()).collect(),
        }
    }

    /// Changes what a reload has changed.
    pub(crate) fn set_limits(&self, limits: &SharedLimits) {
        self.log.set_rate(limits.log_lines_per_second);
        self.kv.set_bytes_max(limits.kv_bytes);
        self.traffic.set_at_once(limits.http_requests);
    }
}

/// What instances of one version share.
#[derive(Debug)]
pub(crate) struct Grants {
    /// `plugins.NAME.config`, JSON.
    pub(crate) config: String,
    pub(crate) keys: Keys,
    /// For one that imports `http`.
    pub(crate) http: Option<Http>,
}

/// The data of one store.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) commons: Arc<Commons>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) kind: Kind,
    pub(crate) meter: Meter,
    pub(crate) memory: Memory,
    pub(crate) senses: Senses,
    thread: usize,
    /// Bytes that the call has sent and received over HTTP, and may.
    exchanged_bytes: usize,
    exchanged_bytes_max: usize,
}

impl Context {
    pub(crate) fn new(
        commons: &Arc<Commons>,
        grants: &Arc<Grants>,
        kind: Kind,
        limits: &Limits,
        thread: usize,
        senses: Senses,
    ) -> Context {
        let turn = commons.turns.get(thread).cloned().unwrap_or_default();
        Context {
            commons: Arc::clone(commons),
            grants: Arc::clone(grants),
            kind,
            meter: Meter::new(turn),
            memory: Memory::new(limits, Arc::clone(&commons.memory[kind.index()])),
            senses,
            thread,
            exchanged_bytes: 0,
            exchanged_bytes_max: limits.returned_bytes,
        }
    }

    /// What was sent and received over HTTP since the last question, bytes.
    pub(crate) fn take_exchanged(&mut self) -> usize {
        std::mem::take(&mut self.exchanged_bytes)
    }

    /// Sends a request within the time of the call. An epoch interrupts no host call, so this one bounds
    /// itself; while it waits, the thread runs others.
    ///
    /// # Errors
    /// The call is over: by its time ([`Interrupted`](crate::runtime::meter::Interrupted)), or by its bytes
    /// ([`Excess`]).
    pub(crate) async fn send(
        &mut self,
        request: Request,
    ) -> wasmtime::Result<Result<Response, Error>> {
        let bytes = self.exchanged_bytes.saturating_add(request.bytes());
        if bytes > self.exchanged_bytes_max {
            return Err(Excess::Bytes.into());
        }
        let grants = Arc::clone(&self.grants);
        let Some(http) = &grants.http else {
            let problem = "this host has no network".to_owned();
            return Ok(Err(Error::Failed(problem)));
        };
        let left = self.meter.pause()?;
        let time = match request.timeout_ms {
            0 => left,
            ms => left.min(Duration::from_millis(ms.into())),
        };
        let began = Instant::now();
        let traffic = &self.commons.traffic;
        let exchange = http.send(traffic, self.thread, request, time).await;
        self.exchanged_bytes = self.exchanged_bytes.saturating_add(exchange.bytes);
        self.meter.waited(began.elapsed())?;
        match self.exchanged_bytes > self.exchanged_bytes_max {
            true => Err(Excess::Bytes.into()),
            false => Ok(exchange.result),
        }
    }
}
