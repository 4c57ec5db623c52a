//! HTTP requests to signaling plugins.
//!
//! A request to a resource reaches the client whose it is; any other below a route makes a client, whose
//! first request it is. What a plugin says goes out as it is but for headers that are the connection's.
//!
//! Web pages of any origin may send requests: they carry no cookies, and whatever proves who somebody is
//! a page must have been given. So what the gateway answers itself may be read by any page too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_LENGTH, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request};
use axum::response::{IntoResponse, Response};
use rillway_plugin_sdk::signaling::{HttpRequest, HttpResponse, Opened};
use tokio::sync::{mpsc, oneshot};

use crate::session::{ANSWER_TIME, Answer, Arrival, Exchange, Incoming};
use crate::telemetry::metrics::{Reject, RequestTarget};
use crate::telemetry::traces::Place;

use super::routes::{ClientAddress, QUERY_BYTES_MAX, RETRY_AFTER_SECONDS};
use super::{Gateway, answered, resources};

/// Headers of a request (part of the ABI).
const HEADERS_MAX: usize = 64;
/// Time a client has to send a body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Headers that belong to a connection (RFC 9110 §7.6.1) or that nothing here is decided by: cookies
/// would be sent by any page in their owner's name.
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "cookie",
    "keep-alive",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

/// Answers a request below an HTTP route.
pub(super) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    Extension(route): Extension<usize>,
    Extension(address): Extension<ClientAddress>,
    request: Request,
) -> Response {
    let (target, response) = match handle(&gateway, route, address, request).await {
        (target, Ok(response)) => (target, response),
        (target, Err(refusal)) => {
            if let Some(cause) = refusal.cause {
                gateway.recorder.rejected(cause);
            }
            (target, refusal.into_response())
        }
    };
    gateway
        .recorder
        .answered(target, response.status().as_u16());
    response
}

/// An answer of the gateway's own.
struct Refusal {
    status: StatusCode,
    text: &'static str,
    cause: Option<Reject>,
    /// Trying again may help.
    again: bool,
}

impl Refusal {
    fn new(status: StatusCode, text: &'static str) -> Self {
        Refusal {
            status,
            text,
            cause: None,
            again: false,
        }
    }

    fn because(mut self, cause: Reject) -> Self {
        self.cause = Some(cause);
        self
    }

    fn later(mut self) -> Self {
        self.again = true;
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if self.again {
            let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            headers.insert(RETRY_AFTER, seconds);
            let exposed = HeaderValue::from_static("retry-after");
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        response
    }
}

fn full(text: &'static str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
        .because(Reject::Full)
        .later()
}

async fn handle(
    gateway: &Arc<Gateway>,
    route: usize,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> (RequestTarget, Result<Response, Refusal>) {
    let (parts, body) = request.into_parts();
    let settings = gateway.settings();
    let Some(prefix) = settings.routes.get(route).map(|r| r.path.as_str()) else {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, "no such route\n");
        return (RequestTarget::Endpoint, Err(refusal));
    };
    let mut span = gateway.span(&parts.method, prefix, &parts.headers);
    let resource = gateway.resources.find(prefix, parts.uri.path());
    let target = match &resource {
        Some(_) => RequestTarget::Resource,
        None => RequestTarget::Endpoint,
    };
    let place = span.place();
    let asked = (route, prefix, ClientAddress(address), place);
    let answer = serve(gateway, asked, resource, (parts, body)).await;
    match &answer {
        Ok(response) => answered(&mut span, response.status()),
        Err(refusal) => answered(&mut span, refusal.status),
    }
    (target, answer)
}

/// Answers a request of a client that is there (`resource`), or comes with it.
async fn serve(
    gateway: &Arc<Gateway>,
    (route, prefix, ClientAddress(address), place): (usize, &str, ClientAddress, Place),
    resource: Option<mpsc::Sender<Incoming>>,
    (parts, body): (request::Parts, Body),
) -> Result<Response, Refusal> {
    if !gateway.rates.admit(address.ip(), Instant::now()) {
        let refusal = Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests from this address\n",
        );
        return Err(refusal.because(Reject::MessageRate).later());
    }
    // Those who are here may go on and say goodbye; nobody new gets in.
    if let (None, Some(reason)) = (&resource, gateway.unready()) {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
        return Err(refusal.because(Reject::Draining).later());
    }
    let request = read(gateway, &parts, body).await?;
    let answered = match resource {
        Some(sender) => pass_on(&sender, request, place)?,
        None => open(
            gateway,
            (route, prefix),
            address.to_string(),
            request,
            place,
        )?,
    };
    wait(answered).await
}

