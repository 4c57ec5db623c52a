//! How spans reach a collector: OTLP over HTTP, protobuf (the OpenTelemetry Protocol, 1.x).

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config;

/// An answer says that all is well, or how many spans were not taken.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Connections are made again after a while, so that a collector that moved is found.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Why spans did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection, or it broke.
    #[error("{0}")]
    Failed(String),
    /// The collector does not want them.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

impl SendError {
    /// Whether the same spans may be sent once more (OTLP, "Failures").
    pub(super) fn may_pass(&self) -> bool {
        match self {
            SendError::Timeout | SendError::Failed(_) => true,
            SendError::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// A client of one collector. It belongs to the runtime that it is used in.
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    timeout: Duration,
}

impl Collector {
    pub(super) fn new(settings: &config::Traces) -> Result<Collector, std::io::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings).map_err(std::io::Error::other)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Collector {
            client,
            endpoint: settings.endpoint.clone(),
            timeout: settings.timeout,
        })
    }

    /// Sends an encoded request; how many of its spans the collector did not take.
    pub(super) async fn send(&self, body: Bytes, headers: HeaderMap) -> Result<u64, SendError> {
        let exchange = self.exchange(body, headers);
        let result = tokio::time::timeout(self.timeout, exchange).await;
        result.unwrap_or(Err(SendError::Timeout))
    }

    async fn exchange(&self, body: Bytes, headers: HeaderMap) -> Result<u64, SendError> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = headers;
        let ours = [
            (CONTENT_TYPE, "application/x-protobuf"),
            (USER_AGENT, concat!("rillway/", env!("CARGO_PKG_VERSION"))),
        ];
        for (name, value) in ours {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let failed = |error: &dyn std::error::Error| SendError::Failed(chain(error));
        let answer = self.client.request(request).await.map_err(|e| failed(&e))?;
        if !answer.status().is_success() {
            return Err(SendError::Refused(answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map_err(|error| failed(&*error))?.to_bytes();
        // A collector that says nothing, or something else, took them all.
        let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |p| p.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text += ": ";
        text += &next.to_string();
        cause = next.source();
    }
    text
}

/// Whom HTTPS trusts: the system's authorities, and the operator's.
fn tls(settings: &config::Traces) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if settings.endpoint.scheme_str() == Some("https") {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(settings.authorities.as_bytes()) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err(
                "`traces.endpoint` is https, and this machine has no certificate authorities: install the package \
                 `ca-certificates`, or set `traces.ca_file`"
                    .to_owned(),
            );
        }
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
