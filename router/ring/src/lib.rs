//! UDP drivers for media workers. The only crate of Rillway that may hold unsafe code.
//!
//! One trait, [`UdpDriver`], three implementations with one conformance suite
//! (`tests/conformance`): [`RingDriver`] (io_uring), [`MmsgDriver`] (`recvmmsg`/`sendmmsg`, for hosts
//! that forbid io_uring) and [`sim::SimDriver`] (in memory, deterministic). Workers hold a [`Driver`],
//! which is any of them.
//!
//! # Opening
//!
//! ```no_run
//! use rillway_ring::runtime::Runtime;
//! use rillway_ring::{DriverChoice, DriverConfig, UdpDriver, open};
//!
//! # fn main() -> Result<(), rillway_ring::OpenError> {
//! let config = DriverConfig::new(["0.0.0.0:40000".parse().unwrap()]);
//! // On the worker's thread: the driver decides which runtime can start.
//! let (runtime, _) = Runtime::for_choice(DriverChoice::Auto, &config)?;
//! runtime.block_on(async {
//!     let (driver, chosen) = open(DriverChoice::Auto, &config)?;
//!     println!("driver {}: {}", chosen.kind, chosen.reason);
//!     # drop(driver);
//!     Ok(())
//! })
//! # }
//! ```
//!
//! A driver lives on the thread that opened it, inside a tokio runtime with I/O: it is not `Send`.
//!
//! # The calling contract: turns
//!
//! 1. **Wait** for [`UdpDriver::poll_ready`], a timer or a queue, whichever comes first. `poll_ready`
//!    keeps the waker of the last task that polled: one task per driver.
//! 2. **[`UdpDriver::receive`]** with a budget, until it returns less. It never waits and may be called
//!    without a wake-up. Each datagram is lent for one call of [`Receiver::datagram`], which may change
//!    it in place; its buffer then goes back to the kernel, so copy what must live longer. Stopping
//!    early is fine: `poll_ready` stays ready while anything is left.
//! 3. **[`UdpDriver::send`]** as often as wanted: it copies into preallocated slots, makes no system
//!    call and allocates nothing. Group by destination: a run of equal-sized datagrams (the last may be
//!    shorter) costs the kernel little more than one. Runs above 64 datagrams or 65,507 bytes are cut
//!    inside, so their length is bounded only by the slots. On [`SendError::Full`] flush and send again.
//! 4. **[`UdpDriver::flush`]** at the end of the turn: a system call for up to 512 messages (ring) or
//!    one per socket (mmsg). When it returns, every slot is free. What the kernel refuses (full socket
//!    buffer, above the MTU, unreachable) is lost as on any network and counted in
//!    [`DriverStats::send_errors`]; it is not an error of `flush`.
//! 5. **[`UdpDriver::shutdown`]** at the end: cancels receives and waits up to a second for the kernel
//!    to let go of the buffers. Dropping does the same. Queued runs that were not flushed are dropped.
//!
//! With [`DriverConfig::streams`] each address is listened on for TCP too. A listener is one more
//! [`SocketId`], and a connection an address behind it; the turn is the same.
//!
//! With [`DriverConfig::sharing`] several drivers stand behind one port. The kernel deals datagrams out by their
//! addresses; to bring them to whom they are meant for is the caller's, or its [`Steering`]'s, where that is permitted.
//!
//! An `Err` from `receive`, `flush` or `poll_ready` ends the driver: log it, open a new one.
//!
//! # Unsafe code
//!
//! Confined to the files that talk to the kernel; everything that decides *which* memory may be touched
//! when (buffer ownership, offsets, control messages) is safe code in `bookkeeping`, without system
//! calls, property-tested, and run under Miri: `cargo +nightly miri test -p rillway-ring bookkeeping`.

mod arrival;
mod bookkeeping;
pub mod clock;
mod config;
mod driver;
mod message;
mod mmsg;
mod open;
mod patience;
mod probe;
mod ring;
pub mod runtime;
pub mod sim;
mod socket;
mod steering;
mod streams;
#[cfg(test)]
mod tests;

pub use bookkeeping::outbox::MESSAGE_BYTES_MAX;
pub use config::{
    DriverChoice, DriverConfig, DriverKind, PortSharing, StreamConfig, UnknownDriver,
};
pub use driver::{
    DriverStats, Receiver, SendError, SendRun, SocketId, StreamEnd, StreamStats, UdpDriver,
};
pub use mmsg::MmsgDriver;
pub use open::{Chosen, Driver, OpenError, choose, open, open_kind};
pub use probe::{RingFault, memlock_bytes};
pub use ring::RingDriver;
pub use steering::{Steering, SteeringError};
