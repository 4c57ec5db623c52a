//! `[traces]`: as it is written, checked, and as it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// Headers in a file: a collector wants a token, seldom more.
const HEADERS_MAX: usize = 16;

/// Traces of the control plane by OpenTelemetry: a client's way from the gateway through plugins to a media worker
/// (`docs/traces.md`). Off unless `endpoint` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Traces")]
pub(super) struct RawTraces {
    /// Where a collector takes OTLP over HTTP (protobuf): an `http://` or `https://` URL with its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 2_048), extend("format" = "collector-url", "x-example" = "http://127.0.0.1:4318/v1/traces"))]
    pub(super) endpoint: Option<String>,
    /// File with headers for each request to the collector, such as a token: `NAME: VALUE`, one a line; relative to
    /// this file. Only its owner and group may be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "collector.headers"))]
    pub(super) headers_file: Option<PathBuf>,
    /// PEM file with certificate authorities for the collector, besides the system's; relative to this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "collector-ca.pem"))]
    pub(super) ca_file: Option<PathBuf>,
    /// Clients whose traces are kept, of a thousand; chosen by the id of the trace. A client cannot make itself one
    /// of them.
    #[schemars(range(max = 1_000), extend("x-unit" = "of 1,000"))]
    pub(super) sampled_permille: u16,
    /// What this router is called in traces (`service.name`).
    #[schemars(length(min = 1, max = 128))]
    pub(super) service_name: String,
    /// Spans that wait to be sent. More are dropped and counted (`rillway_trace_spans_total`).
    #[schemars(range(min = 64, max = 65_536))]
    #[schemars(extend("x-unit" = "spans", "x-memory" = "about 1 KiB each, while the collector does not answer"))]
    pub(super) queue_spans: u32,
    /// Time the collector has to answer.
    #[schemars(range(min = 100, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub(super) timeout_ms: u32,
}

impl Default for RawTraces {
    fn default() -> Self {
        RawTraces {
            endpoint: None,
            headers_file: None,
            ca_file: None,
            sampled_permille: 1_000,
            service_name: "rillway".to_owned(),
            queue_spans: 4_096,
            timeout_ms: 5_000,
        }
    }
}

/// Where traces go, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traces {
    /// The collector.
    pub endpoint: Uri,
    /// Headers of each request to it; their values may be secret.
    pub headers: Vec<(String, Secret)>,
    /// Certificate authorities in PEM, besides the system's.
    pub authorities: String,
    /// Traces that are kept, of a thousand.
    pub sampled_permille: u16,
    /// What this router is called.
    pub service_name: String,
    /// Spans that wait.
    pub queue_spans: u32,
    /// Time the collector has to answer.
    pub timeout: Duration,
}

impl Traces {
    /// All traces to a collector of a test.
    #[cfg(test)]
    pub(crate) fn for_tests(endpoint: &'static str, timeout: Duration) -> Traces {
        Traces {
            endpoint: Uri::from_static(endpoint),
            headers: Vec::new(),
            authorities: String::new(),
            sampled_permille: 1_000,
            service_name: "rillway".to_owned(),
            queue_spans: 64,
            timeout,
        }
    }
}

/// A fault at a key.
pub(super) struct Fault {
    pub(super) title: String,
    pub(super) key: &'static str,
    pub(super) help: String,
}

/// What cannot be used of it.
type Reading = dyn Fn(&Path) -> Result<String, (String, String)>;

