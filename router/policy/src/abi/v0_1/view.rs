//! Views and decisions, as far as they are of this version alone.

use rillway_plugin_sdk::layers::{Choice, Decision, Scope, View};

use super::bindings::exports::rillway::policy::layer_selection as wit;
use super::types::{all, ids};

/// This version knows of whole rooms only, and is shown nothing else: [`decision`] asks for nothing else.
impl From<View> for wit::View {
    fn from(view: View) -> Self {
        wit::View {
            now_ms: view.now_ms,
            tracks: all(view.tracks),
            subscribers: all(view.subscribers),
            speakers: ids(view.speakers),
            attributes: view.attributes,
        }
    }
}

pub(super) fn decision(choices: Vec<wit::Choice>) -> Decision {
    Decision {
        choices: choices.into_iter().map(Choice::from).collect(),
        next: Scope::Whole,
    }
}
