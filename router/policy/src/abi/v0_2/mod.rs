//! Version 0.2.0 of the ABI.

mod bindings;
#[path = "../same/calls.rs"]
mod calls;
#[path = "../same/files.rs"]
mod files;
#[path = "../same/imports.rs"]
mod imports;
#[path = "../same/layers.rs"]
mod layers;
mod recording;
#[path = "../same/signaling.rs"]
mod signaling;
#[path = "../same/types.rs"]
mod types;
mod view;

use bindings::exports::rillway::policy::signaling as wit;
use rillway_plugin_sdk::signaling as sdk;

pub(super) use calls::{Entered, Linked};

pub(super) const VERSION: &str = "0.2.0";

actions!(wit, sdk, wit::Action::Notify(notices) => sdk::Action::Notify(sdk::Notices {
    speakers: notices.speakers,
    layers: notices.layers,
}));
