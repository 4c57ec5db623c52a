//! The listener that Prometheus asks. Bounded in connections and time, so that a stuck scraper hurts
//! nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::registry::Registry;

/// Connections served at once; more wait in the kernel's queue. A Prometheus pair and a curious operator
/// are three.
const CONNECTIONS_MAX: usize = 8;

/// Time a connection has for its one request and answer; Prometheus gives up after 10 s by default.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// Pause after a failed accept (no file descriptors left): without it, the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers `GET /metrics` until it is dropped.
pub async fn serve(listener: TcpListener, registry: Registry) {
    serve_within(listener, registry, CONNECTIONS_MAX, CONNECTION_TIME).await;
}

/// [`serve`] with other bounds.
pub(super) async fn serve_within(
    listener: TcpListener,
    registry: Registry,
    connections_max: usize,
    connection_time: Duration,
) {
    let slots = Arc::new(Semaphore::new(connections_max));
    let mut connections = tokio::task::JoinSet::new();
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let registry = registry.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &registry);
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(connection_time)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Whether it fails, the scraper knows.
            let late = match tokio::time::timeout(connection_time, connection).await {
                Err(_) => true,
                Ok(Err(error)) => error.is_timeout(),
                Ok(Ok(())) => false,
            };
            if late {
                tracing::warn!(
                    seconds = connection_time.as_secs(),
                    "a scraper did not send its request or read its answer in time: cut off"
                );
            }
            drop(slot);
        });
    }
}

fn answer<B>(request: &Request<B>, registry: &Registry) -> Response<Body> {
    let (status, kind, text) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => (
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            registry.render(),
        ),
        ("/metrics", _) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain; charset=utf-8",
            "GET only\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "metrics are at /metrics\n".to_owned(),
        ),
    };
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(ALLOW, "GET, HEAD");
    // Constant status and header names: this cannot fail.
    response.body(Body::from(text)).unwrap_or_default()
}
