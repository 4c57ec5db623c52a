//! The command line: arguments → what is to be done.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, Config, ConfigError, DriverChoice, LogFormat, MetricsFlag, Overrides};
use crate::telemetry;

pub mod ca;
pub mod capture;
pub mod configuration;
pub mod doctor;
pub mod drain;
pub mod events;
pub mod lists;
pub mod load;
pub mod log;
pub mod operate;
pub mod plugin;
mod progress;
pub mod recording;
pub mod rooms;
pub mod shell;
mod summary;
mod tables;
pub mod token;
pub mod top;

#[cfg(test)]
mod tests;

/// Exit code of a process that ended as it was asked to.
pub const EXIT_OK: u8 = 0;
/// Exit code for arguments that do not parse; clap's.
pub const EXIT_USAGE: u8 = 2;
/// Exit code for a fault of the program or the machine, `EX_SOFTWARE` of sysexits.h.
pub const EXIT_INTERNAL: u8 = 70;
/// Exit code for a configuration that cannot be used, a port in use included.
pub const EXIT_CONFIG: u8 = ConfigError::EXIT_CODE;

const EXIT_CODES: &str = "\
Exit codes:
  0   ended as asked, SIGTERM and Ctrl-C included
  1   a running router refused what was asked; `doctor` found something broken; `load` delivered nothing, or lost too
      much
  2   the arguments are wrong
  65  a plugin cannot be built, or is not fit; a recording is damaged
  69  no running router could be asked; `load` could not join
  70  a fault of the program or the machine
  78  the configuration cannot be used, or a port of it is in use";

const EXAMPLES: &str = "\
Examples:
  rillway dev                              a meeting on http://127.0.0.1:8080, for this machine
  rillway dev --listen 0.0.0.0:8080 --public-address 203.0.113.7
                                           the same, for others to reach
  rillway reference config > rillway.toml  a configuration with every key, to begin with
  rillway check rillway.toml               is it valid?
  rillway doctor --config rillway.toml     can this machine serve it?
  rillway serve --config rillway.toml      serve it
  rillway load http://127.0.0.1:8080       how does it fare with 50 viewers?";

const DEV_EXAMPLES: &str = "\
Examples:
  rillway dev
  rillway dev --workers 1 --driver mmsg --log debug
  rillway dev --listen 127.0.0.1:8081 --metrics off --first-port 41000
                                       a second one beside the first
  rillway dev --config my.toml         keys of my.toml go before those of dev

Browsers give camera and microphone only to pages from localhost or HTTPS.
SIGTERM and Ctrl-C tell the clients, wait a moment and exit 0; the second
signal exits at once.";

/// A WebRTC media router whose rules are WebAssembly components.
#[derive(Debug, Parser, PartialEq, Eq)]
#[command(name = "rillway", version, arg_required_else_help = true, after_help = EXAMPLES)]
#[command(after_long_help = long_help())]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn long_help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

