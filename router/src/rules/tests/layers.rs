use super::*;

/// What a scripted instance does with a view.
enum Act {
    Choose(Vec<Choice>),
    Fault(RuleFault),
    /// Answers when told to.
    Wait(Rc<Notify>),
}

/// A policy whose instances do what the script says, one act per view.
#[derive(Default)]
struct Script {
    acts: RefCell<VecDeque<Act>>,
    openings: RefCell<VecDeque<RuleFault>>,
    seen: RefCell<Vec<u64>>,
    /// The last view as it was shown.
    shown: RefCell<View>,
    /// What the next is to show.
    next: Cell<Scope>,
    opened: Cell<u32>,
    dropped: Cell<u32>,
    /// Retires the instance that there is.
    reload: Rc<Notify>,
}

struct Factory(Rc<Script>);

struct Instance(Rc<Script>);

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

impl LayerFactory for Factory {
    fn policy(&self) -> Rc<str> {
        "scripted".into()
    }

    fn open(&self, room: &str) -> Opening<dyn LayerInstance> {
        assert_eq!(room, "room");
        let script = self.0.clone();
        Box::pin(async move {
            if let Some(fault) = script.openings.borrow_mut().pop_front() {
                return Err(fault);
            }
            script.opened.set(script.opened.get() + 1);
            let instance: Box<dyn LayerInstance> = Box::new(Instance(script));
            Ok(instance)
        })
    }
}

impl LayerInstance for Instance {
    fn policy(&self) -> Arc<str> {
        "scripted 1.0".into()
    }

    fn retired(&self) -> LocalBoxFuture<'static, ()> {
        let reload = self.0.reload.clone();
        Box::pin(async move { reload.notified().await })
    }

    fn choose(&mut self, view: View) -> LocalBoxFuture<'_, Result<Decision, RuleFault>> {
        self.0.seen.borrow_mut().push(view.now_ms);
        *self.0.shown.borrow_mut() = view;
        let act = self.0.acts.borrow_mut().pop_front();
        Box::pin(async move {
            let next = self.0.next.get();
            let decision = |choices| Decision { choices, next };
            match act {
                None => Ok(decision(Vec::new())),
                Some(Act::Choose(choices)) => Ok(decision(choices)),
                Some(Act::Fault(fault)) => Err(fault),
                Some(Act::Wait(notify)) => {
                    notify.notified().await;
                    Ok(decision(Vec::new()))
                }
            }
        })
    }
}

fn stage(acts: Vec<Act>, queue: usize) -> (Stage, Rc<Script>) {
    let script = Rc::new(Script {
        acts: RefCell::new(acts.into()),
        ..Script::default()
    });
    let set = RuleSet {
        layers: Some(LayerRule {
            factory: Rc::new(Factory(script.clone())),
            every: Cell::new(EVERY),
        }),
        retry: RETRY,
        ..RuleSet::default()
    };
    (Stage::new(set, queue), script)
}

/// A view of one subscription.
fn view(sequence: u64) -> RoomEventKind {
    RoomEventKind::View(Box::new(room_view(sequence)))
}

fn room_view(sequence: u64) -> RoomView {
    let wish = Wish {
        track: id::TrackId(7),
        width: 640,
        height: 360,
        fps: 0,
        priority: 3,
        paused: false,
    };
    let subscription = SubscriptionView {
        wish,
        spatial: Some(2),
        temporal: Some(0),
    };
    RoomView {
        sequence,
        now_ms: sequence * 1_000,
        subscribers: vec![SubscriberView {
            id: ParticipantId(1),
            estimate_bps: Some(500_000),
            audio_bps: 32_000,
            rtt_ms: 20,
            loss_permille: 3,
            subscriptions: vec![subscription],
        }],
        ..RoomView::default()
    }
}

fn choice() -> Choice {
    Choice {
        subscriber: types::ParticipantId(1),
        track: types::TrackId(7),
        spatial: 1,
        temporal: 0,
        paused: false,
        reason: "because".to_owned(),
    }
}

