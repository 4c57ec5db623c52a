//! Two drivers on one network, and a receiver that keeps what it gets.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, UdpSocket};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rillway_ring::runtime::Runtime;
use rillway_ring::sim::SimNetwork;
use rillway_ring::{
    Driver, DriverChoice, DriverConfig, DriverKind, OpenError, Receiver, SendRun, SocketId,
    UdpDriver, choose, open_kind,
};

/// Longest wait for anything; generous, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Longest run of a case.
const CASE_PATIENCE: Duration = Duration::from_secs(120);

/// The network that a case's drivers share.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) kind: DriverKind,
    pub(crate) sim: SimNetwork,
}

impl Net {
    pub(crate) fn open(&self, config: &DriverConfig) -> Result<Driver, OpenError> {
        match self.kind {
            DriverKind::Sim => Ok(Driver::Sim(self.sim.open(config)?)),
            kind => open_kind(kind, config),
        }
    }

    /// A driver with one loopback socket and defaults.
    pub(crate) fn driver(&self) -> Driver {
        self.open(&any()).expect("a loopback driver opens")
    }
}

/// One loopback socket on a free port.
pub(crate) fn any() -> DriverConfig {
    DriverConfig::new(["127.0.0.1:0".parse().unwrap()])
}

/// One socket on a loopback address that no other case uses: its port stays free when it is given up.
pub(crate) fn alone() -> DriverConfig {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    let middle = (std::process::id() % 250) as u8;
    DriverConfig::new([SocketAddr::from(([127, 77, middle, last], 0))])
}

/// Write: a process is being started. Until it has replaced itself it holds copies of all our sockets,
/// and with them their ports.
pub(crate) static STARTING_PROCESS: RwLock<()> = RwLock::new(());

/// Drops a driver and opens another at once: nothing may still hold its ports. Asks the kernel itself,
/// because opening a driver waits for a port that a killed process has not yet let go of.
pub(crate) fn replace(net: &Net, driver: Driver, config: &DriverConfig) -> Driver {
    let _undisturbed = STARTING_PROCESS.read().unwrap();
    let held = driver.local_addresses().to_vec();
    drop(driver);
    if net.kind != DriverKind::Sim {
        for address in held {
            UdpSocket::bind(address).expect("the port is free at once");
        }
    }
    net.open(config).expect("the port is free at once")
}

/// Runs a case in the runtime of its driver.
pub(crate) fn run<F: Future<Output = ()>>(kind: DriverKind, case: impl FnOnce(Net) -> F) {
    let refused = match kind {
        DriverKind::Ring => choose(DriverChoice::Ring, &any()).err(),
        DriverKind::Mmsg | DriverKind::Sim => None,
    };
    if let Some(error) = refused {
        assert!(
            std::env::var_os("RILLWAY_RING_OPTIONAL").is_some(),
            "{error} (set RILLWAY_RING_OPTIONAL=1 to skip the ring's cases)"
        );
        eprintln!("skipped: {error}");
        return;
    }
    let net = Net {
        kind,
        sim: SimNetwork::new(),
    };
    let ended = Runtime::new(kind)
        .unwrap()
        .block_on(async { tokio::time::timeout(CASE_PATIENCE, case(net)).await });
    assert!(ended.is_ok(), "the case does not end");
}

/// Received datagrams, in order.
#[derive(Default)]
pub(crate) struct Inbox(pub(crate) Vec<(SocketId, SocketAddr, Vec<u8>)>);

impl Receiver for Inbox {
    fn datagram(&mut self, socket: SocketId, source: SocketAddr, data: &mut [u8]) {
        self.0.push((socket, source, data.to_vec()));
    }
}

impl Inbox {
    pub(crate) fn payloads(&self) -> Vec<&[u8]> {
        self.0.iter().map(|(_, _, data)| data.as_slice()).collect()
    }
}

pub(crate) fn address(driver: &Driver) -> SocketAddr {
    driver.local_addresses()[0]
}

/// A run from the first socket.
pub(crate) fn run_to(destination: SocketAddr, segment_bytes: usize, payload: &[u8]) -> SendRun<'_> {
    SendRun {
        socket: SocketId(0),
        destination,
        segment_bytes,
        payload,
    }
}

/// Sends one run and flushes.
pub(crate) fn send_now(
    driver: &mut Driver,
    destination: SocketAddr,
    segment_bytes: usize,
    payload: &[u8],
) {
    driver
        .send(run_to(destination, segment_bytes, payload))
        .unwrap();
    driver.flush().unwrap();
}

/// Waits until the driver is ready. Yields, so that a driver that says so for ever meets the time limit
/// of its case.
pub(crate) async fn ready(driver: &mut Driver) {
    tokio::task::yield_now().await;
    let before = driver.stats();
    let waiting = poll_fn(|context| driver.poll_ready(context));
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(result) => result.unwrap(),
        Err(_) => panic!("no wake-up; {before:?}"),
    }
}

/// Turns until `inbox` holds `count` datagrams.
pub(crate) async fn collect(driver: &mut Driver, inbox: &mut Inbox, count: usize) {
    let turns = async {
        while inbox.0.len() < count {
            ready(driver).await;
            while driver.receive(64, inbox).unwrap() >= 64 {}
        }
    };
    let ended = tokio::time::timeout(PATIENCE, turns).await;
    assert!(
        ended.is_ok(),
        "{} of {count} datagrams arrived; {:?}",
        inbox.0.len(),
        driver.stats()
    );
}

/// Time for anything that should not come.
pub(crate) async fn expect_silence(driver: &mut Driver, inbox: &mut Inbox) {
    let before = inbox.0.len();
    let turns = async {
        loop {
            ready(driver).await;
            driver.receive(64, inbox).unwrap();
            tokio::task::yield_now().await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(Duration::from_millis(50), turns).await;
    assert_eq!(inbox.0.len(), before, "nothing more was to come");
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Whether this process may make network namespaces; says why not.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}
