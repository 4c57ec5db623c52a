//! The worker's runtime: tokio-uring beside the media ring, plain tokio where io_uring is forbidden
//! (tokio-uring cannot start there). Both run one thread, `spawn_local`, timers and I/O.

use std::cell::Cell;
use std::future::Future;
use std::io;

use tokio::task::LocalSet;

use crate::config::{DriverChoice, DriverConfig, DriverKind};
use crate::open::{Chosen, OpenError, choose};
use crate::patience;

/// Submission entries of the runtime's own ring: recording files and control sockets.
pub(crate) const RING_ENTRIES: u32 = 256;

thread_local! {
    /// Runtimes with a ring on this thread: the probe need not allow for another.
    static RINGS_HERE: Cell<usize> = const { Cell::new(0) };
}

/// Whether a runtime with a ring of its own lives on this thread.
pub(crate) fn has_ring_here() -> bool {
    RINGS_HERE.get() > 0
}

/// A single-threaded runtime for one worker. Make it on the worker's thread.
#[derive(Debug)]
pub struct Runtime(Inner);

enum Inner {
    Uring(tokio_uring::Runtime),
    // In this order: local tasks go before the runtime that drives them.
    Plain(LocalSet, tokio::runtime::Runtime),
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Uring(_) => "tokio-uring",
            Self::Plain(..) => "tokio",
        })
    }
}

impl Runtime {
    /// The runtime that goes with a driver.
    ///
    /// # Errors
    /// [`OpenError::Runtime`].
    pub fn new(kind: DriverKind) -> Result<Self, OpenError> {
        let made = match kind {
            DriverKind::Ring => patience::for_memory(uring).map(Inner::Uring),
            DriverKind::Mmsg | DriverKind::Sim => plain(),
        };
        let made = made.map_err(|source| OpenError::Runtime { kind, source })?;
        RINGS_HERE.set(RINGS_HERE.get() + usize::from(matches!(made, Inner::Uring(_))));
        Ok(Self(made))
    }

    /// Chooses a driver and makes its runtime. Under `auto` a ring runtime that fails although the
    /// probe passed (other workers took the memory meanwhile) becomes a plain one.
    ///
    /// # Errors
    /// Those of [`choose`] and [`Runtime::new`].
    pub fn for_choice(
        choice: DriverChoice,
        config: &DriverConfig,
    ) -> Result<(Self, Chosen), OpenError> {
        let chosen = choose(choice, config)?;
        match Self::new(chosen.kind) {
            Err(error) if choice == DriverChoice::Auto && chosen.kind == DriverKind::Ring => {
                let chosen = Chosen {
                    kind: DriverKind::Mmsg,
                    reason: error.to_string(),
                };
                Ok((Self::new(chosen.kind)?, chosen))
            }
            made => Ok((made?, chosen)),
        }
    }

    /// Runs `future` to its end. Tasks it spawned and did not await stop there.
    ///
    /// # Panics
    /// Inside another runtime, and if `future` does.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.0 {
            Inner::Uring(runtime) => runtime.block_on(future),
            Inner::Plain(local, runtime) => runtime.block_on(local.run_until(future)),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if matches!(self.0, Inner::Uring(_)) {
            RINGS_HERE.set(RINGS_HERE.get() - 1);
        }
    }
}

/// Makes the runtime that goes with a driver on this thread and runs `future` on it.
///
/// # Errors
/// [`OpenError::Runtime`]; `future` was not polled then.
pub fn start<F: Future>(kind: DriverKind, future: F) -> Result<F::Output, OpenError> {
    Ok(Runtime::new(kind)?.block_on(future))
}

/// COOP_TASKRUN, never DEFER_TASKRUN: with the latter tokio-uring's receives hang.
fn uring() -> io::Result<tokio_uring::Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun();
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&ring);
    tokio_uring::Runtime::new(&builder)
}

fn plain() -> io::Result<Inner> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(Inner::Plain(LocalSet::new(), runtime))
}
