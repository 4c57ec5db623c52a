//! The thread around the core: its clock, its queues, and a runtime that carries out its jobs.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;

use super::Command;
use super::core::Core;
use super::queue::Tail;
use super::settings::Writer;
use super::stats::{self, Stats};
use crate::api::{Event, Order, Start};
use crate::disk::{Disk, Done, Job, Leftovers, RealDisk, Root};
use crate::film::{Films, Origin};

/// Threads for blocking calls: those of the disk at once, and room for the runtime's own.
const THREADS_MAX: usize = 16;
/// Orders that are carried out before queues and films are looked at again.
const ORDERS_AT_ONCE: usize = 512;

/// What the thread holds.
pub(super) struct Shell {
    pub(super) core: Core,
    pub(super) tails: Vec<Tail>,
    pub(super) orders: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stats: Arc<Stats>,
    pub(super) leftovers: Option<Leftovers>,
    pub(super) jobs: Vec<Job>,
    pub(super) done: Vec<Done>,
}

/// Until everything is finished.
pub(super) fn run(writer: Writer, root: Arc<Root>, films: Arc<dyn Films>, shell: Shell) {
    let ring = match writer {
        Writer::Auto => tokio_uring::Runtime::new(&tokio_uring::builder()),
        Writer::Blocking => Err(std::io::Error::other("not wanted")),
    };
    match ring {
        Ok(ring) => {
            stats::set(&shell.stats.on_ring, 1);
            ring.block_on(shell.serve(RealDisk::new(root, films, true)));
        }
        Err(error) => {
            tracing::info!(%error, "recordings are written without a ring");
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().max_blocking_threads(THREADS_MAX);
            match builder.build() {
                Ok(runtime) => {
                    runtime.block_on(shell.serve(RealDisk::new(root, films, false)));
                }
                Err(error) => tracing::error!(%error, "the recorder has no runtime"),
            }
        }
    }
}

fn now() -> Origin {
    Origin {
        at: Instant::now(),
        wall: SystemTime::now(),
    }
}

impl Shell {
    async fn serve(mut self, mut disk: impl Disk) {
        if let Some(leftovers) = self.leftovers.take() {
            self.core.recover(leftovers);
        }
        let mut next = None;
        let mut shut = false;
        loop {
            shut |= self.obey(next.take());
            self.turn(&mut disk);
            if self.core.is_done() {
                return;
            }
            match self.core.wait() {
                // After a finish nothing more comes; what is left is to wait for the disk.
                wait if shut => tokio::time::sleep(wait.unwrap_or(super::TICK)).await,
                Some(wait) => {
                    let command = tokio::time::timeout(wait, self.orders.recv()).await;
                    next = command
                        .ok()
                        .map(|command| command.unwrap_or(Command::Finish));
                }
                None => next = Some(self.orders.recv().await.unwrap_or(Command::Finish)),
            }
        }
    }

    /// Carries out commands, and takes packets from the queues. True: everything is to be finished.
    ///
    /// A packet that is in a queue now has its track's start in the channel by now: so starts come first,
    /// then those packets, and then what ends.
    fn obey(&mut self, first: Option<Command>) -> bool {
        let mut waiting: Vec<usize> = self.tails.iter().map(Tail::len).collect();
        let mut ends: Vec<(Order, Instant)> = Vec::new();
        let mut shut = false;
        let mut next = first;
        for _ in 0..ORDERS_AT_ONCE {
            match next.take().map_or_else(|| self.orders.try_recv(), Ok) {
                Ok(Command::Order(Order::Start(start), given)) => {
                    if ends.iter().any(|(end, _)| concerns(end, &start)) {
                        self.take(&mut waiting);
                        self.end(&mut ends);
                    }
                    self.core.order(Order::Start(start), given, now());
                }
                Ok(Command::Order(end, given)) => ends.push((end, given)),
                Ok(Command::Finish) | Err(mpsc::error::TryRecvError::Disconnected) => {
                    shut = true;
                    break;
                }
                Err(mpsc::error::TryRecvError::Empty) => break,
            }
        }
        self.take(&mut waiting);
        self.end(&mut ends);
        if shut {
            self.core.shut(now());
        }
        shut
    }

    fn end(&mut self, ends: &mut Vec<(Order, Instant)>) {
        for (end, given) in ends.drain(..) {
            self.core.order(end, given, now());
        }
    }

    fn turn(&mut self, disk: &mut impl Disk) {
        disk.done(&mut self.done);
        for done in self.done.drain(..) {
            self.core.done(done, now());
        }
        self.core.step(now());
        self.core.take_jobs(&mut self.jobs);
        for job in self.jobs.drain(..) {
            disk.submit(job);
        }
        while let Some(event) = self.core.pop_event() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.core.unpop_event(event);
                    break;
                }
                // Nobody wants to know.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }

    /// Takes so many packets from each queue: not those that come meanwhile, so that fast workers cannot keep
    /// this thread here.
    fn take(&mut self, waiting: &mut [usize]) {
        let at = Instant::now();
        for (tail, waiting) in self.tails.iter_mut().zip(waiting) {
            while let Some(track) = tail.loss() {
                self.core.loss(track, at);
            }
            let packets = std::mem::take(waiting);
            stats::add(&self.stats.packets, packets as u64);
            stats::max(&self.stats.queue_packets_max, packets as u64);
            for item in (0..packets).map_while(|_| tail.pop()) {
                self.core.packet(item, at);
            }
        }
    }
}

/// Whether a start has to come after what ends.
fn concerns(end: &Order, start: &Start) -> bool {
    match end {
        Order::Stop(track) => *track == start.track,
        Order::RoomClosed(room) => *room == start.room,
        Order::Start(_) | Order::Bounds(_) => false,
    }
}