/// Checks it; `read` reads a file that may be secret, and `read_public` one that need not be.
///
/// # Errors
/// The first fault.
pub(super) fn validate(
    raw: &RawTraces,
    folder: &Path,
    (read, read_public): (&Reading, &Reading),
) -> Result<Option<Traces>, Fault> {
    let Some(endpoint) = &raw.endpoint else {
        let files = [
            ("traces.headers_file", &raw.headers_file),
            ("traces.ca_file", &raw.ca_file),
        ];
        return match files.into_iter().find(|(_, file)| file.is_some()) {
            None => Ok(None),
            Some((key, _)) => Err(Fault {
                title: format!("`{key}` is set, and traces are off"),
                key,
                help: "set `traces.endpoint`, such as \"http://127.0.0.1:4318/v1/traces\", or leave it out"
                    .to_owned(),
            }),
        };
    };
    let text = |key: &'static str, file: &Option<PathBuf>, read: &Reading| {
        let Some(file) = file else {
            return Ok(String::new());
        };
        let path = folder.join(file);
        read(&path).map_err(|(why, help)| Fault {
            title: format!("cannot use `{}`: {why}", path.display()),
            key,
            help,
        })
    };
    let lines = text("traces.headers_file", &raw.headers_file, read)?;
    let headers = headers(&lines).map_err(|why| Fault {
        title: format!("cannot use the headers of `traces.headers_file`: {why}"),
        key: "traces.headers_file",
        help: "write `NAME: VALUE`, one a line, such as `authorization: Bearer TOKEN`".to_owned(),
    })?;
    Ok(Some(Traces {
        // The checker has parsed it.
        endpoint: endpoint.parse().unwrap_or_default(),
        headers,
        authorities: text("traces.ca_file", &raw.ca_file, read_public)?,
        sampled_permille: raw.sampled_permille,
        service_name: raw.service_name.clone(),
        queue_spans: raw.queue_spans,
        timeout: Duration::from_millis(u64::from(raw.timeout_ms)),
    }))
}

/// Headers, one a line. What is wrong is said without what is written: it may be secret.
fn headers(lines: &str) -> Result<Vec<(String, Secret)>, String> {
    let mut headers = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = number + 1;
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("line {number} has no colon"))?;
        let (name, value) = (name.trim(), value.trim());
        let name = HeaderName::try_from(name)
            .map_err(|_| format!("what is before the colon of line {number} is no header"))?;
        if HeaderValue::try_from(value).is_err() {
            return Err(format!("the value of line {number} cannot be sent"));
        }
        headers.push((name.as_str().to_owned(), Secret::new(value.to_owned())));
    }
    match headers.len() {
        0 if !lines.is_empty() => Err("there is none in it".to_owned()),
        count if count > HEADERS_MAX => Err(format!("there are more than {HEADERS_MAX}")),
        _ => Ok(headers),
    }
}

/// Whether a text is where a collector may be.
///
/// # Errors
/// Why not.
pub(super) fn check_collector_url(text: &str) -> Result<(), &'static str> {
    let uri: Uri = text.parse().map_err(|_| "this is no URL")?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some("grpc") => return Err("OTLP over gRPC is not spoken: use the collector's HTTP port"),
        _ => return Err("expected http:// or https:// before it"),
    }
    let authority = uri.authority().ok_or("the host is missing")?;
    if authority.as_str().contains('@') {
        return Err("credentials belong into `traces.headers_file`");
    }
    if authority.host().is_empty() {
        return Err("the host is missing");
    }
    if matches!(uri.path(), "" | "/") {
        return Err("the path is missing: collectors take traces at /v1/traces");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_scheme_host_and_path() {
        for good in [
            "http://127.0.0.1:4318/v1/traces",
            "https://collector.example/v1/traces",
            "http://[::1]:4318/otlp?tenant=a",
        ] {
            assert_eq!(check_collector_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:4318",
            "http://",
            "http://127.0.0.1:4318",
            "http://127.0.0.1:4318/",
            "grpc://127.0.0.1:4317/x",
            "ftp://a/v1/traces",
            "https://user:word@a/v1/traces",
        ] {
            assert!(check_collector_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_stand_one_a_line_and_are_not_shown() {
        let read = headers("Authorization: Bearer a:b\n\nx-tenant:7\r\n").unwrap();
        let read: Vec<_> = read.iter().map(|(n, v)| (n.as_str(), v.reveal())).collect();
        assert_eq!(read, [("authorization", "Bearer a:b"), ("x-tenant", "7")]);
        assert!(headers("").unwrap().is_empty());
        let many = "a: b\n".repeat(HEADERS_MAX + 1);
        for bad in ["token", " \n", "a b: c", ": c", "a: \u{7f}", &many] {
            let why = headers(bad).unwrap_err();
            assert!(!why.contains("token") && !why.is_empty(), "{why}");
        }
    }
}
