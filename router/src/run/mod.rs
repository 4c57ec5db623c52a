//! Putting the parts together: bind everything, start the workers, serve, drain, end.

mod clock;
mod control;
mod cores;
mod drain;
pub(crate) mod errands;
mod feed;
mod public;
mod reload;
mod replace;
mod settings;
mod supervisor;
mod watch;

pub(crate) use public::learn as learn_public_addresses;
pub(crate) use reload::{Current, InForce, NewText, Reload, ReloadError};
pub(crate) use settings::workers as worker_settings;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rillway_core::path::Relays;
use rillway_recorder::engine::Tap;
use tokio::sync::mpsc;

use crate::config::{Config, ConfigError, Key};
use crate::management::server;
use crate::recorder;
use crate::telemetry::metrics::Registry;
use crate::telemetry::traces::{Export, Traces};
use crate::turn::{self, Bound};
use crate::worker::{self, Worker};

/// Connections the kernel keeps until they are accepted. A meeting that starts on the hour.
const LISTEN_BACKLOG: i32 = 1_024;

/// Whether the process's signals are ours to handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// The first SIGTERM or SIGINT drains, the second ends at once. For the binary.
    Handle,
    /// Leave them alone. For tests and for programs that embed the router.
    Ignore,
}

/// Why the router does not run (any more).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration asks for what this machine refuses: a port in use, an absent address.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// What the configuration names does not answer now, and may later: to try again makes sense.
    #[error("{0}")]
    Network(ConfigError),
    /// The machine lacks something that no configuration key is about.
    #[error("error: cannot start: {what}: {source}")]
    Start {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A part of the router ended although nobody asked it to.
    #[error("error: {0}")]
    Ended(&'static str),
}

impl RunError {
    /// Exit code of the process: 78 (`EX_CONFIG`) for what a change of the configuration mends, else
    /// 70 (`EX_SOFTWARE`).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Config(_) => ConfigError::EXIT_CODE,
            RunError::Network(_) | RunError::Start { .. } | RunError::Ended(_) => 70,
        }
    }
}

/// What a running router is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Tell clients, wait for so long or as configured, close, end.
    Drain(Option<Duration>),
    /// Close and end.
    Stop,
}

/// A router that serves. Dropping it ends it at once.
#[derive(Debug)]
pub struct Running {
    gateway: SocketAddr,
    metrics: Option<SocketAddr>,
    management: Option<SocketAddr>,
    console: Option<SocketAddr>,
    turn: Vec<String>,
    media: Vec<Vec<SocketAddr>>,
    orders: mpsc::Sender<Order>,
    control: Option<JoinHandle<Result<(), RunError>>>,
    /// Of traces; ends after all that makes them.
    export: Option<Export>,
}

impl Running {
    /// Where the gateway listens.
    #[must_use]
    pub fn gateway_address(&self) -> SocketAddr {
        self.gateway
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where the management channel listens (UDP), if it does.
    #[must_use]
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.management
    }

    /// Where the console listens, if it does.
    #[must_use]
    pub fn console_address(&self) -> Option<SocketAddr> {
        self.console
    }

    /// URLs of the TURN relay; none if there is none.
    #[must_use]
    pub fn turn_urls(&self) -> &[String] {
        &self.turn
    }

    /// UDP addresses bound, by worker.
    #[must_use]
    pub fn media_addresses(&self) -> &[Vec<SocketAddr>] {
        &self.media
    }

