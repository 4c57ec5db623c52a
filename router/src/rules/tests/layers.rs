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

    fn choose(&mut self, view: View) -> LocalBoxFuture<'_, Result<Vec<Choice>, RuleFault>> {
        self.0.seen.borrow_mut().push(view.now_ms);
        let act = self.0.acts.borrow_mut().pop_front();
        Box::pin(async move {
            match act {
                None => Ok(Vec::new()),
                Some(Act::Choose(choices)) => Ok(choices),
                Some(Act::Fault(fault)) => Err(fault),
                Some(Act::Wait(notify)) => {
                    notify.notified().await;
                    Ok(Vec::new())
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
            every: EVERY,
        }),
        retry: RETRY,
        ..RuleSet::default()
    };
    (Stage::new(set, queue), script)
}

/// A view of one subscription.
fn view(sequence: u64) -> RoomEventKind {
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
    RoomEventKind::View(Box::new(RoomView {
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
    }))
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
        assert!(stage.rules.rooms.borrow().is_empty());
        assert!(stage.rules.by_name.borrow().is_empty());
    });
}
