//! Values that several interfaces share, and those of authentication, from and to the SDK's.

use rillway_plugin_sdk::{authentication, types as sdk};

use super::bindings::exports::rillway::policy::authentication as wit_authentication;
use super::bindings::rillway::policy::types as wit;

/// A list, each value converted.
pub(super) fn all<A, B: From<A>>(values: Vec<A>) -> Vec<B> {
    values.into_iter().map(B::from).collect()
}

/// The ids of a list.
pub(super) fn ids(participants: Vec<sdk::ParticipantId>) -> Vec<u64> {
    participants.into_iter().map(|id| id.0).collect()
}

impl From<sdk::MediaKind> for wit::MediaKind {
    fn from(kind: sdk::MediaKind) -> Self {
        match kind {
            sdk::MediaKind::Audio => wit::MediaKind::Audio,
            sdk::MediaKind::Video => wit::MediaKind::Video,
        }
    }
}

impl From<sdk::Source> for wit::Source {
    fn from(source: sdk::Source) -> Self {
        match source {
            sdk::Source::Camera => wit::Source::Camera,
            sdk::Source::Microphone => wit::Source::Microphone,
            sdk::Source::Screen => wit::Source::Screen,
            sdk::Source::ScreenAudio => wit::Source::ScreenAudio,
            sdk::Source::Other => wit::Source::Other,
        }
    }
}

impl From<wit::Source> for sdk::Source {
    fn from(source: wit::Source) -> Self {
        match source {
            wit::Source::Camera => sdk::Source::Camera,
            wit::Source::Microphone => sdk::Source::Microphone,
            wit::Source::Screen => sdk::Source::Screen,
            wit::Source::ScreenAudio => sdk::Source::ScreenAudio,
            wit::Source::Other => sdk::Source::Other,
        }
    }
}

impl From<sdk::Direction> for wit::Direction {
    fn from(direction: sdk::Direction) -> Self {
        match direction {
            sdk::Direction::Publish => wit::Direction::Publish,
            sdk::Direction::Subscribe => wit::Direction::Subscribe,
        }
    }
}

impl From<wit::Direction> for sdk::Direction {
    fn from(direction: wit::Direction) -> Self {
        match direction {
            wit::Direction::Publish => sdk::Direction::Publish,
            wit::Direction::Subscribe => sdk::Direction::Subscribe,
        }
    }
}

impl From<sdk::Grant> for wit::Grant {
    fn from(grant: sdk::Grant) -> Self {
        wit::Grant {
            room: grant.room,
            identity: grant.identity,
            name: grant.name,
            publish: all(grant.publish),
            subscribe: grant.subscribe,
            publish_data: grant.publish_data,
            record_control: grant.record_control,
            max_publish_bps: grant.max_publish_bps,
            expires_at_ms: grant.expires_at_ms,
            attributes: grant.attributes,
        }
    }
}

impl From<wit::Grant> for sdk::Grant {
    fn from(grant: wit::Grant) -> Self {
        sdk::Grant {
            room: grant.room,
            identity: grant.identity,
            name: grant.name,
            publish: all(grant.publish),
            subscribe: grant.subscribe,
            publish_data: grant.publish_data,
            record_control: grant.record_control,
            max_publish_bps: grant.max_publish_bps,
            expires_at_ms: grant.expires_at_ms,
            attributes: grant.attributes,
        }
    }
}

impl From<sdk::Denial> for wit::Denial {
    fn from(denial: sdk::Denial) -> Self {
        match denial {
            sdk::Denial::Unauthenticated(text) => wit::Denial::Unauthenticated(text),
            sdk::Denial::Forbidden(text) => wit::Denial::Forbidden(text),
            sdk::Denial::OverQuota(text) => wit::Denial::OverQuota(text),
            sdk::Denial::Unavailable(text) => wit::Denial::Unavailable(text),
        }
    }
}

impl From<wit::Denial> for sdk::Denial {
    fn from(denial: wit::Denial) -> Self {
        match denial {
            wit::Denial::Unauthenticated(text) => sdk::Denial::Unauthenticated(text),
            wit::Denial::Forbidden(text) => sdk::Denial::Forbidden(text),
            wit::Denial::OverQuota(text) => sdk::Denial::OverQuota(text),
            wit::Denial::Unavailable(text) => sdk::Denial::Unavailable(text),
        }
    }
}

impl From<sdk::Layer> for wit::Layer {
    fn from(layer: sdk::Layer) -> Self {
        wit::Layer {
            spatial: layer.spatial,
            temporal: layer.temporal,
            rid: layer.rid,
            width: layer.width,
            height: layer.height,
            fps: layer.fps,
            bitrate_bps: layer.bitrate_bps,
            active: layer.active,
        }
    }
}

impl From<sdk::Track> for wit::Track {
    fn from(track: sdk::Track) -> Self {
        wit::Track {
            id: track.id.0,
            owner: track.owner.0,
            kind: track.kind.into(),
            source: track.source.into(),
            codec: track.codec,
            encrypted: track.encrypted,
            muted: track.muted,
            layers: all(track.layers),
            attributes: track.attributes,
        }
    }
}

impl From<sdk::Participant> for wit::Participant {
    fn from(participant: sdk::Participant) -> Self {
        wit::Participant {
            id: participant.id.0,
            identity: participant.identity,
            name: participant.name,
            attributes: participant.attributes,
            joined_at_ms: participant.joined_at_ms,
        }
    }
}

impl From<sdk::Extension> for wit::Extension {
    fn from(extension: sdk::Extension) -> Self {
        wit::Extension {
            name: extension.name,
            json: extension.json,
        }
    }
}

impl From<wit::Extension> for sdk::Extension {
    fn from(extension: wit::Extension) -> Self {
        sdk::Extension {
            name: extension.name,
            json: extension.json,
        }
    }
}

impl From<authentication::Attempt> for wit_authentication::Attempt {
    fn from(attempt: authentication::Attempt) -> Self {
        wit_authentication::Attempt {
            scheme: attempt.scheme,
            credentials: attempt.credentials,
            room: attempt.room,
            name: attempt.name,
            remote_address: attempt.remote_address,
            protocol: attempt.protocol,
            guest_identity: attempt.guest_identity,
            attributes: attempt.attributes,
        }
    }
}
