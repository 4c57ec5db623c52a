//! WHIP (RFC 9725) at `…/whip/ROOM` and WHEP (draft-ietf-wish-whep-04) at `…/whep/ROOM`: HTTP clients that
//! publish to a room, and that play from it. `docs/whip.md` is for their users; this crate is a policy
//! plugin that a platform team may replace.
//!
//! [`Whip`] is a pure state machine: one value per client, inputs in, commands out. It has no clock,
//! socket, thread or randomness, and never panics on anything a client or the host can hand it.
//!
//! ```text
//!           POST            Granted         Joined                 Answer (WHEP: and Done of each track)
//!  Fresh ────────► Granting ───────► Joining ──────► Negotiating ───────────────────────────► Live ──┐
//!    │ others          │                │                 │                                   │ ▲    │ PATCH,
//!    │                 │ Denied         │ Failed          │ Failed, nothing to play           │ └────┘ room events
//!    ▼                 ▼                ▼                 ▼                                   │
//!   Over ◄── answered and closed ───────┴─────────────────┴───── DELETE, transport ended, Removed
//! ```
//!
//! Every method of a session wants the bearer token that made it, or another one for the same identity and
//! room, about which the authentication policy is asked again. A session that was made without a token has
//! its unguessable path only.
//!
//! | file | what it holds |
//! |---|---|
//! | `request.rs` | methods, paths, headers, tokens, queries, entity tags → checked values |
//! | `response.rs` | statuses, problems (RFC 9457), CORS, `Link` |
//! | `sdp.rs` | what has to be known of an offer; ICE restarts; fragments (RFC 8840) |
//! | `room.rs` | WHEP: which tracks are played |
//! | `state.rs` | the state machine up to a session |
//! | `live.rs` | the session |
//! | `limits.rs` | every bound |
#![forbid(unsafe_code)]

pub mod limits;
mod live;
mod request;
mod response;
mod room;
mod sdp;
mod state;

pub use state::Whip;

impl rillway_plugin_sdk::Plugin for Whip {
    /// Nothing: who may do what is the authentication policy's, and bounds are the host's.
    type Config = ();

    fn start((): ()) -> Result<Self, String> {
        Ok(Whip::new())
    }
}

rillway_plugin_sdk::export!(Whip: signaling);
