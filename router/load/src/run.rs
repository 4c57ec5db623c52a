//! A run from the first join to the report.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};

use crate::clock::{Clock, Window};
use crate::health::{self, Process, Scheduled};
use crate::peer::{self, Shared};
use crate::plan::{Member, Plan, PlanError};
use crate::report::Report;
use crate::server::{ConnectError, Connector};
use crate::signal::{Board, Client, JOIN_TIME, JoinError};
use crate::sum::{Looked, Measured};
use crate::thread::{Command, Running, Setup};

/// After what is measured, publishers go on for so long, and what is on its way arrives.
const DRAIN_TIME: Duration = Duration::from_millis(1_000);
/// From the moment at which the threads are told of a time until it has come.
const LEAD: Duration = Duration::from_millis(50);
/// In which clients have left.
const LEAVE_TIME: Duration = Duration::from_secs(5);
/// So many that fail before anybody has joined are enough.
const FAILURES_FIRST: usize = 5;

/// Why a run did not come to a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The plan is none.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nobody could join.
    #[error("nobody could join: {0}")]
    Nobody(JoinError),
    /// A process that cannot be watched.
    #[error("process {0} cannot be watched: it is not there, or another user's")]
    Watch(u32),
    /// More sockets than this process may have.
    #[error(
        "{clients} clients need {needed} open files, and this process may have {allowed}: raise the limit \
         (`ulimit -n {needed}`)"
    )]
    Files {
        /// Of the run.
        clients: usize,
        /// For their sockets.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// The machine has no more threads, sockets or random numbers.
    #[error("this machine: {0}")]
    Machine(#[from] io::Error),
    /// Ctrl-C before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
}

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Clients join.
    Joining,
    /// They have joined, and what joining brought about settles.
    Settling,
    /// It is measured.
    Measuring,
    /// Clients leave.
    Leaving,
}

/// Where a run is, each second.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Since the run began.
    pub elapsed: Duration,
    /// Of the phase, what is over and what it takes in all; joining takes as long as it takes.
    pub of_phase: Option<(Duration, Duration)>,
    /// Clients of the run.
    pub clients: usize,
    /// Those that joined.
    pub joined: usize,
    /// Those that did not, or were cut off.
    pub failed: usize,
    /// The last failure.
    pub last_failure: Option<String>,
    /// RTP packets received in the last second.
    pub packets_per_second: f64,
    /// Bits received in the last second.
    pub bits_per_second: f64,
    /// Of a core, the busiest thread of the swarm in the last second.
    pub busy_percent: f64,
}

/// Carries out a plan; `watch` is called each second. `authorities` is a file of certificates (PEM) beside the
/// machine's.
///
/// # Errors
/// [`LoadError`].
pub fn run(
    plan: Plan,
    authorities: Option<&str>,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Report, LoadError> {
    plan.check()?;
    let members = plan.members();
    enough_files(members.len())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let swarm = Swarm::start(plan, members, authorities).await?;
        swarm.run(watch).await
    })
}

/// Two sockets for media and one for signaling each, and some.
fn enough_files(clients: usize) -> Result<(), LoadError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = clients as u64 * 3 + 100;
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limits.maximum,
    };
    match limits.maximum {
        Some(allowed) if allowed < needed => Err(LoadError::Files {
            clients,
            needed,
            allowed,
        }),
        _ => Ok(setrlimit(Resource::Nofile, raised).map_err(io::Error::from)?),
    }
}

struct Swarm {
    plan: Rc<Plan>,
    members: Vec<Member>,
    connector: Rc<Connector>,
    threads: Vec<Rc<Running>>,
    clock: Clock,
    window: Window,
    board: Rc<RefCell<Board>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    begun: Instant,
    watched_before: Vec<Process>,
    last: (Instant, u64, u64, Vec<Scheduled>),
}

