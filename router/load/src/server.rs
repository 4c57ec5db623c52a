//! Where the server is, and streams to it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use hyper::http::Uri;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    tls: bool,
    host: String,
    port: u16,
    /// What all paths begin with.
    prefix: String,
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{url}` is no address of a server: {why}; give one as http://127.0.0.1:8080 or wss://media.example.net"
)]
pub struct ServerError {
    url: String,
    why: String,
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(url: &str) -> Result<Self, ServerError> {
        let broken = |why: &str| ServerError {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| broken("it cannot be read"))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            Some(_) => return Err(broken("only http, https, ws and wss are spoken")),
            None => return Err(broken("it has no scheme")),
        };
        if uri.query().is_some() {
            return Err(broken("it has a query"));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| broken("it has no host"))?;
        Ok(Server {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin("http"), self.prefix)
    }
}

impl Server {
    /// Scheme, host and port; `plain` is the scheme without TLS.
    pub(crate) fn origin(&self, plain: &str) -> String {
        let secure = if self.tls { "s" } else { "" };
        format!("{plain}{secure}://{}", self.authority())
    }

    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Its address, by the system's resolver.
    pub(crate) async fn resolve(&self) -> Result<SocketAddr, ConnectError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((host, self.port)).await;
        let unknown = |why: String| ConnectError::Unknown(self.host.clone(), why);
        let mut found = found.map_err(|error| unknown(error.to_string()))?;
        found.next().ok_or_else(|| unknown("no address".to_owned()))
    }
}

/// Why there is no connection to the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No such name.
    #[error("{0} is not known here: {1}")]
    Unknown(String, String),
    /// Nobody listens.
    #[error(
        "nothing listens at {0}: is the server running, and is this its port? (`rillway dev` starts one on 8080)"
    )]
    Refused(SocketAddr),
    /// The network failed.
    #[error("no connection to {0}: {1}")]
    Failed(SocketAddr, String),
    /// TLS failed.
    #[error("no TLS with {0}: {1}; an authority that this machine does not know is given by --ca")]
    Tls(String, String),
    /// A file of authorities cannot be used.
    #[error("{0}: {1}")]
    Authorities(String, String),
}

/// Bytes to and from the server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Makes streams to one server.
pub(crate) struct Connector {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Connector {
    /// With the machine's authorities and those of a file (PEM).
    pub(crate) async fn new(
        server: Server,
        authorities: Option<&str>,
    ) -> Result<Self, ConnectError> {
        let address = server.resolve().await?;
        let tls = server.tls.then(|| tls(authorities)).transpose()?;
        Ok(Connector {
            server,
            address,
            tls,
        })
    }

    pub(crate) async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ConnectError::Refused(self.address),
            _ => ConnectError::Failed(self.address, error.to_string()),
        })?;
        // Without it, small messages only take longer.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let failed = |why: String| ConnectError::Tls(self.server.authority(), why);
        let host = self
            .server
            .host
            .trim_start_matches('[')
            .trim_end_matches(']');
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
        let stream = tls.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| failed(error.to_string()))?))
    }
}

fn tls(authorities: Option<&str>) -> Result<TlsConnector, ConnectError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = authorities {
        let broken = |why: String| ConnectError::Authorities(file.to_owned(), why);
        let read =
            CertificateDer::pem_file_iter(file).map_err(|error| broken(error.to_string()))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| broken(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| broken(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Tls("anybody".to_owned(), error.to_string()))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_of_four_schemes() {
        let server: Server = "wss://media.example.net/behind/".parse().expect("a URL");
        assert_eq!(server.to_string(), "https://media.example.net:443/behind");
        assert_eq!(server.path("/whip/a"), "/behind/whip/a");
        assert_eq!(server.origin("ws"), "wss://media.example.net:443");
        let server: Server = "http://[::1]:8080".parse().expect("a URL");
        assert_eq!(server.to_string(), "http://[::1]:8080");
        for (url, why) in [
            ("127.0.0.1:8080", "no scheme"),
            ("http://a b", "cannot be read"),
            ("localhost", "no scheme"),
            ("ftp://a", "only http"),
            ("http://a?b", "a query"),
        ] {
            let error = url.parse::<Server>().expect_err(url).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
