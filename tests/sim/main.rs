//! The core in virtual time: many in-memory clients, no socket, no clock.

mod data;
mod faults;
mod grants;
mod ice;
mod isolation;
mod negotiation;
mod nonces;
mod rooms;
mod simulcast;
