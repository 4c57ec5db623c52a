//! What a relayed packet costs: our relay beside Debian's coturn, alternating, to the same media port.
//!
//! `RILLWAY_BIN=target/release/rillway cargo bench -p rillway-benches --bench turn`. Clients, router and coturn share the
//! machine; what is compared is the processor time of the thread `rillway-turn` and of the process `turnserver`, for
//! each packet that the media port took, or answered. The router drops what it takes: it belongs to no transport.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rillway_benches::{Scrape, Served, free, seconds};
use rillway_tests::turn::{COTURN_USER, Caller, Coturn, binding};
use rillway_turn::credentials::Secret;

const SECRET: &str = "a secret of this benchmark alone";
const CALLERS: usize = 20;
const CHANNEL: u16 = 0x4001;
const ROUNDS: usize = 5;
/// To peers: packets of this many bytes, in bursts as of a picture.
const PAYLOAD: [u8; 1_000] = [7; 1_000];
const BURST: usize = 4;
const BURSTS: usize = 250;
const PAUSE: Duration = Duration::from_millis(2);
/// Questions of all callers in a second, each in its turn: one address is answered 50 times a second by a media port.
const QUESTIONS: usize = 40;
const SECONDS: usize = 5;

fn main() {
    let folder = std::env::temp_dir().join(format!("rillway-bench-turn-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let router = router(&folder);
    let media = router.media;
    let ours = ours(&router);
    let Some(coturn) = Coturn::start(&folder, &["--allow-loopback-peers"]) else {
        println!("no turnserver: `apt-get install coturn`");
        return;
    };
    let theirs = callers(coturn.address, COTURN_USER, media);
    let pid = coturn.pid();
    let mut table = Vec::new();
    for _ in 0..ROUNDS {
        table.push([
            one_way(&router, &ours, || router.relay_seconds()),
            one_way(&router, &theirs, || seconds(pid, |_| true)),
            both_ways(&ours, || router.relay_seconds()),
            both_ways(&theirs, || seconds(pid, |_| true)),
        ]);
    }
    println!("processor time in µs; each round: this router's relay, coturn 4.6.1");
    println!(
        "to a peer, {} bytes             there and back, 20 bytes",
        PAYLOAD.len()
    );
    for [a, b, c, d] in &table {
        println!(
            "{a:6.2} {b:6.2}  ratio {:5.2}          {c:6.2} {d:6.2}  ratio {:5.2}",
            a / b,
            c / d
        );
    }
    let median = |column: usize, of: usize| {
        let mut ratios: Vec<f64> = table.iter().map(|row| row[column] / row[of]).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    println!(
        "median of the ratios: {:.2}, {:.2}",
        median(0, 1),
        median(2, 3)
    );
    drop(coturn);
    let _ = fs::remove_dir_all(&folder);
}

/// A router, and where it listens.
struct Router {
    process: Served,
    media: SocketAddr,
    turn: SocketAddr,
    metrics: SocketAddr,
}

impl Router {
    /// Seconds of its relay's thread.
    fn relay_seconds(&self) -> f64 {
        self.process.seconds(|name| name == "rillway-turn")
    }
}

fn router(folder: &Path) -> Router {
    let secret = folder.join("turn.secret");
    fs::write(&secret, SECRET).expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its owner");
    let datagram = || {
        let socket = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr());
        socket.expect("a free port")
    };
    let (gateway, metrics, media, turn) = (free(), free(), datagram(), datagram());
    let text = format!(
        "authentication.policy = \"auth-open\"\nlog.filter = \"error\"\n\
         gateway.listen = \"{gateway}\"\nmetrics.listen = \"{metrics}\"\n\
         [media]\nbind = [\"127.0.0.1\"]\nfirst_port = {}\nworkers = 1\n\
         [turn]\nudp = [\"{turn}\"]\nsecret_file = \"turn.secret\"\nallocations_per_user_max = 100\n",
        media.port()
    );
    let config = folder.join("rillway.toml");
    fs::write(&config, text).expect("a file");
    Router {
        process: Served::start(&config, gateway),
        media,
        turn,
        metrics,
    }
}

fn ours(router: &Router) -> Vec<Caller> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let until = now.expect("a clock") + Duration::from_secs(3_600);
    let minted = Secret::new(SECRET.as_bytes()).mint("bench", until);
    let user = (minted.username.as_str(), minted.password.as_str());
    callers(router.turn, user, router.media)
}

fn callers(server: SocketAddr, user: (&str, &str), media: SocketAddr) -> Vec<Caller> {
    let one = |_| {
        let caller = Caller::allocate(server, user, false).expect("an allocation");
        caller.bind(CHANNEL, media).expect("a channel");
        caller
    };
    (0..CALLERS).map(one).collect()
}

/// Processor time for each packet that arrived.
fn one_way(router: &Router, callers: &[Caller], spent: impl Fn() -> f64) -> f64 {
    let (packets, seconds) = (taken(router), spent());
    for _ in 0..BURSTS {
        for caller in callers {
            (0..BURST).for_each(|_| caller.send(CHANNEL, &PAYLOAD));
        }
        std::thread::sleep(PAUSE);
    }
    // Workers report once a second.
    std::thread::sleep(Duration::from_millis(2_500));
    let arrived = taken(router) - packets;
    let sent = (CALLERS * BURSTS * BURST) as f64;
    assert!(arrived > sent * 0.9, "{arrived} of {sent} arrived");
    (spent() - seconds) * 1e6 / arrived
}

/// Processor time for each answer, with what was asked.
fn both_ways(callers: &[Caller], spent: impl Fn() -> f64) -> f64 {
    let (question, seconds) = (binding(), spent());
    let mut answers = 0;
    for caller in callers.iter().cycle().take(QUESTIONS * SECONDS) {
        caller.send(CHANNEL, &question);
        answers += usize::from(caller.receive(CHANNEL).is_some());
        std::thread::sleep(Duration::from_secs(1) / QUESTIONS as u32);
    }
    let asked = QUESTIONS * SECONDS;
    assert!(answers > asked * 9 / 10, "{answers} answers to {asked}");
    (spent() - seconds) * 1e6 / answers as f64
}

/// Datagrams that the router's worker took.
fn taken(router: &Router) -> f64 {
    Scrape::of(router.metrics).sum("rillway_udp_received_datagrams_total", "")
}
