//! The recorder: a thread of its own between the media workers' queues and the disk.
//!
//! `core` decides everything and knows no clock, thread or file; `run` is the thread around it.

mod core;
mod done;
mod file;
mod health;
mod queue;
mod rooms;
mod run;
mod settings;
mod stats;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc as threads;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use queue::Tap;
pub use settings::{QUEUE_PACKETS_LEAST, Settings, StartError, Writer};
pub use stats::{Snapshot, Stats};

use crate::api::{Event, Order};
use crate::disk::{Leftovers, Root};
use crate::film::Films;

/// How often queues and films are looked at while anything is recorded.
const TICK: Duration = Duration::from_millis(25);
/// The same while recording is stopped, or a sidecar is to be written again.
const TICK_SLOW: Duration = Duration::from_secs(1);
/// Orders that wait for the recorder: all tracks of a full router may start at once.
const ORDERS_MAX: usize = 8_192;
/// Events that wait for the control side; further ones wait in the recorder.
const EVENTS_MAX: usize = 8_192;

/// A running recorder.
#[derive(Debug)]
#[non_exhaustive]
pub struct Running {
    /// One for each media worker.
    pub taps: Vec<Tap>,
    /// Where orders go.
    pub orders: Orders,
    /// What happened. Bounded; while it is full, events wait in the recorder, up to a bound too.
    pub events: mpsc::Receiver<Event>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// The thread.
    pub recorder: Recorder,
}

/// What the thread is told.
enum Command {
    /// And when it was given.
    Order(Order, Instant),
    Finish,
}

/// Gives orders. When all clones and the [`Recorder`] are dropped, everything is finished and the thread ends.
#[derive(Debug, Clone)]
pub struct Orders {
    to: mpsc::Sender<Command>,
}

/// The recorder takes no more orders now, or none ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder is too busy to take an order, or has ended")]
pub struct Refused;

impl Orders {
    /// Gives an order. Never waits. Packets of a track count if they arrived after its start was given.
    ///
    /// # Errors
    /// [`Refused`]: the order was not taken.
    pub fn give(&self, order: Order) -> Result<(), Refused> {
        let command = Command::Order(order, Instant::now());
        self.to.try_send(command).map_err(|_| Refused)
    }
}

/// The recorder's thread.
#[derive(Debug)]
pub struct Recorder {
    to: mpsc::Sender<Command>,
    ended: threads::Receiver<()>,
}

impl Recorder {
    /// Finishes all files and ends the thread. Blocks for at most `within`. False: it is not done by then
    /// (a slow disk); the thread goes on, and what it cannot complete is recovered at the next start.
    #[must_use]
    pub fn finish(self, within: Duration) -> bool {
        let mut finish = Command::Finish;
        let until = Instant::now() + within;
        loop {
            match self.to.try_send(finish) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => break,
                Err(mpsc::error::TrySendError::Full(command)) => finish = command,
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(TICK);
        }
        let left = until.saturating_duration_since(Instant::now());
        // The other end is dropped, unused, when the thread ends.
        self.ended.recv_timeout(left) != Err(threads::RecvTimeoutError::Timeout)
    }
}

/// So many files, or half of the descriptors that this process may have.
fn within_descriptors(files: usize) -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = usize::try_from(descriptors.unwrap_or(u64::MAX) / 2).unwrap_or(usize::MAX);
    files.min(most)
}

/// Starts a recorder for so many media workers. What a crash left beneath the root is finished beside it.
/// `films` makes what goes into media containers; RTP dumps need none.
///
/// # Errors
/// The root cannot be made, locked or read, or there is no thread.
pub fn start(
    mut settings: Settings,
    films: Arc<dyn Films>,
    workers: usize,
) -> Result<Running, StartError> {
    let root = Root::record(&settings.root)?;
    let leftovers = Leftovers::find(&root).map_err(|error| StartError::Root {
        root: settings.root.clone(),
        what: "what is in it cannot be looked through",
        error,
    })?;
    settings.files_max = within_descriptors(settings.files_max);
    let stats = Arc::new(Stats::default());
    let packets = settings.queue_packets.max(QUEUE_PACKETS_LEAST);
    let queues = (0..workers).map(|_| queue::queue(packets, &stats));
    let (taps, tails) = queues.unzip();
    let (orders, from_orders) = mpsc::channel(ORDERS_MAX);
    let (to_events, events) = mpsc::channel(EVENTS_MAX);
    let (alive, ended) = threads::sync_channel(0);
    let writer = settings.writer;
    let shell = run::Shell {
        core: core::Core::new(settings, Arc::clone(&films), Arc::clone(&stats)),
        tails,
        orders: from_orders,
        events: to_events,
        stats: Arc::clone(&stats),
        leftovers: Some(leftovers),
        jobs: Vec::new(),
        done: Vec::new(),
    };
    let thread = std::thread::Builder::new().name("rillway-recorder".to_owned());
    let body = move || {
        run::run(writer, Arc::new(root), films, shell);
        drop(alive);
    };
    thread.spawn(body).map_err(StartError::Thread)?;
    Ok(Running {
        taps,
        orders: Orders { to: orders.clone() },
        events,
        stats,
        recorder: Recorder { to: orders, ended },
    })
}
