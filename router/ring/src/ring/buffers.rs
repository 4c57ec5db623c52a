//! The provided-buffer ring: memory that the kernel picks receive buffers from.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::region::Region;
use crate::bookkeeping::envelope::OVERHEAD_BYTES;
use crate::bookkeeping::provided::{BufferId, ProvidedBook};

/// The one buffer group of a driver.
pub(super) const GROUP: u16 = 0;

/// Receive buffers, most of them lent to the kernel at any moment.
///
/// Must stay alive until the kernel has let go: every receive on the group ended and the group
/// unregistered. Its owner ([`super::core::RingCore`]) forgets it where that cannot be proved.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: Region,
    payloads: Region,
    stride: usize,
    book: ProvidedBook,
}

impl Buffers {
    /// `count` buffers (a power of two) of `payload_bytes` each, and room for the header in front.
    pub(super) fn new(count: u16, payload_bytes: usize) -> io::Result<Self> {
        // A multiple of the cache line, but not of the page: equal low address bits would make all
        // packet headers compete for the same cache sets.
        let stride = (OVERHEAD_BYTES + payload_bytes).next_multiple_of(64) + 64;
        Ok(Self {
            entries: Region::new(usize::from(count) * size_of::<BufRingEntry>())?,
            payloads: Region::new(usize::from(count) * stride)?,
            stride,
            book: ProvidedBook::new(count),
        })
    }

    /// Registers the group and lends every buffer.
    pub(super) fn register(&mut self, submitter: &Submitter<'_>) -> io::Result<()> {
        let count = self.book.len() as u16;
        let address = self.entries.start().as_ptr() as u64;
        // SAFETY: `entries` is page-aligned, zeroed, holds `count` entries, and lives until the group
        // is unregistered or the ring is gone (see the type).
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, 0)? };
        for buffer in 0..count {
            self.give(BufferId(buffer));
        }
        self.publish();
        Ok(())
    }

    /// Takes a buffer that a completion named; it goes back to the kernel when the lease ends, at the
    /// next [`Self::publish`]. `None` if the buffer was not the kernel's to give.
    pub(super) fn lease(&mut self, buffer: BufferId, filled: usize) -> Option<Lease<'_>> {
        self.book.take(buffer).then(|| Lease {
            filled: filled.min(self.stride),
            start: self.payload(buffer),
            buffer,
            owner: self,
        })
    }

    /// Shows the kernel every buffer given since.
    pub(super) fn publish(&mut self) {
        let first: *const BufRingEntry = self.entries.start().as_ptr().cast();
        // SAFETY: `first` is the first entry of the ring, zeroed by mmap and hence initialised.
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: `tail` points to two aligned bytes inside `entries`, which outlives this call; the
        // kernel only reads them, and this thread, the only writer, does so atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the entries written before are visible to the kernel once it sees the tail.
        tail.store(self.book.tail(), Ordering::Release);
    }

    /// Buffers the kernel can receive into.
    pub(super) fn with_kernel(&self) -> usize {
        self.book.with_kernel()
    }

    fn give(&mut self, buffer: BufferId) {
        let Some(index) = self.book.give(buffer) else {
            debug_assert!(false, "a buffer was given twice");
            return;
        };
        let address = self.payload(buffer).as_ptr() as u64;
        let entries: NonNull<BufRingEntry> = self.entries.start().cast();
        debug_assert!((index + 1) * size_of::<BufRingEntry>() <= self.entries.len());
        // SAFETY: the book's index is below the number of entries, so the result stays in `entries`.
        let mut entry = unsafe { entries.add(index) };
        // SAFETY: aligned, inside `entries`, initialised. The kernel does not read an entry at or
        // behind the tail, so this thread alone uses it now; the tail itself lies in the first
        // entry's reserved field, which the setters below leave alone.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(address);
        entry.set_len((self.stride - 64) as u32);
        entry.set_bid(buffer.0);
    }

    fn payload(&self, buffer: BufferId) -> NonNull<u8> {
        let offset = usize::from(buffer.0) * self.stride;
        debug_assert!(offset + self.stride <= self.payloads.len());
        // SAFETY: every id that the book accepts is below the number of buffers, so the offset stays
        // inside `payloads`.
        unsafe { self.payloads.start().add(offset) }
    }
}

/// A received buffer, ours until dropped.
pub(super) struct Lease<'a> {
    owner: &'a mut Buffers,
    buffer: BufferId,
    start: NonNull<u8>,
    filled: usize,
}

impl Deref for Lease<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` begins a buffer of at least `filled` bytes, initialised (mmap zeroes, the
        // kernel wrote since). The book says that it is ours: the kernel will not touch it until it
        // is given back, which takes `&mut` of the owner and so the end of this lease.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.filled) }
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference to the buffer.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.filled) }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.owner.give(self.buffer);
    }
}
