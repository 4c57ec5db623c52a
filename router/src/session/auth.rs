//! Who may join: the authentication policy and what the host demands of its decisions.

use futures_util::future::LocalBoxFuture;
use rillway_plugin_sdk::authentication::Attempt;
#[cfg(test)]
use rillway_plugin_sdk::types::Source;
use rillway_plugin_sdk::types::{Denial, Grant};

use crate::telemetry::traces::Span;

/// Longest room name, identity and display name, bytes.
pub(super) const NAME_BYTES_MAX: usize = 128;
/// Attributes of a grant at most; each is shown to everybody in the room.
const ATTRIBUTES_MAX: usize = 32;
/// Longest attribute key and value, bytes.
const ATTRIBUTE_KEY_BYTES_MAX: usize = 64;
const ATTRIBUTE_VALUE_BYTES_MAX: usize = 1_024;

/// Decides who a client is and what it may do.
pub(crate) trait Authenticator {
    /// The decision. The host checks it before it believes it. Who decided, and how, is said of the span.
    fn authenticate(
        &self,
        attempt: Attempt,
        span: Span,
    ) -> LocalBoxFuture<'static, Result<Grant, Denial>>;
}

/// 64 random bits: enough to tell guests apart, no secret.
pub(super) fn random_identity() -> Result<String, Denial> {
    getrandom::u64()
        .map(|bits| format!("guest-{bits:016x}"))
        .map_err(|error| Denial::Unavailable(format!("no random numbers: {error}")))
}

/// Checks a decision against what was asked and against the host's bounds.
///
/// # Errors
/// What is wrong with it, for logs.
pub(super) fn check_grant(
    grant: &Grant,
    room: Option<&str>,
    now_ms: u64,
) -> Result<(), &'static str> {
    let name_fits = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    let attribute_fits = |(key, value): &(String, String)| {
        key.len() <= ATTRIBUTE_KEY_BYTES_MAX && value.len() <= ATTRIBUTE_VALUE_BYTES_MAX
    };
    if room.is_some_and(|room| grant.room != room) {
        Err("the grant is for another room")
    } else if !name_fits(&grant.room) {
        Err("the grant's room is empty or too long")
    } else if !name_fits(&grant.identity) {
        Err("the grant's identity is empty or too long")
    } else if grant
        .name
        .as_deref()
        .is_some_and(|n| n.len() > NAME_BYTES_MAX)
    {
        Err("the grant's name is too long")
    } else if grant.attributes.len() > ATTRIBUTES_MAX
        || !grant.attributes.iter().all(attribute_fits)
    {
        Err("the grant has too many or too long attributes")
    } else if grant.expires_at_ms.is_some_and(|at| at <= now_ms) {
        Err("the grant has expired")
    } else {
        Ok(())
    }
}

/// Anybody may do everything.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open;

#[cfg(test)]
impl Authenticator for Open {
    fn authenticate(
        &self,
        attempt: Attempt,
        _: Span,
    ) -> LocalBoxFuture<'static, Result<Grant, Denial>> {
        let Some(room) = attempt.room else {
            let denial = Denial::Forbidden("name a room".to_owned());
            return Box::pin(std::future::ready(Err(denial)));
        };
        let result = Ok(Grant {
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
        });
        Box::pin(std::future::ready(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(room: &str) -> Grant {
        let attempt = Attempt {
            scheme: "none".into(),
            room: Some(room.into()),
            name: Some("Ada".into()),
            guest_identity: random_identity().unwrap(),
            ..Attempt::default()
        };
        Open.authenticate(attempt, Span::default()).await.unwrap()
    }

    #[tokio::test]
    async fn open_grants_the_wanted_room_to_distinct_guests() {
        let (a, b) = (open("r").await, open("r").await);
        assert_ne!(a.identity, b.identity);
        assert_eq!(a.name.as_deref(), Some("Ada"));
        assert_eq!(check_grant(&a, Some("r"), 0), Ok(()));
    }

    #[tokio::test]
    async fn a_decision_is_not_believed_blindly() {
        let good = open("r").await;
        let broken = |change: fn(&mut Grant)| {
            let mut grant = good.clone();
            change(&mut grant);
            check_grant(&grant, Some("r"), 1_000).is_err()
        };
        assert!(broken(|g| g.room = "other".into()));
        let nameless = Grant {
            room: String::new(),
            ..good.clone()
        };
        assert!(check_grant(&nameless, None, 1_000).is_err());
        assert!(broken(|g| g.identity.clear()));
        assert!(broken(|g| g.identity = "x".repeat(129)));
        assert!(broken(|g| g.name = Some("x".repeat(129))));
        assert!(broken(|g| g.expires_at_ms = Some(1_000)));
        assert!(broken(
            |g| g.attributes = vec![(String::new(), String::new()); 33]
        ));
        assert!(broken(
            |g| g.attributes = vec![("k".into(), "v".repeat(1_025))]
        ));
        assert!(!broken(|g| g.expires_at_ms = Some(1_001)));
    }
}
