//! Control messages: the segment size of a GSO run going out and of a GRO train coming in, and when that came.
//!
//! Read and written in the kernel's own layout (`struct cmsghdr`: a `size_t` length that includes the
//! header, level, type; data and next header aligned to `size_t`), so no libc macro is needed.

use std::time::Duration;

use super::address::field;

/// `IPPROTO_UDP` as a control message level.
pub(crate) const SOL_UDP: i32 = 17;
/// `UDP_SEGMENT`: split the payload into datagrams of this size.
pub(crate) const UDP_SEGMENT: i32 = 103;
/// `UDP_GRO`: the payload is joined from datagrams of this size.
pub(crate) const UDP_GRO: i32 = 104;

/// `SOL_SOCKET` as a control message level.
const SOL_SOCKET: i32 = libc::SOL_SOCKET;
/// `SCM_TIMESTAMPNS`: when the message arrived.
pub(crate) const SCM_TIMESTAMPNS: i32 = libc::SCM_TIMESTAMPNS;

/// Room for incoming control messages: `UDP_GRO` needs 24 and `SCM_TIMESTAMPNS` 32; the rest is slack for
/// options that an operator's kernel may add.
pub(crate) const RECEIVE_CONTROL_BYTES: usize = 64;
/// `CMSG_SPACE(2)`: one `UDP_SEGMENT` message.
pub(crate) const SEGMENT_CONTROL_BYTES: usize = HEADER_BYTES + WORD;

const WORD: usize = size_of::<usize>();
const HEADER_BYTES: usize = WORD + 8;

/// One `UDP_SEGMENT` control message, ready for `msg_control`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct SegmentControl([u8; SEGMENT_CONTROL_BYTES]);

impl SegmentControl {
    /// Asks for datagrams of `segment_bytes`.
    pub(crate) fn new(segment_bytes: u16) -> Self {
        let mut bytes = [0; SEGMENT_CONTROL_BYTES];
        bytes[..WORD].copy_from_slice(&(HEADER_BYTES + 2).to_ne_bytes());
        bytes[WORD..WORD + 4].copy_from_slice(&SOL_UDP.to_ne_bytes());
        bytes[WORD + 4..HEADER_BYTES].copy_from_slice(&UDP_SEGMENT.to_ne_bytes());
        bytes[HEADER_BYTES..HEADER_BYTES + 2].copy_from_slice(&segment_bytes.to_ne_bytes());
        Self(bytes)
    }

    /// The message's bytes, all [`SEGMENT_CONTROL_BYTES`] of them.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the kernel says of a received message beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Controls {
    /// Segment size of a GRO train; `None` where the payload is one datagram.
    pub(crate) segment_bytes: Option<usize>,
    /// When the kernel got it from the network, by the wall clock, since 1970. Of a train: its first
    /// datagram.
    pub(crate) arrived: Option<Duration>,
}

/// Reads a list of control messages. Malformed lists end the search: they can only come from a kernel that
/// this code does not know.
pub(crate) fn read(mut control: &[u8]) -> Controls {
    let mut found = Controls::default();
    while let Some((message, rest)) = next(control) {
        match (message.level, message.kind) {
            (SOL_UDP, UDP_GRO) => {
                let segment = field(message.data, 0).map(i32::from_ne_bytes);
                let segment = segment.and_then(|segment| usize::try_from(segment).ok());
                found.segment_bytes = segment.filter(|&bytes| bytes > 0);
            }
            (SOL_SOCKET, SCM_TIMESTAMPNS) => found.arrived = timespec(message.data),
            _ => {}
        }
        control = rest;
    }
    found
}

struct Message<'a> {
    level: i32,
    kind: i32,
    data: &'a [u8],
}

/// The first message of a list, and what follows it.
fn next(control: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = field(control, 0).map(usize::from_ne_bytes)?;
    let message = Message {
        level: i32::from_ne_bytes(field(control, WORD)?),
        kind: i32::from_ne_bytes(field(control, WORD + 4)?),
        data: control.get(HEADER_BYTES..length)?,
    };
    let rest = length.checked_next_multiple_of(WORD);
    Some((
        message,
        rest.and_then(|at| control.get(at..)).unwrap_or(&[]),
    ))
}

/// A `struct timespec`: two words of the machine.
fn timespec(data: &[u8]) -> Option<Duration> {
    let seconds = u64::try_from(isize::from_ne_bytes(field(data, 0)?)).ok()?;
    let nanoseconds = u32::try_from(isize::from_ne_bytes(field(data, WORD)?)).ok()?;
    (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
}
