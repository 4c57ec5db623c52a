//! `rillway:policy/signaling`.

use super::{list, same_cases};
use crate::guest::bindings::signaling::exports::rillway::policy::signaling as wit;
use crate::signaling::{
    Action, Command, FailureCode, Frame, HttpRequest, HttpResponse, Input, LayerState, LayerWish,
    MidTrack, Opened, PublishedSource, RecordingState, TransportState,
};
use crate::types::{IceServer, Limits, ParticipantId, TrackId};

same_cases!(wit::TransportState, TransportState: New, Connecting, Connected, Disconnected, Failed, Closed);

impl From<wit::FailureCode> for FailureCode {
    fn from(code: wit::FailureCode) -> Self {
        match code {
            wit::FailureCode::Forbidden => FailureCode::Forbidden,
            wit::FailureCode::NotFound => FailureCode::NotFound,
            wit::FailureCode::Invalid => FailureCode::Invalid,
            wit::FailureCode::LimitExceeded => FailureCode::LimitExceeded,
            wit::FailureCode::WrongState => FailureCode::WrongState,
            wit::FailureCode::Unavailable => FailureCode::Unavailable,
            wit::FailureCode::Internal => FailureCode::Internal,
        }
    }
}

impl From<wit::Frame> for Frame {
    fn from(frame: wit::Frame) -> Self {
        match frame {
            wit::Frame::Text(text) => Frame::Text(text),
            wit::Frame::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

impl From<Frame> for wit::Frame {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Text(text) => wit::Frame::Text(text),
            Frame::Binary(bytes) => wit::Frame::Binary(bytes),
        }
    }
}

impl From<wit::Opened> for Opened {
    fn from(opened: wit::Opened) -> Self {
        Opened {
            path: opened.path,
            query: opened.query,
            subprotocol: opened.subprotocol,
            remote_address: opened.remote_address,
            resource: opened.resource,
            attributes: opened.attributes,
        }
    }
}

impl From<wit::HttpRequest> for HttpRequest {
    fn from(request: wit::HttpRequest) -> Self {
        HttpRequest {
            id: request.id,
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body,
        }
    }
}

impl From<wit::MidTrack> for MidTrack {
    fn from(section: wit::MidTrack) -> Self {
        MidTrack {
            mid: section.mid,
            track: section.track.map(TrackId),
        }
    }
}

impl From<wit::LayerState> for LayerState {
    fn from(layer: wit::LayerState) -> Self {
        LayerState {
            track: TrackId(layer.track),
            spatial: layer.spatial,
            temporal: layer.temporal,
        }
    }
}

impl From<wit::Limits> for Limits {
    fn from(limits: wit::Limits) -> Self {
        Limits {
            data_message_bytes: limits.data_message_bytes,
            data_bytes_per_second: limits.data_bytes_per_second,
            sdp_bytes: limits.sdp_bytes,
            tracks_per_participant: limits.tracks_per_participant,
            subscriptions_per_participant: limits.subscriptions_per_participant,
        }
    }
}

impl From<wit::IceServer> for IceServer {
    fn from(server: wit::IceServer) -> Self {
        IceServer {
            urls: server.urls,
            username: server.username,
            credential: server.credential,
        }
    }
}

impl From<wit::RecordingState> for RecordingState {
    fn from(recording: wit::RecordingState) -> Self {
        RecordingState {
            active: recording.active,
            by: recording.by.map(ParticipantId),
            tracks: recording.tracks.into_iter().map(TrackId).collect(),
        }
    }
}

impl From<wit::Joined> for Input {
    fn from(joined: wit::Joined) -> Self {
        Input::Joined {
            me: joined.me.into(),
            participants: list(joined.participants),
            tracks: list(joined.tracks),
            limits: joined.limits.into(),
            ice_servers: list(joined.ice_servers),
        }
    }
}

impl From<wit::Answer> for Input {
    fn from(answer: wit::Answer) -> Self {
        Input::Answer {
            reference: answer.reference,
            sdp: answer.sdp,
            tracks: list(answer.tracks),
        }
    }
}

impl From<wit::Offer> for Input {
    fn from(offer: wit::Offer) -> Self {
        Input::Offer {
            offer_id: offer.id,
            sdp: offer.sdp,
            tracks: list(offer.tracks),
        }
    }
}

impl From<wit::DataMessage> for Input {
    fn from(data: wit::DataMessage) -> Self {
        Input::Data {
            from: ParticipantId(data.from),
            label: data.label,
            payload: data.payload,
        }
    }
}

impl From<wit::DataDropped> for Input {
    fn from(dropped: wit::DataDropped) -> Self {
        Input::DataDropped {
            outgoing: dropped.outgoing,
            count: dropped.count,
        }
    }
}

impl From<wit::Draining> for Input {
    fn from(draining: wit::Draining) -> Self {
        Input::Draining {
            within_ms: draining.within_ms,
            url: draining.url,
        }
    }
}

impl From<wit::Failure> for Input {
    fn from(failure: wit::Failure) -> Self {
        Input::Failed {
            reference: failure.reference,
            code: failure.code.into(),
            message: failure.message,
        }
    }
}

impl From<wit::Input> for Input {
    fn from(input: wit::Input) -> Self {
        match input {
            wit::Input::Opened(opened) => Input::Opened(opened.into()),
            wit::Input::Message(frame) => Input::Message(frame.into()),
            wit::Input::Request(request) => Input::Request(request.into()),
            wit::Input::Closed(why) => Input::Closed(why),
            wit::Input::Tick => Input::Tick,
            wit::Input::Granted(grant) => Input::Granted(grant.into()),
            wit::Input::Denied(denial) => Input::Denied(denial.into()),
            wit::Input::Joined(joined) => joined.into(),
            wit::Input::ParticipantJoined(p) => Input::ParticipantJoined(p.into()),
            wit::Input::ParticipantLeft(p) => Input::ParticipantLeft(ParticipantId(p)),
            wit::Input::TrackPublished(track) => Input::TrackPublished(track.into()),
            wit::Input::TrackUnpublished(track) => Input::TrackUnpublished(TrackId(track)),
            wit::Input::TrackMuted((track, muted)) => Input::TrackMuted(TrackId(track), muted),
            wit::Input::Answer(answer) => answer.into(),
            wit::Input::Offer(offer) => offer.into(),
            wit::Input::TransportState((direction, state)) => {
                Input::TransportState(direction.into(), state.into())
            }
            wit::Input::Speakers(speakers) => {
                let speakers = speakers.into_iter();
                Input::Speakers(
                    speakers
                        .map(|(p, level)| (ParticipantId(p), level))
                        .collect(),
                )
            }
            wit::Input::Layer(layer) => Input::Layer(layer.into()),
            wit::Input::Data(data) => data.into(),
            wit::Input::DataDropped(dropped) => dropped.into(),
            wit::Input::Relayed((from, frame)) => Input::Relayed(ParticipantId(from), frame.into()),
            wit::Input::Recording(recording) => Input::Recording(recording.into()),
            wit::Input::Draining(draining) => draining.into(),
            wit::Input::Removed(why) => Input::Removed(why),
            wit::Input::Done(reference) => Input::Done { reference },
            wit::Input::Failed(failure) => failure.into(),
            wit::Input::Extension(extension) => Input::Extension(extension.into()),
        }
    }
}

impl From<HttpResponse> for wit::HttpResponse {
    fn from(response: HttpResponse) -> Self {
        wit::HttpResponse {
            id: response.id,
            status: response.status,
            headers: response.headers,
            body: response.body,
        }
    }
}

impl From<PublishedSource> for wit::PublishedSource {
    fn from(published: PublishedSource) -> Self {
        wit::PublishedSource {
            mid: published.mid,
            source: published.source.into(),
        }
    }
}

impl From<LayerWish> for wit::LayerWish {
    fn from(wish: LayerWish) -> Self {
        wit::LayerWish {
            track: wish.track.0,
            width: wish.width,
            height: wish.height,
            fps: wish.fps,
            priority: wish.priority,
            paused: wish.paused,
        }
    }
}

impl From<Command> for wit::Command {
    fn from(command: Command) -> Self {
        wit::Command {
            reference: command.reference,
            action: command.action.into(),
        }
    }
}

impl From<Action> for wit::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Send(frame) => wit::Action::Send(frame.into()),
            Action::Respond(response) => wit::Action::Respond(response.into()),
            Action::Close(code, reason) => wit::Action::Close((code, reason)),
            Action::TickEveryMs(period) => wit::Action::TickEveryMs(period),
            Action::Authenticate {
                scheme,
                credentials,
                room,
                name,
            } => wit::Action::Authenticate(wit::Authenticate {
                scheme,
                credentials,
                room,
                name,
            }),
            Action::Join => wit::Action::Join,
            Action::Leave => wit::Action::Leave,
            Action::AcceptOffer { sdp, sources } => wit::Action::AcceptOffer(wit::AcceptOffer {
                sdp,
                sources: list(sources),
            }),
            Action::AcceptReceivingOffer { sdp } => wit::Action::AcceptReceivingOffer(sdp),
            Action::AcceptAnswer { offer_id, sdp } => {
                wit::Action::AcceptAnswer(wit::AcceptAnswer {
                    offer: offer_id,
                    sdp,
                })
            }
            Action::AddCandidate(direction, line) => {
                wit::Action::AddCandidate((direction.into(), line))
            }
            Action::RestartIce => wit::Action::RestartIce,
            Action::CloseTransport(direction) => wit::Action::CloseTransport(direction.into()),
            Action::Subscribe(track) => wit::Action::Subscribe(track.0),
            Action::Unsubscribe(track) => wit::Action::Unsubscribe(track.0),
            Action::Wish(wish) => wit::Action::Wish(wish.into()),
            Action::Mute(track, muted) => wit::Action::Mute((track.0, muted)),
            Action::Unpublish(track) => wit::Action::Unpublish(track.0),
            Action::SendData { to, label, payload } => wit::Action::SendData(wit::SendData {
                to: to.into_iter().map(|p| p.0).collect(),
                label,
                payload,
            }),
            Action::SendTo(to, frame) => wit::Action::SendTo(wit::Relay {
                to: to.0,
                frame: frame.into(),
            }),
            Action::Notify(notices) => wit::Action::Notify(wit::Notices {
                speakers: notices.speakers,
                layers: notices.layers,
            }),
            Action::RequestRecording(start) => wit::Action::RequestRecording(start),
            Action::Extension(extension) => wit::Action::Extension(extension.into()),
        }
    }
}
