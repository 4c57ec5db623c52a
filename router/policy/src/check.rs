//! Bounds on what a component returns, for whatever the router cannot answer one by one. Grants, states and
//! the rest of each value are the router's to judge: it answers a command with `failed`.

use rillway_plugin_sdk::layers::Choice;
use rillway_plugin_sdk::recording::Order;
use rillway_plugin_sdk::signaling::{Action, Command, HttpResponse};
use rillway_plugin_sdk::types::{Attributes, Denial, Extension, Grant};

use crate::error::Excess;

/// Commands of one call (part of the ABI).
pub(crate) const COMMANDS_MAX: usize = 4_096;
/// Orders of one call (part of the ABI).
pub(crate) const ORDERS_MAX: usize = 1_024;
/// Longest room, identity and display name, bytes (part of the ABI).
const NAME_BYTES_MAX: usize = 128;
/// Longest text for people, bytes: it reaches clients in an answer, or the reason of a close frame.
const TEXT_BYTES_MAX: usize = 1_024;
/// Longest reason of a choice, bytes (part of the ABI).
const REASON_BYTES_MAX: usize = 128;
/// Headers of a response (part of the ABI).
const HEADERS_MAX: usize = 64;
/// Body of a response, bytes (part of the ABI).
const BODY_BYTES_MAX: usize = 1 << 20;
/// Attributes, their names and values (part of the ABI).
const ATTRIBUTES_MAX: usize = 32;
const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
const ATTRIBUTE_VALUE_BYTES_MAX: usize = 1_024;
/// Extensions (part of the ABI).
const EXTENSION_NAME_BYTES_MAX: usize = 64;
const EXTENSION_JSON_BYTES_MAX: usize = 16 << 10;

