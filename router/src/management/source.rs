//! Where the answers come from: handles to the parts of the router, each of them bounded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_core::api::RequestError;
use rillway_core::id::{TrackId, WorkerId};
use rillway_core::inspect::{Items, Order, Outcome, Page, Query};
use rillway_policy::Plugin;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::events::Events;
use super::watch::Watch;
use crate::run::errands::Errand;
use crate::session::Phase;
use crate::telemetry::metrics::{ManagementRecorder, Registry};
use crate::worker::capture::{self, Capture, Tail};
use crate::worker::{Command, Question, ToWorker, Window, Worker};

/// Time a worker has to answer; a turn takes milliseconds.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Pause between two questions to one worker. With a few hundred microseconds for a page, all operators
/// together cost a worker less than a tenth of its time.
const QUESTION_INTERVAL: Duration = Duration::from_millis(5);

/// The parts of a router that verbs read and change.
pub(crate) struct Sources {
    /// When the process started.
    pub(crate) started: Instant,
    /// Address of HTTP and WebSocket.
    pub(crate) gateway: SocketAddr,
    /// Media workers.
    pub(crate) workers: Vec<WorkerSource>,
    /// Where it is in its life.
    pub(crate) phase: watch::Receiver<Phase>,
    /// The loaded policies, by name.
    pub(crate) plugins: BTreeMap<String, Plugin>,
    /// What happens.
    pub(crate) events: Events,
    /// What is counted of the channel itself.
    pub(crate) recorder: ManagementRecorder,
    /// All numbers.
    pub(crate) registry: Registry,
    /// How they are doing.
    pub(crate) watch: Watch,
    /// The way to the control thread.
    pub(crate) asked: Asked,
}

/// What operators may ask of the control thread.
pub(crate) struct Asked {
    /// About rooms.
    pub(crate) errands: mpsc::Sender<Errand>,
    /// About the process.
    pub(crate) orders: mpsc::Sender<crate::run::Order>,
    /// About its configuration.
    pub(crate) reloads: mpsc::Sender<crate::run::Reload>,
    /// What is in force of that.
    pub(crate) config: crate::run::Current,
}

/// No answer: the worker has ended, or is too busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// A media worker, as far as verbs look at it.
pub(crate) struct WorkerSource {
    /// Which.
    pub(crate) id: WorkerId,
    /// "ring", "mmsg" or "sim".
    pub(crate) driver: &'static str,
    /// Addresses its media comes to.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What it shows.
    pub(crate) window: Window,
    queue: mpsc::Sender<ToWorker>,
    /// When it may be asked next. Held while a question is open, so that there is never more than one.
    next: Mutex<Instant>,
}

impl From<&Worker> for WorkerSource {
    fn from(worker: &Worker) -> Self {
        WorkerSource {
            id: worker.id,
            driver: worker.chosen.kind.as_str(),
            addresses: worker.addresses.clone(),
            window: worker.window.clone(),
            queue: worker.requests.clone(),
            next: Mutex::new(Instant::now()),
        }
    }
}

impl WorkerSource {
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> ToWorker,
    ) -> Result<T, NoAnswer> {
        let mut next = self.next.lock().await;
        tokio::time::sleep_until((*next).into()).await;
        let (answer, answered) = oneshot::channel();
        // A full queue is for clients; operators come back.
        self.queue
            .try_send(question(answer))
            .map_err(|_| NoAnswer)?;
        let result = tokio::time::timeout(ANSWER_TIME, answered).await;
        *next = Instant::now() + QUESTION_INTERVAL;
        match result {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(NoAnswer),
        }
    }

    /// A page of a table.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn page(&self, query: &Arc<Query>, from: u32) -> Result<Page, NoAnswer> {
        let query = query.clone();
        self.ask(|answer| {
            ToWorker::Question(Question {
                query,
                from,
                answer,
            })
        })
        .await
    }

    /// Every item of a table, page by page.
    pub(crate) fn pages(&self, query: Query) -> Pages<'_> {
        Pages {
            worker: self,
            query: Arc::new(query),
            next: Some(0),
        }
    }

    /// Begins to capture a track: whether it is video, and where its packets come out.
    ///
    /// # Errors
    /// [`NoAnswer`]; inside, what the core said.
    pub(crate) async fn capture(
        &self,
        track: TrackId,
        packets: usize,
    ) -> Result<Result<(bool, Tail), RequestError>, NoAnswer> {
        let (sink, tail) = capture::queue(packets);
        let question = |answer| {
            ToWorker::Capture(Capture {
                track,
                sink,
                answer,
            })
        };
        let begun: Result<bool, _> = self.ask(question).await?;
        Ok(begun.map(|video| (video, tail)))
    }

    /// Gives an order.
    ///
    /// # Errors
    /// [`NoAnswer`]; inside, what the core said.
    pub(crate) async fn order(
        &self,
        order: Order,
    ) -> Result<Result<Outcome, RequestError>, NoAnswer> {
        self.ask(|answer| ToWorker::Command(Command { order, answer }))
            .await
    }
}

/// The pages of a table.
pub(crate) struct Pages<'a> {
    worker: &'a WorkerSource,
    query: Arc<Query>,
    next: Option<u32>,
}

impl Pages<'_> {
    /// The items of the next page; `None`: there are no more.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn next(&mut self) -> Result<Option<Items>, NoAnswer> {
        let Some(from) = self.next else {
            return Ok(None);
        };
        let page = self.worker.page(&self.query, from).await?;
        self.next = page.next;
        Ok(Some(page.items))
    }
}

impl Sources {
    /// Participants of all workers, at most a second ago.
    pub(crate) fn participants(&self) -> u64 {
        let seen = self.workers.iter().map(|worker| worker.window.look());
        let counts = seen.filter_map(|seen| Some(seen.stats?.shard.participants));
        counts.sum()
    }

    /// "serving", "draining" or "closing".
    pub(crate) fn phase(&self) -> &'static str {
        self.phase.borrow().as_str()
    }
}
