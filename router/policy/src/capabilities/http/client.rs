//! Connections: addresses, TLS, and what is kept open.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::address::{Network, may_stand_for};
use super::message::{ANSWER_HEADER_BYTES_MAX, HEADERS_MAX};
use super::origin::Origin;

/// Connections to one host that one policy thread keeps open for one plugin, and for how long.
const IDLE_CONNECTIONS: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Names one plugin looks up at once. The system's look-up cannot be given up: it holds its place until it
/// ends, so that a plugin whose DNS hangs keeps its own requests waiting and nobody else's.
const LOOKUPS: usize = 4;

type Connector = HttpsConnector<HttpConnector<Resolver>>;
pub(super) type Client = hyper_util::client::legacy::Client<Connector, Full<Bytes>>;

/// The connections of one version of a plugin.
#[derive(Debug)]
pub(super) struct Clients {
    connector: Connector,
    /// Connections belong to the runtime that made them, so each policy thread has its own.
    threads: Vec<OnceLock<Client>>,
}

impl Clients {
    pub(super) fn new(listed: Vec<Network>, tls: Tls, threads: usize) -> Clients {
        let resolver = Resolver {
            listed: listed.into(),
            places: Arc::new(Semaphore::new(LOOKUPS)),
        };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.0)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Clients {
            connector,
            threads: (0..threads).map(|_| OnceLock::new()).collect(),
        }
    }

    /// That of a policy thread, on which it is called.
    pub(super) fn on(&self, thread: usize) -> Option<&Client> {
        let make = || {
            hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIME)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .http1_max_headers(HEADERS_MAX)
                // Soft: it is read into a buffer that may have twice the size.
                .http1_max_buf_size(ANSWER_HEADER_BYTES_MAX)
                .build(self.connector.clone())
        };
        Some(self.threads.get(thread)?.get_or_init(make))
    }
}

/// Whom HTTPS trusts.
#[derive(Debug, Clone)]
pub(crate) struct Tls(ClientConfig);

impl Tls {
    /// The system's authorities (or those of `SSL_CERT_FILE`), and those of the operator. Read anew each
    /// time a plugin is loaded, so that a renewed file is used after a reload.
    ///
    /// # Errors
    /// There are none although an origin needs them, or the operator's file is no list of certificates.
    pub(crate) fn new(origins: &[Origin], ca: Option<&Path>) -> Result<Tls, String> {
        let mut roots = RootCertStore::empty();
        if origins.iter().any(Origin::is_https) {
            // What the system has and is no certificate is the system's affair.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if let Some(path) = ca {
                add(&mut roots, path).map_err(|problem| {
                    format!("policy.http_ca_file, {}: {problem}", path.display())
                })?;
            }
            if roots.is_empty() {
                return Err(
                    "an https origin needs certificate authorities, and this machine has none: install the \
                     package `ca-certificates`, or set policy.http_ca_file to a PEM file"
                        .to_owned(),
                );
            }
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(config))
    }
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    match count {
        0 => Err("there is no certificate in it (PEM)".to_owned()),
        _ => Ok(()),
    }
}

/// The system's look-up, without the addresses that a name must not stand for.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    listed: Arc<[Network]>,
    places: Arc<Semaphore>,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (places, listed) = (Arc::clone(&self.places), Arc::clone(&self.listed));
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let looked_up = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(place);
                (name, found)
            });
            let (name, found) = looked_up.await.map_err(io::Error::other)?;
            let found: Vec<SocketAddr> = found?.collect();
            judge(name.as_str(), &found, &listed)
        })
    }
}

fn judge(
    name: &str,
    found: &[SocketAddr],
    listed: &[Network],
) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let may = |at: &&SocketAddr| may_stand_for(name, at.ip(), listed);
    let allowed: Vec<SocketAddr> = found.iter().filter(may).copied().collect();
    match (allowed.is_empty(), found.first()) {
        (true, Some(first)) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{name} stands for {}, which is not public: name the address in http_origins, or list its \
                 network in http_private_networks",
                first.ip()
            ),
        )),
        _ => Ok(allowed.into_iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_loses_what_it_must_not_stand_for() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let both = [at("10.0.0.1:0"), at("1.1.1.1:0")];
        let kept: Vec<_> = judge("a.example", &both, &[]).unwrap().collect();
        assert_eq!(kept, [at("1.1.1.1:0")]);
        let error = judge("a.example", &both[..1], &[]).unwrap_err().to_string();
        assert!(
            error.contains("a.example") && error.contains("10.0.0.1"),
            "{error}"
        );
        assert!(error.contains("http_private_networks"), "{error}");
        let listed = [Network::parse("10.0.0.0/8").unwrap()];
        assert_eq!(judge("a.example", &both, &listed).unwrap().count(), 2);
        assert_eq!(judge("a.example", &[], &[]).unwrap().count(), 0);
    }
}
