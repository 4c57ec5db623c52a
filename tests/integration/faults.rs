//! A machine that fails a router under a call: no media is lost, the log has a clear line, and it recovers by itself.
//!
//! The router is a process of its own (this test binary again), because limits, clocks and disks are a process's.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rillway::Signals;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::reload::{call, during, nothing_is_lost};
use crate::router::{get, soon};
use crate::site::Site;

const ENVIRONMENT: &str = "RILLWAY_TEST_FAULTS";
const MARK: &str = "router at ";
const OPEN: &str = "authentication.policy = \"auth-open\"\n";

/// Not a test of its own: the body of a [`Faulty`].
#[test]
#[ignore = "run by the tests beside it"]
fn child() {
    let Ok(folder) = std::env::var(ENVIRONMENT) else {
        return;
    };
    let config = Site::load(Path::new(&folder));
    rillway::telemetry::log::install(&config.log).expect("the first");
    let running = rillway::run(config, Signals::Handle).expect("free ports");
    let metrics = running.metrics_address().expect("on");
    println!("{MARK}{} {metrics}", running.gateway_address());
    running.wait().expect("an end on request is no error");
}

/// A router whose machine is not as it should be. Ends with the test.
struct Faulty {
    child: Child,
    gateway: SocketAddr,
    metrics: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    /// `shell`: what a shell does before it becomes the router; `environment` is the router's alone.
    fn start(site: &Site, shell: &str, environment: &[(&str, &str)]) -> Faulty {
        let mut command = Command::new("unshare");
        // Mounts of its own, which end with it.
        command.args(["--mount", "sh", "-e", "-c"]);
        let set = environment
            .iter()
            .map(|(key, value)| format!("{key}='{value}'"));
        let set = set.collect::<Vec<_>>().join(" ");
        command.arg(format!("{shell}\nexec env {set} \"$0\" \"$@\""));
        command
            .arg(std::env::current_exe().expect("this binary"))
            .args(["faults::child", "--exact", "--ignored", "--nocapture"])
            .env(ENVIRONMENT, &site.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("unshare");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let of_thread = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = of_thread.lock().unwrap_or_else(PoisonError::into_inner);
                log.push(line);
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let addresses = lines.find_map(|line| Some(line.ok()?.split_once(MARK)?.1.to_owned()));
        let Some(addresses) = addresses else {
            panic!("it does not start: {:?}", log.lock());
        };
        let (gateway, metrics) = addresses.split_once(' ').expect("two");
        let address = |text: &str| text.parse().expect("an address");
        let (gateway, metrics) = (address(gateway), address(metrics));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Faulty {
            child,
            gateway,
            metrics,
            log,
        }
    }

    /// Lines of its log so far that hold this.
    fn lines(&self, part: &str) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }

    /// Waits for such a line.
    async fn says(&self, part: &str) -> String {
        for _ in 0..1_500 {
            if let Some(line) = self.lines(part).pop() {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no line with {part:?}: {:#?}", self.lines(""));
    }

    async fn metric(&self, series: &str) -> Option<f64> {
        let text = get(self.metrics, "/metrics").await.body;
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        // It is ours, and may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether what is to be broken here can be broken; says why not.
fn possible() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).output();
    let possible = tried.is_ok_and(|tried| tried.status.success());
    if !possible {
        println!("skipped: no mounts of one's own here (it needs root)");
    }
    possible
}

async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test]
async fn with_64_file_descriptors_a_call_goes_on_and_others_follow() {
    if !possible() {
        return;
    }
    let site = Site::new("few-files");
    site.save(OPEN);
    let router = Faulty::start(&site, "ulimit -n 64", &[]);
    let mut clients = call(router.gateway).await;
    let gateway = router.gateway;
    during(&mut clients, async {
        let mut hoard = Vec::new();
        for _ in 0..100 {
            hoard.push(
                TcpStream::connect(gateway)
                    .await
                    .expect("the kernel takes it"),
            );
        }
        let probe = tokio::time::timeout(Duration::from_millis(300), get(gateway, "/healthz"));
        assert!(probe.await.is_err(), "the limit must be in force");
        pause(2.5).await;
        let line = router.says("cannot accept").await;
        assert!(line.contains("Too many open files"), "{line}");
        drop(hoard);
        let health = soon("recovery", get(gateway, "/healthz")).await;
        assert_eq!(health.status, 200);
    })
    .await;
    // One a second at most, however often it fails.
    let lines = router.lines("cannot accept");
    assert!((1..=5).contains(&lines.len()), "{lines:#?}");
    nothing_is_lost(&mut clients).await;
    let mut later = call(gateway).await;
    during(&mut later, pause(2.0)).await;
    nothing_is_lost(&mut later).await;
}

#[tokio::test]
async fn with_64_kib_of_locked_memory_the_other_driver_takes_over() {
    if !possible() {
        return;
    }
    let site = Site::new("little-memory");
    site.save(OPEN);
    // Root's capability to lock more is dropped by the next exec.
    let shell = "ulimit -l 64\nset -- --bounding-set -ipc_lock --inh-caps -ipc_lock \"$0\" \"$@\"\n\
                 exec setpriv \"$@\"";
    let router = Faulty::start(&site, shell, &[]);
    let line = router.says("RLIMIT_MEMLOCK is 64 KiB").await;
    assert!(line.contains("LimitMEMLOCK="), "what mends it: {line}");
    assert_eq!(router.lines("RLIMIT_MEMLOCK").len(), 1);
    let mut clients = call(router.gateway).await;
    during(&mut clients, pause(2.0)).await;
    nothing_is_lost(&mut clients).await;
}

#[tokio::test]
async fn with_a_full_disk_a_call_goes_on_and_is_recorded_again_when_there_is_room() {
    if !possible() {
        return;
    }
    let site = Site::new("full-disk");
    let disk = site.0.join("disk");
    std::fs::create_dir(&disk).expect("made");
    site.save(&format!(
        "{OPEN}recording = {{ policy = \"record-all\", directory = \"disk/films\", free_bytes_min = 1048576 }}\n"
    ));
    let shell = format!("mount -t tmpfs -o size=2m full {}", disk.display());
    let router = Faulty::start(&site, &shell, &[]);
    let mut clients = call(router.gateway).await;
    let stopped = "rillway_recorder_stopped";
    let becomes = async |wanted: f64| {
        for _ in 0..600 {
            if router.metric(stopped).await == Some(wanted) {
                return;
            }
            pause(0.05).await;
        }
        panic!(
            "{stopped} does not become {wanted}: {:#?}",
            router.lines("")
        );
    };
    during(&mut clients, async {
        becomes(1.0).await;
        pause(1.0).await;
        let lines = router.lines("recording stopped");
        assert_eq!(lines.len(), 1, "{:#?}", router.lines(""));
        assert_eq!(
            router.metric("rillway_recorder_alarms_total").await,
            Some(1.0)
        );
        // As the router sees its disk.
        let inside = PathBuf::from(format!("/proc/{}/root", router.child.id()));
        let films = inside
            .join(disk.strip_prefix("/").expect("absolute"))
            .join("films");
        empty(&films);
        becomes(0.0).await;
    })
    .await;
    nothing_is_lost(&mut clients).await;
}

/// Removes all files beneath a folder.
fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("there").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => empty(&entry.path()),
            _ => std::fs::remove_file(entry.path()).expect("removed"),
        }
    }
}

#[tokio::test]
async fn when_the_clock_is_set_nobody_leaves() {
    let library = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let library = library
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists());
    let (Some(library), true) = (library, possible()) else {
        println!("skipped: no libfaketime here (tests/setup/install faketime)");
        return;
    };
    let site = Site::new("clock");
    site.save(OPEN);
    site.write("clock", "+0");
    let clock = site.0.join("clock");
    let router = Faulty::start(
        &site,
        "",
        &[
            ("LD_PRELOAD", &library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ],
    );
    let mut clients = call(router.gateway).await;
    during(&mut clients, async {
        pause(1.5).await;
        for (time, part) in [
            ("+3600", "was set forward"),
            ("+0", "was set back"),
            ("-3600", "was set back"),
            ("+0", "was set forward"),
        ] {
            let before = router.lines(part).len();
            site.write("clock", time);
            pause(2.5).await;
            let lines = router.lines(part);
            assert_eq!(lines.len(), before + 1, "{time}: {:#?}", router.lines(""));
        }
    })
    .await;
    nothing_is_lost(&mut clients).await;
    let mut later = call(router.gateway).await;
    during(&mut later, pause(1.0)).await;
    nothing_is_lost(&mut later).await;
}

#[tokio::test]
async fn scrapers_that_say_or_read_nothing_are_cut_off() {
    if !possible() {
        return;
    }
    let site = Site::new("scrapers");
    site.save(OPEN);
    let router = Faulty::start(&site, "", &[]);
    let mut clients = call(router.gateway).await;
    let metrics = router.metrics;
    during(&mut clients, async {
        let mut hoard = Vec::new();
        // Half of a request, and a whole one whose answer nobody reads.
        for request in ["GET /met", "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"].repeat(8) {
            let mut stream = TcpStream::connect(metrics).await.expect("taken");
            stream.write_all(request.as_bytes()).await.expect("taken");
            hoard.push(stream);
        }
        let line = router.says("a scraper").await;
        assert!(line.contains("cut off"), "{line}");
        let answer = soon("metrics again", get(metrics, "/metrics")).await;
        assert_eq!(answer.status, 200);
        drop(hoard);
    })
    .await;
    let lines = router.lines("a scraper").len();
    assert!((1..=3).contains(&lines), "{lines}");
    nothing_is_lost(&mut clients).await;
}
