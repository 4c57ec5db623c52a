//! Raw → valid: what one key's schema cannot say, checked together.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::Management;
use super::console::{Console, TOKEN_CHARS_MIN};
use super::error::{ConfigError, Problem};
use super::management;
use super::provenance::Provenance;
use super::raw::{self, Raw};
use super::traces::{self, Traces};
use super::{
    Config, Gateway, IceServer, Limits, Log, Media, MediaTcp, Metrics, Recorder, Reload, Secret,
    Shutdown, UdpPorts,
};

mod plugins;
mod sandbox;
mod turn;

/// More workers than this would leave too few ports to any firewall rule; the schema says the same.
const WORKERS_MAX: u16 = 256;
/// A longer credential is a wrong file.
const CREDENTIAL_BYTES_MAX: u64 = 4_096;

/// Checks what the schema cannot, and converts.
///
/// # Errors
/// Every problem found, with its place.
pub(super) fn validate(raw: &Raw, provenance: Provenance) -> Result<Config, ConfigError> {
    let mut checks = Checks {
        raw,
        provenance: &provenance,
        problems: Vec::new(),
    };
    let workers = checks.workers();
    checks.listeners();
    checks.gateway();
    checks.limits();
    checks.bind();
    checks.public_addresses();
    let ice_servers = checks.ice_servers();
    let turn = checks.turn();
    let authentication = checks.authentication();
    let policies = checks.policies();
    let management = checks.management();
    let console = checks.console();
    let traces = checks.traces();
    let recorder = checks.recorder();
    let sandbox = checks.sandbox();
    let problems = checks.problems;
    let (Some(authentication), true) = (authentication, problems.is_empty()) else {
        return Err(provenance.error(problems));
    };
    Ok(Config {
        gateway: gateway(&raw.gateway),
        management,
        console,
        media: media(&raw.media, workers),
        limits: Limits::from(&raw.limits),
        metrics: raw.metrics.enabled.then_some(Metrics {
            listen: raw.metrics.listen,
        }),
        traces,
        log: Log {
            format: raw.log.format,
            filter: raw.log.filter.clone(),
        },
        policy: policies.host,
        plugins: policies.plugins,
        signaling_routes: policies.routes,
        authentication,
        layers: policies.layers,
        recording: policies.recording,
        recorder,
        ice_servers,
        turn,
        reload: Reload {
            watch: raw.reload.watch,
        },
        shutdown: Shutdown {
            notice: millis(raw.shutdown.notice_ms),
        },
        sandbox,
        provenance,
    })
}

fn gateway(raw: &raw::Gateway) -> Gateway {
    Gateway {
        listen: raw.listen,
        page: raw.page,
        connections_max: raw.connections_max,
        message_bytes_max: raw.message_bytes_max,
        messages_per_second_max: raw.messages_per_second_max,
        ping_interval: millis(raw.ping_interval_ms),
        idle_timeout: millis(raw.idle_timeout_ms),
        header_timeout: millis(raw.header_timeout_ms),
        resume: millis(raw.resume_ms),
        allowed_origins: raw.allowed_origins.clone(),
    }
}

