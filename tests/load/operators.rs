//! The same room while operators' programs misbehave: requests that are mutated or half sent, a thousand streams on
//! which nothing comes, a watcher and scrapers that read nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use quinn::{RecvStream, SendStream};
use rillway::management::wire::request::Verb;
use rillway::management::wire::{
    ConfigRequest, EventsRequest, KickRequest, MuteRequest, ParticipantRequest,
    PluginReloadRequest, PluginsRequest, Request, RoomRequest, RoomsRequest, StatusRequest,
    WhyRequest, WorkersRequest,
};
use rillway::management::{Client, Role, Target, frame};
use rillway_tests::mutate::Numbers;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::beside::{Deed, Managed, Stop, connect};
use crate::{Meanwhile, Stretch, calm, crowd, stretch_seconds};

/// Streams on which nothing comes after the first byte.
const IDLE_STREAMS: usize = 1_000;
/// Of them on one connection; 64 are allowed.
const STREAMS: usize = 60;
/// Pause of a client between two bad requests.
const PAUSE: Duration = Duration::from_millis(4);
/// What a client waits for before it goes on: a half-sent upload keeps the place for the next one.
const PATIENCE: Duration = Duration::from_millis(200);
/// Scrapers that read nothing: more than are served at once.
const SCRAPERS: usize = 12;

fn valid(role: Role) -> Vec<Verb> {
    // Whatever becomes of an operator's request shall not mean the room that is measured.
    let room = if role == Role::Operator {
        "empty"
    } else {
        "stage"
    };
    let (room, participant) = (room.to_owned(), "nobody".to_owned());
    let track = "none".to_owned();
    let mut verbs = vec![
        Verb::Status(StatusRequest {}),
        Verb::Workers(WorkersRequest {}),
        Verb::Rooms(RoomsRequest {}),
        Verb::Plugins(PluginsRequest {}),
        Verb::Config(ConfigRequest {}),
        Verb::Room(RoomRequest { room: room.clone() }),
        Verb::Participant(ParticipantRequest {
            room: room.clone(),
            participant: participant.clone(),
        }),
        Verb::Why(WhyRequest {
            room: room.clone(),
            participant: participant.clone(),
            track: track.clone(),
        }),
    ];
    if role == Role::Operator {
        // Each is an event besides.
        verbs.push(Verb::Kick(KickRequest {
            room: "empty".to_owned(),
            participant: participant.clone(),
            reason: String::new(),
        }));
        verbs.push(Verb::Mute(MuteRequest {
            room: "empty".to_owned(),
            participant,
            track,
            muted: true,
        }));
    }
    verbs
}

/// Changes a few bytes, cuts, or announces another length.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        match numbers.below(4) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes.insert(at, numbers.below(256) as u8),
            2 if bytes.len() > 1 => {
                bytes.remove(at);
            }
            _ => bytes[at] = numbers.below(256) as u8,
        }
    }
}

/// How a request is sent.
async fn send(sending: &mut SendStream, bytes: &[u8], way: usize, numbers: &mut Numbers) {
    let half = numbers.below(bytes.len());
    let bytes = match way {
        // Cut short, and so ended; or left there.
        0 | 1 => &bytes[..half],
        // More than anybody may send.
        2 => &[0xff, 0xff, 0xff, 0xff, 0x7f][..],
        // A megabyte is announced, and a little of it comes.
        3 => &[0x80, 0x80, 0x40, 1, 2, 3],
        _ => bytes,
    };
    let _ = tokio::time::timeout(PATIENCE, sending.write_all(bytes)).await;
    if way != 1 && way != 3 {
        let _ = sending.finish();
    }
}