/// Reads a request whole, within the bounds.
async fn read(
    gateway: &Gateway,
    parts: &request::Parts,
    body: Body,
) -> Result<HttpRequest, Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        let refusal = Refusal::new(StatusCode::URI_TOO_LONG, "the query is above 4 KiB\n");
        return Err(refusal.because(Reject::BadRequest));
    }
    let headers = incoming_headers(&parts.headers)?;
    let most = gateway.settings().body_bytes_max;
    let too_long = || {
        let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long\n");
        refusal.because(Reject::MessageTooLong)
    };
    let announced = parts.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_long());
    }
    let reading = axum::body::to_bytes(body, most);
    let body = match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(Ok(body)) => body,
        // Too long, or broken off: then nobody reads the answer.
        Ok(Err(_)) => return Err(too_long()),
        Err(_) => {
            let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n");
            return Err(refusal.because(Reject::HeaderTimeout));
        }
    };
    gateway.recorder.received(body.len());
    Ok(HttpRequest {
        id: 0,
        method: parts.method.as_str().to_ascii_uppercase(),
        path: parts.uri.path().to_owned(),
        query: query.to_owned(),
        headers,
        body: body.into(),
    })
}

/// A request's headers for a plugin.
fn incoming_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let mut out = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        if OURS.contains(&name.as_str()) {
            continue;
        }
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "a header is not UTF-8\n");
            return Err(refusal.because(Reject::BadRequest));
        };
        out.push((name.as_str().to_owned(), value.to_owned()));
    }
    if out.len() > HEADERS_MAX {
        let refusal = Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "more than 64 headers\n",
        );
        return Err(refusal.because(Reject::BadRequest));
    }
    Ok(out)
}

type Answered = oneshot::Receiver<Answer>;

/// Hands a request to the client whose it is.
fn pass_on(
    sender: &mpsc::Sender<Incoming>,
    request: HttpRequest,
    place: Place,
) -> Result<Answered, Refusal> {
    let (answer, answered) = oneshot::channel();
    let exchange = Exchange {
        request,
        answer,
        place,
    };
    match sender.try_send(Incoming::Request(exchange)) {
        Ok(()) => Ok(answered),
        Err(mpsc::error::TrySendError::Full(_)) => Err(busy()),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
    }
}

fn busy() -> Refusal {
    full("too many requests of this client are under way\n")
}

fn gone() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "this session has ended\n")
}

/// Makes a client whose first request this is.
fn open(
    gateway: &Arc<Gateway>,
    (route, prefix): (usize, &str),
    remote_address: String,
    request: HttpRequest,
    place: Place,
) -> Result<Answered, Refusal> {
    let Some(permit) = gateway.place() else {
        return Err(full("as many clients are connected as may be\n"));
    };
    let Ok((name, path)) = resources::name(prefix) else {
        tracing::error!("the system has no random numbers: no session can be named");
        let text = "no random numbers\n";
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    };
    let opened = Opened {
        path: request.path.clone(),
        query: request.query.clone(),
        subprotocol: String::new(),
        remote_address,
        resource: Some(path),
        attributes: vec![("route".to_owned(), prefix.to_owned())],
    };
    let (mut connection, sender) = crate::session::resource(opened);
    connection.arrival = Arrival::within(place.clone());
    let answered = pass_on(&sender, request, place)?;
    if !gateway.hand_over(route, connection) {
        return Err(full("too many clients come at once\n"));
    }
    resources::keep(gateway, name, sender, permit);
    Ok(answered)
}

