//! The SFU core: sans-IO. It takes `now` and bytes and returns bytes and events; it owns no clock,
//! socket, thread or global randomness, so that anything it does can be replayed from a seed.
#![forbid(unsafe_code)]

pub mod api;
pub mod id;
pub mod limits;
pub mod shard;
pub mod stats;

pub use shard::{Shard, ShardConfig, Transmit};