#[derive(Debug, Subcommand, PartialEq, Eq)]
enum Command {
    /// Run for development: the meeting page on localhost, open to everybody, no file needed
    #[command(after_help = DEV_EXAMPLES)]
    Dev(Dev),
    /// Run with a configuration file
    Serve(Serve),
    /// Check a configuration file as `serve` would read it; nothing is bound
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what of this machine would keep a router from serving, and how to mend it
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Doctor),
    /// Show a running router
    #[command(after_help = operate::HELP)]
    Node(operate::Node),
    /// Show the media workers of a running router
    #[command(after_help = operate::WORKERS_HELP)]
    Worker(operate::Workers),
    /// Show the rooms of a running router, or close one
    #[command(subcommand, after_help = rooms::ROOM_HELP)]
    Room(rooms::Room),
    /// List participants, show one, or take it out of its room
    #[command(subcommand, after_help = rooms::PARTICIPANT_HELP)]
    Participant(rooms::Participant),
    /// List tracks, mute one, or unmute it
    #[command(subcommand, after_help = rooms::TRACK_HELP)]
    Track(rooms::TrackVerb),
    /// List subscriptions with what they get
    #[command(subcommand, after_help = lists::SUBSCRIPTION_HELP)]
    Subscription(lists::SubscriptionVerb),
    /// List transports, in the words of getStats
    #[command(subcommand, after_help = lists::TRANSPORT_HELP)]
    Transport(lists::TransportVerb),
    /// Watch what happens in a running router
    #[command(after_help = events::HELP)]
    Events(events::EventsCommand),
    /// Show or change what a running router writes into its log
    #[command(subcommand, after_help = log::HELP)]
    Log(log::Log),
    /// Print a running router's metrics
    #[command(after_help = lists::METRICS_HELP)]
    Metrics(lists::Metrics),
    /// Look at a running router, live: workers, rooms, who gets what and why, plugins
    #[command(after_help = top::HELP)]
    Top(top::Top),
    /// End a running router without cutting anybody off
    #[command(after_help = drain::HELP)]
    Drain(drain::Drain),
    /// Say why a participant gets what it gets: estimate, wish, layers, the last decisions
    #[command(after_help = rooms::WHY_HELP)]
    Why(rooms::Why),
    /// Show the configuration of a running router, compare it with its file, reload it
    #[command(subcommand, after_help = configuration::HELP)]
    Config(configuration::Configuration),
    /// Make certificates for the management channel
    #[command(subcommand)]
    Ca(ca::Ca),
    /// Make policies of your own; show and change those of a running router
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// What was recorded, and whether it is whole
    #[command(subcommand, after_help = recording::RECORDING_HELP)]
    Recording(recording::Recording),
    /// Look into RTP dumps, and convert them
    #[command(subcommand, after_help = recording::DUMP_HELP)]
    Dump(recording::Dump),
    /// Write some of a track's packets into a file
    #[command(after_help = capture::HELP)]
    Capture(capture::Capture),
    /// Make a token for the policy auth-jwt
    #[command(after_help = token::HELP)]
    Token(token::Token),
    /// Load a server with clients, and measure what arrives
    #[command(after_help = load::HELP)]
    Load(Box<load::Load>),
    /// Print completions for a shell
    #[command(after_help = shell::COMPLETIONS_HELP)]
    Completions(shell::Completions),
    /// Print a page of the manual, or write all
    #[command(after_help = shell::MAN_HELP)]
    Man(shell::Man),
    /// Print a reference text: every key, its JSON schema, or every metric
    Reference {
        /// Which
        #[arg(value_name = "WHICH")]
        which: Reference,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reference {
    /// The annotated configuration file with every key and its default
    Config,
    /// JSON Schema of the configuration file, for editors
    Schema,
    /// Every metric, as Markdown
    Metrics,
    /// What a reload does with each key, as Markdown
    Reloads,
}

#[derive(Debug, Args, PartialEq, Eq)]
struct Dev {
    /// Address and port of page and signaling [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address that clients are told for media, where a NAT stands before this machine
    #[arg(long, value_name = "IP")]
    public_address: Option<IpAddr>,
    /// Address and port of metrics, or `off` [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<MetricsFlag>,
    /// UDP port of the first media worker; the next ones use the next ports [default: 40000]
    #[arg(long, value_name = "PORT")]
    first_port: Option<u16>,
    /// Configuration file; its keys go before those of development
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How datagrams are read and written [default: auto]
    #[arg(long, value_name = "DRIVER", value_enum)]
    driver: Option<DriverChoice>,
    /// Media workers; 0: one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    workers: Option<u16>,
    #[command(flatten)]
    log: LogFlags,
}

#[derive(Debug, Args, PartialEq, Eq)]
struct Serve {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    log: LogFlags,
}

#[derive(Debug, Args, PartialEq, Eq)]
struct LogFlags {
    /// Which log lines are written, before the file's `log.filter`: `debug`, `info,rillway=trace`, …
    #[arg(long = "log", value_name = "FILTER", value_parser = filter)]
    filter: Option<String>,
    /// What they look like, before the file's `log.format`
    #[arg(long = "log-format", value_name = "FORMAT", value_enum)]
    format: Option<LogFormat>,
}

fn filter(text: &str) -> Result<String, String> {
    telemetry::log::check_filter(text)?;
    Ok(text.to_owned())
}

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the router until a signal ends it, and say on standard output where its page is.
    Dev(Box<Config>),
    /// Run the router until a signal ends it.
    Serve(Box<Config>),
    /// Do something with a plugin and exit.
    Plugin(plugin::Plugin),
    /// Examine this machine and exit.
    Doctor(doctor::Doctor),
    /// Ask a running router.
    Node(operate::Node),
    /// Print the media workers of a running router.
    Worker(operate::Workers),
    /// Ask a running router about its rooms.
    Room(rooms::Room),
    /// Ask a running router about a participant.
    Participant(rooms::Participant),
    /// List the tracks of a running router, or have it mute one.
    Track(rooms::TrackVerb),
    /// List the subscriptions of a running router.
    Subscription(lists::SubscriptionVerb),
    /// List the transports of a running router.
    Transport(lists::TransportVerb),
    /// Show or change the log levels of a running router.
    Log(log::Log),
    /// Print the metrics of a running router.
    Metrics(lists::Metrics),
    /// Watch a running router.
    Events(events::EventsCommand),
    /// Copy packets of a running router's track.
    Capture(capture::Capture),
    /// Make a token and exit.
    Token(token::Token),
    /// Load a server with clients.
    Load(Box<load::Load>),
    /// Print completions.
    Completions(shell::Completions),
    /// Print or write pages of the manual.
    Man(shell::Man),
    /// Look at a running router.
    Top(top::Top),
    /// Have a running router end.
    Drain(drain::Drain),
    /// Ask a running router for its reasons.
    Why(rooms::Why),
    /// Ask a running router about its configuration.
    Config(configuration::Configuration),
    /// Make certificates and exit.
    Ca(ca::Ca),
    /// Look at recordings and exit.
    Recording(recording::Recording),
    /// Look at an RTP dump and exit.
    Dump(recording::Dump),
    /// Print a text to standard output and exit 0.
    Print(String),
}

