//! The driver without io_uring: non-blocking sockets, `recvmmsg` and `sendmmsg`, GRO and GSO.
#![allow(unsafe_code)]

mod batch;

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::arrival;
use crate::bookkeeping::outbox::Outbox;
use crate::config::DriverConfig;
use crate::driver::{DriverStats, Receiver, SendError, SendRun, SocketId, UdpDriver};
use crate::open::OpenError;
use crate::socket::{self, UdpSocket, is_driver_fault};
use crate::streams::{self, Streams};
use batch::{ReceiveBatch, SendBatch};

/// Messages per `recvmmsg` at most: one system call for 64 packets, and a batch of ordinary packets
/// stays within L2.
const BATCH_MAX: usize = 64;

#[derive(Debug)]
struct Watched {
    socket: AsyncFd<UdpSocket>,
    /// The last read did not empty the socket, or a readiness event has come since.
    may_have_more: bool,
}

/// UDP by `recvmmsg`/`sendmmsg`. Opened by [`crate::open`].
#[derive(Debug)]
pub struct MmsgDriver {
    sockets: Vec<Watched>,
    addresses: Vec<SocketAddr>,
    incoming: ReceiveBatch,
    outgoing: SendBatch,
    outbox: Outbox,
    /// Socket to read first next time, so that a busy one cannot starve the others.
    first: usize,
    closed: bool,
    streams: Option<Streams>,
    stats: DriverStats,
}

impl MmsgDriver {
    pub(crate) fn open(config: &DriverConfig) -> Result<Self, OpenError> {
        let sockets: Vec<_> = socket::bind_all(config, true)?
            .into_iter()
            .map(watch)
            .collect::<Result<_, _>>()?;
        let batch = usize::from(config.receive_buffers).min(BATCH_MAX);
        let mut addresses = sockets
            .iter()
            .map(|watched| watched.socket.get_ref().address)
            .collect();
        let streams = streams::open_beside(config, &mut addresses)?;
        Ok(Self {
            addresses,
            streams,
            sockets,
            incoming: ReceiveBatch::new(batch, config.receive_buffer_bytes),
            outgoing: SendBatch::new(config.send_slots),
            outbox: Outbox::new(config.send_slots, config.send_arena_bytes),
            first: 0,
            closed: false,
            stats: DriverStats::default(),
        })
    }

    /// Reads one socket until it is empty or `budget` is used up.
    fn drain(
        &mut self,
        index: usize,
        budget: usize,
        receiver: &mut dyn Receiver,
    ) -> io::Result<usize> {
        let Self {
            sockets,
            incoming,
            stats,
            ..
        } = self;
        let watched = &mut sockets[index];
        let mut delivered = 0;
        while delivered < budget {
            let asked = (budget - delivered).min(incoming.capacity());
            stats.syscalls += 1;
            let got = match incoming.receive(watched.socket.get_ref(), asked) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if is_driver_fault(&error) => return Err(error),
                Err(error) => {
                    // An error left on the socket by an earlier packet: the next read goes on.
                    tracing::debug!(%error, "UDP receive");
                    watched.may_have_more = true;
                    return Ok(delivered);
                }
            };
            for message in 0..got {
                delivered += deliver(SocketId(index as u16), incoming, message, stats, receiver);
            }
            // Fewer than asked for: the kernel met an empty queue, and an edge follows the next packet.
            watched.may_have_more = got == asked;
            if got < asked {
                break;
            }
        }
        Ok(delivered)
    }
}

fn watch(socket: UdpSocket) -> Result<Watched, OpenError> {
    // SAFETY: `UdpSocket` owns its descriptor, keeps it open and unchanged for its whole life, and
    // moves into the `AsyncFd`, which is dropped with it.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(Watched {
        socket: socket.map_err(|error| OpenError::Watch(error.into()))?,
        may_have_more: true,
    })
}

/// Hands one received message over, split where GRO joined datagrams. Returns how many it held.
fn deliver(
    socket: SocketId,
    incoming: &mut ReceiveBatch,
    message: usize,
    stats: &mut DriverStats,
    receiver: &mut dyn Receiver,
) -> usize {
    stats.received_batches += 1;
    let Some(mut arrival) = incoming.message(message) else {
        return 0;
    };
    arrival::deliver(socket, &mut arrival, stats, receiver)
}

#[cfg(test)]
impl MmsgDriver {
    pub(crate) fn first_socket(&mut self) -> &mut UdpSocket {
        self.sockets[0].socket.get_mut()
    }
}

impl UdpDriver for MmsgDriver {
    fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn listeners(&self) -> usize {
        self.streams.as_ref().map_or(0, Streams::len)
    }

    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize> {
        if self.closed {
            return Ok(0);
        }
        let count = self.sockets.len();
        let mut delivered = 0;
        for step in 0..count {
            if delivered >= budget {
                break;
            }
            let index = (self.first + step) % count;
            delivered += self.drain(index, budget - delivered, receiver)?;
        }
        self.first = (self.first + 1) % count;
        streams::receive_beside(&mut self.streams, budget, delivered, receiver)
    }

    fn send_dispensable(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        match streams::owner(&mut self.streams, run.socket) {
            Some(streams) if !self.closed => streams.send(run, true),
            _ => self.send(run),
        }
    }

    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        if let Some(streams) = streams::owner(&mut self.streams, run.socket) {
            return streams.send(run, false);
        }
        let Some(watched) = self.sockets.get(usize::from(run.socket.0)) else {
            return Err(SendError::Invalid);
        };
        let segmentation = watched.socket.get_ref().segmentation;
        arrival::enqueue(&mut self.outbox, run, segmentation, &mut self.stats)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut rest = self.outbox.letters();
        while let Some(first) = rest.first() {
            // One call sends from one socket.
            let same = rest
                .iter()
                .take_while(|letter| letter.socket == first.socket)
                .count();
            let watched = &mut self.sockets[usize::from(first.socket.0)];
            self.stats.syscalls += 1;
            let sent =
                self.outgoing
                    .send(watched.socket.get_ref(), &rest[..same], self.outbox.arena());
            match sent {
                // At least one was taken, or it is an error.
                Ok(sent) => rest = &rest[sent.max(1)..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_driver_fault(&error) => return Err(error),
                Err(error) => {
                    // The first message was refused: it is lost, as on any network; the rest goes on.
                    self.stats.send_errors += first.datagrams as u64;
                    let socket = watched.socket.get_mut();
                    socket.note_send_error(&error, first.control.is_some());
                    rest = &rest[1..];
                }
            }
        }
        self.outbox.clear();
        if let Some(streams) = &mut self.streams {
            streams.flush();
        }
        Ok(())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ready = self.closed;
        match streams::poll_beside(&mut self.streams, context) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => ready = true,
            Poll::Pending => {}
        }
        for watched in &mut self.sockets {
            while !watched.may_have_more {
                match watched.socket.poll_read_ready(context) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(mut guard)) => {
                        // Cleared before the read, never after: a packet that comes between the two
                        // sets it again.
                        guard.clear_ready();
                        watched.may_have_more = true;
                    }
                }
            }
            ready |= watched.may_have_more;
        }
        match ready {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn stats(&self) -> DriverStats {
        let mut stats = self.stats;
        if let Some(streams) = &self.streams {
            stats.streams = streams.stats();
        }
        stats
    }

    fn shutdown(&mut self) {
        // Every call is synchronous: the kernel holds no buffer between calls.
        self.outbox.clear();
        if let Some(streams) = &mut self.streams {
            streams.shutdown();
        }
        self.closed = true;
    }
}
