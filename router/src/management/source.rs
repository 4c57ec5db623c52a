//! Where the answers come from: handles to the parts of the router.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rillway_core::id::WorkerId;
use rillway_policy::Plugin;
use tokio::sync::watch;

use crate::session::Phase;
use crate::worker::{Window, Worker};

/// The parts of a router that verbs read and change.
pub(crate) struct Sources {
    /// When the process started.
    pub(crate) started: Instant,
    /// Address of HTTP and WebSocket.
    pub(crate) gateway: SocketAddr,
    /// Media workers.
    pub(crate) workers: Vec<WorkerSource>,
    /// Where it is in its life.
    pub(crate) phase: watch::Receiver<Phase>,
    /// The loaded policies, by name.
    pub(crate) plugins: BTreeMap<String, Plugin>,
}

/// A media worker, as far as verbs look at it.
pub(crate) struct WorkerSource {
    /// Which.
    pub(crate) id: WorkerId,
    /// "ring", "mmsg" or "sim".
    pub(crate) driver: &'static str,
    /// Addresses its media comes to.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What it shows.
    pub(crate) window: Window,
}

impl From<&Worker> for WorkerSource {
    fn from(worker: &Worker) -> Self {
        WorkerSource {
            id: worker.id,
            driver: worker.chosen.kind.as_str(),
            addresses: worker.addresses.clone(),
            window: worker.window.clone(),
        }
    }
}

impl Sources {
    /// "serving", "draining" or "closing".
    pub(crate) fn phase(&self) -> &'static str {
        match *self.phase.borrow() {
            Phase::Serving => "serving",
            Phase::Draining(_) => "draining",
            Phase::Closing => "closing",
        }
    }
}
