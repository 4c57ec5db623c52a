//! The one wasmtime engine and the thread that advances its epoch.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig,
};

use crate::error::HostError;
use crate::host::{HostConfig, ThreadRole, lock};

/// Between two ticks: how exactly the time of a call is bounded, and how long a busy plugin keeps the
/// others of its thread waiting.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Before the first tick, where no call runs already. Most calls are over long before; and a timer that comes after
/// the kernel's next own one (250 a second) need not be given to the hardware, which in a virtual machine costs more
/// than the call: 15 µs of 85.
const FIRST_TICK: Duration = Duration::from_millis(5);
/// Stack of one call: WebAssembly's own, and what is left of it for the host functions it calls.
const WASM_STACK_BYTES: usize = 256 << 10;
const CALL_STACK_BYTES: usize = 512 << 10;
/// Core modules, memories and tables one component may consist of: what wit-component makes is one module
/// of the plugin's and two of glue; interpreters bring a few more.
const MODULES_MAX: u32 = 40;
/// Compiled code the cache folder may hold, bytes.
const CACHE_BYTES_MAX: u64 = 512 << 20;

/// Makes the engine.
pub(crate) fn engine(config: &HostConfig) -> Result<Engine, HostError> {
    let mut wasm = Config::new();
    wasm.wasm_component_model(true)
        // Off: a call would cost 0.25 µs more, and nothing here is concurrent inside a component.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(config.instance_memory_bytes as u64)
        .memory_guard_size(64 << 10)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    if let Some(folder) = &config.cache {
        wasm.cache(Some(cache(folder)?));
    }
    Engine::new(&wasm).map_err(|error| HostError::Engine(format!("{error:#}")))
}

/// Makes an engine for runs that can be repeated: bounded by fuel, and without what differs between machines.
pub(crate) fn fuel_engine(instance_memory_bytes: usize) -> Result<Engine, HostError> {
    let mut wasm = Config::new();
    wasm.wasm_component_model(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .memory_reservation(instance_memory_bytes as u64)
        .memory_guard_size(64 << 10);
    Engine::new(&wasm).map_err(|error| HostError::Engine(format!("{error:#}")))
}

fn pool(config: &HostConfig) -> PoolingAllocationConfig {
    let instances = config.instances;
    let parts = instances.saturating_mul(4);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(parts)
        .total_memories(instances)
        .total_tables(parts)
        .total_stacks(instances)
        .max_core_instances_per_component(MODULES_MAX)
        .max_memories_per_component(MODULES_MAX)
        .max_tables_per_component(MODULES_MAX)
        .max_memory_size(config.instance_memory_bytes)
        .table_elements(config.instance_table_elements)
        .max_unused_warm_slots(100);
    pool
}

/// The cache of compiled code. wasmtime keys it by its own version, by every setting that shapes code and
/// by the SHA-256 of the component, and loads it by itself, so that nothing here has to vouch for a file.
/// What it loads is machine code all the same: nobody else may write into the folder.
fn cache(folder: &Path) -> Result<Cache, HostError> {
    let refuse = |problem: String| HostError::Config {
        key: "cache",
        problem,
    };
    let shown = folder.display();
    std::fs::create_dir_all(folder)
        .map_err(|error| refuse(format!("cannot make the folder {shown}: {error}")))?;
    let folder = folder
        .canonicalize()
        .map_err(|error| refuse(format!("{shown}: {error}")))?;
    let metadata = folder
        .metadata()
        .map_err(|error| refuse(format!("{shown}: {error}")))?;
    // Not on every system; where it is missing, the mode has to do.
    let myself = Path::new("/proc/self").metadata().map(|m| m.uid());
    if myself.is_ok_and(|uid| uid != metadata.uid()) {
        return Err(refuse(format!(
            "the folder {shown} belongs to somebody else: `chown` it to the user who runs the router"
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refuse(format!(
            "others may write into the folder {shown}, from which machine code is loaded: `chmod go-w` it"
        )));
    }
    let mut config = CacheConfig::new();
    config
        .with_directory(folder)
        .with_files_total_size_soft_limit(CACHE_BYTES_MAX);
    Cache::new(config).map_err(|error| refuse(format!("{error:#}")))
}

/// Advances the epoch while calls run.
///
/// The kernel's timer is set by whoever makes the first of the calls that run, and taken back after the last
/// one: most are over before the first tick, and then nobody wakes this thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<TickerShared>,
    /// Taken when it is joined.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct TickerShared {
    timer: OwnedFd,
    /// Calls that run. Held while the timer is set, so that both stay together.
    calls: Mutex<usize>,
    end: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: Engine, config: &HostConfig) -> Result<(Ticker, Tick), HostError> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)
            .map_err(|error| HostError::Thread(error.into()))?;
        let shared = Arc::new(TickerShared {
            timer,
            calls: Mutex::new(0),
            end: AtomicBool::new(false),
        });
        let started = config.thread_started.clone();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("policy-ticker".to_owned())
            .spawn(move || {
                if let Some(started) = started {
                    started(ThreadRole::Ticker);
                }
                theirs.run(&engine);
            })
            .map_err(HostError::Thread)?;
        let tick = Tick(Arc::clone(&shared));
        Ok((
            Ticker {
                shared,
                thread: Some(thread),
            },
            tick,
        ))
    }

    /// Ends it and waits, a tick at most.
    pub(crate) fn stop(mut self) {
        self.signal();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the thread that bounds the time of plugins ended by a panic");
        }
    }

    fn signal(&self) {
        self.shared.end.store(true, SeqCst);
        let _calls = lock(&self.shared.calls);
        self.shared.set(TICK, TICK);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.signal();
    }
}

impl TickerShared {
    fn run(&self, engine: &Engine) {
        while !self.end.load(SeqCst) {
            let mut ticks = [0; 8];
            match rustix::io::read(&self.timer, &mut ticks) {
                Ok(_) => engine.increment_epoch(),
                Err(Errno::INTR) => {}
                // Calls must not run without bounds: each tick is waited for here then.
                Err(error) => {
                    tracing::error!(%error, "the timer that bounds the time of plugins cannot be read");
                    std::thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        }
    }

    /// From now on one tick after the other, the first one after some time; zero: none. With `calls` locked.
    fn set(&self, first: Duration, every: Duration) {
        let times = Itimerspec {
            it_interval: Timespec::try_from(every).unwrap_or_default(),
            it_value: Timespec::try_from(first).unwrap_or_default(),
        };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times) {
            tracing::error!(%error, "the timer that bounds the time of plugins cannot be set");
        }
    }
}

/// Tells the ticker when calls begin and end.
#[derive(Debug, Clone)]
pub(crate) struct Tick(Arc<TickerShared>);

impl Tick {
    pub(crate) fn begin(&self) -> Ticking {
        let mut calls = lock(&self.0.calls);
        *calls += 1;
        if *calls == 1 {
            self.0.set(FIRST_TICK, TICK);
        }
        Ticking(Arc::clone(&self.0))
    }
}

/// A call is running while this lives.
#[derive(Debug)]
pub(crate) struct Ticking(Arc<TickerShared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        let mut calls = lock(&self.0.calls);
        *calls -= 1;
        // Whoever ends the ticker waits for the tick it has asked for.
        if *calls == 0 && !self.0.end.load(SeqCst) {
            self.0.set(Duration::ZERO, Duration::ZERO);
        }
    }
}
