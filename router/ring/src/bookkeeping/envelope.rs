//! A multishot `RecvMsg` completion: `struct io_uring_recvmsg_out`, then the address, the control
//! messages and the payload, the first two in fields of fixed length.

use std::net::SocketAddr;
use std::ops::Range;

use super::address::{self, ADDRESS_BYTES, field};
use super::control::{self, Controls, RECEIVE_CONTROL_BYTES};

const HEADER_BYTES: usize = 16;
const NAME_END: usize = HEADER_BYTES + ADDRESS_BYTES;

/// Bytes in front of the payload in every receive buffer.
pub(crate) const OVERHEAD_BYTES: usize = NAME_END + RECEIVE_CONTROL_BYTES;

/// What a filled buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Sender; `None` if the kernel gave none that is IP.
    pub(crate) source: Option<SocketAddr>,
    /// Where in the buffer the payload lies.
    pub(crate) payload: Range<usize>,
    /// What the kernel says of it.
    pub(crate) controls: Controls,
    /// The buffer was too short: the payload is not whole.
    pub(crate) truncated: bool,
}

/// Reads a completed buffer; `filled` is what the completion says was written, all of it. `None` if it
/// is too short to be one.
pub(crate) fn open(filled: &[u8]) -> Option<Envelope> {
    let name_bytes = u32::from_ne_bytes(field(filled, 0)?) as usize;
    let control_bytes = u32::from_ne_bytes(field(filled, 4)?) as usize;
    let payload_bytes = u32::from_ne_bytes(field(filled, 8)?) as usize;
    let flags = u32::from_ne_bytes(field(filled, 12)?);
    let room = filled.len().checked_sub(OVERHEAD_BYTES)?;
    let name = filled.get(HEADER_BYTES..HEADER_BYTES + name_bytes.min(ADDRESS_BYTES))?;
    let controls = filled.get(NAME_END..NAME_END + control_bytes.min(RECEIVE_CONTROL_BYTES))?;
    Some(Envelope {
        source: address::decode(name),
        payload: OVERHEAD_BYTES..OVERHEAD_BYTES + payload_bytes.min(room),
        controls: control::read(controls),
        truncated: payload_bytes > room || flags & libc::MSG_TRUNC as u32 != 0,
    })
}