fn media(raw: &raw::Media, workers: NonZeroU16) -> Media {
    Media {
        workers,
        participants_per_part: raw.participants_per_part,
        first_port: raw.first_port,
        udp_ports: raw.udp_ports,
        udp_steering: raw.udp_steering,
        driver: raw.driver,
        tcp: raw.tcp.then_some(MediaTcp {
            connections_max: raw.tcp_connections_max,
            connections_per_address_max: raw.tcp_connections_per_address_max,
        }),
        bind: raw.bind.clone(),
        interfaces: raw.interfaces.clone(),
        public_addresses: raw.public_addresses.clone(),
        public_address_servers: raw.public_address_servers.clone(),
        receive_buffer_bytes: raw.receive_buffer_bytes,
        send_buffer_bytes: raw.send_buffer_bytes,
        pin_cpus: raw.pin_cpus,
    }
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

struct Checks<'a> {
    raw: &'a Raw,
    provenance: &'a Provenance,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn management(&mut self) -> Option<Management> {
        let folder = &self.provenance.source().folder;
        match management::validate(&self.raw.management, folder) {
            Ok(management) => management,
            Err(faults) => {
                for fault in faults {
                    self.report(fault.title, &[(fault.key, fault.label)], &fault.help);
                }
                None
            }
        }
    }

    fn traces(&mut self) -> Option<Traces> {
        let folder = &self.provenance.source().folder;
        let private = |path: &Path| read_text(path, HEADERS_BYTES_MAX, Readers::Private);
        let public = |path: &Path| read_text(path, AUTHORITIES_BYTES_MAX, Readers::Anybody);
        let checked = traces::validate(&self.raw.traces, folder, (&private, &public));
        checked.unwrap_or_else(|fault| {
            self.report(fault.title, &[(fault.key, "this file")], &fault.help);
            None
        })
    }

    fn console(&mut self) -> Option<Console> {
        let (listen, file) = (self.raw.console.listen, &self.raw.console.token_file);
        let (title, key, label, help) = match (listen, file) {
            (None, None) => return None,
            (Some(listen), Some(file)) => {
                let path = self.provenance.source().folder.join(file);
                let problem = match read_secret(&path) {
                    Ok(token) if token.reveal().chars().count() >= TOKEN_CHARS_MIN => {
                        return Some(Console::new(listen, token));
                    }
                    Ok(_) => (
                        format!("it has fewer than {TOKEN_CHARS_MIN} characters"),
                        format!("openssl rand -hex 32 > {}", path.display()),
                    ),
                    Err(problem) => problem,
                };
                let (why, help) = problem;
                let title = format!("cannot use the token in `{}`: {why}", path.display());
                (title, "console.token_file", "this file", help)
            }
            (Some(_), None) => (
                "`console.listen` is set, and `console.token_file` is not".to_owned(),
                "console.listen",
                "who may look?",
                "write a token into a file that only its owner can read, and name it".to_owned(),
            ),
            (None, Some(_)) => (
                "`console.token_file` is set, and the console is off".to_owned(),
                "console.token_file",
                "used by nobody",
                "set `console.listen`, such as \"127.0.0.1:7444\", or leave it out".to_owned(),
            ),
        };
        self.report(title, &[(key, label)], &help);
        None
    }

    /// Reports a problem at keys, each with what is said beside it; the first is the one to change.
    fn report(&mut self, title: String, keys: &[(&str, &str)], help: &str) {
        let point =
            |problem, (key, label): &(&str, &str)| self.provenance.point(problem, key, label);
        self.problems
            .push(keys.iter().fold(Problem::new(title), point).help(help));
    }

    fn workers(&mut self) -> NonZeroU16 {
        let wanted = match self.raw.media.workers {
            0 => std::thread::available_parallelism()
                .map_or(1, |n| u16::try_from(n.get()).unwrap_or(WORKERS_MAX))
                .min(WORKERS_MAX),
            some => some,
        };
        let workers = NonZeroU16::new(wanted).unwrap_or(NonZeroU16::MIN);
        let first = u32::from(self.raw.media.first_port);
        let last = first + u32::from(workers.get()) - 1;
        let shared = self.raw.media.udp_ports == UdpPorts::One;
        let each = !shared || self.raw.media.tcp;
        if first != 0 && each && last > u32::from(u16::MAX) {
            let protocol = if shared { "TCP" } else { "UDP" };
            let title = format!(
                "{workers} workers need the {protocol} ports {first} to {last}, and 65535 is the last there is"
            );
            let first_port = ("media.first_port", "the first worker's port");
            let keys = [first_port, ("media.workers", "one port each")];
            let highest = u32::from(u16::MAX) - u32::from(workers.get()) + 1;
            self.report(
                title,
                &keys,
                &format!("start at {highest} or below, or take fewer workers"),
            );
        }
        workers
    }

    fn listeners(&mut self) {
        let raw = self.raw;
        let gateway = ("gateway.listen", "the gateway", Some(raw.gateway.listen));
        let metrics = raw.metrics.enabled.then_some(raw.metrics.listen);
        let metrics = ("metrics.listen", "the metrics", metrics);
        let console = ("console.listen", "the console", raw.console.listen);
        for [one, other] in [[gateway, metrics], [gateway, console], [metrics, console]] {
            let (Some(a), Some(b)) = (one.2, other.2) else {
                continue;
            };
            if collide(a, b) {
                let title = format!("{} and {} both want TCP port {}", one.1, other.1, b.port());
                let keys = [(other.0, "this listener"), (one.0, "and this one")];
                self.report(title, &keys, "give one of them another port");
            }
        }
    }

    fn gateway(&mut self) {
        let (gateway, limits) = (&self.raw.gateway, &self.raw.limits);
        if gateway.message_bytes_max <= limits.sdp_bytes {
            let keys = [
                ("gateway.message_bytes_max", "the whole message"),
                ("limits.sdp_bytes", "a part of a message"),
            ];
            let title =
                "a session description of the permitted length would not fit into a message"
                    .to_owned();
            self.report(
                title,
                &keys,
                "make `gateway.message_bytes_max` twice `limits.sdp_bytes`",
            );
        }
        if gateway.idle_timeout_ms <= gateway.ping_interval_ms {
            let keys = [
                ("gateway.idle_timeout_ms", "gone after this"),
                ("gateway.ping_interval_ms", "asked after this"),
            ];
            let title =
                "a quiet client would be gone before it is asked whether it is there".to_owned();
            self.report(
                title,
                &keys,
                "make `gateway.idle_timeout_ms` three times `gateway.ping_interval_ms`",
            );
        }
    }

    fn limits(&mut self) {
        let limits = &self.raw.limits;
        if limits.data_queue_bytes < limits.data_message_bytes {
            let keys = [
                ("limits.data_queue_bytes", "the whole queue"),
                ("limits.data_message_bytes", "one message"),
            ];
            let title = "the longest data message would not fit into an empty queue".to_owned();
            self.report(
                title,
                &keys,
                "make `limits.data_queue_bytes` several times `limits.data_message_bytes`",
            );
        }
    }

    fn bind(&mut self) {
        let bind = &self.raw.media.bind;
        if !bind.is_empty() && !self.raw.media.interfaces.is_empty() {
            let title =
                "`media.bind` names addresses, and `media.interfaces` interfaces".to_owned();
            let keys = [
                ("media.interfaces", "which of them?"),
                ("media.bind", "or these?"),
            ];
            self.report(title, &keys, "leave one of them out");
        }
        for (index, address) in bind.iter().enumerate() {
            let key = format!("media.bind[{index}]");
            let earlier = bind
                .iter()
                .position(|other| other == address)
                .filter(|other| *other < index);
            if let Some(earlier) = earlier {
                let title = format!("`media.bind` has {address} twice");
                let first = format!("media.bind[{earlier}]");
                self.report(
                    title,
                    &[(&key, "again here"), (&first, "first here")],
                    "leave one out",
                );
            } else if address.is_unspecified() {
                let title = format!(
                    "`{key}` cannot be {address}: a client must be told an address it can reach"
                );
                self.report(
                    title,
                    &[(&key, "names no interface")],
                    "leave `media.bind` empty to bind every interface",
                );
            } else if address.is_multicast() || is_unicast_link_local(address) {
                let title = format!("`{key}` cannot be {address}: clients cannot send there");
                self.report(
                    title,
                    &[(&key, "multicast or link-local")],
                    "name an address of an interface",
                );
            }
        }
    }

    fn public_addresses(&mut self) {
        let media = &self.raw.media;
        for (index, address) in media.public_addresses.iter().enumerate() {
            let key = format!("media.public_addresses[{index}]");
            let unusable = address.public.is_unspecified() || address.public.is_multicast();
            let other_family = address
                .bound
                .is_some_and(|bound| bound.is_ipv4() != address.public.is_ipv4());
            let unbound = address
                .bound
                .filter(|bound| !media.bind.is_empty() && !media.bind.contains(bound));
            let earlier = media.public_addresses.iter().take(index).position(|other| {
                other.bound == address.bound
                    && (other.bound.is_some() || other.public.is_ipv4() == address.public.is_ipv4())
            });
            if unusable {
                let title = format!(
                    "`{key}` cannot be {}: clients cannot send there",
                    address.public
                );
                self.report(
                    title,
                    &[(&key, "no public address")],
                    "write the address the NAT has outside",
                );
            } else if other_family {
                let title = format!("`{key}` maps between IPv4 and IPv6, which a NAT does not");
                self.report(
                    title,
                    &[(&key, "two families")],
                    "give both addresses of one family",
                );
            } else if let Some(bound) = unbound {
                let title = format!("`{key}` stands for {bound}, which is not bound");
                self.report(
                    title,
                    &[(&key, "after the `/`"), ("media.bind", "the bound ones")],
                    "add it to `media.bind`",
                );
            } else if let Some(earlier) = earlier {
                let first = format!("media.public_addresses[{earlier}]");
                let title = "two public addresses stand for the same bound ones".to_owned();
                let help = "say which is for which: \"PUBLIC/BOUND\"";
                self.report(title, &[(&key, "this one"), (&first, "and this one")], help);
            }
        }
    }

    fn recorder(&mut self) -> Option<Recorder> {
        let raw = &self.raw.recording;
        if raw.directory.as_os_str().is_empty() {
            return None;
        }
        let directory = self.provenance.source().folder.join(&raw.directory);
        let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
        let problem = if directory.exists() && !directory.is_dir() {
            Some(("is no folder".to_owned(), "name a folder".to_owned()))
        } else if let Some(parent) = parent.filter(|p| !directory.exists() && !p.is_dir()) {
            let why = format!("cannot be made: there is no folder `{}`", parent.display());
            Some((why, format!("mkdir -p {}", parent.display())))
        } else {
            None
        };
        if let Some((why, help)) = problem {
            let title = format!("the recording folder `{}` {why}", directory.display());
            self.report(title, &[("recording.directory", "this folder")], &help);
        }
        Some(Recorder {
            directory,
            temporary: false,
            free_bytes_min: raw.free_bytes_min,
            sync_every: millis(raw.sync_every_ms),
            queue_packets: raw.queue_packets,
            files_max: raw.files_max,
        })
    }

    fn ice_servers(&mut self) -> Vec<IceServer> {
        let mut servers = Vec::new();
        for (index, server) in self.raw.ice.servers.iter().enumerate() {
            let key = format!("ice.servers[{index}]");
            let turn = server.urls.iter().any(|url| url.starts_with("turn"));
            if turn && (server.username.is_none() || server.credential_file.is_none()) {
                let title = format!("`{key}` is a TURN server without user name and credential");
                let help =
                    "add `username` and `credential_file`: browsers refuse TURN without them";
                self.report(title, &[(&format!("{key}.urls"), "TURN")], help);
            }
            let credential = server
                .credential_file
                .as_deref()
                .and_then(|file| self.credential(&key, file));
            servers.push(IceServer {
                urls: server.urls.clone(),
                username: server.username.clone(),
                credential,
            });
        }
        servers
    }

    fn credential(&mut self, server: &str, file: &Path) -> Option<Secret> {
        let path = self.provenance.source().folder.join(file);
        match read_secret(&path) {
            Ok(secret) => Some(secret),
            Err((why, help)) => {
                let title = format!("cannot use the credential in `{}`: {why}", path.display());
                self.report(
                    title,
                    &[(&format!("{server}.credential_file"), "this file")],
                    &help,
                );
                None
            }
        }
    }

    fn authentication(&mut self) -> Option<String> {
        let policy = self.raw.authentication.policy.clone();
        if policy.is_none() {
            let source = self.provenance.source();
            let mut problem =
                Problem::new("`authentication.policy` is not set: who may join?".to_owned());
            match source.find("authentication") {
                Some(span) => {
                    problem = problem.place(source.place(span.key, "`policy` is missing here"));
                }
                None => {
                    problem = problem.note(&format!(
                        "`{}` has no `[authentication]` table",
                        source.name
                    ));
                }
            }
            let help = "to admit everybody to every room, say so:\n\n[authentication]\npolicy = \"auth-open\"";
            self.problems.push(problem.help(help));
        }
        policy
    }
}

