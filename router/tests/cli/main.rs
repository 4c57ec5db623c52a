//! The binary as people and service managers meet it: exit codes, reports, signals.

mod changing;
mod confined;
mod doctor;
mod management;
mod packaged;
mod plugin;
mod recording;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const EXIT_USAGE: i32 = 2;
const EXIT_PLUGIN: i32 = 65;
const EXIT_CONFIG: i32 = 78;

fn rillway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rillway"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = rillway(arguments).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        status.code().expect("an exit code"),
        text(stdout),
        text(stderr),
    )
}

/// A file in a folder of this process, removed with its folder when dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("rillway-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let path = folder.join("rillway.toml");
        std::fs::write(&path, text).expect("file");
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("a folder"));
    }
}

/// A configuration whose ports the kernel chooses, on loopback only.
fn any_ports(more: &str) -> String {
    format!(
        "authentication.policy = \"auth-open\"\n\
         gateway.listen = \"127.0.0.1:0\"\n\
         metrics.listen = \"127.0.0.1:0\"\n\
         media.first_port = 0\n\
         media.bind = [\"127.0.0.1\"]\n\
         media.workers = 1\n\
         {more}"
    )
}

#[test]
fn no_arguments_and_wrong_ones_say_how() {
    let (code, _, stderr) = output(&[]);
    assert_eq!(code, EXIT_USAGE);
    assert!(stderr.contains("rillway dev"), "{stderr}");
    let (code, _, stderr) = output(&["serv"]);
    assert_eq!(code, EXIT_USAGE);
    assert!(stderr.contains("'serve'"), "{stderr}");
    let (code, stdout, _) = output(&["--version"]);
    assert_eq!(
        (code, stdout),
        (0, format!("rillway {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn references_are_the_checked_in_files() {
    for (which, file) in [
        ("config", "config/rillway.toml"),
        ("metrics", "docs/metrics.md"),
    ] {
        let (code, stdout, _) = output(&["reference", which]);
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            (code, stdout),
            (0, std::fs::read_to_string(path).expect(file))
        );
    }
}

#[test]
fn a_reader_that_wants_no_more_is_no_fault() {
    let mut child = rillway(&["reference", "schema"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    assert!(child.wait().expect("ends").success());
}

#[test]
fn check_and_serve_refuse_the_same_file_alike() {
    let file = File::new("refused", "[gateway]\nlisen = \"127.0.0.1:0\"\n");
    for arguments in [
        ["check", file.path()].as_slice(),
        &["serve", "--config", file.path()],
    ] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (EXIT_CONFIG, ""));
        let place = format!("{}:2:1", file.path());
        for part in [place.as_str(), "^^^^^", "did you mean `listen`?"] {
            assert!(stderr.contains(part), "{part} in {stderr}");
        }
        assert!(
            !stderr.contains('\u{1b}'),
            "no colours into a pipe: {stderr:?}"
        );
    }
    let (code, _, stderr) = output(&["serve", "--config", "no/such/file.toml"]);
    assert_eq!(code, EXIT_CONFIG);
    assert!(
        stderr.contains("no such file") && stderr.contains("rillway reference config"),
        "{stderr}"
    );
}

#[test]
fn check_binds_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = taken.local_addr().expect("address").port();
    let text = any_ports("").replacen(":0\"", &format!(":{port}\""), 1);
    let file = File::new("taken", &text);
    let (code, stdout, stderr) = output(&["check", file.path()]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("is valid") && stdout.contains(&port.to_string()),
        "{stdout}"
    );
    drop(taken);
}

#[test]
fn ports_in_use_name_key_line_and_address() {
    let gateway = TcpListener::bind("127.0.0.1:0").expect("binds");
    let media = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let tcp = gateway.local_addr().expect("address").port();
    let udp = media.local_addr().expect("address").port();
    for (from, to, key, line, address) in [
        (
            "gateway.listen = \"127.0.0.1:0\"",
            format!("gateway.listen = \"127.0.0.1:{tcp}\""),
            "gateway.listen",
            2,
            tcp,
        ),
        (
            "metrics.listen = \"127.0.0.1:0\"",
            format!("metrics.listen = \"127.0.0.1:{tcp}\""),
            "metrics.listen",
            3,
            tcp,
        ),
        (
            "media.first_port = 0",
            format!("media.first_port = {udp}"),
            "media.first_port",
            4,
            udp,
        ),
    ] {
        let file = File::new(&format!("in-use-{line}"), &any_ports("").replace(from, &to));
        let (code, _, stderr) = output(&["serve", "--config", file.path()]);
        assert_eq!(code, EXIT_CONFIG, "{stderr}");
        let place = format!("{}:{line}:", file.path());
        for part in [key, &place, &format!("127.0.0.1:{address}"), "in use", "^"] {
            assert!(stderr.contains(part), "{part} in {stderr}");
        }
    }
}

/// A running router, killed when dropped, so that a failing test leaves nothing behind.
struct Router {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Router {
    /// Starts it, with its standard output to be read line by line.
    fn start(arguments: &[&str]) -> Self {
        Router::start_with(arguments, |_| {})
    }

    fn start_with(arguments: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let mut command = rillway(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        change(&mut command);
        let mut child = command.spawn().expect("runs");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Router { child, lines }
    }

    /// The first line with this part; it must come soon.
    fn line(&self, part: &str) -> String {
        loop {
            let line = self
                .lines
                .recv_timeout(Duration::from_secs(20))
                .unwrap_or_else(|_| panic!("no line with {part}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal and returns the exit code; it must come soon.
    fn signal(&mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .expect("kill")
                .success()
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "does not end after {signal}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in `http://ADDRESS/…` of a line.
fn address(line: &str) -> String {
    let (_, rest) = line.split_once("http://").expect("a URL");
    rest.split('/').next().expect("an address").to_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    answer
}

#[test]
fn dev_says_where_its_page_is_serves_it_and_ends_with_0() {
    let file = File::new(
        "dev",
        &any_ports("").replace("authentication.policy = \"auth-open\"", ""),
    );
    for signal in ["-TERM", "-INT"] {
        let mut router = Router::start(&["dev", "--config", file.path()]);
        let page = address(&router.line("Open http://"));
        let console = address(&router.line("Console: http://"));
        let metrics = address(&router.line("Metrics: http://"));
        let answer = get(&page, "/");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("<html"),
            "{answer}"
        );
        let answer = get(&console, "/");
        assert!(answer.contains("<title>Rillway console"), "{answer}");
        let answer = get(&console, "/api/watch");
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        let answer = get(&metrics, "/metrics");
        assert!(
            answer.contains("rillway_worker_driver_info{worker=\"0\""),
            "{answer}"
        );
        assert_eq!(router.signal(signal), Some(0), "{signal}");
    }
}

/// Where a log line says that somebody listens.
fn listens(line: &serde_json::Value, who: &str) -> String {
    line[who].as_str().expect("an address").to_owned()
}

#[test]
fn serve_logs_json_that_says_where_it_listens() {
    let file = File::new("log", &any_ports(""));
    let log = file.0.with_extension("log");
    let mut child = rillway(&["serve", "--config", file.path()])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("file"))
        .spawn()
        .expect("runs");
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&log).expect("reads");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parse = |line| serde_json::from_str(line).expect("an object a line");
        whole.lines().map(parse).collect()
    };
    let find = |message: &str| lines().into_iter().find(|line| line["message"] == message);
    let deadline = Instant::now() + Duration::from_secs(20);
    let listening = loop {
        if let Some(line) = find("listening") {
            break line;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("does not say that it listens: {:?}", lines());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let answered = get(&listens(&listening, "gateway"), "/");
    let metrics = get(&listens(&listening, "metrics"), "/metrics");
    let mut router = Router {
        child,
        lines: mpsc::channel().1,
    };
    assert_eq!(router.signal("-TERM"), Some(0));
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    let draining = find("draining: clients are told to leave").expect("says that it drains");
    assert!(draining["notice_ms"].is_u64(), "a number: {draining}");
    assert!(find("ended").is_some());
}

#[test]
fn a_folder_without_a_plugin_is_refused() {
    let folder = File::new("no-plugin", "");
    let folder = folder
        .0
        .parent()
        .expect("a folder")
        .to_str()
        .expect("UTF-8");
    let (code, stdout, stderr) = output(&["plugin", "build", folder]);
    assert_eq!((code, stdout.as_str()), (EXIT_PLUGIN, ""));
    assert!(
        stderr.starts_with("error: ") && stderr.contains(folder),
        "{stderr}"
    );
    assert!(stderr.contains("it has no Cargo.toml"), "{stderr}");
}
