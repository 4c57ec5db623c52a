//! Inputs and commands.

use rillway_plugin_sdk::signaling as sdk;
use rillway_plugin_sdk::types::{IceServer, Limits, TrackId};

use super::bindings::exports::rillway::policy::signaling as wit;
use super::types::all;

impl From<sdk::Frame> for wit::Frame {
    fn from(frame: sdk::Frame) -> Self {
        match frame {
            sdk::Frame::Text(text) => wit::Frame::Text(text),
            sdk::Frame::Binary(bytes) => wit::Frame::Binary(bytes),
        }
    }
}

impl From<wit::Frame> for sdk::Frame {
    fn from(frame: wit::Frame) -> Self {
        match frame {
            wit::Frame::Text(text) => sdk::Frame::Text(text),
            wit::Frame::Binary(bytes) => sdk::Frame::Binary(bytes),
        }
    }
}

impl From<sdk::Opened> for wit::Opened {
    fn from(opened: sdk::Opened) -> Self {
        wit::Opened {
            path: opened.path,
            query: opened.query,
            subprotocol: opened.subprotocol,
            remote_address: opened.remote_address,
            resource: opened.resource,
            attributes: opened.attributes,
        }
    }
}

impl From<sdk::HttpRequest> for wit::HttpRequest {
    fn from(request: sdk::HttpRequest) -> Self {
        wit::HttpRequest {
            id: request.id,
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body,
        }
    }
}

impl From<sdk::TransportState> for wit::TransportState {
    fn from(state: sdk::TransportState) -> Self {
        match state {
            sdk::TransportState::New => wit::TransportState::New,
            sdk::TransportState::Connecting => wit::TransportState::Connecting,
            sdk::TransportState::Connected => wit::TransportState::Connected,
            sdk::TransportState::Disconnected => wit::TransportState::Disconnected,
            sdk::TransportState::Failed => wit::TransportState::Failed,
            sdk::TransportState::Closed => wit::TransportState::Closed,
        }
    }
}

impl From<sdk::FailureCode> for wit::FailureCode {
    fn from(code: sdk::FailureCode) -> Self {
        match code {
            sdk::FailureCode::Forbidden => wit::FailureCode::Forbidden,
            sdk::FailureCode::NotFound => wit::FailureCode::NotFound,
            sdk::FailureCode::Invalid => wit::FailureCode::Invalid,
            sdk::FailureCode::LimitExceeded => wit::FailureCode::LimitExceeded,
            sdk::FailureCode::WrongState => wit::FailureCode::WrongState,
            sdk::FailureCode::Unavailable => wit::FailureCode::Unavailable,
            // What later versions of the SDK add, this version of the ABI cannot say.
            _ => wit::FailureCode::Internal,
        }
    }
}

impl From<sdk::MidTrack> for wit::MidTrack {
    fn from(section: sdk::MidTrack) -> Self {
        wit::MidTrack {
            mid: section.mid,
            track: section.track.map(|id| id.0),
        }
    }
}

impl From<sdk::LayerState> for wit::LayerState {
    fn from(layer: sdk::LayerState) -> Self {
        wit::LayerState {
            track: layer.track.0,
            spatial: layer.spatial,
            temporal: layer.temporal,
        }
    }
}

impl From<Limits> for wit::Limits {
    fn from(limits: Limits) -> Self {
        wit::Limits {
            data_message_bytes: limits.data_message_bytes,
            data_bytes_per_second: limits.data_bytes_per_second,
            sdp_bytes: limits.sdp_bytes,
            tracks_per_participant: limits.tracks_per_participant,
            subscriptions_per_participant: limits.subscriptions_per_participant,
        }
    }
}

impl From<IceServer> for wit::IceServer {
    fn from(server: IceServer) -> Self {
        wit::IceServer {
            urls: server.urls,
            username: server.username,
            credential: server.credential,
        }
    }
}

impl From<sdk::RecordingState> for wit::RecordingState {
    fn from(state: sdk::RecordingState) -> Self {
        wit::RecordingState {
            active: state.active,
            by: state.by.map(|id| id.0),
            tracks: state.tracks.into_iter().map(|id| id.0).collect(),
        }
    }
}