fn chosen(order: RoomOrderKind) -> (u64, usize) {
    match order {
        RoomOrderKind::Choose(choices) => (choices.view, choices.choices.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rooms_that_open_after_a_reload_have_the_other_pace_and_the_recorder_its_bounds_at_once() {
    local(async {
        let (mut stage, _script) = stage(Vec::new(), 4);
        let bounds = recorder::Bounds {
            free_bytes_least: 1,
            files_max: 7,
            sync_interval: EVERY,
        };
        stage.rules.set(Some(EVERY * 3), Some(bounds));
        let ordered = stage.recorder.orders.take();
        let [recorder::Order::Bounds(ordered)] = ordered.as_slice() else {
            panic!("{ordered:?}")
        };
        assert_eq!(*ordered, bounds);
        stage.open();
        let watch = RoomOrderKind::WatchLayers { every: EVERY * 3 };
        assert_eq!(stage.order().await, watch);
    });
}

#[test]
fn choices_reach_the_worker_with_the_view_and_the_policy_they_are_of() {
    local(async {
        let (mut stage, script) = stage(vec![Act::Choose(vec![choice()])], 4);
        stage.open();
        let watch = RoomOrderKind::WatchLayers { every: EVERY };
        assert_eq!(stage.order().await, watch);
        stage.tell(view(1));
        let expected = core::Choices {
            view: 1,
            policy: "scripted 1.0".into(),
            choices: vec![core::Choice {
                subscriber: ParticipantId(1),
                track: id::TrackId(7),
                spatial: 1,
                temporal: 0,
                paused: false,
                reason: "because".to_owned(),
            }],
        };
        assert_eq!(stage.order().await, RoomOrderKind::Choose(expected));
        stage.tell(view(2));
        assert_eq!(
            chosen(stage.order().await),
            (2, 0),
            "an answer, though of nothing"
        );
        assert!(stage.metric("rillway_rule_rooms 1"));
        stage.tell(RoomEventKind::Closed);
        settle().await;
        assert_eq!(script.dropped.get(), 1, "the instance ends with its room");
        assert!(stage.metric("rillway_rule_rooms 0"));
        stage.tell(view(3));
        settle().await;
        assert!(stage.queue.try_recv().is_err());
    });
}

#[test]
fn a_policy_that_is_busy_sees_only_the_newest_view() {
    local(async {
        let gate = Rc::new(Notify::new());
        let (mut stage, script) = stage(vec![Act::Wait(gate.clone())], 4);
        stage.open();
        stage.order().await;
        stage.tell(view(1));
        settle().await;
        for sequence in 2..100 {
            stage.tell(view(sequence));
        }
        gate.notify_one();
        assert_eq!(chosen(stage.order().await), (1, 0));
        assert_eq!(chosen(stage.order().await), (99, 0));
        assert_eq!(*script.seen.borrow(), [1_000, 99_000]);
    });
}

#[test]
fn a_fault_hands_over_to_the_built_in_policy_until_the_next_instance() {
    local(async {
        let fault = || Act::Fault(RuleFault::Failed("trap".to_owned()));
        let (mut stage, script) = stage(vec![fault(), fault(), Act::Choose(vec![])], 8);
        stage.open();
        stage.order().await;
        let begun = tokio::time::Instant::now();
        for wait in [1, 3] {
            stage.tell(view(wait));
            assert_eq!(stage.order().await, RoomOrderKind::PolicyFailed);
            stage.tell(view(wait + 1));
            settle().await;
        }
        assert_eq!(script.opened.get(), 2);
        assert_eq!(chosen(stage.order().await), (4, 0));
        assert!(
            begun.elapsed() >= RETRY * 3,
            "after a while, then twice that"
        );
        assert_eq!((script.opened.get(), script.dropped.get()), (3, 2));
        assert!(stage.metric(r#"rillway_rule_faults_total{kind="layers"} 2"#));
    });
}

#[test]
fn a_suspended_policy_is_asked_again_when_its_breaker_says() {
    local(async {
        let (mut stage, script) = stage(vec![], 8);
        let retry_after = RETRY * 5;
        let reason = "its breaker is open".to_owned();
        let suspended = RuleFault::Suspended {
            reason,
            retry_after,
        };
        script.openings.borrow_mut().push_back(suspended);
        stage.open();
        stage.order().await;
        let begun = tokio::time::Instant::now();
        stage.tell(view(1));
        assert_eq!(stage.order().await, RoomOrderKind::PolicyFailed);
        assert_eq!(chosen(stage.order().await), (1, 0));
        assert!(begun.elapsed() >= retry_after);
    });
}

#[test]
fn another_version_takes_over_at_once_and_sees_the_room() {
    local(async {
        let (mut stage, script) = stage(vec![Act::Fault(RuleFault::Retired)], 8);
        stage.open();
        stage.order().await;
        stage.tell(view(1));
        assert_eq!(stage.order().await, RoomOrderKind::ShowAgain);
        settle().await;
        assert_eq!(script.opened.get(), 2);
        stage.tell(view(2));
        assert_eq!(chosen(stage.order().await), (2, 0));
        assert!(stage.metric(r#"rillway_rule_faults_total{kind="layers"} 0"#));
    });
}

#[test]
fn a_room_in_which_nothing_happens_changes_versions_too() {
    local(async {
        let (mut stage, script) = stage(vec![], 8);
        stage.open();
        stage.order().await;
        stage.tell(view(1));
        assert_eq!(chosen(stage.order().await), (1, 0));
        script.reload.notify_one();
        assert_eq!(stage.order().await, RoomOrderKind::ShowAgain);
        settle().await;
        assert_eq!((script.opened.get(), script.dropped.get()), (2, 1));
        stage.tell(view(2));
        assert_eq!(chosen(stage.order().await), (2, 0));
        // A view that the old one did not take is seen by the new one.
        stage.tell(view(3));
        script.reload.notify_one();
        assert_eq!(stage.order().await, RoomOrderKind::ShowAgain);
        assert_eq!(chosen(stage.order().await), (3, 0));
        assert_eq!(*script.seen.borrow(), [1_000, 2_000, 3_000]);
        assert!(stage.metric(r#"rillway_rule_faults_total{kind="layers"} 0"#));
    });
}

#[test]
fn more_choices_than_subscriptions_are_a_fault() {
    local(async {
        let (mut stage, _) = stage(vec![Act::Choose(vec![choice(), choice()])], 8);
        stage.open();
        stage.order().await;
        stage.tell(view(1));
        assert_eq!(stage.order().await, RoomOrderKind::PolicyFailed);
    });
}

#[test]
fn a_full_worker_loses_choices_and_nothing_waits() {
    local(async {
        let (mut stage, script) = stage(vec![], 1);
        stage.open();
        settle().await;
        for sequence in 1..5 {
            stage.tell(view(sequence));
            settle().await;
        }
        assert_eq!(
            script.seen.borrow().len(),
            4,
            "the queue is full, but it is asked"
        );
        assert!(stage.metric("rillway_layer_answers_dropped_total 4"));
        stage.order().await;
        stage.tell(view(5));
        assert_eq!(chosen(stage.order().await), (5, 0));
    });
}

#[test]
fn rooms_of_a_dead_worker_end() {
    local(async {
        let (mut stage, script) = stage(vec![], 8);
        stage.open();
        stage.order().await;
        settle().await;
        stage.rules.worker_ended(WorkerId(1));
        settle().await;
        assert_eq!(script.dropped.get(), 0);
        stage.rules.worker_ended(WorkerId(0));
        settle().await;
        assert_eq!(script.dropped.get(), 1);
        assert!(stage.rules.parts.borrow().is_empty());
    });
}

fn track(id: u64) -> TrackInfo {
    let layer = |spatial, bitrate_bps| core::LayerInfo {
        spatial,
        temporal: 0,
        rid: None,
        width: 320,
        height: 180,
        fps: 30,
        bitrate_bps,
        active: true,
    };
    TrackInfo {
        id: id::TrackId(id),
        owner: ParticipantId(9),
        kind: core::MediaKind::Video,
        source: core::Source::Camera,
        codec: "VP8".to_owned(),
        muted: false,
        layers: vec![layer(0, 160_000), layer(1, 1_600_000)],
    }
}

/// A room whose policy has seen two tracks and two subscribers, and wants to be told changes from now on.
async fn sparing(acts: Vec<Act>) -> (Stage, Rc<Script>, RoomView) {
    let (mut stage, script) = stage(acts, 8);
    script.next.set(Scope::Changes);
    stage.open();
    stage.order().await;
    let mut room = room_view(1);
    room.tracks = vec![track(7), track(8)];
    let mut other = room.subscribers[0].clone();
    other.id = ParticipantId(2);
    room.subscribers.push(other);
    stage.tell(RoomEventKind::View(Box::new(room.clone())));
    assert_eq!(chosen(stage.order().await), (1, 0));
    let shown = script.shown.take();
    assert_eq!(shown.scope, Scope::Whole);
    assert_eq!((shown.tracks.len(), shown.subscribers.len()), (2, 2));
    (stage, script, room)
}

impl Stage {
    /// Shows the next view and returns what the policy was shown of it.
    async fn show(&mut self, script: &Script, room: &mut RoomView) -> View {
        room.sequence += 1;
        self.tell(RoomEventKind::View(Box::new(room.clone())));
        assert_eq!(chosen(self.order().await).0, room.sequence);
        script.shown.take()
    }
}

fn ids(view: &View) -> (Vec<u64>, Vec<u64>) {
    let tracks = view.tracks.iter().map(|track| track.id.0).collect();
    (tracks, view.subscribers.iter().map(|s| s.id.0).collect())
}

#[test]
fn who_wants_changes_is_told_what_is_new_changed_and_gone() {
    local(async {
        let (mut stage, script, mut room) = sparing(vec![]).await;
        room.now_ms = 5_000;
        room.speakers = vec![ParticipantId(2)];
        let shown = stage.show(&script, &mut room).await;
        let nothing = View {
            now_ms: 5_000,
            scope: Scope::Changes,
            subscriptions: 2,
            speakers: vec![types::ParticipantId(2)],
            ..View::default()
        };
        assert_eq!(shown, nothing, "of the rest nothing has changed");

        room.subscribers[1].subscriptions[0].wish.width = 320;
        let shown = stage.show(&script, &mut room).await;
        assert_eq!(ids(&shown), (vec![], vec![2]));
        assert_eq!(shown.subscribers[0].subscriptions[0].width, 320);
        room.subscribers[1].subscriptions[0].spatial = None;
        room.tracks[0].muted = true;
        let shown = stage.show(&script, &mut room).await;
        assert_eq!(ids(&shown), (vec![7], vec![2]));

        room.tracks.remove(0);
        room.tracks.push(track(3));
        room.subscribers.remove(0);
        let shown = stage.show(&script, &mut room).await;
        assert_eq!(ids(&shown), (vec![3], vec![]));
        assert_eq!(shown.tracks_gone, [types::TrackId(7)]);
        assert_eq!(shown.subscribers_gone, [types::ParticipantId(1)]);
        assert_eq!(shown.subscriptions, 1);
        // Whoever comes back is new.
        room.tracks.push(track(7));
        let shown = stage.show(&script, &mut room).await;
        assert_eq!(ids(&shown), (vec![7], vec![]));
        assert_eq!(
            (shown.tracks_gone, shown.subscribers_gone),
            (vec![], vec![])
        );
    });
}

#[test]
fn small_movements_are_told_when_they_add_up() {
    local(async {
        let (mut stage, script, mut room) = sparing(vec![]).await;
        // Of an estimate of 500 kb/s, in steps of 2 %: a sixteenth is passed at the fourth.
        for (estimate, told) in [(510, 0), (520, 0), (530, 0), (540, 1), (550, 0)] {
            room.subscribers[0].estimate_bps = Some(estimate * 1_000);
            let shown = stage.show(&script, &mut room).await;
            assert_eq!(shown.subscribers.len(), told, "{estimate} kb/s");
        }
        room.subscribers[0].estimate_bps = None;
        assert_eq!(stage.show(&script, &mut room).await.subscribers.len(), 1);
        for (audio, rtt, loss, told) in [
            (38_000, 28, 9, 0),
            (41_000, 20, 3, 1),
            (41_000, 31, 3, 1),
            (41_000, 31, 14, 1),
            (0, 31, 14, 1),
        ] {
            let subscriber = &mut room.subscribers[0];
            (subscriber.audio_bps, subscriber.rtt_ms) = (audio, rtt);
            subscriber.loss_permille = loss;
            let shown = stage.show(&script, &mut room).await;
            assert_eq!(shown.subscribers.len(), told, "{audio} {rtt} {loss}");
        }
        for (bps, fps, told) in [
            (1_690_000, 31, 0),
            (1_710_000, 30, 1),
            (1_710_000, 27, 1),
            (0, 27, 1),
        ] {
            let layer = &mut room.tracks[1].layers[1];
            (layer.bitrate_bps, layer.fps) = (bps, fps);
            let shown = stage.show(&script, &mut room).await;
            assert_eq!(ids(&shown).0, vec![8; told], "{bps} {fps}");
        }
    });
}

#[test]
fn a_new_instance_and_one_that_asks_for_it_are_shown_the_whole_room() {
    local(async {
        let nothing = || Act::Choose(vec![]);
        let trap = Act::Fault(RuleFault::Failed("trap".to_owned()));
        let (mut stage, script, mut room) = sparing(vec![nothing(), nothing(), trap]).await;
        assert_eq!(stage.show(&script, &mut room).await.scope, Scope::Changes);
        room.sequence += 1;
        stage.tell(RoomEventKind::View(Box::new(room.clone())));
        assert_eq!(stage.order().await, RoomOrderKind::PolicyFailed);
        let shown = stage.show(&script, &mut room).await;
        assert_eq!((shown.scope, shown.tracks.len()), (Scope::Whole, 2));
        script.next.set(Scope::Whole);
        assert_eq!(stage.show(&script, &mut room).await.scope, Scope::Changes);
        for _ in 0..2 {
            let shown = stage.show(&script, &mut room).await;
            assert_eq!((shown.scope, shown.tracks.len()), (Scope::Whole, 2));
        }
    });
}

#[test]
fn choices_for_subscriptions_that_were_not_shown_again_count() {
    local(async {
        let (acts, both) = (vec![choice(), choice()], vec![choice(); 3]);
        let acts = vec![Act::Choose(vec![]), Act::Choose(acts), Act::Choose(both)];
        let (mut stage, script, mut room) = sparing(acts).await;
        assert!(stage.show(&script, &mut room).await.subscribers.is_empty());
        room.sequence += 1;
        stage.tell(RoomEventKind::View(Box::new(room)));
        assert_eq!(
            stage.order().await,
            RoomOrderKind::PolicyFailed,
            "three of two"
        );
    });
}
