use super::*;

type Act = Box<dyn FnMut(&Event) -> Result<Vec<Order>, RuleFault>>;

/// A policy whose instances all do what one closure says.
pub(super) struct Script {
    act: RefCell<Act>,
    seen: RefCell<Vec<Event>>,
    opened: Cell<u32>,
    /// Calls wait for this.
    gate: RefCell<Option<Rc<Notify>>>,
    /// Retires the instance that there is.
    pub(super) reload: Rc<Notify>,
}

struct Factory(Rc<Script>);

struct Instance(Rc<Script>);

impl RecordingFactory for Factory {
    fn policy(&self) -> Rc<str> {
        "scripted".into()
    }

    fn open(&self, _: &str) -> Opening<dyn RecordingInstance> {
        let script = self.0.clone();
        Box::pin(async move {
            script.opened.set(script.opened.get() + 1);
            let instance: Box<dyn RecordingInstance> = Box::new(Instance(script));
            Ok(instance)
        })
    }
}

impl RecordingInstance for Instance {
    fn retired(&self) -> LocalBoxFuture<'static, ()> {
        let reload = self.0.reload.clone();
        Box::pin(async move { reload.notified().await })
    }

    fn decide(&mut self, event: Event) -> LocalBoxFuture<'_, Result<Vec<Order>, RuleFault>> {
        let script = self.0.clone();
        Box::pin(async move {
            let gate = script.gate.borrow().clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            let result = script.act.borrow_mut()(&event);
            script.seen.borrow_mut().push(event);
            result
        })
    }
}

pub(super) fn stage(
    act: impl FnMut(&Event) -> Result<Vec<Order>, RuleFault> + 'static,
) -> (Stage, Rc<Script>) {
    let script = Rc::new(Script {
        act: RefCell::new(Box::new(act)),
        seen: RefCell::default(),
        opened: Cell::new(0),
        gate: RefCell::default(),
        reload: Rc::default(),
    });
    let set = RuleSet {
        recording: Some(Rc::new(Factory(script.clone()))),
        retry: RETRY,
        ..RuleSet::default()
    };
    (Stage::new(set, 64), script)
}

/// As [`stage`], without a recorder.
fn stage_without_recorder(
    act: impl FnMut(&Event) -> Result<Vec<Order>, RuleFault> + 'static,
) -> (Stage, Rc<Script>) {
    let (stage, script) = stage(act);
    let set = stage.rules.set.clone();
    (Stage::with(set, 64, Some(ABSENT)), script)
}

const ABSENT: &str = "this router has no place for recordings";

pub(super) fn joined(id: u64) -> RoomEventKind {
    RoomEventKind::Joined(ParticipantInfo {
        id: ParticipantId(id),
        identity: format!("i{id}"),
        name: None,
        attributes: Vec::new(),
        joined_at_ms: 0,
    })
}

pub(super) fn published(id: u64) -> RoomEventKind {
    RoomEventKind::Published(TrackInfo {
        id: id::TrackId(id),
        owner: ParticipantId(1),
        kind: core::MediaKind::Video,
        source: core::Source::Camera,
        codec: "VP8".to_owned(),
        muted: false,
        layers: Vec::new(),
    })
}

pub(super) fn start(track: u64, name: &str) -> Order {
    Order::Start(Start {
        track: types::TrackId(track),
        container: Container::Webm,
        name: name.to_owned(),
        max_segment_s: 0,
        attributes: Vec::new(),
    })
}

