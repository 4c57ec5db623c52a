//! Sends what the shard hands out in runs, each of which leaves as one GSO send.
//!
//! Media comes in runs already, and goes from the shard's slots to the driver's without a copy between
//! them. The rest comes as datagrams grouped by destination, so one open run is enough to join them: a
//! datagram joins it if it goes from the same socket to the same destination and is not longer than the
//! run's segments; a shorter one ends the run, because only the last segment of a run may be short. Runs
//! go to the driver in the order their first datagrams came in, so order per destination is kept.

use std::io;
use std::net::SocketAddr;

use rillway_core::Transmit;
use rillway_ring::{SendError, SendRun, UdpDriver};

/// Bytes of payload in one run. One IP packet must hold what the kernel gets in one send (65,507
/// bytes over IPv4); a round number below leaves room for IPv6 and for the driver's slot header.
const RUN_BYTES_MAX: usize = 64_000;

/// Segments in one run: `UDP_MAX_SEGMENTS` was 64 before Linux 6.9, and more would gain nothing.
const RUN_SEGMENTS_MAX: usize = 64;

/// Counters of the sending side since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TransmitStats {
    /// Datagrams dropped because the driver's send queue was full even after a flush.
    pub(crate) dropped_full: u64,
    /// Datagrams dropped because the driver called them unsendable (empty or too long).
    pub(crate) dropped_invalid: u64,
}

/// The one run being collected, and its memory, which lives as long as the worker.
#[derive(Debug)]
pub(crate) struct RunBuffer {
    payload: Vec<u8>,
    open: Option<OpenRun>,
    stats: TransmitStats,
    fault: Option<io::Error>,
}

#[derive(Debug, Clone, Copy)]
struct OpenRun {
    socket: rillway_ring::SocketId,
    destination: SocketAddr,
    segment_bytes: usize,
    segments: usize,
}

impl RunBuffer {
    /// Allocates the memory of a run once.
    pub(crate) fn new() -> Self {
        RunBuffer {
            payload: Vec::with_capacity(RUN_BYTES_MAX),
            open: None,
            stats: TransmitStats::default(),
            fault: None,
        }
    }

    /// Counters since start.
    pub(crate) fn stats(&self) -> TransmitStats {
        self.stats
    }

    /// A [`Transmit`] that sends through `driver`; call [`RunSender::finish`] at its end.
    pub(crate) fn sender<'a, D: UdpDriver>(&'a mut self, driver: &'a mut D) -> RunSender<'a, D> {
        RunSender {
            buffer: self,
            driver,
        }
    }
}

/// Collects runs for the length of one flush.
pub(crate) struct RunSender<'a, D: UdpDriver> {
    buffer: &'a mut RunBuffer,
    driver: &'a mut D,
}

impl<D: UdpDriver> RunSender<'_, D> {
    /// Queues the last run and gives everything to the kernel.
    ///
    /// # Errors
    /// A fault that ends the driver.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send_open();
        match self.buffer.fault.take() {
            Some(fault) => Err(fault),
            None => self.driver.flush(),
        }
    }

    fn send_open(&mut self) {
        let Some(open) = self.buffer.open.take() else {
            return;
        };
        let RunBuffer {
            payload,
            stats,
            fault,
            ..
        } = &mut *self.buffer;
        let run = SendRun {
            socket: open.socket,
            destination: open.destination,
            segment_bytes: open.segment_bytes,
            payload,
        };
        send_or_drop(self.driver, run, false, stats, fault);
        self.buffer.payload.clear();
    }
}

impl<D: UdpDriver> RunSender<'_, D> {
    fn send_run(
        &mut self,
        socket: rillway_core::id::SocketId,
        destination: SocketAddr,
        packet_bytes: usize,
        run: &[u8],
        dispensable: bool,
    ) {
        self.send_open();
        let run = SendRun {
            socket: rillway_ring::SocketId(socket.0),
            destination,
            segment_bytes: packet_bytes,
            payload: run,
        };
        let RunBuffer { stats, fault, .. } = &mut *self.buffer;
        send_or_drop(self.driver, run, dispensable, stats, fault);
    }
}

/// A full queue is flushed and tried once more; what does not fit then is dropped, because waiting would
/// hold up everybody else for one burst. After a fault nothing is sent any more.
fn send_or_drop<D: UdpDriver>(
    driver: &mut D,
    run: SendRun<'_>,
    dispensable: bool,
    stats: &mut TransmitStats,
    fault: &mut Option<io::Error>,
) {
    if fault.is_some() {
        return;
    }
    let send = match dispensable {
        true => D::send_dispensable,
        false => D::send,
    };
    let mut result = send(driver, run);
    if result == Err(SendError::Full) {
        if let Err(failed) = driver.flush() {
            *fault = Some(failed);
            return;
        }
        result = send(driver, run);
    }
    let bytes = run.payload.len().max(1);
    let segments = bytes.div_ceil(run.segment_bytes.max(1)) as u64;
    match result {
        Ok(()) => {}
        Err(SendError::Full) => stats.dropped_full += segments,
        Err(_) => stats.dropped_invalid += segments,
    }
}

impl<D: UdpDriver> Transmit for RunSender<'_, D> {
    fn transmit(
        &mut self,
        socket: rillway_core::id::SocketId,
        destination: SocketAddr,
        contents: &[u8],
    ) {
        let socket = rillway_ring::SocketId(socket.0);
        if let Some(open) = &self.buffer.open {
            let joins = open.socket == socket
                && open.destination == destination
                && contents.len() <= open.segment_bytes
                && !contents.is_empty()
                && open.segments < RUN_SEGMENTS_MAX
                && self.buffer.payload.len() + contents.len() <= RUN_BYTES_MAX;
            if !joins {
                self.send_open();
            }
        }
        self.buffer.payload.extend_from_slice(contents);
        let open = self.buffer.open.get_or_insert(OpenRun {
            socket,
            destination,
            segment_bytes: contents.len(),
            segments: 0,
        });
        open.segments += 1;
        if contents.len() < open.segment_bytes {
            self.send_open();
        }
    }

    fn transmit_run(
        &mut self,
        socket: rillway_core::id::SocketId,
        destination: SocketAddr,
        packet_bytes: usize,
        run: &[u8],
    ) {
        self.send_run(socket, destination, packet_bytes, run, false);
    }

    fn transmit_dispensable_run(
        &mut self,
        socket: rillway_core::id::SocketId,
        destination: SocketAddr,
        packet_bytes: usize,
        run: &[u8],
    ) {
        self.send_run(socket, destination, packet_bytes, run, true);
    }
}

#[cfg(test)]
mod tests;
