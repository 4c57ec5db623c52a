//! The seam between a worker and the kernel's UDP: one trait, three implementations.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

/// Index of a bound socket within one driver, in the order the addresses were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u16);

/// Where received datagrams go. Called once per datagram: a GRO train arrives already split.
pub trait Receiver {
    /// The datagrams that follow, up to the next of these calls, came in one message (GRO joins several).
    /// `arrived`: when the kernel got it from the network, by the wall clock, since 1970; `None` where it
    /// does not say.
    fn message(&mut self, arrived: Option<Duration>) {
        let _ = arrived;
    }

    /// One datagram. `data` is valid for the call only and may be changed in place.
    fn datagram(&mut self, socket: SocketId, source: SocketAddr, data: &mut [u8]);
}

/// A run of datagrams to one destination: every one `segment_bytes` long but the last, which may be
/// shorter. A run of one is a plain datagram.
#[derive(Debug, Clone, Copy)]
pub struct SendRun<'a> {
    /// Socket to send from.
    pub socket: SocketId,
    /// Receiver.
    pub destination: SocketAddr,
    /// Length of each datagram but the last, bytes; 1 to 65,507.
    pub segment_bytes: usize,
    /// The datagrams, one behind the other.
    pub payload: &'a [u8],
}

/// Why a run was not queued.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// Every send slot is in use: flush and try again, or drop.
    #[error("send queue full")]
    Full,
    /// The run is empty, has a zero segment or one above 65,507 bytes, names no socket, or is longer
    /// than the whole send queue: the caller's fault.
    #[error("unsendable run")]
    Invalid,
    /// The driver was shut down.
    #[error("driver shut down")]
    Closed,
}

/// Why a TCP connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamEnd {
    /// The other side closed it, or the network did.
    Closed,
    /// It had shown nothing: no valid check in time, or somebody else needed its place.
    Unproven,
    /// Nothing was sent to it for a minute.
    Idle,
    /// A frame was begun and not completed in time.
    Partial,
    /// A longer frame was announced than any packet has.
    Oversized,
    /// It did not read what it was sent.
    Stalled,
}

impl StreamEnd {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All, in the order of their numbers, with the label metrics use.
    pub const ALL: [(StreamEnd, &'static str); Self::COUNT] = [
        (StreamEnd::Closed, "closed"),
        (StreamEnd::Unproven, "unproven"),
        (StreamEnd::Idle, "idle"),
        (StreamEnd::Partial, "partial"),
        (StreamEnd::Oversized, "oversized"),
        (StreamEnd::Stalled, "stalled"),
    ];
}

/// Counters of TCP connections since start; gauges as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Gauge: connections.
    pub open: u64,
    /// Connections accepted, those refused at once included.
    pub accepted: u64,
    /// Of those, refused because there were too many in all.
    pub refused_full: u64,
    /// Of those, refused because there were too many from their address.
    pub refused_address: u64,
    /// Connections that ended, by [`StreamEnd`] in declaration order.
    pub ended: [u64; StreamEnd::COUNT],
    /// Packets handed to the receiver.
    pub received_packets: u64,
    /// Bytes read.
    pub received_bytes: u64,
    /// Packets queued to be written.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets of video dropped, whole frames where it could be, because the other side read too slowly.
    pub dropped_video: u64,
    /// Other packets dropped for the same reason, when there was no room even for them.
    pub dropped_other: u64,
    /// Packets for connections that are gone.
    pub dropped_gone: u64,
    /// System calls made.
    pub syscalls: u64,
}

/// Counters since start; cheap to copy, read once a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Datagrams handed to the receiver.
    pub received_datagrams: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Kernel completions or messages they came in (GRO joins several datagrams).
    pub received_batches: u64,
    /// Datagrams truncated by the kernel and discarded.
    pub received_truncated: u64,
    /// Times the receive buffers ran out and the receive was armed again.
    pub receive_rearmed: u64,
    /// Datagrams queued for the kernel, those that it refused then (`send_errors`) included.
    pub sent_datagrams: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Runs they went in.
    pub sent_runs: u64,
    /// Datagrams the kernel refused (EAGAIN, EMSGSIZE, unreachable, …). They are lost, as on the
    /// network: a driver never sends late.
    pub send_errors: u64,
    /// Runs refused because every slot was in use.
    pub send_full: u64,
    /// System calls made.
    pub syscalls: u64,
    /// TCP, where there is any.
    pub streams: StreamStats,
}

/// Datagrams in, runs of datagrams out, without a system call per packet.
///
/// The contract of a turn: wait for [`UdpDriver::poll_ready`] (or a timer), [`UdpDriver::receive`]
/// until it returns less than the budget, [`UdpDriver::send`] what came of it, [`UdpDriver::flush`].
pub trait UdpDriver {
    /// Addresses really bound, by [`SocketId`].
    fn local_addresses(&self) -> &[SocketAddr];

    /// How many of those, the last ones, are listened on for TCP. What comes from their connections is
    /// handed over like datagrams, and what is sent to a connection's address leaves on it.
    fn listeners(&self) -> usize {
        0
    }

    /// Hands over at most about `budget` datagrams without waiting (a GRO train is never split over
    /// two calls). Returns how many.
    ///
    /// # Errors
    /// Only for faults that end the driver; per-datagram errors are counted.
    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize>;

    /// Copies a run into a send slot; it leaves at the next [`UdpDriver::flush`] at the latest.
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued then.
    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError>;

    /// The same for packets of video. On UDP there is no difference; on a TCP connection that does not keep
    /// up, they are dropped first, whole frames where it can be.
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued then.
    fn send_dispensable(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        self.send(run)
    }

    /// Gives everything queued to the kernel.
    ///
    /// # Errors
    /// Only for faults that end the driver.
    fn flush(&mut self) -> io::Result<()>;

    /// Ready when [`UdpDriver::receive`] may have something.
    ///
    /// # Errors
    /// Only for faults that end the driver.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Counters since start.
    fn stats(&self) -> DriverStats;

    /// Cancels what is in flight and waits, bounded, until the kernel has let go of every buffer.
    fn shutdown(&mut self);
}
