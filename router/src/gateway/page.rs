//! The built-in page: files of `page/`, embedded in the binary.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// Everything in `page/`; what is no page file (type checker settings) is not served, see
/// [`content_type`].
#[derive(RustEmbed)]
#[folder = "src/gateway/page/"]
struct Files;

const NOT_FOUND: &str = include_str!("not_found.html");

/// A file of the page, or the 404 page.
pub(super) fn get(method: &Method, path: &str, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            [("allow", "GET, HEAD")],
            "method not allowed\n",
        )
            .into_response();
    }
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let found = content_type(name).and_then(|kind| Files::get(name).map(|file| (kind, file)));
    match found {
        Some((kind, file)) => serve(kind, file, headers),
        None => not_found(),
    }
}

/// The 404 page.
pub(super) fn not_found() -> Response {
    let body = (
        StatusCode::NOT_FOUND,
        [(CONTENT_TYPE, "text/html; charset=utf-8")],
        NOT_FOUND,
    );
    secured(body.into_response(), "")
}

/// Media type of a page file; `None` for what is not to be served.
pub(crate) fn content_type(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

fn serve(kind: &'static str, embedded: EmbeddedFile, headers: &HeaderMap) -> Response {
    let host = headers
        .get(axum::http::header::HOST)
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    secured(file(kind, embedded, headers), host)
}

/// An embedded file, or that it has not changed.
pub(crate) fn file(kind: &'static str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = etag(&file.metadata.sha256_hash());
    let fresh = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| matches(value, &etag));
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = match file.data {
            Cow::Borrowed(bytes) => Body::from(bytes),
            Cow::Owned(bytes) => Body::from(bytes),
        };
        ([(CONTENT_TYPE, kind)], body).into_response()
    };
    let headers = response.headers_mut();
    // File names carry no version, so every use asks whether the file is still the same.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// Strong entity tag (RFC 9110 §8.8.3) of half a SHA-256.
fn etag(hash: &[u8; 32]) -> String {
    let hex: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("\"{hex}\"")
}

/// `If-None-Match` (RFC 9110 §13.1.2): a list of tags, compared weakly, or `*`.
fn matches(value: &str, etag: &str) -> bool {
    value
        .split(',')
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// Adds the headers that keep the page to itself: its own scripts only, in no frame, with the
/// devices of a call and no others.
fn secured(mut response: Response, host: &str) -> Response {
    // `'self'` covers WebSockets only in newer browsers, so the host is named for the older ones.
    let sockets = if is_host(host) {
        format!(" ws://{host} wss://{host}")
    } else {
        String::new()
    };
    let policy = format!(
        "default-src 'self'; connect-src 'self'{sockets}; img-src 'self' blob: data:; \
         media-src 'self' blob: mediastream:; worker-src 'self' blob:; object-src 'none'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    guarded(
        response,
        "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), \
         geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=()",
    )
}

/// Adds what every page of ours is guarded by, beside its own content policy; `devices` is its permissions policy.
pub(crate) fn guarded(mut response: Response, devices: &'static str) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The room's name is in the address.
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), devices),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether this is a host and port and nothing that would say more in a policy.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use axum::http::header::{ALLOW, HOST};

    use super::*;

    fn fetch(path: &str) -> Response {
        get(&Method::GET, path, &HeaderMap::new())
    }

    #[test]
    fn the_page_is_at_the_root_with_its_type_and_its_guards() {
        let response = fetch("/");
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(headers.contains_key("permissions-policy"));
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn an_unchanged_file_is_not_sent_again() {
        let etag = fetch("/").headers()[ETAG].clone();
        for value in [
            etag.to_str().unwrap(),
            &format!("\"x\", W/{}", etag.to_str().unwrap()),
            "*",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, value.parse().unwrap());
            let response = get(&Method::GET, "/", &headers);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{value}");
            assert_eq!(response.headers()[ETAG], etag);
        }
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, "\"other\"".parse().unwrap());
        assert_eq!(get(&Method::GET, "/", &headers).status(), StatusCode::OK);
    }

    #[test]
    fn nothing_else_is_served() {
        for path in [
            "/nothing.html",
            "/package.json",
            "/tsconfig.json",
            "/../mod.rs",
            "/index.html/",
            "/%2e%2e/Cargo.toml",
            "/index",
        ] {
            let response = fetch(path);
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert!(response.headers().contains_key(CONTENT_SECURITY_POLICY));
        }
        let response = get(&Method::POST, "/", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }

    #[test]
    fn the_policy_names_the_host_only_if_it_is_one() {
        let policy = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            let response = get(&Method::GET, "/", &headers);
            response.headers()[CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert!(policy("[::1]:8080").contains("connect-src 'self' ws://[::1]:8080 wss://"));
        assert!(policy("x; script-src *").contains("connect-src 'self';"));
    }

    #[test]
    fn every_page_file_a_browser_asks_for_has_a_type() {
        for name in Files::iter().filter(|n| !n.ends_with(".json") && !n.ends_with(".d.ts")) {
            assert!(content_type(&name).is_some(), "{name}");
        }
    }
}
