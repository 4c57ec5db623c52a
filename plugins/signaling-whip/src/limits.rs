//! Every bound of the protocol. The host has bounds of its own on sizes and rates.

/// Bytes of a room's name, of a name to be shown by, and of a participant in a query, decoded.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of a bearer token: a token with a long certificate chain.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Sections of an offer: WHIP and WHEP know one of audio, one of video, and perhaps one for data.
pub const SECTIONS_MAX: usize = 16;

/// Candidates taken from one fragment. A machine with ten addresses has thirty.
pub const CANDIDATES_MAX: usize = 64;

/// Requests of one session that wait for the one under way.
pub const QUEUE_MAX: usize = 8;

/// Tracks that a query may name: one of audio, one of video.
pub const TRACKS_MAX: usize = 2;

/// Tracks that a player's offer turned out not to take, remembered so that they are not tried again.
pub const UNFIT_MAX: usize = 64;

/// Seconds after which a player may ask again for a room where nothing is published: soon, as the publisher
/// is often about to come. Players take longer from one time to the next (draft-ietf-wish-whep-04).
pub const RETRY_PLAY_SECONDS: u32 = 2;

/// Seconds after which a client may try again what a bound or an overload refused.
pub const RETRY_SECONDS: u32 = 5;

/// Seconds after which a client may restart ICE again.
pub const RETRY_RESTART_SECONDS: u32 = 1;
