//! The ABI's values as JSON, for scripts of tests and tools (feature `json`): names are those of the Rust
//! types in snake_case, a case with data is an object with one member, and bytes are text where they are
//! UTF-8, else `{"base64": "…"}`; a list of numbers is read as bytes too. A component has no base64 and
//! writes and reads such a list in its place: that is for tests of the ABI itself.

#[cfg(not(target_arch = "wasm32"))]
use base64::Engine as _;
#[cfg(not(target_arch = "wasm32"))]
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    #[cfg(not(target_arch = "wasm32"))]
    Base64 {
        base64: String,
    },
    List(Vec<u8>),
}

impl Bytes {
    #[cfg(not(target_arch = "wasm32"))]
    fn binary(bytes: &[u8]) -> Bytes {
        let base64 = BASE64.encode(bytes);
        Bytes::Base64 { base64 }
    }

    #[cfg(target_arch = "wasm32")]
    fn binary(bytes: &[u8]) -> Bytes {
        Bytes::List(bytes.to_owned())
    }
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let form = match str::from_utf8(bytes) {
        Ok(text) => Bytes::Text(text.to_owned()),
        Err(_) => Bytes::binary(bytes),
    };
    form.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Bytes::deserialize(deserializer)? {
        Bytes::Text(text) => Ok(text.into_bytes()),
        #[cfg(not(target_arch = "wasm32"))]
        Bytes::Base64 { base64 } => BASE64.decode(base64).map_err(serde::de::Error::custom),
        Bytes::List(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::authentication::Attempt;
    use crate::signaling::{Action, Command, Frame, Input};
    use crate::types::{ParticipantId, TrackId};

    fn input(value: &Value) -> Input {
        let input: Input = serde_json::from_value(value.clone()).expect("an input");
        let again = serde_json::to_value(&input).expect("JSON");
        let twice: Input = serde_json::from_value(again).expect("an input");
        assert_eq!(input, twice, "{value}");
        input
    }

    #[test]
    fn a_script_can_be_written_by_hand() {
        let opened = input(&json!({"opened": {"path": "/signal/rooms"}}));
        assert!(matches!(opened, Input::Opened(opened) if opened.path == "/signal/rooms"));
        assert_eq!(input(&json!("tick")), Input::Tick);
        let muted = input(&json!({"track_muted": [7, true]}));
        assert_eq!(muted, Input::TrackMuted(TrackId(7), true));
        let text = input(&json!({"message": {"text": "{}"}}));
        assert_eq!(text, Input::Message(Frame::Text("{}".to_owned())));
        let bytes = input(&json!({"message": {"binary": {"base64": "/wA="}}}));
        assert_eq!(bytes, Input::Message(Frame::Binary(vec![0xff, 0])));
        assert_eq!(input(&json!({"message": {"binary": [255, 0]}})), bytes);
        let data = input(&json!({"data": {"from": 3, "label": "chat", "payload": "hi"}}));
        let expected = Input::Data {
            from: ParticipantId(3),
            label: "chat".to_owned(),
            payload: b"hi".to_vec(),
        };
        assert_eq!(data, expected);
    }

    #[test]
    fn commands_are_shown() {
        let command = Command {
            reference: 1,
            action: Action::Close(4_001, "no".to_owned()),
        };
        let expected = json!({"reference": 1, "action": {"close": [4001, "no"]}});
        assert_eq!(serde_json::to_value(command).expect("JSON"), expected);
    }

    #[test]
    fn an_attempt_may_leave_out_what_does_not_matter() {
        let attempt: Attempt =
            serde_json::from_value(json!({"scheme": "token", "credentials": "abc"})).expect("one");
        assert_eq!(attempt.credentials, b"abc");
        assert_eq!(attempt.room, None);
    }
}
