//! A swarm of WebRTC clients in one process: it joins rooms of a server, publishes and plays, and measures what
//! arrives, how late, and what the server is asked for it.
//!
//! Clients speak ICE, DTLS, SRTP and RTCP as browsers do. What browsers do beside is left out, so that a thread of the
//! swarm takes many times the packets that a server sends to it: nothing is decoded, and a player's engine (str0m) has
//! its connection only; packets are opened and counted beside it. Every packet ends with a [`marker`], from which its
//! receiver knows who sent it, when, and what is missing before it.
//!
//! A run is a [`Plan`], carried out by [`run`]; what it found is a [`Report`], which says of the swarm too how it
//! fared, so that a loss of its own is not taken for the server's.
#![forbid(unsafe_code)]

mod clock;
mod dtls;
mod health;
mod link;
pub mod marker;
mod media;
mod peer;
mod plan;
mod player;
mod publisher;
pub mod report;
mod rtcp;
mod rtp;
mod run;
mod server;
mod signal;
mod srtp;
mod sum;
mod tally;
mod thread;

pub use media::{Media, Video};
pub use plan::{Plan, PlanError, Protocol, Shape};
pub use report::Report;
pub use run::{LoadError, Phase, Progress, run};
pub use server::{ConnectError, Server, ServerError};
pub use signal::JoinError;
