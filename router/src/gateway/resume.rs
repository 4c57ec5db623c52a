//! A client whose WebSocket broke, or may have, goes on with another one, and its session does not notice.
//!
//! The client makes up a key and offers it as a second subprotocol: `rillway.session.KEY.RECEIVED`, where RECEIVED
//! counts the messages it has had of the session. The task that moves the session's frames ([`super::socket`]) lives as
//! long as the session; a WebSocket that comes with a known key is handed to it, tells how many messages of the client
//! have arrived, and begins with those that the client has not had. Whoever knows the key is the client, so it
//! travels in a header that proxies do not log, unlike a query.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::{Message, WebSocket};
use axum::http::HeaderValue;
use tokio::sync::mpsc;

use crate::telemetry::metrics::Resumed;

use super::Gateway;

/// Begins the subprotocol.
const PREFIX: &str = "rillway.session.";
/// What a subprotocol that was refused should have been.
pub(super) const FORM: &str = "a session's subprotocol is rillway.session.KEY.RECEIVED: 22 to 64 letters, digits, - and _, \
     and a count\n";
/// Characters of a key: 128 bits in base64url at least.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 22..=64;
/// Bytes of messages kept until the client has certainly had them, which a pong tells.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// The same in messages.
const KEPT_MESSAGES_MAX: usize = 1_024;
/// WebSockets that wait to be taken over by one session.
const SUCCESSORS_MAX: usize = 4;

/// What a client offers that wants to go on, or to be able to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    key: String,
    /// Messages of the session that it has had.
    received: u64,
}

/// A subprotocol that begins as one of sessions and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the offered subprotocols say of it.
pub(super) fn wish<'a>(
    mut offered: impl Iterator<Item = &'a HeaderValue>,
) -> Result<Option<Wish>, Malformed> {
    let Some(text) = offered.find_map(|offer| offer.to_str().ok()?.strip_prefix(PREFIX)) else {
        return Ok(None);
    };
    let (key, received) = text.split_once('.').ok_or(Malformed)?;
    let safe = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if !KEY_LENGTH.contains(&key.len()) || !key.bytes().all(safe) {
        return Err(Malformed);
    }
    // A plus sign would do for `parse`.
    if !received.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok(Some(Wish {
        key: key.to_owned(),
        received: received.parse().map_err(|_| Malformed)?,
    }))
}

/// A WebSocket for a session that goes on.
pub(super) struct Successor {
    pub(super) socket: WebSocket,
    received: u64,
}

type Place = (usize, String);
type Table = HashMap<Place, mpsc::Sender<Successor>>;

/// The sessions that can go on, by route and key.
#[derive(Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<Table>>);

impl Sessions {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing can be left half-done in it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the session is there.
    pub(super) fn knows(&self, route: usize, wish: &Wish) -> bool {
        self.table().contains_key(&(route, wish.key.clone()))
    }

    /// Hands a WebSocket to its session; returns it if there is none.
    pub(super) async fn hand(
        &self,
        route: usize,
        wish: &Wish,
        socket: WebSocket,
    ) -> Result<(), WebSocket> {
        let session = self.table().get(&(route, wish.key.clone())).cloned();
        let received = wish.received;
        match session {
            None => Err(socket),
            Some(session) => session
                .send(Successor { socket, received })
                .await
                .map_err(|refused| refused.0.socket),
        }
    }

    /// Makes a session known by its key, until what is returned is dropped. One of another session is kept: then this
    /// one cannot go on.
    pub(super) fn register(&self, route: usize, wish: Wish) -> Option<Resumption> {
        let (sender, successors) = mpsc::channel(SUCCESSORS_MAX);
        let place = (route, wish.key);
        let mut table = self.table();
        if table.contains_key(&place) {
            return None;
        }
        table.insert(place.clone(), sender);
        drop(table);
        let registered = Registered {
            sessions: self.clone(),
            place,
        };
        Some(Resumption {
            _registered: registered,
            successors,
            progress: Progress::default(),
            kept: Kept::default(),
        })
    }
}

struct Registered {
    sessions: Sessions,
    place: Place,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.table().remove(&self.place);
    }
}

/// What a session needs to go on with another WebSocket.
pub(super) struct Resumption {
    _registered: Registered,
    pub(super) successors: mpsc::Receiver<Successor>,
    pub(super) progress: Progress,
    pub(super) kept: Kept,
}

impl Resumption {
    /// What a successor is sent first: how far the client's messages have come, and those it has not had. `None`: some
    /// of them are gone, or it says it had more than there were.
    pub(super) fn greeting(&self, successor: &Successor) -> Option<Vec<Message>> {
        let missing = self.kept.since(successor.received)?;
        let mut greeting = vec![greeting(
            true,
            self.progress.received.load(Ordering::Relaxed),
        )];
        greeting.extend(missing);
        Some(greeting)
    }
}

impl Gateway {
    /// A new session of a client that offered a key: what it is told, and how it goes on if that is possible.
    pub(super) fn begin(&self, route: usize, wish: Wish) -> (Option<Message>, Option<Resumption>) {
        if wish.received > 0 {
            self.recorder.resumed(Resumed::Unknown);
        }
        let resumption = match self.settings().resume.is_zero() {
            true => None,
            false => self.sessions.register(route, wish),
        };
        (Some(greeting(false, 0)), resumption)
    }
}

