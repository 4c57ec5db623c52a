//! What the service says.

use std::collections::BTreeMap;

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::http::Response;
use rillway_plugin_sdk::types::{Denial, Grant, Source};
use serde::Deserialize;

/// A grant, as JSON. What is left out is not granted; an unknown word is an error, as a wish for less than
/// everything may be spelt wrongly.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Answer {
    room: Option<String>,
    identity: Option<String>,
    name: Option<String>,
    #[serde(default)]
    publish: Vec<Word>,
    #[serde(default)]
    subscribe: bool,
    #[serde(default)]
    publish_data: bool,
    #[serde(default)]
    record_control: bool,
    max_publish_bps: Option<u64>,
    expires_at_ms: Option<u64>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    /// How long this may be given again.
    pub(crate) cache_seconds: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Camera,
    Microphone,
    Screen,
    ScreenAudio,
    Other,
}

impl Answer {
    pub(crate) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// The grant for this attempt. The router checks that its room is the one that was asked for.
    ///
    /// # Errors
    /// Nobody names a room.
    pub(crate) fn grant(&self, attempt: &Attempt) -> Result<Grant, Denial> {
        let room = self.room.clone().or_else(|| attempt.room.clone());
        let room = room.ok_or_else(|| Denial::Forbidden("name a room".to_owned()))?;
        let identity = self.identity.clone();
        Ok(Grant {
            room,
            identity: identity.unwrap_or_else(|| attempt.guest_identity.clone()),
            name: self.name.clone().or_else(|| attempt.name.clone()),
            publish: self.publish.iter().map(|word| word.source()).collect(),
            subscribe: self.subscribe,
            publish_data: self.publish_data,
            record_control: self.record_control,
            max_publish_bps: self.max_publish_bps,
            expires_at_ms: self.expires_at_ms,
            attributes: self.attributes.clone().into_iter().collect(),
        })
    }
}

impl Word {
    fn source(self) -> Source {
        match self {
            Word::Camera => Source::Camera,
            Word::Microphone => Source::Microphone,
            Word::Screen => Source::Screen,
            Word::ScreenAudio => Source::ScreenAudio,
            Word::Other => Source::Other,
        }
    }
}

/// The denial of a status that is one; `None`: of none that this policy knows.
pub(crate) fn refusal(response: &Response) -> Option<Denial> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let said = || {
        let refusal: Option<Refusal> = serde_json::from_slice(&response.body).ok();
        refusal.map(|refusal| refusal.message)
    };
    let or = |otherwise: &str| said().unwrap_or_else(|| otherwise.to_owned());
    match response.status {
        401 => Some(Denial::Unauthenticated(or(
            "these credentials prove nobody",
        ))),
        403 => Some(Denial::Forbidden(or("this is not allowed"))),
        429 => Some(Denial::OverQuota(or("try again later"))),
        _ => None,
    }
}
