use clap::Parser;
use rillway_load::report::{Health, Joins, Times};

use super::*;

#[derive(Debug, Parser)]
struct Only {
    #[command(flatten)]
    load: Load,
}

fn load(arguments: &str) -> Load {
    let arguments = std::iter::once("load").chain(arguments.split_whitespace());
    Only::try_parse_from(arguments).expect("arguments").load
}

#[test]
fn without_arguments_it_is_a_broadcast_on_this_machine() {
    let plan = load("").plan().expect("a plan");
    assert_eq!(plan.server.to_string(), "http://127.0.0.1:8080");
    let expected = Shape::Broadcast {
        publishers: 1,
        players: 50,
    };
    assert_eq!((plan.shape, plan.protocol), (expected, Protocol::Rooms));
    assert!(plan.media.audio && plan.media.video.is_some_and(|v| !v.paced));
}

#[test]
fn arguments_of_another_shape_are_refused() {
    for (arguments, words) in [
        ("--size 3", "--size is not for --shape broadcast"),
        ("--shape meeting --players 3", "take --size"),
        (
            "--shape meeting --rooms 3",
            "--rooms is not for --shape meeting",
        ),
        ("--shape rooms --publishers 2", "take --rooms and --size"),
    ] {
        let error = load(arguments).plan().expect_err(arguments);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_code(), super::super::EXIT_USAGE);
    }
    let error = load("--protocol whip --shape meeting")
        .plan()
        .expect_err("WHEP");
    assert!(error.to_string().contains("--shape rooms"), "{error}");
    let plan = load("--shape rooms --rooms 3 --size 2 --media audio").plan();
    let plan = plan.expect("a plan");
    assert_eq!(plan.shape, Shape::Rooms { rooms: 3, size: 2 });
    assert_eq!(plan.media.video, None);
}

#[test]
fn rates_and_shares_have_bounds() {
    assert_eq!(bits("2.5M"), Ok(2_500_000));
    assert_eq!(bits("600k"), Ok(600_000));
    assert_eq!(bits("64000"), Ok(64_000));
    for bad in ["", "k", "1", "2G", "-1M", "9999M"] {
        assert!(bits(bad).is_err(), "{bad}");
    }
    assert_eq!(percent("0.1"), Ok(Percent(100)));
    assert!(percent("101").is_err() && percent("x").is_err());
}

fn found(sent: u64, delivered: u64, joined: u64) -> Report {
    let mut report = Report::default();
    report.delivery.sent = sent;
    report.delivery.expected = sent;
    report.delivery.delivered = delivered;
    report.delivery.lost = sent - delivered;
    report.delivery.loss_percent = (sent - delivered) as f64 / sent.max(1) as f64 * 100.0;
    report.joins = Joins {
        clients: 10,
        joined,
        ..Joins::default()
    };
    report
}

#[test]
fn the_verdict_is_by_what_was_delivered() {
    let strict = load("--max-loss 1");
    let lax = load("");
    let code = |load: &Load, report: &Report| load.verdict(report).map(|e| e.exit_code());
    assert_eq!(code(&lax, &found(0, 0, 10)), Some(1));
    assert_eq!(code(&lax, &found(100, 0, 10)), Some(1));
    assert_eq!(code(&lax, &found(100, 50, 9)), None);
    assert_eq!(code(&strict, &found(100, 99, 10)), None);
    assert_eq!(code(&strict, &found(100, 98, 10)), Some(1));
    assert_eq!(code(&strict, &found(100, 100, 9)), Some(1));
}

#[test]
fn the_report_has_what_was_found_and_what_is_doubtful() {
    let mut report = found(1_000, 990, 10);
    let times = Times {
        count: 990,
        p50: 0.5,
        p99: 12.25,
        p999: 20.0,
        max: 31.0,
    };
    report.latency.all_ms = times;
    report
        .joins
        .failures
        .insert("no\u{1b}[2J token".to_owned(), 2);
    report.warnings.push("it was busy".to_owned());
    report.swarm = Health {
        threads: vec![rillway_load::report::ThreadHealth::default()],
        ..Health::default()
    };
    let text = table::report(&report);
    for part in [
        "10 (1.000 %)",
        "all, write to read",
        "0.50",
        "12.2",
        "failed: 2 × no[2J token",
        "warning: it was busy",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("audio, write"), "nothing of it was measured");
    assert!(!text.contains("PROCESS"), "nothing was watched");
}
