//! Spans, and where they belong. Without tracing all of it is nothing, and costs nothing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::{Live, Traces};

/// Longest text of an attribute, bytes.
const TEXT_BYTES_MAX: usize = 256;

/// What spans are made below: another span, a client's own trace, or nothing yet.
#[derive(Clone, Default)]
pub(crate) struct Place(Option<(Arc<Live>, Context)>);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is = if self.is_kept() { "kept" } else { "none" };
        write!(f, "Place({is})")
    }
}

/// One operation. It ends when it is dropped.
#[derive(Default)]
pub(crate) struct Span(Option<Box<Running>>);

struct Running {
    live: Arc<Live>,
    span: opentelemetry_sdk::trace::Span,
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Span({})", if self.is_kept() { "kept" } else { "none" })
    }
}

/// `traceparent` and `tracestate` (W3C Trace Context).
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

impl Traces {
    /// Where the spans of a request belong: in its sender's trace, if it names one.
    pub(crate) fn arrival(&self, headers: &HeaderMap) -> Place {
        let of = |live: &Arc<Live>| {
            let propagator = TraceContextPropagator::new();
            let context = propagator.extract_with_context(&Context::new(), &Headers(headers));
            (live.clone(), context)
        };
        Place(self.0.as_ref().map(of))
    }
}

impl Place {
    /// Whether what is made here is kept, or may be.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.as_ref().is_some_and(|(_, context)| {
            let span = context.span();
            !span.span_context().is_valid() || span.span_context().is_sampled()
        })
    }

    /// Begins an operation of our own.
    pub(crate) fn span(&self, name: impl Into<Cow<'static, str>>) -> Span {
        self.begin(name.into(), SpanKind::Internal, None)
    }

    /// Begins what another program asked for.
    pub(crate) fn request(&self, name: impl Into<Cow<'static, str>>) -> Span {
        self.begin(name.into(), SpanKind::Server, None)
    }

    /// An operation that began a while ago.
    pub(crate) fn since(&self, began: SystemTime, name: impl Into<Cow<'static, str>>) -> Span {
        self.begin(name.into(), SpanKind::Internal, Some(began))
    }

    fn begin(&self, name: Cow<'static, str>, kind: SpanKind, began: Option<SystemTime>) -> Span {
        let Some((live, context)) = self.0.as_ref().filter(|_| self.is_kept()) else {
            return Span::default();
        };
        let mut builder = live.tracer.span_builder(name).with_kind(kind);
        builder.start_time = began;
        let span = live.tracer.build_with_context(builder, context);
        let live = live.clone();
        Span(Some(Box::new(Running { live, span })))
    }

    /// The beginning of a trace of its own, which says that it follows from this place.
    pub(crate) fn follow(&self, began: SystemTime, name: impl Into<Cow<'static, str>>) -> Span {
        let Some((live, context)) = self.0.as_ref().filter(|_| self.is_kept()) else {
            return Span::default();
        };
        let before = context.span().span_context().clone();
        let mut builder = live.tracer.span_builder(name);
        builder = builder.with_kind(SpanKind::Server).with_start_time(began);
        if before.is_valid() {
            builder = builder.with_links(vec![Link::with_context(before)]);
        }
        let span = live.tracer.build_with_context(builder, &Context::new());
        let live = live.clone();
        Span(Some(Box::new(Running { live, span })))
    }
}

impl Span {
    /// Whether it is sent to a collector when it ends.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.as_ref().is_some_and(|r| r.span.is_recording())
    }

    /// Where spans below it belong.
    pub(crate) fn place(&self) -> Place {
        Place(self.0.as_ref().map(|running| {
            let context: SpanContext = running.span.span_context().clone();
            let context = Context::new().with_remote_span_context(context);
            (running.live.clone(), context)
        }))
    }

    /// Says something of it: no secret, no address, and no name that a person chose.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(running) = &mut self.0 {
            running
                .span
                .set_attribute(opentelemetry::KeyValue::new(key, value.into()));
        }
    }

    /// The same with text, which is cut.
    pub(crate) fn set_text(&mut self, key: &'static str, text: &str) {
        if self.is_kept() {
            let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
            self.set(key, text.to_owned());
        }
    }

    /// It did not do what it was for.
    pub(crate) fn fail(&mut self, why: &'static str) {
        if let Some(running) = &mut self.0 {
            running.span.set_status(Status::error(why));
        }
    }

    /// Ends it now.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}
