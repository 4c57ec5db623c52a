//! What the gateway counts.

use std::time::Duration;

use metrics::{Counter, Gauge};

use super::distribution::Distribution;
use super::registry::Registry;
use super::table;

/// Upper bounds of the join time, seconds: from a quiet machine to one that people complain about.
const JOIN_SECONDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Why a client was refused or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// `gateway.connections_max` were open.
    Full,
    /// The router is shutting down.
    Draining,
    /// No whole request head within `gateway.header_timeout_ms`, or no whole body.
    HeaderTimeout,
    /// A request that is none, or for a path that does not exist.
    BadRequest,
    /// An origin that is not allowed.
    Origin,
    /// No signaling of the wanted subprotocol.
    Subprotocol,
    /// Authentication said no.
    Authentication,
    /// A message over `gateway.message_bytes_max`, or a body of a request that is too long.
    MessageTooLong,
    /// Over `gateway.messages_per_second_max`, or too many requests of one address.
    MessageRate,
    /// A message that is none, or out of order.
    BadMessage,
    /// Silent for `gateway.idle_timeout_ms`.
    Idle,
    /// Did not read what it was sent.
    SlowReader,
}

impl Reject {
    /// Their names as label values, in declaration order.
    pub const NAMES: [&'static str; 12] = [
        "full",
        "draining",
        "header_timeout",
        "bad_request",
        "origin",
        "subprotocol",
        "authentication",
        "message_too_long",
        "message_rate",
        "bad_message",
        "idle",
        "slow_reader",
    ];

    /// Its name as label value, for log lines' `cause` too.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        // As many names as variants, which a test holds.
        Self::NAMES.get(self as usize).copied().unwrap_or("other")
    }
}

/// What became of a client that came back with the key of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resumed {
    /// It went on.
    Yes,
    /// Messages to it were lost: it has to begin anew.
    Gap,
    /// No such session: it began anew.
    Unknown,
}

impl Resumed {
    /// Their names as label values, in declaration order.
    pub const NAMES: [&'static str; 3] = ["resumed", "gap", "unknown"];
}

/// What an HTTP request to a signaling plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestTarget {
    /// A path that makes a client.
    Endpoint,
    /// A client that is there.
    Resource,
}

impl RequestTarget {
    /// Their names as label values, in declaration order.
    pub const NAMES: [&'static str; 2] = ["endpoint", "resource"];
}

/// Handles of the gateway's series.
#[derive(Clone)]
pub struct GatewayRecorder {
    connections: Gauge,
    connections_total: Counter,
    received: Counter,
    received_bytes: Counter,
    sent: Counter,
    sent_bytes: Counter,
    requests: [[Counter; table::STATUS_CLASSES.len()]; RequestTarget::NAMES.len()],
    rejects: [Counter; Reject::NAMES.len()],
    resumptions: [Counter; Resumed::NAMES.len()],
    join_time: Distribution,
}

impl GatewayRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        GatewayRecorder {
            connections: registry.gauge(&table::GATEWAY_CONNECTIONS, &[]),
            connections_total: registry.counter(&table::GATEWAY_CONNECTIONS_TOTAL, &[]),
            received: registry.counter(&table::GATEWAY_MESSAGES, &["received"]),
            received_bytes: registry.counter(&table::GATEWAY_MESSAGE_BYTES, &["received"]),
            sent: registry.counter(&table::GATEWAY_MESSAGES, &["sent"]),
            sent_bytes: registry.counter(&table::GATEWAY_MESSAGE_BYTES, &["sent"]),
            requests: RequestTarget::NAMES.map(|target| {
                table::STATUS_CLASSES
                    .map(|class| registry.counter(&table::GATEWAY_REQUESTS, &[target, class]))
            }),
            rejects: Reject::NAMES.map(|cause| registry.counter(&table::GATEWAY_REJECTS, &[cause])),
            resumptions: Resumed::NAMES
                .map(|result| registry.counter(&table::GATEWAY_RESUMPTIONS, &[result])),
            join_time: registry.distribution(&table::JOIN_TIME, &[], JOIN_SECONDS.to_vec()),
        }
    }

    /// A client connection is open.
    pub fn opened(&self) {
        self.connections.increment(1.0);
        self.connections_total.increment(1);
    }

    /// It is closed.
    pub fn closed(&self) {
        self.connections.decrement(1.0);
    }

    /// A message came.
    pub fn received(&self, bytes: usize) {
        self.received.increment(1);
        self.received_bytes.increment(bytes as u64);
    }

    /// A message went.
    pub fn sent(&self, bytes: usize) {
        self.sent.increment(1);
        self.sent_bytes.increment(bytes as u64);
    }

    /// A request over HTTP was answered with this status.
    pub fn answered(&self, target: RequestTarget, status: u16) {
        // Plugins cannot answer with 1xx.
        let class = usize::from(status / 100).saturating_sub(2);
        let counter = self.requests.get(target as usize);
        if let Some(counter) = counter.and_then(|classes| classes.get(class)) {
            counter.increment(1);
        }
    }

    /// A client was refused or cut off.
    pub fn rejected(&self, cause: Reject) {
        if let Some(counter) = self.rejects.get(cause as usize) {
            counter.increment(1);
        }
    }

    /// A client came back with the key of its session.
    pub fn resumed(&self, result: Resumed) {
        if let Some(counter) = self.resumptions.get(result as usize) {
            counter.increment(1);
        }
    }

    /// A client's first transport is connected, this long after it asked to join.
    pub fn joined(&self, took: Duration) {
        self.join_time.observe(took.as_secs_f64());
    }
}
