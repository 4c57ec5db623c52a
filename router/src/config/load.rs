//! File and flags → [`Config`].

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::de::DeTable;

use super::error::{ConfigError, Key, Problem};
use super::provenance::{Origin, Provenance};
use super::raw::Raw;
use super::source::Source;
use super::validate::validate;
use super::{
    Config, DriverChoice, LogFormat, PublicAddress, Recorder, check, credentials, reference,
};

/// `config/dev.toml`, as it was when this binary was built.
pub(super) const DEV: &str = include_str!("../../../config/dev.toml");

/// How the temporary folders of `dev` begin.
pub(crate) const TEMPORARY_PREFIX: &str = "rillway-recordings-";

/// Temporary folders are often small, and in memory.
const TEMPORARY_FREE_BYTES: u64 = 64 << 20;

/// `--metrics`: an address and port, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFlag {
    /// No listener.
    Off,
    /// A listener there.
    Listen(SocketAddr),
}

impl FromStr for MetricsFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(MetricsFlag::Off),
            _ => text
                .parse()
                .map(MetricsFlag::Listen)
                .map_err(|_| "expected an address and port, or `off`"),
        }
    }
}

/// Values given on the command line: they go before the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`, for `gateway.listen`.
    pub listen: Option<SocketAddr>,
    /// `--public-address`, the only element of `media.public_addresses`.
    pub public_address: Option<IpAddr>,
    /// `--metrics`, for `metrics.listen` and `metrics.enabled`.
    pub metrics: Option<MetricsFlag>,
    /// `--first-port`, for `media.first_port`.
    pub first_port: Option<u16>,
    /// `--driver`, for `media.driver`.
    pub driver: Option<DriverChoice>,
    /// `--workers`, for `media.workers`.
    pub workers: Option<u16>,
    /// `--log`, for `log.filter`; must be a valid filter.
    pub log: Option<String>,
    /// `--log-format`, for `log.format`.
    pub log_format: Option<LogFormat>,
}

impl Overrides {
    /// Puts the flags' values in, and says which key has which flag.
    fn apply(&self, raw: &mut Raw) -> BTreeMap<&'static str, &'static str> {
        let mut flags = BTreeMap::new();
        if let Some(listen) = self.listen {
            raw.gateway.listen = listen;
            flags.insert("gateway.listen", "--listen");
        }
        if let Some(public) = self.public_address {
            raw.media.public_addresses = vec![PublicAddress {
                public,
                bound: None,
            }];
            flags.insert("media.public_addresses", "--public-address");
            flags.insert("media.public_addresses[0]", "--public-address");
        }
        if let Some(metrics) = self.metrics {
            raw.metrics.enabled = metrics != MetricsFlag::Off;
            flags.insert("metrics.enabled", "--metrics");
            if let MetricsFlag::Listen(listen) = metrics {
                raw.metrics.listen = listen;
                flags.insert("metrics.listen", "--metrics");
            }
        }
        if let Some(first_port) = self.first_port {
            raw.media.first_port = first_port;
            flags.insert("media.first_port", "--first-port");
        }
        if let Some(driver) = self.driver {
            raw.media.driver = driver;
            flags.insert("media.driver", "--driver");
        }
        if let Some(workers) = self.workers {
            raw.media.workers = workers;
            flags.insert("media.workers", "--workers");
        }
        if let Some(filter) = &self.log {
            raw.log.filter.clone_from(filter);
            flags.insert("log.filter", "--log");
        }
        if let Some(format) = self.log_format {
            raw.log.format = format;
            flags.insert("log.format", "--log-format");
        }
        flags
    }
}

/// Who reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `rillway serve`: the file, before the defaults.
    Serve,
    /// `rillway dev`: the file, before `config/dev.toml`, before the defaults.
    Dev,
}

/// Who reads a configuration, from where, and with which flags before it.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    mode: Mode,
    /// `None`: a text that is no file.
    pub(super) file: Option<PathBuf>,
    overrides: Overrides,
}

impl Loader {
    /// What reports call `config/dev.toml`.
    pub(super) const DEV_NAME: &'static str = "config/dev.toml (built in)";

    /// Whether it is for `rillway serve`, which takes few flags.
    pub(super) fn is_serve(&self) -> bool {
        self.mode == Mode::Serve
    }
}

impl Config {
    /// What `rillway dev` runs with: loopback, the page, open authentication, human logs.
    ///
    /// # Panics
    /// Never: that the built-in file is valid is tested.
    #[must_use]
    pub fn dev() -> Self {
        match Config::load_dev(None, &Overrides::default()) {
            Ok(config) => config,
            Err(error) => panic!("config/dev.toml is built in and tested: {error}"),
        }
    }