/// One who sends what is no request, again and again; counts what was sent, and what was answered.
async fn fuzz(target: Target, role: Role, seed: u64, stop: Stop, counts: Arc<[AtomicU64; 2]>) {
    let mut numbers = Numbers::new(seed);
    let client = connect(&target).await;
    // Half sent, and kept; as many as a connection has streams for.
    let mut kept: Vec<(SendStream, RecvStream)> = Vec::new();
    let mut verbs = valid(role);
    if role == Role::Admin {
        // Its bytes stay whole, so that nothing but the framing is wrong.
        verbs = vec![Verb::PluginReload(PluginReloadRequest {
            name: "none".to_owned(),
            component: vec![0; 100_000],
            canary_percent: 0,
        })];
    }
    while !stop.asked() {
        let verb = verbs[numbers.below(verbs.len())].clone();
        let mut bytes = frame::bytes(&Request { verb: Some(verb) });
        if role != Role::Admin {
            mutate(&mut bytes, &mut numbers);
        }
        let way = numbers.below(8);
        if kept.len() >= STREAMS {
            kept.drain(..STREAMS / 2);
        }
        let opened = tokio::time::timeout(PATIENCE, client.connection().open_bi()).await;
        let Ok(opened) = opened else {
            kept.clear();
            continue;
        };
        let (mut sending, mut answer) = opened.expect("the connection lives");
        send(&mut sending, &bytes, way, &mut numbers).await;
        counts[0].fetch_add(1, Relaxed);
        if way == 1 || way == 3 {
            kept.push((sending, answer));
        } else {
            let mut first = [0; 64];
            let read = tokio::time::timeout(PATIENCE, answer.read(&mut first));
            if let Ok(Ok(Some(_))) = read.await {
                counts[1].fetch_add(1, Relaxed);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    client.close().await;
}

/// Streams on which one byte has come; those that the router has given up are opened again.
async fn idle(target: Target, stop: Stop) {
    let mut connections = Vec::new();
    for _ in 0..IDLE_STREAMS.div_ceil(STREAMS) {
        connections.push(connect(&target).await);
    }
    while !stop.asked() {
        let mut open = Vec::new();
        for client in &connections {
            for _ in 0..STREAMS.min(IDLE_STREAMS - open.len()) {
                // Those that were let go of take a round trip to be so.
                let opening = client.connection().open_bi();
                let streams = tokio::time::timeout(PATIENCE * 5, opening).await;
                let mut streams = streams
                    .expect("there is room")
                    .expect("the connection lives");
                streams.0.write_all(&[100]).await.expect("taken");
                open.push(streams);
            }
        }
        assert_eq!(open.len(), IDLE_STREAMS);
        // The router waits for a request for 5 s.
        stop.pause(Duration::from_millis(4_500)).await;
    }
}

/// Watches, and reads nothing; meanwhile something happens all the time.
async fn stall(viewer: Target, operator: Target, stop: Stop) {
    let (viewer, operator) = (connect(&viewer).await, connect(&operator).await);
    let _watch = watch(&viewer).await;
    let verbs = valid(Role::Operator);
    let kick = verbs.iter().find(|verb| matches!(verb, Verb::Kick(_)));
    let mut happened = 0_u64;
    while !stop.asked() {
        let answer = operator.call(kick.expect("there").clone()).await;
        // It says that there is no such room.
        let _ = answer.expect("the connection lives").next().await;
        happened += 1;
    }
    println!("{happened} events beside the watcher");
    operator.close().await;
    viewer.close().await;
}

async fn watch(client: &Client) -> RecvStream {
    let (mut sending, answer) = client.connection().open_bi().await.expect("a stream");
    let verb = Some(Verb::Events(EventsRequest::default()));
    let bytes = frame::bytes(&Request { verb });
    sending.write_all(&bytes).await.expect("taken");
    sending.finish().expect("open");
    answer
}

/// Asks for metrics and never reads.
async fn scrape_and_stall(metrics: SocketAddr, stop: Stop) {
    let mut scrapers = Vec::new();
    for _ in 0..SCRAPERS {
        let mut stream = TcpStream::connect(metrics).await.expect("listening");
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {metrics}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("taken");
        scrapers.push(stream);
    }
    stop.pause(Duration::from_secs(3_600)).await;
}

/// Scrapes ten times a second, which is 150 times more than Prometheus does by default.
async fn scrape(metrics: SocketAddr, stop: Stop) {
    let (mut scrapes, mut bytes) = (0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while !stop.asked() {
        tick.tick().await;
        let mut stream = TcpStream::connect(metrics).await.expect("listening");
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {metrics}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("taken");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        read.await.expect("an answer");
        scrapes += 1;
        bytes = answer.len();
    }
    println!("{scrapes} scrapes of {bytes} bytes");
}

pub(crate) fn run() {
    let managed = Managed::start("");
    let [viewer, operator, admin] =
        [Role::Viewer, Role::Operator, Role::Admin].map(|role| managed.target(role));
    let metrics = managed.router.metrics();
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let fuzzing: Deed = {
        let (targets, counts) = ([viewer.clone(), operator.clone(), admin], counts.clone());
        Arc::new(move |stop| {
            let [viewer, operator, admin] = targets.clone();
            let (counts, second) = (counts.clone(), counts.clone());
            let third = counts.clone();
            Box::pin(async move {
                tokio::join!(
                    fuzz(viewer, Role::Viewer, 1, stop.clone(), counts),
                    fuzz(operator, Role::Operator, 2, stop.clone(), second),
                    fuzz(admin, Role::Admin, 3, stop, third),
                );
            })
        })
    };
    let idling: Deed = {
        let viewer = viewer.clone();
        Arc::new(move |stop| Box::pin(idle(viewer.clone(), stop)))
    };
    let stalling: Deed =
        Arc::new(move |stop| Box::pin(stall(viewer.clone(), operator.clone(), stop)));
    let unread: Deed = Arc::new(move |stop| Box::pin(scrape_and_stall(metrics, stop)));
    let scraping: Deed = Arc::new(move |stop| Box::pin(scrape(metrics, stop)));
    let seconds = stretch_seconds(8);
    let beside = |title: &str, deed: Deed| Stretch {
        title: title.to_owned(),
        seconds,
        meanwhile: Meanwhile::Beside(deed),
    };
    let stretches = [
        calm("calm", seconds),
        beside("bad requests", fuzzing),
        beside("1,000 idle streams", idling),
        beside("a watcher that stalls", stalling),
        beside("scrapers that stall", unread),
        beside("10 scrapes a second", scraping),
        calm("calm again", seconds),
    ];
    crowd(&managed.router, &stretches);
    let [sent, answered] = [0, 1].map(|index| counts[index].load(Relaxed));
    println!("{sent} bad requests, {answered} answered");
    assert!(sent > seconds * 100 && answered > sent / 4);
}
