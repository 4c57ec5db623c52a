//! TCP beside UDP, for clients whose network carries nothing else: RFC 6544's passive side, with frames
//! as RFC 4571 makes them.
//!
//! A connection is addressed like a datagram: by its listener's [`SocketId`], which follows those of the
//! UDP sockets, and by its remote address. What is sent to an address without a connection is lost, as on
//! any network. Both kernel drivers hold the same set: non-blocking sockets in an epoll set of their own,
//! whose descriptor is watched by the worker's runtime: a worker without connections pays a look at the
//! clock, and fifty times a second, if it is never idle, one epoll_wait. A turn's work is bounded, and comes after that of UDP: one epoll_wait, a few accepts, one read
//! for each connection that has something, one vectored write for each that gets something.
//!
//! Whoever connects is nobody until it has sent a check of ICE that is valid. The core answers those and
//! nothing else, so a connection to which nothing was sent for ten seconds has shown nothing and goes.

mod assembler;
mod backlog;
mod connection;
mod epoll;
mod listener;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, RawFd};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::Interest as Wanted;
use tokio::io::unix::AsyncFd;

use crate::config::{DriverConfig, StreamConfig};
use crate::driver::{Receiver, SendError, SendRun, SocketId, StreamEnd, StreamStats};
use crate::open::OpenError;
use connection::Connection;
use epoll::{Epoll, Interest, Ready};

/// Connections accepted in one turn at most.
const ACCEPTS_PER_TURN: usize = 16;
/// Bytes read from one connection in one turn.
const READ_BYTES: usize = 32 * 1024;
/// Packets one turn takes from connections at least, whatever UDP has left of the budget.
const SHARE_MIN: usize = 16;
/// Between two looks for readiness of a worker that is not woken for it.
const LOOK_PERIOD: Duration = Duration::from_millis(1);
/// The same without connections: who wants one can wait a little.
const IDLE_LOOK_PERIOD: Duration = Duration::from_millis(20);
/// Between two looks for connections that have to go.
const SWEEP_PERIOD: Duration = Duration::from_millis(500);
/// For how long nothing is accepted when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Set in the token of a listener.
const LISTENER: u64 = 1 << 63;

/// Listens beside the bound UDP sockets of a driver, if it shall; their addresses follow.
pub(crate) fn open_beside(
    config: &DriverConfig,
    addresses: &mut Vec<SocketAddr>,
) -> Result<Option<Streams>, OpenError> {
    let Some(limits) = &config.streams else {
        return Ok(None);
    };
    let at: Vec<_> = addresses.iter().map(|udp| limits.beside(*udp)).collect();
    // A port that was named is wanted; one that UDP happened to get is only liked.
    let fixed = limits.port.is_some() || config.has_fixed_ports();
    let streams = Streams::open(limits, &at, fixed)?;
    addresses.extend(streams.addresses());
    Ok(Some(streams))
}

/// After `datagrams` of UDP: those of TCP, within what the budget has left or a share of their own.
pub(crate) fn receive_beside(
    streams: &mut Option<Streams>,
    budget: usize,
    datagrams: usize,
    receiver: &mut dyn Receiver,
) -> io::Result<usize> {
    match streams {
        Some(streams) => {
            Ok(datagrams + streams.receive(budget.saturating_sub(datagrams), receiver)?)
        }
        None => Ok(datagrams),
    }
}

/// The streams, if the socket is one of theirs.
pub(crate) fn owner(streams: &mut Option<Streams>, socket: SocketId) -> Option<&mut Streams> {
    streams.as_mut().filter(|streams| streams.owns(socket))
}

/// Whether TCP has something; without any, never.
pub(crate) fn poll_beside(
    streams: &mut Option<Streams>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match streams {
        Some(streams) => streams.poll_ready(context),
        None => Poll::Pending,
    }
}