    /// Reads a file for `rillway serve`. Nothing is bound.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load(file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let loader = Loader {
            mode: Mode::Serve,
            file: Some(file.to_owned()),
            overrides: overrides.clone(),
        };
        Self::from_source(Source::read(file)?, loader)
    }

    /// For `rillway dev`: `config/dev.toml`, with the keys of `file` before its own.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load_dev(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let source = match file {
            None => Source::built_in(Loader::DEV_NAME, DEV),
            Some(file) => Source::read(file)?,
        };
        let loader = Loader {
            mode: Mode::Dev,
            file: file.map(Path::to_owned),
            overrides: overrides.clone(),
        };
        Self::from_source(source, loader)
    }

    /// Reads a text as a file of that name would be read.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let loader = Loader {
            mode: Mode::Serve,
            file: None,
            overrides: Overrides::default(),
        };
        Self::from_source(Source::built_in(name, text), loader)
    }

    pub(super) fn from_source(source: Source, loader: Loader) -> Result<Self, ConfigError> {
        let mode = loader.mode;
        let mut raw = match parse(&source) {
            Ok(raw) => raw,
            Err(problems) => return Err(ConfigError::new(Some(source), problems)),
        };
        if mode == Mode::Dev {
            // Both parse alone, so they parse together.
            let mut merged = DEV.parse::<toml::Table>().unwrap_or_default();
            merge(&mut merged, source.text.parse().unwrap_or_default());
            raw = merged.try_into().unwrap_or(raw);
        }
        let flags = loader.overrides.apply(&mut raw);
        let missing = credentials::resolve(&mut raw);
        let provenance = Provenance::new(source, flags, loader, raw.clone());
        if !missing.is_empty() {
            return Err(provenance.error(credentials::problems(&missing, &provenance)));
        }
        let mut config = validate(&raw, provenance)?;
        if mode == Mode::Dev && config.recorder.is_none() {
            config.recorder = temporary_recorder(&raw);
        }
        Ok(config)
    }

    /// The report for an address that could not be bound, naming the key, the file and line it came
    /// from, and the address. Exit code 78, like every [`ConfigError`].
    #[must_use]
    pub fn bind_error(&self, key: Key, address: SocketAddr, error: &io::Error) -> ConfigError {
        let flag = self.provenance.flag_for(key.as_str());
        let other = flag.map_or("choose another port".to_owned(), |flag| {
            format!("choose another port with `{flag}`")
        });
        let port = address.port();
        let (why, help) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                "the port is in use".to_owned(),
                format!(
                    "{other}, or end the program that uses it: `ss -lntup | grep :{port}` shows it"
                ),
            ),
            io::ErrorKind::AddrNotAvailable => (
                "this machine has no such address".to_owned(),
                "`ip address` lists what there is".to_owned(),
            ),
            io::ErrorKind::PermissionDenied => (
                "permission denied".to_owned(),
                format!("{other}: those below 1024 need CAP_NET_BIND_SERVICE"),
            ),
            _ => (error.to_string(), other),
        };
        self.refused(key, &format!("cannot listen on {address}: {why}"), &help)
    }

    /// The report for a plugin that cannot be used, at its component or its table, else at what names it.
    /// `problem` is the whole title.
    #[must_use]
    pub fn plugin_refused(&self, name: &str, problem: &str) -> ConfigError {
        let problem = Problem::new(problem.to_owned());
        let component = format!("plugins.{name}.component");
        let table = format!("plugins.{name}");
        let route = || {
            let index = self.signaling_routes.iter().position(|r| r.plugin == name);
            index.map(|index| format!("signaling.routes[{index}].plugin"))
        };
        let layers = self.layers.as_ref().map(|layers| &*layers.policy);
        let named = |key: &str| self.provenance.source().find(key).is_some();
        let key = if named(&component) {
            component
        } else if named(&table) {
            table
        } else if self.authentication == name {
            "authentication.policy".to_owned()
        } else if layers == Some(name) {
            "layers.policy".to_owned()
        } else if self.recording.as_deref() == Some(name) {
            "recording.policy".to_owned()
        } else {
            route().unwrap_or(table)
        };
        let problem = self.provenance.point(problem, &key, "this plugin");
        self.provenance.error(vec![problem])
    }

    /// What its file is called in reports.
    pub(crate) fn name(&self) -> &str {
        &self.provenance.source().name
    }

    /// Where a key's value came from.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.provenance.origins().of(key)
    }

    /// The report for a value that this machine refuses at run time for another reason than a bind.
    #[must_use]
    pub fn refused(&self, key: Key, problem: &str, help: &str) -> ConfigError {
        let problem = Problem::new(format!("`{key}`: {problem}"));
        let problem = self.provenance.point(problem, key.as_str(), "this one");
        self.provenance.error(vec![problem.help(help)])
    }
}

/// A folder that is nobody's, so that recording can be tried. `None`: there is no randomness to name it by.
fn temporary_recorder(raw: &Raw) -> Option<Recorder> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).ok()?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Recorder {
        directory: std::env::temp_dir().join(format!("{TEMPORARY_PREFIX}{name}")),
        temporary: true,
        free_bytes_min: TEMPORARY_FREE_BYTES.min(raw.recording.free_bytes_min),
        sync_every: Duration::from_millis(raw.recording.sync_every_ms.into()),
        queue_packets: raw.recording.queue_packets,
        files_max: raw.recording.files_max,
    })
}

/// Text → raw, or all that is wrong with single keys.
pub(super) fn parse(source: &Source) -> Result<Raw, Vec<Problem>> {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    let problem = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(source.text.len()..source.text.len());
        Problem::new(format!("this is not TOML: {}", error.message()))
            .place(source.place(span, "here"))
    };
    if !errors.is_empty() {
        return Err(errors.iter().map(problem).collect());
    }
    let problems = check::check(source, root.get_ref(), &reference::schema());
    if !problems.is_empty() {
        return Err(problems);
    }
    Raw::deserialize(toml::de::Deserializer::from(root)).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![Problem::new(error.message().to_owned()).place(source.place(span, "here"))]
    })
}

/// Puts the keys of `over` before those of `base`, table by table.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
