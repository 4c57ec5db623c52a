//! What one UDP port for all workers costs, beside a port for each: processor time of the media workers for each packet.
//!
//! `RILLWAY_BIN=target/release/rillway cargo bench -p rillway-benches --bench port [-- ROUNDS]`. A router of each kind runs
//! after the other, with the same rooms, in another order each round, so that what else the machine does meets all.
//! Clients are real and share the machine; what is compared is the processor time of the threads `rillway-media-N`,
//! with their share of the kernel's.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rillway_benches::{Scrape, Served, free};
use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;

const WORKERS: u64 = 2;
/// In the one room of each worker.
const PEOPLE: u64 = 6;
const KINDS: [(&str, &str); 3] = [
    ("a port for each worker", ""),
    (
        "one port, handed over",
        "udp_ports = \"one\"\nudp_steering = false\n",
    ),
    ("one port, steered", "udp_ports = \"one\"\n"),
];
const ROUNDS: usize = 6;
/// For how long its clients send.
const MEASURED: Duration = Duration::from_secs(8);
/// After that: workers report once a second.
const QUIET: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let rounds = std::env::args().find_map(|a| a.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(compare(rounds));
}

async fn compare(rounds: usize) {
    let mut rows: Vec<Vec<Row>> = KINDS.iter().map(|_| Vec::new()).collect();
    println!(
        "{WORKERS} workers with a room of {PEOPLE} each; µs of the workers' processor time for each packet forwarded, and \
         for each received; share of received datagrams that were handed over"
    );
    for round in 0..rounds {
        for step in 0..KINDS.len() {
            let kind = (round + step) % KINDS.len();
            let row = Stage::set(kind).await.measure().await;
            println!(
                "round {round}  {:24} {:7.3} {:7.3}  {:5.1} %  ({:.0} forwarded, {:.0} received)",
                KINDS[kind].0,
                row.micros / row.forwarded,
                row.micros / row.received,
                100.0 * row.handed / row.received,
                row.forwarded,
                row.received,
            );
            rows[kind].push(row);
        }
    }
    let base = median(rows[0].iter().map(|row| row.micros / row.forwarded));
    for ((name, _), rows) in KINDS.iter().zip(&rows) {
        let forwarded = median(rows.iter().map(|row| row.micros / row.forwarded));
        let received = median(rows.iter().map(|row| row.micros / row.received));
        let handed = median(rows.iter().map(|row| row.handed / row.received));
        println!(
            "median   {name:24} {forwarded:7.3} {received:7.3}  {:5.1} %  {:5.3} of the first",
            100.0 * handed,
            forwarded / base
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What was counted in a time.
struct Row {
    micros: f64,
    received: f64,
    forwarded: f64,
    handed: f64,
}

/// A router and its rooms.
struct Stage {
    router: Router,
    clients: Vec<LiveClient>,
}

impl Stage {
    async fn set(kind: usize) -> Stage {
        let router = Router::start(kind, KINDS[kind].1);
        let mut clients = Vec::new();
        for number in 0..WORKERS * PEOPLE {
            // The rooms open one after the other, each on the worker with fewer people.
            let room = format!("room {}", number % WORKERS);
            let mut config = member(number + 1, &room, Instant::now());
            config.grant = full_grant(&room, &format!("person {number}"));
            config.tracks = vec![TrackSpec::audio(), TrackSpec::video(6)];
            let client = LiveClient::connect(router.gateway, config).await;
            clients.push(client.expect("the gateway listens"));
        }
        let all = 2 * (PEOPLE as usize - 1);
        let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(all)).await;
        assert!(heard.expect("sockets work"), "they hear each other");
        Stage { router, clients }
    }

    async fn quiet(&mut self) {
        self.clients.iter_mut().for_each(|c| c.set_running(false));
        self.run(QUIET).await;
    }

    async fn run(&mut self, time: Duration) {
        let ran = LiveClient::run_all(&mut self.clients, time, |_| false).await;
        ran.expect("sockets work");
    }

    /// One round's share.
    async fn measure(mut self) -> Row {
        self.quiet().await;
        let (before, seconds) = (self.router.counts(), self.router.seconds());
        self.clients.iter_mut().for_each(|c| c.set_running(true));
        self.run(MEASURED).await;
        self.quiet().await;
        let (after, until) = (self.router.counts(), self.router.seconds());
        let [received, forwarded, handed] = std::array::from_fn(|n| after[n] - before[n]);
        Row {
            micros: (until - seconds) * 1e6,
            received,
            forwarded,
            handed,
        }
    }
}

/// A router, and where it listens.
struct Router {
    process: Served,
    gateway: SocketAddr,
    metrics: SocketAddr,
}

impl Router {
    fn start(index: usize, more: &str) -> Router {
        let (gateway, metrics) = (free(), free());
        let text = format!(
            "authentication.policy = \"auth-open\"\nlog.filter = \"error\"\n\
             gateway.listen = \"{gateway}\"\nmetrics.listen = \"{metrics}\"\n\
             [media]\nbind = [\"127.0.0.1\"]\nfirst_port = 0\nworkers = {WORKERS}\n{more}"
        );
        let name = format!("rillway-bench-port-{}-{index}.toml", std::process::id());
        let config = std::env::temp_dir().join(name);
        fs::write(&config, text).expect("a file");
        let process = Served::start(&config, gateway);
        let _ = fs::remove_file(config);
        Router {
            process,
            gateway,
            metrics,
        }
    }

    /// Seconds of its media workers' threads.
    fn seconds(&self) -> f64 {
        self.process
            .seconds(|name| name.starts_with("rillway-media"))
    }

    /// Datagrams received, packets forwarded, datagrams handed over, as of the last second.
    fn counts(&self) -> [f64; 3] {
        let scrape = Scrape::of(self.metrics);
        [
            scrape.sum("rillway_udp_received_datagrams_total", ""),
            scrape.sum("rillway_rtp_forwarded_packets_total", ""),
            scrape.sum("rillway_handed_over_datagrams_total", "\"received\""),
        ]
    }
}
