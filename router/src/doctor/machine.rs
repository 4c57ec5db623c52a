//! The machine: clock, limits, buffers, cores, io_uring, Landlock.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rillway_ring::clock::{self, ClockStatus};
use rillway_ring::{Chosen, DriverKind, OpenError, memlock_bytes};

use super::report::Finding;
use super::{Patient, Worker};
use crate::config::{Config, Confinement, DriverChoice};
use crate::sandbox::{self, Confined, SandboxError};

/// A clock that is further off lets tokens and credentials end too early or too late.
const CLOCK_ERROR_MAX: Duration = Duration::from_secs(1);
/// No router of this version ran before 2026, seconds since 1970.
const EPOCH_SECONDS: u64 = 1_767_225_600;
/// Descriptors that a process has besides its sockets and files: standard streams, rings, epoll sets, queues' wakers.
const DESCRIPTORS_BESIDE: u64 = 64;
/// Capabilities (capabilities(7)): their bits.
const CAP_NET_ADMIN: u32 = 12;
const CAP_IPC_LOCK: u32 = 14;

/// The clock.
pub(super) fn time() -> Finding {
    judge_clock(clock::status(), SystemTime::now())
}

fn judge_clock(status: io::Result<ClockStatus>, now: SystemTime) -> Finding {
    const CHECK: &str = "clock";
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let way = "let something keep it: `timedatectl set-ntp true`, or install chrony";
    if seconds < EPOCH_SECONDS {
        let what = "it is before 2026: certificates are not valid yet, and tokens never end";
        return Finding::problem(CHECK, what).mend(way);
    }
    match status {
        Err(error) => {
            let what = format!("the kernel does not say whether it is kept: {error}");
            Finding::not_checked(CHECK, what)
        }
        Ok(status) if !status.synchronised => {
            let what = "nothing keeps it: tokens and certificates end by it";
            Finding::warning(CHECK, what).mend(way)
        }
        Ok(status) if status.error_max > CLOCK_ERROR_MAX => {
            let what = format!("it may be {:.1} s off", status.error_max.as_secs_f64());
            Finding::warning(CHECK, what)
                .mend("`chronyc tracking` or `timedatectl timesync-status`")
        }
        Ok(status) => {
            let what = format!(
                "synchronised, at most {} ms off",
                status.error_max.as_millis()
            );
            Finding::ok(CHECK, what)
        }
    }
}

/// Limits of a process; `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    memlock_bytes: Option<u64>,
    descriptors: Option<u64>,
    /// Capabilities in effect.
    capabilities: u64,
}

/// Whose limits they are: a shell's are seldom those of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Router(u32),
    Ours,
}

impl Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whose::Router(pid) => write!(f, "of the running router, process {pid}"),
            Whose::Ours => f.write_str("here (a service has limits of its own)"),
        }
    }
}

/// What is said of a process in `/proc`.
fn limits(process: &Path) -> io::Result<Limits> {
    let limits = std::fs::read_to_string(process.join("limits"))?;
    let status = std::fs::read_to_string(process.join("status"))?;
    Ok(parse_limits(&limits, &status))
}

fn parse_limits(limits: &str, status: &str) -> Limits {
    // The soft limit is the one in force. `unlimited` is no number.
    let soft = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    Limits {
        memlock_bytes: soft("Max locked memory"),
        descriptors: soft("Max open files"),
        capabilities: effective.unwrap_or_default(),
    }
}

impl Limits {
    fn may(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }
}

/// Limits of the running router, else of this process.
pub(super) fn process(patient: &Patient) -> Vec<Finding> {
    let running = patient.router.and_then(|pid| {
        let limits = limits(Path::new(&format!("/proc/{pid}"))).ok()?;
        Some((Whose::Router(pid), limits))
    });
    let ours = || Some((Whose::Ours, limits(Path::new("/proc/self")).ok()?));
    let Some((whose, limits)) = running.or_else(ours) else {
        let what = "/proc/self/limits cannot be read";
        return vec![Finding::not_checked("limits", what)];
    };
    let config = &patient.config;
    vec![
        judge_memlock(config, &patient.workers, whose, limits),
        judge_descriptors(Descriptors::of(config, &patient.workers), whose, limits),
        buffer(
            patient,
            limits,
            "rmem_max",
            config.media.receive_buffer_bytes,
        ),
        buffer(patient, limits, "wmem_max", config.media.send_buffer_bytes),
    ]
}

