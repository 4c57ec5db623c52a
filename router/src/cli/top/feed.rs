//! The connection behind `rillway top`: a thread of its own, which comes back when the router does.

use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::model::{News, Wanted};
use crate::cli::operate::{self, Ask, OperateError};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{WatchRequest, WhyRequest};
use crate::management::{Answer, CallError, Client};

/// Time between two attempts to reach a router that is gone.
const AGAIN: Duration = Duration::from_secs(1);
/// Time between two questions for reasons.
const REASONS: Duration = Duration::from_secs(1);

/// Where news come from, and how the thread is told what is wanted.
pub(super) struct Feed {
    wanted: watch::Sender<Wanted>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`OperateError::Local`].
    pub(super) fn start(
        ask: Ask,
        interval_ms: u32,
        news: Sender<News>,
    ) -> Result<Feed, OperateError> {
        let (wanted, seen) = watch::channel(Wanted::default());
        let runtime = operate::runtime()?;
        let feeding = Feeding {
            ask,
            interval_ms,
            news,
            wanted: seen,
        };
        let thread = std::thread::Builder::new()
            .name("rillway-top".to_owned())
            .spawn(move || runtime.block_on(feeding.run()))
            .map_err(|error| OperateError::Local(error.to_string()))?;
        Ok(Feed {
            wanted,
            thread: Some(thread),
        })
    }

    /// Says what is wanted from now on.
    pub(super) fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|now| {
            let other = *now != wanted;
            *now = wanted;
            other
        });
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // The thread ends when nobody can want anything any more.
        let (nobody, _) = watch::channel(Wanted::default());
        drop(std::mem::replace(&mut self.wanted, nobody));
        if let Some(thread) = self.thread.take() {
            // Its panic was printed.
            let _ = thread.join();
        }
    }
}

struct Feeding {
    ask: Ask,
    interval_ms: u32,
    news: Sender<News>,
    wanted: watch::Receiver<Wanted>,
}

/// Why a connection is left.
enum Left {
    /// Nobody looks any more.
    Done,
    /// The router is gone.
    Gone(String),
    /// It will not do.
    Failed(OperateError),
}

impl Feeding {
    async fn run(mut self) {
        let mut reached = false;
        let mut nobody = self.wanted.clone();
        let ended = async move { while nobody.changed().await.is_ok() {} };
        tokio::pin!(ended);
        loop {
            let left = tokio::select! {
                left = self.connection(&mut reached) => left,
                () = &mut ended => return,
                () = terminated() => {
                    let _ = self.news.send(News::End);
                    return;
                }
            };
            let told = match left {
                Left::Done => return,
                Left::Gone(why) => self.news.send(News::Gone(why)),
                Left::Failed(error) => {
                    let _ = self.news.send(News::Failed(error));
                    return;
                }
            };
            if told.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = &mut ended => return,
            }
        }
    }

    /// One connection, as long as it lives. A router that was never reached is an error; one that was is waited for.
    async fn connection(&mut self, reached: &mut bool) -> Left {
        match self.serve(reached).await {
            Ok(()) => Left::Done,
            Err(error @ OperateError::Call(CallError::Said(_))) => Left::Failed(error),
            Err(error) if *reached => Left::Gone(error.to_string()),
            Err(error) => Left::Failed(error),
        }
    }

    async fn serve(&mut self, reached: &mut bool) -> Result<(), OperateError> {
        // A `dev` that was started again has another port and other certificates.
        let target = self.ask.target()?;
        let client = Client::connect(&target).await?;
        let mut greeting = Some(target.address.to_string());
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let request = WatchRequest {
                interval_ms: self.interval_ms,
                room: wanted.room.clone(),
            };
            let answer = client.call(Verb::Watch(request)).await?;
            let greet = (&mut greeting, &mut *reached);
            if !self.follow(&client, answer, wanted, greet).await? {
                client.close().await;
                return Ok(());
            }
        }
    }

    /// Passes on what comes, until another room is wanted (true) or nothing any more (false).
    async fn follow(
        &mut self,
        client: &Client,
        answer: Answer,
        mut wanted: Wanted,
        (greeting, reached): (&mut Option<String>, &mut bool),
    ) -> Result<bool, OperateError> {
        // Its parts survive a wait that is given up for something else; those of `next` would not.
        let parts = stream::unfold(answer, async |mut answer| {
            Some((answer.next().await, answer))
        });
        tokio::pin!(parts);
        loop {
            let why = reasons(client, wanted.why.clone(), &self.news);
            tokio::pin!(why);
            wanted = loop {
                tokio::select! {
                    part = parts.next() => {
                        let part = part.transpose()?.flatten();
                        if let Some(address) = greeting.take() {
                            *reached = true;
                            let _ = self.news.send(News::Connected(address));
                        }
                        if !tell(&self.news, part)? {
                            return Ok(false);
                        }
                    }
                    failed = &mut why => return Err(failed),
                    changed = self.wanted.changed() => {
                        let now = self.wanted.borrow_and_update().clone();
                        if changed.is_err() || now.room != wanted.room {
                            return Ok(changed.is_ok());
                        }
                        break now;
                    }
                }
            };
        }
    }
}

/// Passes on a part. Returns false where nobody wants it.
fn tell(news: &Sender<News>, part: Option<Part>) -> Result<bool, OperateError> {
    let told = match part {
        Some(Part::Sample(sample)) => news.send(News::Sample(Box::new(sample))),
        Some(Part::Lost(lost)) => news.send(News::Lost(lost.count)),
        Some(_) => Ok(()),
        None => {
            return Err(OperateError::Local(
                "the router ended its answer".to_owned(),
            ));
        }
    };
    Ok(told.is_ok())
}

/// Asks for reasons again and again. Returns when the connection is gone.
async fn reasons(client: &Client, why: Option<WhyRequest>, news: &Sender<News>) -> OperateError {
    let Some(why) = why else {
        return std::future::pending().await;
    };
    loop {
        let told = match once(client, why.clone()).await {
            Ok(reasons) => Ok(reasons),
            Err(CallError::Said(said)) => Err(said.message),
            Err(error) => return error.into(),
        };
        // Nobody looks any more, which the other side of the select finds out.
        let _ = news.send(News::Reasons(told));
        tokio::time::sleep(REASONS).await;
    }
}

async fn once(
    client: &Client,
    why: WhyRequest,
) -> Result<Vec<crate::management::wire::Reason>, CallError> {
    let mut answer = client.call(Verb::Why(why)).await?;
    let mut reasons = Vec::new();
    while let Some(part) = answer.next().await? {
        if let Part::Reasons(found) = part {
            reasons.extend(found.reasons);
        }
    }
    Ok(reasons)
}

/// A signal that ends the process: the terminal has to be given back before.
async fn terminated() {
    let (Ok(mut term), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
