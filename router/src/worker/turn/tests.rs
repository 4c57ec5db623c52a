//! The loop with a driver the test plays and a real shard.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use rillway_core::ShardConfig;
use rillway_core::api::{Event, EventKind, Grant, RoomEvent, RoomEventKind, RoomOrderKind};
use rillway_core::id::WorkerId;
use rillway_core::limits::Limits;
use rillway_ring::{DriverStats, SendError, SendRun};
use tokio::task::LocalSet;

use super::*;
use crate::telemetry::metrics::Registry;
use crate::worker::{BOUNDS, Window};

/// What the test and its driver share.
#[derive(Default)]
struct Line {
    /// Always as many datagrams as the budget asks for, each of this cost.
    flood: Cell<Option<Duration>>,
    fault: Cell<bool>,
    receives: RefCell<Vec<usize>>,
    shut_down: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

struct Played {
    line: Rc<Line>,
    addresses: [SocketAddr; 1],
}

impl UdpDriver for Played {
    fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
    fn receive(&mut self, budget: usize, receiver: &mut dyn Receiver) -> io::Result<usize> {
        if self.line.fault.get() {
            return Err(io::Error::other("the network is gone"));
        }
        let Some(cost) = self.line.flood.get() else {
            return Ok(0);
        };
        self.line.receives.borrow_mut().push(budget);
        let started = Instant::now();
        for _ in 0..budget {
            let source = SocketAddr::from(([192, 0, 2, 1], 9));
            receiver.datagram(rillway_ring::SocketId(0), source, &mut [0xff; 20]);
        }
        while started.elapsed() < cost {}
        Ok(budget)
    }
    fn send(&mut self, _: SendRun<'_>) -> Result<(), SendError> {
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.fault.get() || self.line.flood.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        self.line.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
    fn stats(&self) -> DriverStats {
        DriverStats::default()
    }
    fn shutdown(&mut self) {
        self.line.shut_down.set(true);
    }
}

struct Stage {
    local: LocalSet,
    line: Rc<Line>,
    requests: mpsc::Sender<ToWorker>,
    events: mpsc::Receiver<Event>,
    rooms: mpsc::Receiver<RoomEvent>,
    worker: tokio::task::JoinHandle<io::Result<()>>,
    registry: Registry,
}

fn stage(line: Line) -> Stage {
    let line = Rc::new(line);
    let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let mut shard = Shard::new(
        ShardConfig {
            worker: WorkerId(0),
            local_addresses: vec![address],
            advertised_addresses: vec![address],
            listeners: 0,
            limits: Limits::default(),
            relays: None,
            unix_time: Duration::from_secs(1_700_000_000),
            seed: [7; 32],
        },
        Instant::now(),
    );
    shard.announce_rooms();
    let (requests, received) = mpsc::channel(64);
    let (sender, events) = mpsc::channel(64);
    let (rooms_sender, rooms) = mpsc::channel(64);
    let registry = Registry::new();
    let turns = Turns {
        driver: Played {
            line: line.clone(),
            addresses: [address],
        },
        shard,
        requests: received,
        backlog: Backlog::new(sender),
        rooms: Rooms::new(rooms_sender),
        window: Window::new(),
        recorder: registry.worker(0, &BOUNDS),
        tap: None,
        links: Links::none(),
        handover: Handover::none(),
        steering: None,
    };
    let local = LocalSet::new();
    let worker = local.spawn_local(run(turns));
    Stage {
        local,
        line,
        requests,
        events,
        rooms,
        worker,
        registry,
    }
}

fn join(client: u64) -> ToWorker {
    ToWorker::Request(Request {
        client: ClientId(client),
        reference: Reference(1),
        action: Action::Join {
            grant: Grant {
                room: "r".to_owned(),
                identity: client.to_string(),
                name: None,
                publish: Vec::new(),
                subscribe: true,
                publish_data: true,
                record_control: false,
                max_publish_bps: None,
                expires_at_ms: None,
                attributes: Vec::new(),
            },
            joined_at_ms: 0,
        },
    })
}

async fn within<F: Future>(ms: u64, what: &str, future: F) -> F::Output {
    tokio::time::timeout(Duration::from_millis(ms), future)
        .await
        .unwrap_or_else(|_| panic!("not within {ms} ms: {what}"))
}

#[tokio::test]
async fn an_idle_worker_answers_and_stops() {
    let mut stage = stage(Line::default());
    let worker = stage.worker;
    stage
        .local
        .run_until(async {
            stage.requests.send(join(1)).await.unwrap();
            let event = within(500, "the answer", stage.events.recv()).await;
            assert!(matches!(event.unwrap().kind, EventKind::Joined { .. }));
            stage.requests.send(ToWorker::Stop).await.unwrap();
            within(500, "the end", worker).await.unwrap().unwrap();
        })
        .await;
    assert!(stage.line.shut_down.get());
}

#[tokio::test]
async fn rooms_are_announced_and_orders_about_them_are_carried_out() {
    let mut stage = stage(Line::default());
    let worker = stage.worker;
    stage
        .local
        .run_until(async {
            stage.requests.send(join(1)).await.unwrap();
            let opened = within(500, "the room", stage.rooms.recv()).await.unwrap();
            let name = "r".to_owned();
            assert_eq!(opened.kind, RoomEventKind::Opened { name });
            let watch = RoomOrderKind::WatchLayers {
                every: Duration::ZERO,
            };
            for kind in [RoomOrderKind::WatchEvents, watch] {
                let order = RoomOrder {
                    room: opened.room,
                    kind,
                };
                stage.requests.send(ToWorker::Room(order)).await.unwrap();
            }
            let joined = within(500, "who is there", stage.rooms.recv()).await;
            assert!(matches!(joined.unwrap().kind, RoomEventKind::Joined(_)));
            let view = within(500, "a view", stage.rooms.recv()).await.unwrap();
            assert!(matches!(view.kind, RoomEventKind::View(_)), "{view:?}");
            stage.requests.send(ToWorker::Stop).await.unwrap();
            within(500, "the end", worker).await.unwrap().unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_flood_starves_neither_requests_nor_the_runtime_nor_the_end() {
    let mut stage = stage(Line {
        flood: Cell::new(Some(Duration::from_millis(8))),
        ..Line::default()
    });
    let worker = stage.worker;
    let timers = Rc::new(Cell::new(0));
    let count = timers.clone();
    stage.local.spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            count.set(count.get() + 1);
        }
    });
    stage
        .local
        .run_until(async {
            for client in 0..40 {
                stage.requests.send(join(client)).await.unwrap();
            }
            for _ in 0..40 {
                within(1_000, "an answer", stage.events.recv())
                    .await
                    .unwrap();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            stage.requests.send(ToWorker::Stop).await.unwrap();
            within(1_000, "the end", worker).await.unwrap().unwrap();
        })
        .await;
    assert!(timers.get() > 5, "{} timers of a neighbour", timers.get());
    let budgets = stage.line.receives.borrow();
    assert_eq!(budgets.first(), Some(&BUDGET_MAX));
    assert_eq!(
        budgets.last(),
        Some(&BUDGET_MIN),
        "long turns make the budget small"
    );
    let text = stage.registry.render();
    let received: usize = budgets.iter().sum();
    let line =
        format!("rillway_dropped_datagrams_total{{worker=\"0\",cause=\"malformed\"}} {received}");
    assert!(text.contains(&line), "{line} in\n{text}");
}

#[tokio::test]
async fn a_driver_fault_ends_the_worker_and_closes_its_events() {
    let mut stage = stage(Line::default());
    let worker = stage.worker;
    stage
        .local
        .run_until(async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            stage.line.fault.set(true);
            let waker = stage.line.waker.take();
            waker.unwrap().wake();
            let result = within(500, "the end", worker).await.unwrap();
            assert_eq!(result.unwrap_err().to_string(), "the network is gone");
            assert!(
                within(500, "no events", stage.events.recv())
                    .await
                    .is_none()
            );
        })
        .await;
    assert!(stage.line.shut_down.get());
}

#[tokio::test]
async fn a_worker_nobody_can_reach_ends() {
    let stage = stage(Line::default());
    let worker = stage.worker;
    drop(stage.requests);
    stage
        .local
        .run_until(async { within(500, "the end", worker).await.unwrap().unwrap() })
        .await;
}

#[tokio::test]
async fn an_idle_worker_sleeps_and_still_reports() {
    let stage = stage(Line::default());
    stage
        .local
        .run_until(tokio::time::sleep(Duration::from_millis(2_300)))
        .await;
    let text = stage.registry.render();
    let turns = text
        .lines()
        .find_map(|l| l.strip_prefix("rillway_worker_turn_seconds_count{worker=\"0\"} "))
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap();
    assert!(
        (1..10).contains(&turns),
        "{turns} turns in two idle seconds"
    );
}

#[test]
fn the_budget_follows_the_time_a_turn_takes() {
    let ms = Duration::from_millis;
    assert_eq!(next_budget(256, ms(3)), 128);
    assert_eq!(next_budget(BUDGET_MIN, ms(30)), BUDGET_MIN);
    assert_eq!(next_budget(64, Duration::from_micros(1_500)), 64);
    assert_eq!(next_budget(64, Duration::from_micros(200)), 128);
    assert_eq!(next_budget(BUDGET_MAX, ms(0)), BUDGET_MAX);
}
