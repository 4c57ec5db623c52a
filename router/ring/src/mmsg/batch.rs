//! Message arrays for `recvmmsg` and `sendmmsg`. The pointers in them are written right before each
//! call from buffers that the batch owns or borrows for the call, so none outlives it.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use crate::arrival::Arrival;
use crate::bookkeeping::address::{ADDRESS_BYTES, RawAddress};
use crate::bookkeeping::control::{self, RECEIVE_CONTROL_BYTES, SEGMENT_CONTROL_BYTES};
use crate::bookkeeping::outbox::Letter;
use crate::message::{EMPTY_IOVEC, empty_header};
use crate::socket::UdpSocket;

/// Aligned like a `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; RECEIVE_CONTROL_BYTES]);

/// A blank array row.
fn empty_row() -> libc::mmsghdr {
    libc::mmsghdr {
        msg_hdr: empty_header(),
        msg_len: 0,
    }
}

/// Buffers for one `recvmmsg`.
pub(super) struct ReceiveBatch {
    payloads: Box<[u8]>,
    payload_bytes: usize,
    names: Box<[RawAddress]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ReceiveBatch")
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

impl ReceiveBatch {
    /// `capacity` messages of `payload_bytes` each.
    pub(super) fn new(capacity: usize, payload_bytes: usize) -> Self {
        Self {
            payloads: vec![0; capacity * payload_bytes].into(),
            payload_bytes,
            names: vec![RawAddress::EMPTY; capacity].into(),
            controls: vec![Control([0; RECEIVE_CONTROL_BYTES]); capacity].into(),
            headers: vec![empty_row(); capacity].into(),
            iovecs: vec![EMPTY_IOVEC; capacity].into(),
        }
    }

    /// Messages one call can take.
    pub(super) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Takes up to `limit` messages without waiting; returns how many.
    pub(super) fn receive(&mut self, socket: &UdpSocket, limit: usize) -> io::Result<usize> {
        let limit = limit.min(self.capacity());
        let payloads = self.payloads.chunks_exact_mut(self.payload_bytes);
        let rows = payloads
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut())
            .zip(self.iovecs.iter_mut())
            .zip(self.headers.iter_mut())
            .take(limit);
        for ((((payload, name), control), iovec), header) in rows {
            iovec.iov_base = payload.as_mut_ptr().cast();
            iovec.iov_len = payload.len();
            header.msg_len = 0;
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = RECEIVE_CONTROL_BYTES as _;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: the first `limit` headers were just filled with pointers into buffers that `self`
        // owns, with their true lengths; `self` is borrowed mutably until the call returns, and the
        // kernel keeps no pointer after it (MSG_DONTWAIT, and recvmmsg is synchronous anyway). The
        // descriptor is open: `socket` owns it.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                limit as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }

    /// Message `index` of the last [`Self::receive`].
    pub(super) fn message(&mut self, index: usize) -> Option<Arrival<'_>> {
        let header = self.headers.get(index)?;
        // A size_t with glibc, a socklen_t with musl.
        #[allow(clippy::unnecessary_cast)]
        let control_bytes = (header.msg_hdr.msg_controllen as usize).min(RECEIVE_CONTROL_BYTES);
        let start = index * self.payload_bytes;
        let bytes = (header.msg_len as usize).min(self.payload_bytes);
        Some(Arrival {
            source: self
                .names
                .get(index)?
                .filled(header.msg_hdr.msg_namelen as usize),
            controls: control::read(self.controls.get(index)?.0.get(..control_bytes)?),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            payload: self.payloads.get_mut(start..start + bytes)?,
        })
    }
}

/// Headers for one `sendmmsg`.
pub(super) struct SendBatch {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SendBatch")
            .field("capacity", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl SendBatch {
    /// Room for `capacity` messages.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            headers: vec![empty_row(); capacity].into(),
            iovecs: vec![EMPTY_IOVEC; capacity].into(),
        }
    }

    /// Sends `letters` from `socket` without waiting; returns how many the kernel took. An error
    /// means that it refused the first.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        letters: &[Letter],
        arena: &[u8],
    ) -> io::Result<usize> {
        let rows = self
            .headers
            .iter_mut()
            .zip(self.iovecs.iter_mut())
            .zip(letters);
        let mut count = 0;
        for ((header, iovec), letter) in rows {
            let payload = &arena[letter.offset..letter.offset + letter.bytes];
            iovec.iov_base = payload.as_ptr().cast_mut().cast();
            iovec.iov_len = payload.len();
            let (control, control_bytes) = match &letter.control {
                Some(control) => (control.as_ptr().cast_mut().cast(), SEGMENT_CONTROL_BYTES),
                None => (ptr::null_mut(), 0),
            };
            let message = &mut header.msg_hdr;
            message.msg_name = letter.destination.as_ptr().cast_mut().cast();
            message.msg_namelen = letter.destination.len();
            message.msg_iov = iovec;
            message.msg_iovlen = 1;
            message.msg_control = control;
            message.msg_controllen = control_bytes as _;
            count += 1;
        }
        // SAFETY: the first `count` headers were just filled with pointers into `arena`, `letters` and
        // `self.iovecs`, all borrowed until the call returns, with their true lengths. sendmmsg only
        // reads them (the casts to *mut are the C signature's), copies the payload before it returns
        // and keeps no pointer. The descriptor is open: `socket` owns it.
        let result = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}
