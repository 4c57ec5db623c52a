//! What the control side does with rooms, and what comes out for a recorder.

use rillway_core::api::{RecordedPacket, RoomEvent, RoomOrder};

use super::World;

impl World {
    /// A shard tells of its rooms from now on.
    pub fn announce_rooms(&mut self, shard: usize) {
        self.shards[shard].shard.announce_rooms();
    }

    /// The next thing that a shard tells of its rooms.
    pub fn poll_room_event(&mut self, shard: usize) -> Option<RoomEvent> {
        self.shards[shard].shard.poll_room_event()
    }

    /// Orders something about a room.
    pub fn order(&mut self, shard: usize, order: RoomOrder) {
        self.shards[shard].shard.handle_order(self.now, order);
        self.flush_shard(shard);
    }

    /// What a recorder got of a shard since the last call, in order.
    pub fn take_recorded(&mut self, shard: usize) -> Vec<RecordedPacket> {
        std::mem::take(&mut self.shards[shard].recorded)
    }
}
