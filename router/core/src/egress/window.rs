//! Which packet indices have been used: none is, twice.

/// The newest index and a bitmap of the `64 * WORDS` up to it. What is older counts as used.
#[derive(Debug, Clone)]
pub(crate) struct Window<const WORDS: usize> {
    newest: Option<u64>,
    /// Bit `index % (64 * WORDS)`.
    used: [u64; WORDS],
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Window {
            newest: None,
            used: [0; WORDS],
        }
    }
}

impl<const WORDS: usize> Window<WORDS> {
    const SPAN: u64 = 64 * WORDS as u64;

    /// Whether an index may be used; it counts as used from now on.
    pub(crate) fn admit(&mut self, index: u64) -> bool {
        match self.newest {
            None => self.newest = Some(index),
            Some(newest) if index > newest => {
                self.forget(newest, index);
                self.newest = Some(index);
            }
            Some(newest) if newest - index >= Self::SPAN => return false,
            Some(_) => {}
        }
        let Some((word, bit)) = self.place(index) else {
            return false;
        };
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// The newest index used.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Frees the places of indices after `newest`, up to `index`.
    fn forget(&mut self, newest: u64, index: u64) {
        if index - newest >= Self::SPAN {
            self.used = [0; WORDS];
            return;
        }
        for skipped in newest + 1..=index {
            if let Some((word, bit)) = self.place(skipped) {
                *word &= !bit;
            }
        }
    }

    fn place(&mut self, index: u64) -> Option<(&mut u64, u64)> {
        let place = index % Self::SPAN;
        let word = self.used.get_mut((place / 64) as usize)?;
        Some((word, 1 << (place % 64)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_index_is_admitted_once() {
        let mut window = Window::<2>::default();
        assert!(window.admit(100));
        assert!(!window.admit(100));
        assert!(window.admit(99), "late, and for the first time");
        assert!(!window.admit(99));
        assert!(window.admit(101));
        assert!(!window.admit(100));
    }

    #[test]
    fn what_is_too_old_to_be_known_counts_as_used() {
        let mut window = Window::<2>::default();
        assert!(window.admit(1_000));
        assert!(window.admit(1_000 - 127));
        assert!(!window.admit(1_000 - 128));
        assert!(window.admit(5_000), "a leap forgets everything before it");
        assert!(!window.admit(1_001));
        assert!(window.admit(5_000 - 127));
    }

    #[test]
    fn no_order_makes_it_admit_one_twice() {
        let mut window = Window::<4>::default();
        let mut admitted = BTreeSet::new();
        let mut state = 88_172_645_463_325_252_u64;
        let mut base = 0;
        for _ in 0..200_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            base += state % 3;
            let index = (base + (state >> 20) % 400).saturating_sub(200);
            let fresh = window.admit(index);
            if fresh {
                assert!(admitted.insert(index), "{index} twice");
            } else {
                let newest = window.newest().unwrap();
                let old = newest - index >= 256;
                assert!(old || admitted.contains(&index), "{index} never");
            }
        }
        assert!(admitted.len() > 50_000);
    }
}
