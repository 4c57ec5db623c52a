//! The console page: a running router in the browser, read-only, on a listener and a thread of its own.
//!
//! Its numbers are those of `rillway top`: the page follows one stream of samples (Server-Sent Events), and a
//! browser that does not keep up loses old ones. Nothing that happens here delays a packet or a join.

mod access;
mod files;
mod routes;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tower_service::Service;

use crate::management::source::Sources;
use crate::rate::Bucket;

/// Connections at once: a few windows of a few operators, six each.
const CONNECTIONS_MAX: usize = 64;
/// Time for a whole request head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Longest request head, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A browser that acknowledges nothing for so long is gone.
const STALL_TIME: Duration = Duration::from_secs(30);
/// Pause after a failed accept, as in the gateway.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Attempts to log in per second, of all browsers together.
const LOGINS_PER_SECOND: u32 = 5;

/// What all requests share.
struct Console {
    sources: Arc<Sources>,
    /// Sessions of this process are made with it.
    key: [u8; 32],
    logins: Mutex<Bucket>,
}

/// A listener at work; dropping it ends it.
pub(crate) struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was logged.
            let _ = thread.join();
        }
    }
}

/// Starts the listener's thread.
///
/// # Errors
/// The thread or its runtime cannot be had, or there are no random numbers.
pub(crate) fn start(listener: TcpListener, sources: Arc<Sources>) -> io::Result<Listener> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "console ready");
        if !address.ip().is_loopback() {
            tracing::warn!(
                "the console is not on loopback: its token travels in the clear unless a TLS proxy stands before it"
            );
        }
    }
    let console = Arc::new(Console {
        sources,
        key,
        logins: Mutex::new(Bucket::new(LOGINS_PER_SECOND, Instant::now())),
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("rillway-console".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(console, listener) => {}
                    // An error is the order: the sender was dropped.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
    Ok(Listener {
        stop: Some(stop),
        thread: Some(thread),
    })
}

async fn serve(console: Arc<Console>, listener: tokio::net::TcpListener) {
    let router = routes::router(console);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(router.clone(), stream, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for the console");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(router: axum::Router, stream: TcpStream, slot: OwnedSemaphorePermit) {
    let socket = socket2::SockRef::from(&stream);
    // Where the system has neither, samples come late and stalled connections live longer.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(STALL_TIME));
    let service = hyper::service::service_fn(move |request| router.clone().call(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever went wrong, the browser tries again.
    let _ = connection.await;
    drop(slot);
}
