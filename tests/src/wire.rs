//! The rooms protocol from the client's side: requests of the core as its messages, its messages as
//! events of the core, so that the same [`crate::client::Client`] speaks to a shard or to a gateway.
//! Written from `docs/protocol-rooms.md` alone.

use rillway_core::api::{
    Action, Direction, EventKind, LayerInfo, MediaKind, MidTrack, ParticipantInfo, RequestError,
    Source, TrackInfo, TransportState,
};
use rillway_core::id::{ParticipantId, Reference, TrackId};
use serde_json::{Value, json};

/// What a message of the router is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// An event of the core.
    Event(EventKind),
    /// Leave within this many milliseconds.
    Draining(u64),
    /// An error that no request has a part in: code and message.
    Error(String, String),
    /// An answer that has no event (`left`, `pong`).
    Other(String),
}

/// Why a message was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// A member is not there or of the wrong kind.
    #[error("`{0}` is missing or of the wrong kind")]
    Member(&'static str),
    /// The protocol does not name it.
    #[error("unknown {0}: {1}")]
    Unknown(&'static str, String),
}

/// A request as a message, and whether an answer to it is to be expected.
pub fn request(reference: Reference, action: &Action, auto_subscribe: bool) -> (Value, bool) {
    let id = reference.0;
    let message = match action {
        Action::Join { grant, .. } => json!({
            "type": "join", "id": id, "room": grant.room, "name": grant.name,
            "autoSubscribe": auto_subscribe,
        }),
        Action::Leave => json!({"type": "leave", "id": id}),
        Action::AcceptOffer { sdp, sources } => {
            let tracks: Vec<_> = sources
                .iter()
                .map(|(mid, source)| json!({"mid": mid, "source": source_name(*source)}))
                .collect();
            json!({"type": "publish", "id": id, "sdp": sdp, "tracks": tracks})
        }
        Action::AcceptAnswer { offer_id, sdp } => {
            json!({"type": "answer", "id": id, "offerId": offer_id, "sdp": sdp})
        }
        // The rooms protocol has no word for it: there the router offers.
        Action::AcceptReceivingOffer { sdp } => json!({"type": "receive", "id": id, "sdp": sdp}),
        Action::AddCandidate(direction, candidate) => json!({
            "type": "candidate", "direction": direction_name(*direction), "candidate": candidate,
        }),
        Action::RestartIce => json!({"type": "restart", "id": id, "direction": "subscribe"}),
        Action::CloseTransport(direction) => {
            json!({"type": "close", "id": id, "direction": direction_name(*direction)})
        }
        Action::Subscribe(track) => {
            json!({"type": "subscribe", "id": id, "tracks": [hex(track.0)]})
        }
        Action::Unsubscribe(track) => {
            json!({"type": "unsubscribe", "id": id, "tracks": [hex(track.0)]})
        }
        Action::Wish(wish) => json!({
            "type": "wish", "track": hex(wish.track.0), "width": wish.width, "height": wish.height,
            "fps": wish.fps, "priority": wish.priority, "paused": wish.paused,
        }),
        Action::Mute(track, muted) => {
            json!({"type": "mute", "id": id, "track": hex(track.0), "muted": muted})
        }
        Action::Unpublish(track) => json!({"type": "unpublish", "id": id, "track": hex(track.0)}),
        Action::SendData { to, label, payload } => {
            let to: Vec<_> = to.iter().map(|id| hex(id.0)).collect();
            let text = String::from_utf8_lossy(payload);
            json!({"type": "data", "to": to, "label": label, "text": text})
        }
    };
    let answered = message.get("id").is_some() && !matches!(action, Action::Leave);
    (message, answered)
}

/// A message of the router.
///
/// # Errors
/// [`WireError`] if it is not one of the protocol.
pub fn incoming(text: &str) -> Result<Incoming, WireError> {
    let value: Value = serde_json::from_str(text).map_err(|e| WireError::Json(e.to_string()))?;
    let kind = text_of(&value, "type")?;
    let event = match kind {
        "joined" => EventKind::Joined {
            me: participant(&value["participant"])?,
            participants: list(&value, "participants", participant)?,
            tracks: list(&value, "tracks", track)?,
        },
        "ok" => EventKind::Done {
            reference: Reference(number(&value, "id")?),
        },
        "published" => EventKind::Answer {
            reference: Reference(number(&value, "id")?),
            sdp: text_of(&value, "sdp")?.to_owned(),
            tracks: list(&value, "tracks", section)?,
        },
        "offer" => EventKind::Offer {
            offer_id: number(&value, "offerId")?,
            sdp: text_of(&value, "sdp")?.to_owned(),
            tracks: list(&value, "tracks", section)?,
        },
        "participant-joined" => EventKind::ParticipantJoined(participant(&value["participant"])?),
        "participant-left" => EventKind::ParticipantLeft(ParticipantId(id(&value, "participant")?)),
        "track-published" => EventKind::TrackPublished(track(&value["track"])?),
        "track-unpublished" => EventKind::TrackUnpublished(TrackId(id(&value, "track")?)),
        "muted" => EventKind::TrackMuted(TrackId(id(&value, "track")?), flag(&value, "muted")?),
        "transport" => EventKind::TransportState(
            direction(text_of(&value, "direction")?)?,
            state(text_of(&value, "state")?)?,
        ),
        "speakers" => EventKind::Speakers(list(&value, "speakers", speaker)?),
        "layer" => EventKind::Layer {
            track: TrackId(id(&value, "track")?),
            spatial: small(&value, "spatial"),
            temporal: small(&value, "temporal"),
        },
        "data" => EventKind::Data {
            from: ParticipantId(id(&value, "from")?),
            label: text_of(&value, "label")?.to_owned(),
            payload: text_of(&value, "text")?.as_bytes().to_vec(),
        },
        "data-dropped" => EventKind::DataDropped {
            outgoing: flag(&value, "outgoing")?,
            count: number(&value, "count")?,
        },
        "removed" => EventKind::Removed {
            reason: text_of(&value, "reason")?.to_owned(),
        },
        "error" => return error(&value),
        "draining" => return Ok(Incoming::Draining(number(&value, "deadlineMs")?)),
        "left" | "pong" | "recording" => return Ok(Incoming::Other(kind.to_owned())),
        other => return Err(WireError::Unknown("type", other.to_owned())),
    };
    Ok(Incoming::Event(event))
}

fn error(value: &Value) -> Result<Incoming, WireError> {
    let message = text_of(value, "message")?.to_owned();
    let code = text_of(value, "code")?;
    let Some(id) = value["id"].as_u64() else {
        return Ok(Incoming::Error(code.to_owned(), message));
    };
    let error = match code {
        "forbidden" | "unauthenticated" => RequestError::Forbidden(message),
        "not_found" => RequestError::NotFound(message),
        "invalid" | "bad_message" | "unknown_type" => RequestError::Invalid(message),
        "limit_exceeded" | "over_quota" => RequestError::Limit(message),
        "wrong_state" | "not_joined" | "already_joined" => RequestError::WrongState(message),
        "internal" | "unavailable" => RequestError::Internal(message),
        other => return Err(WireError::Unknown("code", other.to_owned())),
    };
    Ok(Incoming::Event(EventKind::Failed {
        reference: Reference(id),
        error,
    }))
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}

fn text_of<'a>(value: &'a Value, member: &'static str) -> Result<&'a str, WireError> {
    value[member].as_str().ok_or(WireError::Member(member))
}

fn number(value: &Value, member: &'static str) -> Result<u64, WireError> {
    value[member].as_u64().ok_or(WireError::Member(member))
}

fn flag(value: &Value, member: &'static str) -> Result<bool, WireError> {
    value[member].as_bool().ok_or(WireError::Member(member))
}

fn small(value: &Value, member: &'static str) -> Option<u8> {
    value[member].as_u64().and_then(|n| u8::try_from(n).ok())
}

/// The id string is the number in hexadecimal.
fn id(value: &Value, member: &'static str) -> Result<u64, WireError> {
    u64::from_str_radix(text_of(value, member)?, 16).map_err(|_| WireError::Member(member))
}

fn list<T>(
    value: &Value,
    member: &'static str,
    read: impl Fn(&Value) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let items = value[member].as_array().ok_or(WireError::Member(member))?;
    items.iter().map(read).collect()
}

fn participant(value: &Value) -> Result<ParticipantInfo, WireError> {
    let attributes = value["attributes"]
        .as_object()
        .ok_or(WireError::Member("attributes"))?;
    let attributes = attributes
        .iter()
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    Ok(ParticipantInfo {
        id: ParticipantId(id(value, "id")?),
        identity: text_of(value, "identity")?.to_owned(),
        name: value["name"].as_str().map(str::to_owned),
        attributes: attributes.collect(),
        joined_at_ms: number(value, "joinedAtMs")?,
    })
}

fn track(value: &Value) -> Result<TrackInfo, WireError> {
    Ok(TrackInfo {
        id: TrackId(id(value, "id")?),
        owner: ParticipantId(id(value, "participant")?),
        kind: match text_of(value, "kind")? {
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            other => return Err(WireError::Unknown("kind", other.to_owned())),
        },
        source: source(text_of(value, "source")?)?,
        codec: text_of(value, "codec")?.to_owned(),
        muted: flag(value, "muted")?,
        layers: list(value, "layers", layer)?,
    })
}

fn layer(value: &Value) -> Result<LayerInfo, WireError> {
    // The rooms protocol does not tell sizes.
    Ok(LayerInfo {
        width: 0,
        height: 0,
        fps: 0,
        spatial: small(value, "spatial").ok_or(WireError::Member("spatial"))?,
        temporal: small(value, "temporal").ok_or(WireError::Member("temporal"))?,
        rid: value["rid"].as_str().map(str::to_owned),
        bitrate_bps: number(value, "bitrateBps")? as u32,
        active: flag(value, "active")?,
    })
}

fn section(value: &Value) -> Result<MidTrack, WireError> {
    let track = match &value["track"] {
        Value::Null => None,
        _ => Some(TrackId(id(value, "track")?)),
    };
    Ok(MidTrack {
        mid: text_of(value, "mid")?.to_owned(),
        track,
    })
}

fn speaker(value: &Value) -> Result<(ParticipantId, u8), WireError> {
    let level = value["level"].as_f64().ok_or(WireError::Member("level"))?;
    Ok((
        ParticipantId(id(value, "participant")?),
        (level * 127.0).round() as u8,
    ))
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Camera => "camera",
        Source::Microphone => "microphone",
        Source::Screen => "screen",
        Source::ScreenAudio => "screen_audio",
        Source::Other => "other",
    }
}

fn source(name: &str) -> Result<Source, WireError> {
    let all = [
        Source::Camera,
        Source::Microphone,
        Source::Screen,
        Source::ScreenAudio,
        Source::Other,
    ];
    let found = all.into_iter().find(|s| source_name(*s) == name);
    found.ok_or_else(|| WireError::Unknown("source", name.to_owned()))
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Publish => "publish",
        Direction::Subscribe => "subscribe",
    }
}

fn direction(name: &str) -> Result<Direction, WireError> {
    match name {
        "publish" => Ok(Direction::Publish),
        "subscribe" => Ok(Direction::Subscribe),
        other => Err(WireError::Unknown("direction", other.to_owned())),
    }
}

fn state(name: &str) -> Result<TransportState, WireError> {
    Ok(match name {
        "new" => TransportState::New,
        "connecting" => TransportState::Connecting,
        "connected" => TransportState::Connected,
        "disconnected" => TransportState::Disconnected,
        "failed" => TransportState::Failed,
        "closed" => TransportState::Closed,
        other => return Err(WireError::Unknown("state", other.to_owned())),
    })
}
