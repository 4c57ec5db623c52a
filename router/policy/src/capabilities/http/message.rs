//! Requests before they are sent, and answers while they are read.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};

use super::origin::Origin;
use crate::capabilities::log::clean;

/// Largest body, either way, bytes (part of the ABI).
const BODY_BYTES_MAX: usize = 1 << 20;
/// Headers, either way.
pub(super) const HEADERS_MAX: usize = 64;
/// Bytes of all headers of a request, and of an answer.
const HEADER_BYTES_MAX: usize = 16 << 10;
pub(super) const ANSWER_HEADER_BYTES_MAX: usize = 64 << 10;
/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 4 << 10;

const AGENT: &str = concat!("rillway/", env!("CARGO_PKG_VERSION"));

/// Headers that belong to the connection: with them a plugin could speak to another host, or smuggle a
/// second request into the connection (RFC 9110 §7.6.1, RFC 9112 §6).
const REFUSED_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request of a plugin; mirrors the WIT.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout_ms: u32,
}

/// The answer; mirrors the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer; mirrors the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Error {
    NotAllowed(String),
    Invalid(String),
    Timeout,
    Failed(String),
}

impl Request {
    /// What it costs of the plugin's bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.method.len() + self.url.len() + header_bytes(&self.headers) + self.body.len()
    }
}

fn header_bytes(headers: &[(String, String)]) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum()
}

/// An error with what caused it: the first alone says little.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    clean(&text)
}

/// The request as it is sent, if it may be.
///
/// # Errors
/// [`Error::NotAllowed`], [`Error::Invalid`].
pub(super) fn checked(
    origins: &[Origin],
    request: Request,
) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let invalid = |problem: &str| Error::Invalid(problem.to_owned());
    if request.url.len() > URL_BYTES_MAX {
        return Err(invalid("the URL is longer than 4 KiB"));
    }
    let uri: Uri = request
        .url
        .parse()
        .map_err(|_| invalid("the URL is malformed"))?;
    let origin = Origin::of(&uri)
        .ok_or_else(|| invalid("the URL is not `http://` or `https://`, a host and a path"))?;
    if !origins.contains(&origin) {
        return Err(Error::NotAllowed(origin.to_string()));
    }
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| !matches!(*method, Method::CONNECT | Method::TRACE))
        .ok_or_else(|| invalid("the method is none that is sent, such as GET or POST"))?;
    if request.body.len() > BODY_BYTES_MAX {
        return Err(invalid("the body is larger than 1 MiB"));
    }
    let headers = headers(&request.headers)?;
    let mut sent = hyper::Request::new(Full::new(Bytes::from(request.body)));
    *sent.method_mut() = method;
    *sent.uri_mut() = uri;
    *sent.headers_mut() = headers;
    Ok(sent)
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Error> {
    if pairs.len() > HEADERS_MAX || header_bytes(pairs) > HEADER_BYTES_MAX {
        let problem = "at most 64 headers with 16 KiB are sent";
        return Err(Error::Invalid(problem.to_owned()));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let refused = |problem: &str| {
            let name: String = name.chars().take(64).collect();
            Error::Invalid(format!("the header `{}` {problem}", name.escape_debug()))
        };
        let parsed: HeaderName = name
            .parse()
            .map_err(|_| refused("is no name (RFC 9110 §5.1)"))?;
        if REFUSED_HEADERS.contains(&parsed.as_str()) {
            return Err(refused("is set by the router"));
        }
        let value: HeaderValue = value
            .parse()
            .map_err(|_| refused("has a value with control characters"))?;
        headers.append(parsed, value);
    }
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(AGENT));
    Ok(headers)
}

