//! What benchmarks beside a router share: its process, what its threads cost, and what it counted.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// In which a router listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A router process, which ends when this is dropped.
pub struct Served(Child);

impl Served {
    /// Runs `$RILLWAY_BIN` with a configuration, and waits until its gateway listens there.
    ///
    /// # Panics
    /// No binary, or it does not listen.
    pub fn start(config: &Path, gateway: SocketAddr) -> Served {
        let binary = std::env::var_os("RILLWAY_BIN").expect("RILLWAY_BIN names the router");
        let process = Command::new(binary)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .spawn();
        let served = Served(process.expect("the router starts"));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(gateway).is_err() {
            assert!(Instant::now() < until, "the router does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        served
    }

    /// Processor time of those of its threads whose names are wanted, seconds.
    pub fn seconds(&self, wanted: impl Fn(&str) -> bool) -> f64 {
        seconds(self.0.id(), wanted)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time of those threads of a process whose names are wanted, seconds.
///
/// # Panics
/// There is no such process.
pub fn seconds(process: u32, wanted: impl Fn(&str) -> bool) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let named = tasks.flatten().filter(|task| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| wanted(name.trim()))
    });
    let spent = named.map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let spent = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
        spent.unwrap_or(0.0) / 1e9
    });
    spent.sum()
}

/// A port of loopback that is free for TCP.
///
/// # Panics
/// There is none.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.expect("a free port")
}

/// What a router's metrics say now.
pub struct Scrape(String);

impl Scrape {
    /// Reads them.
    ///
    /// # Panics
    /// Nobody answers.
    pub fn of(metrics: SocketAddr) -> Scrape {
        let mut stream = TcpStream::connect(metrics).expect("it listens");
        let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        Scrape(text)
    }

    /// The sum of all series of a name with labels that have this in them.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let series = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('{') && rest.contains(label))
        };
        let values = self.0.lines().filter(series);
        values
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
