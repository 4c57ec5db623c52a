//! Traces of the control plane by OpenTelemetry (`docs/traces.md`): a client's way from the gateway through plugins
//! to a media worker and back.
//!
//! Sessions and the gateway make spans ([`Span`]) where they belong ([`Place`]); when one ends it goes into a
//! bounded queue, and a thread of its own sends what is there to a collector ([`export`]). Media workers know
//! nothing of it: their part is what the control thread waits for.

mod client;
mod export;
mod sample;
mod span;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::config;
use crate::telemetry::metrics::TracesRecorder;

pub(crate) use export::Export;
pub(crate) use span::{Place, Span};

/// Makes spans, if they are wanted. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Traces(Option<Arc<Live>>);

struct Live {
    tracer: SdkTracer,
    share: sample::Share,
    headers: export::Headers,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Traces({})", if self.0.is_some() { "on" } else { "off" })
    }
}

impl Traces {
    /// Starts the thread that sends them, if there is where to.
    ///
    /// # Errors
    /// There is no thread, or no certificate authority for a collector behind TLS.
    pub(crate) fn start(
        settings: Option<&config::Traces>,
        recorder: TracesRecorder,
    ) -> std::io::Result<(Traces, Option<Export>)> {
        let Some(settings) = settings else {
            return Ok((Traces::default(), None));
        };
        let resource = resource(&settings.service_name);
        let headers = export::Headers::new(&settings.headers);
        let (export, queue) = export::start(settings, &resource, headers.clone(), recorder)?;
        let share = sample::Share::new(settings.sampled_permille);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(share.clone())
            .with_span_processor(queue)
            .build();
        let scope = InstrumentationScope::builder("rillway")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let live = Live {
            tracer: provider.tracer_with_scope(scope),
            share,
            headers,
        };
        Ok((Traces(Some(Arc::new(live))), Some(export)))
    }

    /// What a reload changes.
    pub(crate) fn set(&self, settings: &config::Traces) {
        if let Some(live) = &self.0 {
            live.share.set(settings.sampled_permille);
            live.headers.set(&settings.headers);
        }
    }
}

/// Whose spans they are.
fn resource(service_name: &str) -> Resource {
    // Not what the environment says: the configuration does.
    let mut attributes = vec![KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    // Without random numbers several routers of one name look like one.
    if let Ok(instance) = getrandom::u64() {
        attributes.push(KeyValue::new(
            "service.instance.id",
            format!("{instance:016x}"),
        ));
    }
    Resource::builder_empty()
        .with_service_name(service_name.to_owned())
        .with_attributes(attributes)
        .build()
}
