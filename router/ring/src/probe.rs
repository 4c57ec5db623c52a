//! Whether io_uring does on this host what the ring driver needs, found out by doing it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::DriverConfig;
use crate::driver::{Receiver, SendRun, SocketId};
use crate::patience;
use crate::ring::core::{self, RingCore};
use crate::runtime;
use crate::socket;

/// How long a datagram may take over loopback.
const LOOPBACK_TIME: Duration = Duration::from_millis(500);
/// Two datagrams, the second shorter: one GSO run, one GRO train.
const PAYLOAD: &[u8; 20] = b"rillway-uring-probe!";
const SEGMENT_BYTES: usize = 12;

/// Why io_uring cannot carry the media: the step that failed, what the kernel said, what to do.
#[derive(Debug)]
pub struct RingFault {
    step: &'static str,
    source: io::Error,
    advice: String,
}

impl RingFault {
    pub(crate) fn new(step: &'static str, source: io::Error, config: &DriverConfig) -> Self {
        let advice = advice(&source, config);
        Self {
            step,
            source,
            advice,
        }
    }

    /// The step that failed, for instance `io_uring_setup`.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// What to do about it, one line; empty where nothing is known.
    pub fn advice(&self) -> &str {
        &self.advice
    }
}

impl fmt::Display for RingFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.step, self.source)?;
        match self.advice.as_str() {
            "" => Ok(()),
            advice => write!(formatter, ": {advice}"),
        }
    }
}

impl std::error::Error for RingFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn advice(error: &io::Error, config: &DriverConfig) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => denied(),
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring, or a seccomp filter hides it (containers do by default)"
                .to_owned()
        }
        Some(libc::ENOMEM) => format!(
            "RLIMIT_MEMLOCK is {} and a worker needs {} KiB: raise it (LimitMEMLOCK= in a systemd \
             unit, --ulimit memlock= of a container) to that times the number of workers",
            memlock_limit(),
            memlock_bytes(config).div_ceil(1024),
        ),
        Some(libc::EINVAL | libc::EOPNOTSUPP) => old_kernel(&kernel_release()),
        Some(libc::EMFILE | libc::ENFILE) => {
            "too few file descriptors: raise RLIMIT_NOFILE".to_owned()
        }
        _ => String::new(),
    }
}

fn denied() -> String {
    let sysctl = read_line("/proc/sys/kernel/io_uring_disabled");
    match sysctl.as_deref() {
        Some("2") => "forbidden by the sysctl kernel.io_uring_disabled=2".to_owned(),
        Some("1") => "the sysctl kernel.io_uring_disabled=1 allows it only with CAP_SYS_ADMIN or to \
                      the group in kernel.io_uring_group"
            .to_owned(),
        _ => "forbidden by a seccomp filter (container runtimes do by default) or a security module: \
              allow io_uring_setup, io_uring_enter and io_uring_register in the profile"
            .to_owned(),
    }
}

/// Advice where an operation or a flag is unknown. What the ring driver needs came with Linux 6.0.
fn old_kernel(release: &str) -> String {
    let major = release
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= 6 => String::new(),
        _ => format!("Linux {release} is too old: 6.0 or newer is needed"),
    }
}

/// Memory that the kernel charges against RLIMIT_MEMLOCK for one worker, bytes, rounded up: the
/// runtime's ring, the media ring and its buffer ring. Receive buffers themselves are not charged.
pub fn memlock_bytes(config: &DriverConfig) -> usize {
    const PAGE: usize = 4096;
    const RING_HEADER: usize = 512;
    let ring = |submissions: usize, completions: usize| {
        (RING_HEADER + completions * 16 + submissions * 4).next_multiple_of(PAGE)
            + (submissions * 64).next_multiple_of(PAGE)
    };
    let beside = ring(
        runtime::RING_ENTRIES as usize,
        2 * runtime::RING_ENTRIES as usize,
    );
    let media = ring(
        core::SUBMISSION_ENTRIES as usize,
        core::completion_entries(config) as usize,
    );
    let buffers = (usize::from(config.receive_buffers) * 16).next_multiple_of(PAGE);
    beside + media + buffers
}

