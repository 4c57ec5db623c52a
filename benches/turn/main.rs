//! What a relayed packet costs: our relay beside Debian's coturn, alternating, to the same media port.
//!
//! `cargo bench -p rillway-benches --bench turn`. Clients, router and coturn share the machine; what is compared is the
//! processor time of the thread `rillway-turn` and of the process `turnserver`, for each packet that the media port
//! took, or answered. The router drops what it takes: it belongs to no transport.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rillway::config::Config;
use rillway::{Running, Signals};
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
/// Questions and answers by each caller.
const QUESTIONS: usize = 300;

fn main() {
    let folder = std::env::temp_dir().join(format!("rillway-bench-turn-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let router = router(&folder);
    let media = router.media_addresses()[0][0];
    let ours = ours(&router, media);
    let Some(coturn) = Coturn::start(&folder, &["--allow-loopback-peers"]) else {
        println!("no turnserver: `apt-get install coturn`");
        return;
    };
    let theirs = callers(coturn.address, COTURN_USER, media);
    let pid = coturn.pid();
    let mut table = Vec::new();
    for _ in 0..ROUNDS {
        table.push([
            one_way(&router, &ours, own_thread),
            one_way(&router, &theirs, || process(pid)),
            both_ways(&ours, own_thread),
            both_ways(&theirs, || process(pid)),
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

fn router(folder: &Path) -> Running {
    let secret = folder.join("turn.secret");
    fs::write(&secret, SECRET).expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its owner");
    let text = format!(
        "authentication.policy = \"auth-open\"\nlog.level = \"error\"\n\
         gateway.listen = \"127.0.0.1:0\"\nmetrics.listen = \"127.0.0.1:0\"\n\
         [media]\nbind = [\"127.0.0.1\"]\nfirst_port = 0\n\
         [limits]\nstun_answers_per_second = 1000000\n\
         [turn]\nudp = [\"127.0.0.1:0\"]\nsecret_file = \"{}\"\nallocations_per_user_max = 100\n",
        secret.display()
    );
    let config = Config::parse("turn.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    rillway::run(config, Signals::Ignore).unwrap_or_else(|error| panic!("{error}"))
}

fn ours(router: &Running, media: SocketAddr) -> Vec<Caller> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let until = now.expect("a clock") + Duration::from_secs(3_600);
    let minted = Secret::new(SECRET.as_bytes()).mint("bench", until);
    let url = &router.turn_urls()[0];
    let address = url
        .strip_prefix("turn:")
        .and_then(|url| url.strip_suffix("?transport=udp"))
        .and_then(|address| address.parse().ok())
        .expect("an address");
    callers(address, (&minted.username, &minted.password), media)
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
fn one_way(router: &Running, callers: &[Caller], spent: impl Fn() -> f64) -> f64 {
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
    for _ in 0..QUESTIONS {
        callers.iter().for_each(|c| c.send(CHANNEL, &question));
        answers += callers.iter().filter_map(|c| c.receive(CHANNEL)).count();
    }
    assert!(answers > CALLERS * QUESTIONS * 9 / 10, "{answers} answers");
    (spent() - seconds) * 1e6 / answers as f64
}

/// Datagrams that the router's worker took.
fn taken(router: &Running) -> f64 {
    let address = router.metrics_address().expect("metrics are on");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let name = "rillway_udp_received_datagrams_total{";
    let values = text.lines().filter(|line| line.starts_with(name));
    values
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Seconds of our relay's thread.
fn own_thread() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let named = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "rillway-turn")
    });
    named.map(|task| schedstat(&task.path())).sum()
}

/// Seconds of all threads of a process.
fn process(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks.flatten().map(|task| schedstat(&task.path())).sum()
}

fn schedstat(task: &Path) -> f64 {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let spent = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    spent.unwrap_or(0.0) / 1e9
}
