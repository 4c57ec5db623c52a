//! Pictures of fixed samples. `RILLWAY_WRITE=1` writes them anew.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Link, News, Place};
use super::*;
use crate::management::wire::{
    Decision, DropSample, Latency, LatencyBucket, Layer, Network, Participant, ParticipantSample,
    PluginSample, Reason, RecordingSample, RoomDetail, RoomSample, Sample, Subscription,
    SubscriptionSample, Track, Transport, Wish, WorkerSample,
};

fn worker(id: u32, busy: f64, micros: u64) -> WorkerSample {
    let bucket = |up_to_us, count| LatencyBucket { up_to_us, count };
    WorkerSample {
        id,
        driver: "ring".to_owned(),
        over_ms: 1_000,
        busy,
        rooms: 2,
        participants: 12,
        tracks: 24,
        subscriptions: 132,
        turns_per_second: 900.0,
        turn_mean_us: 123.4,
        turn_p99_us: 500,
        batch_mean: 3.25,
        queue_depth: u64::from(id),
        packets_received_per_second: 1_200.0,
        packets_forwarded_per_second: 9_600.0,
        received_bps: 9_800_000,
        sent_bps: 88_000_000,
        drops: vec![DropSample {
            cause: "refused".to_owned(),
            total: 7,
            per_second: f64::from(id),
        }],
        forwarding: Some(Latency {
            count: 100,
            p50_us: micros,
            p99_us: micros * 10,
            buckets: vec![bucket(micros, 98), bucket(micros * 10, 2)],
            ..Latency::default()
        }),
    }
}

fn room(name: &str, sent_bps: u64, loss_permille: f64) -> RoomSample {
    RoomSample {
        name: name.to_owned(),
        participants: 6,
        tracks: 12,
        subscriptions: 60,
        received_bps: sent_bps / 5,
        sent_bps,
        packets_received_per_second: 500.0,
        packets_sent_per_second: 2_500.0,
        loss_permille,
        ..RoomSample::default()
    }
}

fn person(id: &str, name: &str, state: &str) -> ParticipantSample {
    let transport = Transport {
        state: state.to_owned(),
        network: Some(network()),
        ..Transport::default()
    };
    ParticipantSample {
        participant: Some(Participant {
            id: id.to_owned(),
            identity: name.to_lowercase(),
            name: name.to_owned(),
            subscribe: Some(transport),
            subscriptions: 2,
            ..Participant::default()
        }),
        received_bps: 1_400_000,
        sent_bps: 2_600_000,
        loss_permille: 31.0,
    }
}

fn network() -> Network {
    Network {
        round_trip_time_ms: Some(42),
        available_outgoing_bps: Some(1_800_000),
        delay_bps: Some(1_800_000),
        loss_bps: None,
        probe_bps: Some(2_100_000),
        ..Network::default()
    }
}

fn subscription(track: &str, kind: &str, state: &str) -> Subscription {
    Subscription {
        room: "standup".to_owned(),
        participant: "a1".to_owned(),
        identity: "ada".to_owned(),
        track: track.to_owned(),
        publisher: "b2".to_owned(),
        publisher_identity: "bob".to_owned(),
        kind: kind.to_owned(),
        state: state.to_owned(),
        spatial: Some(1),
        target: Some(2),
        wish: Some(Wish {
            width: 1_280,
            height: 720,
            priority: 10,
            ..Wish::default()
        }),
        ..Subscription::default()
    }
}

fn track(id: &str, kind: &str, source: &str) -> Track {
    let layer = |spatial: u32, rid: &str, active| Layer {
        spatial,
        rid: rid.to_owned(),
        width: 320 << spatial,
        height: 180 << spatial,
        fps: 15,
        bitrate_bps: 150_000 << (2 * spatial),
        active,
    };
    Track {
        id: id.to_owned(),
        identity: "bob".to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        layers: vec![
            layer(0, "q", true),
            layer(1, "h", true),
            layer(2, "f", false),
        ],
        ..Track::default()
    }
}

