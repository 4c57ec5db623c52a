//! A thread of the swarm: the sockets of its clients, one epoll, one heap of times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::oneshot;

use crate::link::{Buffers, Link};
use crate::peer::{Offered, Outcome, Peer, PeerError, Shared, Told};
use crate::tally::{Counters, Tally};

/// Commands that wait for a thread; more wait outside.
const COMMANDS: usize = 4_096;
/// Sockets told of by one system call.
const EVENTS: usize = 1_024;
/// How often a thread looks how late it is.
const PULSE: Duration = Duration::from_millis(10);
const WAKE: Token = Token(usize::MAX);

/// Names a peer in the whole swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerKey {
    /// The client's number.
    pub(crate) client: u32,
    pub(crate) publishes: bool,
}

type Reply<T> = oneshot::Sender<Result<T, PeerError>>;

/// What a thread is asked for.
pub(crate) enum Command {
    /// Offer to publish, as the publisher of this number.
    Publish(PeerKey, u32, Reply<Offered>),
    /// Offer to play.
    Play(PeerKey, Reply<Offered>),
    /// Take the answer to an offer; say when it is connected.
    Accept(PeerKey, String, Told, Reply<()>),
    /// Answer an offer to play; say when it is connected, if that was not asked for yet.
    Answer(PeerKey, String, Option<Told>, Reply<String>),
    /// Send no more.
    Quiet,
    /// End.
    Stop,
}

/// What a thread leaves.
pub(crate) struct Done {
    pub(crate) tally: Tally,
    pub(crate) peers: Vec<(PeerKey, Outcome, Option<PeerError>)>,
}

/// A thread that runs.
pub(crate) struct Running {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    thread: JoinHandle<Done>,
    pub(crate) counters: Arc<Counters>,
    /// Its number in `/proc/self/task`.
    pub(crate) task: u32,
    /// Of its sockets.
    pub(crate) ports: Arc<Mutex<Vec<u16>>>,
}

/// How a thread is set up.
pub(crate) struct Setup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: IpAddr,
    /// Read trains of datagrams as the kernel joined them.
    pub(crate) joined: bool,
    pub(crate) run: u32,
    pub(crate) window: crate::clock::Window,
}

impl Running {
    /// Starts one.
    pub(crate) fn start(number: usize, setup: &Setup) -> io::Result<Self> {
        let (commands, inbox) = sync_channel(COMMANDS);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let counters = Arc::new(Counters::default());
        let ports = Arc::new(Mutex::new(Vec::new()));
        let tally = Tally::new(setup.run, setup.window.clone(), counters.clone());
        let mut thread = Thread {
            poll,
            inbox,
            shared: setup.shared.clone(),
            address: setup.address,
            joined: setup.joined,
            ports: ports.clone(),
            peers: Vec::new(),
            slots: HashMap::new(),
            times: BinaryHeap::new(),
            buffers: Buffers::new(),
            tally,
            next_pulse: Instant::now(),
            due: Vec::new(),
        };
        let (of_task, task) = sync_channel(1);
        let handle = std::thread::Builder::new()
            .name(format!("swarm-{number}"))
            .spawn(move || {
                let _ = of_task.send(rustix::thread::gettid().as_raw_nonzero().get());
                thread.run();
                thread.done()
            })?;
        let task = task.recv().map_err(io::Error::other)?;
        Ok(Running {
            commands,
            waker,
            thread: handle,
            counters,
            task: task.unsigned_abs(),
            ports,
        })
    }

    /// Asks it for something.
    pub(crate) fn ask(&self, command: Command) {
        // A thread that is gone answers nothing: whoever waits for a reply hears that its sender is gone.
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }

    /// Ends it.
    pub(crate) fn finish(self) -> std::thread::Result<Done> {
        self.ask(Command::Stop);
        self.thread.join()
    }
}

struct Thread {
    poll: Poll,
    inbox: Receiver<Command>,
    shared: Arc<Shared>,
    address: IpAddr,
    joined: bool,
    ports: Arc<Mutex<Vec<u16>>>,
    peers: Vec<(PeerKey, Peer)>,
    slots: HashMap<PeerKey, usize>,
    times: BinaryHeap<Reverse<(Instant, usize)>>,
    buffers: Buffers,
    tally: Tally,
    next_pulse: Instant,
    due: Vec<usize>,
}

