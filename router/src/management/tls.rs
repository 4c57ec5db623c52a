//! TLS 1.3 for both ends: mutual authentication, no resumption, no early data.
//!
//! Without resumption every connection proves its certificate anew, so that one which has expired or
//! whose authority was replaced opens nothing; without early data no verb can be replayed.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;

use crate::config::Secret;

/// The protocol and its version (RFC 7301).
pub const ALPN: &[u8] = b"rillway-mgmt/1";

/// Who one is, and whom one believes. All as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Own certificate, and those between it and the authority.
    pub certificate: String,
    /// Its private key.
    pub key: Secret,
    /// Certificates of the authority of the other side, and for a router its lists of those it has revoked.
    pub authority: String,
}

/// Which part of an [`Identity`] cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate.
    #[error("no certificate in it can be used: {0}")]
    Certificate(String),
    /// The key.
    #[error("no private key in it can be used: {0}")]
    Key(String),
    /// Certificate and key.
    #[error("certificate and key do not belong together: {0}")]
    Pair(String),
    /// The authority.
    #[error("no certificate of an authority in it can be used: {0}")]
    Authority(String),
    /// The library lacks what we ask of it.
    #[error("TLS 1.3 cannot be set up: {0}")]
    Library(String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Identity {
    /// The certificates, the own one first.
    ///
    /// # Errors
    /// [`TlsError::Certificate`].
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.certificate).map_err(TlsError::Certificate)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.key.reveal().as_bytes())
            .map_err(|error| TlsError::Key(error.to_string()))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority).map_err(TlsError::Authority)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::Authority(error.to_string()))?;
        }
        Ok(Arc::new(roots))
    }

    /// Which clients a router believes.
    ///
    /// # Errors
    /// [`TlsError::Authority`].
    pub(crate) fn trust(&self) -> Result<Trust, TlsError> {
        let authority = |error: &dyn std::fmt::Display| TlsError::Authority(error.to_string());
        let lists = CertificateRevocationListDer::pem_slice_iter(self.authority.as_bytes());
        let lists: Result<Vec<_>, _> = lists.collect();
        let clients = WebPkiClientVerifier::builder_with_provider(self.roots()?, provider())
            .with_crls(lists.map_err(|error| authority(&error))?)
            // An authority without a list has revoked nobody. What a list says does not wear off.
            .allow_unknown_revocation_status()
            .only_check_end_entity_revocation()
            .build()
            .map_err(|error| authority(&error))?;
        Ok(Trust(clients))
    }

    /// For a router: clients must prove a certificate of the authority.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn server(&self) -> Result<Arc<QuicServerConfig>, TlsError> {
        let (chain, key, Trust(clients)) = (self.chain()?, self.key()?, self.trust()?);
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| TlsError::Library(error.to_string()))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Pair(error.to_string()))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(
            QuicServerConfig::try_from(config)
                .map_err(|error| TlsError::Library(error.to_string()))?,
        ))
    }

    /// For a client: the router must prove a certificate of the authority for the name it is reached by.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn client(&self) -> Result<Arc<QuicClientConfig>, TlsError> {
        let (chain, key, roots) = (self.chain()?, self.key()?, self.roots()?);
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| TlsError::Library(error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| TlsError::Pair(error.to_string()))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(Arc::new(
            QuicClientConfig::try_from(config)
                .map_err(|error| TlsError::Library(error.to_string()))?,
        ))
    }
}

/// Which clients a router believes.
#[derive(Debug, Clone)]
pub(crate) struct Trust(Arc<dyn ClientCertVerifier>);

impl Trust {
    /// Whether it believes who showed these certificates, the own one first, before it was asked.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn still(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (own, between) = chain
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        self.0
            .verify_client_cert(own, between, UnixTime::now())
            .map(|_| ())
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes());
    let all: Result<Vec<_>, _> = all.collect();
    match all {
        Ok(all) if all.is_empty() => Err("there is none in PEM".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(error.to_string()),
    }
}
