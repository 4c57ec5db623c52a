//! The page: files of `page/`, embedded in the binary. They are the same for everybody and hold no numbers.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::gateway::page;

/// Everything in `page/`; what is no page file is not served, see [`page::content_type`].
#[derive(RustEmbed)]
#[folder = "src/console/page/"]
struct Files;

/// Scripts and styles of our own, connections to ourselves, nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// It uses no device.
const DEVICES: &str =
    "camera=(), microphone=(), display-capture=(), geolocation=(), payment=(), usb=()";

/// A file of the page, or 404.
pub(super) fn get(path: &str, headers: &HeaderMap) -> Response {
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let found = page::content_type(name).and_then(|kind| Some((kind, Files::get(name)?)));
    match found {
        Some((kind, file)) => secured(page::file(kind, file, headers)),
        None => secured((StatusCode::NOT_FOUND, "there is no such page\n").into_response()),
    }
}

/// Adds the headers that every answer has.
pub(super) fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    page::guarded(response, DEVICES)
}
