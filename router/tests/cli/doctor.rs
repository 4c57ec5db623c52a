//! `rillway doctor` on machines that are well and on those that are not.

use std::fs::Permissions;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rillway::management::pki::{Authority, Subject};
use serde_json::Value;

use super::confined::Serving;
use super::{File, rillway};

const EXIT_BROKEN: i32 = 1;

/// What it found, and its exit code.
struct Examined {
    code: i32,
    findings: Vec<Value>,
}

impl Examined {
    fn of(file: &File, more: &[&str]) -> Examined {
        let mut command = rillway(&["doctor", "--json", "--config", file.path()]);
        Examined::by(command.args(more))
    }

    fn by(command: &mut Command) -> Examined {
        let output = command.output().expect("runs");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("no JSON: {error}: {said}")
        });
        Examined {
            code: output.status.code().expect("an exit code"),
            findings: report["findings"].as_array().expect("a list").clone(),
        }
    }

    /// The finding of a check that has this in it.
    #[track_caller]
    fn finds(&self, check: &str, verdict: &str, part: &str) -> &Value {
        let text = |finding: &Value| finding["what"].as_str().unwrap_or_default().to_owned();
        let mut of_check = self.findings.iter().filter(|f| f["check"] == check);
        let found = of_check.find(|f| f["verdict"] == verdict && text(f).contains(part));
        found.unwrap_or_else(|| {
            panic!(
                "no {verdict} of {check} with `{part}`: {:#?}",
                self.findings
            )
        })
    }

    fn problems(&self) -> Vec<&Value> {
        let all = self.findings.iter();
        all.filter(|finding| finding["verdict"] == "problem")
            .collect()
    }
}

#[track_caller]
fn mends(finding: &Value, part: &str) {
    assert!(
        finding["mend"].to_string().contains(part),
        "{part}: {finding:#}"
    );
}

/// A port that nobody has, for UDP and for TCP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = tcp.local_addr().expect("an address");
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// On loopback, with ports of its own; `media` goes into `[media]`.
fn machine(name: &str, media: &str, more: &str) -> File {
    let (gateway, metrics, first) = (free_port(), free_port(), free_port());
    let text = format!(
        "authentication.policy = \"auth-open\"\n\
         gateway.listen = \"127.0.0.1:{gateway}\"\n\
         metrics.listen = \"127.0.0.1:{metrics}\"\n\
         media.first_port = {first}\n\
         media.bind = [\"127.0.0.1\"]\n\
         media.workers = 1\n\
         {media}\n\
         {more}"
    );
    File::new(&format!("doctor-{name}"), &text)
}

#[test]
fn a_machine_is_well_before_and_while_a_router_serves() {
    let file = machine("well", "", "");
    let before = Examined::of(&file, &[]);
    assert_eq!((before.code, before.problems()), (0, vec![]));
    before.finds("gateway", "ok", ": free");
    before.finds("media ports", "ok", "UDP and TCP");
    before.finds("reachability", "ok", "UDP 127.0.0.1:");
    before.finds("reachability", "ok", "TCP 127.0.0.1:");
    before.finds("public address", "ok", "this machine alone");
    for check in [
        "clock",
        "workers",
        "io_uring",
        "sandbox",
        "locked memory",
        "recordings",
    ] {
        assert!(
            before.findings.iter().any(|f| f["check"] == check),
            "{check}"
        );
    }

    let router = Serving::start(&file);
    router.says("\"listening\"");
    let pid = format!("process {}", router.child.id());
    let beside = Examined::of(&file, &[]);
    assert_eq!((beside.code, beside.problems()), (0, vec![]));
    for check in ["gateway", "metrics", "media ports"] {
        beside.finds(check, "ok", &format!("held by a running router, {pid}"));
    }
    beside.finds(
        "reachability",
        "ok",
        "the router answers; asked from this machine",
    );
    let descriptors = beside.findings.iter().find(|f| f["check"] == "descriptors");
    let descriptors = descriptors.expect("of the router").to_string();
    assert!(descriptors.contains(&pid), "{descriptors}");

    let output = rillway(&["doctor", "--config", file.path()]).output();
    let text = String::from_utf8(output.expect("runs").stdout).expect("UTF-8");
    assert!(text.starts_with("ok          configuration"), "{text}");
    assert!(
        text.trim_end().ends_with("not checked"),
        "a summary: {text}"
    );
}

