//! The plugin ABI's words ↔ the core's words.

use std::sync::Arc;

use rillway_core::{api as core, id};
use rillway_plugin_sdk::signaling::{self, FailureCode, Input};
use rillway_plugin_sdk::types;

use crate::turn::Minter;

/// A grant for the core.
pub(super) fn grant(grant: types::Grant) -> core::Grant {
    core::Grant {
        room: grant.room,
        identity: grant.identity,
        name: grant.name,
        publish: grant.publish.into_iter().map(source_in).collect(),
        subscribe: grant.subscribe,
        publish_data: grant.publish_data,
        record_control: grant.record_control,
        max_publish_bps: grant.max_publish_bps,
        expires_at_ms: grant.expires_at_ms,
        attributes: grant.attributes,
    }
}

/// The core's action for a command about a room; `None` for one the session carries out itself.
pub(super) fn action(action: signaling::Action) -> Option<core::Action> {
    use signaling::Action as A;
    Some(match action {
        A::AcceptOffer { sdp, sources } => core::Action::AcceptOffer {
            sdp,
            sources: sources
                .into_iter()
                .map(|s| (s.mid, source_in(s.source)))
                .collect(),
        },
        A::AcceptReceivingOffer { sdp } => core::Action::AcceptReceivingOffer { sdp },
        A::AcceptAnswer { offer_id, sdp } => core::Action::AcceptAnswer { offer_id, sdp },
        A::AddCandidate(d, line) => core::Action::AddCandidate(direction_in(d), line),
        A::RestartIce => core::Action::RestartIce,
        A::CloseTransport(d) => core::Action::CloseTransport(direction_in(d)),
        A::Subscribe(track) => core::Action::Subscribe(id::TrackId(track.0)),
        A::Unsubscribe(track) => core::Action::Unsubscribe(id::TrackId(track.0)),
        A::Wish(wish) => core::Action::Wish(core::Wish {
            track: id::TrackId(wish.track.0),
            width: wish.width,
            height: wish.height,
            fps: wish.fps,
            priority: wish.priority,
            paused: wish.paused,
        }),
        A::Mute(track, muted) => core::Action::Mute(id::TrackId(track.0), muted),
        A::Unpublish(track) => core::Action::Unpublish(id::TrackId(track.0)),
        A::SendData { to, label, payload } => core::Action::SendData {
            to: to.into_iter().map(|p| id::ParticipantId(p.0)).collect(),
            label,
            payload,
        },
        A::Send(_)
        | A::Close(..)
        | A::TickEveryMs(_)
        | A::Authenticate { .. }
        | A::Join
        | A::Leave
        | A::Respond(_)
        | A::SendTo(..)
        | A::RequestRecording(_)
        | A::Notify(_)
        | A::Extension(_) => return None,
    })
}

/// What only the control side knows of a join.
#[derive(Debug, Clone)]
pub(crate) struct JoinFacts {
    /// Bounds clients are told.
    pub(crate) limits: types::Limits,
    /// ICE servers clients are told.
    pub(crate) ice_servers: Vec<types::IceServer>,
    /// What makes credentials for this router's own relay, if it has one.
    pub(crate) turn: Option<Arc<Minter>>,
}

impl JoinFacts {
    /// ICE servers for somebody whose grant ends then: those that are configured, and this router's relay with
    /// credentials of his own.
    fn ice_servers(&self, identity: &str, expires_at_ms: Option<u64>) -> Vec<types::IceServer> {
        let own = self.turn.as_ref();
        let own = own.map(|turn| turn.server(identity, expires_at_ms));
        self.ice_servers.iter().cloned().chain(own).collect()
    }
}

/// An event of the core as a plugin's input.
pub(super) fn input(kind: core::EventKind, facts: &JoinFacts, expires_at_ms: Option<u64>) -> Input {
    use core::EventKind as E;
    match kind {
        E::Joined {
            me,
            participants,
            tracks,
        } => Input::Joined {
            ice_servers: facts.ice_servers(&me.identity, expires_at_ms),
            me: participant(me),
            participants: participants.into_iter().map(participant).collect(),
            tracks: tracks.into_iter().map(track).collect(),
            limits: facts.limits,
        },
        E::ParticipantJoined(info) => Input::ParticipantJoined(participant(info)),
        E::ParticipantLeft(id) => Input::ParticipantLeft(types::ParticipantId(id.0)),
        E::TrackPublished(info) => Input::TrackPublished(track(info)),
        E::TrackUnpublished(id) => Input::TrackUnpublished(types::TrackId(id.0)),
        E::TrackMuted(id, muted) => Input::TrackMuted(types::TrackId(id.0), muted),
        E::Answer {
            reference,
            sdp,
            tracks,
        } => Input::Answer {
            reference: reference.0,
            sdp,
            tracks: mid_tracks(tracks),
        },
        E::Offer {
            offer_id,
            sdp,
            tracks,
        } => Input::Offer {
            offer_id,
            sdp,
            tracks: mid_tracks(tracks),
        },
        E::TransportState(d, s) => Input::TransportState(direction_out(d), state(s)),
        E::Speakers(speakers) => Input::Speakers(levels(speakers)),
        E::Layer {
            track,
            spatial,
            temporal,
        } => Input::Layer(signaling::LayerState {
            track: types::TrackId(track.0),
            spatial,
            temporal,
        }),
        E::Data {
            from,
            label,
            payload,
        } => Input::Data {
            from: types::ParticipantId(from.0),
            label,
            payload,
        },
        E::DataDropped { outgoing, count } => Input::DataDropped { outgoing, count },
        E::Removed { reason } => Input::Removed(reason),
        E::Done { reference } => Input::Done {
            reference: reference.0,
        },
        E::Failed { reference, error } => failed(reference.0, &error),
    }
}

