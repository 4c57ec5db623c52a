//! Control messages: the segment size of a GSO run going out and of a GRO train coming in.
//!
//! Read and written in the kernel's own layout (`struct cmsghdr`: a `size_t` length that includes the
//! header, level, type; data and next header aligned to `size_t`), so no libc macro is needed.

use super::address::field;

/// `IPPROTO_UDP` as a control message level.
pub(crate) const SOL_UDP: i32 = 17;
/// `UDP_SEGMENT`: split the payload into datagrams of this size.
pub(crate) const UDP_SEGMENT: i32 = 103;
/// `UDP_GRO`: the payload is joined from datagrams of this size.
pub(crate) const UDP_GRO: i32 = 104;

/// Room for incoming control messages: `UDP_GRO` needs 24, the rest is slack for options that an
/// operator's kernel may add.
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

/// Segment size of a GRO train; `None` where the payload is one datagram. Malformed lists end the
/// search: they can only come from a kernel that this code does not know.
pub(crate) fn gro_segment(mut control: &[u8]) -> Option<usize> {
    while let Some(length) = field(control, 0).map(usize::from_ne_bytes) {
        let level = i32::from_ne_bytes(field(control, WORD)?);
        let kind = i32::from_ne_bytes(field(control, WORD + 4)?);
        if length < HEADER_BYTES || length > control.len() {
            return None;
        }
        if level == SOL_UDP && kind == UDP_GRO && length >= HEADER_BYTES + 4 {
            let segment = i32::from_ne_bytes(field(control, HEADER_BYTES)?);
            return usize::try_from(segment).ok().filter(|&bytes| bytes > 0);
        }
        control = control.get(length.checked_next_multiple_of(WORD)?..)?;
    }
    None
}
