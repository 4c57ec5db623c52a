//! The core in virtual time: many in-memory clients, no socket, no clock.

mod data;
mod faults;
mod films;
mod grants;
mod ice;
mod isolation;
mod negotiation;
mod nonces;
#[path = "../../router/recorder/tests/media/payloads.rs"]
mod payloads;
mod recording;
mod rooms;
mod scalable;
mod simulcast;