/// What an instance has seen, in a word each; that nothing was recorded before it is not said.
pub(super) fn words(script: &Script) -> String {
    let seen = script.seen.take();
    let nothing = |event: &&Event| !matches!(event, Event::Recording(list) if list.is_empty());
    let words = seen.iter().filter(nothing).map(|event| match event {
        Event::RoomOpened(name) => format!("open:{name}"),
        Event::ParticipantJoined(p) => format!("+{}", p.identity),
        Event::ParticipantLeft(id) => format!("-{}", id.0),
        Event::TrackPublished(track) => {
            format!("track:{}{}", track.id.0, if track.muted { "m" } else { "" })
        }
        Event::TrackUnpublished(id) => format!("end:{}", id.0),
        Event::TrackMuted(id, muted) => format!("mute:{}:{muted}", id.0),
        Event::Speakers(speakers) => format!("speak:{}", speakers.len()),
        Event::Requested(Request { start, by, .. }) => {
            format!("asked:{start}:{}", by.map_or(0, |by| by.0))
        }
        Event::Failed(failure) => format!("failed:{}:{}", failure.track.0, failure.message.len()),
        Event::Started(id) => format!("begun:{}", id.0),
        Event::Finished(file) => format!("file:{}:{}", file.track.0, file.name),
        Event::Recording(list) => {
            let names = list.iter().map(|r| format!("{}={}", r.track.0, r.name));
            format!("rec:{}", names.collect::<Vec<_>>().join(","))
        }
        Event::Tick => "tick".to_owned(),
        Event::RoomClosed => "closed".to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_event_arrives_in_order_and_the_end_comes_last() {
    local(async {
        let (mut stage, script) = stage(|_| Ok(Vec::new()));
        stage.open();
        assert_eq!(stage.order().await, RoomOrderKind::WatchEvents);
        settle().await;
        for kind in [
            joined(1),
            published(7),
            RoomEventKind::Muted(id::TrackId(7), true),
            RoomEventKind::Speakers(vec![ParticipantId(1)]),
            RoomEventKind::Unpublished(id::TrackId(7)),
            RoomEventKind::Left(ParticipantId(1)),
            RoomEventKind::Closed,
        ] {
            stage.tell(kind);
        }
        settle().await;
        let expected = "open:room +i1 track:7 mute:7:true speak:1 end:7 -1 closed";
        assert_eq!(words(&script), expected);
        stage.tell(joined(2));
        settle().await;
        assert_eq!(words(&script), "", "nothing after the end");
    });
}

#[test]
fn an_instance_hears_once_what_is_recorded_even_if_that_is_nothing() {
    local(async {
        let (mut stage, script) = stage(|_| Ok(Vec::new()));
        stage.open();
        assert_eq!(stage.order().await, RoomOrderKind::WatchEvents);
        settle().await;
        stage.tell(joined(1));
        settle().await;
        let seen = script.seen.take();
        let is = |event: &Event| matches!(event, Event::Recording(list) if list.is_empty());
        assert!(
            matches!(seen.as_slice(), [Event::RoomOpened(_), told, Event::ParticipantJoined(_)] if is(told)),
            "{seen:?}"
        );
    });
}

#[test]
fn a_start_is_answered_with_its_failure_but_not_in_circles() {
    local(async {
        // A policy that tries again and again, and orders much that cannot be.
        let (mut stage, script) = stage_without_recorder(|event| {
            Ok(match event {
                Event::TrackPublished(_) | Event::Failed(_) => vec![
                    start(7, "a"),
                    start(8, "unknown"),
                    start(7, ""),
                    start(7, &"n".repeat(129)),
                    Order::Stop(types::TrackId(7)),
                ],
                _ => Vec::new(),
            })
        });
        stage.open();
        stage.order().await;
        settle().await;
        stage.tell(published(7));
        settle().await;
        let failed = format!("open:room track:7 failed:7:{}", ABSENT.len());
        assert_eq!(words(&script), failed);
        let orders = |result: &str, count: u32| {
            stage.metric(&format!(
                r#"rillway_recording_orders_total{{result="{result}"}} {count}"#
            ))
        };
        assert!(orders("failed", 2));
        assert!(orders("refused", 6));
        assert!(orders("idle", 2));
        assert!(stage.queue.try_recv().is_err(), "the core is not bothered");
    });
}

#[test]
fn a_request_reaches_the_policy_and_is_answered_honestly() {
    local(async {
        let (mut stage, script) = stage_without_recorder(|event| {
            Ok(match event {
                Event::Requested(request) if request.start => vec![start(7, "a")],
                _ => Vec::new(),
            })
        });
        let ask = |stage: &Stage, start| {
            let asked = stage
                .rules
                .request_recording("room", ParticipantId(1), start);
            asked.map_err(str::to_owned)
        };
        stage.open();
        stage.order().await;
        settle().await;
        stage.tell(published(7));
        let answer = ask(&stage, true).expect("a policy");
        assert_eq!(answer.await, Ok(Err(ABSENT.to_owned())));
        let answer = ask(&stage, false).expect("a policy");
        assert_eq!(answer.await, Ok(Ok(())));
        settle().await;
        let failed = format!("failed:7:{}", ABSENT.len());
        let expected = format!("open:room track:7 asked:true:1 {failed} asked:false:1");
        assert_eq!(words(&script), expected);
        assert_eq!(ask(&stage, true).map(|_| ()), Ok(()));
        let by_operator = |start| {
            let (name, tracks) = ("ada".to_owned(), [id::TrackId(10)]);
            let rules = &stage.rules;
            rules.request_recording_by_operator("room", name, &tracks, start)
        };
        assert_eq!(by_operator(true).err(), Some(ABSENT));
        let stopped = by_operator(false).expect("a policy");
        assert_eq!(stopped.await, Ok(Ok(())));
        let heard = script.seen.borrow().last().cloned();
        let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = Request {
            start: false,
            by: None,
            attributes: vec![attribute("operator", "ada"), attribute("track", "10")],
        };
        assert_eq!(heard, Some(Event::Requested(expected)));
        let other = stage
            .rules
            .request_recording("elsewhere", ParticipantId(1), true);
        assert_eq!(other.err(), Some(NO_POLICY));
        stage.tell(RoomEventKind::Closed);
        assert!(ask(&stage, true).is_err());
    });
}

#[test]
fn a_new_instance_after_a_fault_is_told_the_present_state() {
    local(async {
        let (mut stage, script) = stage(|event| match event {
            Event::Requested(_) => Err(RuleFault::Failed("trap".to_owned())),
            _ => Ok(Vec::new()),
        });
        stage.open();
        stage.order().await;
        settle().await;
        for kind in [
            joined(1),
            joined(2),
            published(7),
            published(8),
            RoomEventKind::Speakers(vec![ParticipantId(2)]),
        ] {
            stage.tell(kind);
        }
        let answer = stage
            .rules
            .request_recording("room", ParticipantId(1), true);
        assert!(answer.expect("a policy").await.is_err(), "nobody decided");
        settle().await;
        let refused = stage
            .rules
            .request_recording("room", ParticipantId(1), true);
        assert_eq!(
            refused.err(),
            Some("the recording policy is not available now")
        );
        for kind in [
            RoomEventKind::Left(ParticipantId(2)),
            RoomEventKind::Unpublished(id::TrackId(8)),
            RoomEventKind::Muted(id::TrackId(7), true),
        ] {
            stage.tell(kind);
        }
        script.seen.take();
        tokio::time::sleep(RETRY * 2).await;
        settle().await;
        assert_eq!(script.opened.get(), 2);
        stage.tell(joined(3));
        settle().await;
        assert_eq!(words(&script), "open:room +i1 track:7m speak:1 +i3");
        assert!(stage.metric(r#"rillway_rule_faults_total{kind="recording"} 1"#));
    });
}

#[test]
fn another_version_is_told_the_present_state_and_answers_what_waits() {
    local(async {
        let (mut stage, script) = stage(|_| Ok(Vec::new()));
        stage.open();
        stage.order().await;
        stage.tell(published(7));
        settle().await;
        assert_eq!(words(&script), "open:room track:7");
        // All at once, so that nobody has taken the request when the version changes.
        stage.tell(RoomEventKind::Muted(id::TrackId(7), true));
        let asked = stage
            .rules
            .request_recording("room", ParticipantId(1), false);
        script.reload.notify_one();
        assert_eq!(asked.expect("a policy").await, Ok(Ok(())));
        assert_eq!(words(&script), "open:room track:7m asked:false:1");
        assert_eq!(script.opened.get(), 2);
        assert!(stage.metric(r#"rillway_rule_faults_total{kind="recording"} 0"#));
    });
}

#[test]
fn a_policy_that_falls_behind_is_told_anew_and_memory_is_bounded() {
    local(async {
        let (mut stage, script) = stage(|_| Ok(Vec::new()));
        let gate = Rc::new(Notify::new());
        *script.gate.borrow_mut() = Some(gate.clone());
        stage.open();
        stage.order().await;
        settle().await;
        for _ in 0..3_000 {
            stage.tell(joined(1));
            stage.tell(RoomEventKind::Left(ParticipantId(1)));
        }
        stage.tell(joined(2));
        *script.gate.borrow_mut() = None;
        gate.notify_one();
        settle().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        settle().await;
        assert_eq!(words(&script), "open:room open:room +i2");
        assert_eq!(script.opened.get(), 2);
    });
}

#[test]
fn too_many_orders_are_a_fault() {
    local(async {
        let (mut stage, _script) = stage(|event| {
            Ok(match event {
                Event::TrackPublished(_) => vec![start(7, "a"); 1_025],
                _ => Vec::new(),
            })
        });
        stage.open();
        stage.order().await;
        settle().await;
        stage.tell(published(7));
        settle().await;
        assert!(stage.metric(r#"rillway_rule_faults_total{kind="recording"} 1"#));
        assert!(stage.metric(r#"rillway_recording_orders_total{result="failed"} 0"#));
    });
}