fn kib(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

fn judge_memlock(config: &Config, workers: &[Worker], whose: Whose, limits: Limits) -> Finding {
    const CHECK: &str = "locked memory";
    if config.media.driver == DriverChoice::Mmsg {
        return Finding::ok(CHECK, "not needed: `media.driver` is \"mmsg\"");
    }
    let needed: usize = workers.iter().map(|w| memlock_bytes(&w.driver)).sum();
    let needed = needed as u64;
    let lock = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), kib);
    let have = lock(limits.memlock_bytes);
    let enough = limits.memlock_bytes.is_none_or(|limit| limit >= needed);
    if enough {
        let what = format!(
            "{have} {whose}, and the workers' rings take {}",
            kib(needed)
        );
        return Finding::ok(CHECK, what);
    }
    if matches!(whose, Whose::Router(_)) && limits.may(CAP_IPC_LOCK) {
        return Finding::ok(CHECK, format!("unbounded by CAP_IPC_LOCK {whose}"));
    }
    let what = format!(
        "RLIMIT_MEMLOCK is {have} {whose}, and the workers' rings take {}",
        kib(needed)
    );
    let finding = match config.media.driver {
        DriverChoice::Ring => Finding::problem(CHECK, what),
        _ => Finding::warning(CHECK, what + ": without it they take mmsg"),
    };
    let mebibytes = (2 * needed).div_ceil(1_048_576);
    finding
        .at("media.driver")
        .mend(format!("service: `systemctl edit rillway`, `[Service]`, `LimitMEMLOCK={mebibytes}M`, restart it"))
        .mend(format!("container: `--ulimit memlock={}`", mebibytes * 1_048_576))
        .mend(format!("shell: `ulimit -l {}`", mebibytes * 1_024))
}

/// Descriptors that a router wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descriptors {
    /// To start at all.
    start: u64,
    /// When everything that is allowed is there.
    full: u64,
}

impl Descriptors {
    fn of(config: &Config, workers: &[Worker]) -> Descriptors {
        let tcp = config.media.tcp;
        let media: usize = workers.iter().map(|w| w.bound.len()).sum();
        let media = media as u64 * if tcp.is_some() { 2 } else { 1 };
        let start = DESCRIPTORS_BESIDE + media + 8 * workers.len() as u64;
        let connections = tcp.map_or(0, |tcp| u64::from(tcp.connections_max));
        let files = config.recording.as_ref().and(config.recorder.as_ref());
        let files = files.map_or(0, |recorder| u64::from(recorder.files_max));
        // A socket for what is relayed, and for clients that come by TCP another one.
        let relayed = config.turn.as_ref().map_or(0, |turn| {
            let sockets = if turn.tcp.is_empty() && turn.tls.is_empty() {
                1
            } else {
                2
            };
            sockets * u64::from(turn.allocations_max)
        });
        let full = u64::from(config.gateway.connections_max)
            + connections * workers.len() as u64
            + files
            + relayed;
        Descriptors {
            start,
            full: start + full,
        }
    }
}

fn judge_descriptors(wanted: Descriptors, whose: Whose, limits: Limits) -> Finding {
    const CHECK: &str = "descriptors";
    let Descriptors { start, full } = wanted;
    let Some(limit) = limits.descriptors.filter(|limit| *limit < full) else {
        let have = limits
            .descriptors
            .map_or("unlimited".to_owned(), |n| n.to_string());
        let what = format!("{have} {whose}, and the limits of the configuration take {full}");
        return Finding::ok(CHECK, what);
    };
    let finding = if limit < start {
        let what = format!("RLIMIT_NOFILE is {limit} {whose}, and a start takes {start}");
        Finding::problem(CHECK, what)
    } else {
        let what = format!(
            "RLIMIT_NOFILE is {limit} {whose}, and the limits of the configuration take {full}"
        );
        Finding::warning(CHECK, what)
    };
    let wanted = full.next_power_of_two();
    finding
        .mend(format!(
            "service: `systemctl edit rillway`, `[Service]`, `LimitNOFILE={wanted}`, restart it"
        ))
        .mend(format!("container: `--ulimit nofile={wanted}`"))
        .mend(format!("shell: `ulimit -n {wanted}`"))
        .mend("or lower `gateway.connections_max`, `recording.files_max` and their like")
}

fn buffer(patient: &Patient, limits: Limits, name: &'static str, wanted: u32) -> Finding {
    let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}"));
    let max = text.ok().and_then(|text| text.trim().parse().ok());
    let forced = patient.router.is_some() && limits.may(CAP_NET_ADMIN);
    judge_buffer(name, max, wanted, forced)
}