impl From<sdk::Input> for wit::Input {
    fn from(input: sdk::Input) -> Self {
        match input {
            sdk::Input::Opened(opened) => wit::Input::Opened(opened.into()),
            sdk::Input::Message(frame) => wit::Input::Message(frame.into()),
            sdk::Input::Request(request) => wit::Input::Request(request.into()),
            sdk::Input::Closed(reason) => wit::Input::Closed(reason),
            sdk::Input::Tick => wit::Input::Tick,
            sdk::Input::Granted(grant) => wit::Input::Granted(grant.into()),
            sdk::Input::Denied(denial) => wit::Input::Denied(denial.into()),
            sdk::Input::ParticipantJoined(who) => wit::Input::ParticipantJoined(who.into()),
            sdk::Input::ParticipantLeft(id) => wit::Input::ParticipantLeft(id.0),
            sdk::Input::TrackPublished(track) => wit::Input::TrackPublished(track.into()),
            sdk::Input::TrackUnpublished(id) => wit::Input::TrackUnpublished(id.0),
            sdk::Input::TrackMuted(id, muted) => wit::Input::TrackMuted((id.0, muted)),
            sdk::Input::TransportState(direction, state) => {
                wit::Input::TransportState((direction.into(), state.into()))
            }
            sdk::Input::Speakers(speakers) => {
                wit::Input::Speakers(speakers.into_iter().map(|(id, l)| (id.0, l)).collect())
            }
            sdk::Input::Layer(layer) => wit::Input::Layer(layer.into()),
            sdk::Input::Relayed(from, frame) => wit::Input::Relayed((from.0, frame.into())),
            sdk::Input::Recording(state) => wit::Input::Recording(state.into()),
            sdk::Input::Removed(reason) => wit::Input::Removed(reason),
            sdk::Input::Done { reference } => wit::Input::Done(reference),
            sdk::Input::Extension(extension) => wit::Input::Extension(extension.into()),
            other @ (sdk::Input::Joined { .. }
            | sdk::Input::Answer { .. }
            | sdk::Input::Offer { .. }
            | sdk::Input::Data { .. }
            | sdk::Input::DataDropped { .. }
            | sdk::Input::Draining { .. }
            | sdk::Input::Failed { .. }) => with_fields(other),
        }
    }
}

/// The inputs with fields of their own.
fn with_fields(input: sdk::Input) -> wit::Input {
    match input {
        sdk::Input::Joined {
            me,
            participants,
            tracks,
            limits,
            ice_servers,
        } => wit::Input::Joined(wit::Joined {
            me: me.into(),
            participants: all(participants),
            tracks: all(tracks),
            limits: limits.into(),
            ice_servers: all(ice_servers),
            attributes: Vec::new(),
        }),
        sdk::Input::Answer {
            reference,
            sdp,
            tracks,
        } => wit::Input::Answer(wit::Answer {
            reference,
            sdp,
            tracks: all(tracks),
        }),
        sdk::Input::Offer {
            offer_id,
            sdp,
            tracks,
        } => wit::Input::Offer(wit::Offer {
            id: offer_id,
            sdp,
            tracks: all(tracks),
        }),
        sdk::Input::Data {
            from,
            label,
            payload,
        } => wit::Input::Data(wit::DataMessage {
            from: from.0,
            label,
            payload,
        }),
        sdk::Input::DataDropped { outgoing, count } => {
            wit::Input::DataDropped(wit::DataDropped { outgoing, count })
        }
        sdk::Input::Draining { within_ms, url } => {
            wit::Input::Draining(wit::Draining { within_ms, url })
        }
        sdk::Input::Failed {
            reference,
            code,
            message,
        } => wit::Input::Failed(wit::Failure {
            reference,
            code: code.into(),
            message,
        }),
        other => unreachable!("{other:?} has no fields of its own"),
    }
}

impl From<wit::Command> for sdk::Command {
    fn from(command: wit::Command) -> Self {
        sdk::Command {
            reference: command.reference,
            action: command.action.into(),
        }
    }
}

impl From<wit::PublishedSource> for sdk::PublishedSource {
    fn from(source: wit::PublishedSource) -> Self {
        sdk::PublishedSource {
            mid: source.mid,
            source: source.source.into(),
        }
    }
}

impl From<wit::LayerWish> for sdk::LayerWish {
    fn from(wish: wit::LayerWish) -> Self {
        sdk::LayerWish {
            track: TrackId(wish.track),
            width: wish.width,
            height: wish.height,
            fps: wish.fps,
            priority: wish.priority,
            paused: wish.paused,
        }
    }
}