    /// Address of the page for somebody on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let mut address = self.gateway;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}/")
    }

    /// Begins to drain: no new clients, a notice to those connected, then the end. Returns at once.
    pub fn shutdown(&self) {
        self.order(Order::Drain(None));
    }

    /// Ends without waiting for clients. Returns at once.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    fn order(&self, order: Order) {
        // A full queue holds the same order already; a closed one means that the end has come.
        let _ = self.orders.try_send(order);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why it ended, if nobody asked it to.
    pub fn wait(mut self) -> Result<(), RunError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), RunError> {
        let ended = self.control.take().map(JoinHandle::join);
        drop(self.export.take());
        match ended {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(RunError::Ended("the control thread panicked")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        // Whoever drops it instead of waiting does not want to know.
        let _ = self.join();
    }
}

/// Starts the router: binds every address the configuration names, and serves once all are bound.
///
/// # Errors
/// [`RunError`]; nothing is left bound then.
pub fn run(mut config: Config, signals: Signals) -> Result<Running, RunError> {
    public::learn(&mut config).map_err(RunError::Network)?;
    let gateway = listen(&config, Key::GATEWAY_LISTEN, config.gateway.listen)?;
    let metrics = match config.metrics {
        Some(metrics) => Some(listen(&config, Key::METRICS_LISTEN, metrics.listen)?),
        None => None,
    };
    let console = match &config.console {
        Some(console) => Some(listen(&config, Key::CONSOLE_LISTEN, console.listen)?),
        None => None,
    };
    let management = management_socket(&config)?;
    let management_address = management.as_ref().and_then(|s| s.local_addr().ok());
    let turn = turn::bind(&config)?;
    let registry = Registry::new();
    // What they are set up with names their cores, so before all others leave these.
    let all = settings::workers(&config)?;
    let aside = cores::Aside::step(&config);
    let (traces, export) = start_traces(&config, &registry)?;
    let count = usize::from(config.media.workers.get());
    let (recorder, taps) = recorder::start(&config, count)?;
    let relays = turn.as_ref().map(Bound::relays);
    let workers = start_workers(&config, all, &registry, taps, relays.as_ref())?;
    let turn_addresses = turn.as_ref().map(Bound::urls).unwrap_or_default();
    let (orders, received) = mpsc::channel(4);
    let gateway_address = local_address(&gateway)?;
    let address = |listener: &Option<_>| listener.as_ref().map(local_address).transpose();
    let (metrics_address, console_address) = (address(&metrics)?, address(&console)?);
    let media = workers.iter().map(|w| w.addresses.clone()).collect();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let parts = control::Parts {
        config,
        signals,
        gateway,
        metrics,
        management,
        console,
        turn,
        workers,
        recorder,
        registry,
        traces,
        orders: received,
        ready,
    };
    let control = start_control(parts)?;
    drop(aside);
    let mut running = Running {
        gateway: gateway_address,
        metrics: metrics_address,
        management: management_address,
        console: console_address,
        turn: turn_addresses,
        media,
        orders,
        control: Some(control),
        export,
    };
    match is_ready.recv() {
        Ok(()) => Ok(running),
        // It ended before it was ready, and says why.
        Err(_) => Err(running
            .join()
            .err()
            .unwrap_or(RunError::Ended("the control thread ended early"))),
    }
}

fn start_control(parts: control::Parts) -> Result<JoinHandle<Result<(), RunError>>, RunError> {
    let thread = std::thread::Builder::new().name("rillway-control".to_owned());
    let started = thread.spawn(move || control::thread_main(parts));
    started.map_err(|source| RunError::Start {
        what: "the control thread",
        source,
    })
}

fn management_socket(config: &Config) -> Result<Option<UdpSocket>, RunError> {
    let Some(management) = &config.management else {
        return Ok(None);
    };
    let address = management.listen;
    let bound = server::bind(address);
    let refused =
        |error| RunError::Config(config.bind_error(Key::MANAGEMENT_LISTEN, address, &error));
    bound.map(Some).map_err(refused)
}

fn listen(config: &Config, key: Key, address: SocketAddr) -> Result<TcpListener, RunError> {
    listen_on(address).map_err(|error| RunError::Config(config.bind_error(key, address, &error)))
}

pub(crate) fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Only past connections in TIME_WAIT are ignored by this; a listener is still in the way.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && !address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, RunError> {
    listener.local_addr().map_err(|source| RunError::Start {
        what: "the address of a listener",
        source,
    })
}

fn start_traces(
    config: &Config,
    registry: &Registry,
) -> Result<(Traces, Option<Export>), RunError> {
    Traces::start(config.traces.as_ref(), registry.traces()).map_err(|source| {
        let what = "the export of traces";
        RunError::Start { what, source }
    })
}

/// Starts every worker; if one fails, the others are ended.
fn start_workers(
    config: &Config,
    mut all: Vec<worker::Settings>,
    registry: &Registry,
    taps: Vec<Tap>,
    relays: Option<&Arc<dyn Relays>>,
) -> Result<Vec<Worker>, RunError> {
    let mut starting = Vec::new();
    let mut failed = None;
    let mut taps = taps.into_iter();
    let shared = config.media.shares_port();
    link(&mut all, shared);
    if shared && config.media.udp_steering {
        settings::steer(&mut all);
    }
    let mut workers: Vec<Worker> = Vec::with_capacity(all.len());
    for mut settings in all {
        settings.tap = taps.next();
        settings.relays = relays.cloned();
        if let Some(first) = workers.first() {
            settings.join_ports(&first.addresses);
        }
        let recorder = registry.worker(u16::from(settings.id.0), &worker::BOUNDS);
        match worker::start(settings, recorder) {
            // One after the other: the first opens the port to the rest.
            Ok(worker) if shared => match worker.ready() {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    failed = Some(settings::start_error(config, error));
                    break;
                }
            },
            Ok(worker) => starting.push(worker),
            Err(error) => failed = Some(start_error(error)),
        }
    }
    for worker in starting {
        match worker.ready() {
            Ok(worker) => workers.push(worker),
            // The first one says it best: the others often fail for the same reason.
            Err(error) => {
                failed.get_or_insert(settings::start_error(config, error));
            }
        }
    }
    match failed {
        None => Ok(workers),
        Some(error) => {
            workers.into_iter().for_each(Worker::end);
            Err(error)
        }
    }
}

/// Gives workers their ways to each other; `shared`: they are behind one UDP port.
fn link(all: &mut [worker::Settings], shared: bool) {
    let ids: Vec<_> = all.iter().map(|settings| settings.id).collect();
    for (settings, links) in all.iter_mut().zip(worker::links::mesh(&ids)) {
        settings.links = links;
    }
    if shared {
        for (settings, handover) in all.iter_mut().zip(worker::handover::mesh(&ids)) {
            settings.handover = handover;
        }
    }
}

fn start_error(error: worker::StartError) -> RunError {
    RunError::Start {
        what: "a media worker",
        source: io::Error::other(error),
    }
}
