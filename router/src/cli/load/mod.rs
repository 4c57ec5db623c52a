//! `rillway load`: a swarm of clients, and what came of it.

mod table;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rillway_load::{
    LoadError, Media, Phase, Plan, PlanError, Progress, Protocol, Report, Server, Shape, Video,
};

use super::drain::time;
use super::tables::rate;

pub(super) const HELP: &str = "\
Examples:
  rillway load                                   50 players watch one publisher of the `rillway dev` of this machine
  rillway load http://127.0.0.1:8080 --shape meeting --size 10
  rillway load https://media.example.net --token-file tokens --shape rooms --rooms 24 --size 10 --duration 60s
  rillway load http://10.0.0.5:8080 --protocol whip --players 500 --joins-per-second 50 --max-loss 0.1 --json run.json
  rillway load http://127.0.0.1:8080 --watch $(pidof rillway)
                                                 and what the router's process uses for each packet

Clients encrypt as browsers do. Nothing is decoded: payloads end with who sent them, and when. Put the swarm on
another machine than the server, or on cores of its own; where it was the bottleneck itself, the report says so.";

/// How clients speak to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProtocolChoice {
    /// Rillway's rooms protocol, over WebSocket
    Rooms,
    /// Publishers by WHIP, players by WHEP
    Whip,
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShapeChoice {
    /// One room: `--publishers` publish, `--players` play
    Broadcast,
    /// One room of `--size`: everybody publishes and plays all others
    Meeting,
    /// `--rooms` rooms of `--size`; by WHIP one in each publishes, and the others play
    Rooms,
}

/// What publishers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MediaChoice {
    /// Opus of 32 kbit/s in 50 packets a second
    Audio,
    /// VP8, as --fps and --bitrate say
    Video,
    /// Both
    Both,
}

/// `rillway load`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Load {
    /// The server: http, https, ws or wss
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: Server,
    /// How clients speak to it
    #[arg(long, value_enum, default_value = "rooms")]
    protocol: ProtocolChoice,
    /// Who sends to whom
    #[arg(long, value_enum, default_value = "broadcast")]
    shape: ShapeChoice,
    /// Of a broadcast: who publish [default: 1]
    #[arg(long, value_name = "N")]
    publishers: Option<u32>,
    /// Of a broadcast: who play [default: 50]
    #[arg(long, value_name = "N")]
    players: Option<u32>,
    /// Participants of a meeting, or of each room [default: 10; of each room: 4]
    #[arg(long, value_name = "N")]
    size: Option<u32>,
    /// Rooms, with --shape rooms [default: 10]
    #[arg(long, value_name = "N")]
    rooms: Option<u32>,
    /// Name of the room; with --shape rooms, their names are NAME-0, NAME-1, …
    #[arg(long, value_name = "NAME", default_value = "load")]
    room: String,
    /// Token that all clients show
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// File of tokens, one a line: each client shows the next
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Clients that begin to join in a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    joins_per_second: u32,
    /// Time between the last join and what is measured: 500ms, 3s, 1m
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = time)]
    warmup: Duration,
    /// What is measured: 10s, 5m; Ctrl-C ends it, with a report
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    duration: Duration,
    /// What publishers send
    #[arg(long, value_enum, default_value = "both")]
    media: MediaChoice,
    /// Bits a second of a video
    #[arg(long, value_name = "RATE", default_value = "1500k", value_parser = bits)]
    bitrate: u64,
    /// Frames a second of a video
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// Packets of a video that leave together, as browsers send them
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    burst: u32,
    /// Packets of a video leave one by one, evenly, instead of in bursts
    #[arg(long, conflicts_with = "burst")]
    paced: bool,
    /// Threads of the swarm for media
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Address of this machine for media [default: the one that reaches the server]
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
    /// Read each datagram by itself, not in trains as the kernel joins them (UDP GRO)
    #[arg(long)]
    no_gro: bool,
    /// File of certificate authorities (PEM) beside those of this machine
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// Path of the WHIP endpoint
    #[arg(long, value_name = "PATH", default_value = "/whip/{room}")]
    whip_path: String,
    /// Path of the WHEP endpoint
    #[arg(long, value_name = "PATH", default_value = "/whep/{room}")]
    whep_path: String,
    /// A process of this machine, the server: say what it uses for each packet; can be given again
    #[arg(long, value_name = "PID")]
    watch: Vec<u32>,
    /// Fail if more than this of a hundred packets is lost
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_loss: Option<Percent>,
    /// Write the report as JSON to a file, or to standard output (`-`) in place of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Of a hundred, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Percent(u32);