/// Listeners and connections of one driver.
#[derive(Debug)]
pub(crate) struct Streams {
    poll: AsyncFd<Epoll>,
    may_have_more: bool,
    /// [`SocketId`] of the first listener.
    first: u16,
    listeners: Vec<TcpListener>,
    /// Descriptors of the process beyond which none is accepted: the gateway needs some.
    descriptors: RawFd,
    /// Until when nothing is accepted.
    paused: Option<Instant>,
    connections: Vec<Option<Connection>>,
    /// By listener and remote address.
    by_address: HashMap<(u16, SocketAddr), usize>,
    hosts: HashMap<IpAddr, u32>,
    free: Vec<usize>,
    /// Tells a connection from those that had its place before.
    generation: u32,
    dirty: Vec<usize>,
    ready: Vec<Ready>,
    buffer: Box<[u8]>,
    swept: Instant,
    looked: Instant,
    limits: StreamConfig,
    closed: bool,
    stats: StreamStats,
}

impl Streams {
    /// Listens at these addresses, one for each UDP socket; where a port is taken, on any other unless they are `fixed`.
    pub(crate) fn open(
        limits: &StreamConfig,
        at: &[SocketAddr],
        fixed: bool,
    ) -> Result<Self, OpenError> {
        let set = Epoll::new().map_err(OpenError::Watch)?;
        let mut listeners = Vec::with_capacity(at.len());
        for (index, address) in at.iter().enumerate() {
            let listener = listener::listen(*address, fixed)?;
            set.add(&listener, LISTENER | index as u64, Interest::Read)
                .map_err(OpenError::Watch)?;
            listeners.push(listener);
        }
        let poll = watch(set)?;
        Ok(Self {
            poll,
            may_have_more: true,
            first: at.len() as u16,
            listeners,
            descriptors: listener::descriptors_max(),
            paused: None,
            connections: Vec::new(),
            by_address: HashMap::new(),
            hosts: HashMap::new(),
            free: Vec::new(),
            generation: 0,
            dirty: Vec::new(),
            ready: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            swept: Instant::now(),
            looked: Instant::now(),
            limits: limits.clone(),
            closed: false,
            stats: StreamStats::default(),
        })
    }

