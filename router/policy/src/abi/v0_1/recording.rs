//! Events and orders, as far as they are of this version alone.

use rillway_plugin_sdk::recording as sdk;
use rillway_plugin_sdk::types::TrackId;

use super::bindings::exports::rillway::policy::recording as wit;
use super::types::ids;

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

impl From<wit::Order> for sdk::Order {
    fn from(order: wit::Order) -> Self {
        match order {
            wit::Order::Start(start) => sdk::Order::Start(start.into()),
            wit::Order::Stop(id) => sdk::Order::Stop(TrackId(id)),
        }
    }
}
