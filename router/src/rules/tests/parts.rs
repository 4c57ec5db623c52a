//! Rooms with parts on two workers.

use super::recording::{joined, published, stage, start, words};
use super::*;

/// The second worker's ids begin here.
const SECOND: u64 = 1 << 45;
const PART: RoomId = RoomId(SECOND | 3);

/// Rules over two workers.
fn two(set: RuleSet) -> (Stage, mpsc::Receiver<ToWorker>) {
    let registry = Registry::new();
    let ((first, queue), (second, other)) = (mpsc::channel(64), mpsc::channel(64));
    let (recorder, told) = (Rc::new(FakeRecorder::default()), Rc::new(Told::default()));
    let orders: Rc<dyn RecorderOrders> = recorder.clone();
    let desk = Desk::new(Ok(orders), told.clone());
    let stage = Stage {
        rules: Rules::new(set, vec![first, second], registry.rules(), desk),
        queue,
        registry,
        recorder,
        told,
    };
    (stage, other)
}

fn orders(queue: &mut mpsc::Receiver<ToWorker>, room: RoomId) -> Vec<RoomOrderKind> {
    let mut all = Vec::new();
    while let Ok(order) = queue.try_recv() {
        match order {
            ToWorker::Room(order) => {
                assert_eq!(order.room, room);
                all.push(order.kind);
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

#[test]
fn a_room_is_recorded_once_whatever_its_parts() {
    local(async {
        let (usual, script) = stage(|event| {
            Ok(match event {
                Event::TrackPublished(track) => vec![start(track.id.0, "a")],
                _ => Vec::new(),
            })
        });
        let (mut stage, mut second) = two(usual.rules.set.clone());
        stage.open();
        settle().await;
        let tell = |stage: &Stage, kind| stage.rules.on_event(RoomEvent { room: PART, kind });
        let opened = || RoomEventKind::Opened {
            name: "room".to_owned(),
        };
        tell(&stage, opened());
        settle().await;
        let watch = RoomOrderKind::WatchEvents;
        assert_eq!(orders(&mut stage.queue, ROOM), std::slice::from_ref(&watch));
        assert_eq!(orders(&mut second, PART), std::slice::from_ref(&watch));
        // One policy hears of both, and each order goes to the worker of its track.
        stage.tell(joined(1));
        stage.tell(published(7));
        tell(&stage, joined(SECOND | 2));
        tell(&stage, published(SECOND | 8));
        let speak = || RoomEventKind::Speakers(vec![ParticipantId(1)]);
        stage.tell(speak());
        tell(&stage, speak());
        settle().await;
        let (near, far) = (id::TrackId(7), id::TrackId(SECOND | 8));
        let told = format!(
            "open:room +i1 track:7 +i{} track:{} speak:1",
            SECOND | 2,
            far.0
        );
        let seen = words(&script);
        assert_eq!(seen.matches("open:").count(), 1, "{seen}");
        let events = seen.split(' ').filter(|word| !word.starts_with("rec:"));
        assert_eq!(events.collect::<Vec<_>>().join(" "), told);
        assert_eq!(
            orders(&mut stage.queue, ROOM),
            [RoomOrderKind::Record(near)]
        );
        assert_eq!(orders(&mut second, PART), [RoomOrderKind::Record(far)]);
        // A worker that dies takes its part along, and nothing else.
        stage.rules.worker_ended(WorkerId(1));
        settle().await;
        let seen = words(&script);
        assert!(seen.contains(&format!("end:{}", far.0)), "{seen}");
        assert!(seen.contains(&format!("-{}", SECOND | 2)), "{seen}");
        assert!(!seen.contains("closed"), "{seen}");
        assert!(stage.rules.recorded("room").is_some(), "the other goes on");
        stage.tell(RoomEventKind::Closed);
        settle().await;
        assert!(stage.rules.recordings.borrow().is_empty());
    });
}
