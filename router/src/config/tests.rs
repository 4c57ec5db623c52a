//! The checked-in files equal the code, and every fault is reported where it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::management::pki::{Authority, Subject};

use super::load::parse;
use super::raw::Raw;
use super::source::Source;
use super::*;

const OPEN: &str = "[authentication]\npolicy = \"auth-open\"\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn raw(text: &str) -> Raw {
    parse(&Source::built_in("a.toml", text)).expect("valid")
}

fn fails(text: &str) -> ConfigError {
    Config::parse("a.toml", text).expect_err("must be refused")
}

/// A new folder, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("rillway-config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("temporary folder");
        Scratch(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("temporary file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn checked_in_reference_is_what_the_code_generates() {
    let file = fs::read_to_string(folder().join("rillway.toml")).expect("config/rillway.toml");
    let same = file == reference();
    assert!(
        same,
        "config/rillway.toml is stale: cargo run -- reference config > config/rillway.toml"
    );
}

#[test]
fn reference_parses_to_the_defaults() {
    assert_eq!(raw(&reference()), Raw::default());
    assert_eq!(raw(""), Raw::default());
    let uncommented = reference().replace("\n#policy = ", "\npolicy = ");
    let reference =
        Config::parse("rillway.toml", &uncommented).expect("valid once a policy is chosen");
    assert_eq!(reference, Config::parse("a.toml", OPEN).expect("valid"));
}

#[test]
fn commented_examples_of_the_reference_are_valid() {
    let scratch = Scratch::new("reference");
    let credential = scratch.file("turn.credential", b"secret\n");
    set_mode(&credential, 0o600);
    let secret = scratch.file("jwt.secret", &[b'k'; 32]);
    set_mode(&secret, 0o600);
    let token = scratch.file("console.token", &[b'k'; 16]);
    set_mode(&token, 0o600);
    let headers = scratch.file("collector.headers", b"authorization: Bearer t\n");
    set_mode(&headers, 0o600);
    scratch.file("collector-ca.pem", b"");
    scratch.file("my-auth.wasm", b"");
    certificates(&scratch);
    let lines = reference()
        .lines()
        .map(|line| {
            let commented = line
                .strip_prefix('#')
                .filter(|l| !l.is_empty() && !l.starts_with(' '));
            commented.unwrap_or(line).to_owned()
        })
        .collect::<Vec<_>>();
    let file = scratch.file("rillway.toml", lines.join("\n").as_bytes());
    let config = Config::load(&file, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.ice_servers.len(), 1);
    assert!(config.management.is_some());
    let traces = config.traces.as_ref().map(|t| t.headers[0].1.reveal());
    assert_eq!(traces, Some("Bearer t"));
    let plugin = &config.plugins["example"];
    assert_eq!(plugin.keys["main"].material.reveal(), "k".repeat(32));
    assert_eq!(
        plugin.imports,
        [Capability::Log, Capability::Config, Capability::Crypto]
    );
    assert_eq!(
        config.ice_servers[0]
            .credential
            .as_ref()
            .map(Secret::reveal),
        Some("secret")
    );
    assert!(
        !format!("{config:?}").contains("secret\""),
        "secrets are not shown"
    );
    assert!(!format!("{config:?}").contains("PRIVATE KEY"));
}

/// What `[management]` names in the reference.
fn certificates(scratch: &Scratch) {
    let authority = Authority::create("test", Duration::from_secs(3_600)).expect("an authority");
    let subject = Subject {
        name: "router".to_owned(),
        role: None,
        hosts: vec!["localhost".to_owned()],
        valid: Duration::from_secs(3_600),
    };
    let issued = authority.issue(&subject).expect("a certificate");
    scratch.file("ca.pem", authority.certificate().as_bytes());
    scratch.file("router.pem", issued.certificate.as_bytes());
    let key = scratch.file("router.key", issued.key.reveal().as_bytes());
    set_mode(&key, 0o600);
}

#[test]
fn dev_is_open_local_and_for_people() {
    let dev = Config::dev();
    assert_eq!(dev.authentication, "auth-open");
    assert_eq!(dev.gateway.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        dev.metrics.map(|m| m.listen.to_string()).as_deref(),
        Some("127.0.0.1:9090")
    );
    assert_eq!((dev.media.first_port, dev.media.port(1)), (40_000, 40_001));
    assert_eq!(dev.log.format, LogFormat::Human);
    assert!(dev.gateway.page);
    let layers = dev.layers.expect("a component chooses layers");
    assert_eq!(layers.policy, "layers-adaptive");
    assert_eq!(layers.every, Duration::from_millis(200));
    assert!(dev.plugins.contains_key("layers-adaptive"));
    let recorder = dev.recorder.expect("a place for recordings");
    assert!(recorder.temporary && recorder.directory.starts_with(std::env::temp_dir()));
    assert_eq!(dev.recording.as_deref(), Some("record-on-request"));
}

#[test]
fn rooms_need_no_policy() {
    let scratch = Scratch::new("rooms");
    let text = format!("layers.policy = \"none\"\nrecording.policy = \"none\"\n{OPEN}");
    let file = scratch.file("none.toml", text.as_bytes());
    let config =
        Config::load(&file, &Overrides::default()).expect("both may be left to the router");
    assert_eq!((config.layers, config.recording), (None, None));
    assert!(!config.plugins.contains_key("layers-adaptive"));
    let text = format!(
        "layers = {{ policy = \"mine\", every_ms = 50 }}\nrecording.policy = \"mine\"\n{OPEN}\
         [plugins.mine]\ncomponent = \"none.toml\"\n"
    );
    let file = scratch.file("mine.toml", text.as_bytes());
    let config = Config::load(&file, &Overrides::default()).expect("what it exports shows later");
    assert_eq!(
        config.layers.expect("named").every,
        Duration::from_millis(50)
    );
    assert_eq!(config.recording.as_deref(), Some("mine"));
}

#[test]
fn dev_puts_a_file_before_its_own_values() {
    let scratch = Scratch::new("dev");
    let file = scratch.file(
        "a.toml",
        b"[shutdown]\nnotice_ms = 7\n[gateway]\npage = false\n",
    );
    let config = Config::load_dev(Some(&file), &Overrides::default()).expect("dev brings a policy");
    assert_eq!(config.shutdown.notice, Duration::from_millis(7));
    assert_eq!(
        (config.gateway.page, config.log.format),
        (false, LogFormat::Human)
    );
    Config::load(&file, &Overrides::default()).expect_err("serve wants a policy");
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for entry in fs::read_dir(folder().join("examples")).expect("config/examples") {
        let path = entry.expect("entry").path();
        Config::load(&path, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn every_key_says_what_it_means() {
    fn table(path: &str, schema: &Value) -> usize {
        let named = &schema["additionalProperties"];
        if named.is_object() {
            return table(&format!("{path}.NAME"), named);
        }
        // Without either it is a table of somebody else's.
        let properties = schema["properties"].as_object().into_iter().flatten();
        properties
            .map(|(name, key)| {
                let path = format!("{path}.{name}");
                assert!(
                    key["description"].as_str().is_some_and(|d| d.len() > 9),
                    "{path}: no meaning"
                );
                match key["type"].as_str() {
                    Some("object") => return table(&path, key),
                    Some("array") if key["items"]["type"] == "object" => {
                        return table(&path, &key["items"]);
                    }
                    Some("array") => assert!(key["maxItems"].is_u64(), "{path}: no bound"),
                    Some("integer") => {
                        let value = key.get("default").or(key.get("x-example"));
                        let bounds = (
                            key["minimum"].as_i64(),
                            value.and_then(Value::as_i64),
                            key["maximum"].as_i64(),
                        );
                        let (Some(min), Some(default), Some(max)) = bounds else {
                            panic!("{path}: no bound")
                        };
                        assert!(
                            (min..=max).contains(&default),
                            "{path}: default out of bound"
                        );
                        assert!(key["x-unit"].is_string(), "{path}: no unit");
                    }
                    _ => {}
                }
                let exempt = key.get("x-example").is_some();
                assert!(exempt || key.get("default").is_some(), "{path}: no default");
                1
            })
            .sum()
    }
    assert!(table("", &schema()) >= 30);
}

#[test]
fn every_bound_of_the_core_has_a_key() {
    let debug = format!("{:?}", Limits::default());
    let fields = debug
        .trim_start_matches("Limits {")
        .trim_end_matches('}')
        .split(',');
    let fields = fields
        .filter_map(|f| Some(f.split_once(':')?.0.trim().to_owned()))
        .collect::<Vec<_>>();
    let schema = schema();
    let keys = schema["properties"]["limits"]["properties"]
        .as_object()
        .expect("table");
    let mut keys = keys.keys().cloned().collect::<Vec<_>>();
    let mut fields = fields;
    keys.sort();
    fields.sort();
    assert_eq!(
        keys, fields,
        "config/raw.rs and rillway_core::limits differ"
    );
    assert_eq!(Limits::from(&Raw::default().limits), Limits::default());
}

/// Text, line, column, a part of the title, a part of the help.
#[rustfmt::skip]
const FAULTS: &[(&str, usize, usize, &str, &str)] = &[
    ("[gatway]\n", 1, 2, "unknown table `gatway`", "did you mean `gateway`?"),
    ("[gateway]\n  lisen = \"127.0.0.1:1\"\n", 2, 3, "unknown key `lisen`", "did you mean `listen`?"),
    ("[gateway]\nworkers = 1\n", 2, 1, "unknown key `workers`", "belongs in [media]"),
    ("[gateway]\nzzz = 1\n", 2, 1, "unknown key `zzz`", "[gateway] may have `listen`"),
    ("listen = 1\n", 1, 1, "unknown key `listen`", "belongs in [gateway] or [metrics]"),
    ("gateway.lisen = 1\n", 1, 9, "unknown key `lisen`", "did you mean `listen`?"),
    ("[[ice.servers]]\nurls = [\"stun:a\"]\nuser = 1\n", 3, 1, "unknown key `user`", "`username`"),
    ("[gateway]\npage = \"true\"\n", 2, 8, "expected true or false, found a string", "without the quotes"),
    ("[media]\nworkers = \"2\"\n", 2, 11, "expected an integer, found a string", "without the quotes"),
    ("[media]\nworkers = 1.5\n", 2, 11, "found a number with a fraction", ""),
    ("[media]\nbind = \"10.0.0.1\"\n", 2, 8, "expected a list, found a string", "in brackets"),
    ("[media]\nbind = [1]\n", 2, 9, "`media.bind[0]` has the wrong type", ""),
    ("ice.servers = { urls = [] }\n", 1, 15, "expected a list, found a table", "[[ice.servers]]"),
    ("media = 3\n", 1, 9, "expected a table, found an integer", "`[media]` is a table"),
    ("[media]\nworkers = 257\n", 2, 11, "expected 0 to 256 threads", ""),
    ("[media]\nworkers = -1\n", 2, 11, "expected 0 to 256 threads", ""),
    ("[media]\nfirst_port = 65_536\n", 2, 14, "expected a port, 0 to 65535", ""),
    ("[media]\nworkers = 99999999999999999999999999999999999999999999\n", 2, 11, "out of range", ""),
    ("[media]\ndriver = \"rong\"\n", 2, 10, "no value \"rong\"", "did you mean \"ring\"?"),
    ("[media]\nudp_ports = \"two\"\n", 2, 13, "no value \"two\"", ""),
    ("[media]\nudp_ports = 1\n", 2, 13, "expected \"per-worker\" or \"one\", found an integer", ""),
    ("[media]\ndriver = 1\n", 2, 10, "expected \"auto\", \"ring\" or \"mmsg\", found an integer", ""),
    ("[gateway]\nlisten = \"localhost:80\"\n", 2, 10, "not an address with a port", ""),
    ("[media]\nbind = [\"::1\", \"1.2.3\"]\n", 2, 16, "`media.bind[1]` is not an IP address", ""),
    ("[media]\npublic_addresses = [\"1.2.3.4/\"]\n", 2, 21, "not a public address", ""),
    ("[media]\npublic_address_servers = [\"stun:a\"]\n", 2, 27, "not a STUN server", ""),
    ("[media]\ninterfaces = [\"et*h\"]\n", 2, 15, "not an interface", ""),
    ("[gateway]\nallowed_origins = [\"https://a/\"]\n", 2, 20, "not an origin", ""),
    ("[log]\nfilter = \"rillway=loud\"\n", 2, 10, "not a filter", ""),
    ("[[ice.servers]]\nurls = []\n", 2, 8, "too few elements", ""),
    ("[[ice.servers]]\n", 1, 1, "`ice.servers[0]` has no `urls`", ""),
    ("[[ice.servers]]\nurls = [\"http://a\"]\n", 2, 9, "not an ICE server URL", ""),
    ("[gateway]\npage = true\npage = true\n", 3, 1, "duplicate key", ""),
    ("[gateway]\npage = yes\n", 2, 8, "not TOML", ""),
    ("[gateway\n", 1, 9, "not TOML", ""),
    ("[plugins.My_auth]\n", 1, 10, "`My_auth` is no name", ""),
    ("[plugins.a]\ncomponnt = \"a\"\n", 2, 1, "unknown key `componnt`", "did you mean `component`?"),
    ("[plugins.a]\nimports = [\"filesystem\"]\n", 2, 12, "no value \"filesystem\"", ""),
    ("[plugins.a]\nsha256 = \"abc\"\n", 2, 10, "not a SHA-256", ""),
    ("[plugins.a]\nhttp_origins = [\"backend\"]\n", 2, 17, "is not an origin", ""),
    ("[plugins.a]\nhttp_private_networks = [\"10.0.0.0/33\"]\n", 2, 26, "is not a network", ""),
    ("[plugins.a.budgets]\ncall_ms_max = 0\n", 2, 15, "expected 1 to 60,000 milliseconds", ""),
    ("[plugins.a.keys.main]\nalgorithm = \"none\"\nfile = \"k\"\n", 2, 13, "no value \"none\"", ""),
    ("[[signaling.routes]]\npath = \"whip\"\nplugin = \"signaling-rooms\"\n", 2, 8, "not a path", ""),
    ("[[signaling.routes]]\npath = \"/readyz\"\nplugin = \"signaling-rooms\"\n", 2, 8, "not a path", ""),
    ("[gateway]\n", usize::MAX, 0, "`authentication.policy` is not set", "policy = \"auth-open\""),
    ("[authentication]\n", 1, 2, "`authentication.policy` is not set", "policy = \"auth-open\""),
];

#[test]
fn a_fault_is_reported_where_it_is() {
    for (text, line, column, title, help) in FAULTS {
        let error = fails(text);
        let problem = &error.problems()[0];
        let place = error.line_column(problem).unwrap_or((usize::MAX, 0));
        assert_eq!(place, (*line, *column), "{text}\n{error}");
        assert!(problem.title().contains(title), "{text}\n{error}");
        assert!(
            problem.help_lines().iter().any(|h| h.contains(help)) || help.is_empty(),
            "{text}\n{error}"
        );
        let report = error.to_string();
        if *line != usize::MAX {
            assert!(
                report.contains(&format!("a.toml:{line}:{column}")),
                "{report}"
            );
            assert!(report.contains('^'), "{report}");
        }
    }
}

/// Like [`FAULTS`], behind a valid `[authentication]` of two lines.
#[rustfmt::skip]
const CONFLICTS: &[(&str, usize, usize, &str, &str)] = &[
    ("[metrics]\nlisten = \"0.0.0.0:8080\"\n", 4, 10, "both want TCP port 8080", "another port"),
    ("[media]\nworkers = 4\nfirst_port = 65533\n", 5, 14, "65533 to 65536", "start at 65532"),
    ("[media]\nudp_ports = \"one\"\nworkers = 4\nfirst_port = 65533\n", 6, 14, "the TCP ports 65533 to 65536", "start at 65532"),
    ("[gateway]\nmessage_bytes_max = 65536\n", 4, 21, "session description", "twice"),
    ("[gateway]\nidle_timeout_ms = 5000\n", 4, 19, "gone before it is asked", "three times"),
    ("[limits]\ndata_queue_bytes = 2048\n", 4, 20, "not fit into an empty queue", "several times"),
    ("[media]\nbind = [\"0.0.0.0\"]\n", 4, 9, "cannot be 0.0.0.0", "leave `media.bind` empty"),
    ("[media]\nbind = [\"fe80::1\"]\n", 4, 9, "cannot send there", ""),
    ("[media]\nbind = [\"::1\", \"::1\"]\n", 4, 16, "has ::1 twice", "leave one out"),
    ("[media]\npublic_addresses = [\"0.0.0.0\"]\n", 4, 21, "cannot be 0.0.0.0", "outside"),
    ("[media]\npublic_addresses = [\"1.2.3.4/::1\"]\n", 4, 21, "IPv4 and IPv6", ""),
    ("[media]\nbind = [\"::1\"]\npublic_addresses = [\"1.2.3.4/10.0.0.1\"]\n", 5, 21, "not bound", "add it"),
    ("[media]\npublic_addresses = [\"1.2.3.4\", \"1.2.3.5\"]\n", 4, 32, "the same bound ones", "PUBLIC/BOUND"),
    ("[[signaling.routes]]\npath = \"/a\"\nplugin = \"signaling-room\"\nsubprotocol = \"a\"\n", 5, 10, "no policy `signaling-room`", "did you mean \"signaling-rooms\"?"),
    ("[[signaling.routes]]\npath = \"/a\"\nplugin = \"auth-jwt\"\nsubprotocol = \"a\"\n", 5, 10, "a policy for authentication", "\"signaling-rooms\""),
    ("[layers]\npolicy = \"layers-adaptiv\"\n", 4, 10, "no policy `layers-adaptiv`", "did you mean \"layers-adaptive\"?"),
    ("[layers]\npolicy = \"auth-jwt\"\n", 4, 10, "a policy for authentication", "\"layers-adaptive\""),
    ("[recording]\npolicy = \"layers-adaptive\"\n", 4, 10, "a policy for layer-selection", "\"record-on-request\""),
    ("[recording]\ndirectory = \"no/such\"\n", 4, 13, "there is no folder", "mkdir -p"),
    ("[plugins.none]\ncomponent = \"Cargo.toml\"\n", 3, 1, "no plugin can be called `none`", "another name"),
    ("[plugins.mine]\n", 3, 1, "no built-in component `mine`", "component ="),
    ("[plugins.mine]\ncomponent = \"builtin:jwt\"\n", 4, 13, "no built-in component `jwt`", "auth-jwt"),
    ("[plugins.mine]\ncomponent = \"no/such.wasm\"\n", 4, 13, "cannot use the component", "rillway plugin build"),
    ("[plugins.auth-jwt.keys.main]\nalgorithm = \"HS256\"\nfile = \"no/such\"\n", 5, 8, "cannot use the key", ""),
    ("[[signaling.routes]]\npath = \"/a\"\nplugin = \"signaling-rooms\"\n[[signaling.routes]]\npath = \"/a/b\"\nplugin = \"signaling-rooms\"\nsubprotocol = \"x\"\n", 7, 8, "two signaling routes", "another path"),
    ("[[ice.servers]]\nurls = [\"turn:a\"]\n", 4, 8, "without user name", "credential_file"),
    ("[[ice.servers]]\nurls = [\"stun:a\"]\ncredential_file = \"no/such\"\n", 5, 19, "cannot use the credential", ""),
];

#[test]
fn conflicts_are_reported_where_they_are() {
    for (text, line, column, title, help) in CONFLICTS {
        let error = fails(&format!("{OPEN}{text}"));
        let [problem] = error.problems() else {
            panic!("one problem expected: {error}")
        };
        assert_eq!(
            error.line_column(problem),
            Some((*line, *column)),
            "{text}\n{error}"
        );
        assert!(problem.title().contains(title), "{text}\n{error}");
        assert!(
            problem.help_lines().iter().any(|h| h.contains(help)),
            "{text}\n{error}"
        );
    }
}

#[test]
fn everything_wrong_is_reported_at_once_in_order() {
    let error = fails("[media]\nworkers = 300\n[gateway]\nlisen = 1\npage = 2\n[medja]\n");
    let lines = error
        .problems()
        .iter()
        .map(|p| error.line_column(p).map(|(line, _)| line));
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [Some(2), Some(4), Some(5), Some(6)]
    );
    assert!(error.to_string().ends_with("4 problems in `a.toml`"));
    let error = fails("[media]\nbind = [\"0.0.0.0\"]\n[gateway]\nidle_timeout_ms = 1000\n");
    assert_eq!(
        error.problems().len(),
        3,
        "two conflicts and no policy: {error}"
    );
}

#[test]
fn a_report_shows_file_line_caret_and_help() {
    let expected = "\
error: unknown key `lisen`
 --> a.toml:2:1
  |
2 | lisen = \"127.0.0.1:8080\"
  | ^^^^^ [metrics] has no such key
  |
  = help: did you mean `listen`?
  = help: [metrics] may have `enabled`, `listen`";
    assert_eq!(
        fails("[metrics]\nlisen = \"127.0.0.1:8080\"\n").to_string(),
        expected
    );
    let coloured = fails("[metrics]\nlisen = 1\n").render(true);
    assert!(coloured.contains("\u{1b}["));
}

#[test]
fn files_that_cannot_be_read_are_explained() {
    let scratch = Scratch::new("unreadable");
    let load = |path: &Path| Config::load(path, &Overrides::default()).expect_err("refused");
    let missing = scratch.0.join("missing.toml");
    let report = load(&missing).to_string();
    assert!(
        report.contains("there is no such file") && report.contains("rillway reference config >"),
        "{report}"
    );
    assert!(load(&scratch.0).to_string().contains("it is a directory"));
    let error = load(&scratch.file("latin1.toml", b"[log]\n# caf\xe9\nfilter = 3\n"));
    assert_eq!(
        error.line_column(&error.problems()[0]),
        Some((2, 6)),
        "{error}"
    );
    assert!(error.to_string().contains("not UTF-8"));
    assert!(
        load(&scratch.file("long.toml", &vec![b'\n'; 1024 * 1024 + 1]))
            .to_string()
            .contains("1 MiB")
    );
    assert!(
        load(Path::new("/dev/zero")).to_string().contains("1 MiB"),
        "an endless file is cut off"
    );
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn credentials_are_read_from_private_files_only() {
    let scratch = Scratch::new("credential");
    let text = format!(
        "{OPEN}[[ice.servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential_file = \"c\"\n"
    );
    let file = scratch.file("a.toml", text.as_bytes());
    let load = || Config::load(&file, &Overrides::default());
    let credential = scratch.file("c", b"pa ss\r\n");
    set_mode(&credential, 0o644);
    let report = load().expect_err("readable by everybody").to_string();
    assert!(
        report.contains("a.toml:6:19") && report.contains("chmod 640"),
        "{report}"
    );
    set_mode(&credential, 0o640);
    let config = load().expect("valid");
    assert_eq!(
        config.ice_servers[0]
            .credential
            .as_ref()
            .map(Secret::reveal),
        Some("pa ss")
    );
    for content in [&b""[..], b"\n", b"two\nlines\n", &[b'x'; 4097]] {
        fs::write(&credential, content).expect("write");
        assert!(
            load()
                .expect_err("no credential")
                .to_string()
                .contains("expected one line")
        );
    }
}

#[test]
fn flags_go_before_the_file_and_are_named_in_reports() {
    let listen: SocketAddr = "127.0.0.1:9090".parse().expect("address");
    let overrides = Overrides {
        listen: Some(listen),
        public_address: "203.0.113.7".parse().ok(),
        metrics: None,
        first_port: None,
        driver: Some(DriverChoice::Mmsg),
        workers: Some(3),
        log: Some("debug".to_owned()),
        log_format: Some(LogFormat::Json),
    };
    let error = Config::load_dev(None, &overrides)
        .expect_err("the metrics' port")
        .to_string();
    assert!(
        error.contains("`gateway.listen` is set by `--listen`"),
        "{error}"
    );
    let overrides = Overrides {
        listen: "127.0.0.1:1".parse().ok(),
        ..overrides
    };
    let config = Config::load_dev(None, &overrides).expect("valid");
    assert_eq!(
        (config.gateway.listen.port(), config.media.workers.get()),
        (1, 3)
    );
    assert_eq!(
        (config.media.driver, config.log.format),
        (DriverChoice::Mmsg, LogFormat::Json)
    );
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.media.public_addresses.len(), 1);
}

#[test]
fn a_failed_bind_names_key_place_and_address() {
    let in_use = io::Error::from(io::ErrorKind::AddrInUse);
    let text = format!("{OPEN}[gateway]\nlisten = \"127.0.0.1:81\"\n");
    let config = Config::parse("a.toml", &text).expect("valid");
    let report = config
        .bind_error(Key::GATEWAY_LISTEN, config.gateway.listen, &in_use)
        .to_string();
    for part in [
        "`gateway.listen`",
        "127.0.0.1:81",
        "a.toml:4:10",
        "in use",
        "ss -lntup",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let port = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let report = config
        .bind_error(Key::MEDIA_FIRST_PORT, port, &in_use)
        .to_string();
    assert!(
        report.contains("`media.first_port` is not in `a.toml`; its default is 40000"),
        "{report}"
    );
    let config = Config::dev();
    let report = config
        .bind_error(Key::MEDIA_FIRST_PORT, port, &in_use)
        .to_string();
    assert!(
        report.contains("choose another port with `--first-port PORT`"),
        "{report}"
    );
    let overrides = Overrides {
        listen: "127.0.0.1:82".parse().ok(),
        ..Overrides::default()
    };
    let config = Config::load_dev(None, &overrides).expect("valid");
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let report = config
        .bind_error(Key::GATEWAY_LISTEN, config.gateway.listen, &denied)
        .to_string();
    assert!(
        report.contains("--listen") && report.contains("CAP_NET_BIND_SERVICE"),
        "{report}"
    );
}

#[test]
fn public_addresses_stand_for_the_bound_ones() {
    let text =
        format!("{OPEN}[media]\npublic_addresses = [\"203.0.113.7\", \"203.0.113.8/10.0.0.6\"]\n");
    let media = Config::parse("a.toml", &text).expect("valid").media;
    for (bound, advertised) in [
        ("10.0.0.5", "203.0.113.7"),
        ("10.0.0.6", "203.0.113.8"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(
            media.advertised(bound.parse().expect("ip")).to_string(),
            advertised
        );
    }
}

#[test]
fn workers_behind_one_port_have_tcp_ports_of_their_own() {
    let media = |more: &str| {
        let text = format!("{OPEN}[media]\nworkers = 4\n{more}");
        Config::parse("a.toml", &text).expect("valid").media
    };
    let each = media("first_port = 40000\n");
    assert_eq!((each.port(3), each.tcp_port(3)), (40_003, None));
    let one = media("first_port = 40000\nudp_ports = \"one\"\n");
    assert_eq!((one.port(3), one.tcp_port(3)), (40_000, Some(40_003)));
    let any = media("first_port = 0\nudp_ports = \"one\"\n");
    assert_eq!((any.port(3), any.tcp_port(3)), (0, Some(0)));
    let last = media("first_port = 65535\nudp_ports = \"one\"\ntcp = false\n");
    assert_eq!(last.port(3), 65_535);
}

/// Files a distracted person or a bad disk could leave: no panic, and always a report with a place.
#[test]
fn mutilated_files_never_panic() {
    let original = reference().replace("\n#policy = ", "\npolicy = ");
    let mut state = 0x5eed_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let pieces = [
        "\"",
        "[",
        "]",
        "=",
        "\n",
        "é",
        "\u{0}",
        "{",
        ",",
        "[[ice.servers]]\n",
        "#",
        "0",
        ".",
        "'''",
    ];
    let mut refused = 0;
    for _ in 0..500 {
        let mut text = original.clone();
        for _ in 0..=random(3) {
            let chars = text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
            let (from, to) = (random(chars.len()), random(chars.len()));
            let (first, last) = (from.min(to), from.max(to).min(from.min(to) + 40));
            let at = chars[from];
            match random(3) {
                0 => text.insert_str(at, pieces[random(pieces.len())]),
                1 => text.replace_range(chars[first]..chars[last], ""),
                _ => text.truncate(at.max(1)),
            }
        }
        if let Err(error) = Config::parse("a.toml", &text) {
            refused += 1;
            assert!(error.to_string().starts_with("error: "));
            assert!(!error.problems().is_empty());
        }
    }
    assert!(
        refused > 100,
        "only {refused} of 500 were refused: the mutations do nothing"
    );
}
