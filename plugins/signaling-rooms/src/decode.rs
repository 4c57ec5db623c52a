//! From the client's text to a checked request. Everything a client can get wrong in the form of a
//! message is found here, and told with the member it concerns.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::limits;
use crate::wire::{self, Direction, ErrorCode, Payload};

/// Largest `id`: what every JSON implementation carries exactly (RFC 8259 §6).
const ID_MAX: u64 = (1 << 53) - 1;

/// Base64 (RFC 4648 §4), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A well-formed message and the `id` to answer it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Echoed in the answer.
    pub id: Option<u64>,
    /// What is wanted.
    pub request: Request,
}

/// What a client can ask for. Shapes and bounds have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Enter a room.
    Join(wire::Join),
    /// Leave it.
    Leave,
    /// Publishing offer.
    Publish(wire::Publish),
    /// End an own track.
    Unpublish(wire::Unpublish),
    /// Answer to the subscribing offer.
    Answer(wire::Answer),
    /// Trickled candidate.
    Candidate(wire::Candidate),
    /// ICE restart of the subscribing transport.
    Restart,
    /// Close one transport.
    Close(Direction),
    /// Receive tracks.
    Subscribe(wire::Tracks),
    /// Stop receiving them.
    Unsubscribe(wire::Tracks),
    /// How a track is shown.
    Wish(wire::Wish),
    /// Which notices it wants.
    Notify(wire::Notify),
    /// Mute an own track.
    Mute(wire::Mute),
    /// Start or stop the recording of the room.
    Record(wire::Record),
    /// Data through signaling.
    Data(Data),
    /// Offer or answer for the other one of a direct call.
    DirectDescription(wire::DirectDescription),
    /// Candidate for it.
    DirectCandidate(wire::DirectCandidate),
    /// How the client gets what the other one sends.
    DirectPath(wire::DirectPath),
    /// Are you there?
    Ping,
}

/// `data` with its payload decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Label.
    pub label: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Receivers; empty = everybody.
    pub to: Vec<wire::WireId>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A binary frame.
    #[error("binary frame of {0} bytes: send each message as a text frame holding one JSON object")]
    Binary(usize),
    /// No JSON.
    #[error("not JSON: {0}; send one JSON object with a string member `type`")]
    Syntax(String),
    /// JSON, but no object.
    #[error("not a JSON object: send one object with a string member `type`")]
    NoObject,
    /// `type` is not there or not a string.
    #[error("member `type` {0}: give it one of the strings {KNOWN_TYPES}")]
    BadType(&'static str),
    /// `type` is unknown.
    #[error("unknown `type` \"{0}\": this version knows {KNOWN_TYPES}")]
    UnknownType(String),
    /// `id` is no usable number.
    #[error("member `id` is {0}: give a whole number from 0 to 9007199254740991, or leave it out")]
    BadId(String),
    /// A member is missing, of the wrong type or out of its bounds.
    #[error("`{kind}`, {place}: {what}")]
    Member {
        /// `type` of the message.
        kind: &'static str,
        /// Path of the member.
        place: String,
        /// What is wrong and what was expected.
        what: String,
    },
}

/// The list for error messages; a test compares it with [`REQUEST_TYPES`].
const KNOWN_TYPES: &str = "join, leave, publish, unpublish, answer, candidate, restart, close, \
    subscribe, unsubscribe, wish, notify, mute, record, data, direct-description, direct-candidate, direct-path, \
    ping";

/// Every `type` a client may send.
pub const REQUEST_TYPES: [&str; 19] = [
    "join",
    "leave",
    "publish",
    "unpublish",
    "answer",
    "candidate",
    "restart",
    "close",
    "subscribe",
    "unsubscribe",
    "wish",
    "notify",
    "mute",
    "record",
    "data",
    "direct-description",
    "direct-candidate",
    "direct-path",
    "ping",
];

impl DecodeError {
    /// Code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            DecodeError::UnknownType(_) => ErrorCode::UnknownType,
            _ => ErrorCode::BadMessage,
        }
    }
}

/// A refused message: what is wrong, and the `id` to say so with, where one could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// `id` of the message.
    pub id: Option<u64>,
    /// What is wrong.
    pub error: DecodeError,
}

/// The members every message has, read leniently so that a faulty message still gets its `id` back.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Option<Value>,
    id: Option<Value>,
}

