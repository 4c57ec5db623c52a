//! The same room while strangers flood what anybody may send to: media ports with binding requests, the relay with
//! requests for allocations, TCP for media with connections.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use rillway_tests::turn::{Caller, bare_allocate, binding};
use rillway_turn::credentials::Secret;

use crate::beside::{Deed, Stop};
use crate::router::Router;
use crate::{Meanwhile, Stretch, calm, crowd, stretch_seconds};

const SECRET: &str = "a secret of this test alone";
/// Datagrams of a flood, every millisecond.
const BURST: usize = 10;
/// Addresses that a flood comes from.
const SOURCES: u8 = 50;
/// Connections opened at once, every [`CONNECT_PAUSE`].
const CONNECTIONS: usize = 10;
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Allocations that one user asks for in a flood: more than one may have.
const ALLOCATIONS: usize = 60;
/// What memory may grow by from the first stretch to the last, bytes: what allocators keep, and buffers that are
/// never longer than this.
const GROWTH_MOST: u64 = 24 << 20;

/// Where strangers send to.
#[derive(Clone, Copy)]
struct Targets {
    media: SocketAddr,
    relay: SocketAddr,
}

/// A port for UDP and TCP that was free a moment ago.
fn free() -> SocketAddr {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A socket of each of some addresses.
fn sources() -> Vec<UdpSocket> {
    let of = |last| {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 9, last));
        let socket = UdpSocket::bind((address, 0)).expect("loopback has them all");
        socket.set_nonblocking(true).expect("a socket");
        socket
    };
    (1..=SOURCES).map(of).collect()
}

/// Sends datagrams as `make` has them, from one source after the other, and reads what comes back.
async fn flood(to: SocketAddr, make: fn() -> Vec<u8>, sent: Arc<AtomicU64>, stop: Stop) {
    let sources = sources();
    let mut next = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    while !stop.asked() {
        tick.tick().await;
        for _ in 0..BURST {
            let source = &sources[next % sources.len()];
            next += 1;
            sent.fetch_add(u64::from(source.send_to(&make(), to).is_ok()), Relaxed);
            while source.recv(&mut [0; 2_048]).is_ok() {}
        }
    }
}

/// Takes all the allocations that one user may have, again and again.
async fn allocations(targets: Targets, taken: Arc<[AtomicU64; 2]>, stop: Stop) {
    let mut round = 0;
    while !stop.asked() {
        round += 1;
        let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let until = until.expect("a clock") + Duration::from_secs(3_600);
        let minted = Secret::new(SECRET.as_bytes()).mint(&format!("flood{round}"), until);
        let user = (minted.username.as_str(), minted.password.as_str());
        for _ in 0..ALLOCATIONS {
            let made = Caller::allocate(targets.relay, user, false);
            taken[usize::from(made.is_err())].fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
            if stop.asked() {
                return;
            }
        }
    }
}

/// Connects, sends half a frame or a whole one of rubbish, and keeps the connection.
async fn connections(to: SocketAddr, opened: Arc<AtomicU64>, stop: Stop) {
    let mut kept = Vec::new();
    while !stop.asked() {
        for number in 0..CONNECTIONS {
            let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_millis(100)) else {
                continue;
            };
            let rubbish: &[u8] = match number % 3 {
                0 => &[0x04],
                1 => &[0, 4, 9, 9, 9, 9],
                _ => &[0xff, 0xff, 1, 2, 3],
            };
            let _ = stream.write_all(rubbish);
            opened.fetch_add(1, Relaxed);
            kept.push(stream);
        }
        let surplus = kept.len().saturating_sub(200);
        kept.drain(..surplus);
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// The sum of a metric over all its labels that begin with `name`.
fn metric(metrics: SocketAddr, name: &str) -> f64 {
    let mut stream = TcpStream::connect(metrics).expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {metrics}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// What was sent in each flood.
#[derive(Default)]
struct Sent {
    bindings: Arc<AtomicU64>,
    strangers: Arc<AtomicU64>,
    allocations: Arc<[AtomicU64; 2]>,
    connections: Arc<AtomicU64>,
}

impl Sent {
    fn stretches(&self, targets: Targets, seconds: u64) -> Vec<Stretch> {
        let Targets { media, relay } = targets;
        let bindings: Deed = {
            let sent = self.bindings.clone();
            Arc::new(move |stop| Box::pin(flood(media, binding, sent.clone(), stop)))
        };
        let strangers: Deed = {
            let sent = self.strangers.clone();
            Arc::new(move |stop| Box::pin(flood(relay, bare_allocate, sent.clone(), stop)))
        };
        let taken: Deed = {
            let taken = self.allocations.clone();
            Arc::new(move |stop| Box::pin(allocations(targets, taken.clone(), stop)))
        };
        let opened: Deed = {
            let opened = self.connections.clone();
            Arc::new(move |stop| Box::pin(connections(media, opened.clone(), stop)))
        };
        let beside = |title: &str, deed: Deed| Stretch {
            title: title.to_owned(),
            seconds,
            meanwhile: Meanwhile::Beside(deed),
        };
        vec![
            calm("calm", seconds),
            beside("binding requests", bindings),
            beside("allocations of nobody", strangers),
            beside("allocations of one user", taken),
            beside("TCP connections", opened),
            calm("calm again", seconds),
        ]
    }
}

pub(crate) fn run() {
    let [media, relay, metrics] = [(); 3].map(|()| free());
    let more = format!(
        "media.first_port = {}\nauthentication.policy = \"auth-open\"\n\
         [turn]\nudp = [\"{relay}\"]\nsecret_file = \"turn.secret\"\n",
        media.port()
    );
    let secret = ("turn.secret".to_owned(), SECRET.as_bytes().to_vec());
    let router = Router::start_at("ring", metrics, &more, &[secret]);
    let (sent, seconds) = (Sent::default(), stretch_seconds(6));
    let stretches = sent.stretches(Targets { media, relay }, seconds);
    let memory = crowd(&router, &stretches);
    let counts = [&sent.bindings, &sent.strangers, &sent.connections].map(|n| n.load(Relaxed));
    let [bindings, strangers, connections] = counts;
    let [taken, refused] = [0, 1].map(|index| sent.allocations[index].load(Relaxed));
    println!(
        "{bindings} binding requests, {strangers} allocations of nobody, {taken} allocations and {refused} refused, \
         {connections} connections"
    );
    // Each flood took place, and met a bound.
    assert!(
        bindings.min(strangers) > seconds * 2_000,
        "{bindings} {strangers}"
    );
    assert!(taken > 0 && refused > 0 && connections > seconds * 50);
    let limited = metric(metrics, "rillway_dropped_datagrams_total{");
    let answered = metric(metrics, "rillway_stun_answered_requests_total{");
    let of_relay = metric(metrics, "rillway_turn_refused_total{cause=\"rate\"}");
    let ended = metric(metrics, "rillway_tcp_ended_connections_total{");
    println!("answered {answered}, dropped {limited}, rate {of_relay}, TCP ended {ended}");
    assert!(answered > 0.0 && limited > bindings as f64 / 2.0);
    assert!(of_relay > strangers as f64 / 2.0);
    assert!(ended > connections as f64 / 2.0);
    let (before, after) = (memory[0], memory[memory.len() - 1]);
    assert!(
        after < before + GROWTH_MOST,
        "{before} bytes became {after}"
    );
}
