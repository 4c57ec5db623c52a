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

/// UDP by io_uring. Opened by [`crate::open`]; stays on the thread that opened it.
#[derive(Debug)]
pub struct RingDriver {
    core: AsyncFd<RingCore>,
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
        Ok(Self {
            core: core.map_err(|error| OpenError::Watch(error.into()))?,
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
        self.core.get_ref().local_addresses()
    }

    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize> {
        self.core.get_mut().receive(budget, receiver)
    }

    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        self.core.get_mut().send(run)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.core.get_mut().flush()
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    fn stats(&self) -> DriverStats {
        self.core.get_ref().stats()
    }

    fn shutdown(&mut self) {
        self.core.get_mut().shutdown();
    }
}
