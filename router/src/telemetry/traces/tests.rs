//! Which traces are kept, and where spans belong.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::ShouldSample as _;

use super::sample::{Share, keeps};
use super::{Place, Traces};
use crate::config;
use crate::telemetry::metrics::Registry;

fn kept(share: &Share, parent: Option<(bool, bool)>, id: u128) -> bool {
    let context = parent.map(|(remote, sampled)| {
        let flags = TraceFlags::default().with_sampled(sampled);
        let span = SpanId::from(7);
        let context = SpanContext::new(
            TraceId::from(id),
            span,
            flags,
            remote,
            TraceState::default(),
        );
        Context::new().with_remote_span_context(context)
    });
    let id = TraceId::from(id);
    keeps(&share.should_sample(context.as_ref(), id, "a", &SpanKind::Server, &[], &[]))
}

#[test]
fn a_client_cannot_make_itself_one_of_those_that_are_kept() {
    let (remote, local) = (true, false);
    let share = Share::new(100);
    // The share is chosen by the last bytes of the id.
    let ids: Vec<u128> = (0..1_000_u128)
        .map(|n| n * (u128::from(u64::MAX) / 1_000))
        .collect();
    let count = |parent| {
        ids.iter()
            .filter(|id| kept(&share, parent, **id + 1))
            .count()
    };
    let own = count(None);
    assert!((50..=150).contains(&own), "{own} of 1000");
    assert_eq!(count(Some((remote, true))), own, "it says it is kept");
    assert_eq!(count(Some((remote, false))), 0, "it says it is not");
    assert_eq!(count(Some((local, true))), 1_000, "below one that is kept");
    assert_eq!(count(Some((local, false))), 0);
    share.set(0);
    assert_eq!(count(None), 0);
    share.set(1_000);
    assert_eq!(count(Some((remote, true))), 1_000);
}

#[test]
fn without_a_collector_nothing_is_kept() {
    let (traces, export) = Traces::start(None, Registry::new().traces()).unwrap();
    assert!(export.is_none());
    let mut headers = HeaderMap::new();
    let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", HeaderValue::from_static(value));
    let place = traces.arrival(&headers);
    assert!(!place.is_kept() && !Place::default().is_kept());
    let mut span = place.request("a");
    span.set("b", true);
    span.fail("c");
    assert!(!span.is_kept() && !span.place().is_kept());
    assert!(!place.follow(SystemTime::now(), "d").is_kept());
}

#[test]
fn malformed_parents_are_no_parents_and_ends_are_counted() {
    let registry = Registry::new();
    let settings =
        config::Traces::for_tests("http://127.0.0.1:9/v1/traces", Duration::from_millis(100));
    let (traces, export) = Traces::start(Some(&settings), registry.traces()).unwrap();
    for value in [
        "",
        "00",
        "00-0-0-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(value));
        let span = traces.arrival(&headers).request("a");
        assert!(span.is_kept(), "a trace of its own");
    }
    // Nobody listens there: what is left is given up in a moment.
    drop(export);
    let text = registry.render();
    assert!(
        text.contains("rillway_trace_spans_total{result=\"failed\"} 4"),
        "{text}"
    );
}
