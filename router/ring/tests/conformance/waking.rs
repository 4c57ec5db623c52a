//! Waking up: in time, and not for nothing.

use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_ring::{Driver, DriverKind, Receiver, SocketId, UdpDriver};

use crate::harness::{Inbox, Net, PATIENCE, address, collect, ready, send_now};

/// Longest median delay from send to receive. A lost wake-up shows as the full patience, a starved
/// one as hundreds of milliseconds; a good one as tens of microseconds.
const DELAY_MEDIAN_MAX: Duration = Duration::from_millis(20);

/// Delays of numbered, time-stamped datagrams.
struct Stopwatch {
    start: Instant,
    delays: Vec<Duration>,
}

impl Receiver for Stopwatch {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        let sent = u64::from_ne_bytes(data[..8].try_into().unwrap());
        self.delays
            .push(self.start.elapsed() - Duration::from_nanos(sent));
    }
}

fn stamp(start: Instant) -> [u8; 8] {
    (start.elapsed().as_nanos() as u64).to_ne_bytes()
}

/// Sends `count` stamped datagrams, four each millisecond, while the receiver's thread sleeps: from
/// another thread where the network is the kernel's, from another task where it is simulated.
fn send_stamped(net: &Net, to: SocketAddr, start: Instant, count: usize) {
    if net.kind == DriverKind::Sim {
        let endpoint = net.sim.endpoint("127.0.0.1:0".parse().unwrap()).unwrap();
        tokio::task::spawn_local(async move {
            for index in 0..count {
                assert!(endpoint.send(to, &stamp(start)));
                if index % 4 == 3 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        return;
    }
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for index in 0..count {
            socket.send_to(&stamp(start), to).unwrap();
            if index % 4 == 3 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

async fn measure(receiver: &mut Driver, stopwatch: &mut Stopwatch, count: usize) {
    let turns = async {
        while stopwatch.delays.len() < count {
            ready(receiver).await;
            receiver.receive(64, stopwatch).unwrap();
        }
    };
    let ended = tokio::time::timeout(PATIENCE, turns).await;
    let arrived = stopwatch.delays.len();
    assert!(
        ended.is_ok(),
        "{arrived} of {count} arrived: a wake-up was lost; {:?}",
        receiver.stats()
    );
    stopwatch.delays.sort();
    let median = stopwatch.delays[count / 2];
    eprintln!(
        "wake-up: median {median:?}, worst {:?}",
        stopwatch.delays[count - 1]
    );
    assert!(median < DELAY_MEDIAN_MAX, "median delay {median:?}");
}

pub(crate) async fn a_parked_thread(net: Net) {
    let mut receiver = net.driver();
    let start = Instant::now();
    send_stamped(&net, address(&receiver), start, 1000);
    let mut stopwatch = Stopwatch {
        start,
        delays: Vec::new(),
    };
    measure(&mut receiver, &mut stopwatch, 1000).await;
}

/// A neighbour that always yields and is always ready keeps the runtime from parking.
pub(crate) async fn a_never_idle_neighbour(net: Net) {
    let busy = || async {
        loop {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    };
    let neighbours = [
        tokio::task::spawn_local(busy()),
        tokio::task::spawn_local(busy()),
    ];
    let mut receiver = net.driver();
    let start = Instant::now();
    send_stamped(&net, address(&receiver), start, 500);
    let mut stopwatch = Stopwatch {
        start,
        delays: Vec::new(),
    };
    measure(&mut receiver, &mut stopwatch, 500).await;
    // Sending does not wait for the runtime to park either.
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    stopwatch.delays.clear();
    for index in 0..100 {
        send_now(&mut sender, to, 8, &stamp(start));
        while stopwatch.delays.len() <= index {
            ready(&mut receiver).await;
            receiver.receive(64, &mut stopwatch).unwrap();
        }
    }
    stopwatch.delays.sort();
    let median = stopwatch.delays[50];
    assert!(
        median < DELAY_MEDIAN_MAX,
        "median delay {median:?} of own sends"
    );
    neighbours.iter().for_each(|task| task.abort());
}

/// Waiting costs nothing: no polling, no spurious readiness.
pub(crate) async fn an_idle_driver_sleeps(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let mut inbox = Inbox::default();
    send_now(&mut sender, address(&receiver), 3, b"one");
    collect(&mut receiver, &mut inbox, 1).await;
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    let waiting = std::future::poll_fn(|context| {
        counted.set(counted.get() + 1);
        match receiver.poll_ready(context) {
            std::task::Poll::Pending => std::task::Poll::Pending,
            std::task::Poll::Ready(result) => {
                result.unwrap();
                // Spurious readiness is allowed, but must go away once looked at.
                receiver.receive(64, &mut inbox).unwrap();
                context.waker().wake_by_ref();
                std::task::Poll::<()>::Pending
            }
        }
    });
    let ended = tokio::time::timeout(Duration::from_millis(200), waiting).await;
    assert!(ended.is_err());
    assert!(
        polls.get() <= 8,
        "{} polls in 200 ms of silence",
        polls.get()
    );
    assert_eq!(inbox.0.len(), 1);
}

/// What a short turn left behind is announced again, although no new packet comes.
pub(crate) async fn leftovers_need_no_new_packet(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    for index in 0..30u8 {
        sender
            .send(crate::harness::run_to(to, 10, &[index; 10]))
            .unwrap();
    }
    sender.flush().unwrap();
    let mut inbox = Inbox::default();
    let turns = async {
        while inbox.0.len() < 30 {
            ready(&mut receiver).await;
            receiver.receive(1, &mut inbox).unwrap();
        }
    };
    let ended = tokio::time::timeout(PATIENCE, turns).await;
    assert!(ended.is_ok(), "{} of 30", inbox.0.len());
}
