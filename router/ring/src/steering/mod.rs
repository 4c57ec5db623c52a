//! Steering: the kernel gives the datagrams of a known client straight to its driver, where several stand behind a port.
//!
//! Each bound address has a group of sockets, one of each driver, and a program of a few instructions
//! ([`program`]) that the kernel asks whose a datagram is: it looks its source up in a table that drivers write when a
//! client has proven that an address is its own, and leaves it again. What is not in the table goes where it would
//! without a program. So a table that is full, or wrong, costs a hand-over and nothing else.
//!
//! It needs CAP_BPF, once, when it is made. Nothing is asked of the kernel for a packet.

mod program;
mod syscall;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use socket2::Socket;

use crate::driver::SocketId;

/// Clients' addresses in the table; beyond that the kernel forgets those that it has not seen for longest.
const ADDRESSES_MAX: u32 = 65_536;

/// Why the kernel does not steer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteeringError {
    /// A step was refused.
    #[error("{step}: {source}{}", advice(.source))]
    Refused {
        /// What was asked of the kernel.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

fn advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => " (it wants CAP_BPF)",
        Some(libc::ENOSYS | libc::EINVAL) => " (this kernel cannot)",
        _ => "",
    }
}

/// One for each address.
#[derive(Debug)]
struct Group {
    /// Sockets by the number of their driver.
    sockets: OwnedFd,
    program: OwnedFd,
}

#[derive(Debug)]
struct Shared {
    /// Clients' addresses → number of the driver.
    clients: OwnedFd,
    groups: Vec<Group>,
}

/// A driver's place among those behind the same ports.
#[derive(Debug, Clone)]
pub struct Steering {
    shared: Arc<Shared>,
    number: u32,
}

impl PartialEq for Steering {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && self.number == other.number
    }
}

impl Eq for Steering {}

impl Steering {
    /// Places for so many drivers, each of which binds these addresses.
    ///
    /// # Errors
    /// The kernel refuses: it was not permitted, or cannot.
    pub fn new(addresses: &[SocketAddr], drivers: u16) -> Result<Vec<Steering>, SteeringError> {
        let at = |step| move |source| SteeringError::Refused { step, source };
        let clients = syscall::table(program::KEY_BYTES, ADDRESSES_MAX);
        let clients = clients.map_err(at("a table of clients"))?;
        let group = |(index, address): (usize, &SocketAddr)| {
            let sockets = syscall::sockets(u32::from(drivers)).map_err(at("a table of sockets"))?;
            let code = program::build(
                address.is_ipv4(),
                SocketId(index as u16),
                (clients.as_fd(), sockets.as_fd()),
            );
            let program = syscall::load(&code).map_err(at("loading its program"))?;
            Ok(Group { sockets, program })
        };
        let groups: Result<Vec<_>, _> = addresses.iter().enumerate().map(group).collect();
        let shared = Arc::new(Shared {
            groups: groups?,
            clients,
        });
        let places = 0..u32::from(drivers);
        Ok(places
            .map(|number| Steering {
                shared: shared.clone(),
                number,
            })
            .collect())
    }

    /// What comes from `remote` to this socket's address is this driver's.
    ///
    /// # Errors
    /// What the kernel said; somebody else hands it over then.
    pub fn take(&self, socket: SocketId, remote: SocketAddr) -> io::Result<()> {
        let key = program::key(socket, remote);
        syscall::put(self.shared.clients.as_fd(), &key, &self.number)
    }

    /// It is no more, if it was.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn leave(&self, socket: SocketId, remote: SocketAddr) -> io::Result<()> {
        let key = program::key(socket, remote);
        let clients = self.shared.clients.as_fd();
        // Another driver's client may have it by now.
        match syscall::get(clients, &key)? {
            Some(number) if number == self.number => syscall::remove(clients, &key),
            _ => Ok(()),
        }
    }

    /// Puts a bound socket in its place of the group.
    pub(crate) fn join(&self, socket: SocketId, bound: &Socket) -> io::Result<()> {
        let group = self.shared.groups.get(usize::from(socket.0));
        let group = group.ok_or(io::ErrorKind::InvalidInput)?;
        syscall::put_socket(group.sockets.as_fd(), self.number, bound)?;
        syscall::attach(bound, group.program.as_fd())
    }
}
