//! Real sockets, the real gateway, the real binary.

mod calls;
mod http;
mod limits;
mod management;
mod policies;
mod process;
mod recording;
mod router;
mod rules;
mod shutdown;
mod signaling;
mod site;
mod tcp;
mod whip;