    /// Addresses listened on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|l| l.local_addr().ok())
    }

    /// How many listeners there are.
    pub(crate) fn len(&self) -> usize {
        self.listeners.len()
    }

    pub(crate) fn stats(&self) -> StreamStats {
        self.stats
    }

    /// Whether this socket is a listener of ours.
    pub(crate) fn owns(&self, socket: SocketId) -> bool {
        let index = socket.0.checked_sub(self.first);
        index.is_some_and(|index| usize::from(index) < self.listeners.len())
    }

    /// Accepts and reads, within `budget` packets or a small share, whichever is more. Returns how many
    /// packets it handed over.
    pub(crate) fn receive(
        &mut self,
        budget: usize,
        receiver: &mut dyn Receiver,
    ) -> io::Result<usize> {
        if self.closed {
            return Ok(0);
        }
        let now = Instant::now();
        self.sweep(now);
        // A worker with more to do than time may not wait, and so not be woken, for long.
        let period = match self.by_address.is_empty() {
            true => IDLE_LOOK_PERIOD,
            false => LOOK_PERIOD,
        };
        if !self.may_have_more && now.saturating_duration_since(self.looked) < period {
            return Ok(0);
        }
        self.looked = now;
        let mut ready = std::mem::take(&mut self.ready);
        self.stats.syscalls += 1;
        let polled = self.poll.get_ref().poll(&mut ready);
        // Level-triggered: what is left unread shows again at the next call.
        self.may_have_more = !ready.is_empty();
        let budget = budget.max(SHARE_MIN);
        let mut delivered = 0;
        for event in &ready {
            if event.token & LISTENER != 0 {
                self.accept((event.token & !LISTENER) as u16, now);
            } else if let Some(index) = self.find(event.token) {
                if event.writable {
                    self.unblock(index);
                }
                if event.readable && delivered < budget {
                    delivered += self.read(index, now, receiver);
                }
            }
        }
        self.ready = ready;
        polled.map(|()| delivered)
    }

    /// Queues a run's packets for their connection; `dispensable`: they are video.
    pub(crate) fn send(&mut self, run: SendRun<'_>, dispensable: bool) -> Result<(), SendError> {
        if run.payload.is_empty() || run.segment_bytes == 0 {
            return Err(SendError::Invalid);
        }
        let packets = run.payload.chunks(run.segment_bytes);
        let listener = run.socket.0.saturating_sub(self.first);
        let place = self.by_address.get(&(listener, run.destination)).copied();
        let connection = place.and_then(|index| self.connections.get_mut(index)?.as_mut());
        let (Some(index), Some(connection)) = (place, connection) else {
            self.stats.dropped_gone += packets.count() as u64;
            return Ok(());
        };
        for packet in packets {
            if connection.backlog.push(packet, dispensable) {
                self.stats.sent_packets += 1;
                self.stats.sent_bytes += packet.len() as u64;
            } else if dispensable {
                self.stats.dropped_video += 1;
            } else {
                self.stats.dropped_other += 1;
            }
        }
        connection.proven = true;
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
        Ok(())
    }

    /// Writes to every connection that got something and can take it: once to each.
    pub(crate) fn flush(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            connection.dirty = false;
            connection.used = now;
            if connection.blocked || connection.backlog.is_empty() {
                continue;
            }
            self.stats.syscalls += 1;
            match connection.write(now) {
                Ok(_) => self.watch_for_room(index),
                Err(end) => self.close(index, end),
            }
        }
        self.dirty = dirty;
    }

    /// Ready when [`Streams::receive`] may have something.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.may_have_more && !self.closed {
            match self.poll.poll_read_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(mut guard)) => {
                    // Before the look, never after: what comes between the two sets it again.
                    guard.clear_ready();
                    self.may_have_more = true;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Closes everything.
    pub(crate) fn shutdown(&mut self) {
        self.closed = true;
        self.connections.clear();
        self.by_address.clear();
        self.hosts.clear();
        self.free.clear();
        self.dirty.clear();
        self.listeners.clear();
        self.stats.open = 0;
    }

    fn find(&self, token: u64) -> Option<usize> {
        let index = token as u32 as usize;
        let connection = self.connections.get(index)?.as_ref()?;
        (connection.token == token).then_some(index)
    }

    fn accept(&mut self, listener: u16, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(socket) = self.listeners.get(usize::from(listener)) else {
                return;
            };
            self.stats.syscalls += 1;
            match socket.accept() {
                Ok((stream, remote)) => {
                    self.stats.accepted += 1;
                    // The kernel gives the lowest number free: so many are open in the process.
                    if stream.as_raw_fd() >= self.descriptors {
                        self.stats.refused_full += 1;
                    } else if self.admit(remote.ip()) && listener::prepare(&stream).is_ok() {
                        self.insert(stream, remote, listener, now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It was gone again before we looked.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept TCP connections: trying again in a second");
                    self.pause(now);
                    return;
                }
            }
        }
    }

    /// Whether one more connection from there fits. Where none fits at all, the oldest that has shown
    /// nothing makes room.
    fn admit(&mut self, host: IpAddr) -> bool {
        let from_there = self.hosts.get(&host).copied().unwrap_or_default();
        if from_there as usize >= self.limits.connections_per_address {
            self.stats.refused_address += 1;
            return false;
        }
        if self.by_address.len() >= self.limits.connections {
            let oldest = self.connections.iter().enumerate();
            let oldest = oldest
                .filter_map(|(index, place)| Some((index, place.as_ref()?)))
                .filter(|(_, connection)| !connection.proven)
                .min_by_key(|(_, connection)| connection.used)
                .map(|(index, _)| index);
            let Some(oldest) = oldest else {
                self.stats.refused_full += 1;
                return false;
            };
            self.close(oldest, StreamEnd::Unproven);
        }
        true
    }

    fn insert(
        &mut self,
        stream: std::net::TcpStream,
        remote: SocketAddr,
        listener: u16,
        now: Instant,
    ) {
        let index = self.free.pop().unwrap_or(self.connections.len());
        // 31 bits: the highest tells listeners apart.
        self.generation = (self.generation + 1) & (u32::MAX >> 1);
        let token = u64::from(self.generation) << 32 | index as u64;
        if self
            .poll
            .get_ref()
            .add(&stream, token, Interest::Read)
            .is_err()
        {
            if index < self.connections.len() {
                self.free.push(index);
            }
            return;
        }
        let connection = Connection::new(stream, remote, listener, token, now);
        match self.connections.get_mut(index) {
            Some(place) => *place = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        // The kernel gives an address to one connection at a time, but ours may not know yet that the
        // one before is gone.
        if let Some(before) = self.by_address.insert((listener, remote), index) {
            self.close(before, StreamEnd::Closed);
            self.by_address.insert((listener, remote), index);
        }
        *self.hosts.entry(remote.ip()).or_default() += 1;
        self.stats.open += 1;
    }

    fn read(&mut self, index: usize, now: Instant, receiver: &mut dyn Receiver) -> usize {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return 0;
        };
        self.stats.syscalls += 1;
        let bytes = match connection.read(&mut self.buffer) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return 0,
            Err(end) => {
                self.close(index, end);
                return 0;
            }
        };
        let socket = SocketId(self.first + connection.listener);
        let source = connection.remote;
        let stats = &mut self.stats;
        stats.received_bytes += bytes as u64;
        receiver.message(None);
        let read = self.buffer.get_mut(..bytes).unwrap_or_default();
        let fed = connection.assembler.feed(read, &mut |packet| {
            stats.received_packets += 1;
            receiver.datagram(socket, source, packet);
        });
        connection.partial_since = match (connection.assembler.is_partial(), &fed) {
            // A new one: those before it are complete.
            (true, Ok(packets)) if *packets > 0 => Some(now),
            (true, _) => connection.partial_since.or(Some(now)),
            (false, _) => None,
        };
        match fed {
            Ok(packets) => packets,
            Err(assembler::Oversized) => {
                self.close(index, StreamEnd::Oversized);
                0
            }
        }
    }

    /// There is room in a connection: what waits is written at the turn's end.
    fn unblock(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        connection.blocked = false;
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Has the kernel tell when it takes more, if something waits for that.
    fn watch_for_room(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let wanted = match connection.blocked {
            true => Interest::ReadAndWrite,
            false => Interest::Read,
        };
        if connection.waits_for == wanted {
            return;
        }
        connection.waits_for = wanted;
        self.stats.syscalls += 1;
        let set = self.poll.get_ref();
        if set
            .change(&connection.stream, connection.token, wanted)
            .is_err()
        {
            self.close(index, StreamEnd::Closed);
        }
    }

    fn close(&mut self, index: usize, end: StreamEnd) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.by_address
            .remove(&(connection.listener, connection.remote));
        let host = connection.remote.ip();
        if let Some(count) = self.hosts.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&host);
            }
        }
        self.free.push(index);
        self.stats.open -= 1;
        if let Some(count) = self.stats.ended.get_mut(end as usize) {
            *count += 1;
        }
    }

    /// Lets go of connections that have had their time.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP_PERIOD {
            return;
        }
        self.swept = now;
        for index in 0..self.connections.len() {
            let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            connection.backlog.trim();
            if let Some(end) = connection.expired(now) {
                self.close(index, end);
            }
        }
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
            self.listen(Interest::Read);
            self.may_have_more = true;
        }
    }

    fn pause(&mut self, now: Instant) {
        self.paused = Some(now + ACCEPT_PAUSE);
        self.listen(Interest::Nothing);
    }

    fn listen(&mut self, interest: Interest) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let token = LISTENER | index as u64;
            if let Err(error) = self.poll.get_ref().change(listener, token, interest) {
                tracing::warn!(%error, "cannot watch a TCP listener");
            }
        }
    }
}

#[allow(unsafe_code)]
fn watch(set: Epoll) -> Result<AsyncFd<Epoll>, OpenError> {
    // SAFETY: `Epoll` owns its descriptor, keeps it open and unchanged for its whole life, and moves into
    // the `AsyncFd`, which is dropped with it.
    let set = unsafe { AsyncFd::register_with_interest(set, Wanted::READABLE) };
    set.map_err(|error| OpenError::Watch(error.into()))
}
