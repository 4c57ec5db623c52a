//! HTTP requests of WHIP and WHEP, each over a connection of its own.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;

use super::JoinError;
use crate::server::Connector;

/// Longest answer, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
}

impl Answer {
    /// What an error's body says (RFC 9457), in one line.
    pub(crate) fn detail(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_str(&self.body).ok();
        let detail = problem.as_ref().and_then(|p| p.get("detail")?.as_str());
        let detail = detail.unwrap_or(&self.body);
        detail
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect()
    }
}

/// Asks for something.
pub(crate) async fn ask(
    connector: &Connector,
    method: Method,
    path: &str,
    token: Option<&str>,
    sdp: Option<String>,
) -> Result<Answer, JoinError> {
    let stream = connector.connect().await?;
    let broken = |error: &dyn std::fmt::Display| JoinError::Protocol(format!("HTTP: {error}"));
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    // Its errors come with the answer.
    let driven = tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, connector.server.authority());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if sdp.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/sdp");
    }
    let body = Full::new(Bytes::from(sdp.unwrap_or_default()));
    let request = request.body(body).map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await;
    let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| broken(&error))?.to_bytes();
    driven.abort();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    Ok(Answer {
        status: head.status.as_u16(),
        location: header(header::LOCATION).map(str::to_owned),
        retry_after: header(header::RETRY_AFTER)
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// The path of a `Location` (RFC 9110 §10.2.2), as this server's.
pub(crate) fn path_of(location: &str, asked: &str) -> Option<String> {
    let uri: hyper::http::Uri = location.parse().ok()?;
    if uri.scheme().is_some() || location.starts_with('/') {
        return uri.path_and_query().map(ToString::to_string);
    }
    let (folder, _) = asked.split('?').next()?.rsplit_once('/')?;
    Some(format!("{folder}/{location}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_in_their_three_forms() {
        for (location, path) in [
            ("/whip/a/1?b", "/whip/a/1?b"),
            ("https://a.example/x/1", "/x/1"),
            ("1", "/whip/1"),
        ] {
            let found = path_of(location, "/whip/a?name=b/c");
            assert_eq!(found.as_deref(), Some(path), "{location}");
        }
    }

    #[test]
    fn problems_are_told_in_one_line() {
        let answer = |body: &str| Answer {
            status: 403,
            location: None,
            retry_after: None,
            body: body.to_owned(),
        };
        assert_eq!(answer("{\"detail\":\"no\\nroom\"}").detail(), "noroom");
        assert_eq!(answer("plain").detail(), "plain");
    }
}
