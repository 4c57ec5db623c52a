//! The thread that sends spans. Whoever ends one never waits: what finds the queue full is dropped and counted.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Bytes;
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::{self, Secret};
use crate::telemetry::metrics::TracesRecorder;

use super::client::{Collector, SendError};

/// Spans of one request.
const BATCH_MAX: usize = 512;
/// Time spans wait for company.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// How often a batch is sent at most, and the time before the second try; twice that before the third.
const TRIES: u32 = 3;
const RETRY_TIME: Duration = Duration::from_millis(500);
/// At the end of the process what is left is sent once, in this time.
const END_TIME: Duration = Duration::from_millis(500);
/// With 10 a thread gets a tenth of what one with 0 gets while both want to run (setpriority(2)).
const NICE: i32 = 10;

/// Headers of each request to the collector; a reload replaces them.
#[derive(Clone)]
pub(super) struct Headers(Arc<RwLock<HeaderMap>>);

impl Headers {
    pub(super) fn new(headers: &[(String, Secret)]) -> Headers {
        let made = Headers(Arc::default());
        made.set(headers);
        made
    }

    pub(super) fn set(&self, headers: &[(String, Secret)]) {
        let header = |(name, value): &(String, Secret)| {
            let name = HeaderName::try_from(name.as_str()).ok()?;
            let mut value = HeaderValue::try_from(value.reveal()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        let made = headers.iter().filter_map(header).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = made;
    }

    fn get(&self) -> HeaderMap {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The tracer's end of the queue.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    recorder: TracesRecorder,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.recorder.full(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The thread. Dropping it sends what is left, for a moment.
#[derive(Debug)]
pub(crate) struct Export {
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Export {
    fn drop(&mut self) {
        self.end.send_replace(true);
        // It gives up after `END_TIME` whatever the collector does.
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the thread that sends traces ended by a panic");
        }
    }
}

/// Starts it.
///
/// # Errors
/// There is no thread, or nothing that TLS could trust.
pub(super) fn start(
    settings: &config::Traces,
    resource: &Resource,
    headers: Headers,
    recorder: TracesRecorder,
) -> std::io::Result<(Export, Queue)> {
    let (spans, queue) = mpsc::channel(settings.queue_spans as usize);
    let (end, ends) = watch::channel(false);
    let sender = Sender {
        collector: Collector::new(settings)?,
        resource: resource.into(),
        headers,
        recorder: recorder.clone(),
        failing: false,
        under_way: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()?;
    let thread = std::thread::Builder::new()
        .name("rillway-traces".to_owned())
        .spawn(move || {
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::warn!(%error, "the thread that sends traces keeps the priority of others");
            }
            runtime.block_on(sender.run(queue, ends));
            // A name that is being looked up cannot be given up, and nobody waits for it.
            runtime.shutdown_background();
        })?;
    let export = Export {
        end,
        thread: Some(thread),
    };
    Ok((export, Queue { spans, recorder }))
}

struct Sender {
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    headers: Headers,
    recorder: TracesRecorder,
    /// The last batch did not arrive.
    failing: bool,
    /// Spans that are on their way.
    under_way: usize,
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<SpanData>, mut end: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let working = self.work(&mut queue, &mut batch);
            tokio::select! {
                biased;
                // An error means that whoever could end it is gone.
                _ = end.wait_for(|end| *end) => break,
                open = working => if !open {
                    break;
                },
            }
        }
        self.leave(queue, batch).await;
    }

    /// Fills a batch and sends it; false: there will be no other.
    async fn work(
        &mut self,
        queue: &mut mpsc::Receiver<SpanData>,
        batch: &mut Vec<SpanData>,
    ) -> bool {
        if queue.recv_many(batch, BATCH_MAX).await == 0 {
            return false;
        }
        let until = Instant::now() + BATCH_TIME;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            match tokio::time::timeout_at(until, queue.recv_many(batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.under_way = batch.len();
        let body = self.encode(batch);
        let mut wait = RETRY_TIME;
        for attempt in 1..=TRIES {
            let sent = self.collector.send(body.clone(), self.headers.get()).await;
            let again = attempt < TRIES && sent.as_ref().is_err_and(SendError::may_pass);
            if !again {
                self.note(&sent);
                break;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        true
    }

    fn encode(&self, batch: &mut Vec<SpanData>) -> Bytes {
        let spans = std::mem::take(batch);
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(spans, &self.resource),
        };
        request.encode_to_vec().into()
    }

    /// Counts what became of a batch, and says once that a collector does not take any, or takes them again.
    fn note(&mut self, sent: &Result<u64, SendError>) {
        let count = std::mem::take(&mut self.under_way) as u64;
        match sent {
            Ok(rejected) => {
                let rejected = (*rejected).min(count);
                self.recorder.exported(count - rejected);
                self.recorder.rejected(rejected);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("traces reach their collector again");
                }
            }
            Err(error) => {
                self.recorder.failed(count);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        %error,
                        "traces do not reach their collector and are dropped until they do; calls do not notice"
                    );
                }
            }
        }
    }

    /// Sends what is left, once.
    async fn leave(mut self, mut queue: mpsc::Receiver<SpanData>, mut batch: Vec<SpanData>) {
        while batch.len() < BATCH_MAX
            && let Ok(span) = queue.try_recv()
        {
            batch.push(span);
        }
        // What was under way when the end came may have arrived; nobody waited for the answer.
        let mut lost = std::mem::take(&mut self.under_way) as u64;
        while queue.try_recv().is_ok() {
            lost += 1;
        }
        self.recorder.failed(lost);
        if batch.is_empty() {
            return;
        }
        self.under_way = batch.len();
        let body = self.encode(&mut batch);
        let sending = self.collector.send(body, self.headers.get());
        let sent = tokio::time::timeout(END_TIME, sending).await;
        self.note(&sent.unwrap_or(Err(SendError::Timeout)));
    }
}
