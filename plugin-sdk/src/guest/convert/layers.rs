//! `rillway:policy/layer-selection`.

use super::list;
use crate::guest::bindings::layer_selection::exports::rillway::policy::layer_selection as wit;
use crate::layers::{Choice, Decision, Scope, Subscriber, Subscription, View};
use crate::types::{ParticipantId, TrackId};

impl From<wit::Subscription> for Subscription {
    fn from(subscription: wit::Subscription) -> Self {
        Subscription {
            track: TrackId(subscription.track),
            width: subscription.width,
            height: subscription.height,
            fps: subscription.fps,
            priority: subscription.priority,
            paused: subscription.paused,
            spatial: subscription.spatial,
            temporal: subscription.temporal,
        }
    }
}

impl From<wit::Subscriber> for Subscriber {
    fn from(subscriber: wit::Subscriber) -> Self {
        Subscriber {
            id: ParticipantId(subscriber.id),
            estimate_bps: subscriber.estimate_bps,
            audio_bps: subscriber.audio_bps,
            rtt_ms: subscriber.rtt_ms,
            loss_permille: subscriber.loss_permille,
            subscriptions: list(subscriber.subscriptions),
            attributes: subscriber.attributes,
        }
    }
}

impl From<wit::View> for View {
    fn from(view: wit::View) -> Self {
        View {
            now_ms: view.now_ms,
            scope: match view.scope {
                wit::Scope::Whole => Scope::Whole,
                wit::Scope::Changes => Scope::Changes,
            },
            tracks: list(view.tracks),
            tracks_gone: view.tracks_gone.into_iter().map(TrackId).collect(),
            subscribers: list(view.subscribers),
            subscribers_gone: view
                .subscribers_gone
                .into_iter()
                .map(ParticipantId)
                .collect(),
            subscriptions: view.subscriptions,
            speakers: view.speakers.into_iter().map(ParticipantId).collect(),
            attributes: view.attributes,
        }
    }
}

impl From<Choice> for wit::Choice {
    fn from(choice: Choice) -> Self {
        wit::Choice {
            subscriber: choice.subscriber.0,
            track: choice.track.0,
            spatial: choice.spatial,
            temporal: choice.temporal,
            paused: choice.paused,
            reason: choice.reason,
        }
    }
}

impl From<Decision> for wit::Decision {
    fn from(decision: Decision) -> Self {
        wit::Decision {
            choices: list(decision.choices),
            next: match decision.next {
                Scope::Whole => wit::Scope::Whole,
                Scope::Changes => wit::Scope::Changes,
            },
        }
    }
}
