//! A client's way to the router: a UDP socket, or a TCP connection that carries frames (RFC 4571).

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// Receive buffer of a UDP socket, bytes: a second of two megabits, as a browser has it.
const RECEIVE_BUFFER_BYTES: usize = 512 * 1024;
/// Bytes read from a connection at once.
const READ_BYTES: usize = 16 * 1024;

/// One of a client's two ways.
pub enum Link {
    /// Datagrams.
    Udp(UdpSocket),
    /// Frames.
    Tcp(Framed),
}

/// A connection, made when there is something to send; again when it broke.
pub struct Framed {
    local: SocketAddr,
    /// Bound, to connect with.
    socket: Option<TcpSocket>,
    stream: Option<TcpStream>,
    remote: SocketAddr,
    inbox: Vec<u8>,
    /// It broke, or was closed by the router.
    pub ended: bool,
    /// It is not read from.
    pub deaf: bool,
}

impl Link {
    /// On loopback, at a port of its own.
    ///
    /// # Errors
    /// No socket.
    pub fn new(tcp: bool) -> io::Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        if tcp {
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            return Ok(Link::Tcp(Framed {
                local: socket.local_addr()?,
                socket: Some(socket),
                stream: None,
                remote: address,
                inbox: Vec::new(),
                ended: false,
                deaf: false,
            }));
        }
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        // The kernel grants what its bound allows.
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Link::Udp(UdpSocket::from_std(socket.into())?))
    }

    /// Its address.
    ///
    /// # Errors
    /// The socket is none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Link::Udp(socket) => socket.local_addr(),
            Link::Tcp(framed) => Ok(framed.local),
        }
    }

    /// Waits for something to read.
    ///
    /// # Errors
    /// The socket broke.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Link::Udp(socket) => socket.readable().await,
            Link::Tcp(framed) if framed.deaf => std::future::pending().await,
            Link::Tcp(framed) if framed.frame().is_some() => Ok(()),
            Link::Tcp(framed) => match &framed.stream {
                Some(stream) => stream.readable().await,
                None => std::future::pending().await,
            },
        }
    }

    /// The next packet, and whom it is from.
    ///
    /// # Errors
    /// `WouldBlock`: there is none yet.
    pub fn try_recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Link::Udp(socket) => socket.try_recv_from(buffer),
            Link::Tcp(framed) => Ok((framed.try_recv(buffer)?, framed.remote)),
        }
    }

    /// Sends a packet; to a connection, it waits until it has taken it.
    ///
    /// # Errors
    /// It was not sent.
    pub async fn send_to(&mut self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        match self {
            Link::Udp(socket) => socket.try_send_to(packet, to).map(|_| ()),
            Link::Tcp(framed) => framed.send(packet, to).await,
        }
    }
}

impl Framed {
    /// Whom it is connected to, once it is.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.stream.is_some().then_some(self.remote)
    }

    /// Where the first packet ends, if it is there.
    fn frame(&self) -> Option<usize> {
        let (length, rest) = self.inbox.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        (rest.len() >= length).then_some(2 + length)
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(end) = self.frame() {
                let bytes = (end - 2).min(buffer.len());
                buffer[..bytes].copy_from_slice(&self.inbox[2..2 + bytes]);
                self.inbox.drain(..end);
                return Ok(bytes);
            }
            let Some(stream) = &self.stream else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let mut part = [0; READ_BYTES];
            match stream.try_read(&mut part) {
                Ok(bytes) if bytes > 0 => self.inbox.extend(&part[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {
                    self.ended = true;
                    self.stream = None;
                }
            }
        }
    }

    async fn send(&mut self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.deaf {
            return Ok(());
        }
        if let Some(socket) = self.socket.take() {
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            self.remote = to;
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut frame = (packet.len() as u16).to_be_bytes().to_vec();
        frame.extend(packet);
        stream.write_all(&frame).await
    }
}