impl Percent {
    fn value(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }
}

fn percent(text: &str) -> Result<Percent, String> {
    let value: f64 = text.parse().map_err(|_| "a number, as 0.1".to_owned())?;
    if !(0.0..=100.0).contains(&value) {
        return Err("from 0 to 100".to_owned());
    }
    Ok(Percent((value * 1_000.0).round() as u32))
}

/// Reads bits a second: `500000`, `500k`, `2.5M`.
fn bits(text: &str) -> Result<u64, String> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let factor = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        _ => return Err("a number, and k or M: 500k, 2.5M".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "a number must stand before the unit".to_owned())?;
    let rate = number * factor;
    if !(1e3..=1e9).contains(&rate) {
        return Err("from 1k to 1000M".to_owned());
    }
    Ok(rate as u64)
}

/// Why the swarm did not do well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadCommandError {
    /// Arguments that do not go together.
    #[error("--{0} is not for --shape {1}: {2}")]
    Argument(&'static str, &'static str, &'static str),
    /// It could not be carried out.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file of tokens without one.
    #[error("{0} holds no token")]
    NoToken(String),
    /// Clients joined, and nothing came to them.
    #[error("nothing was delivered: {0}")]
    Nothing(&'static str),
    /// More was lost than may be.
    #[error("{found:.3} % of the packets were lost, more than {allowed} %")]
    Loss {
        /// Of a hundred.
        found: f64,
        /// As given.
        allowed: f64,
    },
    /// Some clients could not join, so that the loss is not that of the load that was asked for.
    #[error("{0} of {1} clients did not join, so that --max-loss does not hold for all")]
    Missing(u64, u64),
}

impl LoadCommandError {
    /// Exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Argument(..) | Self::File { .. } | Self::NoToken(_) => super::EXIT_USAGE,
            Self::Load(LoadError::Plan(_)) => super::EXIT_USAGE,
            Self::Load(LoadError::Connect(_) | LoadError::Nobody(_)) => {
                super::operate::EXIT_UNREACHABLE
            }
            Self::Load(_) => super::EXIT_INTERNAL,
            Self::Nothing(_) | Self::Loss { .. } | Self::Missing(..) => 1,
        }
    }
}

/// What is to be printed, and whether it went well.
#[derive(Debug)]
pub struct Loaded {
    /// The tables, or JSON.
    pub text: String,
    /// What was not as it should be.
    pub failed: Option<LoadCommandError>,
}

impl Load {
    /// Carries it out, and says each second where it is.
    ///
    /// # Errors
    /// [`LoadCommandError`] if there is nothing to report.
    pub fn run(&self) -> Result<Loaded, LoadCommandError> {
        let plan = self.plan()?;
        let mut teller = Teller::new();
        let report = rillway_load::run(plan, self.ca.as_deref(), &mut |p| teller.tell(p))?;
        drop(teller);
        let json = serde_json::to_string_pretty(&report).map(|text| text + "\n");
        let json = json.map_err(|error| LoadError::Machine(error.into()))?;
        let text = match &self.json {
            Some(path) if path.as_os_str() == "-" => json,
            Some(path) => {
                std::fs::write(path, json).map_err(|error| LoadCommandError::File {
                    path: path.display().to_string(),
                    error,
                })?;
                table::report(&report)
            }
            None => table::report(&report),
        };
        Ok(Loaded {
            text,
            failed: self.verdict(&report),
        })
    }

    fn verdict(&self, report: &Report) -> Option<LoadCommandError> {
        let delivery = &report.delivery;
        if delivery.sent == 0 {
            let why = "no publisher sent anything while it was measured";
            return Some(LoadCommandError::Nothing(why));
        }
        if delivery.delivered == 0 {
            let why = "do datagrams of the server reach this machine? `rillway doctor` looks at the server's side";
            return Some(LoadCommandError::Nothing(why));
        }
        let allowed = self.max_loss?.value();
        if delivery.loss_percent > allowed {
            return Some(LoadCommandError::Loss {
                found: delivery.loss_percent,
                allowed,
            });
        }
        let joins = &report.joins;
        let missing = joins.clients - joins.joined;
        (missing > 0).then_some(LoadCommandError::Missing(missing, joins.clients))
    }

