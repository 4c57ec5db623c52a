//! What the service is asked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rillway_plugin_sdk::authentication::Attempt;
use serde::Serialize;

/// An attempt, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question<'a> {
    scheme: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    remote_address: &'a str,
    protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_identity: Option<&'a str>,
    attributes: BTreeMap<&'a str, &'a str>,
}

impl<'a> Question<'a> {
    pub(crate) fn new(attempt: &'a Attempt) -> Self {
        let text = str::from_utf8(&attempt.credentials);
        let present = !attempt.credentials.is_empty();
        let attributes = attempt.attributes.iter();
        Question {
            scheme: &attempt.scheme,
            credentials: text.ok().filter(|_| present),
            credentials_base64: text.is_err().then(|| BASE64.encode(&attempt.credentials)),
            room: attempt.room.as_deref(),
            name: attempt.name.as_deref(),
            remote_address: &attempt.remote_address,
            protocol: &attempt.protocol,
            guest_identity: Some(&attempt.guest_identity),
            attributes: attributes.map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        }
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text has a JSON form")
    }

    /// Everything that an answer may depend on: two attempts that are alike in it get the same answer.
    pub(crate) fn without_guest(&self) -> Vec<u8> {
        Question {
            guest_identity: None,
            credentials_base64: self.credentials_base64.clone(),
            attributes: self.attributes.clone(),
            ..*self
        }
        .json()
    }
}
