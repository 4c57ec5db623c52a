//! The rooms protocol seen from outside: the document's example, every message type, every error,
//! and arbitrary inputs.

mod arbitrary;
mod direct;
mod document;
mod harness;
mod join;
mod malformed;
mod requests;
mod subscribing;

/// What is tested here. `tests/rooms` puts the component in its place.
mod subject {
    pub(crate) use signaling_rooms::Rooms;
}
