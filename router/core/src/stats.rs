//! Plain counters, written by the shard's owner only and read once a second.

use crate::path::PathKind;

/// Counters of a shard since start; gauges as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Gauge: rooms.
    pub rooms: u64,
    /// Gauge: participants.
    pub participants: u64,
    /// Gauge: tracks.
    pub tracks: u64,
    /// Gauge: subscriptions.
    pub subscriptions: u64,
    /// Gauge: transports by state (new, connecting, connected, disconnected).
    pub transports: [u64; 4],
    /// RTP packets received and authenticated.
    pub rtp_received: u64,
    /// Their payload bytes.
    pub rtp_received_bytes: u64,
    /// RTP packets forwarded (one per subscriber).
    pub rtp_forwarded: u64,
    /// Their payload bytes.
    pub rtp_forwarded_bytes: u64,
    /// RTP packets given to other workers' parts of their rooms, one per worker.
    pub crossed_out: u64,
    /// RTP packets that came from there.
    pub crossed_in: u64,
    /// RTP packets sent again because a subscriber missed them.
    pub rtp_retransmitted: u64,
    /// RTP packets not sent: sealed before, or too old to know that.
    pub rtp_refused: u64,
    /// Gauge: tracks that are recorded.
    pub recordings: u64,
    /// RTP packets given to the recorder.
    pub rtp_recorded: u64,
    /// Their payload bytes.
    pub rtp_recorded_bytes: u64,
    /// RTP packets not sent: they waited too long for room on the way to their subscriber.
    pub pacer_dropped: u64,
    /// RTP packets of padding, sent to find out what a subscriber's network carries.
    pub padding_sent: u64,
    /// Bursts begun to find that out.
    pub probes_sent: u64,
    /// Transport-wide feedback messages received from subscribers.
    pub feedback_received: u64,
    /// Of such, those that were malformed.
    pub feedback_malformed: u64,
    /// NACKs received from subscribers.
    pub nacks_received: u64,
    /// Packets that they ask for.
    pub nacked: u64,
    /// RTP packets that receiver reports of subscribers are about.
    pub reported: u64,
    /// Of those, packets lost on their way.
    pub reported_lost: u64,
    /// Times an estimate of what a subscriber's network carries was made.
    pub estimates: u64,
    /// Sum of those estimates, bits per second.
    pub estimate_bps_sum: u64,
    /// Transports that failed, by [`FailCause`] in declaration order.
    pub transports_failed: [u64; FailCause::COUNT],
    /// Keyframe requests sent to publishers.
    pub keyframe_requests_sent: u64,
    /// Keyframe requests received from subscribers.
    pub keyframe_requests_received: u64,
    /// Data messages fanned out.
    pub data_forwarded: u64,
    /// Data messages dropped at a bound.
    pub data_dropped: u64,
    /// Binding requests of strangers answered.
    pub stun_answered: u64,
    /// Datagrams dropped, by [`DropCause`] in declaration order.
    pub dropped: [u64; DropCause::COUNT],
    /// Transports that failed by a panic caught at their edge.
    pub transport_panics: u64,
    /// Views of rooms made for layer policies.
    pub layer_views: u64,
    /// Choices of layer policies taken over.
    pub layer_choices: u64,
    /// Choices about nobody or nothing in the room.
    pub layer_choices_refused: u64,
    /// Choices made from a view that counts no more.
    pub layer_choices_stale: u64,
    /// Times the built-in policy took over because a layer policy failed or was silent.
    pub layer_fallbacks: u64,
    /// Joins answered.
    pub joins: u64,
    /// Transports that reached the connected state.
    pub connects: u64,
    /// Times a transport reached it, by the kind of its path, in order of [`PathKind::ALL`].
    pub connects_by_path: [u64; PathKind::ALL.len()],
    /// Times a connected transport's path became one of another kind, by that.
    pub path_changes: [u64; PathKind::ALL.len()],
    /// Times a connected transport's client was found at another port.
    pub paths_rebound: u64,
    /// Sum over connected ones of the time from the offer or answer to connected, microseconds.
    pub connect_micros_sum: u64,
}

impl ShardStats {
    /// A transport failed.
    pub(crate) fn failed(&mut self, cause: FailCause) {
        if let Some(count) = self.transports_failed.get_mut(cause as usize) {
            *count += 1;
        }
    }
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// Empty, oversized or of no known first byte (RFC 7983).
    Malformed,
    /// STUN that names no transport of this worker.
    StunUnknownUfrag,
    /// STUN with a wrong message integrity or fingerprint.
    StunUnauthenticated,
    /// DTLS, RTP or RTCP from a 5-tuple that ICE has not validated.
    UnvalidatedSource,
    /// The transport refused it (bad tag, replay, malformed).
    Refused,
    /// A retransmission that brought nothing new. Browsers probe their bandwidth with such.
    Repeated,
    /// Over a rate bound.
    RateLimited,
}

impl DropCause {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All, with the label metrics use.
    pub const ALL: [(DropCause, &'static str); Self::COUNT] = [
        (DropCause::Malformed, "malformed"),
        (DropCause::StunUnknownUfrag, "stun_unknown_ufrag"),
        (DropCause::StunUnauthenticated, "stun_unauthenticated"),
        (DropCause::UnvalidatedSource, "unvalidated_source"),
        (DropCause::Refused, "refused"),
        (DropCause::Repeated, "repeated"),
        (DropCause::RateLimited, "rate_limited"),
    ];
}

/// Why a transport failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailCause {
    /// No check of its client came, or none that was right (ICE).
    Unreachable,
    /// Checks came, and the handshake did not end (DTLS).
    Handshake,
    /// It was connected, and its client's consent ran out (RFC 7675).
    Consent,
    /// Anything else: a fault in what its client said.
    Fault,
}

impl FailCause {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All, with the label metrics use.
    pub const ALL: [(FailCause, &'static str); Self::COUNT] = [
        (FailCause::Unreachable, "unreachable"),
        (FailCause::Handshake, "handshake"),
        (FailCause::Consent, "consent"),
        (FailCause::Fault, "fault"),
    ];
}
