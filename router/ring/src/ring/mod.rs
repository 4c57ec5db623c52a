//! The io_uring driver: a media ring nested in the worker's thread, beside the runtime's own.
//!
//! Receive: one multishot `RecvMsg` per socket into one provided-buffer ring, GRO on. Send: one
//! `SendMsg` per message with `UDP_SEGMENT`, submitted together at the flush; success leaves no
//! completion. Wake: the ring's descriptor in the runtime's epoll.
#![allow(unsafe_code)]

mod buffers;
pub(crate) mod core;
mod headers;
mod region;
mod restrict;

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::core::RingCore;
use crate::config::DriverConfig;
use crate::driver::{DriverStats, Receiver, SendError, SendRun, UdpDriver};
use crate::open::OpenError;
use crate::socket;
use crate::streams::{self, Streams};

/// UDP by io_uring. Opened by [`crate::open`]; stays on the thread that opened it.
#[derive(Debug)]
pub struct RingDriver {
    core: AsyncFd<RingCore>,
    streams: Option<Streams>,
    addresses: Vec<SocketAddr>,
}

impl RingDriver {
    pub(crate) fn open(config: &DriverConfig) -> Result<Self, OpenError> {
        // Blocking sockets: the ring waits by itself, and a non-blocking one would make it give up.
        let sockets = socket::bind_all(config, false)?;
        let core = RingCore::new(config, sockets)?;
        // SAFETY: `RingCore` owns the ring and with it the descriptor, returns the same one every
        // time and keeps it open as long as it lives; it moves into the `AsyncFd` and is never
        // exchanged.
        let core = unsafe { AsyncFd::register_with_interest(core, Interest::READABLE) };
        let core = core.map_err(|error| OpenError::Watch(error.into()))?;
        let mut addresses = core.get_ref().local_addresses().to_vec();
        let streams = streams::open_beside(config, &mut addresses)?;
        Ok(Self {
            core,
            streams,
            addresses,
        })
    }
}

#[cfg(test)]
impl RingDriver {
    pub(crate) fn first_socket(&mut self) -> &mut socket::UdpSocket {
        self.core.get_mut().first_socket()
    }
}

impl UdpDriver for RingDriver {
    fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn listeners(&self) -> usize {
        self.streams.as_ref().map_or(0, Streams::len)
    }

    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize> {
        let datagrams = self.core.get_mut().receive(budget, receiver)?;
        streams::receive_beside(&mut self.streams, budget, datagrams, receiver)
    }

    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        match streams::owner(&mut self.streams, run.socket) {
            Some(streams) => streams.send(run, false),
            None => self.core.get_mut().send(run),
        }
    }

    fn send_dispensable(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        match streams::owner(&mut self.streams, run.socket) {
            Some(streams) => streams.send(run, true),
            None => self.core.get_mut().send(run),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.core.get_mut().flush()?;
        if let Some(streams) = &mut self.streams {
            streams.flush();
        }
        Ok(())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Both, always: each keeps the waker for itself.
        let streams = streams::poll_beside(&mut self.streams, context);
        let datagrams = self.poll_ring(context);
        match streams.is_ready() {
            true => streams,
            false => datagrams,
        }
    }

    fn stats(&self) -> DriverStats {
        let mut stats = self.core.get_ref().stats();
        if let Some(streams) = &self.streams {
            stats.streams = streams.stats();
        }
        stats
    }

    fn shutdown(&mut self) {
        self.core.get_mut().shutdown();
        if let Some(streams) = &mut self.streams {
            streams.shutdown();
        }
    }
}

impl RingDriver {
    fn poll_ring(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // First the ring itself: readiness is edge-triggered, and what an earlier turn left
            // behind raises no new edge.
            if self.core.get_mut().has_work() {
                return Poll::Ready(Ok(()));
            }
            match self.core.poll_read_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(mut guard)) => guard.clear_ready(),
            }
        }
    }
}
