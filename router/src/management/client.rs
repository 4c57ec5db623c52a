//! A client of the channel, for the command line, for tests, and for other Rust programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, TransportConfig, VarInt};

use super::call::code;
use super::frame::{self, FrameError};
use super::tls::{Identity, TlsError};
use super::wire::request::Verb;
use super::wire::response::Part;
use super::wire::{Error, Request, Response};

/// Time a router has to answer a handshake.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time between signs of life, so that a watch survives the router's idle timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A router that says nothing for so long is gone.
const IDLE_TIME: Duration = Duration::from_secs(20);
/// Longest part of an answer that is accepted, bytes: a page, or all metrics.
const PART_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of a request that are sent before it is said how far it is.
const SENT_AT_ONCE: usize = 64 * 1024;

/// Where a router is, and how one proves oneself to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The name its certificate must have: a host name or an IP address.
    pub name: String,
    /// Own certificate, own key, and the authority of the router's certificate.
    pub identity: Identity,
}

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] TlsError),
    /// No socket, or a name that is none.
    #[error("cannot connect: {0}")]
    Local(String),
    /// Nobody answers there.
    #[error("no router answers at {0}")]
    NoAnswer(SocketAddr),
    /// Its certificate is not one of the authority's, has expired, or is for another name.
    #[error("the router's certificate cannot be trusted: {0}")]
    Untrusted(String),
    /// It does not accept our certificate.
    #[error("the router refused the certificate: {0}")]
    Refused(String),
    /// It takes no connections now: too many are open.
    #[error("the router has too many management connections")]
    Full,
    /// It has ended.
    #[error("the router has ended")]
    Ended,
    /// Something else broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Why a call brought no (more) answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connection.
    #[error(transparent)]
    Connection(#[from] ConnectError),
    /// The router said no.
    #[error("{}", .0.message)]
    Said(Error),
    /// What came is not the protocol.
    #[error("the router's answer cannot be read: {0}")]
    Answer(FrameError),
}

/// A connection to a router.
pub struct Client {
    endpoint: Endpoint,
    connection: Connection,
    address: SocketAddr,
}

impl Client {
    /// Connects. That the router accepts the certificate shows with the first call (TLS 1.3).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(target: &Target) -> Result<Client, ConnectError> {
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .keep_alive_interval(Some(KEEP_ALIVE))
            // Milliseconds below 2^30 always fit.
            .max_idle_timeout(IDLE_TIME.try_into().ok());
        let mut config = quinn::ClientConfig::new(target.identity.client()?);
        config.transport_config(Arc::new(transport));
        let any: IpAddr = match target.address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let endpoint = Endpoint::client(SocketAddr::new(any, 0))
            .map_err(|error| ConnectError::Local(error.to_string()))?;
        let connecting = endpoint
            .connect_with(config, target.address, &target.name)
            .map_err(|error| ConnectError::Local(error.to_string()))?;
        let connection = tokio::time::timeout(CONNECT_TIME, connecting)
            .await
            .map_err(|_| ConnectError::NoAnswer(target.address))?
            .map_err(|error| explain(&error, target.address))?;
        Ok(Client {
            endpoint,
            connection,
            address: target.address,
        })
    }

    /// Begins a call. Several may be under way on one connection.
    ///
    /// # Errors
    /// [`CallError::Connection`].
    pub async fn call(&self, verb: Verb) -> Result<Answer, CallError> {
        self.call_watched(verb, |_, _| {}).await
    }

    /// The same, and says while the request is sent how many bytes of how many are.
    ///
    /// # Errors
    /// [`CallError::Connection`].
    pub async fn call_watched(
        &self,
        verb: Verb,
        mut sent: impl FnMut(u64, u64),
    ) -> Result<Answer, CallError> {
        let lost = |error| CallError::Connection(explain(&error, self.address));
        let (mut outgoing, incoming) = self.connection.open_bi().await.map_err(lost)?;
        let request = Request { verb: Some(verb) };
        let bytes = frame::bytes(&request);
        let mut done = 0;
        for some in bytes.chunks(SENT_AT_ONCE) {
            match outgoing.write_all(some).await {
                Ok(()) => {}
                Err(quinn::WriteError::ConnectionLost(error)) => return Err(lost(error)),
                // It has read enough to refuse the request, and says why in the answer.
                Err(_) => break,
            }
            done += some.len() as u64;
            sent(done, bytes.len() as u64);
        }
        // Stopped already, if the router has read enough.
        let _ = outgoing.finish();
        Ok(Answer {
            incoming,
            connection: self.connection.clone(),
            address: self.address,
            ended: false,
        })
    }

    /// The connection itself, for tests of what no honest client sends.
    #[doc(hidden)]
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Says goodbye and waits until it is heard, or a moment.
    pub async fn close(self) {
        self.connection.close(code::DONE, b"done");
        let _ = tokio::time::timeout(Duration::from_millis(200), self.endpoint.wait_idle()).await;
    }
}

