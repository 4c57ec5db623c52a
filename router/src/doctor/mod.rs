//! `rillway doctor`: what of this machine would keep a router from serving, and how it is mended.
//!
//! Facts are gathered by what `serve` itself uses (configuration, binds, the probe of io_uring, Landlock), and judged by
//! functions over them alone. Checks that may wait run beside each other, and none longer than [`PATIENCE`]. Nothing is
//! sent to anybody but this machine and the STUN servers that the configuration or the command line names.

mod certificates;
mod files;
mod holders;
mod machine;
mod ports;
mod public;
mod reach;
mod report;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rillway_ring::DriverConfig;

use crate::config::{Config, ConfigError};
use crate::run;

pub use report::{Finding, Report, Verdict};

/// What is not known then is told to be so: a name service or a network disk may never answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker as it would be, or is.
struct Worker {
    driver: DriverConfig,
    choice: rillway_ring::DriverChoice,
    bound: Vec<SocketAddr>,
    /// As clients are told, by the same index.
    told: Vec<SocketAddr>,
    /// TCP: bound, and as clients are told.
    tcp: Vec<(SocketAddr, SocketAddr)>,
}

/// What all checks know.
struct Patient {
    config: Config,
    workers: Vec<Worker>,
    /// Addresses of this machine.
    own: Vec<IpAddr>,
    /// STUN servers to ask.
    servers: Vec<String>,
    /// A running router that holds ports of the configuration.
    router: Option<u32>,
    /// Whether the media ports are a running router's.
    media_runs: bool,
    /// Whether they are nobody's.
    media_free: bool,
}

impl Patient {
    /// Media addresses of UDP with a port, each once though workers share it: bound, and as clients are told.
    fn told(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let all = self.workers.iter();
        let all = all.flat_map(|worker| worker.bound.iter().zip(&worker.told));
        each_once(all.map(|(bound, told)| (*bound, *told)))
    }

    /// The same of TCP.
    fn told_tcp(&self) -> Vec<(SocketAddr, SocketAddr)> {
        each_once(self.workers.iter().flat_map(|w| w.tcp.iter().copied()))
    }
}

fn each_once(all: impl Iterator<Item = (SocketAddr, SocketAddr)>) -> Vec<(SocketAddr, SocketAddr)> {
    let mut known = BTreeSet::new();
    let all = all.filter(|(bound, _)| bound.port() != 0);
    all.filter(|(bound, _)| known.insert(*bound)).collect()
}

/// Examines this machine for a configuration, called `name`. `stun`: servers to ask, besides those it names.
#[must_use]
pub fn examine(name: &str, config: Result<Config, ConfigError>, stun: &[String]) -> Report {
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let mut findings = report::of_config("configuration", name, &error);
            findings.push(machine::time());
            let what = "needs a configuration that can be used";
            findings.push(Finding::not_checked("everything else", what));
            return Report::new(findings, None);
        }
    };
    let mut findings = vec![Finding::ok("configuration", format!("{name} is valid"))];
    let mut config = config;
    if let Err(error) = run::learn_public_addresses(&mut config) {
        findings.extend(report::of_config(public::CHECK, name, &error));
    }
    let workers = match run::worker_settings(&config) {
        Ok(settings) => settings.into_iter().map(worker).collect(),
        Err(error) => {
            findings.push(Finding::problem("media ports", error.to_string()));
            Vec::new()
        }
    };
    let survey = ports::survey(&config, &workers);
    findings.extend(survey.findings);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let patient = Arc::new(Patient {
        servers: public::servers(&config, stun),
        own: interfaces.iter().map(if_addrs::Interface::ip).collect(),
        router: survey.routers.first().copied(),
        media_runs: survey.media_runs,
        media_free: survey.media_free,
        config,
        workers,
    });
    findings.extend(beside(&patient));
    Report::new(findings, Some(&patient.config))
}

fn worker(settings: crate::worker::Settings) -> Worker {
    let bound = settings.driver.addresses.clone();
    let tcp = settings.driver.listened();
    Worker {
        told: bound.iter().map(|b| (settings.advertise)(*b)).collect(),
        tcp: tcp.map(|b| (b, (settings.advertise)(b))).collect(),
        bound,
        driver: settings.driver,
        choice: settings.choice,
    }
}

type Check = fn(&Patient) -> Vec<Finding>;

/// In the order of the report.
const CHECKS: [(&str, Check); 8] = [
    // One after the other: both want the media ports.
    (public::CHECK, |p| {
        [public::check(p), reach::check(p)].concat()
    }),
    ("certificates", |p| certificates::check(&p.config)),
    ("clock", |_| vec![machine::time()]),
    ("limits", machine::process),
    ("workers", |p| vec![machine::cores(&p.config)]),
    ("io_uring", machine::driver),
    ("sandbox", |p| vec![machine::confinement(&p.config)]),
    ("files", |p| {
        [
            vec![files::recordings(&p.config)],
            files::plugins(&p.config),
        ]
        .concat()
    }),
];

/// Runs all at once.
fn beside(patient: &Arc<Patient>) -> Vec<Finding> {
    let running: Vec<_> = CHECKS
        .into_iter()
        .map(|(name, check)| {
            let (sender, found) = mpsc::channel();
            let patient = patient.clone();
            std::thread::spawn(move || {
                // Nobody waits any more once patience is over.
                let _ = sender.send(check(&patient));
            });
            (name, found)
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    let all = running.into_iter().flat_map(|(name, found)| {
        let left = until.saturating_duration_since(Instant::now());
        found.recv_timeout(left).unwrap_or_else(|error| {
            let what = match error {
                mpsc::RecvTimeoutError::Timeout => {
                    format!("nothing within {} s", PATIENCE.as_secs())
                }
                mpsc::RecvTimeoutError::Disconnected => "it panicked".to_owned(),
            };
            vec![Finding::not_checked(name, what)]
        })
    });
    all.collect()
}
