//! Bounds that no key of the configuration is about, each with its reason.

use std::time::Duration;

/// Requests of clients that have a relay, of one client: a browser sends a few when it connects and one a minute
/// then. Each costs a hash over its bytes.
pub const REQUESTS_PER_SECOND: u32 = 50;

/// Answers to strangers of one address (of one /64 in IPv6) in a second: an office that starts its day.
pub const STRANGERS_PER_SOURCE: u32 = 50;

/// Counters of such sources. Those that share one share its answers: the table never grows.
pub(crate) const SOURCES: usize = 1_024;

/// How long somebody who was asked for credentials is remembered: a round trip, retransmitted twice (RFC 8489 §6.2.1).
pub(crate) const HALF_OPEN: Duration = Duration::from_secs(3);

/// User names that one client may try before it is forgotten.
pub(crate) const NAMES_MAX: u8 = 4;

/// Addresses that one client may have permission for: a router has a few, a direct call a handful of candidates.
pub const PERMISSIONS_MAX: usize = 64;

/// Channels of one client.
pub const CHANNELS_MAX: usize = 64;

/// How long a permission lasts (RFC 8656 §9).
pub(crate) const PERMISSION: Duration = Duration::from_secs(300);

/// How long a channel is bound (RFC 8656 §12).
pub(crate) const CHANNEL: Duration = Duration::from_secs(600);

/// Longest STUN message that is no Send indication: user name, realm and nonce at their longest fit.
pub(crate) const REQUEST_BYTES_MAX: usize = 2_048;

/// How long a nonce is good: a client that comes back with an older one is given another, and asks again.
pub(crate) const NONCE: Duration = Duration::from_secs(3_600);

/// Longest frame of a stream: a header and what a length of 16 bits can say.
pub const FRAME_BYTES_MAX: usize = 20 + 65_535;
