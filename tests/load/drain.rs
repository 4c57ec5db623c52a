//! The drain of a room of 200 with a deadline of 10 s, by SIGTERM; and one that a second signal cuts short.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_tests::inbound::Inbound;
use rillway_tests::live::{LiveClient, member};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet};

use crate::router::Router;
use crate::{JOIN_TIME, SETTLE_TIME, counted, tracks};

/// The publisher among them.
const PARTICIPANTS: u64 = 200;
const DEADLINE: Duration = Duration::from_secs(10);
const UNREADY_TIME: Duration = Duration::from_millis(100);
/// In which all must be over.
const LIMIT: Duration = Duration::from_secs(200);
/// Packets that are under way when the end comes.
const UNDER_WAY: Duration = Duration::from_millis(1_000);

/// When a participant heard of the drain, and of the end.
struct Told {
    live: LiveClient,
    notice: Option<Instant>,
    end: Instant,
}

/// How far the room has come.
#[derive(Default)]
struct Progress {
    joined: Cell<u64>,
    settled: Cell<bool>,
}

async fn take_part(
    gateway: SocketAddr,
    epoch: Instant,
    number: u64,
    progress: Rc<Progress>,
) -> Told {
    tokio::time::sleep(Duration::from_millis(25 * number)).await;
    let mut config = member(number + 1, "stage", epoch);
    counted(&mut config);
    if number == 0 {
        config.tracks = tracks();
    }
    let client = LiveClient::connect(gateway, config).await;
    let mut client = client.expect("the gateway listens");
    let heard = client.run_until(JOIN_TIME, |c| match number {
        0 => c.client.published.iter().all(|p| p.track.is_some()),
        _ => c.hears(2),
    });
    assert!(
        heard.await.expect("sockets work"),
        "{number} has not joined"
    );
    progress.joined.set(progress.joined.get() + 1);
    let settled = client.run_until(JOIN_TIME, |_| progress.settled.get());
    assert!(settled.await.expect("sockets work"));
    // While two hundred clients shake hands on one thread, their paths are full, and pictures wait.
    client.client.inbound.values_mut().for_each(Inbound::forget);
    let mut notice = None;
    let ended = client.run_until(LIMIT, |c| {
        if c.draining.is_some() && notice.is_none() {
            notice = Some(Instant::now());
        }
        c.ended.is_some()
    });
    assert!(
        ended.await.expect("sockets work"),
        "{number} is not told of the end"
    );
    Told {
        live: client,
        notice,
        end: Instant::now(),
    }
}

/// Head of the answer to a request, with these header lines.
async fn head(gateway: SocketAddr, path: &str, more: &str) -> Option<String> {
    let mut stream = TcpStream::connect(gateway).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {gateway}\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![0; 2_000];
    let length = stream.read(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).to_lowercase())
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-protocol: rillway.rooms.v1\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn room(router: &Router, participants: u64) -> Vec<JoinHandle<Told>> {
    let (epoch, progress) = (Instant::now(), Rc::new(Progress::default()));
    let tasks: Vec<_> = (0..participants)
        .map(|number| {
            let part = take_part(router.gateway(), epoch, number, progress.clone());
            tokio::task::spawn_local(part)
        })
        .collect();
    while progress.joined.get() < participants {
        let joined = progress.joined.get();
        assert!(epoch.elapsed() < JOIN_TIME, "{joined} joined");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Estimates recover from the waves of the last handshakes.
    tokio::time::sleep(SETTLE_TIME).await;
    progress.settled.set(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    tasks
}

async fn exit(router: &mut Router) -> Option<i32> {
    for _ in 0..500 {
        if let Some(code) = router.exit_code() {
            return Some(code);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// Not ready in time, alive all the same, and nobody new.
async fn refuses(gateway: SocketAddr, started: Instant) {
    let unready = loop {
        let answer = head(gateway, "/readyz", "").await.expect("it answers");
        let at = started.elapsed();
        if answer.starts_with("http/1.1 503") {
            break at;
        }
        assert!(at < Duration::from_secs(5), "{answer}");
    };
    println!("not ready after {unready:?}");
    assert!(unready < UNREADY_TIME, "{unready:?}");
    let alive = head(gateway, "/healthz", "").await.expect("it answers");
    assert!(alive.starts_with("http/1.1 200"), "{alive}");
    let refused = head(gateway, "/signal/rooms", UPGRADE).await;
    let refused = refused.expect("it answers");
    assert!(refused.starts_with("http/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: "), "{refused}");
}

/// Whether all that was published up to a moment before the end has come to everybody.
fn nothing_is_lost(told: &[Told]) {
    let publisher = &told[0];
    let mut packets = 0;
    for (number, participant) in told.iter().enumerate().skip(1) {
        let client = &participant.live.client;
        assert_eq!(client.violations, Vec::<String>::new(), "{number}");
        for published in &publisher.live.client.published {
            let inbound = &client.inbound[&published.track.expect("published")];
            let last = published.layers[0].sequence;
            let rate = published.spec.packets_per_second();
            let under_way = (rate * UNDER_WAY.as_secs_f64()) as u32;
            let missing = inbound.missing(0, last.saturating_sub(under_way));
            assert_eq!(missing.len(), 0, "{number}: packets were lost");
            packets += inbound.packets;
        }
        assert_eq!(client.nacks, 0, "{number}");
    }
    println!("{packets} packets, none lost until the end");
}

fn within(local: &LocalSet, work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    local.block_on(&runtime.expect("a runtime"), work);
}

pub(crate) fn run() {
    let notice = format!("shutdown.notice_ms = {}\n", DEADLINE.as_millis());
    within(&LocalSet::new(), async {
        let mut router = Router::start("ring", &notice);
        let tasks = room(&router, PARTICIPANTS).await;
        let started = Instant::now();
        router.terminate();
        refuses(router.gateway(), started).await;
        let mut told = Vec::new();
        for task in tasks {
            told.push(task.await.expect("a participant failed"));
        }
        let since = |at: Instant| at.duration_since(started);
        let notices = told
            .iter()
            .map(|t| since(t.notice.expect("everybody is told")));
        let ends = told.iter().map(|t| since(t.end));
        let (last_notice, first_end) = (notices.max(), ends.clone().min());
        println!(
            "{PARTICIPANTS} told within {last_notice:?}; ends from {first_end:?} to {:?}",
            ends.max()
        );
        assert!(
            last_notice < first_end,
            "all hear of it before anybody's end"
        );
        // A second of it is the router's own, to say goodbye.
        assert!(first_end >= Some(DEADLINE - Duration::from_millis(1_500)));
        for participant in &told {
            let ended = participant.live.ended.as_ref();
            assert_eq!(ended.and_then(|e| e.code), Some(1001), "going away");
        }
        nothing_is_lost(&told);
        assert_eq!(exit(&mut router).await, Some(0));
        println!("ended with 0 after {:?}", started.elapsed());
    });
    within(&LocalSet::new(), async {
        let mut router = Router::start("ring", "shutdown.notice_ms = 60000\n");
        let tasks = room(&router, 20).await;
        router.terminate();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        let started = Instant::now();
        router.terminate();
        for task in tasks {
            let told = task.await.expect("a participant failed");
            assert!(told.notice.is_some());
        }
        assert_eq!(exit(&mut router).await, Some(0));
        println!(
            "a second signal: ended with 0 after {:?}",
            started.elapsed()
        );
        assert!(started.elapsed() < Duration::from_secs(3));
    });
}