/// Waits for the plugin's answer.
async fn wait(answered: Answered) -> Result<Response, Refusal> {
    match tokio::time::timeout(ANSWER_TIME, answered).await {
        Ok(Ok(Answer::Response(response))) => Ok(outgoing(response)),
        Ok(Ok(Answer::Gone)) => Err(gone()),
        Ok(Ok(Answer::Busy)) => Err(busy()),
        Ok(Ok(Answer::Closing)) => {
            let text = "the router is going away\n";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text).later())
        }
        Ok(Ok(Answer::Unavailable)) => {
            let text = "the signaling plugin takes no clients now\n";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text).later())
        }
        Ok(Ok(Answer::Fault) | Err(_)) => {
            let text = "fault in the signaling plugin\n";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
        Err(_) => {
            let text = "the signaling plugin did not answer in time\n";
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, text))
        }
    }
}

/// A plugin's answer for the client. What cannot be a header, or is not the plugin's to say, is left out.
fn outgoing(answer: HttpResponse) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // RFC 9110 §6.4.1: these have no content.
    let empty = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    let body = if empty {
        Body::empty()
    } else {
        Body::from(answer.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in answer.headers {
        let name = name.to_ascii_lowercase();
        if OURS.contains(&name.as_str()) {
            continue;
        }
        match (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value),
        ) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().append(name, value);
            }
            _ => tracing::debug!(name, "a plugin's header is none and is left out"),
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        outgoing(HttpResponse {
            id: 1,
            status,
            headers: headers
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: b"body".to_vec(),
        })
    }

    #[test]
    fn what_a_plugin_says_goes_out_but_for_what_is_not_its_to_say() {
        let out = response(
            201,
            &[
                ("Location", "/x"),
                ("link", "<a>"),
                ("Link", "<b>"),
                ("Content-Length", "9000"),
                ("Transfer-Encoding", "chunked"),
                ("connection", "close"),
                ("Set-Cookie", "a=b"),
                ("x-split", "a\r\nset-cookie: b"),
                ("bad name", "x"),
                ("", "x"),
            ],
        );
        assert_eq!(out.status(), 201);
        let headers: Vec<_> = out
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            headers,
            [("location", "/x"), ("link", "<a>"), ("link", "<b>")]
        );
    }

    #[tokio::test]
    async fn some_answers_have_no_content() {
        for (status, length) in [(204, 0), (205, 0), (304, 0), (200, 4), (422, 4)] {
            let body = response(status, &[]).into_body();
            let bytes = axum::body::to_bytes(body, 100).await.unwrap();
            assert_eq!(bytes.len(), length, "{status}");
        }
    }

    #[test]
    fn requests_lose_cookies_and_what_belongs_to_the_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "session=1"),
            ("connection", "keep-alive"),
            ("authorization", "Bearer t"),
            ("accept", "a"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("accept", HeaderValue::from_static("b"));
        let Ok(seen) = incoming_headers(&headers) else {
            panic!("few enough")
        };
        let seen: Vec<_> = seen.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("authorization", "Bearer t"),
                ("accept", "a"),
                ("accept", "b")
            ]
        );
    }

    #[test]
    fn headers_are_bounded_and_text() {
        let mut headers = HeaderMap::new();
        for index in 0..64 {
            let name = HeaderName::try_from(format!("x-{index}")).unwrap();
            headers.append(name, HeaderValue::from_static("1"));
        }
        assert!(incoming_headers(&headers).is_ok());
        headers.append("x-more", HeaderValue::from_static("1"));
        let refusal = incoming_headers(&headers).err().unwrap();
        assert_eq!(refusal.status, 431);
        let mut headers = HeaderMap::new();
        let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        headers.append("x-name", latin);
        assert_eq!(incoming_headers(&headers).err().unwrap().status, 400);
    }
}
