//! The rooms protocol, version 1: JSON over WebSocket. `docs/protocol-rooms.md` is the protocol; this
//! crate is the router's side of it, as a policy plugin that a platform team may replace.
//!
//! [`Rooms`] is a pure state machine: one value per client connection, inputs in, commands out. It has
//! no clock, socket, thread or randomness, keeps nothing global, and never panics on anything a client
//! or the host can hand it.
//!
//! ```text
//!                 join                  Granted               Joined: joined
//!  Opened ► Idle ──────► Authenticating ─────────► Entering ────────────────► InRoom ─┐ requests,
//!           ▲ ▲ ▲            │     │                │    │                    │ │ ▲   │ events
//!           │ │ └────────────┘     │                │    │                    │ │ └───┘
//!           │ └─ Failed: error ────┼────────────────┘    │                    │ │
//!           └─── leave: left ──────┼─────────────────────┼────────────────────┘ │
//!                                  │                     │                      │ Removed: removed,
//!                    Denied, Failed for good: error fatal, close 4001 or 4013   │ close 4003
//!                                  ▼                     ▼                      ▼
//!          any state ──────────► Closed: nothing is said any more ◄─────────────┘
//!                    Closed
//! ```
//!
//! Failed for good are `Forbidden`, `LimitExceeded` and `Unavailable`; after other failures the client
//! may mend its `join` and try again. In every state but the last, `ping` is answered, a malformed
//! message is answered with an `error`, and an input that does not belong to the state is ignored:
//! the host may have sent it before it learned of the change.
//!
//! | file | what it holds |
//! |---|---|
//! | `wire.rs` | messages, codes, close codes as types |
//! | `decode.rs` | text → checked request, or an error naming the member |
//! | `state.rs` | the state machine |
//! | `pending.rs` | which reference of the host belongs to which `id` of the client |
//! | `subscriptions.rs` | the `autoSubscribe` policy |
//! | `direct.rs`, `state/calls.rs` | whether two send to each other directly |
//! | `limits.rs` | every bound |
#![forbid(unsafe_code)]

pub mod decode;
mod direct;
pub mod limits;
mod pending;
mod state;
mod subscriptions;
pub mod wire;

pub use direct::{Config, Kind, Path, Reason, Rooms as DirectRooms};
pub use state::Rooms;

impl rillway_plugin_sdk::Plugin for Rooms {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        Ok(Rooms::with(config))
    }
}

rillway_plugin_sdk::export!(Rooms: signaling);
