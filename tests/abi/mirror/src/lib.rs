//! A component of all four kinds that imports every capability. It shows what reaches it as JSON and returns
//! whatever it is told to as JSON, so that a test sees every value of the ABI cross in both directions.
//!
//! For each released version one build of it is kept beside this crate; `router/policy/tests/host/abi` talks
//! to that. What a kind does:
//!
//! * **signaling**: a text message that is a JSON list of commands is answered with these commands; one that
//!   is a [`Call`] makes that call and sends its outcome; any other input is sent back as JSON, in one text.
//! * **authentication**: the JSON in the attribute `reply` is the answer; without one, everybody is granted
//!   a room, with the attempt as JSON in the grant's attributes.
//! * **layer selection** and **recording**: the JSON in the attribute `reply` (of a request, in recording) is
//!   the answer; the attribute `show` asks for what was seen last, as JSON in reasons or in attributes of a
//!   file; anything else is kept to be shown, and answered with nothing. The attribute `next` of a view is
//!   what the next view is to show.
//!
//! JSON that is longer than the bound of what carries it is cut into several of them.
#![forbid(unsafe_code)]

mod call;

use rillway_plugin_sdk as sdk;
use sdk::authentication::Attempt;
use sdk::layers::{Choice, Scope, View};
use sdk::recording::{Container, Event, Order, Start};
use sdk::signaling::{Action, Command, Frame, Input};
use sdk::types::{Attributes, Denial, Grant, ParticipantId, TrackId};
use serde::de::DeserializeOwned;

use call::Call;

/// Bytes of the reason of a choice.
const REASON_BYTES: usize = 128;
/// Bytes of the value of an attribute.
const VALUE_BYTES: usize = 1_024;
/// Attributes of a value.
const ATTRIBUTES: usize = 32;

/// An instance.
struct Mirror {
    /// As `config.get` gave it.
    config: serde_json::Value,
    /// JSON of what was seen last and is still to be shown.
    seen: String,
    /// What the next view is to show.
    next: Scope,
}

impl sdk::Plugin for Mirror {
    type Config = serde_json::Value;

    fn start(config: serde_json::Value) -> Result<Self, String> {
        if let Some(why) = config.get("refuse").and_then(serde_json::Value::as_str) {
            return Err(why.to_owned());
        }
        let seen = String::new();
        let next = Scope::Whole;
        Ok(Mirror { config, seen, next })
    }
}

impl sdk::Signaling for Mirror {
    fn handle(&mut self, input: Input) -> Vec<Command> {
        if let Input::Message(Frame::Text(text)) = &input {
            if let Ok(commands) = serde_json::from_str(text) {
                return commands;
            }
            if let Ok(call) = serde_json::from_str::<Call>(text) {
                return say(call.outcome(&self.config).to_string());
            }
        }
        say(json(&input))
    }
}

fn say(text: String) -> Vec<Command> {
    vec![Command {
        reference: 0,
        action: Action::Send(Frame::Text(text)),
    }]
}

impl sdk::Authentication for Mirror {
    fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial> {
        if let Some(answer) = reply(&attempt.attributes) {
            return answer;
        }
        Ok(Grant {
            room: "mirror".to_owned(),
            identity: "mirror".to_owned(),
            name: None,
            publish: Vec::new(),
            subscribe: false,
            publish_data: false,
            record_control: false,
            max_publish_bps: None,
            expires_at_ms: None,
            attributes: shown(&mut json(&attempt)),
        })
    }
}

impl sdk::LayerSelection for Mirror {
    fn choose(&mut self, view: View) -> Vec<Choice> {
        let next = view.attributes.iter().find(|(name, _)| name == "next");
        let next = next.map(|(_, json)| serde_json::from_str(json).expect("a scope"));
        self.next = next.unwrap_or_default();
        if let Some(choices) = reply(&view.attributes) {
            return choices;
        }
        if !asks_to_be_shown(&view.attributes) {
            self.seen = json(&view);
            return Vec::new();
        }
        // There may be no more choices than subscriptions.
        let most = view.subscribers.iter().map(|s| s.subscriptions.len()).sum();
        let choice = |reason| Choice {
            subscriber: ParticipantId(0),
            track: TrackId(0),
            spatial: 0,
            temporal: 0,
            paused: false,
            reason,
        };
        let reasons = cut(&mut self.seen, REASON_BYTES, most).into_iter();
        reasons.map(choice).collect()
    }

    fn next(&self) -> Scope {
        self.next
    }
}

impl sdk::Recording for Mirror {
    fn decide(&mut self, event: Event) -> Vec<Order> {
        if let Event::Requested(request) = &event {
            if let Some(orders) = reply(&request.attributes) {
                return orders;
            }
            if asks_to_be_shown(&request.attributes) {
                return vec![Order::Start(Start {
                    track: TrackId(0),
                    container: Container::Mp4,
                    name: String::new(),
                    max_segment_s: 0,
                    attributes: shown(&mut self.seen),
                })];
            }
        }
        self.seen = json(&event);
        Vec::new()
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a value of the ABI is JSON")
}

/// The JSON of all attributes `reply`, one after the other.
fn reply<T: DeserializeOwned>(attributes: &Attributes) -> Option<T> {
    let parts = attributes.iter().filter(|(name, _)| name == "reply");
    let text: String = parts.map(|(_, value)| value.as_str()).collect();
    if text.is_empty() {
        return None;
    }
    match serde_json::from_str(&text) {
        Ok(value) => Some(value),
        Err(error) => panic!("`reply` cannot be read: {error}: {text}"),
    }
}

fn asks_to_be_shown(attributes: &Attributes) -> bool {
    attributes.iter().any(|(name, _)| name == "show")
}

/// As much of a text as fits into attributes.
fn shown(text: &mut String) -> Attributes {
    let parts = cut(text, VALUE_BYTES, ATTRIBUTES).into_iter();
    parts.map(|part| ("seen".to_owned(), part)).collect()
}

/// Takes up to `most` parts of up to `bytes` bytes from the beginning of a text.
fn cut(text: &mut String, bytes: usize, most: usize) -> Vec<String> {
    let mut parts = Vec::new();
    while !text.is_empty() && parts.len() < most {
        let rest = text.split_off(text.floor_char_boundary(bytes));
        parts.push(std::mem::replace(text, rest));
    }
    parts
}

sdk::export!(Mirror: authentication, signaling, layer_selection, recording);
