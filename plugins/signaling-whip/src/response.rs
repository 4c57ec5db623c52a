//! Building responses.

use rillway_plugin_sdk::signaling::HttpResponse;
use rillway_plugin_sdk::types::{Denial, IceServer};

use crate::limits::{RETRY_PLAY_SECONDS, RETRY_RESTART_SECONDS, RETRY_SECONDS};
use crate::request::{FRAGMENT, SDP};

/// What pages may read of a response (FETCH §3.3.6).
const EXPOSED: &str =
    "location, etag, link, allow, accept-post, accept-patch, retry-after, www-authenticate";
/// What they may send. The asterisk is for what clients make up (one sends `etag`); it never stands for
/// `authorization` (FETCH §4.9).
const REQUEST_HEADERS: &str = "authorization, content-type, if-match, *";
/// Methods of both protocols. Clients were seen to ask an endpoint whether sessions take candidates.
const METHODS: &str = "POST, PATCH, DELETE, GET, HEAD, OPTIONS";
/// Methods of an endpoint.
pub(crate) const ENDPOINT_METHODS: &str = "POST, GET, HEAD, OPTIONS";
/// Methods of a session.
pub(crate) const SESSION_METHODS: &str = "PATCH, DELETE, GET, HEAD, OPTIONS";

/// A response to a request yet to be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    /// A response without a body. Any page may read it: requests carry no cookies, so that a page learns
    /// nothing that its own token does not give it.
    pub(crate) fn new(status: u16) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
        .with("access-control-allow-origin", "*")
        .with("access-control-expose-headers", EXPOSED)
        .with("cache-control", "no-store")
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn with_body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("content-type", media_type)
    }

    /// A problem (RFC 9457), in words for people.
    pub(crate) fn problem(status: u16, detail: &str) -> Self {
        let title = title(status);
        let problem = serde_json::json!({
            "type": "about:blank", "title": title, "status": status, "detail": detail,
        });
        Reply::new(status).with_body("application/problem+json", problem.to_string())
    }

    /// A problem that may have gone after so many seconds.
    pub(crate) fn later(status: u16, seconds: u32, detail: &str) -> Self {
        Reply::problem(status, detail).with("retry-after", seconds.to_string())
    }

    /// The answer of the authentication policy.
    pub(crate) fn denied(denial: &Denial, presented: bool) -> Self {
        match denial {
            Denial::Unauthenticated(why) => Reply::unauthenticated(why, presented),
            Denial::Forbidden(why) => Reply::problem(403, why),
            Denial::OverQuota(why) => Reply::later(429, RETRY_SECONDS, why),
            Denial::Unavailable(why) => Reply::unavailable(why),
        }
    }

    /// Nobody knows who this is (RFC 6750 §3): the error is named only where a token was presented.
    pub(crate) fn unauthenticated(why: &str, presented: bool) -> Self {
        let challenge = match presented {
            true => "Bearer realm=\"rillway\", error=\"invalid_token\"",
            false => "Bearer realm=\"rillway\"",
        };
        Reply::problem(401, why).with("www-authenticate", challenge)
    }

    /// The router is overloaded or going away.
    pub(crate) fn unavailable(why: &str) -> Self {
        Reply::later(503, RETRY_SECONDS, why)
    }

    /// Nothing is published that could be played (draft-ietf-wish-whep-04, "Session Management").
    pub(crate) fn nothing_to_play(why: &str) -> Self {
        Reply::later(409, RETRY_PLAY_SECONDS, why)
    }

    /// ICE was restarted too often.
    pub(crate) fn too_often(why: &str) -> Self {
        Reply::later(429, RETRY_RESTART_SECONDS, why)
    }

    /// A method that is not for this kind of path.
    pub(crate) fn not_allowed(methods: &str) -> Self {
        Reply::problem(405, "this method is not for this path").with("allow", methods)
    }

    /// A body of another kind.
    pub(crate) fn unsupported(name: &str, wanted: &str) -> Self {
        Reply::problem(415, &format!("the body has to be {wanted}")).with(name, wanted)
    }

    /// What may be asked for here, for web pages (FETCH §4.8) and for everybody.
    pub(crate) fn options(methods: &str) -> Self {
        Reply::new(200)
            .with("access-control-allow-methods", METHODS)
            .with("access-control-allow-headers", REQUEST_HEADERS)
            .with("access-control-max-age", "86400")
            .with("allow", methods)
            .with("accept-post", SDP)
            .with("accept-patch", FRAGMENT)
    }

    /// An endpoint that is asked for itself (draft-ietf-wish-whep-04, "URL Discoverability").
    pub(crate) fn describes_player() -> Self {
        Reply::new(200).with("content-type", SDP)
    }

    /// A session that has begun.
    pub(crate) fn created(
        location: &str,
        etag: &str,
        answer: &str,
        ice_servers: &[IceServer],
    ) -> Self {
        let mut reply = Reply::new(201)
            .with("location", location)
            .with("etag", etag)
            .with_body(SDP, answer);
        for server in ice_servers {
            for link in links(server) {
                reply = reply.with("link", link);
            }
        }
        reply
    }

    /// ICE has been restarted.
    pub(crate) fn restarted(etag: &str, fragment: &str) -> Self {
        Reply::new(200)
            .with("etag", etag)
            .with_body(FRAGMENT, fragment)
    }

    pub(crate) fn to(self, id: u64) -> HttpResponse {
        HttpResponse {
            id,
            status: self.status,
            headers: self.headers,
            body: self.body,
        }
    }
}