/// Reads one text frame.
///
/// # Errors
/// The first thing found wrong, in the order: syntax, `id`, `type`, members, bounds.
pub fn decode(text: &str) -> Result<Decoded, Rejected> {
    let anonymous = |error| Rejected { id: None, error };
    let envelope = match serde_json::from_str::<Envelope>(text) {
        Ok(envelope) if text.trim_start().starts_with('{') => envelope,
        // An array would be taken as the members in order.
        Ok(_) => return Err(anonymous(DecodeError::NoObject)),
        Err(e) if e.is_data() && !text.trim_start().starts_with('{') => {
            return Err(anonymous(DecodeError::NoObject));
        }
        // An object all the same: `type` or `id` stands in it twice.
        Err(e) if e.is_data() => {
            return Err(anonymous(DecodeError::Member {
                kind: "message",
                place: "top level".to_owned(),
                what: e.to_string(),
            }));
        }
        Err(e) => return Err(anonymous(DecodeError::Syntax(e.to_string()))),
    };
    let id = read_id(envelope.id.as_ref()).map_err(anonymous)?;
    match envelope.kind {
        None | Some(Value::Null) => Err(DecodeError::BadType("is missing")),
        Some(Value::String(kind)) => read_request(&kind, text),
        Some(_) => Err(DecodeError::BadType("is not a string")),
    }
    .map(|request| Decoded { id, request })
    .map_err(|error| Rejected { id, error })
}

fn read_id(id: Option<&Value>) -> Result<Option<u64>, DecodeError> {
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(id) if id <= ID_MAX => Ok(Some(id)),
            _ => {
                let shown = match value {
                    Value::Number(n) => n.to_string(),
                    Value::String(_) => "a string".to_owned(),
                    Value::Bool(_) => "a boolean".to_owned(),
                    _ => "no number".to_owned(),
                };
                Err(DecodeError::BadId(shown))
            }
        },
    }
}

fn read_request(kind: &str, text: &str) -> Result<Request, DecodeError> {
    Ok(match kind {
        "join" => Request::Join(check_join(members("join", text)?)?),
        "leave" => Request::Leave,
        "publish" => Request::Publish(check_publish(members("publish", text)?)?),
        "unpublish" => Request::Unpublish(members("unpublish", text)?),
        "answer" => Request::Answer(members("answer", text)?),
        "candidate" => Request::Candidate(check_candidate(members("candidate", text)?)?),
        "restart" => check_restart(members("restart", text)?)?,
        "close" => Request::Close(members::<wire::OneTransport>("close", text)?.direction),
        "subscribe" => Request::Subscribe(check_tracks("subscribe", members("subscribe", text)?)?),
        "unsubscribe" => {
            Request::Unsubscribe(check_tracks("unsubscribe", members("unsubscribe", text)?)?)
        }
        "wish" => Request::Wish(members("wish", text)?),
        "notify" => Request::Notify(members("notify", text)?),
        "mute" => Request::Mute(members("mute", text)?),
        "record" => Request::Record(members("record", text)?),
        "data" => Request::Data(check_data(members("data", text)?)?),
        "direct-description" => Request::DirectDescription(members("direct-description", text)?),
        "direct-candidate" => {
            Request::DirectCandidate(check_direct_candidate(members("direct-candidate", text)?)?)
        }
        "direct-path" => Request::DirectPath(members("direct-path", text)?),
        "ping" => Request::Ping,
        _ => return Err(DecodeError::UnknownType(limits::cut(kind, 64).to_owned())),
    })
}

/// The members of a message of type `kind`, with the path of the one that does not fit.
fn members<T: DeserializeOwned>(kind: &'static str, text: &str) -> Result<T, DecodeError> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        let what = e.inner().to_string();
        let place = match path.as_str() {
            "." => "top level".to_owned(),
            path => format!("member `{path}`"),
        };
        DecodeError::Member { kind, place, what }
    })
}

fn wrong(kind: &'static str, member: impl std::fmt::Display, what: String) -> DecodeError {
    let place = format!("member `{member}`");
    DecodeError::Member { kind, place, what }
}

/// Refuses what is shorter than `min` or longer than `max`.
fn check_bytes(
    kind: &'static str,
    member: impl std::fmt::Display,
    text: &str,
    min: usize,
    max: usize,
) -> Result<(), DecodeError> {
    match text.len() {
        n if n < min => Err(wrong(kind, member, "empty, expected some text".to_owned())),
        n if n > max => {
            let what = format!("{n} bytes of UTF-8, expected at most {max}");
            Err(wrong(kind, member, what))
        }
        _ => Ok(()),
    }
}

fn check_count(
    kind: &'static str,
    member: &'static str,
    count: usize,
    max: usize,
) -> Result<(), DecodeError> {
    if count > max {
        let what = format!("{count} entries, expected at most {max}: send several messages");
        return Err(wrong(kind, member, what));
    }
    Ok(())
}