/// Whether two TCP listeners cannot be bound side by side.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && overlap
}

/// `fe80::/10` (RFC 4291 §2.5.6): it needs a zone, which candidates do not carry.
fn is_unicast_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Who may be able to read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Its owner and group.
    Private,
    Anybody,
}

/// What is wrong with a file, and what to do.
type FileProblem = (String, String);

/// Reads a secret that only its owner and group can read.
fn read_secret(path: &Path) -> Result<Secret, FileProblem> {
    let text = read_text(path, CREDENTIAL_BYTES_MAX, Readers::Private)?;
    let secret = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    if secret.is_empty() || secret.contains(char::is_control) {
        return Err(("expected one line".to_owned(), ALONE.to_owned()));
    }
    Ok(Secret::new(secret.to_owned()))
}

/// A file of which only its owner and group may see the contents: one line, or a key in PEM.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(crate) fn read_private(path: &Path, is_pem: bool) -> Result<Secret, String> {
    let read = match is_pem {
        true => read_text(path, PEM_BYTES_MAX, Readers::Private).map(Secret::new),
        false => read_secret(path),
    };
    read.map_err(|(why, help)| format!("{why}\nhelp: {help}"))
}

/// Headers for a collector of traces, bytes.
const HEADERS_BYTES_MAX: u64 = 16 * 1024;
/// Certificate authorities in PEM, bytes.
const AUTHORITIES_BYTES_MAX: u64 = 1 << 20;

/// Longest key in PEM, bytes: RSA of 8,192 bits has 6,400.
const PEM_BYTES_MAX: u64 = 16 * 1024;

const ALONE: &str = "write the credential into this file, and nothing else";

/// Reads a regular file of at most `bytes_max`.
fn read_text(path: &Path, bytes_max: u64, readers: Readers) -> Result<String, FileProblem> {
    let failed = |error: std::io::Error| (error.to_string(), ALONE.to_owned());
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err((
            "it is no regular file".to_owned(),
            "name a file that holds the credential alone".to_owned(),
        ));
    }
    if readers == Readers::Private && metadata.permissions().mode() & 0o007 != 0 {
        let help = format!("chmod 640 {}", path.display());
        return Err(("everybody on this machine may read it".to_owned(), help));
    }
    let mut text = String::new();
    file.take(bytes_max + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > bytes_max {
        let why = match readers {
            Readers::Private => format!("expected one line of 1 to {bytes_max} bytes"),
            Readers::Anybody => format!("it is longer than {bytes_max} bytes"),
        };
        return Err((why, ALONE.to_owned()));
    }
    Ok(text)
}
