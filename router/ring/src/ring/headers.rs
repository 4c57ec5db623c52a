//! Message headers of queued sends, one per send slot.

use std::ptr;

use crate::bookkeeping::control::SEGMENT_CONTROL_BYTES;
use crate::bookkeeping::outbox::Letter;
use crate::message::{EMPTY_IOVEC, empty_header};

/// Never moves or grows after [`Headers::new`]: the kernel is given addresses into it.
pub(super) struct Headers {
    headers: Box<[libc::msghdr]>,
    iovecs: Box<[libc::iovec]>,
}

impl Headers {
    /// Room for `slots` messages.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            headers: vec![empty_header(); slots].into(),
            iovecs: vec![EMPTY_IOVEC; slots].into(),
        }
    }

    /// Describes `letter` in `slot` and returns the header's address. It points into `letter` and
    /// `arena` (the outbox), which must stay as they are until the kernel has read them. Filling
    /// a slot is no unsafe act; pushing the entry that uses it is.
    pub(super) fn fill(
        &mut self,
        slot: usize,
        letter: &Letter,
        arena: &[u8],
    ) -> *const libc::msghdr {
        let payload = &arena[letter.offset..letter.offset + letter.bytes];
        let iovec = &mut self.iovecs[slot];
        iovec.iov_base = payload.as_ptr().cast_mut().cast();
        iovec.iov_len = payload.len();
        let (control, control_bytes) = match &letter.control {
            Some(control) => (control.as_ptr().cast_mut().cast(), SEGMENT_CONTROL_BYTES),
            None => (ptr::null_mut(), 0),
        };
        let header = &mut self.headers[slot];
        header.msg_name = letter.destination.as_ptr().cast_mut().cast();
        header.msg_namelen = letter.destination.len();
        header.msg_iov = iovec;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = control_bytes as _;
        &raw const *header
    }
}
