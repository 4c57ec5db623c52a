//! The network behind simulated drivers.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::open::OpenError;

/// First port given to a socket that asks for any.
const EPHEMERAL_START: u16 = 49_152;
/// IPv4 and UDP headers, bytes.
const V4_HEADERS: usize = 28;
/// IPv6 and UDP headers, bytes.
const V6_HEADERS: usize = 48;

/// One datagram under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimDatagram {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Payload.
    pub payload: Vec<u8>,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimVerdict {
    /// It arrives now.
    Deliver,
    /// It is lost.
    Drop,
    /// The network keeps it for [`SimNetwork::take_held`].
    Hold,
}

/// A message as a socket receives it: one datagram, or a GRO train.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) source: SocketAddr,
    pub(super) payload: Vec<u8>,
    pub(super) segment_bytes: Option<usize>,
}

type Tap = Box<dyn FnMut(&SimDatagram) -> SimVerdict>;

#[derive(Default)]
struct Port {
    queue: VecDeque<Message>,
    queued_bytes: usize,
    limit_bytes: usize,
    /// Trains arrive whole (GRO), not datagram by datagram.
    joins: bool,
    waker: Option<Waker>,
}

struct State {
    // Ordered, so that a run is the same every time.
    ports: BTreeMap<SocketAddr, Port>,
    next_port: u16,
    mtu: usize,
    tap: Option<Tap>,
    held: Vec<SimDatagram>,
    refuse: usize,
    lost: u64,
}

/// A network in memory. Clones are handles to the same one.
#[derive(Clone)]
pub struct SimNetwork(Rc<RefCell<State>>);

impl Default for SimNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        formatter
            .debug_struct("SimNetwork")
            .field("bound", &state.ports.keys())
            .finish_non_exhaustive()
    }
}

/// Bound addresses; unbound when dropped.
#[derive(Debug)]
pub(super) struct Ports {
    network: SimNetwork,
    addresses: Vec<SocketAddr>,
}

impl Ports {
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(super) fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        let mut state = self.network.0.borrow_mut();
        for address in &self.addresses {
            state.ports.remove(address);
        }
    }
}

