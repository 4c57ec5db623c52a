//! Who and what is in a room, as the host tells signaling plugins.

use rillway_plugin_sdk::signaling::FailureCode;
use rillway_plugin_sdk::types::{
    Grant, Limits, MediaKind, Participant, ParticipantId, Source, Track, TrackId,
};

pub const LIMITS: Limits = Limits {
    data_message_bytes: 65_536,
    data_bytes_per_second: 4_194_304,
    sdp_bytes: 4_096,
    tracks_per_participant: 16,
    subscriptions_per_participant: 4,
};

pub const CODES: [FailureCode; 7] = [
    FailureCode::Forbidden,
    FailureCode::NotFound,
    FailureCode::Invalid,
    FailureCode::LimitExceeded,
    FailureCode::WrongState,
    FailureCode::Unavailable,
    FailureCode::Internal,
];

pub fn grant(record_control: bool) -> Grant {
    Grant {
        room: "r".to_owned(),
        identity: "ada".to_owned(),
        name: Some("Ada".to_owned()),
        publish: vec![Source::Camera, Source::Microphone],
        subscribe: true,
        publish_data: true,
        record_control,
        max_publish_bps: None,
        expires_at_ms: None,
        attributes: Vec::new(),
    }
}

pub fn participant(id: u64) -> Participant {
    Participant {
        id: ParticipantId(id),
        identity: format!("p{id}"),
        name: None,
        attributes: Vec::new(),
        joined_at_ms: id,
    }
}

pub fn track(id: u64) -> Track {
    let audio = id % 2 == 0;
    Track {
        id: TrackId(id),
        owner: ParticipantId(2),
        kind: if audio {
            MediaKind::Audio
        } else {
            MediaKind::Video
        },
        source: if audio {
            Source::Microphone
        } else {
            Source::Camera
        },
        codec: String::new(),
        encrypted: false,
        muted: false,
        layers: Vec::new(),
        attributes: Vec::new(),
    }
}
