//! Recordings that happen: what goes to the core and to the recorder, and what comes back.

use super::recording::{Script, joined, published, stage, start, words};
use super::*;
use crate::rules::desk::ANNOUNCED_AFTER;

/// Starts what is published, and stops it when its publisher speaks.
fn eager(event: &Event) -> Result<Vec<Order>, RuleFault> {
    Ok(match event {
        Event::TrackPublished(track) => vec![start(track.id.0, "a")],
        Event::Speakers(_) => vec![Order::Stop(types::TrackId(7))],
        Event::Requested(request) if !request.start => vec![Order::Stop(types::TrackId(7))],
        _ => Vec::new(),
    })
}

/// A room whose policy is [`eager`], with the track 7 being recorded.
async fn recording() -> (Stage, Rc<Script>) {
    let (mut stage, script) = stage(eager);
    stage.open();
    stage.order().await;
    settle().await;
    stage.tell(joined(1));
    stage.tell(published(7));
    settle().await;
    assert_eq!(stage.order().await, RoomOrderKind::Record(id::TrackId(7)));
    assert_eq!(recorder_words(&stage), "start:7:i1:camera:a");
    words(&script);
    (stage, script)
}

/// What the recorder was ordered, in a word each.
fn recorder_words(stage: &Stage) -> String {
    let orders = stage.recorder.orders.take();
    let words = orders.iter().map(|order| match order {
        recorder::Order::Start(start) => {
            assert_eq!(&*start.room, "room");
            let (track, owner) = (start.track.0, &start.identity);
            format!("start:{track}:{owner}:{}:{}", start.source, start.name)
        }
        recorder::Order::Stop(track) => format!("stop:{}", track.0),
        recorder::Order::Bounds(bounds) => format!("bounds:{}", bounds.files_max),
        recorder::Order::RoomClosed(room) => format!("closed:{room}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn ended(track: u64) -> RoomEventKind {
    RoomEventKind::RecordingEnded(id::TrackId(track))
}

fn finished(track: u64) -> recorder::Event {
    recorder::Event::Finished(recorder::Finished {
        track: recorder::TrackId(track),
        name: "room/a.webm".to_owned(),
        bytes: 9,
        duration: Duration::from_millis(1_500),
        sha256: "ab".to_owned(),
        attributes: Vec::new(),
    })
}

fn failed(track: u64) -> recorder::Event {
    recorder::Event::Failed(
        recorder::TrackId(track),
        recorder::FailureCause::DiskFull,
        "the disk is full".to_owned(),
    )
}

#[test]
fn a_stop_goes_to_the_core_first_and_the_file_comes_back() {
    local(async {
        let (mut stage, script) = recording().await;
        stage.tell(RoomEventKind::Speakers(Vec::new()));
        settle().await;
        let stop = RoomOrderKind::StopRecording(id::TrackId(7));
        assert_eq!(stage.order().await, stop);
        assert_eq!(recorder_words(&stage), "", "packets may still come");
        stage.tell(ended(7));
        assert_eq!(recorder_words(&stage), "stop:7");
        stage.rules.on_recorder(finished(7));
        settle().await;
        assert_eq!(words(&script), "speak:0 file:7:room/a.webm");
        // And again.
        stage.tell(published(7));
        settle().await;
        assert_eq!(recorder_words(&stage), "start:7:i1:camera:a");
        let counted =
            |line: &str| stage.metric(&format!("rillway_recording_orders_total{{result=\"{line}"));
        assert!(counted("started\"} 2") && counted("stopped\"} 1"));
    });
}

#[test]
fn a_start_waits_for_a_stop_of_the_same_track() {
    local(async {
        let (mut stage, _script) = recording().await;
        stage.tell(RoomEventKind::Speakers(Vec::new()));
        stage.tell(published(7));
        settle().await;
        stage.order().await;
        assert_eq!(recorder_words(&stage), "");
        stage.tell(ended(7));
        settle().await;
        assert_eq!(recorder_words(&stage), "stop:7 start:7:i1:camera:a");
        assert_eq!(stage.order().await, RoomOrderKind::Record(id::TrackId(7)));
    });
}

#[test]
fn nothing_begins_in_a_room_that_closed_meanwhile() {
    local(async {
        let (mut stage, script) = recording().await;
        stage.tell(RoomEventKind::Speakers(Vec::new()));
        stage.tell(published(7));
        settle().await;
        stage.order().await;
        stage.tell(RoomEventKind::Closed);
        settle().await;
        assert_eq!(recorder_words(&stage), "stop:7 closed:room");
        assert!(stage.queue.try_recv().is_err());
        stage.rules.on_recorder(finished(7));
        settle().await;
        let seen = words(&script);
        assert!(
            seen.ends_with("closed") && seen.contains("file:7"),
            "{seen}"
        );
    });
}

#[test]
fn what_the_recorder_gives_up_ends_and_the_policy_hears_why() {
    local(async {
        let (mut stage, script) = recording().await;
        stage.rules.on_recorder(failed(7));
        settle().await;
        assert_eq!(words(&script), "failed:7:16");
        let stop = RoomOrderKind::StopRecording(id::TrackId(7));
        assert_eq!(stage.order().await, stop);
        stage.tell(ended(7));
        assert_eq!(recorder_words(&stage), "", "it knows");
        stage.rules.on_recorder(failed(8));
        settle().await;
        assert_eq!(words(&script), "", "of a track that nobody expects");
    });
}

#[test]
fn what_the_core_refuses_is_taken_back() {
    local(async {
        let (stage, script) = recording().await;
        let reason = "track 7 is not published".to_owned();
        stage.tell(RoomEventKind::RecordingRefused(id::TrackId(7), reason));
        settle().await;
        assert_eq!(recorder_words(&stage), "stop:7");
        assert_eq!(words(&script), "failed:7:24");
        assert_eq!(stage.rules.recorded("room"), None);
    });
}

#[test]
fn keyframes_that_the_recorder_needs_are_asked_for_while_it_records() {
    local(async {
        let (mut stage, _script) = recording().await;
        let wanted = || recorder::Event::KeyframeWanted(recorder::TrackId(7));
        stage.rules.on_recorder(wanted());
        let asked = RoomOrderKind::AskKeyframe(id::TrackId(7));
        assert_eq!(stage.order().await, asked);
        stage.tell(ended(7));
        stage.rules.on_recorder(wanted());
        settle().await;
        assert!(stage.queue.try_recv().is_err());
    });
}

#[test]
fn what_is_being_recorded_goes_on_when_the_policy_fails_or_changes() {
    local(async {
        let (mut stage, script) = recording().await;
        script.reload.notify_one();
        tokio::time::sleep(Duration::from_millis(5)).await;
        settle().await;
        assert_eq!(words(&script), "open:room +i1 track:7 rec:7=a");
        assert_eq!(recorder_words(&stage), "", "it is recorded already");
        assert!(stage.metric(r#"rillway_recording_orders_total{result="running"} 1"#));
        assert!(stage.queue.try_recv().is_err());
        let state = stage.rules.recorded("room").expect("a recording");
        assert_eq!(state.tracks, [types::TrackId(7)]);
        // Who comes after may end it.
        let asked = stage
            .rules
            .request_recording("room", ParticipantId(1), false);
        assert_eq!(asked.expect("a policy").await, Ok(Ok(())));
        let stop = RoomOrderKind::StopRecording(id::TrackId(7));
        assert_eq!(stage.order().await, stop);
    });
}

#[test]
fn the_policy_hears_of_the_last_files_before_the_end() {
    local(async {
        let (stage, script) = recording().await;
        stage.tell(ended(7));
        stage.tell(RoomEventKind::Unpublished(id::TrackId(7)));
        stage.tell(RoomEventKind::Closed);
        settle().await;
        assert_eq!(recorder_words(&stage), "stop:7 closed:room");
        assert_eq!(words(&script), "end:7");
        stage.rules.on_recorder(finished(7));
        settle().await;
        assert_eq!(words(&script), "file:7:room/a.webm closed");
        stage.rules.recordings_ended().await;
    });
}

#[test]
fn with_its_worker_a_room_ends_and_its_files_are_completed() {
    local(async {
        let (stage, script) = recording().await;
        stage.rules.worker_ended(WorkerId(0));
        settle().await;
        assert_eq!(recorder_words(&stage), "stop:7 closed:room");
        stage.rules.recorder_ended();
        settle().await;
        assert_eq!(words(&script), "closed");
        stage.rules.recordings_ended().await;
    });
}

#[test]
fn a_recorder_that_ends_is_a_failure_of_everything() {
    local(async {
        let (mut stage, script) = recording().await;
        stage.rules.recorder_ended();
        settle().await;
        assert_eq!(words(&script), "failed:7:22");
        let stop = RoomOrderKind::StopRecording(id::TrackId(7));
        assert_eq!(stage.order().await, stop);
        stage.tell(ended(7));
        stage.tell(published(8));
        settle().await;
        assert_eq!(words(&script), "track:8 failed:8:22");
    });
}

#[test]
fn a_busy_recorder_takes_no_start_and_loses_no_stop() {
    local(async {
        let (stage, script) = recording().await;
        stage.recorder.busy.set(true);
        stage.tell(ended(7));
        stage.tell(published(8));
        settle().await;
        assert_eq!(words(&script), "track:8 failed:8:51");
        stage.recorder.busy.set(false);
        stage.tell(published(9));
        settle().await;
        assert_eq!(words(&script), "track:9 failed:9:51", "nothing overtakes");
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if !stage.recorder.orders.borrow().is_empty() {
                break;
            }
        }
        assert_eq!(recorder_words(&stage), "stop:7");
    });
}

#[test]
fn the_room_is_told_once_for_what_changes_in_a_moment() {
    local(async {
        let (mut stage, _script) = recording().await;
        stage.tell(published(8));
        let asked = stage
            .rules
            .request_recording("room", ParticipantId(3), true);
        assert_eq!(asked.expect("a policy").await, Ok(Ok(())));
        stage.order().await;
        tokio::time::sleep(ANNOUNCED_AFTER * 2).await;
        settle().await;
        let told = stage.told.0.take();
        let [state] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(state.tracks, [types::TrackId(7), types::TrackId(8)]);
        assert_eq!(
            (state.active, state.by),
            (true, Some(types::ParticipantId(3)))
        );
        assert_eq!(stage.rules.recorded("room").as_ref(), Some(state));
        stage.tell(ended(7));
        stage.tell(ended(8));
        tokio::time::sleep(ANNOUNCED_AFTER * 2).await;
        settle().await;
        let over = RecordingState {
            active: false,
            by: None,
            tracks: Vec::new(),
        };
        assert_eq!(stage.told.0.take(), [over]);
        assert_eq!(stage.rules.recorded("room"), None);
    });
}

#[test]
fn containers_that_cannot_hold_a_track_are_refused_with_the_reason() {
    let wants = [
        ("H264", false, Container::Webm, "ask for the container mp4"),
        (
            "G722",
            false,
            Container::Mp4,
            "ask for the container rtp-dump",
        ),
        ("VP8", true, Container::Mp4, "end-to-end encrypted"),
        ("VP8", false, Container::Mp4, ""),
        ("opus", false, Container::Webm, ""),
        ("", false, Container::Webm, ""),
        ("G722", true, Container::RtpDump, ""),
    ];
    for (codec, encrypted, container, reason) in wants {
        let RoomEventKind::Published(mut info) = published(7) else {
            unreachable!("published");
        };
        info.codec = codec.to_owned();
        let mut track = crate::session::track_for_plugins(info);
        track.encrypted = encrypted;
        let Order::Start(mut start) = start(7, "a") else {
            unreachable!("a start");
        };
        start.container = container;
        match books::fits(&start, &track) {
            Ok(()) => assert_eq!(reason, "", "{codec}"),
            Err((_, why)) => assert!(!reason.is_empty() && why.contains(reason), "{why}"),
        }
    }
}
