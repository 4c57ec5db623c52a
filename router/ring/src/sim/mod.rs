//! The simulated driver: a deterministic network in memory, one thread, no system calls, no clock, no
//! randomness. A [`SimNetwork`] is shared by any number of drivers and bare endpoints.
//!
//! What the kernel does with limits happens here too: a port in use, a full receive queue (dropped),
//! a receive buffer that is too short (truncated), receive buffers used up (armed again), a datagram
//! above the MTU (refused). Loss, delay and reordering are the business of a tap
//! ([`SimNetwork::set_tap`]), which may hold datagrams back and inject them when its own clock says so.

mod network;

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

pub use network::{SimDatagram, SimEndpoint, SimNetwork, SimVerdict};

use crate::arrival::{self, Arrival};
use crate::bookkeeping::control::Controls;
use crate::bookkeeping::outbox::Outbox;
use crate::config::DriverConfig;
use crate::driver::{DriverStats, Receiver, SendError, SendRun, SocketId, UdpDriver};
use crate::open::OpenError;
use network::{Message, Ports};

/// UDP in memory. Opened by [`SimNetwork::open`].
#[derive(Debug)]
pub struct SimDriver {
    network: SimNetwork,
    ports: Ports,
    outbox: Outbox,
    receive_buffers: usize,
    receive_buffer_bytes: usize,
    /// Socket to read first next time.
    first: usize,
    closed: bool,
    stats: DriverStats,
}

impl SimNetwork {
    /// Binds the addresses of `config` in this network. Its sizes mean what they mean to a kernel:
    /// `receive_socket_bytes` bounds what waits at a socket, and so on.
    ///
    /// # Errors
    /// [`OpenError::Config`], [`OpenError::Bind`] for an address in use.
    pub fn open(&self, config: &DriverConfig) -> Result<SimDriver, OpenError> {
        config.validate()?;
        Ok(SimDriver {
            ports: self.bind(
                &config.addresses,
                config.receive_socket_bytes,
                config.joins_datagrams(),
            )?,
            network: self.clone(),
            outbox: Outbox::new(config.send_slots, config.send_arena_bytes),
            receive_buffers: usize::from(config.receive_buffers),
            receive_buffer_bytes: config.receive_buffer_bytes,
            first: 0,
            closed: false,
            stats: DriverStats::default(),
        })
    }
}

impl SimDriver {
    /// Reads one socket until it is empty or `budget` is used up.
    fn drain(&mut self, index: usize, budget: usize, receiver: &mut dyn Receiver) -> usize {
        let mut delivered = 0;
        let mut buffers_left = self.receive_buffers;
        while delivered < budget {
            // The network is released before the receiver runs: it may send into it.
            let Some(message) = self.network.take(self.ports.address(index)) else {
                break;
            };
            if buffers_left == 0 {
                self.stats.receive_rearmed += 1;
                buffers_left = self.receive_buffers;
            }
            buffers_left -= 1;
            delivered += self.deliver(index, message, receiver);
        }
        delivered
    }

    fn deliver(
        &mut self,
        index: usize,
        mut message: Message,
        receiver: &mut dyn Receiver,
    ) -> usize {
        self.stats.received_batches += 1;
        let mut arrival = Arrival {
            source: Some(message.source),
            truncated: message.payload.len() > self.receive_buffer_bytes,
            payload: &mut message.payload,
            controls: Controls {
                segment_bytes: message.segment_bytes,
                arrived: None,
            },
        };
        arrival::deliver(
            SocketId(index as u16),
            &mut arrival,
            &mut self.stats,
            receiver,
        )
    }
}

impl UdpDriver for SimDriver {
    fn local_addresses(&self) -> &[SocketAddr] {
        self.ports.addresses()
    }

    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize> {
        if self.closed {
            return Ok(0);
        }
        let count = self.ports.addresses().len();
        let mut delivered = 0;
        for step in 0..count {
            if delivered >= budget {
                break;
            }
            delivered += self.drain((self.first + step) % count, budget - delivered, receiver);
        }
        self.first = (self.first + 1) % count;
        Ok(delivered)
    }

    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        if usize::from(run.socket.0) >= self.ports.addresses().len() {
            return Err(SendError::Invalid);
        }
        arrival::enqueue(&mut self.outbox, run, true, &mut self.stats)
    }

    fn flush(&mut self) -> io::Result<()> {
        for letter in self.outbox.letters() {
            let payload = &self.outbox.arena()[letter.offset..letter.offset + letter.bytes];
            let source = self.ports.address(usize::from(letter.socket.0));
            let accepted = letter.destination.decoded().is_some_and(|destination| {
                self.network
                    .send(source, destination, payload, letter.segment_bytes)
            });
            if !accepted {
                self.stats.send_errors += letter.datagrams as u64;
            }
        }
        self.outbox.clear();
        Ok(())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closed || self.network.poll_waiting(&self.ports, context) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }

    fn shutdown(&mut self) {
        self.outbox.clear();
        self.closed = true;
    }
}
