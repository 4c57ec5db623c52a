//! The listener: a QUIC endpoint on a thread of its own.
//!
//! It has its own thread because it needs nothing of the control thread's (queues, orders and phase can
//! be reached from any thread) and must not cost it anything: a flood of handshakes or a long listing
//! delays no join.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::call::{self, Shared, code};
use super::role::{self, Holder};
use super::source::Sources;
use super::tls::{TlsError, Trust};
use super::verbs;
use crate::config::Management;
use crate::rate::Bucket;
use crate::telemetry::log;

/// Streams one connection may have open: a screen full of watches. One call each.
pub(crate) const STREAMS_PER_CONNECTION: u32 = 64;
/// Bytes a stream may send before we have read them; requests but uploads are much smaller.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes a connection may send before we have read them.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes kept for a connection that does not read.
const SEND_WINDOW: u64 = 256 * 1024;
/// Time a handshake has.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Handshakes per second, and at once; more are dropped, and clients try again. At a third of a
/// millisecond each, a flood costs this thread a few per cent of a core.
const HANDSHAKES_PER_SECOND: u32 = 100;
/// Handshakes under way above which a client must first show that its address is its own (RFC 9000
/// §8.1.2).
const HANDSHAKES_UNSEEN: usize = 8;
/// Time connections get to hear of the end.
const FAREWELL_TIME: Duration = Duration::from_millis(200);
/// A certificate that ends sooner is worth a warning.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 3_600);

/// A listener at work; dropping it ends it.
pub(crate) struct Listener {
    control: Control,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Changes a listener at work.
#[derive(Clone)]
pub(crate) struct Control {
    endpoint: Endpoint,
    bounds: Arc<Bounds>,
    trust: watch::Sender<Trust>,
}

/// What a reload may change.
struct Bounds {
    connections: AtomicUsize,
    calls_per_second: AtomicU32,
}

impl Bounds {
    fn set(&self, settings: &Management) {
        self.connections
            .store(settings.connections_max as usize, Relaxed);
        self.calls_per_second
            .store(settings.calls_per_second_max, Relaxed);
    }
}

impl Control {
    /// New connections find these certificates and bounds; it stays where it listens. Open ones of whom is not
    /// believed any more end.
    ///
    /// # Errors
    /// The identity cannot be used. Nothing has changed then.
    pub(crate) fn set(&self, settings: &Management) -> Result<(), TlsError> {
        let config = server_config(settings)?;
        let trust = settings.identity.trust()?;
        warn_of_expiry(settings);
        self.endpoint.set_server_config(Some(config));
        // After it: who comes by the old one is asked again.
        self.trust.send_replace(trust);
        self.bounds.set(settings);
        Ok(())
    }
}

impl Listener {
    /// What changes it.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It ends by itself within FAREWELL_TIME; a panic of it was logged.
            let _ = thread.join();
        }
    }
}

/// Binds the listener's socket.
///
/// # Errors
/// What the system said.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() && !address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts the listener's thread.
///
/// # Errors
/// The thread or its runtime cannot be had, or the identity cannot be used.
pub(crate) fn start(
    socket: UdpSocket,
    settings: &Management,
    sources: Arc<Sources>,
) -> io::Result<Listener> {
    let config = server_config(settings).map_err(io::Error::other)?;
    let trust = settings.identity.trust().map_err(io::Error::other)?;
    warn_of_expiry(settings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let endpoint = {
        let _context = runtime.enter();
        Endpoint::new(
            EndpointConfig::default(),
            Some(config),
            socket,
            Arc::new(quinn::TokioRuntime),
        )?
    };
    let bounds = Bounds {
        connections: AtomicUsize::new(0),
        calls_per_second: AtomicU32::new(0),
    };
    bounds.set(settings);
    let control = Control {
        endpoint,
        bounds: Arc::new(bounds),
        trust: watch::Sender::new(trust),
    };
    let server = Server {
        control: control.clone(),
        connections: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        handshakes: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        shared: Shared {
            sources,
            uploads: Arc::new(Semaphore::new(1)),
            captures: Arc::new(Semaphore::new(verbs::CAPTURES_MAX)),
        },
    };
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("rillway-management".to_owned())
        .spawn(move || {
            runtime.block_on(server.run(stopped));
            runtime.shutdown_background();
        })?;
    Ok(Listener {
        control,
        stop: Some(stop),
        thread: Some(thread),
    })
}

fn server_config(settings: &Management) -> Result<quinn::ServerConfig, TlsError> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_PER_CONNECTION))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        // Milliseconds below 2^30 always fit.
        .max_idle_timeout(IdleTimeout::try_from(settings.idle_timeout).ok());
    let mut config = quinn::ServerConfig::with_crypto(settings.identity.server()?);
    config
        .transport_config(Arc::new(transport))
        .max_incoming(64)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(1024 * 1024);
    Ok(config)
}

fn warn_of_expiry(settings: &Management) {
    let chain = settings.identity.chain().unwrap_or_default();
    let Some(ends) = chain.first().and_then(role::ends) else {
        return;
    };
    match ends.duration_since(SystemTime::now()) {
        Err(_) => tracing::error!(
            "the management certificate has expired: clients will refuse it; `rillway ca issue` makes another"
        ),
        Ok(left) if left < EXPIRY_WARNING => tracing::warn!(
            hours_left = left.as_secs() / 3_600,
            "the management certificate ends soon; `rillway ca issue` makes another"
        ),
        Ok(_) => {}
    }
}

