//! Who may join: rooms that the configuration lists, for guests.
//!
//! `rillway.toml` beside this folder's manifest loads it.

use rillway_plugin_sdk as sdk;
use sdk::authentication::Attempt;
use sdk::types::{Denial, Grant, Source};

/// `plugins.NAME.config`.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    /// Rooms that exist.
    rooms: Vec<String>,
}

/// The policy: one value serves many clients, and may be replaced between two calls.
#[derive(Debug)]
pub struct Policy {
    config: Config,
}

impl sdk::Plugin for Policy {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        if config.rooms.is_empty() {
            return Err("config: `rooms` is empty, so nobody could join".to_owned());
        }
        Ok(Policy { config })
    }
}

impl sdk::Authentication for Policy {
    fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial> {
        let Some(room) = attempt.room.filter(|room| self.config.rooms.contains(room)) else {
            return Err(Denial::Forbidden("there is no such room".to_owned()));
        };
        Ok(Grant {
            room,
            identity: attempt.guest_identity,
            name: attempt.name,
            publish: vec![Source::Camera, Source::Microphone],
            subscribe: true,
            publish_data: true,
            record_control: false,
            max_publish_bps: Some(4_000_000),
            expires_at_ms: None,
            attributes: Vec::new(),
        })
    }
}

sdk::export!(Policy: authentication);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::Authentication as _;

    fn ask(room: &str) -> Result<Grant, Denial> {
        sdk::testing::install(sdk::testing::Host {
            config: r#"{"rooms": ["lobby"]}"#.to_owned(),
            ..sdk::testing::Host::default()
        });
        let mut policy: Policy = sdk::testing::start().expect("it starts");
        policy.authenticate(Attempt {
            room: Some(room.to_owned()),
            guest_identity: "guest-1".to_owned(),
            ..Attempt::default()
        })
    }

    #[test]
    fn listed_rooms_are_open() {
        assert_eq!(ask("lobby").map(|grant| grant.room), Ok("lobby".to_owned()));
        assert!(matches!(ask("attic"), Err(Denial::Forbidden(_))));
    }
}
