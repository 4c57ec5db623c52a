//! The TURN relay's sockets, on a thread of their own: nothing that is relayed meets a media worker but by its port.
//!
//! Who may relay and to whom is `router/turn`'s; here are listeners, streams, and a socket for each allocation. What
//! cannot be sent at once is dropped and counted.

mod network;
mod streams;
mod ways;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rillway_core::path::Relays;
use rillway_plugin_sdk::types;
use rillway_turn::credentials::Secret;
use rillway_turn::peers::Peers;
use rillway_turn::{Client, ListenerId, Relay, Settings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::config::{Config, Key, Turn, TurnIdentity};
use crate::run::RunError;
use crate::telemetry::metrics::TurnRecorder;
pub(crate) use network::SocketStats;
use network::Sockets;
use ways::Ways;

/// Datagrams taken from one socket before others get their turn.
const BATCH: usize = 64;
/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Receive buffer of a UDP listener: a burst of all who relay through it. The kernel caps it.
const LISTENER_BUFFER_BYTES: usize = 4 << 20;
/// What has ended is looked for, and numbers are reported, this often.
const PERIOD: Duration = Duration::from_secs(1);
/// Pause after a socket failed, so that a fault that stays is not a busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes credentials for those who join.
#[derive(Debug)]
pub(crate) struct Minter {
    secret: Secret,
    urls: Vec<String>,
    time: Duration,
}

impl Minter {
    /// This relay, and credentials of this identity's own: good as long as configured, and not longer than its grant.
    pub(crate) fn server(&self, identity: &str, expires_at_ms: Option<u64>) -> types::IceServer {
        let until = unix_time() + self.time;
        let until = expires_at_ms.map_or(until, |at| until.min(Duration::from_millis(at)));
        let minted = self.secret.mint(identity, until);
        types::IceServer {
            urls: self.urls.clone(),
            username: Some(minted.username),
            credential: Some(minted.password),
        }
    }
}

/// A clock before 1970 is no clock: credentials then never end.
fn unix_time() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}

/// What clients come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// A relay whose listeners are bound.
pub(crate) struct Bound {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    settings: Turn,
    secret: Secret,
    /// Relayed from, and what clients are told.
    addresses: Vec<(IpAddr, IpAddr)>,
    minter: Arc<Minter>,
    ways: Arc<Ways>,
}

/// Binds what `[turn]` names. `None`: the relay is off.
///
/// # Errors
/// An address cannot be had.
pub(crate) fn bind(config: &Config) -> Result<Option<Bound>, RunError> {
    let Some(turn) = &config.turn else {
        return Ok(None);
    };
    let Listeners { udp, tcp, tls } = listeners(config, turn)?;
    let told = |address: IpAddr| config.media.advertised(address);
    let secret = secret(turn)?;
    let offered = [
        (!udp.is_empty()).then_some(Transport::Udp),
        (!tcp.is_empty()).then_some(Transport::Tcp),
        (!tls.is_empty()).then_some(Transport::Tls),
    ];
    let offered: Vec<_> = offered.into_iter().flatten().collect();
    let ways = Arc::new(Ways::new(turn.relay_addresses.clone(), &offered));
    let name = |transport: Transport, address: SocketAddr| {
        let address = SocketAddr::new(told(address.ip()), address.port());
        url(transport, turn.host.as_deref(), address)
    };
    let of = |listeners: &[TcpListener], transport| -> Vec<String> {
        let addresses = listeners.iter().filter_map(|l| l.local_addr().ok());
        addresses.map(|a| name(transport, a)).collect()
    };
    let urls = udp.iter().filter_map(|s| s.local_addr().ok());
    let urls = urls.map(|a| name(Transport::Udp, a));
    let urls = urls.chain(of(&tcp, Transport::Tcp));
    let urls = urls.chain(of(&tls, Transport::Tls));
    let minter = Minter {
        secret: secret.clone(),
        urls: each_once(urls),
        time: turn.credential_time,
    };
    Ok(Some(Bound {
        addresses: turn
            .relay_addresses
            .iter()
            .map(|a| (*a, told(*a)))
            .collect(),
        udp,
        tcp,
        tls,
        settings: turn.clone(),
        secret,
        minter: Arc::new(minter),
        ways,
    }))
}

