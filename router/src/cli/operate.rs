//! Asking a running router: how it is found, one call, and its answer as a table or as JSON.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::progress::Progress;
use crate::config::Secret;
use crate::management::discovery::{self, FindError};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{Latency, StatusRequest, WorkersRequest};
use crate::management::{CallError, Client, ConnectError, Identity, Target};

/// Exit code where the router refused what was asked.
pub const EXIT_REFUSED: u8 = 1;
/// Exit code where no router could be asked, `EX_UNAVAILABLE` of sysexits.h.
pub const EXIT_UNREACHABLE: u8 = 69;

pub(super) const HELP: &str = "\
Examples:
  rillway node                  the `rillway dev` that runs on this machine
  rillway node --json
  rillway node --router sfu.example.org:7443 --ca ca.pem \\
      --certificate ada.pem --key ada.key";

pub(super) const WORKERS_HELP: &str = "\
Examples:
  rillway worker ls             of the `rillway dev` that runs on this machine
  rillway worker ls --json      with the whole distribution of the latency";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// No router of this machine.
    #[error("{0}; `--router` asks another one, `--process` chooses between several")]
    Find(#[from] FindError),
    /// The router named cannot be resolved, or a file cannot be read.
    #[error("cannot use `{what}`: {why}")]
    Argument {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// The connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The call.
    #[error("{}", said(.0))]
    Call(#[from] CallError),
    /// The router's answer does not have what was asked for.
    #[error("{0}")]
    Absent(String),
    /// This process has no runtime, or no text for the answer.
    #[error("{0}")]
    Local(String),
}

fn said(error: &CallError) -> String {
    match error {
        CallError::Said(said) if !said.help.is_empty() => {
            format!("{}\nhelp: {}", said.message, said.help)
        }
        other => other.to_string(),
    }
}

impl OperateError {
    /// Exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            OperateError::Call(CallError::Said(_)) | OperateError::Absent(_) => EXIT_REFUSED,
            OperateError::Argument { .. } => super::EXIT_USAGE,
            OperateError::Local(_) => super::EXIT_INTERNAL,
            _ => EXIT_UNREACHABLE,
        }
    }

    pub(super) fn argument(what: &dyn Display, why: &dyn Display) -> OperateError {
        OperateError::Argument {
            what: what.to_string(),
            why: why.to_string(),
        }
    }
}

/// Which router is asked, and how its answer is shown.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Ask {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Process of the `rillway dev` that is meant, where several run
    #[arg(long, value_name = "PID", conflicts_with = "router")]
    process: Option<u32>,
    /// Host and port of a router's management channel [default: the `rillway dev` of this machine]
    #[arg(long, value_name = "HOST:PORT", requires_all = ["certificate", "key", "ca"])]
    router: Option<String>,
    /// Own certificate, PEM
    #[arg(long, value_name = "FILE", requires = "router")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "router")]
    key: Option<PathBuf>,
    /// Certificate of the authority that issued the router's, PEM
    #[arg(long, value_name = "FILE", requires = "router")]
    ca: Option<PathBuf>,
}

impl Ask {
    /// Makes one call, and shows its parts: JSON values as they come, or what `table` makes of each.
    ///
    /// # Errors
    /// [`OperateError`].
    pub(super) fn call(
        &self,
        verb: Verb,
        table: impl Fn(&Part) -> String,
    ) -> Result<String, OperateError> {
        let parts = self.parts(verb)?;
        let mut text = String::new();
        for part in &parts {
            text += &if self.json { json(part)? } else { table(part) };
            text.push('\n');
        }
        Ok(text)
    }

    /// Makes one call; the parts of its answer.
    ///
    /// # Errors
    /// [`OperateError`].
    pub(super) fn parts(&self, verb: Verb) -> Result<Vec<Part>, OperateError> {
        let target = self.target()?;
        runtime()?.block_on(parts(&target, verb))
    }

    /// Makes one call, and hands over each part as it comes, until `each` wants no more. Returns whether the
    /// router ended meanwhile.
    ///
    /// # Errors
    /// [`OperateError`], that of `each` included.
    pub(super) fn follow(
        &self,
        verb: Verb,
        mut each: impl FnMut(Part) -> Result<bool, OperateError>,
    ) -> Result<bool, OperateError> {
        let target = self.target()?;
        runtime()?.block_on(async {
            let client = Client::connect(&target).await?;
            let mut answer = client.call(verb).await?;
            loop {
                match answer.next().await {
                    Ok(Some(part)) => {
                        if !each(part)? {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(CallError::Connection(ConnectError::Ended)) => return Ok(true),
                    Err(error) => return Err(error.into()),
                }
            }
            client.close().await;
            Ok(false)
        })
    }

    /// Whether JSON is wanted.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// What was found, as JSON or as tables.
    ///
    /// # Errors
    /// [`OperateError::Local`].
    pub(super) fn show<T: Serialize>(
        &self,
        found: &T,
        tables: impl FnOnce(&T) -> String,
    ) -> Result<String, OperateError> {
        let text = if self.json {
            pretty(found).map_err(|error| OperateError::Local(error.to_string()))?
        } else {
            tables(found)
        };
        Ok(text.trim_end().to_owned() + "\n")
    }

    /// Where it is, and how it is asked.
    ///
    /// # Errors
    /// [`OperateError`].
    pub(super) fn target(&self) -> Result<Target, OperateError> {
        let files = (&self.router, &self.certificate, &self.key, &self.ca);
        let (Some(router), Some(certificate), Some(key), Some(ca)) = files else {
            let folder = discovery::folder().map_err(|e| OperateError::Local(e.to_string()))?;
            return Ok(discovery::find(&folder, self.process)?.1);
        };
        let (name, _) = router
            .rsplit_once(':')
            .ok_or_else(|| OperateError::argument(router, &"it must be HOST:PORT"))?;
        Ok(Target {
            address: resolve(router)?,
            name: name.trim_matches(['[', ']']).to_owned(),
            identity: Identity {
                certificate: read(certificate)?,
                key: Secret::new(read(key)?),
                authority: read(ca)?,
            },
        })
    }
}

fn resolve(router: &str) -> Result<SocketAddr, OperateError> {
    let mut addresses = router
        .to_socket_addrs()
        .map_err(|error| OperateError::argument(&router, &error))?;
    let address = addresses.next();
    address.ok_or_else(|| OperateError::argument(&router, &"it has no address"))
}

pub(super) fn read(path: &Path) -> Result<String, OperateError> {
    std::fs::read_to_string(path).map_err(|error| OperateError::argument(&path.display(), &error))
}

/// For calls.
///
/// # Errors
/// [`OperateError::Local`].
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, OperateError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| OperateError::Local(error.to_string()))
}

