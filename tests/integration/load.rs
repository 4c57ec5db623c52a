//! `rillway load` against a router in this process: every protocol and shape, and what can be wrong.

use clap::Parser as _;
use rillway::Running;
use rillway::cli::load::{LoadCommandError, Loaded};
use rillway::cli::{Action, Arguments};
use serde_json::{Value, json};

use crate::policies::{BY_TOKEN, SECRET, in_an_hour, token};
use crate::router::start;
use crate::site::Site;

/// Runs it with what is common to all.
async fn load(url: String, arguments: &str) -> Result<Loaded, LoadCommandError> {
    let common = "--bitrate 300k --duration 2s --warmup 2s --joins-per-second 20";
    let line = format!("rillway load {url} {common} {arguments}");
    let run = tokio::task::spawn_blocking(move || {
        let arguments = Arguments::parse_from(line.split_whitespace()).action();
        let Action::Load(load) = arguments.expect("arguments") else {
            panic!("it is load");
        };
        load.run()
    });
    run.await.expect("it does not panic")
}

fn url(router: &Running) -> String {
    format!("http://{}", router.gateway_address())
}

/// The report of a run that went well.
async fn report(router: &Running, arguments: &str) -> Value {
    let loaded = load(url(router), &format!("{arguments} --json -")).await;
    let loaded = loaded.unwrap_or_else(|error| panic!("{arguments}: {error}"));
    assert!(loaded.failed.is_none(), "{arguments}: {loaded:?}");
    serde_json::from_str(&loaded.text).expect("JSON")
}

fn number(report: &Value, pointer: &str) -> u64 {
    let number = report.pointer(pointer).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("{pointer} in {report:#}"))
}

/// A run with so many clients, in which each packet is for so many.
async fn delivers(router: &Running, arguments: &str, clients: u64, each: u64) {
    let report = report(router, arguments).await;
    let of = |pointer| number(&report, pointer);
    assert_eq!(of("/joins/clients"), clients, "{arguments}");
    assert_eq!(of("/joins/joined"), clients, "{arguments}: {report:#}");
    assert_eq!(of("/joins/failed"), 0, "{arguments}: {report:#}");
    assert_eq!(of("/joins/without_frame"), 0, "{arguments}: {report:#}");
    let (sent, expected) = (of("/delivery/sent"), of("/delivery/expected"));
    assert!(sent > 0, "{arguments}: {report:#}");
    assert_eq!(expected, sent * each, "{arguments}");
    assert_eq!(of("/delivery/strange"), 0, "{arguments}: {report:#}");
    let (delivered, lost) = (of("/delivery/delivered"), of("/delivery/lost"));
    assert_eq!(delivered + lost, expected, "{arguments}: {report:#}");
    let [missing, withheld] = ["/delivery/missing", "/delivery/withheld"].map(of);
    assert_eq!(missing + withheld, lost, "{arguments}: {report:#}");
    let measured = of("/latency/all_ms/count");
    assert_eq!(measured, delivered, "{arguments}: {report:#}");
    // A machine that is busy with other tests may make the router hold pictures for a time, which is not lost on the way.
    assert!(missing * 100 <= expected, "{arguments}: {report:#}");
    assert!(delivered * 2 >= expected, "{arguments}: {report:#}");
}

#[tokio::test]
async fn what_is_sent_in_rooms_is_delivered_in_every_shape() {
    let router = start(|_| {});
    for (arguments, clients, each) in [
        ("--players 5", 6, 5),
        ("--players 3 --publishers 2 --paced", 5, 3),
        ("--shape meeting --size 4", 4, 3),
        ("--shape rooms --rooms 2 --size 3 --threads 2", 6, 2),
        ("--players 2 --media audio", 3, 2),
    ] {
        delivers(&router, arguments, clients, each).await;
    }
}

#[tokio::test]
async fn what_is_published_by_whip_is_played_in_every_shape() {
    let router = start(|_| {});
    for (arguments, clients, each) in [
        ("--players 5 --no-gro", 6, 5),
        ("--shape rooms --rooms 2 --size 3", 6, 2),
        ("--players 2 --media video --burst 1", 3, 2),
    ] {
        let arguments = format!("--protocol whip {arguments}");
        delivers(&router, &arguments, clients, each).await;
    }
}

#[tokio::test]
async fn a_watched_process_and_a_bound_on_loss_are_in_the_verdict() {
    let router = start(|_| {});
    let watched = format!("--players 2 --watch {}", std::process::id());
    let report = report(&router, &watched).await;
    let pid = u64::from(std::process::id());
    assert_eq!(number(&report, "/watched/0/pid"), pid);
    assert!(number(&report, "/watched/0/resident") > 0);
    let used = report.pointer("/watched/0/us_per_packet");
    assert!(
        used.and_then(Value::as_f64).is_some_and(|used| used > 0.0),
        "{report:#}"
    );

    // Each reserves much memory for its components.
    drop(router);
    // Half of the clients find the room full.
    let router = start(|config| config.limits.participants_per_room = 3);
    let loaded = load(url(&router), "--players 5 --max-loss 50").await;
    let loaded = loaded.expect("three joined");
    let failed = loaded.failed.expect("not all joined");
    assert!(
        matches!(failed, LoadCommandError::Missing(3, 6)),
        "{failed}"
    );
    assert!(
        loaded
            .text
            .contains("failed: 3 × the server takes no more now"),
        "{}",
        loaded.text
    );
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let router = start(|_| {});
    let metrics = router.metrics_address().expect("metrics");
    for (url, arguments, words) in [
        ("http://127.0.0.1:1".to_owned(), "", "is the server running"),
        (
            format!("http://{metrics}"),
            "",
            "the rooms protocol at /signal/rooms is not here (404",
        ),
        (
            format!("http://{metrics}"),
            "--protocol whip",
            "WHIP at /whip/load is not here (404",
        ),
        (url(&router), "--watch 4294967295", "cannot be watched"),
    ] {
        let error = load(url, arguments).await.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn tokens_are_shown_and_asked_for() {
    let site = Site::new("load");
    site.secret("jwt.secret", SECRET);
    let router = site.run(BY_TOKEN);
    let claims = |number| {
        json!({
            "sub": format!("load-{number}"), "exp": in_an_hour(),
            "rillway": {"room": "stage", "publish": ["microphone", "camera"], "subscribe": true},
        })
    };
    let tokens = [0, 1, 2].map(|number| token(SECRET, &claims(number)));
    let file = site.0.join("tokens");
    std::fs::write(&file, tokens.join("\n")).expect("written");
    let by_file = format!("--token-file {} --players 2", file.display());
    for protocol in ["rooms", "whip"] {
        let with = format!("{by_file} --protocol {protocol}");
        let report = report(&router, &format!("{with} --room stage")).await;
        assert_eq!(number(&report, "/joins/joined"), 3, "{report:#}");
        let error = load(url(&router), &format!("{with} --room board")).await;
        let error = error.expect_err("another room").to_string();
        assert!(error.contains("is the token for this room"), "{error}");
        let error = load(url(&router), &format!("--protocol {protocol}")).await;
        let error = error.expect_err("no token");
        assert!(
            error.to_string().contains("give a token by --token"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 69);
    }
}
