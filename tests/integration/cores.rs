//! Which threads run on which cores.

use std::collections::BTreeMap;
use std::fs;

use crate::router::{config, join, start};

/// Cores that each thread may use, as the kernel lists them, by its name.
fn cores_by_name() -> BTreeMap<String, String> {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs");
    let status = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).ok()?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        Some((value("Name:")?, value("Cpus_allowed_list:")?))
    };
    tasks.flatten().filter_map(status).collect()
}

#[tokio::test]
async fn a_pinned_worker_has_its_core_for_itself() {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        return println!("skipped: there is one core");
    }
    assert_eq!(config().media.workers.get(), 1);
    let before = cores_by_name();
    let running = start(|config| config.media.pin_cpus = true);
    // Plugins run.
    let (client, _) = join(&running, "room", "Ada").await;
    let threads = cores_by_name();
    let media = threads.get("rillway-media-0").expect("a worker");
    assert!(media.parse::<u32>().is_ok(), "one core: {media}");
    let first = |list: &str| {
        let end = list.find(['-', ',']).unwrap_or(list.len());
        list.get(..end).map(str::to_owned)
    };
    let mut others = 0;
    for (name, cores) in &threads {
        if name == "rillway-media-0" {
            continue;
        }
        match before.get(name) {
            // The caller's own threads go where they went.
            Some(as_before) => assert_eq!(cores, as_before, "{name}"),
            None => {
                others += 1;
                assert_ne!(first(cores).as_ref(), Some(media), "{name} may use {cores}");
            }
        }
    }
    assert!(others >= 3, "control, policies, compiler: {threads:?}");
    drop((client, running));
}
