//! Requests and their answers.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::access::{self, Refused};
use super::{Console, files};
use crate::management::reasons;
use crate::management::watch::{Shown, WatchError, Watcher};
use crate::management::wire::error::Code;
use crate::management::wire::{self, WhyRequest};

/// Longest body of a request, bytes: a token.
const BODY_BYTES_MAX: usize = 4 << 10;

/// All routes.
pub(super) fn router(console: Arc<Console>) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/api/watch", get(watch))
        .route("/api/why", get(why))
        .fallback(get(file))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(console)
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    files::get(uri.path(), &headers)
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let answer = match self {
            Refused::Foreign => (StatusCode::FORBIDDEN, "another page sent this\n"),
            Refused::Unknown => (
                StatusCode::UNAUTHORIZED,
                "log in with the console's token\n",
            ),
            Refused::TooMany => (StatusCode::TOO_MANY_REQUESTS, "wait a second\n"),
        };
        files::secured(answer.into_response())
    }
}

async fn log_in(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    token: String,
) -> Response {
    match console.log_in(&headers, &token) {
        Ok(session) => {
            let cookie = access::cookie(Some(&session));
            files::secured((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
        }
        Err(refused) => {
            tracing::info!(?refused, "console: log-in refused");
            refused.into_response()
        }
    }
}

async fn log_out(headers: HeaderMap) -> Response {
    if !access::is_own(&headers) {
        return Refused::Foreign.into_response();
    }
    let cookie = access::cookie(None);
    files::secured((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}

/// A value of a query, decoded; empty: there is none.
fn value(uri: &Uri, name: &str) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('='));
    let found = values.find(|(key, _)| *key == name);
    let text = found.map_or("", |(_, value)| value);
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Samples as they come, as Server-Sent Events: `sample` with JSON, `lost` with a number.
async fn watch(State(console): State<Arc<Console>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refused) = console.admit(&headers) {
        return refused.into_response();
    }
    let watcher = match Watcher::new(&console.sources, 0, &value(&uri, "room")) {
        Ok(watcher) => watcher,
        Err(error) => {
            let status = match error {
                WatchError::Full => StatusCode::SERVICE_UNAVAILABLE,
                WatchError::Interval => StatusCode::BAD_REQUEST,
            };
            return files::secured((status, format!("{error}\n")).into_response());
        }
    };
    let session = console.session();
    let body = Body::from_stream(events(console, watcher, session));
    files::secured(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// Ends when the token is another one. While the browser does not read, nobody asks for the next one, and the
/// ring of samples goes on.
fn events(
    console: Arc<Console>,
    watcher: Watcher,
    session: Option<String>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(
        (console, watcher, session),
        |(console, mut watcher, session)| async {
            let shown = watcher.next().await?;
            if console.session() != session {
                return None;
            }
            let text = match shown {
                Shown::Lost(count) => format!("event: lost\ndata: {count}\n\n"),
                Shown::Sample(sample) => {
                    let json = serde_json::to_string(&*sample).ok()?;
                    format!("event: sample\ndata: {json}\n\n")
                }
            };
            Some((Ok(Bytes::from(text)), (console, watcher, session)))
        },
    )
}

/// What went wrong, for the page.
#[derive(Serialize)]
struct Problem {
    message: String,
    help: String,
}

/// Why somebody gets what it gets, as JSON.
async fn why(State(console): State<Arc<Console>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refused) = console.admit(&headers) {
        return refused.into_response();
    }
    let request = WhyRequest {
        room: value(&uri, "room"),
        participant: value(&uri, "participant"),
        track: value(&uri, "track"),
    };
    match reasons(&console.sources, &request).await {
        Ok(reasons) => json(StatusCode::OK, &reasons),
        Err(error) => problem(error),
    }
}

fn problem(error: wire::Error) -> Response {
    let status = match error.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let wire::Error { message, help, .. } = error;
    json(status, &Problem { message, help })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let answer = match serde_json::to_string(value) {
        Ok(text) => (status, [(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    files::secured(answer)
}