fn memlock_limit() -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max locked memory"));
    match line
        .and_then(|line| line.split_whitespace().nth(3))
        .map(str::parse::<u64>)
    {
        Some(Ok(bytes)) => format!("{} KiB", bytes / 1024),
        Some(Err(_)) => "unlimited".to_owned(),
        None => "unknown".to_owned(),
    }
}

pub(crate) fn kernel_release() -> String {
    read_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "of unknown version".to_owned())
}

fn read_line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Builds everything a worker will need, at full size, and sends itself a segmented run over
/// loopback. Needs no runtime. Returns one line of proof.
pub(crate) fn io_uring(config: &DriverConfig) -> Result<String, RingFault> {
    let at = |step| move |error| RingFault::new(step, error, config);
    // The worker's runtime will hold a ring of its own at the same time, if it does not yet.
    let runtime = match runtime::has_ring_here() {
        true => None,
        false => {
            Some(patience::for_memory(core::build_runtime_ring).map_err(at("io_uring_setup"))?)
        }
    };
    let socket = loopback(config).map_err(at("binding a loopback socket"))?;
    let mut core = RingCore::new(config, vec![socket])?;
    let took = round_trip(&mut core).map_err(at("a datagram over loopback"))?;
    core.shutdown();
    drop(runtime);
    Ok(format!(
        "io_uring works (Linux {}, loopback round trip in {} µs)",
        kernel_release(),
        took.as_micros()
    ))
}

/// A socket that can reach itself: loopback, else one of the configured addresses.
fn loopback(config: &DriverConfig) -> io::Result<socket::UdpSocket> {
    let loopbacks = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let own = config
        .addresses
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for ip in loopbacks.into_iter().chain(own) {
        let mut small = DriverConfig::new([SocketAddr::new(ip, 0)]);
        small.receive_socket_bytes = 64 << 10;
        small.send_socket_bytes = 64 << 10;
        match socket::bind_all(&small, false) {
            Ok(mut sockets) => return sockets.pop().ok_or(last),
            Err(error) => {
                if let crate::open::OpenError::Bind { source, .. }
                | crate::open::OpenError::Socket { source, .. } = error
                {
                    last = source;
                }
            }
        }
    }
    Err(last)
}

#[derive(Default)]
struct Collected(Vec<u8>, usize);

impl Receiver for Collected {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        self.0.extend_from_slice(data);
        self.1 += 1;
    }
}

fn round_trip(core: &mut RingCore) -> io::Result<Duration> {
    let start = Instant::now();
    let destination = core.local_addresses()[0];
    let run = SendRun {
        socket: SocketId(0),
        destination,
        segment_bytes: SEGMENT_BYTES,
        payload: PAYLOAD,
    };
    core.send(run).map_err(io::Error::other)?;
    core.flush()?;
    let mut collected = Collected::default();
    loop {
        core.receive(16, &mut collected)?;
        if collected.0 == PAYLOAD && collected.1 == 2 {
            return Ok(start.elapsed());
        }
        let left = LOOPBACK_TIME.checked_sub(start.elapsed());
        let Some(left) = left.filter(|left| !left.is_zero()) else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        core.wait(left)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_error() {
        let config = DriverConfig::new(["127.0.0.1:0".parse().unwrap()]);
        let said = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            RingFault::new("io_uring_setup", error, &config).to_string()
        };
        assert!(said(libc::EPERM).contains("io_uring_setup: Operation not permitted"));
        assert!(said(libc::ENOSYS).contains("no io_uring"));
        assert!(said(libc::ENOMEM).contains("RLIMIT_MEMLOCK is"));
        assert!(said(libc::EMFILE).contains("RLIMIT_NOFILE"));
        assert!(
            said(libc::EIO).ends_with("(os error 5)"),
            "no advice where none is known"
        );
        assert_eq!(old_kernel("6.18.44"), "");
        for old in ["5.15.0-91-generic", "4.18.0"] {
            assert!(old_kernel(old).contains("6.0 or newer"));
        }
    }

    #[test]
    fn the_memory_needed_grows_with_the_rings() {
        let mut config = DriverConfig::new(["127.0.0.1:0".parse().unwrap()]);
        let usual = memlock_bytes(&config);
        assert_eq!(usual, 100 << 10, "docs/drivers.md says so");
        config.send_slots = 4096;
        config.receive_buffers = 1 << 15;
        assert!(memlock_bytes(&config) > 10 * usual);
    }
}
