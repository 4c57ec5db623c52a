//! Waking up: in time, and not for nothing.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use rillway_ring::{Driver, DriverKind, Receiver, SocketId, UdpDriver};

use crate::harness::{Inbox, Net, PATIENCE, address, collect, ready, send_now};

/// Longest median delay from send to receive of a thread that has nothing else to do. Tens of
/// microseconds on a quiet machine; what is looked for here is a wake-up that comes by accident only.
const DELAY_MEDIAN_MAX: Duration = Duration::from_millis(100);
/// Longest median delay while a neighbour wakes itself all the time; in its steps, because time says
/// nothing on a busy machine. Tokio looks at its events every 61 turns: 31 to 59 steps were seen.
const NEIGHBOUR_STEPS_MAX: u64 = 500;
/// The same for a neighbour that yields as tokio means it: events are looked at each time.
const YIELDING_STEPS_MAX: u64 = 50;

/// What a datagram is stamped with.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

fn nanoseconds() -> Clock {
    let start = Instant::now();
    Arc::new(move || start.elapsed().as_nanos() as u64)
}

/// Delays of stamped datagrams.
struct Stopwatch {
    clock: Clock,
    delays: Vec<u64>,
}

impl Stopwatch {
    fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            delays: Vec::new(),
        }
    }

    fn median(&mut self) -> u64 {
        self.delays.sort_unstable();
        self.delays[self.delays.len() / 2]
    }
}

impl Receiver for Stopwatch {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        let sent = u64::from_ne_bytes(data[..8].try_into().unwrap());
        self.delays.push((self.clock)() - sent);
    }
}

/// Sends `count` stamped datagrams, four each millisecond, while the receiver's thread sleeps: from
/// another thread where the network is the kernel's, from another task where it is simulated.
fn send_stamped(net: &Net, to: SocketAddr, clock: &Clock, count: usize) {
    let clock = clock.clone();
    if net.kind == DriverKind::Sim {
        let endpoint = net.sim.endpoint("127.0.0.1:0".parse().unwrap()).unwrap();
        tokio::task::spawn_local(async move {
            for index in 0..count {
                assert!(endpoint.send(to, &clock().to_ne_bytes()));
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
            socket.send_to(&clock().to_ne_bytes(), to).unwrap();
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
}

pub(crate) async fn a_parked_thread(net: Net) {
    let mut receiver = net.driver();
    let clock = nanoseconds();
    let mut stopwatch = Stopwatch::new(&clock);
    send_stamped(&net, address(&receiver), &clock, 1000);
    measure(&mut receiver, &mut stopwatch, 1000).await;
    let median = Duration::from_nanos(stopwatch.median());
    eprintln!("woken after {median:?}");
    assert!(median < DELAY_MEDIAN_MAX, "{median:?}");
}

/// Neighbours that are always ready keep the runtime from parking, in both ways: by yielding, and by
/// waking themselves, which tokio treats with less care.
pub(crate) async fn a_never_idle_neighbour(net: Net) {
    never_idle(&net, YIELDING_STEPS_MAX, tokio::task::yield_now).await;
    never_idle(&net, NEIGHBOUR_STEPS_MAX, || {
        let mut woken = false;
        poll_fn(move |context| {
            if std::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    })
    .await;
}

async fn never_idle<F: Future<Output = ()> + 'static>(net: &Net, steps_max: u64, idle: fn() -> F) {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = steps.clone();
    let neighbour = tokio::task::spawn_local(async move {
        loop {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
            counted.fetch_add(1, Ordering::Relaxed);
            idle().await;
        }
    });
    let clock: Clock = Arc::new(move || steps.load(Ordering::Relaxed));
    let mut receiver = net.driver();
    let mut stopwatch = Stopwatch::new(&clock);
    send_stamped(net, address(&receiver), &clock, 500);
    measure(&mut receiver, &mut stopwatch, 500).await;
    let median = stopwatch.median();
    eprintln!("woken after {median} steps of the neighbour");
    assert!(median <= steps_max, "{median} steps");

    // Sending does not wait for the runtime to park either.
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let mut stopwatch = Stopwatch::new(&clock);
    for count in 1..=20 {
        send_now(&mut sender, address(&receiver), 8, &clock().to_ne_bytes());
        measure(&mut receiver, &mut stopwatch, count).await;
    }
    let median = stopwatch.median();
    assert!(median <= steps_max, "{median} steps for own sends");
    neighbour.abort();
}

/// Waiting costs nothing: no polling, no spurious readiness.
pub(crate) async fn an_idle_driver_sleeps(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let mut inbox = Inbox::default();
    send_now(&mut sender, address(&receiver), 3, b"one");
    collect(&mut receiver, &mut inbox, 1).await;
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    let waiting = poll_fn(|context| {
        counted.set(counted.get() + 1);
        match receiver.poll_ready(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                result.unwrap();
                // Spurious readiness is allowed, but must go away once looked at.
                receiver.receive(64, &mut inbox).unwrap();
                context.waker().wake_by_ref();
                Poll::<()>::Pending
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