/// Reads an answer to its end, and adds what came to `received`, also where it breaks off.
///
/// # Errors
/// [`Error::Failed`]: it broke off or is too long.
pub(super) async fn read(
    answer: hyper::Response<Incoming>,
    received: &AtomicUsize,
) -> Result<Response, Error> {
    let (head, mut incoming) = answer.into_parts();
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    };
    let headers: Vec<_> = head.headers.iter().map(pair).collect();
    let head_bytes = header_bytes(&headers);
    received.fetch_add(head_bytes, Relaxed);
    if head_bytes > ANSWER_HEADER_BYTES_MAX {
        let problem = "the headers of the answer are longer than 64 KiB";
        return Err(Error::Failed(problem.to_owned()));
    }
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| Error::Failed(chain(&error)))?;
        // Trailers are of no use to anybody.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        received.fetch_add(data.len(), Relaxed);
        if body.len() + data.len() > BODY_BYTES_MAX {
            return Err(Error::Failed("the answer is longer than 1 MiB".to_owned()));
        }
        body.extend_from_slice(&data);
    }
    Ok(Response {
        status: head.status.as_u16(),
        headers,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    fn request(url: &str) -> Request {
        Request {
            method: "POST".to_owned(),
            url: url.to_owned(),
            ..Request::default()
        }
    }

    #[test]
    fn only_what_is_listed_is_reached() {
        let allowed = [
            origin("https://a.example"),
            origin("http://127.0.0.1:80"),
            origin("http://[::2]:81"),
        ];
        let error = |url: &str| checked(&allowed, request(url)).err();
        for url in [
            "https://a.example/x?y=https://b.example",
            "https://A.EXAMPLE:443",
            "http://127.0.0.1/",
            "http://[0::2]:81/",
        ] {
            assert_eq!(error(url), None, "{url}");
        }
        for url in [
            "http://a.example/",
            "https://a.example:444/",
            "https://a.example.evil.example/",
            "https://b.a.example/",
            "https://a.example./",
            "http://127.1/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(matches!(error(url), Some(Error::NotAllowed(_))), "{url}");
        }
        for url in [
            "https://a.example@evil.example/",
            "https://evil.example#@a.example/",
            "https://evil.example?@a.example/",
            "https://a.example\\@evil.example/",
            "https://a.example:443@evil.example/",
            "https://a.example\r\nhost: evil/",
            "https://a.example:/",
            "https://a.example /",
            "/path",
            "",
            "file:///etc/passwd",
        ] {
            let error = error(url);
            let refused = matches!(error, Some(Error::Invalid(_) | Error::NotAllowed(_)));
            assert!(refused, "{url}: {error:?}");
        }
    }

    #[test]
    fn requests_are_checked() {
        let allowed = [origin("https://a.example")];
        let base = request("https://a.example/");
        let refused = |change: &dyn Fn(&mut Request)| {
            let mut request = base.clone();
            change(&mut request);
            matches!(checked(&allowed, request), Err(Error::Invalid(_)))
        };
        let header = |name: &str, value: &str| {
            let pair = (name.to_owned(), value.to_owned());
            refused(&|r| r.headers.push(pair.clone()))
        };
        assert!(!refused(&|_| {}));
        for method in ["", "GET /", "CONNECT", "TRACE"] {
            assert!(refused(&|r| method.clone_into(&mut r.method)), "{method}");
        }
        for name in REFUSED_HEADERS {
            assert!(header(&name.to_uppercase(), "1"), "{name}");
        }
        assert!(header("x y", "1") && header("", "1") && header("x", "a\r\nhost: evil"));
        assert!(!header("authorization", "Bearer x"));
        assert!(refused(&|r| r.body = vec![0; BODY_BYTES_MAX + 1]));
        assert!(refused(
            &|r| r.headers = vec![("x".to_owned(), "y".repeat(17 << 10))]
        ));
        assert!(refused(
            &|r| r.headers = vec![("x".to_owned(), String::new()); 65]
        ));
        assert!(refused(&|r| r.url.push_str(&"x".repeat(5 << 10))));
    }

    #[test]
    fn a_plugin_may_name_itself() {
        let allowed = [origin("https://a.example")];
        let agent = |headers: &[(&str, &str)]| {
            let mut request = request("https://a.example/");
            let pair = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
            request.headers = headers.iter().map(pair).collect();
            let sent = checked(&allowed, request).unwrap();
            let mut all = sent.headers().get_all(USER_AGENT).iter();
            let first = all.next().unwrap().to_str().unwrap().to_owned();
            assert!(all.next().is_none());
            first
        };
        assert_eq!(agent(&[]), AGENT);
        assert_eq!(agent(&[("User-Agent", "mine")]), "mine");
    }
}
