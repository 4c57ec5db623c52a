//! The TURN relay, by another implementation's client: coturn's `turnutils_uclient`.

mod peers;

use std::net::SocketAddr;
use std::process::Stdio;

use rillway::config::Config;
use serde_json::Value;
use tokio::process::Command;

use crate::router::{join, metric, metric_at_least, soon, start};

const CLIENT: &str = "turnutils_uclient";
/// Seconds that it is given: refused, it does not always end.
const TIME: &str = "8";

/// A router with a relay on free ports of loopback, and `more` of `[turn]`.
fn with_relay(more: &str) -> rillway::Running {
    let text = format!(
        "authentication.policy = \"auth-open\"\n[turn]\nudp = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\n{more}"
    );
    let relay = Config::parse("turn.toml", &text).expect("it is valid");
    start(|config| config.turn = relay.turn)
}

/// What somebody who joined was told of it: a port for each transport, and credentials.
struct Told {
    udp: u16,
    tcp: u16,
    username: String,
    credential: String,
}

fn told(joined: &Value) -> Told {
    let servers = joined["iceServers"].as_array().expect("a list");
    let [server] = servers.as_slice() else {
        panic!("{servers:?}")
    };
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let urls: Vec<_> = server["urls"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text)
        .collect();
    let port = |transport: &str| {
        let port = urls
            .iter()
            .find_map(|url| url.strip_prefix("turn:127.0.0.1:")?.strip_suffix(transport));
        port.and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("{urls:?}"))
    };
    Told {
        udp: port("?transport=udp"),
        tcp: port("?transport=tcp"),
        username: text(&server["username"]),
        credential: text(&server["credential"]),
    }
}

/// Runs it toward a peer until it has an allocation: now and then it insists on an even port with the one above it,
/// which there is not.
async fn client(told: &Told, port: u16, flags: &[&str], peer: SocketAddr) -> String {
    for _ in 0..8 {
        let said = once(told, port, flags, peer).await;
        if said.contains("403") || !said.contains("508") {
            return said;
        }
    }
    panic!("no allocation for {flags:?}");
}

/// Runs it; what it said. `-c`: without a second port for each client.
async fn once(told: &Told, port: u16, flags: &[&str], peer: SocketAddr) -> String {
    let (port, peer_port) = (port.to_string(), peer.port().to_string());
    let peer_ip = peer.ip().to_string();
    let mut command = Command::new("timeout");
    command
        .args([
            TIME,
            CLIENT,
            "-c",
            "-n",
            "3",
            "-m",
            "1",
            "-u",
            &told.username,
            "-w",
            &told.credential,
        ])
        .args(["-p", &port, "-e", &peer_ip, "-r", &peer_port])
        .args(flags)
        .arg("127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // It waits for echoes that do not come: what it did until then is what counts.
    let output = soon("coturn's client ends", command.output())
        .await
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn is_there() -> bool {
    let there = std::process::Command::new(CLIENT)
        .arg("-h")
        .output()
        .is_ok();
    if !there {
        eprintln!("skipped: no {CLIENT} (tests/setup/install coturn)");
    }
    there
}

const TO_PEERS: &str = "rillway_turn_packets_total{direction=\"to-peers\"}";
const REFUSED: &str = "rillway_turn_refused_total{cause=\"peer\"}";

#[tokio::test]
async fn who_joins_is_given_a_relay_to_the_routers_media_and_to_nothing_else() {
    let router = with_relay("");
    let (_ada, joined) = join(&router, "meeting", "Ada").await;
    let told = told(&joined);
    assert_eq!(router.turn_urls().len(), 2);
    if !is_there() {
        return;
    }
    let mut refused = 0.0;
    for (port, flags) in [
        (told.udp, &[][..]),
        (told.tcp, &["-t"]),
        (told.udp, &["-s"]),
    ] {
        // Another port of this machine; more by a client of our own (peers.rs).
        let peer = SocketAddr::from(([127, 0, 0, 1], 22));
        let said = client(&told, port, flags, peer).await;
        assert!(said.contains("403"), "{peer} {flags:?}: {said}");
        refused += 1.0;
    }
    metric_at_least(&router, REFUSED, refused).await;
    assert_eq!(
        metric(&router, TO_PEERS).await,
        Some(0.0),
        "nothing has left"
    );
}

/// Its negative tests (`-N`), those of the protocol (`-R`), and twenty clients at once.
#[tokio::test]
async fn coturns_negative_tests_and_its_load_hurt_nobody() {
    let router = with_relay("allocations_per_user_max = 200\n");
    let (_ada, joined) = join(&router, "meeting", "Ada").await;
    let told = told(&joined);
    if !is_there() {
        return;
    }
    let media = router.media_addresses()[0][0];
    for (port, flags) in [
        (told.udp, &["-N", "-R"][..]),
        (told.tcp, &["-t", "-N", "-R"]),
    ] {
        once(&told, port, flags, media).await;
    }
    // It ends early: some of the twenty ask for the port after the media port too, which is nobody's.
    once(&told, told.udp, &["-m", "20", "-n", "50"], media).await;
    metric_at_least(&router, "rillway_turn_allocations_total", 2.0).await;
    assert_eq!(
        metric(&router, "rillway_turn_faults_total").await,
        Some(0.0)
    );
    peers::reaches_media(&told, media);
}

#[tokio::test]
async fn who_has_no_credentials_has_no_relay() {
    let router = with_relay("");
    let (_ada, joined) = join(&router, "meeting", "Ada").await;
    let mut told = told(&joined);
    if !is_there() {
        return;
    }
    told.credential = "guessed".to_owned();
    let media = router.media_addresses()[0][0];
    let said = client(&told, told.udp, &[], media).await;
    assert!(
        said.to_lowercase().contains("cannot complete allocation"),
        "{said}"
    );
    assert_eq!(
        metric(&router, "rillway_turn_allocations_total").await,
        Some(0.0)
    );
}
