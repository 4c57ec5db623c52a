//! What a driver costs this host: thread CPU nanoseconds per 1,200-byte datagram over loopback.
//!
//! `cargo run --release -p rillway-ring --example throughput [-- DESTINATIONS]`
//!
//! *out*: runs of B datagrams to each of DESTINATIONS (100) sockets that nobody reads. *through*: the
//! same to a second driver on the same thread, received and counted. Best of several rounds.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rillway_ring::runtime::Runtime;
use rillway_ring::{
    Driver, DriverConfig, DriverKind, Receiver, SendRun, SocketId, UdpDriver, open_kind,
};

const BYTES: usize = 1_200;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Count(usize);

impl Receiver for Count {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        self.0 += usize::from(data.len() == BYTES);
    }
}

/// CPU time of this thread, nanoseconds.
fn cpu_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

fn driver(kind: DriverKind) -> Driver {
    open_kind(kind, &DriverConfig::new(["127.0.0.1:0".parse().unwrap()])).unwrap()
}

fn send(driver: &mut Driver, destination: SocketAddr, payload: &[u8]) {
    let run = SendRun {
        socket: SocketId(0),
        destination,
        segment_bytes: BYTES,
        payload,
    };
    if driver.send(run).is_err() {
        driver.flush().unwrap();
        driver.send(run).unwrap();
    }
}

/// Best CPU time and system calls per datagram of several rounds of `turn`, which says how many
/// datagrams and system calls it made.
fn best(mut turn: impl FnMut() -> (usize, u64)) -> (u64, f64) {
    let mut best = (u64::MAX, 0.0);
    for _ in 0..ROUNDS {
        let (start, cpu) = (Instant::now(), cpu_ns());
        let (mut datagrams, mut calls) = (0, 0);
        while start.elapsed() < ROUND {
            let (more, made) = turn();
            datagrams += more;
            calls += made;
        }
        let each = (cpu_ns() - cpu) / datagrams as u64;
        if each < best.0 {
            best = (each, calls as f64 / datagrams as f64);
        }
    }
    best
}

fn out(kind: DriverKind, burst: usize, sinks: &[SocketAddr]) {
    let mut sender = driver(kind);
    let payload = vec![7; burst * BYTES];
    let (ns, calls) = best(|| {
        let before = sender.stats().syscalls;
        for &sink in sinks {
            send(&mut sender, sink, &payload);
        }
        sender.flush().unwrap();
        (burst * sinks.len(), sender.stats().syscalls - before)
    });
    println!(
        "{kind:>5}  out      {burst:>3} per run  {ns:>5} ns  {calls:.4} system calls  {} refused",
        sender.stats().send_errors
    );
}

/// What all this is measured against: one `sendto` per datagram.
fn plain(sinks: &[SocketAddr]) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let payload = [7; BYTES];
    let (ns, calls) = best(|| {
        for &sink in sinks {
            socket.send_to(&payload, sink).unwrap();
        }
        (sinks.len(), sinks.len() as u64)
    });
    println!("plain  out        1 per run  {ns:>5} ns  {calls:.4} system calls");
}

fn through(kind: DriverKind, burst: usize) {
    let (mut sender, mut receiver) = (driver(kind), driver(kind));
    let destination = receiver.local_addresses()[0];
    let payload = vec![7; burst * BYTES];
    let runs = (256 / burst).max(1);
    let (ns, calls) = best(|| {
        let before = sender.stats().syscalls + receiver.stats().syscalls;
        for _ in 0..runs {
            send(&mut sender, destination, &payload);
        }
        sender.flush().unwrap();
        let mut count = Count::default();
        while count.0 < runs * burst {
            receiver.receive(256, &mut count).unwrap();
        }
        let after = sender.stats().syscalls + receiver.stats().syscalls;
        (count.0, after - before)
    });
    println!("{kind:>5}  through  {burst:>3} per run  {ns:>5} ns  {calls:.4} system calls");
}

fn main() {
    let count = std::env::args()
        .nth(1)
        .map_or(100, |word| word.parse().unwrap());
    let sockets: Vec<_> = (0..count)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let sinks: Vec<_> = sockets
        .iter()
        .map(|socket| socket.local_addr().unwrap())
        .collect();
    plain(&sinks);
    for kind in [DriverKind::Ring, DriverKind::Mmsg] {
        match Runtime::new(kind) {
            Err(error) => println!("{kind:>5}  {error}"),
            Ok(runtime) => runtime.block_on(async {
                for burst in [1, 2, 8, 16] {
                    out(kind, burst, &sinks);
                    through(kind, burst);
                }
            }),
        }
    }
}
