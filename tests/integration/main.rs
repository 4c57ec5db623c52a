//! Real sockets, the real gateway, the real binary.

mod calls;
mod console;
mod cores;
mod documents;
mod faults;
mod http;
mod inspecting;
mod killed;
mod languages;
mod limits;
mod load;
mod management;
mod observability;
mod one_port;
mod operating;
#[path = "../../router/recorder/tests/media/payloads.rs"]
mod payloads;
mod policies;
mod process;
mod recording;
mod reload;
mod resuming;
mod roles;
mod router;
mod rules;
mod shutdown;
mod signaling;
mod site;
mod spanning;
mod supervised;
#[expect(dead_code, reason = "written for the recorder's tests")]
#[path = "../../router/recorder/tests/media/synth.rs"]
mod synth;
mod tcp;
mod texts;
mod top;
mod traces;
mod turn;
mod watch;
mod whip;
