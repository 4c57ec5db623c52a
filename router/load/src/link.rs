//! A client's socket: datagrams in batches, and trains of them as the kernel joined them (UDP GRO).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

/// Messages read by one system call.
const MESSAGES: usize = 8;
/// Of one message: as much as the kernel joins.
const MESSAGE_BYTES: usize = 65_536;
/// What is asked of the kernel for each socket, bytes; `net.core.rmem_max` bounds it.
const SOCKET_BYTES: usize = 2 << 20;

/// Where a thread reads to.
pub(crate) struct Buffers {
    storage: Vec<u8>,
    meta: [RecvMeta; MESSAGES],
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Buffers {
            storage: vec![0; MESSAGES * MESSAGE_BYTES],
            meta: [RecvMeta::default(); MESSAGES],
        }
    }

    /// The datagrams of the first messages.
    pub(crate) fn datagrams(&self, messages: usize) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let read = self.storage.chunks_exact(MESSAGE_BYTES).zip(&self.meta);
        read.take(messages).flat_map(|(bytes, meta)| {
            let bytes = bytes.get(..meta.len).unwrap_or(&[]);
            let datagrams = bytes.chunks(meta.stride.max(1));
            datagrams.map(|datagram| (meta.addr, datagram))
        })
    }
}

/// The socket.
pub(crate) struct Link {
    pub(crate) socket: UdpSocket,
    pub(crate) local: SocketAddr,
    /// `None`: datagrams are read one by one, as the network brought them.
    state: Option<UdpSocketState>,
}

impl Link {
    /// A new one on this address.
    pub(crate) fn bind(address: IpAddr, joined: bool) -> io::Result<Self> {
        let domain = match address {
            IpAddr::V4(_) => socket2::Domain::IPV4,
            IpAddr::V6(_) => socket2::Domain::IPV6,
        };
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // As much as there is: what does not fit is counted as lost by the swarm itself.
        let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BYTES);
        socket.bind(&SocketAddr::new(address, 0).into())?;
        let state = match joined {
            true => Some(UdpSocketState::new(UdpSockRef::from(&socket))?),
            false => None,
        };
        let socket = UdpSocket::from_std(socket.into());
        Ok(Link {
            local: socket.local_addr()?,
            socket,
            state,
        })
    }

    /// Reads what is there; how many messages, and whether there may be more.
    pub(crate) fn read(&self, into: &mut Buffers) -> io::Result<(usize, bool)> {
        let read = match &self.state {
            Some(state) => {
                let mut chunks = into.storage.chunks_exact_mut(MESSAGE_BYTES);
                let mut slices: [IoSliceMut<'_>; MESSAGES] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or(&mut [])));
                state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut into.meta)
            }
            None => self.read_singly(into),
        };
        match read {
            Ok(messages) => Ok((messages, messages == MESSAGES)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((0, false)),
            // An ICMP error of an earlier send; the socket is fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok((0, true)),
            Err(error) => Err(error),
        }
    }

    fn read_singly(&self, into: &mut Buffers) -> io::Result<usize> {
        let mut read = 0;
        let places = into
            .storage
            .chunks_exact_mut(MESSAGE_BYTES)
            .zip(&mut into.meta);
        for (bytes, meta) in places {
            match self.socket.recv_from(bytes) {
                Ok((length, source)) => {
                    meta.addr = source;
                    meta.len = length;
                    meta.stride = length;
                    read += 1;
                }
                Err(_) if read > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn datagrams_are_read_in_batches_and_singly() {
        for joined in [true, false] {
            let link = Link::bind(Ipv4Addr::LOCALHOST.into(), joined).expect("a free port");
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
            for number in 0..10 {
                sender.send_to(&[number; 100], link.local).expect("sent");
            }
            let mut buffers = Buffers::new();
            let mut numbers = Vec::new();
            loop {
                let (messages, more) = link.read(&mut buffers).expect("read");
                let source = sender.local_addr().expect("bound");
                for (from, datagram) in buffers.datagrams(messages) {
                    assert_eq!((from, datagram.len()), (source, 100));
                    numbers.push(datagram[0]);
                }
                if !more {
                    break;
                }
            }
            assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "{joined}");
        }
    }
}
