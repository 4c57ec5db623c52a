//! Memory and tables of one instance, and what all instances of a kind may use together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmtime::ResourceLimiter;

use crate::budgets::Limits;

/// Linear memory each instance may have without drawing on what the plugin has in common.
const OWN_BYTES: usize = 2 << 20;

#[derive(Debug)]
pub(crate) struct Memory {
    bytes: usize,
    bytes_max: usize,
    elements: usize,
    elements_max: usize,
    /// What this instance draws on the common store.
    drawn: usize,
    common: Arc<AtomicUsize>,
    common_max: usize,
    refused: bool,
}

impl Memory {
    pub(crate) fn new(limits: &Limits, common: Arc<AtomicUsize>) -> Memory {
        Memory {
            bytes: 0,
            bytes_max: limits.memory_bytes,
            elements: 0,
            elements_max: limits.table_elements,
            drawn: 0,
            common,
            common_max: limits.memory_total_bytes,
            refused: false,
        }
    }

    /// Linear memory of the instance, all its memories together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something has been refused since the last question.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    fn grow(&mut self, by: usize) -> bool {
        let Some(bytes) = self.bytes.checked_add(by).filter(|b| *b <= self.bytes_max) else {
            return false;
        };
        let draw = bytes.saturating_sub(OWN_BYTES);
        let more = draw.saturating_sub(self.drawn);
        let common = self.common.fetch_add(more, Relaxed) + more;
        if more > 0 && common > self.common_max {
            self.common.fetch_sub(more, Relaxed);
            return false;
        }
        self.drawn += more;
        self.bytes = bytes;
        true
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.common.fetch_sub(self.drawn, Relaxed);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.grow(desired.saturating_sub(current));
        self.refused |= !grown;
        Ok(grown)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self
            .elements
            .saturating_add(desired.saturating_sub(current));
        let grown = elements <= self.elements_max;
        if grown {
            self.elements = elements;
        }
        self.refused |= !grown;
        Ok(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn memories_and_tables_are_added_up() {
        let limits = Limits {
            memory_bytes: 4 << 20,
            table_elements: 100,
            ..Limits::of(Kind::Signaling)
        };
        let mut memory = Memory::new(&limits, Arc::default());
        assert!(memory.memory_growing(0, 3 << 20, None).unwrap());
        assert!(!memory.memory_growing(0, 2 << 20, None).unwrap());
        assert!(memory.take_refused() && !memory.take_refused());
        assert!(memory.memory_growing(0, 1 << 20, None).unwrap());
        assert_eq!(memory.bytes(), 4 << 20);
        assert!(memory.table_growing(0, 60, None).unwrap());
        assert!(!memory.table_growing(0, 60, None).unwrap());
        assert!(memory.table_growing(60, 100, None).unwrap());
    }

    #[test]
    fn what_instances_have_in_common_is_bounded_and_comes_back() {
        let limits = Limits {
            memory_total_bytes: 1 << 20,
            ..Limits::of(Kind::Signaling)
        };
        let common = Arc::new(AtomicUsize::default());
        let new = || Memory::new(&limits, Arc::clone(&common));
        let (mut a, mut b) = (new(), new());
        assert!(a.memory_growing(0, 3 << 20, None).unwrap());
        assert!(b.memory_growing(0, 2 << 20, None).unwrap());
        assert!(!b.memory_growing(2 << 20, 3 << 20, None).unwrap());
        drop(a);
        assert!(b.memory_growing(2 << 20, 3 << 20, None).unwrap());
        drop(b);
        assert_eq!(common.load(Relaxed), 0);
    }
}