impl Swarm {
    async fn start(
        plan: Plan,
        members: Vec<Member>,
        authorities: Option<&str>,
    ) -> Result<Self, LoadError> {
        let connector = Connector::new(plan.server.clone(), authorities).await?;
        let look = |pid: &u32| Process::look(*pid).ok_or(LoadError::Watch(*pid));
        let watched_before = plan.watch.iter().map(look).collect::<Result<_, _>>()?;
        let clock = Clock::start();
        let window = Window::new();
        let mut run = [0; 4];
        getrandom::fill(&mut run).map_err(io::Error::other)?;
        let provider = str0m_aws_lc_rs::default_provider().dtls_provider;
        let certificate = provider.generate_certificate();
        let certificate =
            certificate.ok_or_else(|| io::Error::other("no certificate could be made"))?;
        let setup = Setup {
            shared: Arc::new(Shared {
                certificate,
                media: plan.media,
                clock,
            }),
            address: match plan.bind {
                Some(address) => address,
                None => peer::local_address(connector.address)?,
            },
            joined: plan.joined_datagrams,
            run: u32::from_be_bytes(run),
            window: window.clone(),
        };
        let threads =
            (0..plan.threads.max(1)).map(|number| Running::start(number, &setup).map(Rc::new));
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        Ok(Swarm {
            plan: Rc::new(plan),
            members,
            connector: Rc::new(connector),
            last: (
                Instant::now(),
                0,
                0,
                vec![Scheduled::default(); threads.len()],
            ),
            threads,
            clock,
            window,
            board: Rc::default(),
            stop: watch::channel(false).0,
            tasks: Vec::new(),
            begun: Instant::now(),
            watched_before,
        })
    }

    async fn run(mut self, watch: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
        let joined = self.join(watch).await;
        if let Err(error) = joined {
            self.leave(watch).await;
            self.finish();
            return Err(error);
        }
        let warmup = self.plan.warmup;
        let interrupted = self.pass(Phase::Settling, warmup, watch).await;
        if interrupted {
            self.leave(watch).await;
            self.finish();
            return Err(LoadError::Interrupted);
        }
        let duration = self.plan.duration;
        // Known to all before it begins, so that senders and receivers agree on every packet.
        let begin = Instant::now() + LEAD;
        self.window
            .set(self.clock.ns(begin), self.clock.ns(begin + duration));
        tokio::time::sleep_until(begin.into()).await;
        let before = self.look();
        if self.pass(Phase::Measuring, duration, watch).await {
            let end = Instant::now() + LEAD;
            self.window.set(self.clock.ns(begin), self.clock.ns(end));
            tokio::time::sleep_until(end.into()).await;
        }
        let after = self.look();
        // What follows the last packet that counts shows whether that one is missing.
        tokio::time::sleep(DRAIN_TIME / 2).await;
        self.threads
            .iter()
            .for_each(|thread| thread.ask(Command::Quiet));
        tokio::time::sleep(DRAIN_TIME / 2).await;
        let dropped = health::dropped(&self.ports());
        self.leave(watch).await;
        Ok(self.report(before, after, dropped))
    }

    /// Has clients join, at their rate.
    async fn join(&mut self, watch: &mut dyn FnMut(&Progress)) -> Result<(), LoadError> {
        let every = Duration::from_secs_f64(1.0 / self.plan.joins_per_second.max(0.01));
        let first = self.plan.first_members();
        let mut next = Instant::now();
        for number in 0..self.members.len() {
            self.begin(number);
            next += every;
            let wait = next.saturating_duration_since(Instant::now());
            self.pass_or_interrupted(Phase::Joining, wait, watch)
                .await?;
            if number + 1 == first {
                self.settled(first, watch).await?;
                self.hopeless(true)?;
                // The others keep their rate from now on.
                next = Instant::now();
            }
            self.hopeless(false)?;
        }
        self.settled(self.members.len(), watch).await?;
        self.hopeless(true)
    }

    async fn pass_or_interrupted(
        &mut self,
        phase: Phase,
        time: Duration,
        watch: &mut dyn FnMut(&Progress),
    ) -> Result<(), LoadError> {
        match self.pass(phase, time, watch).await {
            true => Err(LoadError::Interrupted),
            false => Ok(()),
        }
    }

    /// Waits until so many have joined or never will.
    async fn settled(
        &mut self,
        clients: usize,
        watch: &mut dyn FnMut(&Progress),
    ) -> Result<(), LoadError> {
        let end = Instant::now() + JOIN_TIME + Duration::from_secs(1);
        while self.board.borrow().settled() < clients && Instant::now() < end {
            let step = Duration::from_millis(20);
            self.pass_or_interrupted(Phase::Joining, step, watch)
                .await?;
        }
        Ok(())
    }

