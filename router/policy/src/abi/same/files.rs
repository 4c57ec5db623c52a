//! What events and orders of recording are about.

use rillway_plugin_sdk::recording as sdk;
use rillway_plugin_sdk::types::TrackId;

use super::bindings::exports::rillway::policy::recording as wit;

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

impl From<wit::Container> for sdk::Container {
    fn from(container: wit::Container) -> Self {
        match container {
            wit::Container::Mp4 => sdk::Container::Mp4,
            wit::Container::Webm => sdk::Container::Webm,
            wit::Container::RtpDump => sdk::Container::RtpDump,
        }
    }
}

impl From<wit::Start> for sdk::Start {
    fn from(start: wit::Start) -> Self {
        sdk::Start {
            track: TrackId(start.track),
            container: start.container.into(),
            name: start.name,
            max_segment_s: start.max_segment_s,
            attributes: start.attributes,
        }
    }
}
