//! Blank message headers.
#![allow(unsafe_code)]

use std::ptr;

/// A message without name, buffers and control.
pub(crate) fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr is plain C data: integers and nullable pointers, for which all-zero is valid.
    // (A literal would not compile with musl, whose msghdr has private padding.)
    unsafe { std::mem::zeroed() }
}

/// An iovec of nothing.
pub(crate) const EMPTY_IOVEC: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};
