//! Media workers: one OS thread each, with its driver, its shard and its queues.
//!
//! Nothing here is shared between workers. The control thread reaches a worker by a bounded queue of
//! requests and hears from it by a bounded queue of events; when the latter closes without having
//! been told to stop, the worker has died and its rooms with it.

mod ask;
mod backlog;
pub(crate) mod capture;
mod counters;
pub(crate) mod handover;
pub(crate) mod interfaces;
pub(crate) mod latency;
pub(crate) mod links;
mod rooms;
mod transmit;
mod turn;

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use rillway_core::api::{Event, RoomEvent};
use rillway_core::id::WorkerId;
use rillway_core::limits::Limits;
use rillway_core::path::Relays;
use rillway_core::{Shard, ShardConfig};
use rillway_recorder::engine::Tap;
use rillway_ring::runtime::Runtime;
use rillway_ring::{
    Chosen, Driver, DriverChoice, DriverConfig, DriverKind, OpenError, PortSharing, UdpDriver,
};
use tokio::sync::mpsc;

use crate::telemetry::metrics::WorkerRecorder;

pub(crate) use ask::{Command, Question};
pub(crate) use counters::{BOUNDS, WorkerStats};
pub(crate) use handover::Handover;
pub(crate) use latency::Window;
pub(crate) use links::Links;
pub(crate) use turn::ToWorker;

/// Requests waiting for a worker at most. A request is refused at once when a worker is that far
/// behind: at about a millisecond for the dearest kind, it would be answered after a second.
const REQUESTS_MAX: usize = 1_024;

/// Events waiting for the control thread at most; more wait in the worker's backlog.
const EVENTS_MAX: usize = 4_096;

/// Events about rooms waiting for the control thread at most; more wait in the worker.
const ROOM_EVENTS_MAX: usize = 1_024;

/// How a worker is set up.
pub(crate) struct Settings {
    /// Which worker it is.
    pub(crate) id: WorkerId,
    /// Addresses and memory of its driver.
    pub(crate) driver: DriverConfig,
    /// Which driver is wanted.
    pub(crate) choice: DriverChoice,
    /// Bounds of its shard.
    pub(crate) limits: Limits,
    /// Where packets of recorded tracks go, if there is a recorder.
    pub(crate) tap: Option<Tap>,
    /// Its ways to the other workers.
    pub(crate) links: Links,
    /// Its ways to those behind the same UDP port.
    pub(crate) handover: Handover,
    /// The router's own TURN relay, if it has one.
    pub(crate) relays: Option<Arc<dyn Relays>>,
    /// Core it is pinned to.
    pub(crate) core: Option<core_affinity::CoreId>,
    /// Turns a bound address into the one clients are told.
    pub(crate) advertise: Box<dyn Fn(SocketAddr) -> SocketAddr + Send>,
}

impl Settings {
    /// Takes the ports that the first worker got, if it is to stand behind the same.
    pub(crate) fn join_ports(&mut self, first: &[SocketAddr]) {
        if self.driver.sharing == PortSharing::Joined {
            for (address, got) in self.driver.addresses.iter_mut().zip(first) {
                address.set_port(got.port());
            }
        }
    }
}

/// A worker that serves.
pub(crate) struct Worker {
    /// Which worker it is.
    pub(crate) id: WorkerId,
    /// Addresses it has bound.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Addresses clients are told, by the same index.
    pub(crate) advertised: Vec<SocketAddr>,
    /// The driver it uses, and why.
    pub(crate) chosen: Chosen,
    /// To it.
    pub(crate) requests: mpsc::Sender<ToWorker>,
    /// From it, for its clients.
    pub(crate) events: mpsc::Receiver<Event>,
    /// From it, about its rooms.
    pub(crate) rooms: mpsc::Receiver<RoomEvent>,
    /// What it shows of itself.
    pub(crate) window: Window,
    /// Its thread.
    pub(crate) thread: JoinHandle<()>,
}

