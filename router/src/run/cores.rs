//! Which threads run on which cores.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::config::Config;

/// While it is kept, threads that are started stay off the cores of media workers, if workers are pinned and there are
/// cores beside theirs: then no plugin, compiler or request is ever in the way of a packet. A worker pins itself to its
/// own core wherever it was started.
pub(super) struct Aside {
    before: Option<CpuSet>,
}

impl Aside {
    pub(super) fn step(config: &Config) -> Aside {
        let stepped = config.media.pin_cpus.then(|| step(config));
        Aside {
            before: stepped.flatten(),
        }
    }
}

fn step(config: &Config) -> Option<CpuSet> {
    let workers = usize::from(config.media.workers.get());
    let before = sched_getaffinity(None)
        .inspect_err(|error| tracing::warn!(%error, "cannot tell the cores this process may use"))
        .ok()?;
    let others = beside(&before, workers)?;
    match sched_setaffinity(None, &others) {
        Ok(()) => Some(before),
        Err(error) => {
            tracing::warn!(%error, "other threads cannot be kept off the cores of media workers");
            None
        }
    }
}

/// The cores but the first so many, which are the workers'; `None`: there are no others.
fn beside(all: &CpuSet, workers: usize) -> Option<CpuSet> {
    let mut others = CpuSet::new();
    let cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
    cores.skip(workers).for_each(|core| others.set(core));
    (others.count() > 0).then_some(others)
}

impl Drop for Aside {
    fn drop(&mut self) {
        // The caller's own thread goes where it went before.
        if let Some(before) = &self.before
            && let Err(error) = sched_setaffinity(None, before)
        {
            tracing::warn!(%error, "the starting thread stays off the cores of media workers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core));
        set
    }

    #[test]
    fn workers_have_the_first_cores_and_others_the_rest() {
        assert!(beside(&set(&[0, 1, 4, 7]), 2) == Some(set(&[4, 7])));
        assert!(beside(&set(&[3, 5]), 1) == Some(set(&[5])));
        assert!(beside(&set(&[0, 1]), 2).is_none(), "there is no other core");
        assert!(beside(&set(&[0, 1]), 9).is_none());
    }
}