fn sample() -> Sample {
    let plugin = |name: &str, kind: &str, breaker: &str, mean: f64| PluginSample {
        name: name.to_owned(),
        kind: kind.to_owned(),
        version: "0.1.0-abc".to_owned(),
        breaker: breaker.to_owned(),
        calls: 4_000,
        faults: 3,
        calls_per_second: 12.5,
        call_mean_us: mean,
        call_p99_us: 70,
        budget_us: 5_000,
        instances: 2,
        memory_bytes: 3 << 20,
        ..PluginSample::default()
    };
    let forwarded = |one: Subscription, forwarded_bps| SubscriptionSample {
        subscription: Some(one),
        forwarded_bps,
    };
    Sample {
        uptime_ms: 3_725_000,
        over_ms: 1_000,
        phase: "serving".to_owned(),
        version: "0.1.0".to_owned(),
        workers: vec![worker(0, 0.125, 45), worker(1, 0.95, 60)],
        rooms: vec![
            room("standup", 40_000_000, 2.0),
            room("all hands", 48_000_000, 31.0),
            room("empty\u{1b}[2J", 0, 0.0),
        ],
        rooms_open: 3,
        plugins: vec![
            plugin("layers-adaptive", "layer-selection", "closed", 32.0),
            plugin("auth-ours", "authentication", "open", 410.0),
        ],
        recording: Some(RecordingSample {
            tracks: 2,
            ..RecordingSample::default()
        }),
        memory_bytes: 120 << 20,
        room: Some(RoomDetail {
            name: "standup".to_owned(),
            participants: vec![
                person("a1", "Ada", "connected"),
                person("b2", "Bob", "disconnected"),
            ],
            tracks: vec![
                track("c3", "video", "camera"),
                track("d4", "audio", "microphone"),
            ],
            subscriptions: vec![
                forwarded(subscription("c3", "video", "held"), 600_000),
                forwarded(subscription("d4", "audio", "forwarding"), 32_000),
            ],
            cut: false,
        }),
        ..Sample::default()
    }
}

fn reasons() -> Vec<Reason> {
    let decision = |age_ms, outcome: &str| Decision {
        age_ms,
        policy: "layers-adaptive 0.1.0-abc".to_owned(),
        reason: "speaks, and is shown large".to_owned(),
        outcome: outcome.to_owned(),
        ..Decision::default()
    };
    vec![Reason {
        subscription: Some(subscription("c3", "video", "held")),
        track: Some(track("c3", "video", "camera")),
        network: Some(network()),
        audio_bps: 32_000,
        decisions: vec![
            decision(9_300, "layer 2 is wanted, and it fits the estimate"),
            decision(
                400,
                "layer 2 is wanted; the estimate leaves room for layer 1",
            ),
        ],
    }]
}

fn model() -> Model {
    let mut model = Model::new(None);
    model.news(News::Connected("127.0.0.1:7443".to_owned()));
    for latency in [45, 50, 400, 60] {
        let mut sample = sample();
        sample.workers = vec![worker(0, 0.125, latency), worker(1, 0.95, 60)];
        model.news(News::Sample(Box::new(sample)));
    }
    model
}

fn press(model: &mut Model, keys: &[KeyCode]) -> bool {
    keys.iter()
        .all(|key| model.key(KeyEvent::new(*key, KeyModifiers::NONE)))
}

fn drawn(model: &mut Model, (width, height): (u16, u16), coloured: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no device");
    let palette = Palette { coloured };
    let shown = terminal.draw(|frame| draw(frame.area(), frame.buffer_mut(), model, palette));
    shown.expect("no device");
    terminal
}

fn text(model: &mut Model, size: (u16, u16)) -> String {
    let terminal = drawn(model, size, true);
    lines(terminal.backend().buffer()).join("\n") + "\n"
}

/// Compares with the picture that is kept.
fn check(name: &str, model: &mut Model) {
    let text = text(model, (80, 24));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/top/pictures");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("RILLWAY_WRITE").is_some() {
        std::fs::write(&path, &text).expect("our source");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name}: RILLWAY_WRITE=1 writes it anew");
}

#[test]
fn every_place_has_its_picture() {
    let mut model = model();
    check("rooms", &mut model);
    press(&mut model, &[KeyCode::Char('2')]);
    check("workers", &mut model);
    press(&mut model, &[KeyCode::Char('3')]);
    check("plugins", &mut model);
    press(&mut model, &[KeyCode::Tab, KeyCode::Down, KeyCode::Enter]);
    assert_eq!(model.place(), Place::Room("standup".to_owned()));
    assert_eq!(model.wanted().room, "standup");
    check("room", &mut model);
    press(&mut model, &[KeyCode::Enter]);
    check("person", &mut model);
    press(&mut model, &[KeyCode::Enter]);
    let why = model.wanted().why.expect("reasons are wanted");
    assert_eq!((&*why.participant, &*why.track), ("a1", "c3"));
    for _ in 0..3 {
        model.news(News::Sample(Box::new(sample())));
    }
    model.news(News::Reasons(Ok(reasons())));
    check("why", &mut model);
    press(&mut model, &[KeyCode::Char('?')]);
    check("help", &mut model);
}