/// Why a worker does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartError {
    /// No thread.
    #[error("cannot start the thread of worker {}: {source}", .id.0)]
    Thread {
        /// Which worker.
        id: WorkerId,
        /// What the system said.
        source: io::Error,
    },
    /// No driver.
    #[error("worker {}: {source}", .id.0)]
    Open {
        /// Which worker.
        id: WorkerId,
        /// What the driver said.
        source: OpenError,
    },
    /// No seed.
    #[error("worker {}: the system gives no random numbers: {source}", .id.0)]
    Seed {
        /// Which worker.
        id: WorkerId,
        /// What the system said.
        source: getrandom::Error,
    },
    /// The thread ended before it was ready.
    #[error("worker {} ended while it was starting", .id.0)]
    Ended {
        /// Which worker.
        id: WorkerId,
    },
}

/// A worker on its way up.
pub(crate) struct Starting {
    id: WorkerId,
    ready: std_mpsc::Receiver<Result<Ready, StartError>>,
    requests: mpsc::Sender<ToWorker>,
    events: mpsc::Receiver<Event>,
    rooms: mpsc::Receiver<RoomEvent>,
    window: Window,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Ends it and waits until it has let go of its ports. For starts that are given up.
    pub(crate) fn end(self) {
        drop(self.requests);
        // A panic of the thread has been logged by itself.
        let _ = self.thread.join();
    }
}

struct Ready {
    addresses: Vec<SocketAddr>,
    advertised: Vec<SocketAddr>,
    chosen: Chosen,
}

/// Starts a worker's thread; [`Starting::ready`] waits until its sockets are bound.
///
/// # Errors
/// [`StartError::Thread`], [`StartError::Seed`].
pub(crate) fn start(settings: Settings, recorder: WorkerRecorder) -> Result<Starting, StartError> {
    let id = settings.id;
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).map_err(|source| StartError::Seed { id, source })?;
    let (ready_sender, ready) = std_mpsc::channel();
    let (requests, requests_receiver) = mpsc::channel(REQUESTS_MAX);
    let (events_sender, events) = mpsc::channel(EVENTS_MAX);
    let (rooms_sender, rooms) = mpsc::channel(ROOM_EVENTS_MAX);
    let window = Window::new();
    let start = ThreadStart {
        settings,
        seed,
        ready: ready_sender,
        requests: requests_receiver,
        events: events_sender,
        rooms: rooms_sender,
        window: window.clone(),
        recorder,
    };
    let thread = std::thread::Builder::new()
        .name(format!("rillway-media-{}", id.0))
        .spawn(move || thread_main(start))
        .map_err(|source| StartError::Thread { id, source })?;
    Ok(Starting {
        id,
        ready,
        requests,
        events,
        rooms,
        window,
        thread,
    })
}

impl Starting {
    /// Waits until the worker has bound its sockets.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn ready(self) -> Result<Worker, StartError> {
        let id = self.id;
        let ready = self.ready.recv().unwrap_or(Err(StartError::Ended { id }))?;
        Ok(Worker {
            id,
            addresses: ready.addresses,
            advertised: ready.advertised,
            chosen: ready.chosen,
            requests: self.requests,
            events: self.events,
            rooms: self.rooms,
            window: self.window,
            thread: self.thread,
        })
    }
}

struct ThreadStart {
    settings: Settings,
    seed: [u8; 32],
    ready: std_mpsc::Sender<Result<Ready, StartError>>,
    requests: mpsc::Receiver<ToWorker>,
    events: mpsc::Sender<Event>,
    rooms: mpsc::Sender<RoomEvent>,
    window: Window,
    recorder: WorkerRecorder,
}

fn thread_main(start: ThreadStart) {
    contain(start.settings.id, || serve(start));
}

/// A panic that gets here was no single transport's: the shard may be in any state, so the worker
/// ends; the rest of the process goes on.
fn contain(id: WorkerId, serve: impl FnOnce() -> io::Result<()>) {
    match catch_unwind(AssertUnwindSafe(serve)) {
        Ok(Ok(())) => tracing::debug!(worker = id.0, "worker ended"),
        Ok(Err(fault)) => {
            tracing::error!(worker = id.0, %fault, "worker ended by a fault of its driver");
        }
        Err(panic) => {
            let message = panic_message(&*panic);
            tracing::error!(worker = id.0, message, "worker ended by a panic");
        }
    }
}

