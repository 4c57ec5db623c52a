//! Every bound of the core, with its reason.

use std::time::Duration;

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
    /// Binding requests of strangers answered, per second.
    pub stun_answers_per_second: u32,
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
            stun_answers_per_second: 1_000,
        }
    }
}

/// Largest datagram looked at, bytes: an Ethernet frame's worth. WebRTC stays below 1,300.
pub const DATAGRAM_BYTES: usize = 1_500;

/// Largest RTP payload forwarded, bytes. With header, extensions, the RTX prefix and the tag it must
/// fit the 2,000-byte buffers of the engine, which would panic in every *receiver's* transport
/// otherwise, and a datagram that the path carries.
pub const RTP_PAYLOAD_BYTES: usize = 1_400;

/// Longest line of an SDP, bytes: the longest legitimate ones (a=fmtp, a=simulcast) stay below 1,000.
pub const SDP_LINE_BYTES: usize = 4 * 1024;

/// Most sections of one SDP beyond what tracks or subscriptions allow: idle ones and the application's.
pub const SDP_SECTIONS_SPARE: usize = 64;

/// Most candidates in one section of an SDP; a host with more interfaces than this names them in vain.
pub const CANDIDATES_PER_SECTION: usize = 40;

/// Longest candidate line, bytes.
pub const CANDIDATE_BYTES: usize = 1_024;

/// Simulcast layers of a track: browsers send at most three; the index must fit small tables.
pub const LAYERS_PER_TRACK: usize = 4;

/// Validated addresses of one transport at a time; a client has one per interface and relay.
pub const ADDRESSES_PER_TRANSPORT: usize = 40;

/// New addresses one transport may validate between two ICE restarts: the ICE agent remembers each
/// for ever, so this bounds its memory. A phone that changes its network hourly uses it up in a week.
pub const ADDRESSES_PER_SESSION: u32 = 200;

/// Distinct SSRCs one publishing transport may use, tracks × layers × changes: the engine keeps replay
/// state for each for ever.
pub const SSRCS_PER_TRANSPORT: usize = 512;

/// DTLS handshakes of one transport at a time, one for each distinct ClientHello.
pub const HANDSHAKES: usize = 4;

/// DTLS handshakes begun by one transport in all: each costs a signature.
pub const HANDSHAKES_TOTAL: u32 = 16;

/// From the negotiation to connected; browsers give up after 15 to 30 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// From disconnected (15 s without a consent check already) to failed: 30 s in all (RFC 7675 §5.1).
pub const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// For how long checks with the credentials before an ICE restart are still answered.
pub const RESTART_OVERLAP: Duration = Duration::from_secs(30);

/// How long an address stays its transport's after the last check from it, against theft by a
/// participant that forges it. Equal to the ICE agent's own patience.
pub const ADDRESS_LIFETIME: Duration = Duration::from_secs(15);

/// Addresses of other workers' clients that a worker remembers where they share a UDP port: some 6 MB.
pub const OWNED_ADDRESSES: usize = 65_536;

/// For how long such an address is another worker's after it was last claimed: what consent lasts (RFC 7675 §5.1). A
/// client checks its path, and so has it claimed again, several times in that.
pub const OWNED_LIFETIME: Duration = Duration::from_secs(30);

/// Between two looks for those that are over.
pub const OWNED_SWEEP: Duration = Duration::from_secs(10);

/// Silence after which a path is left for a livelier one. A client sends something on its path more
/// often: feedback at least once a second while it receives media.
pub const PATH_SILENCE: Duration = Duration::from_millis(1_500);

/// Silence of a client on its path after which it may be at another port: media and feedback come more often.
pub const MOVED_SILENCE: Duration = Duration::from_millis(150);

/// Between two questions to one client whether it has moved.
pub const MOVED_INTERVAL: Duration = Duration::from_millis(100);

/// How long such a question may be answered.
pub const MOVED_TIME: Duration = Duration::from_secs(2);

/// Clients that one packet has asked whether it is theirs.
pub const MOVED_ASKED: usize = 4;

/// What may be asked in answer to one packet, as a multiple of its bytes: nobody knows yet that they came from where they
/// claim to. (RFC 9000 §8.1 allows three times as many; here the smallest report there is, of 32 bytes, has to be enough
/// for a question.)
pub const MOVED_SHARE: usize = 4;

/// Such questions of a shard open at once.
pub const MOVED_QUESTIONS: usize = 256;

/// Packets of unknown senders a second for which a shard looks whose they may be: that goes through all addresses.
pub const MOVED_SCANS: u32 = 100;

/// Failed STUN verifications per second that one transport pays for; legitimate clients cause none
/// but around an ICE restart.
pub const STUN_FAILURES_PER_TRANSPORT: u32 = 20;

/// Failed STUN verifications per second that one source address is granted.
pub const STUN_FAILURES_PER_SOURCE: u32 = 100;