fn check_join(join: wire::Join) -> Result<wire::Join, DecodeError> {
    check_bytes("join", "room", &join.room, 1, limits::NAME_BYTES_MAX)?;
    if let Some(name) = &join.name {
        check_bytes("join", "name", name, 0, limits::NAME_BYTES_MAX)?;
    }
    if let Some(token) = &join.token {
        check_bytes("join", "token", token, 0, limits::TOKEN_BYTES_MAX)?;
    }
    Ok(join)
}

fn check_publish(publish: wire::Publish) -> Result<wire::Publish, DecodeError> {
    let kind = "publish";
    check_count(kind, "tracks", publish.tracks.len(), limits::TRACKS_MAX)?;
    for (i, track) in publish.tracks.iter().enumerate() {
        let member = format_args!("tracks[{i}].mid").to_string();
        check_bytes(kind, &member, &track.mid, 1, limits::MID_BYTES_MAX)?;
        let earlier = publish.tracks.iter().take(i);
        if earlier.clone().any(|other| other.mid == track.mid) {
            let what = format!(
                "mid \"{}\" is named twice, expected one entry each",
                track.mid
            );
            return Err(wrong(kind, member, what));
        }
    }
    Ok(publish)
}

fn check_candidate(candidate: wire::Candidate) -> Result<wire::Candidate, DecodeError> {
    let line = &candidate.candidate;
    check_bytes(
        "candidate",
        "candidate",
        line,
        0,
        limits::CANDIDATE_BYTES_MAX,
    )?;
    Ok(candidate)
}

fn check_direct_candidate(
    message: wire::DirectCandidate,
) -> Result<wire::DirectCandidate, DecodeError> {
    let kind = "direct-candidate";
    let line = &message.candidate;
    check_bytes(kind, "candidate", line, 0, limits::CANDIDATE_BYTES_MAX)?;
    if let Some(mid) = &message.mid {
        check_bytes(kind, "mid", mid, 1, limits::MID_BYTES_MAX)?;
    }
    Ok(message)
}

fn check_restart(which: wire::OneTransport) -> Result<Request, DecodeError> {
    match which.direction {
        Direction::Subscribe => Ok(Request::Restart),
        Direction::Publish => Err(wrong(
            "restart",
            "direction",
            "`publish`, expected `subscribe`: to restart ICE on the publish connection, send \
             `publish` with an offer made by `restartIce()`"
                .to_owned(),
        )),
    }
}

fn check_tracks(kind: &'static str, list: wire::Tracks) -> Result<wire::Tracks, DecodeError> {
    check_count(kind, "tracks", list.tracks.len(), limits::TRACKS_MAX)?;
    if list.tracks.is_empty() {
        let what = "empty, expected at least one track id".to_owned();
        return Err(wrong(kind, "tracks", what));
    }
    Ok(list)
}

fn check_data(data: wire::Data) -> Result<Data, DecodeError> {
    let kind = "data";
    check_bytes(kind, "label", &data.label, 0, limits::LABEL_BYTES_MAX)?;
    let to = data.to.unwrap_or_default();
    check_count(kind, "to", to.len(), limits::RECEIVERS_MAX)?;
    let payload = match (data.text, data.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => BASE64.decode(&text).map_err(|e| {
            let what = format!("{e}, expected base64 of RFC 4648 §4 (not the URL alphabet)");
            wrong(kind, "base64", what)
        })?,
        (None, None) => {
            let what = "missing, expected it or `base64`".to_owned();
            return Err(wrong(kind, "text", what));
        }
        (Some(_), Some(_)) => {
            let what = "given beside `text`, expected one of the two".to_owned();
            return Err(wrong(kind, "base64", what));
        }
    };
    let label = data.label;
    Ok(Data { label, payload, to })
}

/// A payload as it is shown to a client: as text where it is text.
pub(crate) fn payload(bytes: &[u8]) -> Payload<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Payload::Text(text),
        Err(_) => Payload::Base64(STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_in_messages_is_the_list_in_code() {
        assert_eq!(KNOWN_TYPES, REQUEST_TYPES.join(", "));
        for kind in REQUEST_TYPES {
            let refused = decode(&format!("{{\"type\":\"{kind}\"}}")).err();
            assert!(
                !matches!(
                    refused,
                    Some(Rejected {
                        error: DecodeError::UnknownType(_),
                        ..
                    })
                ),
                "{kind} is listed but not read"
            );
        }
    }
}