/// The text of a panic, for logs.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

fn serve(start: ThreadStart) -> io::Result<()> {
    let id = start.settings.id;
    if let Some(core) = start.settings.core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(
            worker = id.0,
            core = core.id,
            "cannot pin the worker to this core"
        );
    }
    let ready = start.ready.clone();
    match Runtime::for_choice(start.settings.choice, &start.settings.driver) {
        Ok((runtime, chosen)) => runtime.block_on(open_and_run(start, chosen)),
        Err(source) => {
            // Nobody waits any more only if the start was given up.
            let _ = ready.send(Err(StartError::Open { id, source }));
            Ok(())
        }
    }
}

/// Opens the driver that goes with the runtime; a ring may still fall back.
fn open(settings: &Settings, chosen: Chosen) -> Result<(Driver, Chosen), OpenError> {
    if chosen.kind == DriverKind::Ring {
        rillway_ring::open(settings.choice, &settings.driver)
    } else {
        rillway_ring::open_kind(chosen.kind, &settings.driver).map(|driver| (driver, chosen))
    }
}

/// Why this driver, as a label of few values.
fn reason(choice: DriverChoice, kind: DriverKind) -> &'static str {
    match (choice, kind) {
        (DriverChoice::Auto, DriverKind::Ring) => "probed",
        (DriverChoice::Auto, _) => "fallback",
        _ => "configured",
    }
}

async fn open_and_run(start: ThreadStart, chosen: Chosen) -> io::Result<()> {
    let settings = &start.settings;
    let id = settings.id;
    let (driver, chosen) = match open(settings, chosen) {
        Ok(opened) => opened,
        Err(source) => {
            let _ = start.ready.send(Err(StartError::Open { id, source }));
            return Ok(());
        }
    };
    start
        .recorder
        .driver(chosen.kind.as_str(), reason(settings.choice, chosen.kind));
    let addresses = driver.local_addresses().to_vec();
    let advertised: Vec<_> = addresses.iter().map(|&a| (settings.advertise)(a)).collect();
    let config = ShardConfig {
        worker: id,
        local_addresses: addresses.clone(),
        advertised_addresses: advertised.clone(),
        listeners: driver.listeners(),
        limits: settings.limits,
        relays: settings.relays.clone(),
        // A clock before 1970 is no clock: reports then count from there.
        unix_time: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
        seed: start.seed,
    };
    let now = Instant::now();
    let mut shard = Shard::new(config, now);
    shard.announce_rooms();
    let others = start.settings.handover.others();
    if !others.is_empty() {
        shard.share_ports(now, others);
    }
    let ready = Ready {
        addresses,
        advertised,
        chosen,
    };
    if start.ready.send(Ok(ready)).is_err() {
        return Ok(());
    }
    turn::run(turn::Turns {
        driver,
        shard,
        requests: start.requests,
        backlog: backlog::Backlog::new(start.events),
        rooms: rooms::Rooms::new(start.rooms),
        window: start.window,
        recorder: start.recorder,
        tap: start.settings.tap,
        links: start.settings.links,
        handover: start.settings.handover,
        steering: start.settings.driver.steering,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_worker_and_closes_its_queues() {
        let (events, mut received) = mpsc::channel::<Event>(1);
        let thread = std::thread::spawn(move || {
            contain(WorkerId(0), || {
                let _events = events;
                panic!("on purpose")
            });
        });
        assert!(received.blocking_recv().is_none());
        thread.join().expect("the panic went no further");
    }

    #[test]
    fn panics_have_a_text_for_the_log() {
        let literal = catch_unwind(|| panic!("literal")).unwrap_err();
        let formatted = catch_unwind(|| panic!("{}", 1 + 1)).unwrap_err();
        let other = catch_unwind(|| std::panic::panic_any(7)).unwrap_err();
        assert_eq!(panic_message(&*literal), "literal");
        assert_eq!(panic_message(&*formatted), "2");
        assert_eq!(panic_message(&*other), "(no message)");
    }
}