async fn parts(target: &Target, verb: Verb) -> Result<Vec<Part>, OperateError> {
    let client = Client::connect(target).await?;
    let mut progress = None;
    let sent = |sent, all| {
        let progress = progress.get_or_insert_with(|| Progress::bytes("sending", all));
        progress.at(sent);
    };
    let mut answer = client.call_watched(verb, sent).await?;
    drop(progress);
    let mut parts = Vec::new();
    while let Some(part) = answer.next().await? {
        parts.push(part);
    }
    client.close().await;
    Ok(parts)
}

fn json(part: &Part) -> Result<String, OperateError> {
    let text = match part {
        Part::Status(status) => pretty(status),
        Part::Workers(workers) => pretty(&workers.workers),
        Part::Plugins(plugins) => pretty(&plugins.plugins),
        Part::Rooms(found) => pretty(&found.rooms),
        Part::Participants(found) => pretty(&found.participants),
        Part::Tracks(found) => pretty(&found.tracks),
        Part::Subscriptions(found) => pretty(&found.subscriptions),
        Part::Reasons(found) => pretty(&found.reasons),
        Part::Removed(removed) => pretty(removed),
        Part::Event(event) => pretty(event),
        Part::Lost(lost) => pretty(lost),
        Part::Recorded(recorded) => pretty(recorded),
        Part::Draining(draining) => pretty(draining),
        Part::Config(config) => pretty(config),
        Part::ConfigChanges(changes) => pretty(changes),
        Part::LogLevels(levels) => pretty(levels),
        Part::Transports(found) => pretty(&found.transports),
        Part::Recordings(found) => pretty(&found.recordings),
        Part::Metrics(metrics) => pretty(metrics),
        Part::Captured(captured) => pretty(captured),
        Part::Sample(sample) => pretty(sample),
        Part::End(end) => pretty(end),
        Part::Error(error) => pretty(error),
    };
    text.map_err(|error| OperateError::Local(error.to_string()))
}

fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value)
}

/// A table for people.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// `rillway node`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Node {
    #[command(flatten)]
    ask: Ask,
}

impl Node {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        self.ask.call(Verb::Status(StatusRequest {}), |part| {
            let Part::Status(status) = part else {
                return String::new();
            };
            let rows = [
                ["version".to_owned(), status.version.clone()],
                ["process".to_owned(), status.pid.to_string()],
                ["phase".to_owned(), status.phase.clone()],
                ["up".to_owned(), format!("{} s", status.uptime_ms / 1_000)],
                ["gateway".to_owned(), status.gateway.clone()],
                ["workers".to_owned(), status.workers.to_string()],
                [
                    "you".to_owned(),
                    format!("{} ({})", status.client, status.role),
                ],
            ];
            table(["ROUTER", ""], rows)
        })
    }
}

/// `rillway worker`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Workers {
    #[command(subcommand)]
    what: WorkersVerb,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum WorkersVerb {
    /// List the media workers: how busy, what is in them, how long packets stay
    Ls(Ask),
}

impl Workers {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let WorkersVerb::Ls(ask) = &self.what;
        ask.call(Verb::Workers(WorkersRequest {}), |part| {
            let Part::Workers(workers) = part else {
                return String::new();
            };
            let header = [
                "WORKER",
                "DRIVER",
                "BUSY",
                "ROOMS",
                "PARTICIPANTS",
                "TRACKS",
                "FORWARDED",
                "P50",
                "P99",
                "P99.9",
            ];
            let rows = workers.workers.iter().map(|worker| {
                let latency = worker.forwarding.clone().unwrap_or_default();
                [
                    worker.id.to_string(),
                    worker.driver.clone(),
                    format!("{:.1} %", worker.busy * 100.0),
                    worker.rooms.to_string(),
                    worker.participants.to_string(),
                    worker.tracks.to_string(),
                    worker.packets_forwarded.to_string(),
                    micros(&latency, latency.p50_us),
                    micros(&latency, latency.p99_us),
                    micros(&latency, latency.p999_us),
                ]
            });
            table(header, rows)
        })
    }
}

/// A quantile of a distribution.
fn micros(of: &Latency, value: u64) -> String {
    match of.count {
        0 => "-".to_owned(),
        _ => format!("{value} µs"),
    }
}
