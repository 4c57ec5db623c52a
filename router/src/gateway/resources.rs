//! Clients over HTTP, by the path that reaches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::session::Incoming;

use super::{Gateway, Open};

/// What stands between a route's path and a resource's name.
const FOLDER: &str = "/resources/";
/// Random bytes of a name: whoever guesses one could end its session (RFC 9725 §5).
const NAME_BYTES: usize = 16;

type Name = [u8; NAME_BYTES];

/// The clients over HTTP that there are now.
#[derive(Default)]
pub(super) struct Resources {
    senders: Mutex<HashMap<Name, mpsc::Sender<Incoming>>>,
}

impl Resources {
    /// The way to the client whose path this is.
    pub(super) fn find(&self, route: &str, path: &str) -> Option<mpsc::Sender<Incoming>> {
        let name = path.strip_prefix(route)?.strip_prefix(FOLDER)?;
        self.lock().get(&parse(name)?).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, mpsc::Sender<Incoming>>> {
        // Nothing can be left half-done in it.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name for a new client, and its path below a route.
///
/// # Errors
/// The system has no random numbers.
pub(super) fn name(route: &str) -> Result<(Name, String), getrandom::Error> {
    let mut name = [0; NAME_BYTES];
    getrandom::fill(&mut name)?;
    let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((name, format!("{route}{FOLDER}{digits}")))
}

fn parse(text: &str) -> Option<Name> {
    let digits = text.as_bytes();
    if digits.len() != 2 * NAME_BYTES {
        return None;
    }
    let mut name = [0; NAME_BYTES];
    for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        // One name has one path: neither a sign nor capitals.
        let plain = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        *byte = u8::from_str_radix(pair, 16)
            .ok()
            .filter(|_| pair.chars().all(plain))?;
    }
    Some(name)
}

/// Keeps a client's way open until its session has ended.
pub(super) fn keep(
    gateway: &Arc<Gateway>,
    name: Name,
    sender: mpsc::Sender<Incoming>,
    permit: OwnedSemaphorePermit,
) {
    gateway.resources.lock().insert(name, sender.clone());
    let open = Open::new(&gateway.recorder);
    let gateway = gateway.clone();
    tokio::spawn(async move {
        sender.closed().await;
        gateway.resources.lock().remove(&name);
        drop((open, permit));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_its_whole_path_only() {
        let resources = Resources::default();
        let (name, path) = name("/whip").unwrap();
        let (sender, _incoming) = mpsc::channel(1);
        resources.lock().insert(name, sender);
        assert!(
            path.starts_with("/whip/resources/") && path.len() == 48,
            "{path}"
        );
        assert!(resources.find("/whip", &path).is_some());
        let digits = path.rsplit('/').next().unwrap();
        for other in [
            format!("/whip/resources/{}", &digits[..31]),
            format!("/whip/resources/{digits}0"),
            format!("/whip/resources/{digits}/"),
            format!("/whip/{digits}"),
            format!("/whep/resources/{digits}"),
            "/whip/resources/".to_owned(),
            "/whip/resources/+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1".to_owned(),
            format!("/whip/resources/{}", "é".repeat(16)),
        ] {
            assert!(resources.find("/whip", &other).is_none(), "{other}");
        }
        let capitals = digits.to_uppercase();
        if capitals != digits {
            let path = format!("/whip/resources/{capitals}");
            assert!(resources.find("/whip", &path).is_none());
        }
    }

    #[test]
    fn names_differ() {
        let (a, b) = (name("/x").unwrap(), name("/x").unwrap());
        assert_ne!(a, b);
    }
}
