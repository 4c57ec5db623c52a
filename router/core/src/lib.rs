//! The SFU core: sans-IO. It takes `now` and bytes and returns bytes and events; it owns no clock,
//! socket, thread or global randomness, so that anything it does can be replayed from a seed. (The
//! exceptions are inside the engine: keys of certificates and handshakes come from the operating
//! system, and SSRCs and mids from a per-thread generator that a simulation seeds.)
//!
//! The way of a packet: [`Shard::handle_datagram`] finds the transport by address (`shard/datagrams.rs`),
//! the engine decrypts it, `shard/forward.rs` finds the track, its layer and the subscriptions that are
//! due, and each of these queues it under numbers of its own (`layers/rewrite.rs`); at [`Shard::flush`]
//! `egress` writes and seals what each receiver gets, packet behind packet.
#![forbid(unsafe_code)]

pub mod api;
pub mod crossing;
mod egress;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
pub mod id;
pub mod inspect;
mod layers;
pub mod limits;
#[doc(hidden)]
pub mod mutants;
mod participant;
pub mod path;
mod policy;
mod room;
pub mod shard;
pub mod stats;
mod subscription;
mod track;
mod transport;

pub use shard::{Shard, ShardConfig, Transmit};
