//! The plugin ABI's words ↔ the core's words, for rooms.

use rillway_core::api as core;
use rillway_core::id;
use rillway_plugin_sdk::recording::{Container, Event, FailureCause, Start};
use rillway_plugin_sdk::{layers, types};

use rillway_recorder::api as recorder;

use crate::session::{participant_for_plugins, track_for_plugins};

/// A whole room for a layer policy.
pub(super) fn view(view: &core::RoomView) -> layers::View {
    layers::View {
        now_ms: view.now_ms,
        tracks: view.tracks.iter().cloned().map(track).collect(),
        subscribers: view.subscribers.iter().map(subscriber).collect(),
        subscriptions: subscriptions(view),
        speakers: participants(&view.speakers),
        ..layers::View::default()
    }
}

/// How many subscriptions to video there are.
pub(super) fn subscriptions(view: &core::RoomView) -> u32 {
    let counts = view.subscribers.iter().map(|s| s.subscriptions.len());
    u32::try_from(counts.sum::<usize>()).unwrap_or(u32::MAX)
}

/// A track.
pub(super) fn track(track: core::TrackInfo) -> types::Track {
    track_for_plugins(track)
}

/// A subscriber to video.
pub(super) fn subscriber(view: &core::SubscriberView) -> layers::Subscriber {
    layers::Subscriber {
        id: types::ParticipantId(view.id.0),
        estimate_bps: view.estimate_bps,
        audio_bps: view.audio_bps,
        rtt_ms: view.rtt_ms,
        loss_permille: view.loss_permille,
        subscriptions: view.subscriptions.iter().map(subscription).collect(),
        attributes: Vec::new(),
    }
}

fn subscription(view: &core::SubscriptionView) -> layers::Subscription {
    layers::Subscription {
        track: types::TrackId(view.wish.track.0),
        width: view.wish.width,
        height: view.wish.height,
        fps: view.wish.fps,
        priority: view.wish.priority,
        paused: view.wish.paused,
        spatial: view.spatial,
        temporal: view.temporal,
    }
}

/// Ids of participants.
pub(super) fn participants(ids: &[id::ParticipantId]) -> Vec<types::ParticipantId> {
    ids.iter().map(|id| types::ParticipantId(id.0)).collect()
}

/// A choice of a layer policy.
pub(super) fn choice(choice: layers::Choice) -> core::Choice {
    core::Choice {
        subscriber: id::ParticipantId(choice.subscriber.0),
        track: id::TrackId(choice.track.0),
        spatial: choice.spatial,
        temporal: choice.temporal,
        paused: choice.paused,
        reason: choice.reason,
    }
}

/// What a recording policy hears of a room; `None`: it is none of its business.
pub(super) fn event(kind: core::RoomEventKind) -> Option<Event> {
    use core::RoomEventKind as K;
    Some(match kind {
        K::Joined(info) => Event::ParticipantJoined(participant_for_plugins(info)),
        K::Left(id) => Event::ParticipantLeft(types::ParticipantId(id.0)),
        K::Published(info) => Event::TrackPublished(track_for_plugins(info)),
        K::Unpublished(id) => Event::TrackUnpublished(types::TrackId(id.0)),
        K::Muted(id, muted) => Event::TrackMuted(types::TrackId(id.0), muted),
        K::Speakers(speakers) => Event::Speakers(participants(&speakers)),
        K::Opened { .. }
        | K::View(_)
        | K::Closed
        | K::RecordingEnded(_)
        | K::RecordingRefused(..) => return None,
    })
}

/// An order to the recorder.
pub(super) fn start(
    start: Start,
    track: &types::Track,
    identity: &str,
    room: &str,
) -> recorder::Start {
    recorder::Start {
        room: room.into(),
        track: recorder::TrackId(track.id.0),
        owner: recorder::ParticipantId(track.owner.0),
        identity: identity.into(),
        kind: match track.kind {
            types::MediaKind::Audio => recorder::MediaKind::Audio,
            types::MediaKind::Video => recorder::MediaKind::Video,
        },
        source: match track.source {
            types::Source::Camera => "camera",
            types::Source::Microphone => "microphone",
            types::Source::Screen => "screen",
            types::Source::ScreenAudio => "screen_audio",
            types::Source::Other => "other",
        },
        container: match start.container {
            Container::Mp4 => recorder::Container::Mp4,
            Container::Webm => recorder::Container::Webm,
            Container::RtpDump => recorder::Container::RtpDump,
        },
        name: start.name.into(),
        segment: (start.max_segment_s > 0)
            .then(|| std::time::Duration::from_secs(start.max_segment_s.into())),
        attributes: start.attributes,
    }
}

/// Why a recording failed, as policies hear it.
pub(super) fn failure(cause: recorder::FailureCause) -> FailureCause {
    use recorder::FailureCause as Found;
    match cause {
        Found::DiskFull => FailureCause::DiskFull,
        Found::DiskFault => FailureCause::DiskFault,
        Found::Overload => FailureCause::Overload,
        Found::Unsupported => FailureCause::Unsupported,
        Found::Unavailable => FailureCause::Unavailable,
        _ => FailureCause::Other,
    }
}
