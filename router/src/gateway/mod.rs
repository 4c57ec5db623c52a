//! HTTP and WebSocket for clients. The gateway moves frames and requests and enforces limits; it knows
//! no signaling protocol.
//!
//! Limits meet a client in this order: connections (503), time for the request head (408); then for a
//! WebSocket origin (403), subprotocol (400), clients (503), and size, rate and silence of messages
//! (close codes 4008 and 4009); for a request rate (429), headers (431), size (413) and time (408) of
//! the body, clients (503), and time for the answer (504).

mod http;
mod origin;
pub(crate) mod page;
mod rates;
mod requests;
mod resources;
mod resume;
mod routes;
mod socket;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::session::{Connection, Phase};
use crate::telemetry::metrics::GatewayRecorder;
use crate::telemetry::traces::{Span, Traces};

pub(crate) use http::serve;

/// Counts a client as connected while it lives.
struct Open(GatewayRecorder);

impl Open {
    fn new(recorder: &GatewayRecorder) -> Self {
        recorder.opened();
        Open(recorder.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// TCP connections that are not WebSockets (yet): page loads, health probes, clients on their way up.
/// A thousand clients that never finish their request head leave room for those that do.
const HTTP_CONNECTIONS_MAX: usize = 4_096;

/// The most clients that any configuration lets in (`gateway.connections_max`).
const CLIENTS_EVER: usize = 1_000_000;

/// A path that leads to a signaling plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Request path; over HTTP everything below it too.
    pub(crate) path: String,
    /// WebSocket subprotocol clients must offer; `None`: plain HTTP.
    pub(crate) subprotocol: Option<String>,
}

/// How the gateway is set up.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Signaling plugins, by the index that accepted connections carry.
    pub(crate) routes: Vec<Route>,
    /// Serve the built-in page.
    pub(crate) page: bool,
    /// Clients at once: WebSocket connections, and resources over HTTP.
    pub(crate) connections_max: usize,
    /// Longest message of a client, bytes.
    pub(crate) message_bytes_max: usize,
    /// Longest body of a request, bytes.
    pub(crate) body_bytes_max: usize,
    /// Messages a client may send per second; the burst is one second's worth.
    pub(crate) messages_per_second_max: u32,
    /// Time between pings.
    pub(crate) ping_interval: Duration,
    /// Silence after which a client is gone.
    pub(crate) idle_timeout: Duration,
    /// Time for a whole request head.
    pub(crate) header_timeout: Duration,
    /// Time a client has to come back whose WebSocket broke; zero: none.
    pub(crate) resume: Duration,
    /// Who may connect from a web page.
    pub(crate) origins: origin::Policy,
}

pub(crate) use origin::{Policy as OriginPolicy, is_same as is_same_origin};

/// A client connection for the session side, with the index of its route.
pub(crate) struct Accepted {
    /// Index into [`Settings::routes`].
    pub(crate) route: usize,
    /// Its session's end.
    pub(crate) connection: Connection,
}

/// What all connections of the gateway share.
pub(crate) struct Gateway {
    /// Replaced by a reload; whoever begins something takes those of that moment.
    settings: RwLock<Arc<Settings>>,
    phase: watch::Receiver<Phase>,
    accepted: mpsc::Sender<Accepted>,
    /// One permit per client.
    clients: Arc<Semaphore>,
    /// One permit per TCP connection that is no WebSocket.
    connections: Arc<Semaphore>,
    /// Clients that can go on with another WebSocket.
    sessions: resume::Sessions,
    /// Clients over HTTP.
    resources: resources::Resources,
    rates: rates::Rates,
    workers_alive: Arc<AtomicUsize>,
    recorder: GatewayRecorder,
    traces: Traces,
}

impl Gateway {
    /// A gateway that hands its connections to `accepted`.
    pub(crate) fn new(
        settings: Settings,
        phase: watch::Receiver<Phase>,
        accepted: mpsc::Sender<Accepted>,
        workers_alive: Arc<AtomicUsize>,
        (recorder, traces): (GatewayRecorder, Traces),
    ) -> Self {
        let clients = Arc::new(Semaphore::new(CLIENTS_EVER));
        Gateway {
            settings: RwLock::new(Arc::new(settings)),
            phase,
            accepted,
            clients,
            connections: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)),
            sessions: resume::Sessions::default(),
            resources: resources::Resources::default(),
            rates: rates::Rates::default(),
            workers_alive,
            recorder,
            traces,
        }
    }

    /// As it is set up now.
    fn settings(&self) -> Arc<Settings> {
        // Nothing can be left half-done in it, here and below.
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other settings from now on, with the routes of before.
    pub(crate) fn set(&self, settings: Settings) {
        let routes = self.settings().routes.clone();
        let settings = Arc::new(Settings { routes, ..settings });
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// A place for one more client; `None`: as many are connected as may be.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let permit = self.clients.clone().try_acquire_owned().ok()?;
        (self.clients_open() <= self.settings().connections_max).then_some(permit)
    }

    /// Clients connected now.
    pub(crate) fn clients_open(&self) -> usize {
        CLIENTS_EVER.saturating_sub(self.clients.available_permits())
    }

    /// Waits until every client has gone.
    pub(crate) async fn clients_gone(&self) {
        let all = u32::try_from(CLIENTS_EVER).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.clients.acquire_many(all).await;
    }

    /// What traces its clients.
    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Begins the span of a request below a route (the semantic conventions of HTTP).
    fn span(&self, method: &Method, route: &str, headers: &HeaderMap) -> Span {
        let place = self.traces.arrival(headers);
        if !place.is_kept() {
            return Span::default();
        }
        // Clients may invent methods; what a span is called must not grow with that.
        let method = match method.as_str() {
            known @ ("GET" | "POST" | "PATCH" | "DELETE" | "OPTIONS" | "HEAD" | "PUT") => known,
            _ => "_OTHER",
        };
        let mut span = place.request(format!("{method} {route}"));
        span.set_text("http.request.method", method);
        span.set_text("http.route", route);
        span
    }

    fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Why the router should get no new clients now.
    fn unready(&self) -> Option<&'static str> {
        if !self.is_serving() {
            Some("draining\n")
        } else if self.workers_alive.load(Ordering::Relaxed) == 0 {
            Some("no media worker is running\n")
        } else {
            None
        }
    }

    /// Hands a connection to the session side; false if that is behind.
    fn hand_over(&self, route: usize, connection: Connection) -> bool {
        let accepted = Accepted { route, connection };
        self.accepted.try_send(accepted).is_ok()
    }
}

/// Says how a request was answered.
fn answered(span: &mut Span, status: StatusCode) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail("answered with an error");
    }
}
