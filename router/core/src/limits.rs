//! Every bound of the core, with its reason.

/// Bounds that configuration may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Participants in one room of this shard.
    pub participants_per_room: u32,
    /// Rooms of this shard.
    pub rooms: u32,
    /// Tracks one participant may publish.
    pub tracks_per_participant: u16,
    /// Tracks one participant may subscribe to; each is an m-line of its subscribing transport.
    pub subscriptions_per_participant: u16,
    /// Largest SDP, bytes, refused before it is parsed.
    pub sdp_bytes: u32,
    /// Largest data message, bytes of payload.
    pub data_message_bytes: u32,
    /// Data one participant may send, bytes per second; the burst is one second's worth.
    pub data_bytes_per_second: u32,
    /// Data queued toward one receiver, bytes.
    pub data_queue_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            participants_per_room: 1_000,
            rooms: 10_000,
            tracks_per_participant: 16,
            subscriptions_per_participant: 64,
            sdp_bytes: 64 * 1024,
            data_message_bytes: 64 * 1024,
            data_bytes_per_second: 4 * 1024 * 1024,
            data_queue_bytes: 4 * 1024 * 1024,
        }
    }
}
