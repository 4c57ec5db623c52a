//! The test world: clients, a virtual clock, a network with faults, and real-socket swarms.
//!
//! [`client::Client`] is a whole WebRTC participant (ICE, DTLS, SRTP, SCTP by str0m) that speaks the
//! core's requests and events and checks every packet it gets. [`world::World`] runs many of them
//! against one or more shards in virtual time; the same client runs over sockets in load tests.
//! [`whip::Session`] is a client of WHIP or WHEP, over sockets.
#![forbid(unsafe_code)]

pub mod chaos;
pub mod client;
pub mod component;
pub mod decoding;
pub mod film;
pub mod forge;
pub mod inbound;
pub mod link;
pub mod live;
pub mod media;
pub mod mutate;
pub mod payload;
pub mod peer;
pub mod scalable;
pub mod scene;
pub mod smith;
pub mod turn;
pub mod whip;
pub mod wire;
pub mod world;
