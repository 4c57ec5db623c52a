//! Every bound of the protocol itself. Bounds of the host ([`rillway_plugin_sdk::types::Limits`])
//! come with the join and are told to the client.

/// Room and display names, bytes of UTF-8: enough for any human name, small in every log line.
pub const NAME_BYTES_MAX: usize = 128;
/// Token, bytes: JSON Web Tokens with generous claims stay below 4 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// `mid`, bytes: what the router stores (RFC 9143 asks for 3 or fewer, browsers use 1 or 2).
pub const MID_BYTES_MAX: usize = 16;
/// Label of a data message, bytes.
pub const LABEL_BYTES_MAX: usize = 64;
/// A candidate line, bytes (RFC 8839 lines are below 250 in practice).
pub const CANDIDATE_BYTES_MAX: usize = 1024;
/// Entries of a `tracks` list: one command each is given to the host.
pub const TRACKS_MAX: usize = 64;
/// Entries of a `to` list; whoever needs more leaves `to` out and means everybody.
pub const RECEIVERS_MAX: usize = 256;
/// Requests a client may have unanswered: a browser has a handful.
pub const PENDING_MAX: usize = 64;
/// Tracks that wait for a free subscription under `autoSubscribe`: far more than one can watch.
pub const WAITING_MAX: usize = 1024;
/// Descriptions and candidates that a client may send in one direct call: one description, candidates of a dozen
/// interfaces and relays.
pub const DIRECT_MESSAGES_MAX: u32 = 96;
/// Changes of the path that a client may tell in one direct call.
pub const DIRECT_PATHS_MAX: u32 = 16;
/// Message of an error, bytes, cut at a character.
pub const ERROR_BYTES_MAX: usize = 512;
/// Reason of a WebSocket close frame, bytes (RFC 6455 §5.5: 125 less the code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Cuts `text` to at most `max` bytes at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}
