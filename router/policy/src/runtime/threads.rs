//! Policy threads, and the thread that compiles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::error::HostError;
use crate::host::{HostConfig, ThreadRole};

/// Instances that may wait for their making on one thread. More wait where they are asked for.
const QUEUE: usize = 256;
/// Threads beside a policy thread for what cannot be asked without blocking: names are looked up there, a
/// few at once for each plugin.
const BLOCKING_THREADS: usize = 64;
/// Components that may wait for being compiled.
const COMPILE_QUEUE: usize = 16;

/// Makes the future of an instance on its thread, where it stays.
pub(crate) type Task = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Threads that run instances. Each is one tokio runtime.
#[derive(Debug)]
pub(crate) struct Threads {
    threads: Vec<PolicyThread>,
    end: watch::Sender<bool>,
}

#[derive(Debug)]
struct PolicyThread {
    tasks: mpsc::Sender<Task>,
    /// Instances on it, for the choice of the emptiest.
    load: Arc<AtomicUsize>,
}

/// One instance on a thread.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) thread: usize,
    tasks: mpsc::Sender<Task>,
    load: Arc<AtomicUsize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Relaxed);
    }
}

impl Seat {
    /// The queue of the thread.
    pub(crate) fn tasks(&self) -> mpsc::Sender<Task> {
        self.tasks.clone()
    }
}

impl Threads {
    /// Starts them. The handles are for [`Threads::end`]'s caller to join.
    pub(crate) fn start(config: &HostConfig) -> Result<(Threads, Vec<JoinHandle<()>>), HostError> {
        let (end, ends) = watch::channel(false);
        let mut threads = Vec::new();
        let mut handles = Vec::new();
        for index in 0..config.threads {
            let (tasks, queue) = mpsc::channel(QUEUE);
            let (started, ends) = (config.thread_started.clone(), ends.clone());
            let handle = std::thread::Builder::new()
                .name(format!("policy-{index}"))
                .spawn(move || {
                    if let Some(started) = started {
                        started(ThreadRole::Policy(index));
                    }
                    run(queue, ends);
                })
                .map_err(HostError::Thread)?;
            threads.push(PolicyThread {
                tasks,
                load: Arc::default(),
            });
            handles.push(handle);
        }
        Ok((Threads { threads, end }, handles))
    }

    /// A seat on the emptiest thread.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let (index, thread) = self
            .threads
            .iter()
            .enumerate()
            .min_by_key(|(_, thread)| thread.load.load(Relaxed))?;
        thread.load.fetch_add(1, Relaxed);
        Some(Seat {
            thread: index,
            tasks: thread.tasks.clone(),
            load: Arc::clone(&thread.load),
        })
    }

    /// Tells the threads to drop what they have and to end.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}

fn run(mut queue: mpsc::Receiver<Task>, mut end: watch::Receiver<bool>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a policy thread has no runtime: its plugins do not run");
            return;
        }
    };
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        loop {
            tokio::select! {
                biased;
                // An error means that the host is gone.
                _ = end.wait_for(|end| *end) => break,
                task = queue.recv() => match task {
                    Some(task) => drop(tokio::task::spawn_local(task())),
                    None => break,
                },
            }
        }
    }));
    drop(local);
    // A name that is being looked up cannot be given up, and nobody waits for it.
    runtime.shutdown_background();
}

/// A thread that compiles components, one after the other.
#[derive(Debug)]
pub(crate) struct Compiler {
    jobs: std::sync::mpsc::SyncSender<Box<dyn FnOnce() + Send>>,
}

impl Compiler {
    pub(crate) fn start(config: &HostConfig) -> Result<(Compiler, JoinHandle<()>), HostError> {
        let (jobs, queue) =
            std::sync::mpsc::sync_channel::<Box<dyn FnOnce() + Send>>(COMPILE_QUEUE);
        let started = config.thread_started.clone();
        let handle = std::thread::Builder::new()
            .name("policy-compile".to_owned())
            .spawn(move || {
                if let Some(started) = started {
                    started(ThreadRole::Compiler);
                }
                while let Ok(job) = queue.recv() {
                    job();
                }
            })
            .map_err(HostError::Thread)?;
        Ok((Compiler { jobs }, handle))
    }

    /// Runs a job there. `None`: too many wait, or the thread is gone.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        let job = Box::new(move || {
            // A compiler that panics costs this plugin, not the thread.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            if let Ok(outcome) = outcome {
                let _ = done.send(outcome);
            }
        });
        self.jobs.try_send(job).ok()?;
        result.await.ok()
    }
}
