//! The router under load: the binary, or this process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rillway::config::{Config, DriverChoice};
use rillway::{Running, Signals};

/// A router on loopback with one worker.
pub(crate) enum Router {
    Binary {
        child: Child,
        gateway: SocketAddr,
        file: PathBuf,
    },
    Here(Running),
}

impl Router {
    pub(crate) fn start(driver: &str) -> Self {
        match std::env::var_os("RILLWAY_BIN") {
            Some(binary) => Router::binary(&PathBuf::from(binary), driver),
            None => Router::Here(here(driver)),
        }
    }

    fn binary(binary: &PathBuf, driver: &str) -> Self {
        let file = std::env::temp_dir().join(format!("rillway-load-{}.toml", std::process::id()));
        let text = "gateway.listen = \"127.0.0.1:0\"\n\
             metrics.listen = \"127.0.0.1:0\"\n\
             media.first_port = 0\n\
             media.bind = [\"127.0.0.1\"]\n";
        std::fs::write(&file, text).expect("a writable temporary directory");
        let mut child = Command::new(binary)
            .args(["dev", "--workers", "1", "--driver", driver, "--config"])
            .arg(&file)
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
        Router::Binary {
            child,
            gateway: gateway.expect("the router says where its page is"),
            file,
        }
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        match self {
            Router::Binary { gateway, .. } => *gateway,
            Router::Here(running) => running.gateway_address(),
        }
    }

    /// Time its process has used; in this process, clients included.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let id = match self {
            Router::Binary { child, .. } => child.id(),
            Router::Here(_) => std::process::id(),
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
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
        if let Router::Binary { child, file, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(file);
        }
    }
}

fn here(driver: &str) -> Running {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::dev();
    config.gateway.listen = loopback;
    if let Some(metrics) = &mut config.metrics {
        metrics.listen = loopback;
    }
    config.media.first_port = 0;
    config.media.bind = vec![loopback.ip()];
    config.media.workers = std::num::NonZeroU16::MIN;
    config.media.driver = match driver {
        "ring" => DriverChoice::Ring,
        _ => DriverChoice::Mmsg,
    };
    rillway::run(config, Signals::Ignore).expect("free ports on loopback")
}