impl Arguments {
    /// Reads what the arguments name. Nothing is bound.
    ///
    /// # Errors
    /// The configuration file cannot be used.
    pub fn action(self) -> Result<Action, ConfigError> {
        match self.command {
            Command::Dev(dev) => {
                let overrides = Overrides {
                    listen: dev.listen,
                    public_address: dev.public_address,
                    metrics: dev.metrics,
                    first_port: dev.first_port,
                    driver: dev.driver,
                    workers: dev.workers,
                    log: dev.log.filter,
                    log_format: dev.log.format,
                };
                Ok(Action::Dev(Box::new(Config::load_dev(
                    dev.config.as_deref(),
                    &overrides,
                )?)))
            }
            Command::Serve(serve) => {
                let overrides = Overrides {
                    log: serve.log.filter,
                    log_format: serve.log.format,
                    ..Overrides::default()
                };
                Ok(Action::Serve(Box::new(Config::load(
                    &serve.config,
                    &overrides,
                )?)))
            }
            Command::Check { file } => {
                let config = Config::load(&file, &Overrides::default())?;
                Ok(Action::Print(summary::summary(
                    &file.display().to_string(),
                    &config,
                )))
            }
            Command::Doctor(doctor) => Ok(Action::Doctor(doctor)),
            Command::Node(node) => Ok(Action::Node(node)),
            Command::Worker(workers) => Ok(Action::Worker(workers)),
            Command::Room(room) => Ok(Action::Room(room)),
            Command::Participant(participant) => Ok(Action::Participant(participant)),
            Command::Track(track) => Ok(Action::Track(track)),
            Command::Subscription(list) => Ok(Action::Subscription(list)),
            Command::Transport(list) => Ok(Action::Transport(list)),
            Command::Capture(capture) => Ok(Action::Capture(capture)),
            Command::Token(token) => Ok(Action::Token(token)),
            Command::Load(load) => Ok(Action::Load(load)),
            Command::Completions(shell) => Ok(Action::Completions(shell)),
            Command::Man(man) => Ok(Action::Man(man)),
            Command::Log(log) => Ok(Action::Log(log)),
            Command::Metrics(metrics) => Ok(Action::Metrics(metrics)),
            Command::Events(events) => Ok(Action::Events(events)),
            Command::Top(top) => Ok(Action::Top(top)),
            Command::Drain(drain) => Ok(Action::Drain(drain)),
            Command::Why(why) => Ok(Action::Why(why)),
            Command::Config(config) => Ok(Action::Config(config)),
            Command::Ca(ca) => Ok(Action::Ca(ca)),
            Command::Plugin(plugin) => Ok(Action::Plugin(plugin)),
            Command::Recording(recording) => Ok(Action::Recording(recording)),
            Command::Dump(dump) => Ok(Action::Dump(dump)),
            Command::Reference { which } => Ok(Action::Print(match which {
                Reference::Config => config::reference(),
                Reference::Schema => format!("{:#}\n", config::schema()),
                Reference::Metrics => telemetry::metrics::reference(),
                Reference::Reloads => config::reloads(),
            })),
        }
    }
}
