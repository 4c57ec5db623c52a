//! Events and orders.

use rillway_plugin_sdk::recording as sdk;
use rillway_plugin_sdk::types::TrackId;

use super::bindings::exports::rillway::policy::recording as wit;
use super::types::ids;

impl From<sdk::Request> for wit::Request {
    fn from(request: sdk::Request) -> Self {
        wit::Request {
            start: request.start,
            by: request.by.map(|id| id.0),
            attributes: request.attributes,
        }
    }
}

impl From<sdk::Finished> for wit::Finished {
    fn from(finished: sdk::Finished) -> Self {
        wit::Finished {
            track: finished.track.0,
            name: finished.name,
            bytes: finished.bytes,
            duration_ms: finished.duration_ms,
            sha256: finished.sha256,
            attributes: finished.attributes,
        }
    }
}

/// `None`: this version has no case for it.
pub(super) fn event(event: sdk::Event) -> Option<wit::Event> {
    Some(match event {
        sdk::Event::RoomOpened(room) => wit::Event::RoomOpened(room),
        sdk::Event::ParticipantJoined(who) => wit::Event::ParticipantJoined(who.into()),
        sdk::Event::ParticipantLeft(id) => wit::Event::ParticipantLeft(id.0),
        sdk::Event::TrackPublished(track) => wit::Event::TrackPublished(track.into()),
        sdk::Event::TrackUnpublished(id) => wit::Event::TrackUnpublished(id.0),
        sdk::Event::TrackMuted(id, muted) => wit::Event::TrackMuted((id.0, muted)),
        sdk::Event::Speakers(speakers) => wit::Event::Speakers(ids(speakers)),
        sdk::Event::Requested(request) => wit::Event::Requested(request.into()),
        sdk::Event::Finished(finished) => wit::Event::Finished(finished.into()),
        sdk::Event::Failed(failure) => wit::Event::Failed((failure.track.0, failure.message)),
        sdk::Event::Started(_) | sdk::Event::Recording(_) | sdk::Event::Tick => return None,
        sdk::Event::RoomClosed => wit::Event::RoomClosed,
    })
}

impl From<wit::Container> for sdk::Container {
    fn from(container: wit::Container) -> Self {
        match container {
            wit::Container::Mp4 => sdk::Container::Mp4,
            wit::Container::Webm => sdk::Container::Webm,
            wit::Container::RtpDump => sdk::Container::RtpDump,
        }
    }
}

impl From<wit::Order> for sdk::Order {
    fn from(order: wit::Order) -> Self {
        match order {
            wit::Order::Start(start) => sdk::Order::Start(sdk::Start {
                track: TrackId(start.track),
                container: start.container.into(),
                name: start.name,
                max_segment_s: start.max_segment_s,
                attributes: start.attributes,
            }),
            wit::Order::Stop(id) => sdk::Order::Stop(TrackId(id)),
        }
    }
}