/// Failed STUN verifications per second in a shard: at 2 µs each, below one per cent of a core.
pub const STUN_FAILURES_PER_SHARD: u32 = 4_000;

/// Binding requests answered per second to one source address, whoever it really is. Clients ask a few
/// times when they begin; many may share an address.
pub const STUN_ANSWERS_PER_SOURCE: u32 = 50;

/// Longest binding request of a stranger, bytes: what a path of unknown MTU carries (RFC 8489 §6.1).
pub const STUN_REQUEST_BYTES: usize = 548;

/// Slots of the tables of sources: fixed memory, sources that collide share a slot.
pub const STUN_SOURCE_SLOTS: usize = 1_024;

/// Outputs taken from one transport in one go; a bound against a loop, never met.
pub const OUTPUTS_PER_DRAIN: usize = 20_000;

/// Datagrams of one transport waiting for the end of the turn: 8 MB at full size.
pub const DATAGRAMS_PER_TURN: usize = 8_192;

/// Errors of the engine that one transport survives; each is logged and has no known cause.
pub const ENGINE_ERRORS: u32 = 64;

/// Packets of a video layer kept for retransmission: one second at 10 Mb/s.
pub const HISTORY_PACKETS: usize = 1_024;

/// Payload bytes of a video layer kept for retransmission.
pub const HISTORY_BYTES: usize = 1_280 * 1_024;

/// Silence of a publisher's layer after which a gap in its numbers is not hoped to be filled: a keyframe is asked for.
pub const REPAIR_TIME: Duration = Duration::from_millis(800);

/// For how long they are kept: several round trips.
pub const HISTORY_AGE: Duration = Duration::from_secs(1);

/// One byte may be sent again for so many sent; bounds what a subscriber can ask for.
pub const RTX_SHARE: u32 = 2;

/// Bytes that may be sent again at once: what half a second without any arrival costs at 4 Mb/s.
pub const RTX_BURST_BYTES: u32 = 256 * 1_024;

/// Packet numbers that one RTCP datagram may ask for; beyond what is remembered of a stream it is no
/// longer a request.
pub const MISSING_PER_DATAGRAM: usize = 1_024;

/// Between two keyframe requests for one layer: a keyframe costs the publisher several frames.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);

/// How often a room looks at layers, levels and waiting keyframe requests.
pub const ROOM_TICK: Duration = Duration::from_millis(250);
/// A join is answered after this time even if another worker's part of the room has not said who is there;
/// they are told later then.
pub const PARTS_PATIENCE: Duration = Duration::from_millis(500);

/// Silence after which a layer counts as inactive.
pub const LAYER_SILENCE: Duration = Duration::from_secs(1);

/// Least time between two views of a room for a layer policy: twenty a second are more than anybody sees.
pub const VIEW_INTERVAL_LEAST: Duration = Duration::from_millis(50);

/// Between two views of a room in which nothing changed but what is measured, which is measured over a
/// second; and before a view that was not answered is replaced by a newer one.
pub const VIEW_REFRESH: Duration = Duration::from_secs(1);

/// For how long a layer policy may leave views unanswered before the built-in one takes over.
pub const POLICY_PATIENCE: Duration = Duration::from_secs(3);

/// Between two reports of a subscriber's round trip and loss, which are taken over a second.
pub const NETWORK_REPORTS: Duration = Duration::from_secs(1);

/// Longest reason kept for a choice, bytes.
pub const REASON_BYTES: usize = 128;

/// Share of the estimate that must stay free after a step up by the built-in policy, one in so many:
/// estimates waver by a few per cent.
pub const ESTIMATE_MARGIN: u64 = 8;

/// What a packet adds on its way to its RTP header and payload, bytes: IPv4 and UDP headers, and the
/// authentication tag of AES-GCM (RFC 7714).
pub const PACKET_OVERHEAD_BYTES: usize = 28 + 16;

/// Between two reports of dropped data to one client.
pub const DATA_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Queue of an unreliable channel, bytes: what waits longer is outdated; the oldest goes first.
pub const UNRELIABLE_QUEUE_BYTES: usize = 64 * 1024;

/// Bytes handed to SCTP at most before we queue ourselves.
pub const SCTP_BUFFER_BYTES: usize = 256 * 1024;

/// Of those, what the reliable channel may take, so that it never starves the unreliable one.
pub const SCTP_RELIABLE_BYTES: usize = 160 * 1024;

/// Channels one client may open beside the two that mean something.
pub const CHANNELS_PER_TRANSPORT: usize = 8;

/// Largest data message through signaling, bytes: it is copied once per receiver.
pub const SIGNALED_DATA_BYTES: usize = 16 * 1024;

/// Longest label of a data message through signaling, bytes.
pub const DATA_LABEL_BYTES: usize = 256;

/// Longest room name, bytes.
pub const ROOM_NAME_BYTES: usize = 128;

/// Longest identity, name or attribute, bytes; they are sent to everybody in the room.
pub const GRANT_TEXT_BYTES: usize = 4 * 1024;
