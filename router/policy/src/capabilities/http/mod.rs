//! HTTP requests to origins that the operator allows.
//!
//! Every request is checked against the list, none is redirected: an answer of 3xx goes to the plugin, and
//! where it points to is another request. HTTP/1.1, TLS 1.2 and 1.3.

mod address;
mod client;
mod message;
mod origin;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use tokio::sync::Semaphore;

use crate::host::lock;
use crate::stats::{Durations, Histogram};

pub use address::{Network, NetworkProblem};
pub(crate) use client::Tls;
pub(crate) use message::{Error, Request, Response};
pub use origin::{Origin, OriginProblem};

use client::Clients;

/// Requests of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpStats {
    /// Requests that were allowed, with those that failed.
    pub requests: u64,
    /// Those of them that had an answer; a status of 500 is one.
    pub answered: u64,
    /// Those of them without one: no connection, no time, too long.
    pub failures: u64,
    /// Requests that were not sent: malformed, or to an origin that is not allowed.
    pub refused: u64,
    /// Requests that wait for their answer at the moment, or for their turn.
    pub waiting: u64,
    /// How long requests took, with those that failed.
    pub durations: Durations,
    /// Bytes of requests: method, URL, headers, body.
    pub bytes_sent: u64,
    /// Bytes of answers: headers, body.
    pub bytes_received: u64,
}

/// What all versions of a plugin share.
#[derive(Debug)]
pub(crate) struct Traffic {
    places: Mutex<Places>,
    requests: AtomicU64,
    answered: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    waiting: AtomicU64,
    durations: Histogram,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

/// Requests that may be under way at once.
#[derive(Debug)]
struct Places {
    count: usize,
    free: Arc<Semaphore>,
}

impl Places {
    fn new(count: usize) -> Places {
        let count = count.clamp(1, Semaphore::MAX_PERMITS);
        Places {
            count,
            free: Arc::new(Semaphore::new(count)),
        }
    }
}

impl Traffic {
    pub(crate) fn new(at_once: usize) -> Traffic {
        Traffic {
            places: Mutex::new(Places::new(at_once)),
            requests: AtomicU64::default(),
            answered: AtomicU64::default(),
            failures: AtomicU64::default(),
            refused: AtomicU64::default(),
            waiting: AtomicU64::default(),
            durations: Histogram::default(),
            bytes_sent: AtomicU64::default(),
            bytes_received: AtomicU64::default(),
        }
    }

    /// Changes how many may be under way; those that are do not count against the new number.
    pub(crate) fn set_at_once(&self, at_once: usize) {
        let mut places = lock(&self.places);
        if places.count != at_once {
            *places = Places::new(at_once);
        }
    }

    pub(crate) fn stats(&self) -> HttpStats {
        HttpStats {
            requests: self.requests.load(Relaxed),
            answered: self.answered.load(Relaxed),
            failures: self.failures.load(Relaxed),
            refused: self.refused.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            durations: self.durations.snapshot(),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
        }
    }

    fn enter(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(&self.waiting)
    }
}

/// Counts a request while it waits, also if its call is given up.
struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What one version of a plugin may reach, and its connections.
#[derive(Debug)]
pub(crate) struct Http {
    origins: Vec<Origin>,
    clients: Clients,
}

impl Http {
    pub(crate) fn new(
        origins: Vec<Origin>,
        listed: Vec<Network>,
        tls: Tls,
        threads: usize,
    ) -> Http {
        Http {
            origins,
            clients: Clients::new(listed, tls, threads),
        }
    }

    /// Sends a request from a policy thread and waits for the whole answer, for at most `time`.
    pub(crate) async fn send(
        &self,
        traffic: &Traffic,
        thread: usize,
        request: Request,
        time: Duration,
    ) -> Exchange {
        let sent = request.bytes();
        let request = match message::checked(&self.origins, request) {
            Ok(request) => request,
            Err(error) => {
                traffic.refused.fetch_add(1, Relaxed);
                return Exchange {
                    result: Err(error),
                    bytes: 0,
                };
            }
        };
        let began = Instant::now();
        let waiting = traffic.enter();
        traffic.requests.fetch_add(1, Relaxed);
        traffic.bytes_sent.fetch_add(sent as u64, Relaxed);
        let received = AtomicUsize::new(0);
        let exchange = self.exchange(traffic, thread, request, &received);
        let result = tokio::time::timeout(time, exchange).await;
        let result = result.unwrap_or(Err(Error::Timeout));
        drop(waiting);
        let received = received.into_inner();
        traffic.bytes_received.fetch_add(received as u64, Relaxed);
        traffic.durations.note(began.elapsed());
        let outcome = match result {
            Ok(_) => &traffic.answered,
            Err(_) => &traffic.failures,
        };
        outcome.fetch_add(1, Relaxed);
        Exchange {
            result,
            bytes: sent.saturating_add(received),
        }
    }

    async fn exchange(
        &self,
        traffic: &Traffic,
        thread: usize,
        request: hyper::Request<Full<Bytes>>,
        received: &AtomicUsize,
    ) -> Result<Response, Error> {
        let places = Arc::clone(&lock(&traffic.places).free);
        // Never closed, so an error cannot be.
        let _place = places.acquire().await.map_err(|_| Error::Timeout)?;
        let client = self.clients.on(thread);
        let client =
            client.ok_or_else(|| Error::Failed("this thread has no network".to_owned()))?;
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| Error::Failed(message::chain(&error)))?;
        message::read(answer, received).await
    }
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) result: Result<Response, Error>,
    /// Sent and received, also if there is no answer.
    pub(crate) bytes: usize,
}
