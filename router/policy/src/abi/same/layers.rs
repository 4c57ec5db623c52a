//! Subscribers and choices.

use rillway_plugin_sdk::layers as sdk;
use rillway_plugin_sdk::types::{ParticipantId, TrackId};

use super::bindings::exports::rillway::policy::layer_selection as wit;
use super::types::all;

impl From<sdk::Subscription> for wit::Subscription {
    fn from(subscription: sdk::Subscription) -> Self {
        wit::Subscription {
            track: subscription.track.0,
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

impl From<sdk::Subscriber> for wit::Subscriber {
    fn from(subscriber: sdk::Subscriber) -> Self {
        wit::Subscriber {
            id: subscriber.id.0,
            estimate_bps: subscriber.estimate_bps,
            audio_bps: subscriber.audio_bps,
            rtt_ms: subscriber.rtt_ms,
            loss_permille: subscriber.loss_permille,
            subscriptions: all(subscriber.subscriptions),
            attributes: subscriber.attributes,
        }
    }
}

impl From<wit::Choice> for sdk::Choice {
    fn from(choice: wit::Choice) -> Self {
        sdk::Choice {
            subscriber: ParticipantId(choice.subscriber),
            track: TrackId(choice.track),
            spatial: choice.spatial,
            temporal: choice.temporal,
            paused: choice.paused,
            reason: choice.reason,
        }
    }
}
