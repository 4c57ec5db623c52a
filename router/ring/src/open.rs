//! Choosing a driver and opening it.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::config::{DriverChoice, DriverConfig, DriverKind};
use crate::driver::{DriverStats, Receiver, SendError, SendRun, UdpDriver};
use crate::mmsg::MmsgDriver;
use crate::probe::{self, RingFault};
use crate::ring::RingDriver;
use crate::sim::SimDriver;

/// Why no driver could be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A bound of [`DriverConfig`] is broken.
    #[error("driver configuration: {0}")]
    Config(&'static str),
    /// An address cannot be bound.
    #[error("cannot bind UDP {address}: {source}{}", bind_advice(.source))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// An address cannot be listened on for TCP.
    #[error("cannot listen on TCP {address}: {source}{}", bind_advice(.source))]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket cannot be made or set up.
    #[error("cannot set up the UDP socket for {address}: {step}: {source}")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// The system call or option.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// io_uring was asked for by name and cannot be had.
    #[error(
        "driver \"ring\" cannot be used: {0}; driver = \"mmsg\" or \"auto\" runs without io_uring"
    )]
    Ring(#[from] RingFault),
    /// The worker's runtime cannot be made.
    #[error("cannot start the {kind} worker runtime: {source}")]
    Runtime {
        /// The driver it was for.
        kind: DriverKind,
        /// What the kernel said.
        source: io::Error,
    },
    /// A socket cannot be watched: no tokio runtime with I/O enabled on this thread, or no more
    /// file descriptors.
    #[error("cannot watch a file descriptor: {0}")]
    Watch(io::Error),
}

impl OpenError {
    /// Whether another socket has the address (`EADDRINUSE`).
    pub fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Bind { source, .. } | Self::Listen { source, .. }
            if source.kind() == io::ErrorKind::AddrInUse)
    }
}

fn bind_advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => " (another process or worker has this port)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this host has this address)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        _ => "",
    }
}

/// The driver taken, for one log line and one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub kind: DriverKind,
    /// Why, on one line.
    pub reason: String,
}

/// Decides without binding anything: needs no runtime, so that the worker can start the right one
/// ([`crate::runtime`]) first. `auto` and `ring` try io_uring for real (rings of full size, a
/// segmented run to itself over loopback); takes a millisecond or two.
///
/// # Errors
/// [`OpenError::Config`]; [`OpenError::Ring`] if `ring` was asked for and does not work.
pub fn choose(choice: DriverChoice, config: &DriverConfig) -> Result<Chosen, OpenError> {
    config.validate()?;
    if choice == DriverChoice::Mmsg {
        return Ok(Chosen {
            kind: DriverKind::Mmsg,
            reason: "asked for by configuration".to_owned(),
        });
    }
    match probe::io_uring(config) {
        Ok(proof) => Ok(Chosen {
            kind: DriverKind::Ring,
            reason: proof,
        }),
        Err(fault) if choice == DriverChoice::Auto => Ok(fallback(&fault)),
        Err(fault) => Err(fault.into()),
    }
}

fn fallback(fault: &RingFault) -> Chosen {
    Chosen {
        kind: DriverKind::Mmsg,
        reason: format!("io_uring is not available: {fault}"),
    }
}

/// Binds the sockets and opens a driver: [`choose`], then [`Driver`] of that kind; under `auto` a ring
/// that fails after a good probe (memory locked by others meanwhile) still falls back.
///
/// Call it on the thread that will use the driver, inside its runtime.
///
/// # Errors
/// [`OpenError`]. An address in use is [`OpenError::Bind`] under every choice.
pub fn open(choice: DriverChoice, config: &DriverConfig) -> Result<(Driver, Chosen), OpenError> {
    let chosen = choose(choice, config)?;
    match open_kind(chosen.kind, config) {
        Err(OpenError::Ring(fault)) if choice == DriverChoice::Auto => {
            let chosen = fallback(&fault);
            Ok((open_kind(chosen.kind, config)?, chosen))
        }
        opened => Ok((opened?, chosen)),
    }
}

/// Opens this kind and no other, without a probe.
///
/// # Errors
/// [`OpenError`]; [`OpenError::Config`] for [`DriverKind::Sim`], which a
/// [`crate::sim::SimNetwork`] opens.
pub fn open_kind(kind: DriverKind, config: &DriverConfig) -> Result<Driver, OpenError> {
    config.validate()?;
    match kind {
        DriverKind::Ring => Ok(Driver::Ring(RingDriver::open(config)?)),
        DriverKind::Mmsg => Ok(Driver::Mmsg(MmsgDriver::open(config)?)),
        DriverKind::Sim => Err(OpenError::Config(
            "a simulated driver comes from its network",
        )),
    }
}

/// Any of the three drivers.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per worker, never moved after opening"
)]
pub enum Driver {
    /// io_uring.
    Ring(RingDriver),
    /// `recvmmsg`/`sendmmsg`.
    Mmsg(MmsgDriver),
    /// In memory.
    Sim(SimDriver),
}

impl Driver {
    /// Which it is.
    pub fn kind(&self) -> DriverKind {
        match self {
            Self::Ring(_) => DriverKind::Ring,
            Self::Mmsg(_) => DriverKind::Mmsg,
            Self::Sim(_) => DriverKind::Sim,
        }
    }
}

macro_rules! each {
    ($driver:expr, $inner:ident => $call:expr) => {
        match $driver {
            Driver::Ring($inner) => $call,
            Driver::Mmsg($inner) => $call,
            Driver::Sim($inner) => $call,
        }
    };
}

impl UdpDriver for Driver {
    fn local_addresses(&self) -> &[SocketAddr] {
        each!(self, driver => driver.local_addresses())
    }

    fn listeners(&self) -> usize {
        each!(self, driver => driver.listeners())
    }

    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize> {
        each!(self, driver => driver.receive(budget, receiver))
    }

    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        each!(self, driver => driver.send(run))
    }

    fn send_dispensable(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        each!(self, driver => driver.send_dispensable(run))
    }

    fn flush(&mut self) -> io::Result<()> {
        each!(self, driver => driver.flush())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, driver => driver.poll_ready(context))
    }

    fn stats(&self) -> DriverStats {
        each!(self, driver => driver.stats())
    }

    fn shutdown(&mut self) {
        each!(self, driver => driver.shutdown());
    }
}