    fn plan(&self) -> Result<Plan, LoadCommandError> {
        let plan = Plan {
            server: self.server.clone(),
            protocol: match self.protocol {
                ProtocolChoice::Rooms => Protocol::Rooms,
                ProtocolChoice::Whip => Protocol::Whip,
            },
            shape: self.shape()?,
            room: self.room.clone(),
            whip_path: self.whip_path.clone(),
            whep_path: self.whep_path.clone(),
            tokens: self.tokens()?,
            media: self.media(),
            joins_per_second: self.joins_per_second.into(),
            warmup: self.warmup,
            duration: self.duration,
            threads: self.threads.into(),
            bind: self.bind,
            joined_datagrams: !self.no_gro,
            watch: self.watch.clone(),
            interruptible: true,
        };
        plan.check().map_err(LoadError::from)?;
        if plan.duration.is_zero() {
            let none = PlanError::Nobody("--duration is 0");
            return Err(LoadError::from(none).into());
        }
        Ok(plan)
    }

    fn shape(&self) -> Result<Shape, LoadCommandError> {
        let (name, strangers, take) = match self.shape {
            ShapeChoice::Broadcast => (
                "broadcast",
                [("size", self.size), ("rooms", self.rooms)],
                "take --publishers and --players",
            ),
            ShapeChoice::Meeting => (
                "meeting",
                [("publishers", self.publishers), ("players", self.players)],
                "take --size",
            ),
            ShapeChoice::Rooms => (
                "rooms",
                [("publishers", self.publishers), ("players", self.players)],
                "take --rooms and --size",
            ),
        };
        let rooms = ("rooms", self.rooms.filter(|_| name == "meeting"));
        let mut strangers = strangers.iter().chain([&rooms]);
        if let Some((argument, _)) = strangers.find(|(_, given)| given.is_some()) {
            return Err(LoadCommandError::Argument(argument, name, take));
        }
        Ok(match self.shape {
            ShapeChoice::Broadcast => Shape::Broadcast {
                publishers: self.publishers.unwrap_or(1),
                players: self.players.unwrap_or(50),
            },
            ShapeChoice::Meeting => Shape::Meeting {
                size: self.size.unwrap_or(10),
            },
            ShapeChoice::Rooms => Shape::Rooms {
                rooms: self.rooms.unwrap_or(10),
                size: self.size.unwrap_or(4),
            },
        })
    }

    fn tokens(&self) -> Result<Vec<String>, LoadCommandError> {
        let Some(path) = &self.token_file else {
            return Ok(self.token.clone().into_iter().collect());
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| LoadCommandError::File {
            path: name.clone(),
            error,
        })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let tokens: Vec<String> = lines.map(str::to_owned).collect();
        if tokens.is_empty() {
            return Err(LoadCommandError::NoToken(name));
        }
        Ok(tokens)
    }

    fn media(&self) -> Media {
        let video = Video {
            fps: self.fps,
            bitrate_bps: self.bitrate,
            burst: self.burst,
            paced: self.paced,
        };
        Media {
            audio: self.media != MediaChoice::Video,
            video: (self.media != MediaChoice::Audio).then_some(video),
        }
    }
}

/// Says where a run is: in one place on a terminal, else line by line.
struct Teller {
    line: Option<ProgressBar>,
}

impl Teller {
    fn new() -> Self {
        let line = io::stderr().is_terminal().then(|| {
            let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            line
        });
        Teller { line }
    }

    fn tell(&mut self, progress: &Progress) {
        let text = told(progress);
        match &self.line {
            Some(line) => {
                line.set_message(text);
                line.tick();
            }
            // Where nobody can read it, the report has to do.
            None => drop(writeln!(io::stderr(), "{text}")),
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

fn told(progress: &Progress) -> String {
    let phase = match progress.phase {
        Phase::Joining => "joining",
        Phase::Settling => "settling",
        Phase::Measuring => "measuring",
        Phase::Leaving => "leaving",
    };
    let mut text = format!("{:>4} s  {phase}", progress.elapsed.as_secs());
    if let Some((over, all)) = progress.of_phase {
        text += &format!(" {} of {} s", over.as_secs(), all.as_secs());
    }
    text += &format!(
        "  {} of {} joined  {:.0} packets/s  {}  swarm {:.0} % busy",
        progress.joined,
        progress.clients,
        progress.packets_per_second,
        rate(progress.bits_per_second as u64),
        progress.busy_percent,
    );
    if progress.failed > 0 {
        let last = progress.last_failure.as_deref().unwrap_or_default();
        text += &format!("  {} failed: {last}", progress.failed);
    }
    text
}

#[cfg(test)]
mod tests;
