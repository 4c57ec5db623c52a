//! Ownership of the buffers in a provided-buffer ring.
//!
//! A buffer is either the kernel's (in the ring, may be written at any moment) or ours (a completion
//! named it). The unsafe code that turns a buffer id into a `&mut [u8]` rests on this book alone.

/// Index of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferId(pub(crate) u16);

/// Who may touch each buffer, and where the ring's tail stands.
#[derive(Debug)]
pub(crate) struct ProvidedBook {
    ours: Box<[bool]>,
    tail: u16,
    with_kernel: usize,
}

impl ProvidedBook {
    /// All buffers ours. `entries` is a power of two up to 32,768.
    pub(crate) fn new(entries: u16) -> Self {
        assert!(entries.is_power_of_two(), "ring entries are a power of two");
        Self {
            ours: vec![true; usize::from(entries)].into(),
            tail: 0,
            with_kernel: 0,
        }
    }

    /// Hands a buffer to the kernel: returns the ring entry to write it to. `None` if it is the
    /// kernel's already (or does not exist); nothing changes then.
    pub(crate) fn give(&mut self, buffer: BufferId) -> Option<usize> {
        let ours = self.ours.get_mut(usize::from(buffer.0))?;
        if !std::mem::take(ours) {
            return None;
        }
        let entry = usize::from(self.tail) & (self.ours.len() - 1);
        self.tail = self.tail.wrapping_add(1);
        self.with_kernel += 1;
        Some(entry)
    }

    /// Takes a buffer that a completion named. False if it was not the kernel's to give.
    pub(crate) fn take(&mut self, buffer: BufferId) -> bool {
        match self.ours.get_mut(usize::from(buffer.0)) {
            Some(ours) if !*ours => {
                *ours = true;
                self.with_kernel -= 1;
                true
            }
            _ => false,
        }
    }

    /// The tail to publish: counts every buffer ever given, modulo 2^16.
    pub(crate) fn tail(&self) -> u16 {
        self.tail
    }

    /// Buffers the kernel can receive into.
    pub(crate) fn with_kernel(&self) -> usize {
        self.with_kernel
    }

    /// Number of buffers.
    pub(crate) fn len(&self) -> usize {
        self.ours.len()
    }
}