fn need(holds: bool, what: &'static str) -> Result<(), Excess> {
    if holds {
        Ok(())
    } else {
        Err(Excess::Value(what))
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

fn attributes(attributes: &Attributes) -> Result<(), Excess> {
    let fits = |(name, value): &(String, String)| {
        name.len() <= ATTRIBUTE_NAME_BYTES_MAX && value.len() <= ATTRIBUTE_VALUE_BYTES_MAX
    };
    need(
        attributes.len() <= ATTRIBUTES_MAX && attributes.iter().all(fits),
        "attributes: at most 32, of 64 and 1,024 bytes",
    )
}

pub(crate) fn decision(decision: &Result<Grant, Denial>) -> Result<(), Excess> {
    match decision {
        Ok(grant) => {
            need(is_name(&grant.room), "grant.room: 1 to 128 bytes")?;
            need(is_name(&grant.identity), "grant.identity: 1 to 128 bytes")?;
            need(
                grant
                    .name
                    .as_deref()
                    .is_none_or(|n| n.len() <= NAME_BYTES_MAX),
                "grant.name: at most 128 bytes",
            )?;
            // Five sources exist.
            need(
                grant.publish.len() <= 5,
                "grant.publish: a source at most once",
            )?;
            attributes(&grant.attributes)
        }
        Err(
            Denial::Unauthenticated(text)
            | Denial::Forbidden(text)
            | Denial::OverQuota(text)
            | Denial::Unavailable(text),
        ) => need(
            text.len() <= TEXT_BYTES_MAX,
            "a denial's text: at most 1,024 bytes",
        ),
    }
}

pub(crate) fn commands(commands: &[Command], max: usize) -> Result<(), Excess> {
    if commands.len() > max {
        return Err(Excess::Commands);
    }
    commands
        .iter()
        .try_for_each(|command| match &command.action {
            Action::Respond(answer) => response(answer),
            Action::Close(_, reason) => need(
                reason.len() <= TEXT_BYTES_MAX,
                "close: a reason of at most 1,024 bytes",
            ),
            Action::Extension(wish) => extension(wish),
            _ => Ok(()),
        })
}

fn response(response: &HttpResponse) -> Result<(), Excess> {
    need(
        (200..=599).contains(&response.status),
        "respond: a status from 200 to 599",
    )?;
    need(
        response.headers.len() <= HEADERS_MAX,
        "respond: at most 64 headers",
    )?;
    need(
        response.body.len() <= BODY_BYTES_MAX,
        "respond: a body of at most 1 MiB",
    )
}

fn extension(extension: &Extension) -> Result<(), Excess> {
    need(
        extension.name.len() <= EXTENSION_NAME_BYTES_MAX
            && extension.json.len() <= EXTENSION_JSON_BYTES_MAX,
        "extension: a name of at most 64 bytes and 16 KiB of JSON",
    )
}

pub(crate) fn choices(choices: &[Choice], max: usize) -> Result<(), Excess> {
    if choices.len() > max {
        return Err(Excess::Choices);
    }
    need(
        choices.iter().all(|c| c.reason.len() <= REASON_BYTES_MAX),
        "choice.reason: at most 128 bytes",
    )
}

pub(crate) fn orders(orders: &[Order], max: usize) -> Result<(), Excess> {
    if orders.len() > max {
        return Err(Excess::Orders);
    }
    orders.iter().try_for_each(|order| match order {
        Order::Start(start) => {
            need(
                start.name.len() <= NAME_BYTES_MAX,
                "start.name: at most 128 bytes",
            )?;
            attributes(&start.attributes)
        }
        Order::Stop(_) | Order::TickEveryMs(_) => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use rillway_plugin_sdk::recording::{Container, Start};
    use rillway_plugin_sdk::types::{ParticipantId, Source, TrackId};

    use super::*;

    fn grant() -> Grant {
        Grant {
            room: "r".repeat(128),
            identity: "i".repeat(128),
            name: Some("n".repeat(128)),
            publish: vec![Source::Camera; 5],
            subscribe: true,
            publish_data: true,
            record_control: false,
            max_publish_bps: None,
            expires_at_ms: None,
            attributes: vec![("k".repeat(64), "v".repeat(1_024)); 32],
        }
    }

    #[test]
    fn a_grant_fits_or_not() {
        assert_eq!(decision(&Ok(grant())), Ok(()));
        let breaks: [fn(&mut Grant); 7] = [
            |g| g.room.clear(),
            |g| g.room.push('r'),
            |g| g.identity.push('i'),
            |g| g.name = Some("n".repeat(129)),
            |g| g.publish.push(Source::Screen),
            |g| g.attributes.push(("k".to_owned(), String::new())),
            |g| g.attributes[0].1.push('v'),
        ];
        for (case, change) in breaks.into_iter().enumerate() {
            let mut grant = grant();
            change(&mut grant);
            assert!(decision(&Ok(grant)).is_err(), "case {case}");
        }
        let denial = |bytes| Err(Denial::Forbidden("x".repeat(bytes)));
        assert_eq!(decision(&denial(1_024)), Ok(()));
        assert!(decision(&denial(1_025)).is_err());
    }

    #[test]
    fn commands_fit_or_not() {
        let one = |action| {
            let command = Command {
                reference: 1,
                action,
            };
            commands(&[command], COMMANDS_MAX)
        };
        let respond = |status, headers, body| {
            one(Action::Respond(HttpResponse {
                id: 1,
                status,
                headers: vec![(String::new(), String::new()); headers],
                body: vec![0; body],
            }))
        };
        let extend = |name: usize, json: usize| {
            one(Action::Extension(Extension {
                name: "n".repeat(name),
                json: "j".repeat(json),
            }))
        };
        let close = |bytes| one(Action::Close(1_000, "x".repeat(bytes)));
        for good in [
            respond(200, 64, 1 << 20),
            respond(599, 0, 0),
            extend(64, 16 << 10),
            close(1_024),
            one(Action::Join),
        ] {
            assert_eq!(good, Ok(()));
        }
        for bad in [
            respond(199, 0, 0),
            respond(600, 0, 0),
            respond(200, 65, 0),
            respond(200, 0, (1 << 20) + 1),
            extend(65, 0),
            extend(1, (16 << 10) + 1),
            close(1_025),
        ] {
            assert!(bad.is_err());
        }
        let join = Command {
            reference: 0,
            action: Action::Join,
        };
        let many = vec![join; COMMANDS_MAX + 1];
        assert_eq!(commands(&many, COMMANDS_MAX), Err(Excess::Commands));
    }

    #[test]
    fn choices_and_orders_fit_or_not() {
        let choice = |reason: usize| Choice {
            subscriber: ParticipantId(1),
            track: TrackId(1),
            spatial: 0,
            temporal: 0,
            paused: false,
            reason: "r".repeat(reason),
        };
        assert_eq!(choices(&[choice(128)], 1), Ok(()));
        assert_eq!(choices(&[choice(0), choice(0)], 1), Err(Excess::Choices));
        assert!(choices(&[choice(129)], 1).is_err());
        let start = |name: usize| {
            Order::Start(Start {
                track: TrackId(1),
                container: Container::Mp4,
                name: "n".repeat(name),
                max_segment_s: 0,
                attributes: Vec::new(),
            })
        };
        assert_eq!(orders(&[start(128)], ORDERS_MAX), Ok(()));
        assert!(orders(&[start(129)], ORDERS_MAX).is_err());
        let many = vec![Order::Stop(TrackId(1)); ORDERS_MAX + 1];
        assert_eq!(orders(&many, ORDERS_MAX), Err(Excess::Orders));
    }
}
