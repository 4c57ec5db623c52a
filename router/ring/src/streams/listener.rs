//! Sockets that listen, and what accepted ones are set to.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::RawFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::open::OpenError;
use crate::socket::{bind_patiently, option};

/// Connections that wait to be accepted.
const WAITING: i32 = 256;
/// Bytes that the kernel holds of one connection: what is on its way, a third of a second at 10 Mb/s.
const SEND_BUFFER_BYTES: usize = 384 * 1024;
/// Bytes of those that have not left yet. More would be late before it is sent, and could not be dropped.
const UNSENT_BYTES: i32 = 32 * 1024;
/// How long the other end may leave what was sent unacknowledged, milliseconds.
const USER_TIMEOUT_MS: i32 = 15_000;

/// Listens on `address`; elsewhere on the same host if its port is taken and `same_port` is not asked.
pub(super) fn listen(address: SocketAddr, same_port: bool) -> Result<TcpListener, OpenError> {
    match bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !same_port => {
            bind(SocketAddr::new(address.ip(), 0))
        }
        result => result,
    }
    .map_err(|source| OpenError::Listen { address, source })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of the process before this one may still be dying; another listener is refused anyway.
    socket.set_reuse_address(true)?;
    bind_patiently(&socket, address)?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}

/// Sets an accepted connection up for media.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
    // Refinements: without them, what waits in the kernel is later than it need be.
    let _ = option(
        stream,
        libc::IPPROTO_TCP,
        libc::TCP_NOTSENT_LOWAT,
        UNSENT_BYTES,
    );
    let _ = option(
        stream,
        libc::IPPROTO_TCP,
        libc::TCP_USER_TIMEOUT,
        USER_TIMEOUT_MS,
    );
    Ok(())
}

/// Three quarters of the descriptors that the process may have.
pub(super) fn descriptors_max() -> RawFd {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives through the call, which fills it in.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    match result {
        0 => RawFd::try_from(limit.rlim_cur / 4 * 3).unwrap_or(RawFd::MAX),
        _ => RawFd::MAX,
    }
}
