//! Events and orders, as far as they are of this version alone.

use rillway_plugin_sdk::recording as sdk;
use rillway_plugin_sdk::types::TrackId;

use super::bindings::exports::rillway::policy::recording as wit;
use super::types::{all, ids};

impl From<sdk::Recorded> for wit::Recorded {
    fn from(recorded: sdk::Recorded) -> Self {
        wit::Recorded {
            track: recorded.track.0,
            name: recorded.name,
            attributes: recorded.attributes,
        }
    }
}

impl From<sdk::FailureCause> for wit::FailureCause {
    fn from(cause: sdk::FailureCause) -> Self {
        match cause {
            sdk::FailureCause::DiskFull => wit::FailureCause::DiskFull,
            sdk::FailureCause::DiskFault => wit::FailureCause::DiskFault,
            sdk::FailureCause::Overload => wit::FailureCause::Overload,
            sdk::FailureCause::Encrypted => wit::FailureCause::Encrypted,
            sdk::FailureCause::Unsupported => wit::FailureCause::Unsupported,
            sdk::FailureCause::Unavailable => wit::FailureCause::Unavailable,
            sdk::FailureCause::Other => wit::FailureCause::Other,
        }
    }
}

impl From<sdk::Failure> for wit::Failure {
    fn from(failure: sdk::Failure) -> Self {
        wit::Failure {
            track: failure.track.0,
            cause: failure.cause.into(),
            message: failure.message,
        }
    }
}

/// Always there: the newest version has a case for each.
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
        sdk::Event::Started(id) => wit::Event::Started(id.0),
        sdk::Event::Failed(failure) => wit::Event::Failed(failure.into()),
        sdk::Event::Recording(recorded) => wit::Event::Recording(all(recorded)),
        sdk::Event::Tick => wit::Event::Tick,
        sdk::Event::RoomClosed => wit::Event::RoomClosed,
    })
}

impl From<wit::Order> for sdk::Order {
    fn from(order: wit::Order) -> Self {
        match order {
            wit::Order::Start(start) => sdk::Order::Start(start.into()),
            wit::Order::Stop(id) => sdk::Order::Stop(TrackId(id)),
            wit::Order::TickEveryMs(period) => sdk::Order::TickEveryMs(period),
        }
    }
}
