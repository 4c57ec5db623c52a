//! What each thread of this process costs.

use std::collections::BTreeMap;
use std::fs;

/// Processor time of threads, whether they still run or not, as far as they were looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Threads(BTreeMap<u32, (String, u64)>);

impl Threads {
    /// Looks at all of them. Threads that end between two looks lose what they did since the first.
    pub(crate) fn look(&mut self) {
        for task in fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            let id = task.file_name().to_str().and_then(|id| id.parse().ok());
            let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
            let (Some(id), Some(name), Some(spent)) = (id, read("comm"), read("schedstat")) else {
                continue;
            };
            let spent = spent.split(' ').next().and_then(|ns| ns.parse().ok());
            self.0
                .insert(id, (name.trim().to_owned(), spent.unwrap_or(0)));
        }
    }

    /// Seconds since `before`, by kind of thread.
    pub(crate) fn since(&self, before: &Self) -> Spent {
        let mut spent = Spent::default();
        for (id, (name, ns)) in &self.0 {
            let earlier = before.0.get(id).map_or(0, |(_, ns)| *ns);
            let seconds = ns.saturating_sub(earlier) as f64 / 1e9;
            match name.as_str() {
                "rillway-recorde" => spent.recorder += seconds,
                name if name.starts_with("iou-") => spent.ring += seconds,
                name if name.starts_with("tokio-") => spent.blocking += seconds,
                _ => {}
            }
        }
        spent
    }
}

/// Processor time in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// The recorder's thread, with what the kernel does in its name.
    pub(crate) recorder: f64,
    /// The kernel's threads of its ring, which wait for the disk.
    pub(crate) ring: f64,
    /// Its threads for calls that block: files created, completed and hashed.
    pub(crate) blocking: f64,
}

impl Spent {
    pub(crate) fn all(&self) -> f64 {
        self.recorder + self.ring + self.blocking
    }
}
