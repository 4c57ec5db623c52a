//! The SFU core: sans-IO. It takes `now` and bytes and returns bytes and events; it owns no clock,
//! socket, thread or global randomness, so that anything it does can be replayed from a seed. (The
//! exceptions are inside the engine: keys of certificates and handshakes come from the operating
//! system, and SSRCs and mids from a per-thread generator that a simulation seeds.)
//!
//! The way of a packet: [`Shard::handle_datagram`] finds the transport by address (`shard/datagrams.rs`),
//! the engine decrypts it, `shard/forward.rs` finds the track, its layer and the subscriptions that are
//! due, each rewrites the header (`layers/rewrite.rs`) and sends it through its `egress`; at
//! [`Shard::flush`] the datagrams leave, grouped by receiver.
#![forbid(unsafe_code)]

pub mod api;
mod egress;
mod guard;
pub mod id;
mod layers;
pub mod limits;
mod participant;
mod policy;
mod room;
pub mod shard;
pub mod stats;
mod subscription;
mod track;
mod transport;

pub use shard::{Shard, ShardConfig, Transmit};
