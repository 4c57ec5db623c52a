//! Where the answers come from: handles to the parts of the router.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rillway_policy::Plugin;
use tokio::sync::watch;

use crate::session::Phase;

/// The parts of a router that verbs read and change.
pub(crate) struct Sources {
    /// When the process started.
    pub(crate) started: Instant,
    /// Address of HTTP and WebSocket.
    pub(crate) gateway: SocketAddr,
    /// Media workers.
    pub(crate) workers: usize,
    /// Where it is in its life.
    pub(crate) phase: watch::Receiver<Phase>,
    /// The loaded policies, by name.
    pub(crate) plugins: BTreeMap<String, Plugin>,
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