/// `Link` headers for a STUN or TURN server (RFC 9725 §4.6), one for each address.
fn links(server: &IceServer) -> Vec<String> {
    let text = |name: &str, value: &Option<String>| match value.as_deref().map(quoted) {
        Some(Some(value)) => Some(format!("; {name}={value}")),
        Some(None) => None,
        None => Some(String::new()),
    };
    let (Some(username), Some(credential)) = (
        text("username", &server.username),
        text("credential", &server.credential),
    ) else {
        // What cannot be said in a header is no use by half.
        return Vec::new();
    };
    let kind = match server.credential {
        Some(_) => "; credential-type=\"password\"",
        None => "",
    };
    let plain = |url: &&String| {
        url.bytes()
            .all(|b| b.is_ascii_graphic() && b != b'>' && b != b'<')
    };
    let urls = server.urls.iter().filter(plain);
    urls.map(|url| format!("<{url}>; rel=\"ice-server\"{username}{credential}{kind}"))
        .collect()
}

/// A quoted string (RFC 9110 §5.6.4).
fn quoted(text: &str) -> Option<String> {
    let fits = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Titles of the statuses used here (RFC 9110 §15, RFC 6585).
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str], username: Option<&str>, credential: Option<&str>) -> IceServer {
        IceServer {
            urls: urls.iter().map(|&url| url.to_owned()).collect(),
            username: username.map(str::to_owned),
            credential: credential.map(str::to_owned),
        }
    }

    #[test]
    fn each_address_of_a_server_is_a_link() {
        assert_eq!(
            links(&server(&["stun:stun.example.net"], None, None)),
            ["<stun:stun.example.net>; rel=\"ice-server\""]
        );
        let turn = ["turn:t.example?transport=udp", "turns:t.example"];
        assert_eq!(
            links(&server(&turn, Some("us\"er"), Some("pass\\word"))),
            [
                "<turn:t.example?transport=udp>; rel=\"ice-server\"; username=\"us\\\"er\"; \
                 credential=\"pass\\\\word\"; credential-type=\"password\"",
                "<turns:t.example>; rel=\"ice-server\"; username=\"us\\\"er\"; \
                 credential=\"pass\\\\word\"; credential-type=\"password\""
            ]
        );
    }

    #[test]
    fn what_cannot_be_a_header_is_left_out() {
        assert!(links(&server(&["stun:a>b", "stun:a b"], None, None)).is_empty());
        assert!(links(&server(&["turn:a"], Some("é"), Some("x"))).is_empty());
        assert!(links(&server(&["turn:a"], Some("a\r\nb: c"), None)).is_empty());
    }

    #[test]
    fn problems_are_json_whatever_they_say() {
        let reply = Reply::problem(422, "say \"no\"\n").to(7);
        let value: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(value["status"], 422);
        assert_eq!(value["title"], "Unprocessable Content");
        assert_eq!(value["detail"], "say \"no\"\n");
        assert_eq!((reply.id, reply.status), (7, 422));
    }
}
