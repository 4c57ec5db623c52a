//! `rillway:policy/recording`.

use super::same_cases;
use crate::guest::bindings::recording::exports::rillway::policy::recording as wit;
use crate::recording::{
    Container, Event, Failure, FailureCause, Finished, Order, Recorded, Request, Start,
};
use crate::types::{ParticipantId, TrackId};

same_cases!(wit::Container, Container: Mp4, Webm, RtpDump);
same_cases!(
    wit::FailureCause, FailureCause:
    DiskFull, DiskFault, Overload, Encrypted, Unsupported, Unavailable, Other
);

impl From<wit::Request> for Request {
    fn from(request: wit::Request) -> Self {
        Request {
            start: request.start,
            by: request.by.map(ParticipantId),
            attributes: request.attributes,
        }
    }
}

impl From<wit::Finished> for Finished {
    fn from(finished: wit::Finished) -> Self {
        Finished {
            track: TrackId(finished.track),
            name: finished.name,
            bytes: finished.bytes,
            duration_ms: finished.duration_ms,
            sha256: finished.sha256,
            attributes: finished.attributes,
        }
    }
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        Failure {
            track: TrackId(failure.track),
            cause: failure.cause.into(),
            message: failure.message,
        }
    }
}

impl From<wit::Recorded> for Recorded {
    fn from(recorded: wit::Recorded) -> Self {
        Recorded {
            track: TrackId(recorded.track),
            name: recorded.name,
            attributes: recorded.attributes,
        }
    }
}

impl From<wit::Event> for Event {
    fn from(event: wit::Event) -> Self {
        match event {
            wit::Event::RoomOpened(room) => Event::RoomOpened(room),
            wit::Event::ParticipantJoined(p) => Event::ParticipantJoined(p.into()),
            wit::Event::ParticipantLeft(p) => Event::ParticipantLeft(ParticipantId(p)),
            wit::Event::TrackPublished(track) => Event::TrackPublished(track.into()),
            wit::Event::TrackUnpublished(track) => Event::TrackUnpublished(TrackId(track)),
            wit::Event::TrackMuted((track, muted)) => Event::TrackMuted(TrackId(track), muted),
            wit::Event::Speakers(speakers) => {
                Event::Speakers(speakers.into_iter().map(ParticipantId).collect())
            }
            wit::Event::Requested(request) => Event::Requested(request.into()),
            wit::Event::Finished(finished) => Event::Finished(finished.into()),
            wit::Event::Started(track) => Event::Started(TrackId(track)),
            wit::Event::Failed(failure) => Event::Failed(failure.into()),
            wit::Event::Recording(recorded) => {
                Event::Recording(recorded.into_iter().map(Recorded::from).collect())
            }
            wit::Event::Tick => Event::Tick,
            wit::Event::RoomClosed => Event::RoomClosed,
        }
    }
}

impl From<Order> for wit::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Start(Start {
                track,
                container,
                name,
                max_segment_s,
                attributes,
            }) => wit::Order::Start(wit::Start {
                track: track.0,
                container: container.into(),
                name,
                max_segment_s,
                attributes,
            }),
            Order::Stop(track) => wit::Order::Stop(track.0),
            Order::TickEveryMs(period) => wit::Order::TickEveryMs(period),
        }
    }
}
