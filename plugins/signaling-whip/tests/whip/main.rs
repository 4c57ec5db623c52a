//! The protocol as its clients meet it: requests in, responses out, and a host that the tests play.

mod arbitrary;
mod endpoint;
mod harness;
mod play;
mod publish;
mod session;

/// What is tested here. `tests/whip` puts the component in its place.
mod subject {
    pub(crate) use signaling_whip::Whip;
}