/// A refusal of the core as a plugin's input.
fn failed(reference: u64, error: &core::RequestError) -> Input {
    use core::RequestError as R;
    let code = match error {
        R::Forbidden(_) => FailureCode::Forbidden,
        R::NotFound(_) => FailureCode::NotFound,
        R::Invalid(_) => FailureCode::Invalid,
        R::Limit(_) => FailureCode::LimitExceeded,
        R::WrongState(_) => FailureCode::WrongState,
        _ => FailureCode::Internal,
    };
    Input::Failed {
        reference,
        code,
        message: error.to_string(),
    }
}

/// A participant for a plugin.
pub(crate) fn participant(info: core::ParticipantInfo) -> types::Participant {
    types::Participant {
        id: types::ParticipantId(info.id.0),
        identity: info.identity,
        name: info.name,
        attributes: info.attributes,
        joined_at_ms: info.joined_at_ms,
    }
}

/// A track for a plugin.
pub(crate) fn track(info: core::TrackInfo) -> types::Track {
    types::Track {
        id: types::TrackId(info.id.0),
        owner: types::ParticipantId(info.owner.0),
        kind: match info.kind {
            core::MediaKind::Audio => types::MediaKind::Audio,
            core::MediaKind::Video => types::MediaKind::Video,
        },
        source: source_out(info.source),
        codec: info.codec,
        encrypted: false,
        muted: info.muted,
        layers: info.layers.into_iter().map(layer).collect(),
        attributes: Vec::new(),
    }
}

fn layer(info: core::LayerInfo) -> types::Layer {
    types::Layer {
        spatial: info.spatial,
        temporal: info.temporal,
        rid: info.rid,
        width: info.width,
        height: info.height,
        fps: info.fps,
        bitrate_bps: info.bitrate_bps,
        active: info.active,
    }
}

fn mid_tracks(sections: Vec<core::MidTrack>) -> Vec<signaling::MidTrack> {
    let section = |section: core::MidTrack| signaling::MidTrack {
        mid: section.mid,
        track: section.track.map(|id| types::TrackId(id.0)),
    };
    sections.into_iter().map(section).collect()
}

fn levels(speakers: Vec<(id::ParticipantId, u8)>) -> Vec<(types::ParticipantId, u8)> {
    speakers
        .into_iter()
        .map(|(id, level)| (types::ParticipantId(id.0), level))
        .collect()
}

fn state(state: core::TransportState) -> signaling::TransportState {
    match state {
        core::TransportState::New => signaling::TransportState::New,
        core::TransportState::Connecting => signaling::TransportState::Connecting,
        core::TransportState::Connected => signaling::TransportState::Connected,
        core::TransportState::Disconnected => signaling::TransportState::Disconnected,
        core::TransportState::Failed => signaling::TransportState::Failed,
        core::TransportState::Closed => signaling::TransportState::Closed,
    }
}

fn direction_in(direction: types::Direction) -> core::Direction {
    match direction {
        types::Direction::Publish => core::Direction::Publish,
        types::Direction::Subscribe => core::Direction::Subscribe,
    }
}

fn direction_out(direction: core::Direction) -> types::Direction {
    match direction {
        core::Direction::Publish => types::Direction::Publish,
        core::Direction::Subscribe => types::Direction::Subscribe,
    }
}

fn source_in(source: types::Source) -> core::Source {
    match source {
        types::Source::Camera => core::Source::Camera,
        types::Source::Microphone => core::Source::Microphone,
        types::Source::Screen => core::Source::Screen,
        types::Source::ScreenAudio => core::Source::ScreenAudio,
        types::Source::Other => core::Source::Other,
    }
}

fn source_out(source: core::Source) -> types::Source {
    match source {
        core::Source::Camera => types::Source::Camera,
        core::Source::Microphone => types::Source::Microphone,
        core::Source::Screen => types::Source::Screen,
        core::Source::ScreenAudio => types::Source::ScreenAudio,
        core::Source::Other => types::Source::Other,
    }
}