struct Server {
    control: Control,
    /// Counts connections.
    connections: Arc<Semaphore>,
    /// Counts handshakes under way.
    handshakes: Arc<Semaphore>,
    shared: Shared,
}

impl Server {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        if let Ok(address) = self.control.endpoint.local_addr() {
            tracing::info!(%address, "management channel ready");
        }
        let mut rate = Bucket::new(HANDSHAKES_PER_SECOND, Instant::now());
        // Takes back what operators set for a time.
        let levels = tokio::spawn(async {
            if let Some(levels) = log::levels() {
                levels.keep().await;
            }
        });
        loop {
            let incoming = tokio::select! {
                incoming = self.control.endpoint.accept() => incoming,
                _ = &mut stopped => None,
            };
            let Some(incoming) = incoming else {
                break;
            };
            self.accept(incoming, &mut rate);
        }
        levels.abort();
        self.control
            .endpoint
            .close(code::ENDED, b"the router has ended");
        // Clients that do not answer find out by their own timeout.
        let _ = tokio::time::timeout(FAREWELL_TIME, self.control.endpoint.wait_idle()).await;
    }

    fn accept(&self, incoming: Incoming, rate: &mut Bucket) {
        if !rate.take(Instant::now()) {
            tracing::info!(cause = "rate", "management: connection refused");
            self.shared.sources.recorder.refused("rate");
            return incoming.ignore();
        }
        let under_way = Semaphore::MAX_PERMITS - self.handshakes.available_permits();
        if under_way >= HANDSHAKES_UNSEEN && incoming.may_retry() {
            // An error means that it has shown its address already, which `may_retry` denies.
            let _ = incoming.retry();
            return;
        }
        let open = Semaphore::MAX_PERMITS - self.connections.available_permits();
        let slot = match open < self.control.bounds.connections.load(Relaxed) {
            true => Arc::clone(&self.connections).try_acquire_owned().ok(),
            false => None,
        };
        let (Some(slot), Ok(handshake)) = (slot, Arc::clone(&self.handshakes).try_acquire_owned())
        else {
            tracing::info!(cause = "full", "management: connection refused");
            self.shared.sources.recorder.refused("full");
            return incoming.refuse();
        };
        let connection = Serving {
            shared: self.shared.clone(),
            calls_per_second: self.control.bounds.calls_per_second.load(Relaxed),
            trust: self.control.trust.subscribe(),
            _slot: slot,
        };
        tokio::spawn(connection.run(incoming, handshake));
    }
}

/// A connection on its way up, or up.
struct Serving {
    shared: Shared,
    calls_per_second: u32,
    trust: watch::Receiver<Trust>,
    _slot: OwnedSemaphorePermit,
}

impl Serving {
    async fn run(mut self, incoming: Incoming, handshake: OwnedSemaphorePermit) {
        let recorder = self.shared.sources.recorder.clone();
        let connection = match tokio::time::timeout(HANDSHAKE_TIME, incoming.into_future()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::info!(cause = "handshake", %error, "management: connection refused");
                recorder.refused("handshake");
                return;
            }
            Err(_) => {
                tracing::info!(cause = "late", "management: connection refused");
                recorder.refused("late");
                return;
            }
        };
        drop(handshake);
        let chain = chain(&connection);
        let holder = chain.first().map(Holder::read);
        let holder = match holder {
            Some(Ok(holder)) => holder,
            refused => {
                let error = match refused {
                    Some(Err(error)) => error.to_string(),
                    _ => "there is no certificate".to_owned(),
                };
                tracing::info!(%error, "management: connection refused");
                recorder.refused("certificate");
                connection.close(code::CERTIFICATE, error.as_bytes());
                return;
            }
        };
        tracing::debug!(
            client = holder.name,
            role = %holder.role,
            from = %connection.remote_address(),
            "management: connected"
        );
        let (_open, holder) = (recorder.connected(), Arc::new(holder));
        if let Err(error) = self.calls(&connection, &chain, &holder).await {
            tracing::info!(client = holder.name, %error, "management: connection ended");
            recorder.refused("certificate");
            let text = "the certificate is not trusted any more";
            connection.close(code::CERTIFICATE, text.as_bytes());
        }
    }

    /// Serves calls until the connection is gone.
    ///
    /// # Errors
    /// A reload has taken the certificate its trust.
    async fn calls(
        &mut self,
        connection: &Connection,
        chain: &[CertificateDer<'_>],
        holder: &Arc<Holder>,
    ) -> Result<(), rustls::Error> {
        let mut rate = Bucket::new(self.calls_per_second, Instant::now());
        let mut calls = tokio::task::JoinSet::new();
        loop {
            let streams = tokio::select! {
                streams = connection.accept_bi() => streams,
                changed = self.trust.changed() => {
                    // Else the listener has ended.
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.trust.borrow_and_update().still(chain)?;
                    continue;
                }
            };
            let Ok(streams) = streams else {
                return Ok(());
            };
            while calls.try_join_next().is_some() {}
            let admitted = rate.take(Instant::now());
            calls.spawn(call::serve(
                self.shared.clone(),
                holder.clone(),
                streams,
                admitted,
            ));
            // Verbs of a client that is gone end with it, as the set is dropped.
        }
    }
}

/// What the client has shown, its own certificate first.
fn chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity();
    let chain = identity.and_then(|identity| identity.downcast().ok());
    chain.map_or_else(Vec::new, |chain| *chain)
}
