//! Recording: packets of tracks go in, files come out.
//!
//! Three parts. `media` is sans-IO: it puts packets in order, finds frames in them and makes them the
//! contents of a file; [`dump`] does the same for RTP dumps. [`disk`] owns the files beneath one root: names,
//! modes, syncs, space, what a crash left. The [`engine`] joins the two on one thread that never holds up a
//! media worker: workers give packets to bounded queues ([`engine::Tap`]) and lose them there, whole frames
//! at a time, when the disk cannot keep up. [`sidecar`] is what is written about a room's recordings, and
//! [`verify`] reads it again.
#![forbid(unsafe_code)]

pub mod api;
pub mod disk;
pub mod dump;
pub mod engine;
pub mod film;
pub mod films;
pub mod media;
pub mod sidecar;
pub mod verify;
