//! How the swarm itself fares, so that a loss of its own is not taken for the server's; and what watched processes use.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Processor time of a thread, nanoseconds (the kernel's `sched-stats.rst`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scheduled {
    /// It ran.
    pub(crate) ran: u64,
    /// It could have run, and others did.
    pub(crate) waited: u64,
}

impl Scheduled {
    fn read(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace();
        let mut next = || fields.next()?.parse().ok();
        Some(Scheduled {
            ran: next()?,
            waited: next()?,
        })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Scheduled {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// Of a thread of this process.
pub(crate) fn of_task(task: u32) -> Scheduled {
    let path = format!("/proc/self/task/{task}/schedstat");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    Scheduled::read(&text).unwrap_or_default()
}

/// Datagrams that the kernel dropped because sockets of these ports were full.
pub(crate) fn dropped(ports: &HashSet<u16>) -> u64 {
    let files = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap_or_default());
    texts.iter().map(|text| dropped_in(text, ports)).sum()
}

/// proc_net_udp(5): the local address is the second field, the drops are the last.
fn dropped_in(text: &str, ports: &HashSet<u16>) -> u64 {
    let lines = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let drops: u64 = fields.last()?.parse().ok()?;
        ports.contains(&port).then_some(drops)
    });
    lines.sum()
}

/// A process that is watched, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// By thread, nanoseconds.
    threads: BTreeMap<u32, u64>,
    /// Memory, bytes.
    pub(crate) resident: u64,
}

impl Process {
    /// Looks at it. `None`: there is no such process, or it is not ours to see.
    pub(crate) fn look(process: u32) -> Option<Self> {
        let folder = format!("/proc/{process}");
        let status = std::fs::read_to_string(Path::new(&folder).join("status")).ok()?;
        let tasks = std::fs::read_dir(Path::new(&folder).join("task")).ok()?;
        let threads = tasks.flatten().filter_map(|task| {
            let number = task.file_name().to_str()?.parse().ok()?;
            // A thread may have ended since the folder was read.
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((number, Scheduled::read(&text)?.ran))
        });
        Some(Process {
            threads: threads.collect(),
            resident: resident(&status).unwrap_or(0),
        })
    }

    /// Processor time since then, nanoseconds. Threads that ended in between are not in it.
    pub(crate) fn used_since(&self, before: &Process) -> u64 {
        let used = self.threads.iter().map(|(thread, ran)| {
            let then = before.threads.get(thread).copied().unwrap_or(0);
            ran.saturating_sub(then)
        });
        used.sum()
    }
}

/// `VmRSS` of proc_pid_status(5), bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_kernel() {
        let before = Scheduled::read("1000 20 3\n").expect("three numbers");
        let after = Scheduled::read("1500 25 4\n").expect("three numbers");
        let used = Scheduled {
            ran: 500,
            waited: 5,
        };
        assert_eq!(after.since(before), used);
        assert_eq!(Scheduled::read("1000"), None);
        // The kernel adds up when a thread leaves its core.
        std::thread::sleep(std::time::Duration::from_millis(2));
        let task = rustix::thread::gettid().as_raw_nonzero().get();
        assert!(of_task(task.unsigned_abs()).ran > 0);
    }

    #[test]
    fn drops_are_those_of_the_swarms_sockets() {
        let text = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  511: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 7
  512: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0000000000000000 5
";
        assert_eq!(dropped_in(text, &HashSet::from([8_080])), 7);
        assert_eq!(dropped_in(text, &HashSet::from([8_080, 8_081, 1])), 12);
    }

    #[test]
    fn a_process_is_looked_at() {
        let own = Process::look(std::process::id()).expect("this one");
        assert!(own.resident > 0 && !own.threads.is_empty());
        assert_eq!(own.used_since(&own), 0);
        assert_eq!(Process::look(u32::MAX), None);
        let before = Process {
            threads: BTreeMap::from([(1, 10), (2, 20)]),
            resident: 0,
        };
        let after = Process {
            threads: BTreeMap::from([(1, 15), (3, 7)]),
            resident: 0,
        };
        assert_eq!(after.used_since(&before), 12);
    }
}
