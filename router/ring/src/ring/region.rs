//! Page-aligned memory that the kernel writes to behind Rust's back.

use std::io;
use std::ptr::{self, NonNull};

/// Anonymous, zeroed, page-aligned memory; given back when dropped. Holds no Rust value: it is only
/// reached through the raw pointer, so that no reference exists while the kernel may write.
#[derive(Debug)]
pub(super) struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

impl Region {
    /// Maps `bytes` (not zero).
    pub(super) fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh anonymous private mapping at an address of the kernel's choice; touches no
        // existing memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// First byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Length, bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`, unmapped once. Whoever lent it to the kernel has
        // taken it back first (`Buffers` says when).
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(result, 0, "munmap of a whole mapping cannot fail");
    }
}