/// What clients come by.
struct Listeners {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
}

/// Binds them, and tries the addresses to relay from.
fn listeners(config: &Config, turn: &Turn) -> Result<Listeners, RunError> {
    let refused = |key, address: &SocketAddr, error: &io::Error| {
        RunError::Config(config.bind_error(key, *address, error))
    };
    let datagrams = |address: &SocketAddr| {
        listen_udp(*address).map_err(|error| refused(Key::TURN_UDP, address, &error))
    };
    let streams = |key| {
        move |address: &SocketAddr| {
            crate::run::listen_on(*address).map_err(|error| refused(key, address, &error))
        }
    };
    let udp: Vec<_> = turn.udp.iter().map(datagrams).collect::<Result<_, _>>()?;
    let tcp: Vec<_> = turn
        .tcp
        .iter()
        .map(streams(Key::TURN_TCP))
        .collect::<Result<_, _>>()?;
    let tls: Vec<_> = turn
        .tls
        .iter()
        .map(streams(Key::TURN_TLS))
        .collect::<Result<_, _>>()?;
    for address in &turn.relay_addresses {
        UdpSocket::bind((*address, 0)).map_err(|error| {
            refused(
                Key::TURN_RELAY_ADDRESSES,
                &SocketAddr::new(*address, 0),
                &error,
            )
        })?;
    }
    Ok(Listeners { udp, tcp, tls })
}

/// Listeners of both families have one URL by their common name; a client would take an allocation for each.
fn each_once(urls: impl Iterator<Item = String>) -> Vec<String> {
    let mut once = Vec::new();
    for url in urls {
        if !once.contains(&url) {
            once.push(url);
        }
    }
    once
}

/// Binds a UDP socket of its family alone.
pub(crate) fn listen_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel gives as much as it may.
    let _ = socket.set_recv_buffer_size(LISTENER_BUFFER_BYTES);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// That of the file, or one of this start.
fn secret(turn: &Turn) -> Result<Secret, RunError> {
    if let Some(secret) = &turn.secret {
        return Ok(Secret::new(secret.reveal().as_bytes()));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| RunError::Start {
        what: "a secret for TURN",
        source: io::Error::other(error),
    })?;
    Ok(Secret::new(&bytes))
}

fn url(transport: Transport, host: Option<&str>, address: SocketAddr) -> String {
    let port = address.port();
    let host = match (host, address.ip()) {
        (Some(host), _) => host.to_owned(),
        (None, IpAddr::V4(v4)) => v4.to_string(),
        (None, IpAddr::V6(v6)) => format!("[{v6}]"),
    };
    match transport {
        Transport::Udp => format!("turn:{host}:{port}?transport=udp"),
        Transport::Tcp => format!("turn:{host}:{port}?transport=tcp"),
        Transport::Tls => format!("turns:{host}:{port}?transport=tcp"),
    }
}

