//! What happens next in a world.

use std::cmp::Ordering;
use std::time::Instant;

use rillway_core::api::{EventKind, Request};
use rillway_core::crossing::Crossing;

/// Something that happens, to whom.
pub(super) enum Happening {
    ShardTimer(usize),
    ClientTimer(usize),
    Up(usize),
    Down(usize),
    Request(usize, Request),
    Event(usize, EventKind),
    /// From one shard to another.
    Crossing(usize, usize, Crossing),
}

/// When, and in which order among those of one instant.
pub(super) struct Entry {
    pub(super) at: Instant,
    pub(super) order: u64,
    pub(super) what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