#[test]
fn whoever_has_a_port_is_named() {
    let file = machine("held", "", "");
    let text = std::fs::read_to_string(&file.0).expect("reads");
    let line = text.lines().nth(1).expect("the gateway's");
    let port = line
        .trim_end_matches('"')
        .rsplit(':')
        .next()
        .expect("a port");
    let _held = TcpListener::bind(format!("127.0.0.1:{port}")).expect("ours");
    let found = Examined::of(&file, &[]);
    assert_eq!(found.code, EXIT_BROKEN);
    let pid = std::process::id();
    let gateway = found.finds("gateway", "problem", &format!("is held by process {pid} ("));
    assert_eq!(gateway["key"], "gateway.listen");
    assert_eq!(gateway["place"], format!("{}:2", file.path()));
    mends(gateway, &format!("kill {pid}"));
    assert_eq!(found.problems().len(), 1, "{:#?}", found.findings);
}

/// Files of the management channel, of a certificate that is good for so long.
fn management(file: &File, valid: Duration) -> String {
    let hour = Duration::from_secs(3_600);
    let authority = Authority::create("doctor", 24 * 365 * hour).expect("made");
    let subject = Subject {
        name: "router".to_owned(),
        role: None,
        hosts: vec!["localhost".to_owned()],
        valid,
    };
    let [issued, other] = [(); 2].map(|()| authority.issue(&subject).expect("made"));
    let folder = file.0.parent().expect("a folder");
    for (name, text) in [
        ("router.pem", issued.certificate.as_str()),
        ("router.key", issued.key.reveal()),
        ("other.key", other.key.reveal()),
        ("ca.pem", authority.certificate()),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
        let mode = Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.join(name), mode).expect("ours");
    }
    format!(
        "[management]\nlisten = \"127.0.0.1:{}\"\ncertificate = \"router.pem\"\nkey = \"router.key\"\n\
         client_ca = \"ca.pem\"\n",
        free_port()
    )
}

fn with_management(name: &str, valid: Duration) -> File {
    let file = machine(name, "", "");
    let more = management(&file, valid);
    let text = std::fs::read_to_string(&file.0).expect("reads");
    std::fs::write(&file.0, text + &more).expect("written");
    file
}

#[test]
fn certificates_have_their_time() {
    let day = Duration::from_secs(24 * 3_600);
    let good = Examined::of(&with_management("good", 90 * day), &[]);
    assert_eq!((good.code, good.problems()), (0, vec![]));
    good.finds("management certificate", "ok", "valid until 20");
    good.finds("management authority", "ok", "valid until 20");
    let soon = Examined::of(&with_management("soon", 3 * day), &[]);
    assert_eq!(soon.code, 0, "a warning breaks nothing");
    let soon = soon.finds("management certificate", "warning", "it expires on 20");
    mends(soon, "rillway ca issue");
    let file = with_management("expired", Duration::ZERO);
    std::thread::sleep(Duration::from_millis(1_100));
    let late = Examined::of(&file, &[]);
    assert_eq!(late.code, EXIT_BROKEN);
    let late = late.finds("management certificate", "problem", "it expired on 20");
    assert_eq!(late["key"], "management.certificate");
    mends(late, "rillway ca issue");
}

#[test]
fn keys_fit_and_secrets_are_secret() {
    let file = with_management("key", Duration::from_secs(3_600));
    let text = std::fs::read_to_string(&file.0).expect("reads");
    std::fs::write(&file.0, text.replace("router.key", "other.key")).expect("written");
    let found = Examined::of(&file, &[]);
    assert_eq!(found.code, EXIT_BROKEN);
    found.finds("configuration", "problem", "do not belong together");
    found.finds("everything else", "not_checked", "configuration");

    let folder = file.0.parent().expect("a folder");
    let key = folder.join("router.key");
    std::fs::write(&file.0, text).expect("written");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("ours");
    let found = Examined::of(&file, &[]);
    assert_eq!(found.code, EXIT_BROKEN);
    let open = found.finds(
        "configuration",
        "problem",
        "everybody on this machine may read it",
    );
    mends(open, "chmod 640");

    std::fs::remove_file(&key).expect("ours");
    let found = Examined::of(&file, &[]);
    found.finds("configuration", "problem", "No such file");
}

#[test]
fn limits_of_the_shell_are_those_of_the_router_it_would_start() {
    let file = machine("limits", "media.driver = \"ring\"", "");
    let script = "ulimit -n 40 && ulimit -l 64 && exec \"$0\" doctor --json --config \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_rillway"), file.path()]);
    let found = Examined::by(command.stdin(Stdio::null()));
    assert_eq!(found.code, EXIT_BROKEN);
    let locked = found.finds("locked memory", "problem", "RLIMIT_MEMLOCK is 64 KiB here");
    mends(locked, "LimitMEMLOCK=");
    let descriptors = found.finds("descriptors", "problem", "RLIMIT_NOFILE is 40 here");
    mends(descriptors, "LimitNOFILE=");
}

