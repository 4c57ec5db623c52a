//! The management channel: QUIC with mutual TLS 1.3, one stream for each call, protobuf messages.
//!
//! `docs/management.md` says how it is used and spoken; `rillway.management.v1.proto` is the schema.

mod call;
mod client;
pub mod dev;
pub mod discovery;
pub(crate) mod events;
pub mod frame;
pub mod pki;
mod role;
pub(crate) mod server;
pub(crate) mod source;
mod tls;
mod verbs;
pub(crate) mod watch;
pub mod wire;

pub(crate) use verbs::{id, reasons};

pub use client::{Answer, CallError, Client, ConnectError, Target};
pub use role::{ROLE_URI, Role};
pub use tls::{ALPN, Identity, TlsError};
