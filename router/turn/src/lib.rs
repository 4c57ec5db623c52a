//! TURN (RFC 8656), sans-IO: who may have a relay, and what it may reach.
//!
//! The protocol itself is `turn-server-proto`'s: allocations, permissions, channels and their lifetimes. [`Relay`]
//! stands before it and gives it only what it may have. Every client has a server of its own, so that what one does
//! is looked up among its own few permissions, is forgotten with it, and can break nothing of another's.
//!
//! What is decided here and not there:
//! - **Peers** ([`peers`]): this router's media addresses and, where the operator allows it, public ones. Looked at in
//!   requests, which are answered 403, and once more for every packet, in both directions.
//! - **Credentials** ([`credentials`]): those of coturn's REST scheme, which end.
//! - **Quotas** of users, addresses and in total; bounds of everything else ([`limits`]).
//! - **Strangers**: answers to those who have shown nothing are few, whoever they claim to be.
//!
//! Time is handed in, and datagrams leave through a [`Network`].
#![forbid(unsafe_code)]

pub mod binding;
mod bucket;
pub mod credentials;
pub mod framing;
pub mod limits;
mod message;
pub mod peers;
mod relay;
mod session;
mod stats;

pub use relay::{Client, Family, ListenerId, Network, NoRelay, Relay, Settings, Wanted};
pub use stats::{Refusal, Stats};

#[cfg(test)]
mod tests;
