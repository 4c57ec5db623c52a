//! The protocol as its clients meet it: requests in, responses out, and a host that the tests play.

mod arbitrary;
mod endpoint;
mod harness;
mod play;
mod publish;
mod session;