fn judge_buffer(name: &'static str, max: Option<u64>, wanted: u32, forced: bool) -> Finding {
    const CHECK: &str = "socket buffers";
    let wanted = u64::from(wanted);
    let key = match name {
        "rmem_max" => "media.receive_buffer_bytes",
        _ => "media.send_buffer_bytes",
    };
    match max {
        None => Finding::not_checked(CHECK, format!("net.core.{name} cannot be read here")),
        Some(max) if max >= wanted || forced => {
            Finding::ok(CHECK, format!("net.core.{name} is {max}, `{key}` {wanted}"))
        }
        Some(max) => {
            let what = format!(
                "net.core.{name} is {max}, so a socket gets that instead of {wanted}: bursts are lost"
            );
            let file = "/etc/sysctl.d/60-rillway.conf";
            Finding::warning(CHECK, what)
                .at(key)
                .mend(format!(
                    "`sysctl -w net.core.{name}={wanted}`, then restart rillway"
                ))
                .mend(format!(
                    "for good: `echo net.core.{name}={wanted} >> {file}`"
                ))
        }
    }
}

/// Workers and the cores they may run on.
pub(super) fn cores(config: &Config) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    judge_cores(usize::from(config.media.workers.get()), cores)
}

fn judge_cores(workers: usize, cores: usize) -> Finding {
    const CHECK: &str = "workers";
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (w, c) = (plural(workers, "worker"), plural(cores, "core"));
    if workers <= cores {
        return Finding::ok(CHECK, format!("{w} on {c}"));
    }
    let what = format!("{w} share {c} that this process may use: each waits for the others");
    Finding::warning(CHECK, what)
        .at("media.workers")
        .mend("`media.workers = 0` takes one for each core; a container has what `--cpus` and `--cpuset-cpus` say")
}

/// Which driver the workers get.
pub(super) fn driver(patient: &Patient) -> Vec<Finding> {
    let first = patient.workers.first();
    let judged = first.map(|worker| {
        let chosen = rillway_ring::choose(worker.choice, &worker.driver);
        judge_driver(patient.config.media.driver, chosen)
    });
    judged.into_iter().collect()
}

fn judge_driver(choice: DriverChoice, chosen: Result<Chosen, OpenError>) -> Finding {
    const CHECK: &str = "io_uring";
    match chosen {
        Ok(chosen) if choice == DriverChoice::Auto && chosen.kind == DriverKind::Mmsg => {
            let what = format!("\"auto\" takes mmsg: {}", chosen.reason);
            Finding::warning(CHECK, what).at("media.driver").mend(
                "it works, at about the same cost; `media.driver = \"mmsg\"` says that it is meant (docs/drivers.md)",
            )
        }
        Ok(chosen) => Finding::ok(CHECK, format!("driver {}: {}", chosen.kind, chosen.reason)),
        Err(error) => {
            let finding = Finding::problem(CHECK, error.to_string()).at("media.driver");
            let finding = match &error {
                OpenError::Ring(fault) if !fault.advice().is_empty() => {
                    finding.mend(fault.advice())
                }
                _ => finding,
            };
            finding.mend("\"auto\" takes the ring where it works and \"mmsg\" where not")
        }
    }
}

/// Whether the process can be confined to its files.
pub(super) fn confinement(config: &Config) -> Finding {
    match config.sandbox.files {
        Confinement::Off => Finding::ok("sandbox", "off, by `sandbox.files`"),
        wanted => judge_confinement(wanted, &sandbox::probe()),
    }
}

fn judge_confinement(wanted: Confinement, probe: &Result<Confined, SandboxError>) -> Finding {
    const CHECK: &str = "sandbox";
    let way = "a kernel with Landlock (Linux 5.13), named in the boot parameter `lsm=`";
    match probe {
        Ok(Confined::Whole) => Finding::ok(CHECK, "Landlock works"),
        Ok(Confined::Partly) => {
            let what = "this kernel's Landlock is older: some rights stay";
            Finding::ok(CHECK, what)
        }
        Ok(Confined::Not) if wanted == Confinement::Required => {
            let what = "this kernel has no Landlock, and `sandbox.files` is \"required\"";
            let finding = Finding::problem(CHECK, what).at("sandbox.files");
            finding
                .mend(way)
                .mend("`sandbox.files = \"auto\"` runs without")
        }
        Ok(Confined::Not) => {
            let what = "this kernel has no Landlock: `serve` reaches every file that its user may";
            Finding::warning(CHECK, what).at("sandbox.files").mend(way)
        }
        Err(error) => Finding::problem(CHECK, error.to_string())
            .at("sandbox.files")
            .mend("`sandbox.files = \"off\"` runs without"),
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
