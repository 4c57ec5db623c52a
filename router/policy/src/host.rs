//! The host: what all plugins have in common.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::Engine;

use crate::error::{HostError, LoadError};
use crate::plugin::Plugin;
use crate::runtime::engine::{Tick, Ticker, engine};
use crate::runtime::threads::{Compiler, Threads};
use crate::spec::PluginSpec;

/// Most policy threads: more than one is for machines with many cores.
const THREADS_MAX: usize = 64;

/// A thread of the host, as told to [`HostConfig::thread_started`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadRole {
    /// Runs instances; the number counts from 0.
    Policy(usize),
    /// Compiles components.
    Compiler,
    /// Bounds the time of calls.
    Ticker,
}

/// Called on each thread of the host when it starts: to pin it, or to lower its priority.
pub type ThreadStarted = Arc<dyn Fn(ThreadRole) + Send + Sync>;

/// How the host is set up; fixed while it runs.
#[derive(Clone)]
pub struct HostConfig {
    /// Policy threads, 1 to 64.
    pub threads: usize,
    /// Instances of all plugins at once. Address space is reserved for each.
    pub instances: u32,
    /// Largest linear memory an instance may be allowed, bytes; reserved, not used.
    pub instance_memory_bytes: usize,
    /// Most elements of one table.
    pub instance_table_elements: usize,
    /// Largest component, bytes.
    pub component_bytes: u64,
    /// Folder for compiled components; without it they are compiled at every start. Nobody else may write
    /// into it, since what it holds is machine code.
    pub cache: Option<PathBuf>,
    /// Certificate authorities that plugins' HTTPS trusts beside the system's, a PEM file.
    pub http_ca: Option<PathBuf>,
    /// See [`ThreadStarted`].
    pub thread_started: Option<ThreadStarted>,
}

impl Default for HostConfig {
    fn default() -> Self {
        HostConfig {
            threads: 1,
            instances: 5_000,
            instance_memory_bytes: 128 << 20,
            instance_table_elements: 20_000,
            component_bytes: 32 << 20,
            cache: None,
            http_ca: None,
            thread_started: None,
        }
    }
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("threads", &self.threads)
            .field("instances", &self.instances)
            .field("instance_memory_bytes", &self.instance_memory_bytes)
            .field("instance_table_elements", &self.instance_table_elements)
            .field("component_bytes", &self.component_bytes)
            .field("cache", &self.cache)
            .field("http_ca", &self.http_ca)
            .finish_non_exhaustive()
    }
}

impl HostConfig {
    fn check(&self) -> Result<(), HostError> {
        let refuse = |key, problem: &str| {
            Err(HostError::Config {
                key,
                problem: problem.to_owned(),
            })
        };
        if !(1..=THREADS_MAX).contains(&self.threads) {
            refuse("threads", "1 to 64 threads run policies")
        } else if self.instances == 0 {
            refuse("instances", "at least one instance must be possible")
        } else if !(1 << 20..=4 << 30).contains(&self.instance_memory_bytes) {
            refuse(
                "instance_memory_bytes",
                "an instance may have 1 MiB to 4 GiB",
            )
        } else {
            Ok(())
        }
    }
}

/// What actors and plugins share of the host. Knows no plugin.
pub(crate) struct HostCore {
    pub(crate) config: HostConfig,
    pub(crate) engine: Engine,
    pub(crate) threads: Threads,
    pub(crate) compiler: Mutex<Option<Arc<Compiler>>>,
    pub(crate) tick: Tick,
    /// Instances of all plugins.
    pub(crate) instances: AtomicUsize,
    ticker: Mutex<Option<Ticker>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for HostCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} threads)", self.config.threads)
    }
}

/// Loads plugins and runs them. A cheap handle; the threads end with [`Host::shutdown`], or when the last
/// handle, plugin and instance is gone.
#[derive(Debug, Clone)]
pub struct Host(Arc<HostCore>);

impl Host {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn start(config: HostConfig) -> Result<Host, HostError> {
        config.check()?;
        let engine = engine(&config)?;
        let (ticker, tick) = Ticker::start(engine.clone(), &config)?;
        let (threads, mut handles) = Threads::start(&config)?;
        let (compiler, handle) = Compiler::start(&config)?;
        handles.push(handle);
        Ok(Host(Arc::new(HostCore {
            engine,
            threads,
            compiler: Mutex::new(Some(Arc::new(compiler))),
            tick,
            instances: AtomicUsize::new(0),
            ticker: Mutex::new(Some(ticker)),
            handles: Mutex::new(handles),
            config,
        })))
    }

    /// Loads a plugin: reads, checks, compiles and tries it. Takes as long as compiling does (50 ms for a
    /// small component, many seconds for an interpreter), on a thread of its own.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(&self, spec: PluginSpec) -> Result<Plugin, LoadError> {
        Plugin::load(&self.0, spec).await
    }

    /// How the host is set up.
    #[must_use]
    pub fn config(&self) -> &HostConfig {
        &self.0.config
    }

    /// Instances of all plugins at the moment.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.0.instances.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends every instance and the threads, and waits for them. Calls that are running are given up; whoever
    /// waits for them gets [`Fault::Gone`](crate::Fault::Gone). Blocks for at most `patience`.
    ///
    /// Returns whether all threads have ended. One that is compiling a large component goes on.
    pub fn shutdown(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let core = &self.0;
        core.threads.end();
        lock(&core.compiler).take();
        let handles = std::mem::take(&mut *lock(&core.handles));
        let mut all = true;
        for handle in handles {
            while !handle.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            match handle.is_finished() {
                true => all &= handle.join().is_ok(),
                false => all = false,
            }
        }
        // Last: until here it interrupts what runs too long.
        if let Some(ticker) = lock(&core.ticker).take() {
            ticker.stop();
        }
        all
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