/// What TLS listeners are set up with.
///
/// # Errors
/// Certificate or key cannot be used.
pub(crate) fn tls(identity: &TurnIdentity) -> Result<Arc<rustls::ServerConfig>, String> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
    let chain: Result<Vec<_>, _> = chain.collect();
    let chain = chain.map_err(|error| format!("the certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes());
    let key = key.map_err(|error| format!("the key: {error}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    config.map(Arc::new).map_err(|error| error.to_string())
}

impl Bound {
    /// By which clients reach it.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.minter.urls.clone()
    }

    /// What workers know of it.
    pub(crate) fn relays(&self) -> Arc<dyn Relays> {
        self.ways.clone()
    }

    /// By what clients come, by listener.
    fn transports(&self) -> Vec<Transport> {
        let of = |count, transport| std::iter::repeat_n(transport, count);
        let udp = of(self.udp.len(), Transport::Udp);
        let tcp = of(self.tcp.len(), Transport::Tcp);
        udp.chain(tcp)
            .chain(of(self.tls.len(), Transport::Tls))
            .collect()
    }

    /// What makes credentials for it.
    pub(crate) fn minter(&self) -> Arc<Minter> {
        self.minter.clone()
    }

    fn relay(&self, media: &[(SocketAddr, SocketAddr)], own: Vec<IpAddr>) -> Relay {
        let told = self
            .addresses
            .iter()
            .flat_map(|(bound, told)| [*bound, *told]);
        let listened = self.udp.iter().filter_map(|s| s.local_addr().ok());
        let listened = listened.map(|address| address.ip());
        let own = own.into_iter().chain(told).chain(listened);
        let settings = &self.settings;
        let relay = Settings {
            realm: settings.realm.clone(),
            secret: self.secret.clone(),
            peers: Peers::new(media.iter().copied(), own, settings.public_peers),
            allocations_max: settings.allocations_max as usize,
            allocations_per_user_max: settings.allocations_per_user_max as usize,
            allocations_per_address_max: settings.allocations_per_address_max as usize,
            stranger_answers_per_second: settings.stranger_answers_per_second,
        };
        Relay::new(relay, Instant::now())
    }
}

/// A relay at work; dropping it ends it.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was logged.
            let _ = thread.join();
        }
    }
}

/// What all tasks of the thread share.
struct Shared {
    relay: RefCell<Relay>,
    sockets: RefCell<Sockets>,
    buffer: RefCell<Vec<u8>>,
}

impl Shared {
    fn client_sent(&self, client: Client, bytes: &[u8]) {
        let now = (Instant::now(), unix_time());
        let (mut relay, mut sockets) = (self.relay.borrow_mut(), self.sockets.borrow_mut());
        relay.handle_client(client, bytes, now, &mut *sockets);
    }

    fn peer_sent(&self, told: SocketAddr, from: SocketAddr, payload: &[u8]) {
        let (mut relay, mut sockets) = (self.relay.borrow_mut(), self.sockets.borrow_mut());
        relay.handle_peer(told, from, payload, Instant::now(), &mut *sockets);
    }
}

/// Starts the relay's thread. `media`: where workers take media, bound and as clients are told.
///
/// # Errors
/// The thread or its runtime cannot be had.
pub(crate) fn start(
    bound: Bound,
    media: &[(SocketAddr, SocketAddr)],
    recorder: TurnRecorder,
) -> io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let interfaces = if_addrs::get_if_addrs()?;
    let own = interfaces.iter().map(if_addrs::Interface::ip).collect();
    let relay = bound.relay(media, own);
    tracing::info!(urls = bound.minter.urls.join(" "), "TURN relay ready");
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("rillway-turn".to_owned())
        .spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                tokio::select! {
                    result = serve(bound, relay, recorder) => {
                        if let Err(error) = result {
                            tracing::error!(%error, "the TURN relay has ended");
                        }
                    }
                    // An error is the order: the sender was dropped.
                    _ = stopped => {}
                }
            });
        })?;
    Ok(Running {
        stop: Some(stop),
        thread: Some(thread),
    })
}

async fn serve(bound: Bound, relay: Relay, recorder: TurnRecorder) -> io::Result<()> {
    let transports = bound.transports();
    let settings = &bound.settings;
    let shared = Rc::new_cyclic(|shared| Shared {
        relay: RefCell::new(relay),
        sockets: RefCell::new(Sockets::new(
            shared.clone(),
            bound.addresses.clone(),
            settings.relay_ports.clone(),
            (transports, bound.ways.clone()),
        )),
        buffer: RefCell::new(vec![0; DATAGRAM_BYTES_MAX]),
    });
    let mut id = ListenerId(0);
    for socket in bound.udp {
        let socket = Rc::new(tokio::net::UdpSocket::from_std(socket)?);
        shared.sockets.borrow_mut().listen(id, socket.clone());
        tokio::task::spawn_local(datagrams(shared.clone(), id, socket));
        id.0 += 1;
    }
    let places = streams::Places::new(settings);
    let acceptor = match &settings.identity {
        Some(identity) => Some(tls(identity).map_err(io::Error::other)?.into()),
        None => None,
    };
    let tcp = bound.tcp.into_iter().map(|listener| (listener, None));
    let tls = bound
        .tls
        .into_iter()
        .map(|listener| (listener, acceptor.clone()));
    for (listener, acceptor) in tcp.chain(tls) {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let accept = streams::accept(shared.clone(), (id, listener), acceptor, places.clone());
        tokio::task::spawn_local(accept);
        id.0 += 1;
    }
    keep_time(&shared, recorder).await
}