impl Thread {
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let next = self.times.peek().map(|Reverse((at, _))| *at);
            let next = next.map_or(self.next_pulse, |at| at.min(self.next_pulse));
            let wait = next.saturating_duration_since(Instant::now());
            // Interrupted by a signal, it looks again.
            if self.poll.poll(&mut events, Some(wait)).is_err() {
                continue;
            }
            let ready = events.iter().map(|event| event.token());
            for slot in ready.filter(|token| *token != WAKE) {
                self.read(slot.0);
            }
            if !self.obey() {
                return;
            }
            self.tick();
            self.tally.share();
        }
    }

    fn read(&mut self, slot: usize) {
        let Some((_, peer)) = self.peers.get_mut(slot) else {
            return;
        };
        // What a broken socket had is lost, and seen as that.
        while let Ok((messages, more)) = peer.link.read(&mut self.buffers) {
            let now = Instant::now();
            for (source, datagram) in self.buffers.datagrams(messages) {
                peer.take(now, source, datagram, &self.shared, &mut self.tally);
            }
            if !more {
                break;
            }
        }
        self.schedule(slot);
    }

    fn schedule(&mut self, slot: usize) {
        if let Some((_, peer)) = self.peers.get_mut(slot)
            && let Some(due) = peer.due()
            && peer.scheduled.is_none_or(|at| due < at)
        {
            peer.scheduled = Some(due);
            self.times.push(Reverse((due, slot)));
        }
    }

    /// Does what is due, once for each peer.
    fn tick(&mut self) {
        let now = Instant::now();
        while self.next_pulse <= now {
            if self.tally.window.holds(self.shared.clock.ns(now)) {
                let late = now.saturating_duration_since(self.next_pulse);
                self.tally.late.saturating_record(late.as_micros() as u64);
            }
            self.next_pulse += PULSE;
        }
        while let Some(Reverse((at, slot))) = self.times.peek().copied()
            && at <= now
        {
            self.times.pop();
            if let Some((_, peer)) = self.peers.get_mut(slot)
                && peer.scheduled == Some(at)
            {
                peer.scheduled = None;
                self.due.push(slot);
            }
        }
        let mut due = std::mem::take(&mut self.due);
        for slot in due.drain(..) {
            if let Some((_, peer)) = self.peers.get_mut(slot) {
                peer.tick(now, &self.shared, &mut self.tally);
            }
            self.schedule(slot);
        }
        self.due = due;
    }

    /// Carries out commands; false at the end.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Quiet) => {
                    self.peers.iter_mut().for_each(|(_, peer)| peer.stop());
                }
                // Whoever asked may be gone.
                Ok(Command::Publish(key, number, reply)) => {
                    let made = self.link().and_then(|link| {
                        Peer::publisher(number, &self.shared, link, Instant::now())
                    });
                    let _ = reply.send(made.and_then(|(peer, offered)| {
                        self.add(key, peer)?;
                        Ok(offered)
                    }));
                }
                Ok(Command::Play(key, reply)) => {
                    let made = self
                        .link()
                        .and_then(|link| Peer::offering_player(&self.shared, link, Instant::now()));
                    let _ = reply.send(made.and_then(|(peer, offered)| {
                        self.add(key, peer)?;
                        Ok(offered)
                    }));
                }
                Ok(Command::Accept(key, sdp, told, reply)) => {
                    let _ = reply.send(self.with(key, |peer| {
                        peer.tell(told);
                        peer.accept_answer(&sdp)
                    }));
                }
                Ok(Command::Answer(key, sdp, told, reply)) => {
                    let _ = reply.send(self.answer(key, &sdp, told));
                }
            }
        }
    }

    fn answer(&mut self, key: PeerKey, sdp: &str, told: Option<Told>) -> Result<String, PeerError> {
        if !self.slots.contains_key(&key) {
            let peer = Peer::player(&self.shared, self.link()?, Instant::now())?;
            self.add(key, peer)?;
        }
        self.with(key, |peer| {
            if let Some(told) = told {
                peer.tell(told);
            }
            peer.answer(sdp)
        })
    }

    fn link(&self) -> Result<Link, PeerError> {
        let link = Link::bind(self.address, self.joined);
        link.map_err(|error| PeerError::Socket(error.to_string()))
    }

    fn add(&mut self, key: PeerKey, mut peer: Peer) -> Result<(), PeerError> {
        let slot = self.peers.len();
        let registry = self.poll.registry();
        registry
            .register(&mut peer.link.socket, Token(slot), Interest::READABLE)
            .map_err(|error| PeerError::Socket(error.to_string()))?;
        let ports = self.ports.lock();
        let mut ports = ports.unwrap_or_else(PoisonError::into_inner);
        ports.push(peer.link.local.port());
        self.slots.insert(key, slot);
        self.peers.push((key, peer));
        Ok(())
    }

    /// Changes a peer, and carries out what its engine wants then.
    fn with<T>(
        &mut self,
        key: PeerKey,
        change: impl FnOnce(&mut Peer) -> Result<T, PeerError>,
    ) -> Result<T, PeerError> {
        let slot = self.slots.get(&key).copied();
        let found = slot.and_then(|slot| Some((slot, self.peers.get_mut(slot)?)));
        let Some((slot, (_, peer))) = found else {
            return Err(PeerError::Ended("there is no such connection".to_owned()));
        };
        let changed = change(peer);
        peer.refresh(Instant::now(), &self.shared);
        self.schedule(slot);
        changed
    }

    fn done(self) -> Done {
        let peers = self.peers.into_iter();
        let peers = peers.map(|(key, peer)| (key, peer.outcome(), peer.ended));
        Done {
            peers: peers.collect(),
            tally: self.tally,
        }
    }
}
