//! A service manager that a router talks to: a socket, as systemd's is.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::site::{Process, Site};

/// systemd waits for 90 s; what is waited for here takes a few.
const PATIENCE: Duration = Duration::from_secs(30);

struct Manager(UnixDatagram);

impl Manager {
    fn new(site: &Site) -> Manager {
        let socket = UnixDatagram::bind(site.0.join("notify")).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("set");
        Manager(socket)
    }

    /// The next message that has this line; what comes before it does not matter.
    fn told(&self, line: &str) -> String {
        let began = Instant::now();
        let mut seen = Vec::new();
        while began.elapsed() < PATIENCE {
            let mut buffer = [0; 4_096];
            let Ok(length) = self.0.recv(&mut buffer) else {
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|l| l == line) {
                return text;
            }
            seen.push(text);
        }
        panic!("{line} was not said, but {seen:?}");
    }
}

#[test]
fn a_service_manager_hears_of_start_progress_reloads_and_end() {
    let site = Site::new("supervised");
    let manager = Manager::new(&site);
    site.save("authentication.policy = \"auth-open\"\n");
    let path = site.0.join("notify");
    let path = path.to_str().expect("UTF-8");
    let mut router = Process::start_with(
        &site,
        &[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "2000000")],
    );
    let ready = manager.told("READY=1");
    assert!(ready.contains("STATUS=serving, 1 media workers"), "{ready}");
    manager.told("WATCHDOG=1");
    manager.told("WATCHDOG=1");
    // A file that is refused ends a reload as well.
    for text in [
        "authentication.policy = \"auth-open\"\nlog.filter = \"warn\"\n",
        "nonsense",
    ] {
        site.save(text);
        router.signal("HUP");
        let reloading = manager.told("RELOADING=1");
        let time = reloading
            .lines()
            .find_map(|l| l.strip_prefix("MONOTONIC_USEC="));
        assert!(
            time.is_some_and(|t| t.parse::<u64>().is_ok()),
            "{reloading}"
        );
        manager.told("READY=1");
    }
    router.signal("TERM");
    let stopping = manager.told("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    assert_eq!(router.wait(), Some(0));
}

/// The unit that is checked in, with a program that exists.
fn unit(site: &Site) -> std::path::PathBuf {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../config/systemd/rillway.service"
    );
    let unit = std::fs::read_to_string(path).expect("the unit");
    let program = "ExecStart=/usr/local/bin/rillway ";
    assert!(unit.contains(program), "{unit}");
    site.write(
        "rillway.service",
        unit.replace(program, "ExecStart=/bin/true "),
    );
    site.0.join("rillway.service")
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let site = Site::new("unit");
    let unit = unit(&site);
    for arguments in [
        &["verify"][..],
        // Of 100, where 0 is a process that can do nothing.
        &["security", "--offline=true", "--threshold=20"][..],
    ] {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .output();
        let Ok(output) = output else {
            return println!("skipped: no systemd-analyze here (Debian: systemd)");
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(!said.contains("Unknown"), "{arguments:?}: {said}");
    }
}