/// The parts of an answer, as they come. Dropping it ends the call.
pub struct Answer {
    incoming: RecvStream,
    connection: Connection,
    address: SocketAddr,
    ended: bool,
}

impl Answer {
    /// The next part; `None` when the answer is complete.
    ///
    /// # Errors
    /// [`CallError`]; nothing more comes then.
    pub async fn next(&mut self) -> Result<Option<Part>, CallError> {
        while !self.ended {
            let response = frame::read::<Response, _>(&mut self.incoming, PART_BYTES_MAX).await;
            let part = match response {
                Ok(Some(response)) => response.part,
                Ok(None) => return Err(CallError::Answer(FrameError::Cut)),
                Err(error) => return Err(self.broken(error)),
            };
            match part {
                Some(Part::End(_)) => self.ended = true,
                Some(Part::Error(error)) => {
                    self.ended = true;
                    return Err(CallError::Said(error));
                }
                Some(part) => return Ok(Some(part)),
                // Of a newer router: not for us.
                None => {}
            }
        }
        Ok(None)
    }

    fn broken(&mut self, error: FrameError) -> CallError {
        self.ended = true;
        match self.connection.close_reason() {
            Some(reason) => CallError::Connection(explain(&reason, self.address)),
            None => CallError::Answer(error),
        }
    }
}

/// TLS alerts (RFC 8446 §6) that are about our certificate.
fn alert(number: u64) -> Option<&'static str> {
    Some(match number {
        42 | 43 | 46 => "it cannot be used",
        51 => "its signature is not the authority's",
        44 => "it was revoked",
        45 => "it has expired",
        48 => "it was issued by another authority",
        116 => "it asks for one",
        _ => return None,
    })
}

/// What a connection's end means for people.
fn explain(error: &ConnectionError, address: SocketAddr) -> ConnectError {
    // Crypto errors are 0x100 and the TLS alert (RFC 9001 §4.8).
    let alert_of = |code: u64| code.checked_sub(0x100).filter(|alert| *alert < 0x100);
    match error {
        ConnectionError::TimedOut => ConnectError::NoAnswer(address),
        ConnectionError::ApplicationClosed(close) if close.error_code == code::ENDED => {
            ConnectError::Ended
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == code::CERTIFICATE => {
            ConnectError::Refused(String::from_utf8_lossy(&close.reason).into_owned())
        }
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            match alert_of(code).map(|number| (number, alert(number))) {
                Some((_, Some(why))) => ConnectError::Refused(why.to_owned()),
                Some((120, _)) => ConnectError::Broken("it speaks another version".to_owned()),
                // CONNECTION_REFUSED (RFC 9000 §20.1).
                None if code == 2 => ConnectError::Full,
                _ => ConnectError::Broken(error.to_string()),
            }
        }
        ConnectionError::TransportError(fault) => match alert_of(u64::from(fault.code)) {
            Some(_) => ConnectError::Untrusted(fault.reason.clone()),
            None => ConnectError::Broken(error.to_string()),
        },
        _ => ConnectError::Broken(error.to_string()),
    }
}