/// A STUN server on loopback that sees everybody at one address.
fn stun_server(seen: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let address = socket.local_addr().expect("an address");
    let SocketAddr::V4(seen) = seen else {
        panic!("IPv4 alone")
    };
    std::thread::spawn(move || {
        let mut request = [0; 100];
        while let Ok((length, from)) = socket.recv_from(&mut request) {
            assert_eq!(
                (length, &request[..2]),
                (20, &[0, 1][..]),
                "a binding request"
            );
            // RFC 8489 §14.2.
            let mut answer = vec![1, 1, 0, 12];
            answer.extend_from_slice(&request[4..20]);
            answer.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
            answer.extend_from_slice(&(seen.port() ^ 0x2112).to_be_bytes());
            answer.extend_from_slice(&(u32::from(*seen.ip()) ^ 0x2112_a442).to_be_bytes());
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

#[test]
fn a_wrong_public_address_is_told_with_the_right_one() {
    let file = machine(
        "public",
        "media.public_addresses = [\"127.0.0.9/127.0.0.1\"]",
        "",
    );
    let server = stun_server("198.51.100.7:40000".parse().expect("an address"));
    let found = Examined::of(&file, &["--stun", &server.to_string()]);
    assert_eq!(found.code, EXIT_BROKEN);
    let wrong = found.finds("public address", "problem", "clients are told 127.0.0.9");
    assert_eq!(wrong["place"], format!("{}:7", file.path()));
    mends(wrong, "public_addresses = [\\\"198.51.100.7/127.0.0.1\\\"]");
    found.finds("public address", "warning", "the NAT changes ports");
    let right = stun_server("127.0.0.9:40000".parse().expect("an address"));
    let found = Examined::of(&file, &["--stun", &right.to_string()]);
    found.finds(
        "public address",
        "ok",
        "127.0.0.9: STUN servers see the same",
    );
    // Another address of this machine, but none that media is bound to: as by a NAT that refuses its own machine.
    found.finds("reachability", "not_checked", "UDP 127.0.0.9:");
    assert_eq!((found.code, found.problems()), (0, vec![]));
}

#[test]
fn a_router_learns_its_public_address_or_says_why_not() {
    let server = stun_server("127.0.0.9:40000".parse().expect("an address"));
    let silent = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let silent = silent.local_addr().expect("an address");
    let servers = format!("media.public_address_servers = [\"{silent}\", \"{server}\"]");
    let file = machine("learned", &servers, "");
    let router = Serving::start(&file);
    router.says("public address by STUN");
    router.says("\"advertised\":\"127.0.0.9:");
    drop(router);
    let found = Examined::of(&file, &[]);
    found.finds(
        "public address",
        "ok",
        "127.0.0.9: STUN servers see the same",
    );
    assert_eq!((found.code, found.problems()), (0, vec![]));

    let servers = format!("media.public_address_servers = [\"{silent}\"]");
    let file = machine("unlearned", &servers, "");
    let output = rillway(&["serve", "--config", file.path()]).output();
    let output = output.expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // Not 78: a service manager tries again, until the network is there.
    assert_eq!(output.status.code(), Some(70), "{said}");
    let place = format!("{}:7:", file.path());
    for part in [
        place.as_str(),
        &format!("no answer from {silent}"),
        "media.public_addresses",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let found = Examined::of(&file, &[]);
    assert_eq!(found.code, EXIT_BROKEN);
    found.finds("public address", "problem", "no public address was learned");

    let written = format!("{servers}\nmedia.public_addresses = [\"127.0.0.8/127.0.0.1\"]");
    let file = machine("written", &written, "");
    let router = Serving::start(&file);
    router.says("`media.public_addresses` stands");
    router.says("\"advertised\":\"127.0.0.8:");
}

#[test]
fn what_is_wrong_with_the_file_is_told_line_by_line() {
    let file = machine("unknown", "media.worker = 2", "");
    let found = Examined::of(&file, &[]);
    assert_eq!(found.code, EXIT_BROKEN);
    let unknown = found.finds("configuration", "problem", "unknown key `worker`");
    assert_eq!(unknown["place"], format!("{}:7", file.path()));
    mends(unknown, "did you mean `workers`?");
    assert!(
        found.findings.iter().any(|f| f["check"] == "clock"),
        "what needs no file"
    );
}
