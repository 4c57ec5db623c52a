//! A signaling protocol: what a client says and hears beside media. One value is one client, and everything it
//! needs to know of the others comes as inputs.
//!
//! ```text
//! client → router   {"hello": ROOM, "token": TOKEN}   {"publish": SDP}   {"answer": SDP, "id": N}
//! router → client   {"welcome": ID}   {"published": SDP}   {"offer": SDP, "id": N}   {"error": TEXT}
//! ```
//!
//! `rillway.toml` beside this folder's manifest loads it.

use rillway_plugin_sdk as sdk;
use sdk::signaling::{Action, Command, Frame, Input};
use sdk::types::Denial;
use serde_json::{Value, json};

/// The policy: one value for each client.
#[derive(Debug, Default)]
pub struct Policy {
    commands: Vec<Command>,
    reference: u64,
}

impl sdk::Plugin for Policy {
    type Config = ();

    fn start((): ()) -> Result<Self, String> {
        Ok(Policy::default())
    }
}

impl Policy {
    fn ask(&mut self, action: Action) {
        self.reference += 1;
        let reference = self.reference;
        self.commands.push(Command { reference, action });
    }

    fn say(&mut self, message: &Value) {
        self.ask(Action::Send(Frame::Text(message.to_string())));
    }

    fn stop(&mut self, reason: &str) {
        self.say(&json!({ "error": reason }));
        self.ask(Action::Close(4000, reason.to_owned()));
    }

    fn message(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return self.stop("this is not JSON");
        };
        if let Some(room) = message["hello"].as_str() {
            let token = message["token"].as_str();
            self.ask(Action::Authenticate {
                scheme: if token.is_some() { "token" } else { "none" }.to_owned(),
                credentials: token.unwrap_or_default().as_bytes().to_vec(),
                room: Some(room.to_owned()),
                name: None,
            });
        } else if let Some(sdp) = message["publish"].as_str() {
            self.ask(Action::AcceptOffer {
                sdp: sdp.to_owned(),
                sources: Vec::new(),
            });
        } else if let (Some(sdp), Some(offer_id)) =
            (message["answer"].as_str(), message["id"].as_u64())
        {
            self.ask(Action::AcceptAnswer {
                offer_id,
                sdp: sdp.to_owned(),
            });
        } else {
            self.say(&json!({ "error": "hello, publish or answer" }));
        }
    }
}

impl sdk::Signaling for Policy {
    fn handle(&mut self, input: Input) -> Vec<Command> {
        match input {
            Input::Message(Frame::Text(text)) => self.message(&text),
            Input::Granted(_) => self.ask(Action::Join),
            Input::Denied(
                Denial::Unauthenticated(why)
                | Denial::Forbidden(why)
                | Denial::OverQuota(why)
                | Denial::Unavailable(why),
            ) => self.stop(&why),
            Input::Joined { me, tracks, .. } => {
                self.say(&json!({ "welcome": me.id.0 }));
                for track in tracks {
                    self.ask(Action::Subscribe(track.id));
                }
            }
            Input::TrackPublished(track) => self.ask(Action::Subscribe(track.id)),
            Input::Answer { sdp, .. } => self.say(&json!({ "published": sdp })),
            Input::Offer { offer_id, sdp, .. } => {
                self.say(&json!({ "offer": sdp, "id": offer_id }));
            }
            Input::Failed { message, .. } => self.say(&json!({ "error": message })),
            Input::Removed(reason) => self.stop(&reason),
            _ => {}
        }
        std::mem::take(&mut self.commands)
    }
}

sdk::export!(Policy: signaling);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::Signaling as _;

    #[test]
    fn hello_is_a_question_to_the_authentication_policy() {
        let mut policy: Policy = sdk::testing::start().expect("it starts");
        let hello = Frame::Text(r#"{"hello": "lobby"}"#.to_owned());
        let commands = policy.handle(Input::Message(hello));
        assert!(matches!(
            &commands[..],
            [Command { action: Action::Authenticate { scheme, .. }, .. }] if scheme == "none"
        ));
    }
}
