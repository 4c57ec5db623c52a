//! `rillway:policy/types`.

use super::{list, same_cases};
use crate::guest::bindings::imports::rillway::policy::types as wit;
use crate::types::{
    Denial, Direction, Extension, Grant, Layer, MediaKind, Participant, ParticipantId, Source,
    Track, TrackId,
};

same_cases!(wit::MediaKind, MediaKind: Audio, Video);
same_cases!(wit::Source, Source: Camera, Microphone, Screen, ScreenAudio, Other);
same_cases!(wit::Direction, Direction: Publish, Subscribe);

impl From<Grant> for wit::Grant {
    fn from(grant: Grant) -> Self {
        wit::Grant {
            room: grant.room,
            identity: grant.identity,
            name: grant.name,
            publish: list(grant.publish),
            subscribe: grant.subscribe,
            publish_data: grant.publish_data,
            record_control: grant.record_control,
            max_publish_bps: grant.max_publish_bps,
            expires_at_ms: grant.expires_at_ms,
            attributes: grant.attributes,
        }
    }
}

impl From<wit::Grant> for Grant {
    fn from(grant: wit::Grant) -> Self {
        Grant {
            room: grant.room,
            identity: grant.identity,
            name: grant.name,
            publish: list(grant.publish),
            subscribe: grant.subscribe,
            publish_data: grant.publish_data,
            record_control: grant.record_control,
            max_publish_bps: grant.max_publish_bps,
            expires_at_ms: grant.expires_at_ms,
            attributes: grant.attributes,
        }
    }
}

impl From<Denial> for wit::Denial {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthenticated(why) => wit::Denial::Unauthenticated(why),
            Denial::Forbidden(why) => wit::Denial::Forbidden(why),
            Denial::OverQuota(why) => wit::Denial::OverQuota(why),
            Denial::Unavailable(why) => wit::Denial::Unavailable(why),
        }
    }
}

impl From<wit::Denial> for Denial {
    fn from(denial: wit::Denial) -> Self {
        match denial {
            wit::Denial::Unauthenticated(why) => Denial::Unauthenticated(why),
            wit::Denial::Forbidden(why) => Denial::Forbidden(why),
            wit::Denial::OverQuota(why) => Denial::OverQuota(why),
            wit::Denial::Unavailable(why) => Denial::Unavailable(why),
        }
    }
}

impl From<wit::Layer> for Layer {
    fn from(layer: wit::Layer) -> Self {
        Layer {
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

impl From<wit::Track> for Track {
    fn from(track: wit::Track) -> Self {
        Track {
            id: TrackId(track.id),
            owner: ParticipantId(track.owner),
            kind: track.kind.into(),
            source: track.source.into(),
            codec: track.codec,
            encrypted: track.encrypted,
            muted: track.muted,
            layers: list(track.layers),
            attributes: track.attributes,
        }
    }
}

impl From<wit::Participant> for Participant {
    fn from(participant: wit::Participant) -> Self {
        Participant {
            id: ParticipantId(participant.id),
            identity: participant.identity,
            name: participant.name,
            attributes: participant.attributes,
            joined_at_ms: participant.joined_at_ms,
        }
    }
}

impl From<wit::Extension> for Extension {
    fn from(extension: wit::Extension) -> Self {
        Extension {
            name: extension.name,
            json: extension.json,
        }
    }
}

impl From<Extension> for wit::Extension {
    fn from(extension: Extension) -> Self {
        wit::Extension {
            name: extension.name,
            json: extension.json,
        }
    }
}
