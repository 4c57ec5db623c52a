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
    /// Of one buffer, header included.
    bytes: usize,
    /// From one buffer to the next.
    stride: usize,
    book: ProvidedBook,
}

impl Buffers {
    /// `count` buffers (a power of two) of `payload_bytes` each, and room for the header in front.
    pub(super) fn new(count: u16, payload_bytes: usize) -> io::Result<Self> {
        let bytes = OVERHEAD_BYTES + payload_bytes;
        // Whole cache lines. Never a multiple of the page for the sizes allowed, which is well: equal
        // low address bits would make all packet headers compete for the same cache sets.
        let stride = bytes.next_multiple_of(64);
        Ok(Self {
            entries: Region::new(usize::from(count) * size_of::<BufRingEntry>())?,
            payloads: Region::new(usize::from(count) * stride)?,
            bytes,
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
        self.lend_all();
        Ok(())
    }

    fn lend_all(&mut self) {
        for buffer in 0..self.book.len() {
            self.give(BufferId(buffer as u16));
        }
        self.publish();
    }

    /// Takes a buffer that a completion named; it goes back to the kernel when the lease ends, at the
    /// next [`Self::publish`]. `None` if the buffer was not the kernel's to give.
    pub(super) fn lease(&mut self, buffer: BufferId, filled: usize) -> Option<Lease<'_>> {
        self.book.take(buffer).then(|| Lease {
            filled: filled.min(self.bytes),
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
        entry.set_len(self.bytes as u32);
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

/// Named for the Miri filter: the pointers without the kernel, `cargo +nightly miri test bookkeeping`.
#[cfg(test)]
mod bookkeeping {
    use super::*;

    /// The kernel's side: its own head, reading entries and writing payloads by address.
    struct Kernel {
        entries: *const BufRingEntry,
        mask: u16,
        head: u16,
    }

    impl Kernel {
        fn of(buffers: &Buffers) -> Self {
            Self {
                entries: buffers.entries.start().as_ptr().cast(),
                mask: buffers.book.len() as u16 - 1,
                head: 0,
            }
        }

        fn tail(&self) -> u16 {
            // SAFETY: the first entry of a live ring.
            let tail = unsafe { BufRingEntry::tail(self.entries) };
            // SAFETY: two aligned bytes inside it.
            unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.load(Ordering::Acquire)
        }

        /// Fills the next buffer; `None` when there is none (ENOBUFS).
        fn receive(&mut self, bytes: &[u8]) -> Option<BufferId> {
            if self.head == self.tail() {
                return None;
            }
            // SAFETY: masked, so inside the ring.
            let entry = unsafe { self.entries.add(usize::from(self.head & self.mask)) };
            // SAFETY: before the tail, so written and not being written.
            let entry = unsafe { &*entry };
            assert!(bytes.len() <= entry.len() as usize);
            let payload = std::ptr::with_exposed_provenance_mut::<u8>(entry.addr() as usize);
            // SAFETY: the entry lends `len` bytes at `addr` until the buffer is taken back.
            unsafe { payload.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            self.head = self.head.wrapping_add(1);
            Some(BufferId(entry.bid()))
        }
    }

    #[test]
    fn leases_see_what_the_kernel_wrote() {
        let mut buffers = Buffers::new(4, 2048).unwrap();
        let mut kernel = Kernel::of(&buffers);
        assert_eq!(kernel.receive(b"early"), None, "nothing lent yet");
        buffers.lend_all();
        // Often enough to wrap the ring, and the tail too where that is cheap.
        let rounds = if cfg!(miri) { 40 } else { 70_000 };
        for round in 0..rounds {
            let first = kernel
                .receive(&[round as u8; 2048 + OVERHEAD_BYTES])
                .unwrap();
            let second = kernel.receive(b"second").unwrap();
            // Not in the order of completion: ids come back as the driver likes.
            let mut lease = buffers.lease(second, 6).unwrap();
            assert_eq!(&lease[..], b"second");
            lease.fill(0);
            drop(lease);
            let lease = buffers.lease(first, usize::MAX).unwrap();
            assert_eq!(
                &lease[..],
                [round as u8; 2048 + OVERHEAD_BYTES],
                "no longer than the buffer"
            );
            drop(lease);
            assert_eq!(buffers.with_kernel(), 4);
            buffers.publish();
        }
    }

    #[test]
    fn unpublished_buffers_are_not_the_kernels() {
        let mut buffers = Buffers::new(2, 2048).unwrap();
        let mut kernel = Kernel::of(&buffers);
        buffers.lend_all();
        let ids: Vec<_> = (0..2).map(|_| kernel.receive(b"x").unwrap()).collect();
        assert_eq!(kernel.receive(b"x"), None, "both in use");
        drop(buffers.lease(ids[1], 1).unwrap());
        assert_eq!(kernel.receive(b"x"), None, "given, but not yet shown");
        buffers.publish();
        assert_eq!(kernel.receive(b"x"), Some(ids[1]));
        assert!(buffers.lease(BufferId(2), 1).is_none(), "no such buffer");
    }
}