    /// Whether there is no sense in going on: nobody joined of `all`, or of the first some.
    fn hopeless(&self, all: bool) -> Result<(), LoadError> {
        let board = self.board.borrow();
        let first = board.failed.first();
        let enough = all || board.failed.len() >= FAILURES_FIRST || self.members.len() == 1;
        match first {
            Some((_, error)) if board.joined.is_empty() && enough => {
                Err(LoadError::Nobody(error.clone()))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, number: usize) {
        let Some(member) = self.members.get(number) else {
            return;
        };
        let Some(thread) = self.threads.get(number % self.threads.len()) else {
            return;
        };
        let client = Client {
            number: number as u32,
            member: *member,
            plan: self.plan.clone(),
            connector: self.connector.clone(),
            thread: thread.clone(),
            board: self.board.clone(),
            stop: self.stop.subscribe(),
            begun: Instant::now(),
        };
        self.tasks.push(tokio::task::spawn_local(client.run()));
    }

    /// Lets time pass, and says each second where it is. True: interrupted.
    async fn pass(
        &mut self,
        phase: Phase,
        time: Duration,
        watch: &mut dyn FnMut(&Progress),
    ) -> bool {
        let begun = Instant::now();
        let end = begun + time;
        loop {
            let second = self.last.0 + Duration::from_secs(1);
            tokio::select! {
                () = tokio::time::sleep_until(end.into()) => return false,
                () = tokio::time::sleep_until(second.into()) => {
                    let of_phase = (phase != Phase::Joining).then(|| (begun.elapsed(), time));
                    watch(&self.progress(phase, of_phase));
                }
                signal = tokio::signal::ctrl_c(), if self.plan.interruptible => return signal.is_ok(),
            }
        }
    }

    fn progress(&mut self, phase: Phase, of_phase: Option<(Duration, Duration)>) -> Progress {
        let now = Instant::now();
        let (packets, bytes) = self.received();
        let used: Vec<_> = self
            .threads
            .iter()
            .map(|t| health::of_task(t.task))
            .collect();
        let (then, packets_then, bytes_then, used_then) = &self.last;
        let seconds = now.saturating_duration_since(*then).as_secs_f64();
        let ran = used
            .iter()
            .zip(used_then)
            .map(|(now, then)| now.since(*then).ran);
        let busy = ran.max().unwrap_or(0) as f64 / 1e9 / seconds * 100.0;
        let board = self.board.borrow();
        let progress = Progress {
            phase,
            elapsed: self.begun.elapsed(),
            of_phase,
            clients: self.members.len(),
            joined: board.joined.len(),
            failed: board.failed.len(),
            last_failure: board.failed.last().map(|(_, error)| error.to_string()),
            packets_per_second: (packets - packets_then) as f64 / seconds,
            bits_per_second: (bytes - bytes_then) as f64 * 8.0 / seconds,
            busy_percent: busy,
        };
        self.last = (now, packets, bytes, used);
        progress
    }

    fn received(&self) -> (u64, u64) {
        let counters = self.threads.iter().map(|thread| &thread.counters);
        counters.fold((0, 0), |(packets, bytes), counters| {
            (
                packets + counters.packets.load(Ordering::Relaxed),
                bytes + counters.bytes.load(Ordering::Relaxed),
            )
        })
    }

    fn ports(&self) -> HashSet<u16> {
        let ports = self.threads.iter().map(|thread| thread.ports.lock());
        let ports = ports.map(|ports| ports.unwrap_or_else(PoisonError::into_inner).clone());
        ports.flatten().collect()
    }

    fn look(&self) -> Looked {
        let (packets, bytes) = self.received();
        let by_thread = self.threads.iter().map(|thread| {
            let packets = thread.counters.packets.load(Ordering::Relaxed);
            (health::of_task(thread.task), packets)
        });
        let watched = self.plan.watch.iter();
        Looked {
            dropped: health::dropped(&self.ports()),
            threads: by_thread.collect(),
            watched: watched.map(|pid| Process::look(*pid)).collect(),
            packets,
            bytes,
            at: Instant::now(),
        }
    }

    async fn leave(&mut self, watch: &mut dyn FnMut(&Progress)) {
        watch(&self.progress(Phase::Leaving, None));
        self.stop.send_replace(true);
        let end = tokio::time::Instant::now() + LEAVE_TIME;
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout_at(end, &mut task).await.is_err() {
                task.abort();
                let _ = task.await;
            }
        }
    }

    fn finish(self) -> Vec<crate::thread::Done> {
        let threads = self.threads.into_iter();
        // Clients have left, so that nobody else holds them.
        let threads = threads.filter_map(Rc::into_inner);
        let done = threads.map(|thread| thread.finish());
        done.filter_map(Result::ok).collect()
    }

    fn report(mut self, before: Looked, after: Looked, dropped: u64) -> Report {
        let members = std::mem::take(&mut self.members);
        let plan = self.plan.clone();
        let board = self.board.take();
        let begun = self.begun;
        let watched_before = std::mem::take(&mut self.watched_before);
        let threads = self.threads.len();
        let done = self.finish();
        Measured {
            plan: &plan,
            members: &members,
            board: &board,
            begun,
            before,
            after,
            dropped,
            watched_before,
            done,
        }
        .report(threads)
    }
}
