//! DTLS of the swarm: one configuration and one certificate for all, and keys of players taken before the engine gets
//! them, so that media is opened without it.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m_proto::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion, SrtpProfile,
};
use str0m_proto::crypto::{CryptoError, CryptoProvider, DtlsVersion};

/// What a handshake left for media.
pub(crate) struct Exported {
    pub(crate) profile: SrtpProfile,
    /// RFC 5764 §4.2.
    pub(crate) material: Vec<u8>,
    /// We were the DTLS client.
    pub(crate) client: bool,
}

thread_local! {
    /// On its way from an [`Association`] inside an engine to the peer that polls it.
    static EXPORTED: Cell<Option<Exported>> = const { Cell::new(None) };
}

/// Takes what the engine just polled on this thread left.
pub(crate) fn take_exported() -> Option<Exported> {
    EXPORTED.take()
}

/// What engines compute with. `keep`: they do not get the keys of media.
pub(crate) fn crypto_provider(keep: bool) -> Arc<CryptoProvider> {
    static GIVING: Provider = Provider { keep: false };
    static KEEPING: Provider = Provider { keep: true };
    let mut provider = str0m_aws_lc_rs::default_provider();
    provider.dtls_provider = if keep { &KEEPING } else { &GIVING };
    Arc::new(provider)
}

#[derive(Debug)]
struct Provider {
    keep: bool,
}

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        let provider = str0m_aws_lc_rs::default_provider();
        provider.dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = config(mtu)?;
        let dtls = dimpl::Dtls::new_12(config, certificate.clone(), now);
        Ok(Box::new(Association {
            dtls,
            keep: self.keep,
            now,
        }))
    }
}

/// Building one takes most of a millisecond.
fn config(mtu: Option<usize>) -> Result<Arc<dimpl::Config>, CryptoError> {
    static CONFIG: OnceLock<Arc<dimpl::Config>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut builder = dimpl::Config::builder().use_server_cookie(false);
    if let Some(mtu) = mtu {
        builder = builder.mtu(mtu);
    }
    let config = builder
        .build()
        .map_err(|error| CryptoError::Other(error.to_string()))?;
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

struct Association {
    dtls: dimpl::Dtls,
    keep: bool,
    now: Instant,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").finish_non_exhaustive()
    }
}

impl DtlsInstance for Association {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.dtls.is_active();
        match self.dtls.poll_output(buffer) {
            DtlsOutput::KeyingMaterial(material, profile) if self.keep => {
                EXPORTED.set(Some(Exported {
                    profile,
                    material: material.as_ref().to_vec(),
                    client,
                }));
                // Of course there is more to come.
                DtlsOutput::Timeout(self.now)
            }
            output => output,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}
