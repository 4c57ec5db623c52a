//! Anybody may join any room and do everything in it: for development, and for networks that let nobody in
//! who may not. The router says so in its log when it serves with this policy.
//!
//! Everybody is a guest: what a client says about its name is believed, and its identity is a fresh one
//! that the router makes. Nothing is imported, and nothing can be configured.
#![forbid(unsafe_code)]

use rillway_plugin_sdk as sdk;
use sdk::authentication::Attempt;
use sdk::types::{Denial, Grant, Source};

/// The policy.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl sdk::Plugin for Open {
    type Config = ();

    fn start((): ()) -> Result<Self, String> {
        Ok(Open)
    }
}

impl sdk::Authentication for Open {
    fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial> {
        let Some(room) = attempt.room else {
            return Err(Denial::Forbidden("name a room".to_owned()));
        };
        Ok(Grant {
            room,
            identity: attempt.guest_identity,
            name: attempt.name,
            publish: vec![
                Source::Camera,
                Source::Microphone,
                Source::Screen,
                Source::ScreenAudio,
                Source::Other,
            ],
            subscribe: true,
            publish_data: true,
            record_control: true,
            max_publish_bps: None,
            expires_at_ms: None,
            attributes: Vec::new(),
        })
    }
}

sdk::export!(Open: authentication);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::Authentication as _;

    fn ask(room: Option<&str>) -> Result<Grant, Denial> {
        let mut open: Open = sdk::testing::start().expect("it starts");
        open.authenticate(Attempt {
            scheme: "none".to_owned(),
            room: room.map(str::to_owned),
            name: Some("Ada".to_owned()),
            guest_identity: "guest-0123456789abcdef".to_owned(),
            ..Attempt::default()
        })
    }

    #[test]
    fn the_wanted_room_is_granted_to_a_guest() {
        let grant = ask(Some("r")).expect("a grant");
        assert_eq!(grant.room, "r");
        assert_eq!(grant.identity, "guest-0123456789abcdef");
        assert_eq!(grant.name.as_deref(), Some("Ada"));
        assert_eq!(grant.publish.len(), 5);
        assert!(grant.subscribe && grant.publish_data && grant.record_control);
    }

    #[test]
    fn a_room_has_to_be_named() {
        assert_eq!(ask(None), Err(Denial::Forbidden("name a room".to_owned())));
    }
}
