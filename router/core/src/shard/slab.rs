//! Generational slabs and the public ids made of their keys.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use crate::id::WorkerId;

/// Bits of a slot number: 2^20 participants or tracks in one shard are far above what a core serves.
const SLOT_BITS: u32 = 20;
/// Bits of a generation. Together with [`SLOT_BITS`] and the worker's 8 bits: 53, the integers that a
/// JSON number carries exactly.
const GENERATION_BITS: u32 = 25;
const SLOTS_MAX: u32 = 1 << SLOT_BITS;
const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// A typed key of a [`Slab`].
pub(crate) trait Key: Copy + Eq {
    /// Puts it together.
    fn from_parts(slot: u32, generation: u32) -> Self;
    /// Which slot.
    fn slot(self) -> u32;
    /// Which tenant of the slot, counted up from where the slab began, at least 1.
    fn generation(self) -> u32;

    /// Names nothing: there is no such slot.
    fn nowhere() -> Self {
        Self::from_parts(u32::MAX, 0)
    }
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name {
            slot: u32,
            generation: u32,
        }

        impl Key for $name {
            fn from_parts(slot: u32, generation: u32) -> Self {
                $name { slot, generation }
            }
            fn slot(self) -> u32 {
                self.slot
            }
            fn generation(self) -> u32 {
                self.generation
            }
        }
    };
}

key!(/// Names a room of this shard.
    RoomKey);
key!(/// Names a participant of this shard.
    ParticipantKey);
key!(/// Names a track of this shard.
    TrackKey);
key!(/// Names a subscription of this shard.
    SubscriptionKey);
key!(/// Names a transport of this shard.
    TransportKey);

/// The public number of a key: worker, generation and slot; below 2^53.
pub(crate) fn to_public<K: Key>(worker: WorkerId, key: K) -> u64 {
    (u64::from(worker.0) << (SLOT_BITS + GENERATION_BITS))
        | (u64::from(key.generation()) << SLOT_BITS)
        | u64::from(key.slot())
}

/// The worker a public number is of.
pub(crate) fn worker_of(id: u64) -> u8 {
    (id >> (SLOT_BITS + GENERATION_BITS)) as u8
}

/// The key behind a public number; `None` if it is another worker's or malformed.
pub(crate) fn from_public<K: Key>(worker: WorkerId, id: u64) -> Option<K> {
    if id >> (SLOT_BITS + GENERATION_BITS) != u64::from(worker.0) {
        return None;
    }
    let slot = (id & u64::from(SLOTS_MAX - 1)) as u32;
    let generation = ((id >> SLOT_BITS) & u64::from(GENERATION_MAX)) as u32;
    Some(K::from_parts(slot, generation))
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Values in slots that are reused, under keys that never are.
pub(crate) struct Slab<K, T> {
    entries: Vec<Entry<T>>,
    /// First in, first out, so that a slot rests as long as possible before its next tenant.
    free: VecDeque<u32>,
    len: usize,
    /// Generation before a slot's first tenant.
    before_first: u32,
    key: PhantomData<K>,
}

impl<K: Key, T> Slab<K, T> {
    /// An empty slab.
    pub(crate) fn new() -> Self {
        Slab {
            entries: Vec::new(),
            free: VecDeque::new(),
            len: 0,
            before_first: 0,
            key: PhantomData,
        }
    }

    /// An empty slab whose generations start somewhere in the first half of their range, as `random`
    /// says. For keys that become public ids: clients that come back to a restarted router, or to
    /// another node, still hold ids of the former one, and must not take somebody else for themselves.
    pub(crate) fn starting_anywhere(random: u32) -> Self {
        Slab {
            before_first: random % (GENERATION_MAX / 2),
            ..Slab::new()
        }
    }

    /// Puts in what `make` returns for its new key; `None` when every slot is taken or worn out.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(K) -> T) -> Option<K> {
        let slot = match self.free.pop_front() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.entries.len()).ok()?;
                if slot >= SLOTS_MAX {
                    return None;
                }
                self.entries.push(Entry {
                    generation: self.before_first,
                    value: None,
                });
                slot
            }
        };
        let entry = self.entries.get_mut(slot as usize)?;
        entry.generation += 1;
        let key = K::from_parts(slot, entry.generation);
        entry.value = Some(make(key));
        self.len += 1;
        Some(key)
    }

    /// The value of a key that is still valid.
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let entry = self.entries.get(key.slot() as usize)?;
        if entry.generation != key.generation() {
            return None;
        }
        entry.value.as_ref()
    }

    /// The value of a key that is still valid.
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot() as usize)?;
        if entry.generation != key.generation() {
            return None;
        }
        entry.value.as_mut()
    }

    /// Takes the value out. The key is dead from here on. A slot whose generations are used up is
    /// never given out again, so that no id is ever reused.
    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let entry = self.entries.get_mut(key.slot() as usize)?;
        if entry.generation != key.generation() {
            return None;
        }
        let value = entry.value.take()?;
        self.len -= 1;
        if entry.generation < GENERATION_MAX {
            self.free.push_back(key.slot());
        }
        Some(value)
    }

    /// Every slot from `first` on, with the value in it, if there is one.
    pub(crate) fn slots_from(&self, first: u32) -> impl Iterator<Item = (u32, Option<(K, &T)>)> {
        let entries = self.entries.get(first as usize..).unwrap_or_default();
        (first..u32::MAX).zip(entries).map(|(slot, entry)| {
            let key = K::from_parts(slot, entry.generation);
            (slot, entry.value.as_ref().map(|value| (key, value)))
        })
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<K, T> fmt::Debug for Slab<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("len", &self.len).finish()
    }
}

#[cfg(test)]
#[path = "slab_tests.rs"]
mod tests;
