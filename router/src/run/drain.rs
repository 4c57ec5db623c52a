//! The end: orders and signals, the notice to clients, closing, the workers' last turn, and the last files.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

use crate::gateway::Gateway;
use crate::recorder;
use crate::session::{Control, Phase};
use crate::worker::ToWorker;

use super::supervisor::Supervisor;
use super::{Current, Order, RunError, Signals};

/// Part of the notice time kept for the closing handshakes: a quarter, and not more than this.
const CLOSING_MAX: Duration = Duration::from_secs(1);
/// Time connections get to close when an order says that it must end now.
const HURRY: Duration = Duration::from_millis(100);
/// Time workers get to flush and let go of their buffers.
const WORKERS_TIME: Duration = Duration::from_secs(2);

/// Orders of the owner, of operators, and of the operating system.
pub(super) struct Orders {
    orders: mpsc::Receiver<Order>,
    operators: mpsc::Receiver<Order>,
    signals: Option<(Signal, Signal)>,
    draining: bool,
}

impl Orders {
    /// Installs signal handlers, if signals are ours.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn new(
        orders: mpsc::Receiver<Order>,
        operators: mpsc::Receiver<Order>,
        signals: Signals,
    ) -> io::Result<Self> {
        let signals = match signals {
            Signals::Handle => Some((
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            )),
            Signals::Ignore => None,
        };
        Ok(Orders {
            orders,
            operators,
            signals,
            draining: false,
        })
    }

    /// The next order. A signal after the first order means stop.
    async fn next(&mut self) -> Order {
        let order = tokio::select! {
            // Without an owner nobody could stop it any more.
            order = self.orders.recv() => order.unwrap_or(Order::Stop),
            // Whoever asks over a channel that is off, or ended, asks for nothing.
            Some(order) = self.operators.recv() => order,
            () = signalled(&mut self.signals) => {
                if self.draining { Order::Stop } else { Order::Drain(None) }
            }
        };
        self.draining = true;
        order
    }

    /// Until the order to stop.
    async fn stop(&mut self) {
        while self.next().await != Order::Stop {}
    }
}

async fn signalled(signals: &mut Option<(Signal, Signal)>) {
    match signals {
        Some((terminate, interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        None => std::future::pending().await,
    }
}

/// What the end needs.
pub(super) struct Drain {
    pub(super) config: Current,
    pub(super) orders: Orders,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) control: Rc<Control>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) all_ended: Rc<Notify>,
    pub(super) recorder: Option<recorder::Ending>,
    pub(super) supervisor: Supervisor,
}

/// Waits for an order, then ends everything.
///
/// # Errors
/// The end came without an order.
pub(super) async fn until_end(mut drain: Drain) -> Result<(), RunError> {
    let order = tokio::select! {
        order = drain.orders.next() => Ok(order),
        () = drain.all_ended.notified() => Err(RunError::Ended("every media worker has ended")),
    };
    let result = match order {
        Ok(Order::Drain(deadline)) => {
            let configured = || drain.config.look().config.shutdown.notice;
            let notice = deadline.unwrap_or_else(configured);
            drain.tell_and_close(notice).await;
            Ok(())
        }
        Ok(Order::Stop) => {
            drain.close(HURRY).await;
            Ok(())
        }
        Err(error) => {
            drain.close(CLOSING_MAX).await;
            Err(error)
        }
    };
    drain.stop_workers().await;
    if let Some(recorder) = drain.recorder.take() {
        recorder.end().await;
    }
    tracing::info!("ended");
    result
}

impl Drain {
    async fn tell_and_close(&mut self, notice: Duration) {
        let closing = (notice / 4).min(CLOSING_MAX);
        let until = Instant::now() + notice - closing;
        tracing::info!(
            clients = self.gateway.clients_open(),
            notice_ms = u64::try_from(notice.as_millis()).unwrap_or(u64::MAX),
            "draining: clients are told to leave"
        );
        self.supervisor.draining(notice);
        // Receivers are everywhere; without one nobody is left to be told.
        let _ = self.phase.send(Phase::Draining(until));
        let stopped = tokio::select! {
            () = self.gateway.clients_gone() => false,
            () = tokio::time::sleep_until(until.into()) => false,
            () = self.orders.stop() => true,
        };
        self.close(if stopped { HURRY } else { closing }).await;
    }

    /// Closes every connection, for at most `time`.
    async fn close(&mut self, time: Duration) {
        self.supervisor.closing();
        let _ = self.phase.send(Phase::Closing);
        tokio::select! {
            () = self.gateway.clients_gone() => {}
            () = tokio::time::sleep(time) => {
                let clients = self.gateway.clients_open();
                tracing::debug!(clients, "connections cut off");
            }
            () = self.orders.stop() => {}
        }
    }

    async fn stop_workers(&mut self) {
        let deadline = tokio::time::Instant::now() + WORKERS_TIME;
        for queue in &self.control.workers {
            // A closed queue is a worker that has ended; a full one that stays so is stuck.
            let _ = tokio::time::timeout_at(deadline, queue.send(ToWorker::Stop)).await;
        }
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!("a media worker did not end in time and is left behind");
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
