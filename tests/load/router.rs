//! The router under load: the binary, or this process.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rillway::config::{Config, Overrides};
use rillway::management::wire::WorkersRequest;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::{Client, discovery};
use rillway::{Running, Signals};

/// A free port of loopback.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A router on loopback with one worker.
pub(crate) struct Router {
    process: Process,
    gateway: SocketAddr,
    metrics: SocketAddr,
    /// Its configuration, and what the test puts beside it.
    folder: PathBuf,
}

enum Process {
    Binary(Child),
    /// In this process, until it is dropped.
    Here(Box<Running>),
}

impl Router {
    /// With more lines of configuration.
    pub(crate) fn start(driver: &str, more: &str) -> Self {
        Router::start_with(driver, more, &[])
    }

    /// With files beside the configuration.
    pub(crate) fn start_with(driver: &str, more: &str, files: &[(String, Vec<u8>)]) -> Self {
        Router::start_at(driver, ANY, more, files)
    }

    /// What its configuration begins with.
    pub(crate) fn base(driver: &str, metrics: SocketAddr) -> String {
        format!(
            "gateway.listen = \"127.0.0.1:0\"\n\
             metrics.listen = \"{metrics}\"\n\
             media.first_port = 0\n\
             media.bind = [\"127.0.0.1\"]\n\
             media.workers = 1\n\
             media.driver = \"{driver}\"\n"
        )
    }

    /// With its metrics there.
    pub(crate) fn start_at(
        driver: &str,
        metrics: SocketAddr,
        more: &str,
        files: &[(String, Vec<u8>)],
    ) -> Self {
        let folder = std::env::temp_dir().join(format!("rillway-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable temporary directory");
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).expect("written");
            // Keys among them may be nobody else's to read.
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(folder.join(name), mode).expect("ours");
        }
        let file = folder.join("rillway.toml");
        let mut base = Router::base(driver, metrics);
        if more.contains("media.workers") {
            base = base.replace("media.workers = 1\n", "");
        }
        if more.contains("media.first_port") {
            base = base.replace("media.first_port = 0\n", "");
        }
        let text = base + more;
        std::fs::write(&file, text).expect("written");
        let (process, gateway) = match std::env::var_os("RILLWAY_BIN") {
            Some(binary) => Router::binary(&PathBuf::from(binary), &file),
            None => Router::here(&file),
        };
        Router {
            process,
            gateway,
            metrics,
            folder,
        }
    }

    fn binary(binary: &PathBuf, file: &Path) -> (Process, SocketAddr) {
        let mut child = Command::new(binary)
            .args(["dev", "--config"])
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let gateway = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("Open http://")?;
            rest.split('/').next()?.parse().ok()
        });
        // Keep reading, so that it can write.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let gateway = gateway.expect("the router says where its page is");
        (Process::Binary(child), gateway)
    }

    fn here(file: &Path) -> (Process, SocketAddr) {
        let config = Config::load_dev(Some(file), &Overrides::default());
        let config = config.unwrap_or_else(|error| panic!("{}", error.render(false)));
        let running = rillway::run(config, Signals::Ignore).expect("free ports on loopback");
        let gateway = running.gateway_address();
        (Process::Here(Box::new(running)), gateway)
    }

    /// How long packets stayed in the router in a stretch that begins now, but for its first second: the
    /// router looks at itself once a second. `None`: it is not to be found by itself, as in this process.
    pub(crate) fn waits_of_stretch(
        &self,
        seconds: u64,
    ) -> impl Future<Output = Option<Waits>> + use<> {
        let process = match &self.process {
            Process::Binary(child) => Some(child.id()),
            Process::Here(_) => None,
        };
        async move {
            let process = process?;
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            let before = waits(process).await?;
            let rest = Duration::from_secs(seconds).saturating_sub(Duration::from_millis(1_200));
            tokio::time::sleep(rest).await;
            Some(waits(process).await?.since(&before))
        }
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where its metrics are, if they were given a place.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Its configuration.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("rillway.toml")
    }

    /// Sends a signal to its process, or asks it here to end.
    pub(crate) fn terminate(&self) {
        match &self.process {
            Process::Binary(child) => {
                let pid = child.id().to_string();
                let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
                assert!(status.expect("kill").success());
            }
            Process::Here(running) => running.shutdown(),
        }
    }

    /// Its exit code, once it has ended; here, 0.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        match &mut self.process {
            Process::Binary(child) => child.try_wait().expect("ours").and_then(|s| s.code()),
            Process::Here(_) => Some(0),
        }
    }

    /// Number of its process.
    fn id(&self) -> u32 {
        match &self.process {
            Process::Binary(child) => child.id(),
            Process::Here(_) => std::process::id(),
        }
    }

    /// Memory of its process, bytes; in this process, clients included.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let pages = text
            .split_whitespace()
            .nth(1)
            .and_then(|f| f.parse::<u64>().ok());
        pages.expect("a number") * 4_096
    }

    /// Time its process has used; in this process, clients included.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.id());
        cpu_seconds(&std::fs::read_to_string(path).expect("it runs"))
    }

    /// Time that threads of each name have used, to the nanosecond (the kernel's `sched-stats.rst`); the numbers
    /// at the end of names are left out.
    pub(crate) fn threads_cpu_seconds(&self) -> BTreeMap<String, f64> {
        let mut times = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        for task in tasks.flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file));
            // A thread may have ended since the folder was read.
            let (Ok(name), Ok(stat)) = (read("comm"), read("schedstat")) else {
                continue;
            };
            let name = name
                .trim()
                .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
            let nanoseconds = stat.split_whitespace().next().map(str::parse::<f64>);
            let nanoseconds = nanoseconds.expect("three fields").expect("a number");
            *times.entry(name.to_owned()).or_default() += nanoseconds / 1e9;
        }
        times
    }
}

