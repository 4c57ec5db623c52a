//! Real sockets, the real gateway, the real binary.

mod calls;
mod http;
mod limits;
mod policies;
mod process;
mod router;
mod shutdown;
mod signaling;
mod whip;
