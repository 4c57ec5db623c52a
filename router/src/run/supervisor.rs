//! What the service manager is told (sd_notify(3)): that the router serves, reloads and ends, and, where it has a
//! watchdog, that the media workers make progress.

use std::rc::Rc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::mpsc;

use super::Signals;
use crate::config::Config;
use crate::worker::{ToWorker, Window, Worker};

/// Workers show themselves once a second: one that has not for so long makes no progress.
const STUCK_MIN: Duration = Duration::from_millis(2_500);
/// How much longer than the notice to clients an end may take: workers, and the last files.
const END: Duration = Duration::from_secs(15);

/// The way to the service manager, where there is one. Clones are the same.
#[derive(Clone)]
pub(super) struct Supervisor {
    /// Who started this process wants to be told.
    listens: bool,
    workers: Rc<[Watched]>,
}

/// One media worker as its progress shows.
struct Watched {
    window: Window,
    queue: mpsc::Sender<ToWorker>,
}

impl Supervisor {
    /// Of the environment, for `rillway serve`: other programs that run a router speak for themselves.
    pub(super) fn of_environment(config: &Config, signals: Signals, workers: &[Worker]) -> Self {
        let is_ours = signals == Signals::Handle && config.is_served();
        let workers = workers.iter().map(|worker| Watched {
            window: worker.window.clone(),
            queue: worker.requests.clone(),
        });
        Supervisor {
            listens: is_ours && std::env::var_os("NOTIFY_SOCKET").is_some(),
            workers: workers.collect(),
        }
    }

    /// Every address is bound. From now on it hears that workers make progress, if it has a watchdog. Within a
    /// `LocalSet`.
    pub(super) fn serving(&self) {
        let status = format!("serving, {} media workers", self.workers.len());
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        if let (true, Some(limit)) = (self.listens, sd_notify::watchdog_enabled()) {
            tokio::task::spawn_local(self.clone().watch(limit));
        }
    }

    async fn watch(self, limit: Duration) {
        let mut progress = Progress::new(self.workers.len(), Instant::now());
        let mut moved = true;
        loop {
            tokio::time::sleep(limit / 2).await;
            let shown = self.workers.iter().map(Watched::shown);
            let moves = progress.look(shown, Instant::now(), limit);
            if moves {
                self.tell(&[NotifyState::Watchdog]);
            } else if moved {
                tracing::error!(
                    "a media worker makes no progress: the watchdog is not told any more"
                );
            }
            moved = moves;
        }
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        // Without the time systemd 253 and newer would end the service: rather nothing, then.
        if let (true, Ok(now)) = (self.listens, NotifyState::monotonic_usec_now()) {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// It is over, whatever came of it.
    pub(super) fn reloaded(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Clients are told to leave within this time.
    pub(super) fn draining(&self, notice: Duration) {
        let extended = u32::try_from((notice + END).as_micros()).unwrap_or(u32::MAX);
        let status = format!("draining for {} s at most", notice.as_secs());
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(extended),
            NotifyState::Status(&status),
        ]);
    }

    /// Connections are being closed.
    pub(super) fn closing(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("closing")]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if !self.listens {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "the service manager cannot be told: {states:?}");
        }
    }
}

impl Watched {
    /// How often it has shown itself; `None`: it has ended, which others deal with.
    fn shown(&self) -> Option<u64> {
        (!self.queue.is_closed()).then(|| self.window.shown())
    }
}

/// Whether workers make progress.
#[derive(Debug)]
struct Progress(Vec<(u64, Instant)>);

impl Progress {
    fn new(workers: usize, now: Instant) -> Self {
        Progress(vec![(0, now); workers])
    }

    /// Whether every worker that has not ended has shown itself within half of the watchdog's time.
    fn look(
        &mut self,
        shown: impl Iterator<Item = Option<u64>>,
        now: Instant,
        limit: Duration,
    ) -> bool {
        let patience = (limit / 2).max(STUCK_MIN);
        let mut all = true;
        for ((seen, at), shown) in self.0.iter_mut().zip(shown) {
            match shown {
                Some(shown) if shown == *seen => {
                    all &= now.saturating_duration_since(*at) < patience;
                }
                Some(shown) => (*seen, *at) = (shown, now),
                None => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_shows_nothing_for_half_of_the_time_is_stuck() {
        let began = Instant::now();
        let limit = Duration::from_secs(10);
        let mut progress = Progress::new(2, began);
        let mut look = |shown: [Option<u64>; 2], seconds: u64| {
            let now = began + Duration::from_secs(seconds);
            progress.look(shown.into_iter(), now, limit)
        };
        assert!(look([Some(5), Some(5)], 5));
        assert!(look([Some(10), Some(6)], 10));
        assert!(look([Some(14), Some(6)], 14), "not for long enough");
        assert!(!look([Some(15), Some(6)], 15));
        assert!(look([Some(20), Some(7)], 20), "it goes on after all");
        assert!(!look([Some(30), Some(7)], 30));
        assert!(look([Some(35), None], 35), "it has ended");
    }

    #[test]
    fn a_short_watchdog_does_not_expect_more_than_workers_show() {
        let began = Instant::now();
        let limit = Duration::from_millis(500);
        let mut progress = Progress::new(1, began);
        let mut look = |ms| {
            let now = began + Duration::from_millis(ms);
            progress.look([Some(0)].into_iter(), now, limit)
        };
        assert!(look(250) && look(2_400));
        assert!(!look(2_500));
    }
}