/// The first message of a WebSocket whose client offered a key.
fn greeting(resumed: bool, received: u64) -> Message {
    let text = serde_json::json!({"type": "session", "resumed": resumed, "received": received});
    Message::Text(text.to_string().into())
}

/// How far both directions have come, counted by who reads.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Messages of the client that the session was given.
    pub(super) received: AtomicU64,
    /// Messages to the client that it has had, as its last pong tells.
    acknowledged: AtomicU64,
}

impl Progress {
    /// Takes a pong. What a client makes up is only to its own harm.
    pub(super) fn pong(&self, payload: &[u8]) {
        if let Ok(count) = payload.try_into().map(u64::from_be_bytes) {
            self.acknowledged.fetch_max(count, Ordering::Relaxed);
        }
    }
}

/// Messages to the client that it may not have had.
#[derive(Debug, Default)]
pub(super) struct Kept {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Messages before the first of these.
    before: u64,
}

impl Kept {
    /// Messages sent, or tried, so far: what a ping carries, since a pong comes behind all that came before its ping.
    pub(super) fn sent(&self) -> u64 {
        self.before + self.messages.len() as u64
    }

    /// Keeps one that is about to be sent, and forgets what the client has had.
    pub(super) fn keep(&mut self, message: &Message, progress: &Progress) {
        self.bytes += bytes(message);
        self.messages.push_back(message.clone());
        let acknowledged = progress.acknowledged.load(Ordering::Relaxed);
        while self.before < acknowledged
            || self.bytes > KEPT_BYTES_MAX
            || self.messages.len() > KEPT_MESSAGES_MAX
        {
            let Some(first) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= bytes(&first);
            self.before += 1;
        }
    }

    /// Those after so many; `None`: they are not all here, or there never were so many.
    fn since(&self, received: u64) -> Option<impl Iterator<Item = Message> + '_> {
        let had = usize::try_from(received.checked_sub(self.before)?).ok()?;
        (had <= self.messages.len()).then(|| self.messages.iter().skip(had).cloned())
    }
}

fn bytes(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish_of(text: &str) -> Result<Option<Wish>, Malformed> {
        let offered = [
            HeaderValue::from_static("chat"),
            HeaderValue::from_str(text).unwrap(),
        ];
        wish(offered.iter())
    }

    fn text(number: u64) -> Message {
        Message::Text(number.to_string().into())
    }

    #[test]
    fn keys_are_long_and_plain() {
        let key = "a-Z_0123456789abcdefgh";
        let good = wish_of(&format!("rillway.session.{key}.17"));
        let wanted = Wish {
            key: key.to_owned(),
            received: 17,
        };
        assert_eq!(good, Ok(Some(wanted)));
        assert_eq!(wish_of("rillway.rooms.v1"), Ok(None));
        for bad in [
            "rillway.session.".to_owned(),
            "rillway.session.short.0".to_owned(),
            format!("rillway.session.{key}"),
            format!("rillway.session.{key}."),
            format!("rillway.session.{key}.+1"),
            format!("rillway.session.{key}.1.2"),
            format!("rillway.session.{key}.99999999999999999999"),
            format!("rillway.session.{key}~.1"),
            format!("rillway.session.{}.1", "k".repeat(65)),
        ] {
            assert_eq!(wish_of(&bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn what_was_not_had_is_sent_again_and_what_was_is_forgotten() {
        let (mut kept, progress) = (Kept::default(), Progress::default());
        for number in 0..10 {
            kept.keep(&text(number), &progress);
        }
        let since = |kept: &Kept, had| kept.since(had).map(Iterator::collect::<Vec<_>>);
        assert_eq!(since(&kept, 8), Some(vec![text(8), text(9)]));
        assert_eq!(since(&kept, 10), Some(vec![]));
        assert_eq!(since(&kept, 11), None, "there never were so many");

        progress.pong(&5_u64.to_be_bytes());
        progress.pong(b"its own");
        kept.keep(&text(10), &progress);
        assert_eq!((kept.sent(), kept.messages.len()), (11, 6));
        assert_eq!(since(&kept, 4), None, "gone");
        assert_eq!(since(&kept, 5).map(|all| all.len()), Some(6));
        // More than were sent forgets all, and breaks nothing.
        progress.pong(&u64::MAX.to_be_bytes());
        kept.keep(&text(11), &progress);
        assert_eq!((kept.sent(), kept.messages.len(), kept.bytes), (12, 0, 0));
    }

    #[test]
    fn a_client_that_answers_no_ping_costs_a_bounded_amount() {
        let (mut kept, progress) = (Kept::default(), Progress::default());
        let long = Message::Text("x".repeat(10_000).into());
        for _ in 0..100 {
            kept.keep(&long, &progress);
            assert!(kept.bytes <= KEPT_BYTES_MAX);
        }
        for _ in 0..10_000 {
            kept.keep(&text(1), &progress);
            assert!(kept.messages.len() <= KEPT_MESSAGES_MAX);
        }
        assert_eq!(kept.sent(), 10_100);
    }
}
