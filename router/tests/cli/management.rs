//! The command line asks a running router: the `dev` of this machine, and one by its certificates.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{EXIT_CONFIG, EXIT_USAGE, File, Router, any_ports, rillway};

const EXIT_REFUSED: i32 = 1;
const EXIT_UNREACHABLE: i32 = 69;

/// A folder in which routers of this test alone are found.
pub(crate) struct Machine {
    file: File,
}

impl Machine {
    pub(crate) fn new(name: &str, more: &str) -> Machine {
        Machine {
            file: File::new(name, &any_ports(more)),
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.file.0.parent().expect("a folder").to_owned()
    }

    pub(crate) fn file(&self) -> PathBuf {
        PathBuf::from(self.file.path())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = rillway(arguments);
        command
            .current_dir(self.folder())
            .env("XDG_RUNTIME_DIR", self.folder());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (
            status.code().expect("an exit code"),
            text(stdout),
            text(stderr),
        )
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
    }

    /// A router that is found in the folder.
    fn start(&self, verb: &str) -> Router {
        self.start_with(verb, |_| {})
    }

    /// The same, with something about its process changed.
    pub(crate) fn start_with(&self, verb: &str, change: impl FnOnce(&mut Command)) -> Router {
        let folder = self.folder();
        let router = Router::start_with(&[verb, "--config", self.file.path()], |command| {
            command.env("XDG_RUNTIME_DIR", &folder);
            change(command);
        });
        if verb == "dev" {
            router.line("Metrics: ");
        }
        router
    }
}

#[test]
fn a_dev_is_found_and_its_plugins_are_changed() {
    let machine = Machine::new("found", "");
    let (code, _, stderr) = machine.run(&["node"]);
    assert_eq!(code, EXIT_UNREACHABLE);
    assert!(
        stderr.contains("no `rillway dev` runs") && stderr.contains("--router"),
        "{stderr}"
    );

    let router = machine.start("dev");
    let (code, stdout, stderr) = machine.run(&["node"]);
    assert_eq!(code, 0, "{stderr}");
    let pid = router.child.id().to_string();
    assert!(
        stdout.contains("serving") && stdout.contains(&pid),
        "{stdout}"
    );
    assert_eq!(machine.json(&["node", "--json"])["phase"], "serving");
    let workers = machine.json(&["worker", "ls", "--json"]);
    assert_eq!(workers[0]["id"], 0, "{workers}");
    assert_eq!(
        workers[0]["forwarding"]["count"], 0,
        "nobody sends: {workers}"
    );
    let (_, stdout, _) = machine.run(&["worker", "ls"]);
    let mut lines = stdout.lines();
    let header = lines.next().unwrap_or_default();
    assert!(
        header.starts_with("WORKER") && header.contains("P99.9"),
        "{stdout}"
    );
    assert!(
        lines.next().is_some_and(|line| line.starts_with("0 ")),
        "{stdout}"
    );
    let plugins = machine.json(&["plugin", "ls", "--json"]);
    let names: Vec<_> = plugins
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert!(names.iter().any(|name| *name == "auth-open"), "{names:?}");
    let (_, stdout, _) = machine.run(&["plugin", "ls"]);
    assert!(
        stdout.starts_with("PLUGIN") && stdout.contains("auth-open"),
        "{stdout}"
    );

    rooms_are_asked_for(&machine);
    it_is_looked_at(&machine);
    let (code, stdout, stderr) = machine.run(&["plugin", "reload", "auth-open"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(" 2-"), "{stdout}");
    let (code, stdout, stderr) = machine.run(&["plugin", "rollback", "auth-open"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(" 1-"), "{stdout}");
    let (code, _, stderr) = machine.run(&["plugin", "promote", "auth-opn"]);
    assert_eq!(code, EXIT_REFUSED);
    assert!(
        stderr.contains("auth-opn") && stderr.contains("plugin ls"),
        "{stderr}"
    );
    std::fs::write(machine.folder().join("bad.wasm"), b"\0asm").expect("written");
    let bad = ["plugin", "reload", "auth-open", "--component", "bad.wasm"];
    let (code, _, stderr) = machine.run(&bad);
    assert_eq!(code, EXIT_REFUSED);
    assert!(stderr.contains("still runs"), "{stderr}");
    let (code, _, stderr) = machine.run(&["plugin", "reload", "auth-open", "--component", "gone"]);
    assert_eq!(code, EXIT_USAGE, "{stderr}");
    let (code, _, stderr) = machine.run(&["node", "--process", "1"]);
    assert_eq!(code, EXIT_UNREACHABLE);
    assert!(stderr.contains(&pid), "{stderr}");

    // What it leaves behind when it is killed is nobody's, though its parent may not have heard of its end.
    let mut router = router;
    router.child.kill().expect("ours");
    let deadline = Instant::now() + Duration::from_secs(10);
    let stat = format!("/proc/{pid}/stat");
    while !std::fs::read_to_string(&stat)
        .expect("not reaped")
        .contains(") Z ")
    {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (code, _, stderr) = machine.run(&["node"]);
    assert_eq!(code, EXIT_UNREACHABLE);
    assert_eq!(
        stderr.matches("no `rillway dev` runs").count(),
        1,
        "{stderr}"
    );
    drop(router);
    assert!(machine.folder().join("rillway").join(&pid).exists());
    let (code, _, _) = machine.run(&["node"]);
    assert_eq!(code, EXIT_UNREACHABLE);
    let second = machine.start("dev");
    assert!(
        !machine.folder().join("rillway").join(&pid).exists(),
        "swept"
    );
    let third = machine.start("dev");
    let (code, _, stderr) = machine.run(&["node"]);
    assert_eq!(code, EXIT_UNREACHABLE);
    assert!(stderr.contains("2 routers"), "{stderr}");
    let one = [
        "node",
        "--process",
        &second.child.id().to_string(),
        "--json",
    ];
    assert_eq!(machine.json(&one)["pid"], second.child.id());
    drop(third);
}

#[test]
fn events_are_lines_and_end_after_as_many_as_are_wanted() {
    let machine = Machine::new("events", "");
    let _router = machine.start("dev");
    let folder = machine.folder();
    let watch = std::thread::spawn(move || {
        let mut command = rillway(&["events", "--count", "2", "--json"]);
        command.env("XDG_RUNTIME_DIR", &folder);
        command.output().expect("runs")
    });
    // Until it watches, nothing is kept for it.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !watch.is_finished() {
        assert!(Instant::now() < deadline, "two events");
        let (code, _, stderr) = machine.run(&["plugin", "promote", "auth-open"]);
        assert_eq!(code, 0, "{stderr}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = watch.join().expect("no panic");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(events.len(), 2, "{text}");
    assert_eq!(events[0]["kind"], "operator", "{text}");
    let detail = events[0]["detail"].as_str().expect("text");
    assert!(
        detail.contains("plugin_promote auth-open: done"),
        "{detail}"
    );
    let (code, _, _) = machine.run(&["events", "--count", "0"]);
    assert_eq!(code, EXIT_USAGE);
}

/// `rillway top` where there is no terminal.
fn it_is_looked_at(machine: &Machine) {
    let sample = machine.json(&["top", "--once", "--json"]);
    assert!(sample["over_ms"].as_u64() > Some(0), "{sample}");
    assert_eq!(sample["phase"], "serving", "{sample}");
    let (code, stdout, stderr) = machine.run(&["top", "--once"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.starts_with("rillway ") && stdout.contains("no room is open"),
        "{stdout}"
    );
    for arguments in [
        &["top"][..],
        &["top", "--json"],
        &["top", "--once", "--interval", "61"],
    ] {
        let (code, stdout, stderr) = machine.run(arguments);
        assert_eq!(code, EXIT_USAGE, "{arguments:?}: {stderr}");
        assert!(stdout.is_empty(), "{stdout}");
    }
}

/// Verbs about rooms, on a router that has none.
fn rooms_are_asked_for(machine: &Machine) {
    assert_eq!(
        machine.json(&["room", "ls", "--json"]),
        serde_json::json!([])
    );
    let (code, stdout, _) = machine.run(&["room", "ls"]);
    assert_eq!(code, 0);
    assert!(
        stdout.starts_with("ROOM") && stdout.lines().count() == 1,
        "{stdout}"
    );
    for arguments in [
        &["room", "show", "standup"][..],
        &["room", "close", "standup", "--reason", "noon"],
        &["participant", "show", "standup", "Ada"],
        &["participant", "kick", "standup", "Ada"],
        &["participant", "move", "standup", "Ada", "--worker", "0"],
        &["track", "mute", "standup", "microphone", "--of", "Ada"],
        &["track", "unmute", "standup", "microphone"],
        &["why", "standup", "Ada", "camera"],
        &["recording", "start", "standup"],
        &["recording", "stop", "standup", "--track", "screen"],
    ] {
        let (code, stdout, stderr) = machine.run(arguments);
        assert_eq!(code, EXIT_REFUSED, "{arguments:?}: {stderr}");
        assert!(stdout.is_empty(), "{stdout}");
        assert!(
            stderr.contains("there is no room `standup`") && stderr.contains("no room is open"),
            "{arguments:?}: {stderr}"
        );
    }
    for arguments in [
        &["room", "show"][..],
        &["why", "standup"],
        &["drain", "--deadline", "30"],
        &["drain", "--deadline", "25h"],
        &["track", "mute", "standup"],
    ] {
        let (code, _, stderr) = machine.run(arguments);
        assert_eq!(code, EXIT_USAGE, "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_dev_is_drained_by_the_command_line() {
    let machine = Machine::new("drained", "");
    let mut router = machine.start("dev");
    let (code, stdout, stderr) = machine.run(&["drain", "--deadline", "2s"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("0 participants") && stdout.ends_with("ended\n"),
        "{stdout}"
    );
    let status = router.child.wait().expect("ours");
    assert_eq!(status.code(), Some(0));
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path)
        .expect("written")
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn certificates_of_an_authority_open_a_served_router() {
    // A port that was free a moment ago.
    let port = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        socket.local_addr().expect("an address").port()
    };
    let more = format!(
        "management = {{ listen = \"127.0.0.1:{port}\", certificate = \"router.pem\", \
         key = \"router.key\", client_ca = \"ca.pem\" }}\n"
    );
    let machine = Machine::new("served", &more);
    let folder = machine.folder();
    let (code, _, stderr) = machine.run(&["check", machine.file.path()]);
    assert_eq!(code, EXIT_CONFIG);
    assert!(
        stderr.contains("rillway ca i") && stderr.contains("router.pem"),
        "{stderr}"
    );

    for arguments in [
        &["ca", "init"][..],
        &["ca", "issue", "router", "--server", "--host", "127.0.0.1"],
        &["ca", "issue", "ada", "--role", "viewer"],
    ] {
        let (code, _, stderr) = machine.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
    }
    for file in ["ca.key", "router.key", "ada.key"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    let (code, _, stderr) = machine.run(&["ca", "init"]);
    assert_eq!(code, EXIT_USAGE, "nothing is overwritten");
    assert!(stderr.contains("ca.pem"), "{stderr}");
    for arguments in [
        &["ca", "issue", "ca", "--role", "viewer"][..],
        &["ca", "issue", "../eve", "--role", "viewer"],
        &["ca", "issue", "eve", "--role", "root"],
        &["ca", "issue", "eve", "--server"],
        &["ca", "issue", "eve"],
        &["ca", "issue", "eve", "--server", "--host", "https://eve"],
    ] {
        let (code, _, stderr) = machine.run(arguments);
        assert_eq!(code, EXIT_USAGE, "{arguments:?}: {stderr}");
    }

    let everybody = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.join("router.key"), everybody).expect("ours");
    let (code, _, stderr) = machine.run(&["check", machine.file.path()]);
    assert_eq!(code, EXIT_CONFIG);
    assert!(stderr.contains("chmod 640"), "{stderr}");
    let owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.join("router.key"), owner).expect("ours");

    let _router = machine.start("serve");
    let address = format!("127.0.0.1:{port}");
    let ask = |who: &str, host: &str, more: &[&str]| {
        let (certificate, key) = (format!("{who}.pem"), format!("{who}.key"));
        let mut arguments = more.to_vec();
        arguments.extend(["--router", host, "--ca", "ca.pem"]);
        arguments.extend(["--certificate", &certificate, "--key", &key]);
        machine.run(&arguments)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let stdout = loop {
        // It may still be coming up.
        let (code, stdout, stderr) = ask("ada", &address, &["node"]);
        if code == 0 {
            break stdout;
        }
        assert!(Instant::now() < deadline, "{stderr}");
    };
    assert!(stdout.contains("ada (viewer)"), "{stdout}");
    let (code, _, stderr) = ask("ada", &address, &["plugin", "reload", "auth-open"]);
    assert_eq!(code, EXIT_REFUSED);
    assert!(stderr.contains("needs the role admin"), "{stderr}");
    // The router's own certificate is no operator's.
    let (code, _, stderr) = ask("router", &address, &["node"]);
    assert_eq!(code, EXIT_UNREACHABLE, "{stderr}");
    let (code, _, stderr) = ask("ada", &format!("localhost:{port}"), &["node"]);
    assert_eq!(
        code, EXIT_UNREACHABLE,
        "it is not certified for that name: {stderr}"
    );
    let (code, _, stderr) = ask("ada", "nowhere", &["node"]);
    assert_eq!(code, EXIT_USAGE, "{stderr}");
    let (code, _, _) = machine.run(&["node", "--router", &address]);
    assert_eq!(code, EXIT_USAGE, "without a certificate");
}