/// What clients send by one UDP listener.
async fn datagrams(shared: Rc<Shared>, listener: ListenerId, socket: Rc<tokio::net::UdpSocket>) {
    loop {
        receive(&shared, &socket, |from, bytes| {
            let client = Client {
                listener,
                address: from,
                proven: false,
            };
            shared.client_sent(client, bytes);
        })
        .await;
    }
}

/// What peers send to one relayed address.
async fn relayed(shared: Rc<Shared>, told: SocketAddr, socket: Rc<tokio::net::UdpSocket>) {
    loop {
        receive(&shared, &socket, |from, bytes| {
            shared.peer_sent(told, from, bytes);
        })
        .await;
    }
}

/// Takes up to a batch of datagrams.
async fn receive(
    shared: &Shared,
    socket: &tokio::net::UdpSocket,
    mut each: impl FnMut(SocketAddr, &[u8]),
) {
    if socket.readable().await.is_err() {
        return tokio::time::sleep(PAUSE).await;
    }
    for _ in 0..BATCH {
        let mut buffer = shared.buffer.borrow_mut();
        match socket.try_recv_from(&mut buffer) {
            Ok((length, from)) => each(from, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // What the network said of something sent earlier; it is no peer's to hear.
            Err(_) => {}
        }
    }
    tokio::task::yield_now().await;
}

async fn keep_time(shared: &Shared, mut recorder: TurnRecorder) -> ! {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (mut relay, mut sockets) = (shared.relay.borrow_mut(), shared.sockets.borrow_mut());
        relay.handle_time(Instant::now(), &mut *sockets);
        recorder.record(&relay.stats(), &sockets.stats());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_told_once() {
        let urls = ["turn:b", "turn:a", "turn:b"].map(str::to_owned);
        assert_eq!(each_once(urls.into_iter()), ["turn:b", "turn:a"]);
    }

    #[test]
    fn urls_name_the_host_or_the_address() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let named = |transport, host, address| url(transport, host, at(address));
        assert_eq!(
            named(Transport::Udp, None, "192.0.2.7:3478"),
            "turn:192.0.2.7:3478?transport=udp"
        );
        assert_eq!(
            named(Transport::Tcp, None, "[2001:db8::1]:80"),
            "turn:[2001:db8::1]:80?transport=tcp"
        );
        assert_eq!(
            named(
                Transport::Tls,
                Some("turn.example.org"),
                "[2001:db8::1]:443"
            ),
            "turns:turn.example.org:443?transport=tcp"
        );
    }

    #[test]
    fn credentials_end_with_the_grant_or_when_configured() {
        let minter = Minter {
            secret: Secret::new(b"north"),
            urls: vec!["turn:192.0.2.7:3478?transport=udp".to_owned()],
            time: Duration::from_secs(600),
        };
        let until = |expires_at_ms| {
            let server = minter.server("ada", expires_at_ms);
            let name = server.username.expect("TURN has one");
            assert_eq!(server.credential, Some(minter.secret.password(&name)));
            let (until, identity) = name.split_once(':').expect("two parts");
            assert_eq!(identity, "ada");
            until.parse::<u64>().expect("seconds")
        };
        let now = unix_time().as_secs();
        assert!((now + 600..now + 660).contains(&until(None)));
        assert!((now + 600..now + 660).contains(&until(Some((now + 9_000) * 1_000))));
        assert_eq!(until(Some((now + 60) * 1_000)), now + 60);
    }
}
