//! How clients join: one task for each, which speaks to the server and to the thread that has its media.

pub(crate) mod http;
pub(crate) mod rooms;
pub(crate) mod whip;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::peer::PeerError;
use crate::plan::{Member, Plan};
use crate::server::{ConnectError, Connector};
use crate::thread::{PeerKey, Running};

/// In which a client must have joined.
pub(crate) const JOIN_TIME: Duration = Duration::from_secs(20);

/// Why a client did not join, or was not left in peace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is no connection to the server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It wants a token.
    #[error(
        "the server wants to know who joins ({0}): give a token by --token; `rillway token` makes those of auth-jwt"
    )]
    Unauthenticated(String),
    /// The token is not for this.
    #[error(
        "the server does not allow it ({0}): is the token for this room (--room), and for what is sent?"
    )]
    Forbidden(String),
    /// It speaks something else.
    #[error("{0} is not here ({1}): is it another server, or another --protocol?")]
    NotHere(String, String),
    /// Too fast, or too many.
    #[error(
        "the server takes no more now ({0}): slow down by --joins-per-second, or raise its limits"
    )]
    Full(String),
    /// It said something else.
    #[error("the server refused: {0}")]
    Refused(String),
    /// It broke the protocol.
    #[error("not understood: {0}")]
    Protocol(String),
    /// Media did not connect, or broke.
    #[error("{0}")]
    Media(String),
    /// It did not come about in time.
    #[error("not joined within {limit} s: {0}", limit = JOIN_TIME.as_secs())]
    Late(&'static str),
    /// The server ended it.
    #[error("the server ended the connection: {0}")]
    Ended(String),
}

impl From<PeerError> for JoinError {
    fn from(error: PeerError) -> Self {
        JoinError::Media(error.to_string())
    }
}

impl JoinError {
    /// By the status of an HTTP answer.
    pub(crate) fn of_status(what: &str, status: u16, detail: &str) -> Self {
        let said = match detail {
            "" => status.to_string(),
            detail => format!("{status}: {detail}"),
        };
        match status {
            401 => JoinError::Unauthenticated(said),
            403 => JoinError::Forbidden(said),
            404 | 405 => JoinError::NotHere(what.to_owned(), said),
            429 | 503 => JoinError::Full(said),
            _ => JoinError::Refused(said),
        }
    }
}

/// A client that has joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined {
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    /// There was something to see when it came.
    pub(crate) sees: bool,
}

/// What became of clients so far.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) joined: BTreeMap<u32, Joined>,
    /// In the order in which they failed: before they had joined, or after.
    pub(crate) failed: Vec<(u32, JoinError)>,
    pub(crate) last_join: Option<Instant>,
    /// Subscriptions that the server lets a participant have.
    pub(crate) subscriptions_max: Option<u64>,
}

impl Board {
    /// Clients that have joined or never will.
    pub(crate) fn settled(&self) -> usize {
        let never = self
            .failed
            .iter()
            .filter(|(client, _)| !self.joined.contains_key(client));
        self.joined.len() + never.count()
    }
}

/// What a client's task has.
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) member: Member,
    pub(crate) plan: Rc<Plan>,
    pub(crate) connector: Rc<Connector>,
    pub(crate) thread: Rc<Running>,
    pub(crate) board: Rc<RefCell<Board>>,
    /// True at the end.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) begun: Instant,
}

impl Client {
    /// Joins, stays until the end, and leaves.
    pub(crate) async fn run(mut self) {
        let number = self.number;
        let board = self.board.clone();
        let done = match self.plan.protocol {
            crate::plan::Protocol::Rooms => rooms::run(&mut self).await,
            crate::plan::Protocol::Whip => whip::run(&mut self).await,
        };
        if let Err(error) = done {
            board.borrow_mut().failed.push((number, error));
        }
    }

    pub(crate) fn key(&self, publishes: bool) -> PeerKey {
        PeerKey {
            client: self.number,
            publishes,
        }
    }

    pub(crate) fn room(&self) -> String {
        self.plan.room_name(self.member.room)
    }

    /// Has joined.
    pub(crate) fn joined(&self, sees: bool) {
        let now = Instant::now();
        let mut board = self.board.borrow_mut();
        board.last_join = Some(now);
        board.joined.insert(
            self.number,
            Joined {
                begun: self.begun,
                took: now.saturating_duration_since(self.begun),
                sees,
            },
        );
    }

    pub(crate) async fn stopped(&mut self) {
        // Gone is stopped too.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

/// What a thread answered.
pub(crate) async fn reply<T>(
    from: oneshot::Receiver<Result<T, PeerError>>,
) -> Result<T, JoinError> {
    match from.await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(JoinError::Media(
            "the thread for media has ended".to_owned(),
        )),
    }
}
