//! What policies cost beside forwarding: a room of a hundred viewers whose layers change
//! five times a second.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_core::api::{Action, EventKind, Wish};
use rillway_core::id::TrackId;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use tokio::task::{JoinHandle, LocalSet};

use crate::router::{self, Router};
use crate::stretch_seconds;

const VIEWERS: u64 = 100;
/// Time between two changes of each viewer's wish.
const PERIOD: Duration = Duration::from_millis(200);
/// Of each mood.
const SECONDS: u64 = 8;
const JOIN_TIME: Duration = Duration::from_secs(60);

/// What viewers do. All but the first are not told which layers they get, as a client is that does not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Still,
    /// The first one changes its wish: the room's layers change at that pace.
    Room,
    /// Everybody does.
    Everybody,
    Gone,
}

async fn publish(
    gateway: SocketAddr,
    (epoch, number): (Instant, u64),
    track: Rc<Cell<Option<TrackId>>>,
    mood: Rc<Cell<Mood>>,
) {
    let mut config = member(number, "cost", epoch);
    config.tracks = vec![TrackSpec::audio(), TrackSpec::simulcast()];
    let mut client = LiveClient::connect(gateway, config)
        .await
        .expect("the gateway listens");
    let gone = |mood: &Cell<Mood>| mood.get() == Mood::Gone;
    let ran = client
        .run_until(JOIN_TIME, |c| {
            c.client.published.get(1).is_some_and(|p| p.track.is_some())
        })
        .await;
    assert!(ran.expect("sockets work"), "it is not published");
    track.set(client.client.published[1].track);
    let ran = client
        .run_until(Duration::from_secs(300), |_| gone(&mood))
        .await;
    assert!(ran.expect("sockets work"), "the test does not end");
}

/// A viewer of so many publishers, which changes its wish as long as that is the mood.
async fn view(
    gateway: SocketAddr,
    (epoch, number, publishers): (Instant, u64, u64),
    track: Rc<Cell<Option<TrackId>>>,
    mood: Rc<Cell<Mood>>,
    ready: Rc<Cell<u64>>,
) -> LiveClient {
    tokio::time::sleep(Duration::from_millis(25 * number)).await;
    let config = member(publishers + number + 1, "cost", epoch);
    let client = LiveClient::connect(gateway, config).await;
    let mut client = client.expect("the gateway listens");
    let tracks = 2 * publishers as usize;
    let heard = client.run_until(JOIN_TIME, |c| c.hears(tracks)).await;
    assert!(
        heard.expect("sockets work"),
        "viewer {number} hears nothing"
    );
    if number == 0 {
        client.ask_for_layers(true).await.expect("sockets work");
    }
    ready.set(ready.get() + 1);
    let mut large = number.is_multiple_of(2);
    while mood.get() != Mood::Gone {
        let changes = match mood.get() {
            Mood::Room => number == 0,
            Mood::Everybody => true,
            Mood::Still | Mood::Gone => false,
        };
        if changes {
            large = !large;
            let (width, height) = if large { (1_280, 720) } else { (320, 180) };
            let track = track.get().expect("published");
            let wish = Wish {
                track,
                width,
                height,
                fps: 0,
                priority: 0,
                paused: false,
            };
            client.client.request(Action::Wish(wish));
        }
        client.run_for(PERIOD).await.expect("sockets work");
    }
    client
}

/// Of rooms where one talks, and where several do.
pub(crate) fn run() {
    for publishers in [1, 4] {
        run_with(publishers);
    }
}

fn run_with(publishers: u64) {
    // Another layer policy, if there is one to be measured: a component.
    let component = std::env::var("RILLWAY_LAYERS").ok();
    let policy = component.as_ref().map_or("layers-adaptive", |_| "measured");
    let mut text = format!(
        "authentication.policy = \"auth-open\"\n\
         layers = {{ policy = \"{policy}\", every_ms = 200 }}\n"
    );
    if let Some(component) = component {
        text += &format!("[plugins.measured]\ncomponent = \"{component}\"\n");
    }
    let router = Router::start("ring", &text);
    let gateway = router.gateway();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let local = LocalSet::new();
    local.block_on(&runtime.expect("a runtime"), async {
        let epoch = Instant::now();
        let track = Rc::new(Cell::new(None));
        let mood = Rc::new(Cell::new(Mood::Still));
        let ready = Rc::new(Cell::new(0));
        let mut sending = Vec::new();
        for number in 1..=publishers {
            track.set(None);
            let sends = publish(gateway, (epoch, number), track.clone(), mood.clone());
            sending.push(tokio::task::spawn_local(sends));
            while track.get().is_none() {
                assert!(epoch.elapsed() < JOIN_TIME, "{number} is not published");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let viewers: Vec<_> = (0..VIEWERS)
            .map(|number| {
                let of = (track.clone(), mood.clone(), ready.clone());
                let who = (epoch, number, publishers);
                tokio::task::spawn_local(view(gateway, who, of.0, of.1, of.2))
            })
            .collect();
        while ready.get() < VIEWERS {
            assert!(
                epoch.elapsed() < JOIN_TIME,
                "{} of {VIEWERS} joined",
                ready.get()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        measure(&router, &mood, publishers).await;
        mood.set(Mood::Gone);
        for publisher in sending {
            publisher.await.expect("a publisher failed");
        }
        check(viewers).await;
    });
}

/// What each mood costs.
async fn measure(router: &Router, mood: &Cell<Mood>, publishers: u64) {
    for (title, next) in [
        ("still", Mood::Still),
        ("the room's layers change 5 times a second", Mood::Room),
        (
            "every viewer's wish changes 5 times a second",
            Mood::Everybody,
        ),
    ] {
        mood.set(next);
        let before = router.threads_cpu_seconds();
        let seconds = stretch_seconds(SECONDS);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        println!("{VIEWERS} viewers, {publishers} publish, {title}, {seconds} s");
        router::report_threads(&before, &router.threads_cpu_seconds());
    }
}

/// Layers changed, and nobody was dropped for it.
async fn check(viewers: Vec<JoinHandle<LiveClient>>) {
    let mut told = Vec::new();
    for viewer in viewers {
        let viewer = viewer.await.expect("a viewer failed");
        assert_eq!(viewer.ended, None, "nobody is dropped");
        let events = viewer.client.events.iter();
        let layers = events.filter(|e| matches!(e, EventKind::Layer { .. }));
        told.push(layers.count());
    }
    let switches = told.remove(0);
    println!("{switches} switches of layers that the first viewer was told of");
    // A layer begins with a keyframe, and those are limited.
    assert!(switches > SECONDS as usize, "{switches} switches");
    assert_eq!(told.iter().sum::<usize>(), 0, "nobody else asked");
}