impl SimNetwork {
    /// An empty network with the MTU of a loopback interface (65,536).
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(State {
            ports: BTreeMap::new(),
            next_port: EPHEMERAL_START,
            mtu: 65_536,
            tap: None,
            held: Vec::new(),
            refuse: 0,
            lost: 0,
        })))
    }

    /// Longest packet with its IP and UDP headers, bytes. A message with a longer datagram is refused
    /// whole, as EMSGSIZE.
    pub fn set_mtu(&self, bytes: usize) {
        self.0.borrow_mut().mtu = bytes;
    }

    /// Judges every datagram sent from now on. The tap must not use the network itself.
    pub fn set_tap(&self, tap: impl FnMut(&SimDatagram) -> SimVerdict + 'static) {
        self.0.borrow_mut().tap = Some(Box::new(tap));
    }

    /// Every datagram arrives again.
    pub fn clear_tap(&self) {
        self.0.borrow_mut().tap = None;
    }

    /// What the tap has held back, oldest first.
    pub fn take_held(&self) -> Vec<SimDatagram> {
        std::mem::take(&mut self.0.borrow_mut().held)
    }

    /// Delivers a datagram past the tap. False if nobody is bound there or the queue is full.
    pub fn inject(&self, datagram: SimDatagram) -> bool {
        let SimDatagram {
            source,
            destination,
            payload,
        } = datagram;
        self.deliver(source, destination, &payload, None)
    }

    /// Refuses the next `messages` sends of anybody, as EAGAIN.
    pub fn refuse_sends(&self, messages: usize) {
        self.0.borrow_mut().refuse = messages;
    }

    /// Datagrams that found no receiver or a full queue.
    pub fn lost(&self) -> u64 {
        self.0.borrow().lost
    }

    /// A socket without a driver, for a simulated client.
    ///
    /// # Errors
    /// [`OpenError::Bind`] for an address in use.
    pub fn endpoint(&self, address: SocketAddr) -> Result<SimEndpoint, OpenError> {
        Ok(SimEndpoint {
            ports: self.bind(&[address], 4 << 20, false)?,
        })
    }

    pub(super) fn bind(
        &self,
        addresses: &[SocketAddr],
        limit_bytes: usize,
        joins: bool,
    ) -> Result<Ports, OpenError> {
        let mut ports = Ports {
            network: self.clone(),
            addresses: Vec::with_capacity(addresses.len()),
        };
        for &asked in addresses {
            let bound =
                self.bind_one(asked, limit_bytes, joins)
                    .map_err(|source| OpenError::Bind {
                        address: asked,
                        source,
                    })?;
            ports.addresses.push(bound);
        }
        Ok(ports)
    }

    fn bind_one(
        &self,
        mut address: SocketAddr,
        limit_bytes: usize,
        joins: bool,
    ) -> io::Result<SocketAddr> {
        let mut state = self.0.borrow_mut();
        if address.port() == 0 {
            let free = (state.next_port..=u16::MAX)
                .chain(1..state.next_port)
                .find(|&port| {
                    address.set_port(port);
                    !state.taken(address)
                });
            address.set_port(free.ok_or(io::ErrorKind::AddrInUse)?);
            state.next_port = address.port().checked_add(1).unwrap_or(EPHEMERAL_START);
        } else if state.taken(address) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let port = Port {
            limit_bytes,
            joins,
            ..Port::default()
        };
        state.ports.insert(address, port);
        Ok(address)
    }

    /// One message; false if it was refused.
    pub(super) fn send(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        segment_bytes: Option<usize>,
    ) -> bool {
        let longest = segment_bytes.unwrap_or(payload.len());
        if !self.0.borrow_mut().accepts(source, destination, longest) {
            return false;
        }
        let source = on_the_wire(source);
        if self.0.borrow().tap.is_none() {
            self.deliver(source, destination, payload, segment_bytes);
            return true;
        }
        let mut rest = payload;
        loop {
            let (datagram, behind) = rest.split_at(longest.min(rest.len()));
            self.judge(SimDatagram {
                source,
                destination,
                payload: datagram.to_vec(),
            });
            rest = behind;
            if rest.is_empty() {
                return true;
            }
        }
    }

    fn judge(&self, datagram: SimDatagram) {
        // The tap is taken out while it runs: it may not find the network locked.
        let tap = self.0.borrow_mut().tap.take();
        let Some(mut tap) = tap else {
            self.inject(datagram);
            return;
        };
        let verdict = tap(&datagram);
        self.0.borrow_mut().tap.get_or_insert(tap);
        match verdict {
            SimVerdict::Deliver => {
                self.inject(datagram);
            }
            SimVerdict::Drop => {}
            SimVerdict::Hold => self.0.borrow_mut().held.push(datagram),
        }
    }

    /// Puts a datagram or a train into the receiver's queue. False if nobody is bound there or the
    /// queue is full.
    fn deliver(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        segment_bytes: Option<usize>,
    ) -> bool {
        let mut state = self.0.borrow_mut();
        let datagrams = segment_bytes.map_or(1, |bytes| payload.len().div_ceil(bytes));
        let key = match state.ports.contains_key(&destination) {
            true => destination,
            false => SocketAddr::new(unspecified(destination.ip()), destination.port()),
        };
        let room = state
            .ports
            .get(&key)
            .is_some_and(|port| port.queued_bytes + payload.len() <= port.limit_bytes);
        let Some(port) = state.ports.get_mut(&key).filter(|_| room) else {
            state.lost += datagrams as u64;
            return false;
        };
        port.queued_bytes += payload.len();
        let message = |payload: &[u8], segment_bytes| Message {
            source,
            payload: payload.to_vec(),
            segment_bytes,
        };
        match segment_bytes {
            Some(bytes) if !port.joins => {
                port.queue
                    .extend(payload.chunks(bytes).map(|part| message(part, None)));
            }
            _ => port.queue.push_back(message(payload, segment_bytes)),
        }
        let waker = port.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// The oldest message at `address`.
    pub(super) fn take(&self, address: SocketAddr) -> Option<Message> {
        let mut state = self.0.borrow_mut();
        let port = state.ports.get_mut(&address)?;
        let message = port.queue.pop_front()?;
        port.queued_bytes -= message.payload.len();
        Some(message)
    }

    /// Whether a message waits at any of `ports`; else the task is woken by the next one.
    pub(super) fn poll_waiting(&self, ports: &Ports, context: &Context<'_>) -> bool {
        let mut state = self.0.borrow_mut();
        let mut waiting = false;
        for address in &ports.addresses {
            let Some(port) = state.ports.get_mut(address) else {
                continue;
            };
            waiting |= !port.queue.is_empty();
            port.waker = Some(context.waker().clone());
        }
        waiting
    }
}

impl State {
    /// As in a kernel, a wildcard address claims its port on every address of the family.
    fn taken(&self, address: SocketAddr) -> bool {
        self.ports.keys().any(|bound| {
            bound.port() == address.port()
                && bound.is_ipv4() == address.is_ipv4()
                && (bound.ip() == address.ip()
                    || bound.ip().is_unspecified()
                    || address.ip().is_unspecified())
        })
    }

    fn accepts(&mut self, source: SocketAddr, destination: SocketAddr, longest: usize) -> bool {
        if self.refuse > 0 {
            self.refuse -= 1;
            return false;
        }
        let headers = match destination {
            SocketAddr::V4(_) => V4_HEADERS,
            SocketAddr::V6(_) => V6_HEADERS,
        };
        source.is_ipv4() == destination.is_ipv4() && longest + headers <= self.mtu
    }
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The sender that a receiver sees: a wildcard socket sends from loopback here.
fn on_the_wire(source: SocketAddr) -> SocketAddr {
    let ip = match source.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, source.port())
}

/// A bare socket of a [`SimNetwork`].
#[derive(Debug)]
pub struct SimEndpoint {
    ports: Ports,
}

impl SimEndpoint {
    /// Address really bound.
    pub fn local_address(&self) -> SocketAddr {
        self.ports.address(0)
    }

    /// Sends one datagram; false if the network refuses it.
    pub fn send(&self, destination: SocketAddr, payload: &[u8]) -> bool {
        let network = &self.ports.network;
        network.send(self.local_address(), destination, payload, None)
    }

    /// The oldest datagram waiting.
    pub fn receive(&self) -> Option<(SocketAddr, Vec<u8>)> {
        let message = self.ports.network.take(self.local_address())?;
        Some((message.source, message.payload))
    }
}
