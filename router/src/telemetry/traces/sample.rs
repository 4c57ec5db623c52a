//! Which traces are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
#[cfg(test)]
use opentelemetry_sdk::trace::SamplingDecision;
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

/// So many of a thousand traces, chosen by their ids, so that every service keeps the same ones.
///
/// Clients are strangers: one whose `traceparent` says that its trace is kept does not get more than its share; one
/// that says it is not kept is believed.
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<AtomicU16>);

impl Share {
    pub(super) fn new(permille: u16) -> Share {
        Share(Arc::new(AtomicU16::new(permille)))
    }

    pub(super) fn set(&self, permille: u16) {
        self.0.store(permille, Relaxed);
    }
}

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let before = parent.map(|context| context.span().span_context().clone());
        let before = before.filter(|context| context.is_valid());
        let inherited = match &before {
            Some(context) if !context.is_sampled() => Some(Sampler::AlwaysOff),
            Some(context) if !context.is_remote() => Some(Sampler::AlwaysOn),
            _ => None,
        };
        let share = f64::from(self.0.load(Relaxed)) / 1_000.0;
        let sampler = inherited.unwrap_or(Sampler::TraceIdRatioBased(share));
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}

/// Whether a result keeps the span.
#[cfg(test)]
pub(super) fn keeps(result: &SamplingResult) -> bool {
    result.decision == SamplingDecision::RecordAndSample
}
