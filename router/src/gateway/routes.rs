//! Requests and their answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocket;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State, WebSocketUpgrade};
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use rillway_plugin_sdk::signaling::Opened;
use tokio::sync::OwnedSemaphorePermit;

use crate::session::Arrival;
use crate::telemetry::metrics::Reject;
use crate::telemetry::traces::Span;

use super::{Gateway, answered, page, requests, resume, socket};

/// Seconds after which a refused client may try again.
pub(super) const RETRY_AFTER_SECONDS: &str = "5";
/// Longest query string for a plugin, bytes.
pub(super) const QUERY_BYTES_MAX: usize = 4 << 10;
/// Bytes read from a client at once. The default of 128 KiB, times all clients, would be most of a
/// small machine.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Address of the client, put beside each of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) SocketAddr);

/// All routes of the gateway.
pub(super) fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready));
    for (index, route) in gateway.settings().routes.iter().enumerate() {
        let path = route.path.as_str();
        if route.subprotocol.is_some() {
            router = router.route(path, any(upgrade).layer(Extension(index)));
            continue;
        }
        for path in [
            path.to_owned(),
            format!("{path}/"),
            format!("{path}/{{*rest}}"),
        ] {
            router = router.route(&path, any(requests::answer).layer(Extension(index)));
        }
    }
    router.fallback(other).with_state(gateway)
}

/// The process works at all.
async fn health() -> Response {
    ([(CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

/// The router takes new clients.
async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.unready() {
        None => ([(CACHE_CONTROL, "no-store")], "ready\n").into_response(),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            [
                (CACHE_CONTROL, "no-store"),
                (RETRY_AFTER, RETRY_AFTER_SECONDS),
            ],
            reason,
        )
            .into_response(),
    }
}

async fn other(
    State(gateway): State<Arc<Gateway>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if gateway.settings().page {
        page::get(&method, uri.path(), &headers)
    } else {
        page::not_found()
    }
}

type Socket = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// A WebSocket connection to a signaling plugin.
async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    Extension(route): Extension<usize>,
    Extension(address): Extension<ClientAddress>,
    (method, uri, headers): (Method, Uri, HeaderMap),
    socket: Socket,
) -> Response {
    let settings = gateway.settings();
    let path = settings.routes.get(route).map(|route| route.path.as_str());
    let mut span = match path {
        Some(path) => gateway.span(&method, path, &headers),
        None => Span::default(),
    };
    let response = admit(
        gateway,
        (route, address),
        (&uri, &headers),
        socket,
        &mut span,
    );
    answered(&mut span, response.status());
    response
}

/// The same, with the span of the request, which goes on with the connection if there is one.
fn admit(
    gateway: Arc<Gateway>,
    (route, ClientAddress(address)): (usize, ClientAddress),
    (uri, headers): (&Uri, &HeaderMap),
    socket: Socket,
    span: &mut Span,
) -> Response {
    let settings = gateway.settings();
    let wanted = settings.routes.get(route);
    let Some((path, wanted)) = wanted.and_then(|w| Some((&w.path, w.subprotocol.as_ref()?))) else {
        return page::not_found();
    };
    let socket = match socket {
        Ok(socket) => socket,
        Err(rejection) => {
            gateway.recorder.rejected(Reject::BadRequest);
            return no_websocket(path, wanted, &rejection);
        }
    };
    if !settings.origins.admits(headers, address.ip()) {
        gateway.recorder.rejected(Reject::Origin);
        return refused(
            StatusCode::FORBIDDEN,
            "this origin may not connect; see gateway.allowed_origins\n",
        );
    }
    let offered = socket
        .requested_protocols()
        .any(|protocol| protocol == wanted.as_str());
    if !offered || uri.query().is_some_and(|q| q.len() > QUERY_BYTES_MAX) {
        gateway.recorder.rejected(Reject::Subprotocol);
        return refused_protocol(wanted);
    }
    let Ok(wish) = resume::wish(socket.requested_protocols()) else {
        gateway.recorder.rejected(Reject::Subprotocol);
        return refused(StatusCode::BAD_REQUEST, resume::FORM);
    };
    let permit = match wish.as_ref().filter(|w| gateway.sessions.knows(route, w)) {
        // Who goes on has a place already, and hears of the router's end as others do.
        Some(_) => None,
        None => match room(&gateway) {
            Ok(permit) => Some(permit),
            Err(refusal) => return *refusal,
        },
    };
    let opened = Opened {
        path: path.clone(),
        query: uri.query().unwrap_or_default().to_owned(),
        subprotocol: wanted.clone(),
        remote_address: address.to_string(),
        resource: None,
        attributes: Vec::new(),
    };
    let mut span = std::mem::take(span);
    answered(&mut span, StatusCode::SWITCHING_PROTOCOLS);
    let bytes_max = settings.message_bytes_max;
    socket
        .protocols([wanted.clone()])
        .max_message_size(bytes_max)
        .max_frame_size(bytes_max)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .on_upgrade(move |socket| take(gateway, (route, wish), permit, (opened, span), socket))
}

/// Takes a client's WebSocket: for the session that goes on with it, or for a new one.
async fn take(
    gateway: Arc<Gateway>,
    (route, wish): (usize, Option<resume::Wish>),
    permit: Option<OwnedSemaphorePermit>,
    (opened, span): (Opened, Span),
    socket: WebSocket,
) {
    let socket = match &wish {
        Some(wish) => match gateway.sessions.hand(route, wish, socket).await {
            Ok(()) => return,
            Err(socket) => socket,
        },
        None => socket,
    };
    // None: its session ended in this moment.
    let Some(_permit) = permit.or_else(|| gateway.place()) else {
        return;
    };
    let (first, resumption) = match wish {
        Some(wish) => gateway.begin(route, wish),
        None => (None, None),
    };
    let (mut connection, peer) = crate::session::pair(opened);
    connection.arrival = Arrival::open(span);
    if gateway.hand_over(route, connection) {
        socket::run(&gateway, (socket, first), peer, resumption).await;
    }
}

/// A place for a client that comes, or why there is none.
fn room(gateway: &Gateway) -> Result<OwnedSemaphorePermit, Box<Response>> {
    if let Some(reason) = gateway.unready() {
        gateway.recorder.rejected(Reject::Draining);
        return Err(Box::new(unavailable(reason)));
    }
    gateway.place().ok_or_else(|| {
        gateway.recorder.rejected(Reject::Full);
        Box::new(unavailable("as many clients are connected as may be\n"))
    })
}

fn no_websocket(path: &str, subprotocol: &str, rejection: &WebSocketUpgradeRejection) -> Response {
    let hint = format!(
        "{path} is for WebSocket connections with subprotocol {subprotocol}: {}\n",
        rejection.body_text()
    );
    (StatusCode::UPGRADE_REQUIRED, [(UPGRADE, "websocket")], hint).into_response()
}

fn refused_protocol(subprotocol: &str) -> Response {
    let hint = format!("offer the WebSocket subprotocol {subprotocol} and a short query\n");
    let mut response = (StatusCode::BAD_REQUEST, hint).into_response();
    if let Ok(value) = HeaderValue::from_str(subprotocol) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}

fn refused(status: StatusCode, reason: &'static str) -> Response {
    (status, reason).into_response()
}

fn unavailable(reason: &'static str) -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(RETRY_AFTER, RETRY_AFTER_SECONDS)],
        reason,
    )
        .into_response()
}
