//! The router under load: the binary, or this process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rillway::config::{Config, Overrides};
use rillway::{Running, Signals};

/// A router on loopback with one worker.
pub(crate) struct Router {
    process: Process,
    gateway: SocketAddr,
    /// Its configuration, and what the test puts beside it.
    folder: PathBuf,
}

enum Process {
    Binary(Child),
    /// In this process, until it is dropped.
    Here(#[expect(dead_code, reason = "held")] Running),
}

impl Router {
    /// With more lines of configuration.
    pub(crate) fn start(driver: &str, more: &str) -> Self {
        Router::start_with(driver, more, &[])
    }

    /// With files beside the configuration.
    pub(crate) fn start_with(driver: &str, more: &str, files: &[(String, Vec<u8>)]) -> Self {
        let folder = std::env::temp_dir().join(format!("rillway-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable temporary directory");
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).expect("written");
        }
        let file = folder.join("rillway.toml");
        let text = format!(
            "gateway.listen = \"127.0.0.1:0\"\n\
             metrics.listen = \"127.0.0.1:0\"\n\
             media.first_port = 0\n\
             media.bind = [\"127.0.0.1\"]\n\
             media.workers = 1\n\
             media.driver = \"{driver}\"\n\
             {more}"
        );
        std::fs::write(&file, text).expect("written");
        let (process, gateway) = match std::env::var_os("RILLWAY_BIN") {
            Some(binary) => Router::binary(&PathBuf::from(binary), &file),
            None => Router::here(&file),
        };
        Router {
            process,
            gateway,
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
        (Process::Here(running), gateway)
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.gateway
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
        let stat = std::fs::read_to_string(path).expect("it runs");
        // utime and stime are the 14th and 15th field; the 2nd may hold spaces.
        let (_, rest) = stat.rsplit_once(')').expect("a name");
        let mut fields = rest.split_whitespace().skip(11);
        let mut next = || {
            fields
                .next()
                .and_then(|f| f.parse::<f64>().ok())
                .expect("a number")
        };
        (next() + next()) / 100.0
    }
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
