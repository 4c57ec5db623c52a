//! What is written, and what is left out.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::config::Config;

/// Standard error of a test.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines written by `work` with this format and filter, its clock starting at 0.
fn lines(
    format: LogFormat,
    filter: &str,
    colour: bool,
    rate: RateLimit,
    work: impl FnOnce(),
) -> Vec<String> {
    let page = Page::default();
    let mut log = Config::dev().log;
    log.format = format;
    log.filter = filter.to_owned();
    let writer = page.clone();
    let filter = directives(&log.filter).and(rate);
    let layer = layer(log.format, filter, colour, move || writer.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8(bytes.clone())
        .expect("UTF-8")
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}

/// A clock for one test: each names its own, as tests run side by side.
macro_rules! clock {
    ($name:ident) => {
        static $name: AtomicU64 = AtomicU64::new(0);
    };
}

macro_rules! limit {
    ($name:ident) => {
        RateLimit::new(|| Duration::from_millis($name.load(Ordering::Relaxed)))
    };
}

#[test]
fn one_line_per_cause_and_second() {
    clock!(NOW);
    let lines = lines(LogFormat::Human, "info", false, limit!(NOW), || {
        let flood = || tracing::warn!("bad datagram");
        for ms in 0..2_500 {
            NOW.store(ms, Ordering::Relaxed);
            flood();
            if ms == 10 {
                tracing::warn!("another call site");
            }
        }
    });
    let [first, other, second, third] = lines.as_slice() else {
        panic!("{lines:#?}")
    };
    assert!(
        first.contains("bad datagram") && !first.contains("left_out"),
        "{first}"
    );
    assert!(other.contains("another call site"), "{other}");
    assert!(
        second.ends_with("left_out=999") && third.ends_with("left_out=999"),
        "{lines:#?}"
    );
}

#[test]
fn cause_and_worker_tell_lines_of_one_place_apart_and_nothing_else_does() {
    clock!(NOW);
    let lines = lines(LogFormat::Human, "info", false, limit!(NOW), || {
        for worker in 0..3_u64 {
            tracing::info!(worker, "started");
        }
        for cause in ["origin", "rate", "origin"] {
            tracing::info!(cause, "refused");
        }
        for peer in 0..50 {
            tracing::info!(peer, "from a peer");
        }
    });
    let count = |what: &str| lines.iter().filter(|l| l.contains(what)).count();
    assert_eq!(
        (count("started"), count("refused"), count("from a peer")),
        (3, 2, 1),
        "{lines:#?}"
    );
}

#[test]
fn json_lines_are_json_with_the_count() {
    clock!(NOW);
    let lines = lines(LogFormat::Json, "info", true, limit!(NOW), || {
        let warn = || tracing::warn!(worker = 1_u64, "a \"quoted\" word");
        warn();
        warn();
        NOW.store(1_000, Ordering::Relaxed);
        warn();
    });
    let parsed = lines
        .iter()
        .map(|l| serde_json::from_str::<Value>(l).expect(l))
        .collect::<Vec<_>>();
    assert_eq!(parsed.len(), 2);
    for line in &parsed {
        assert_eq!(
            (&line["level"], &line["worker"]),
            (&"WARN".into(), &1.into())
        );
        assert_eq!(line["message"], "a \"quoted\" word");
        assert!(line["timestamp"].is_string() && line["target"].is_string());
    }
    assert_eq!(
        (&parsed[0]["left_out"], &parsed[1]["left_out"]),
        (&Value::Null, &1.into())
    );
}

#[test]
fn debugging_is_not_limited_and_the_filter_holds() {
    clock!(NOW);
    let work = || {
        for n in 0..5 {
            tracing::debug!(n, "detail");
            tracing::info!(target: "elsewhere", n, "noise");
        }
    };
    let all = lines(LogFormat::Human, "rillway=debug", false, limit!(NOW), work);
    assert_eq!(all.len(), 5, "{all:#?}");
    assert_eq!(
        lines(LogFormat::Human, "info", false, limit!(NOW), work).len(),
        1
    );
    assert!(lines(LogFormat::Human, "off", false, limit!(NOW), work).is_empty());
}

#[test]
fn colour_only_where_asked_for() {
    clock!(NOW);
    let line = |colour| {
        lines(LogFormat::Human, "info", colour, limit!(NOW), || {
            tracing::info!("x");
        })
        .concat()
    };
    assert!(line(true).contains('\u{1b}') && !line(false).contains('\u{1b}'));
}

#[test]
fn causes_are_bounded() {
    clock!(NOW);
    let rate = limit!(NOW);
    let passed = (0..10_000)
        .filter(|cause| rate.pass(*cause).is_some())
        .count();
    assert_eq!(
        passed, 4_096,
        "more at once than there are causes in the code"
    );
    NOW.store(1_000, Ordering::Relaxed);
    assert_eq!(rate.pass(20_000), Some(0), "earlier seconds make room");
}

#[test]
fn filters_are_checked() {
    check_filter("info,rillway::gateway=debug").expect("valid");
    check_filter("rillway=loud").expect_err("no such level");
}

#[test]
fn panics_are_lines_of_their_own_place() {
    clock!(NOW);
    let lines = lines(LogFormat::Json, "info", false, limit!(NOW), || {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(log_panic));
        for _ in 0..3 {
            let _ = std::panic::catch_unwind(|| panic!("{} {}", "one\nplace", 1));
        }
        let _ = std::panic::catch_unwind(|| panic!("another place"));
        std::panic::set_hook(before);
    });
    let parsed = lines
        .iter()
        .map(|l| serde_json::from_str::<Value>(l).expect(l))
        .collect::<Vec<_>>();
    let [one, another] = parsed.as_slice() else {
        panic!("{lines:#?}")
    };
    assert_eq!(
        (&one["panic"], &another["panic"]),
        (&"one\nplace 1".into(), &"another place".into())
    );
    assert!(
        one["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("tests.rs:")),
        "{one}"
    );
}

#[test]
fn nobody_can_forge_a_line() {
    clock!(NOW);
    let lines = lines(LogFormat::Human, "info", true, limit!(NOW), || {
        let name = "x\r\n2026-01-01T00:00:00Z  INFO rillway: all is well \u{1b}[2K";
        tracing::warn!(%name, "refused");
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[1].starts_with("    2026-01-01") && lines[0].ends_with("x\\r"),
        "{lines:#?}"
    );
    assert!(!lines[1].contains("\u{1b}[2K"), "{lines:#?}");
}
