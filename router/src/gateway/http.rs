//! Accepting connections and serving HTTP/1.1 on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_service::Service;

use crate::session::Phase;
use crate::telemetry::metrics::Reject;

use super::Gateway;
use super::routes::{ClientAddress, RETRY_AFTER_SECONDS, router};

/// Pause after a failed accept. Without descriptors the listener stays readable, so that accepting
/// at once again would only burn the processor until somebody closes one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are told why they are refused, at once; more are just closed.
const REFUSALS_MAX: usize = 64;
/// Time such a client has to take the answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Time a connection may live that does not become a WebSocket: a client that asks for files and does
/// not read them would otherwise hold its place for ever.
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// Time a request under way has to end then: a body may take 10 s, and an answer as long.
const CONNECTION_END_TIME: Duration = Duration::from_secs(20);
/// Time a request under way has to end when the process closes its connections.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// Longest request head, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Serves until the process closes its connections.
pub(crate) async fn serve(gateway: Arc<Gateway>, listener: TcpListener) {
    let router = router(gateway.clone());
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut phase = gateway.phase.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing(&mut phase) => return,
        };
        match accepted {
            Ok((stream, address)) => accept(&gateway, &router, &refusals, stream, address),
            Err(error) => accept_failed(&error).await,
        }
    }
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // An error means that the process is being torn down.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

fn accept(
    gateway: &Arc<Gateway>,
    router: &Router,
    refusals: &Arc<Semaphore>,
    stream: TcpStream,
    address: SocketAddr,
) {
    // Signaling messages are small and each one is waited for. An error shows at the first write.
    let _ = stream.set_nodelay(true);
    if let Ok(permit) = gateway.connections.clone().try_acquire_owned() {
        let (gateway, router) = (gateway.clone(), router.clone());
        tokio::spawn(connection(gateway, router, stream, address, permit));
        return;
    }
    gateway.recorder.rejected(Reject::Full);
    if let Ok(permit) = refusals.clone().try_acquire_owned() {
        tokio::spawn(async move {
            answer(stream, "503 Service Unavailable").await;
            drop(permit);
        });
    }
}

async fn accept_failed(error: &io::Error) {
    let of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    );
    if !of_one_connection {
        tracing::warn!(%error, "cannot accept connections; is the file descriptor limit too low?");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn connection(
    gateway: Arc<Gateway>,
    router: Router,
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<_>| {
        request.extensions_mut().insert(ClientAddress(address));
        router.clone().call(request)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(gateway.settings().header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut phase = gateway.phase.clone();
    let result = tokio::select! {
        result = &mut connection => result,
        time = ended(&mut phase) => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            tokio::time::timeout(time, &mut connection).await.unwrap_or(Ok(()))
        }
    };
    if result.is_err_and(|error| error.is_timeout()) {
        // Half a head is answered; a connection that was only kept alive is closed.
        if let Some(parts) = connection.into_parts().filter(|p| !p.read_buf.is_empty()) {
            gateway.recorder.rejected(Reject::HeaderTimeout);
            answer(parts.io.into_inner(), "408 Request Timeout").await;
        }
    }
    drop(permit);
}

/// When a connection is to end, and the time that what is under way on it has then.
async fn ended(phase: &mut watch::Receiver<Phase>) -> Duration {
    tokio::select! {
        () = tokio::time::sleep(CONNECTION_TIME) => CONNECTION_END_TIME,
        () = closing(phase) => CLOSING_TIME,
    }
}

/// Says one line and closes.
async fn answer(mut stream: TcpStream, status: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\nretry-after: {RETRY_AFTER_SECONDS}\r\nconnection: close\r\n\
         content-length: 0\r\n\r\n"
    );
    // A client that does not take it is closed without it.
    let _ = tokio::time::timeout(REFUSAL_TIME, async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}
