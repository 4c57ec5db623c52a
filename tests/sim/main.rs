//! The core in virtual time: many in-memory clients, no socket, no clock.

mod chaos;
mod data;
mod faults;
mod films;
mod grants;
mod ice;
mod isolation;
mod negotiation;
mod networks;
mod nonces;
#[path = "../../router/recorder/tests/media/payloads.rs"]
mod payloads;
mod recording;
mod rooms;
mod scalable;
mod simulcast;

/// Seeds of `$RILLWAY_SEEDS`, for runs as long as one likes: one, or from one to another.
fn chosen_seeds() -> std::ops::RangeInclusive<u64> {
    let text = std::env::var("RILLWAY_SEEDS").unwrap_or_else(|_| "1000-1009".to_owned());
    let number = |text: &str| text.parse().expect("RILLWAY_SEEDS is N or FROM-TO");
    match text.split_once('-') {
        Some((from, to)) => number(from)..=number(to),
        None => number(&text)..=number(&text),
    }
}
