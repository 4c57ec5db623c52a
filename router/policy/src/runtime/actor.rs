//! An instance as an actor: it lives on one policy thread, and its handle is a bounded mailbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::instance::{Instance, Interface, Pace};
use super::threads::{Seat, Task};
use crate::error::Fault;
use crate::version::Ticket;

/// Calls that may wait for one instance. A handle makes one at a time; more wait only where their makers
/// have given up.
const MAILBOX: usize = 4;

/// A call.
pub(crate) struct Job<I: Interface> {
    input: I::Input,
    reply: oneshot::Sender<Result<I::Output, Fault>>,
}

/// Where calls of an instance go. The instance ends when it is dropped.
pub(crate) struct Mailbox<I: Interface>(mpsc::Sender<Job<I>>);

impl<I: Interface> Mailbox<I> {
    /// Hands a call over and waits for its answer.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn call(&self, input: I::Input) -> Result<I::Output, Fault> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Job { input, reply }).await;
        sent.map_err(|_| Fault::Gone)?;
        answer.await.unwrap_or(Err(Fault::Gone))
    }

    /// Whether the instance has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_closed()
    }
}

/// Makes an instance on a thread.
///
/// # Errors
/// [`Fault`].
pub(crate) async fn open<I: Interface>(ticket: Ticket) -> Result<Mailbox<I>, Fault> {
    let seat = ticket.plugin.host.threads.seat().ok_or(Fault::Gone)?;
    let tasks = seat.tasks();
    let (jobs, mailbox) = mpsc::channel(MAILBOX);
    let (ready, started) = oneshot::channel();
    let task: Task = Box::new(move || Box::pin(live::<I>(ticket, seat, mailbox, ready)));
    tasks.send(task).await.map_err(|_| Fault::Gone)?;
    started.await.unwrap_or(Err(Fault::Gone))?;
    Ok(Mailbox(jobs))
}

/// The life of an instance.
async fn live<I: Interface>(
    mut ticket: Ticket,
    seat: Seat,
    mut mailbox: mpsc::Receiver<Job<I>>,
    ready: oneshot::Sender<Result<(), Fault>>,
) {
    let (plugin, version) = (Arc::clone(&ticket.plugin), Arc::clone(&ticket.version));
    let context = version.context(&plugin.commons, I::KIND, seat.thread);
    let limits = Arc::clone(version.limits(I::KIND));
    let pace = Pace::Ticks(plugin.host.tick.clone());
    let started = Instance::start(&version.linked, &plugin.host.engine, context, limits, pace);
    let instance = match started.await {
        Ok(instance) => instance,
        Err(fault) => {
            ticket.fault(&fault);
            // Whoever asked may have gone.
            let _ = ready.send(Err(fault));
            return;
        }
    };
    ticket.made();
    let mut actor = Actor {
        instance,
        ticket,
        memory_seen: 0,
        calls: 0,
    };
    actor.note_use();
    let _ = ready.send(Ok(()));
    while let Some(job) = mailbox.recv().await {
        let result = actor.call::<I>(job.input).await;
        let last = actor.is_spent::<I>(result.as_ref().err());
        if last {
            // Before the answer, so that whoever has it finds the mailbox closed.
            mailbox.close();
        }
        let _ = job.reply.send(result);
        if last {
            break;
        }
    }
}

struct Actor {
    instance: Instance,
    ticket: Ticket,
    memory_seen: usize,
    calls: u64,
}

impl Actor {
    async fn call<I: Interface>(&mut self, input: I::Input) -> Result<I::Output, Fault> {
        let bytes = I::weigh_input(&input);
        let kind = self.ticket.plugin.kind(I::KIND);
        match kind.rate(bytes) {
            Ok(Duration::ZERO) => {}
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(fault) => {
                self.ticket.fault(&fault);
                return Err(fault);
            }
        }
        let began = Instant::now();
        let result = self.instance.call::<I>(input).await;
        let took = began.elapsed();
        self.calls += 1;
        let kind = self.ticket.plugin.kind(I::KIND);
        kind.counters.call(took, bytes);
        let theirs = self.ticket.version.kind(I::KIND);
        theirs.counters.call(took, bytes);
        self.note_use();
        match &result {
            Ok(output) => {
                let bytes = I::weigh_output(output);
                self.ticket.plugin.kind(I::KIND).returned(bytes);
                self.ticket.version.kind(I::KIND).counters.returned(bytes);
                self.ticket.well();
            }
            Err(fault) => self.ticket.fault(fault),
        }
        result
    }

    /// Whether it must not be called again, or shall not because it has been reused enough.
    fn is_spent<I: Interface>(&self, fault: Option<&Fault>) -> bool {
        let limits = self.ticket.version.limits(I::KIND);
        fault.is_some_and(Fault::ends_instance)
            || (I::REUSED
                && (self.calls >= limits.recycle_calls
                    || self.instance.memory_bytes() > limits.recycle_memory_bytes))
    }

    fn note_use(&mut self) {
        self.set_memory(self.instance.memory_bytes());
        let exchanged = self.instance.take_exchanged();
        if exchanged > 0 {
            self.ticket
                .plugin
                .kind(self.ticket.kind)
                .exchanged(exchanged);
        }
    }

    fn set_memory(&mut self, bytes: usize) {
        let kind = self.ticket.kind;
        let before = std::mem::replace(&mut self.memory_seen, bytes);
        self.ticket.plugin.kind(kind).counters.memory(before, bytes);
        self.ticket
            .version
            .kind(kind)
            .counters
            .memory(before, bytes);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.set_memory(0);
    }
}
