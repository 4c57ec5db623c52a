//! UDP sockets, the same for both kernel drivers.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::bookkeeping::control::{SOL_UDP, UDP_GRO, UDP_SEGMENT};
use crate::config::{DriverConfig, PortSharing};
use crate::driver::SocketId;
use crate::open::OpenError;

/// How long a port in use is waited for, see [`bind_patiently`].
const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// A bound socket.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    socket: Socket,
    /// Address really bound.
    pub(crate) address: SocketAddr,
    /// Whether runs may go out with `UDP_SEGMENT`: the kernel knows it, and no route has refused it.
    pub(crate) segmentation: bool,
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Binds every address of `config`; all or none.
pub(crate) fn bind_all(
    config: &DriverConfig,
    nonblocking: bool,
) -> Result<Vec<UdpSocket>, OpenError> {
    let sockets = config.addresses.iter().enumerate();
    sockets
        .map(|(index, &address)| bind(SocketId(index as u16), address, config, nonblocking))
        .collect()
}

fn bind(
    id: SocketId,
    address: SocketAddr,
    config: &DriverConfig,
    nonblocking: bool,
) -> Result<UdpSocket, OpenError> {
    let at = |step| {
        move |source| OpenError::Socket {
            address,
            step,
            source,
        }
    };
    let socket = new(address).map_err(at("socket"))?;
    socket
        .set_nonblocking(nonblocking)
        .map_err(at("O_NONBLOCK"))?;
    dont_fragment(&socket, address).map_err(at("IP_MTU_DISCOVER"))?;
    size_buffers(&socket, address, config).map_err(at("SO_RCVBUF"))?;
    // No SO_REUSEADDR, and no SO_REUSEPORT where it was not asked for: a second worker on the same port would silently
    // share its datagrams, where an error at start is wanted.
    let refused = |source| OpenError::Bind { address, source };
    match config.sharing {
        PortSharing::Own => bind_patiently(&socket, address).map_err(refused)?,
        PortSharing::Opened => {
            // Who opens a port to others has to find it free as well, but no group has a socket that was bound without
            // the option. So another one holds the port until ours is bound beside it.
            let holder = new(address).map_err(at("socket"))?;
            bind_patiently(&holder, address).map_err(refused)?;
            let held = holder.local_addr().map_err(at("getsockname"))?;
            for socket in [&holder, &socket] {
                socket.set_reuse_port(true).map_err(at("SO_REUSEPORT"))?;
            }
            socket.bind(&held).map_err(refused)?;
        }
        PortSharing::Joined => {
            socket.set_reuse_port(true).map_err(at("SO_REUSEPORT"))?;
            bind_patiently(&socket, address).map_err(refused)?;
        }
    }
    if let Some(steering) = &config.steering
        && let Err(error) = steering.join(id, &socket)
    {
        tracing::warn!(%address, %error, "the kernel does not steer: workers hand datagrams over to each other");
    }
    let bound = socket.local_addr().map_err(at("getsockname"))?;
    // GRO and GSO are absent before Linux 5.0 and in some sandboxes (gVisor): slower, not wrong. And a
    // buffer that cannot hold the longest train must not be offered one.
    if config.joins_datagrams() {
        let _ = option(&socket, SOL_UDP, UDP_GRO, 1);
    }
    // Where it is refused, nobody knows how long datagrams waited for us; nothing else changes.
    let _ = option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    let segmentation = option(&socket, SOL_UDP, UDP_SEGMENT, 0).is_ok();
    Ok(UdpSocket {
        socket,
        address: bound.as_socket().unwrap_or(address),
        segmentation,
    })
}

fn new(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Binds, and waits a little for a port in use: the kernel closes the sockets of a killed process's rings
/// only after the process is gone (50 ms later on an idle machine, a second on a busy one), and who
/// restarts it at once must not be told that the port is taken.
pub(crate) fn bind_patiently(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let patience = Instant::now() + BIND_PATIENCE;
    loop {
        match socket.bind(&SockAddr::from(address)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < patience => {
                std::thread::sleep(BIND_PAUSE);
            }
            result => return result,
        }
    }
}

/// DF set and the kernel's path MTU cache ignored (`IP_PMTUDISC_PROBE`). WebRTC packets stay below
/// 1,280 bytes by themselves; fragments would only be lost or forged, and a forged ICMP *too big*
/// must not shrink what we send. Above the interface's own MTU the kernel says EMSGSIZE.
fn dont_fragment(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        ),
        SocketAddr::V6(_) => option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        ),
    }
}

/// Asks for the configured buffers past `net.core.*mem_max` (CAP_NET_ADMIN), else up to it.
fn size_buffers(socket: &Socket, address: SocketAddr, config: &DriverConfig) -> io::Result<()> {
    let receive = config.receive_socket_bytes;
    let send = config.send_socket_bytes;
    if option(
        socket,
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        receive as i32,
    )
    .is_err()
    {
        socket.set_recv_buffer_size(receive)?;
    }
    if option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, send as i32).is_err() {
        socket.set_send_buffer_size(send)?;
    }
    // The kernel reports twice what was asked: its own bookkeeping included.
    let got_receive = socket.recv_buffer_size()? / 2;
    let got_send = socket.send_buffer_size()? / 2;
    let short = got_receive < receive || got_send < send;
    // Once for all workers and addresses: they share the limit and the remedy.
    static SAID: AtomicBool = AtomicBool::new(false);
    if short && !SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %address,
            receive_bytes = got_receive,
            receive_bytes_asked = receive,
            send_bytes = got_send,
            send_bytes_asked = send,
            "UDP socket buffers are smaller than configured: raise net.core.rmem_max and \
             net.core.wmem_max, or grant CAP_NET_ADMIN"
        );
    }
    Ok(())
}

/// Sets an option of a socket that takes an int.
pub(crate) fn option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open (borrowed from `socket`); the option value is a live i32 and its
    // exact length is passed. Every option used here takes an int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl UdpSocket {
    /// Remembers what a refused message says about the socket: EIO on a segmented one means that the
    /// route cannot segment (IPsec, no checksum offload); later runs leave as single datagrams.
    pub(crate) fn note_send_error(&mut self, error: &io::Error, segmented: bool) {
        if segmented && self.segmentation && error.raw_os_error() == Some(libc::EIO) {
            self.segmentation = false;
            tracing::warn!(
                address = %self.address,
                "the kernel cannot segment UDP on this route: sending datagrams one by one"
            );
        }
    }
}

/// Errors that no later call can recover from, as opposed to those of one datagram.
pub(crate) fn is_driver_fault(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EOPNOTSUPP | libc::ENOSYS)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> Socket {
        Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap()
    }

    #[test]
    fn a_port_about_to_be_free_is_waited_for() {
        let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(holder);
        });
        bind_patiently(&socket(), address).unwrap();
        leaving.join().unwrap();
    }

    #[test]
    fn a_port_that_stays_in_use_is_an_error() {
        let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = bind_patiently(&socket(), holder.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
