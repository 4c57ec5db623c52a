//! Ids. Each kind is its own type; generational where it names a slot, so that a stale id never
//! resurrects.

/// Names a client connection; given by the control side, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// Echo of a request, chosen by whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(pub u64);

/// Index of a worker; part of every ufrag and of every public id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u8);

/// Index of a local socket of the worker's driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u16);

/// Public id of a participant: worker, generation and slot. At most 2^53 - 1, so that JSON
/// numbers could carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u64);

/// Public id of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

impl ParticipantId {
    /// The worker it joined at.
    #[must_use]
    pub fn worker(self) -> WorkerId {
        WorkerId(crate::shard::slab::worker_of(self.0))
    }
}

impl TrackId {
    /// The worker it is published at.
    #[must_use]
    pub fn worker(self) -> WorkerId {
        WorkerId(crate::shard::slab::worker_of(self.0))
    }
}

/// Names a room between a worker and the control side for as long as it is open: worker, generation and
/// slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

impl RoomId {
    /// The worker that has it.
    #[must_use]
    pub fn worker(self) -> WorkerId {
        WorkerId(crate::shard::slab::worker_of(self.0))
    }
}
