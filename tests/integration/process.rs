//! What can only be seen from outside the process: signals, exit codes, file descriptors.
//!
//! The child is this test binary again, running [`child`] alone: a router that handles signals.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rillway::Signals;
use serde_json::json;
use tokio::net::TcpStream;

use crate::router::{Client, SUBPROTOCOL, config, get, handshake, soon};

const ENVIRONMENT: &str = "RILLWAY_TEST_NOTICE_MS";
const MARK: &str = "gateway at ";

/// Not a test of its own: the body of the child.
#[test]
#[ignore = "run by the tests beside it"]
fn child() {
    let Ok(notice) = std::env::var(ENVIRONMENT) else {
        return;
    };
    let mut config = config();
    config.shutdown.notice = Duration::from_millis(notice.parse().expect("milliseconds"));
    let running = rillway::run(config, Signals::Handle).expect("free ports");
    println!("{MARK}{}", running.gateway_address());
    running.wait().expect("an end on request is no error");
}

struct Process {
    child: Child,
    gateway: SocketAddr,
}

impl Process {
    /// Starts the child, with at most `files` file descriptors.
    fn start(notice_ms: u64, files: Option<u32>) -> Process {
        let limit = files.map_or(String::new(), |n| format!("ulimit -n {n}; "));
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{limit}exec \"$0\" \"$@\""))
            .arg(std::env::current_exe().expect("this binary"))
            .args(["process::child", "--exact", "--ignored", "--nocapture"])
            .env(ENVIRONMENT, notice_ms.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let gateway = lines
            .find_map(|line| Some(line.ok()?.split_once(MARK)?.1.parse().expect("an address")))
            .expect("the child says where it listens");
        // Keep reading, so that the child can write.
        std::thread::spawn(move || lines.for_each(drop));
        Process { child, gateway }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// Exit code; `None` if a signal killed it.
    async fn exit_code(mut self) -> Option<i32> {
        let wait = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("our child");
            // Its end is known, so nothing is left to kill.
            status.code()
        });
        soon("the exit", wait).await.expect("no panic")
    }

    /// Processor time used so far, clock ticks (1/100 s on Linux).
    fn ticks(&self) -> u64 {
        let mut text = String::new();
        std::fs::File::open(format!("/proc/{}/stat", self.child.id()))
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("it runs");
        let after_name = text.rsplit_once(')').expect("a name").1;
        let fields: Vec<_> = after_name.split_whitespace().collect();
        let number = |index: usize| fields[index].parse::<u64>().expect("a number");
        // Fields 14 and 15 of proc(5); the name is field 2.
        number(11) + number(12)
    }
}

async fn client(gateway: SocketAddr) -> Client {
    let mut client = handshake(gateway, &[("sec-websocket-protocol", SUBPROTOCOL)])
        .await
        .expect("a client is welcome");
    let joined = client.ask(json!({"type": "join", "room": "r"})).await;
    assert_eq!(joined["type"], "joined");
    client
}

#[tokio::test]
async fn the_first_signal_drains_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let process = Process::start(1_500, None);
        let mut ada = client(process.gateway).await;
        let started = Instant::now();
        process.signal(signal);
        ada.told("draining").await;
        assert_eq!(ada.closed().await, 1001, "{signal}");
        assert_eq!(process.exit_code().await, Some(0), "{signal}");
        assert!(started.elapsed() < Duration::from_secs(3), "{signal}");
    }
}

#[tokio::test]
async fn the_second_signal_ends_it_now() {
    let process = Process::start(60_000, None);
    let mut ada = client(process.gateway).await;
    process.signal("TERM");
    ada.told("draining").await;
    let started = Instant::now();
    process.signal("TERM");
    assert_eq!(process.exit_code().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn without_file_descriptors_it_neither_spins_nor_forgets_its_clients() {
    let process = Process::start(200, Some(64));
    let mut ada = client(process.gateway).await;
    let mut hoard = Vec::new();
    for _ in 0..100 {
        hoard.push(
            TcpStream::connect(process.gateway)
                .await
                .expect("the kernel takes it"),
        );
    }
    let probe = get(process.gateway, "/healthz");
    let unserved = tokio::time::timeout(Duration::from_millis(300), probe).await;
    assert!(
        unserved.is_err(),
        "the limit must be in force: {unserved:?}"
    );
    let before = process.ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = process.ticks() - before;
    assert!(used < 10, "{used} % of a second in two seconds");
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "pong");

    drop(hoard);
    let health = soon("recovery", get(process.gateway, "/healthz")).await;
    assert_eq!(health.status, 200);
    client(process.gateway).await;
    process.signal("TERM");
    assert_eq!(process.exit_code().await, Some(0));
}
