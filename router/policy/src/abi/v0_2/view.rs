//! Views and decisions, as far as they are of this version alone.

use rillway_plugin_sdk::layers::{Choice, Decision, Scope, View};

use super::bindings::exports::rillway::policy::layer_selection as wit;
use super::types::{all, ids};

impl From<View> for wit::View {
    fn from(view: View) -> Self {
        wit::View {
            now_ms: view.now_ms,
            scope: match view.scope {
                Scope::Whole => wit::Scope::Whole,
                Scope::Changes => wit::Scope::Changes,
            },
            tracks: all(view.tracks),
            tracks_gone: view.tracks_gone.into_iter().map(|id| id.0).collect(),
            subscribers: all(view.subscribers),
            subscribers_gone: ids(view.subscribers_gone),
            subscriptions: view.subscriptions,
            speakers: ids(view.speakers),
            attributes: view.attributes,
        }
    }
}

pub(super) fn decision(decision: wit::Decision) -> Decision {
    Decision {
        choices: decision.choices.into_iter().map(Choice::from).collect(),
        next: match decision.next {
            wit::Scope::Whole => Scope::Whole,
            wit::Scope::Changes => Scope::Changes,
        },
    }
}
