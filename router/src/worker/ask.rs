//! What the management channel asks of a worker.
//!
//! It comes by the same bounded queue as clients' requests. An order is carried out with those; a question
//! waits for the end of the turn, after everything has left that the turn had to send, and one is answered
//! in each turn. Both cost a bounded part of a turn (`rillway_core::inspect`): media does not notice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rillway_core::Shard;
use rillway_core::api::RequestError;
use rillway_core::inspect::{Order, Outcome, Page, Query};
use tokio::sync::oneshot;

/// A page of a table. It is answered once; a worker that ends drops it, which its asker sees.
#[derive(Debug)]
pub(crate) struct Question {
    /// Which table.
    pub(crate) query: Arc<Query>,
    /// Where the page begins.
    pub(crate) from: u32,
    /// Where it goes.
    pub(crate) answer: oneshot::Sender<Page>,
}

/// An operator's order, answered like a question.
#[derive(Debug)]
pub(crate) struct Command {
    /// Which.
    pub(crate) order: Order,
    /// Where its outcome goes.
    pub(crate) answer: oneshot::Sender<Result<Outcome, RequestError>>,
}

impl Command {
    /// Carries it out. An asker that waits no longer is no fault.
    pub(super) fn carry_out(self, shard: &mut Shard, now: Instant) {
        let _ = self.answer.send(shard.administer(now, &self.order));
    }
}

/// Questions that wait for the end of a turn. The management channel keeps one at a time for each worker.
#[derive(Debug, Default)]
pub(super) struct Asked {
    questions: VecDeque<Question>,
}

impl Asked {
    /// A question has come.
    pub(super) fn put(&mut self, question: Question) {
        self.questions.push_back(question);
    }

    /// Whether any waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Answers the next one.
    pub(super) fn answer(&mut self, shard: &Shard, now: Instant) {
        let Some(question) = self.questions.pop_front() else {
            return;
        };
        // Whoever has gone must not cost a page.
        if !question.answer.is_closed() {
            let page = shard.inspect(now, &question.query, question.from);
            let _ = question.answer.send(page);
        }
    }
}