#[test]
fn the_document_shows_what_it_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/management.md");
    let document = std::fs::read_to_string(path).expect("our document");
    let shown = text(&mut model(), (80, 24));
    assert!(
        document.contains(&format!("```text\n{shown}```")),
        "{shown}"
    );
}

#[test]
fn esc_leads_back_and_out() {
    let mut model = model();
    assert!(press(
        &mut model,
        &[KeyCode::Down, KeyCode::Enter, KeyCode::Enter, KeyCode::Esc]
    ));
    assert!(matches!(model.place(), Place::Room(_)));
    assert!(press(&mut model, &[KeyCode::Esc, KeyCode::Backspace]));
    assert_eq!(model.place(), Place::Rooms);
    assert!(!press(&mut model, &[KeyCode::Esc]));
    assert!(!press(&mut model, &[KeyCode::Char('q')]));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!model.key(interrupt));
}

#[test]
fn a_filter_is_typed_and_taken_back() {
    let mut model = model();
    press(&mut model, &[KeyCode::Char('/')]);
    press(
        &mut model,
        &"stq".chars().map(KeyCode::Char).collect::<Vec<_>>(),
    );
    assert!(text(&mut model, (80, 24)).contains("nothing has `stq` in it"));
    press(&mut model, &[KeyCode::Backspace, KeyCode::Enter]);
    let shown = text(&mut model, (80, 24));
    assert!(
        shown.contains("standup") && !shown.contains("all hands"),
        "{shown}"
    );
    assert!(
        press(&mut model, &[KeyCode::Esc]),
        "it takes the filter back, no more"
    );
    assert!(text(&mut model, (80, 24)).contains("all hands"));
}

#[test]
fn a_small_terminal_is_told_so() {
    let mut model = model();
    let shown = text(&mut model, (60, 10));
    assert!(shown.contains("60 x 10 cells"), "{shown}");
    for size in [(1, 1), (78, 16), (79, 17), (200, 60)] {
        let _ = text(&mut model, size);
    }
}

#[test]
fn a_router_that_is_gone_is_waited_for() {
    let mut model = model();
    model.news(News::Gone("no router answers at 127.0.0.1:7443".to_owned()));
    let shown = text(&mut model, (80, 24));
    assert!(shown.contains("no router answers at 127.0.0.1:7443 - trying again (0 s)"));
    assert!(shown.contains("standup"), "the last numbers stay");
    model.news(News::Connected("127.0.0.1:7444".to_owned()));
    assert_eq!(model.link, Link::Up);
    assert!(text(&mut model, (80, 24)).contains("the first numbers come"));
}

#[test]
fn a_router_that_closes_leaves_its_last_whole_picture() {
    let mut model = model();
    let shown = model.sample.clone().expect("a sample");
    let mut last = sample();
    last.phase = "closing".to_owned();
    last.workers.clear();
    last.rooms.clear();
    last.room = None;
    last.silent_workers = vec![0, 1];
    model.news(News::Sample(Box::new(last.clone())));
    let kept = model.sample.clone().expect("a sample");
    assert_eq!(kept.phase, "closing");
    assert_eq!(kept.rooms, shown.rooms);
    assert_eq!(kept.workers, shown.workers);
    // One that serves and has a worker that does not answer says so.
    last.phase = "serving".to_owned();
    model.news(News::Sample(Box::new(last.clone())));
    assert_eq!(model.sample.as_deref(), Some(&last));
}

#[test]
fn without_colours_nothing_is_coloured() {
    use ratatui::style::Color;
    let mut model = model();
    let colours = |coloured, model: &mut Model| {
        let terminal = drawn(model, (80, 24), coloured);
        let cells = &terminal.backend().buffer().content;
        cells
            .iter()
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert_eq!(colours(false, &mut model), 0);
    assert!(colours(true, &mut model) > 10);
}

#[test]
fn one_picture_has_all_rows_and_no_keys() {
    let mut model = Model::new(None);
    let mut sample = sample();
    sample.rooms = (0..100)
        .map(|n| room(&format!("room {n:02}"), n, 0.0))
        .collect();
    model.news(News::Sample(Box::new(sample)));
    let text = picture(&mut model);
    assert!(text.contains("room 00") && text.contains("room 99"));
    assert!(
        !text.contains("q quit") && !text.contains(" of 100"),
        "{text}"
    );
}