/// utime and stime of proc(5)'s `stat`, at 100 ticks a second.
fn cpu_seconds(stat: &str) -> f64 {
    // The 14th and 15th field; the 2nd may hold spaces.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    let fields = rest.split_whitespace().skip(11).take(2);
    let ticks = fields.map(|field| field.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}

/// Prints what threads used between two looks.
pub(crate) fn report_threads(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    let used = after.iter().map(|(name, time)| {
        let used = time - before.get(name).copied().unwrap_or(0.0);
        (name, used)
    });
    let used = used.filter(|(_, time)| *time >= 0.0001);
    let parts: Vec<String> = used
        .map(|(name, time)| format!("{name} {time:.4} s"))
        .collect();
    println!("processor time by thread: {}", parts.join(", "));
}

impl Drop for Router {
    fn drop(&mut self) {
        if let Process::Binary(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Packets by the microseconds they stayed in the router.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(BTreeMap<u64, u64>);

impl Waits {
    fn since(mut self, before: &Waits) -> Waits {
        for (micros, count) in &before.0 {
            if let Some(now) = self.0.get_mut(micros) {
                *now -= count;
            }
        }
        self
    }

    fn add(&mut self, more: &Waits) {
        for (micros, count) in &more.0 {
            *self.0.entry(*micros).or_default() += count;
        }
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Microseconds; 0 where there is nothing.
    fn quantile(&self, share: f64) -> u64 {
        let rank = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = self.0.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank && rank > 0
        });
        reached.map_or(0, |(micros, _)| *micros)
    }
}

/// What the router says of its workers, added up.
async fn waits(process: u32) -> Option<Waits> {
    let folder = discovery::folder().expect("a folder for what runs here");
    let (_, target) = discovery::find(&folder, Some(process)).ok()?;
    let client = Client::connect(&target)
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let answer = client.call(Verb::Workers(WorkersRequest {})).await;
    let mut answer = answer.unwrap_or_else(|e| panic!("{e}"));
    let mut waits = Waits::default();
    while let Some(part) = answer.next().await.unwrap_or_else(|e| panic!("{e}")) {
        let Part::Workers(workers) = part else {
            continue;
        };
        let latencies = workers
            .workers
            .into_iter()
            .filter_map(|worker| worker.forwarding);
        for bucket in latencies.flat_map(|latency| latency.buckets) {
            *waits.0.entry(bucket.up_to_us).or_default() += bucket.count;
        }
    }
    client.close().await;
    Some(waits)
}

/// Prints what was measured, each beside the nearest stretches in which nothing else happened, before and after it.
pub(crate) fn report_waits(stretches: &[(&str, bool, &Option<Waits>)]) {
    for (number, (title, _, waits)) in stretches.iter().enumerate() {
        let Some(waits) = waits else {
            return;
        };
        let (before, after) = stretches.split_at(number);
        let after = after.get(1..).unwrap_or_default();
        let mut calm = Waits::default();
        let calm_before = before.iter().rev().find(|(_, calm, _)| *calm);
        let calm_after = after.iter().find(|(_, calm, _)| *calm);
        for (_, _, near) in calm_before.into_iter().chain(calm_after) {
            near.iter().for_each(|near| calm.add(near));
        }
        let p99 = waits.quantile(0.99);
        let beside = match calm.quantile(0.99) {
            0 => String::new(),
            calm => format!(" ({:+.0} %)", (p99 as f64 / calm as f64 - 1.0) * 100.0),
        };
        println!(
            "{title:<24} {:>8} packets measured; in the router, µs: p50 {}, p90 {}, p99 {p99}{beside}, p99.9 {}",
            waits.count(),
            waits.quantile(0.5),
            waits.quantile(0.9),
            waits.quantile(0.999),
        );
    }
}
