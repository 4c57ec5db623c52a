//! Datagrams as an attacker would make them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A STUN binding request (RFC 8489) as an ICE agent sends it (RFC 8445 §7.1).
#[derive(Debug, Clone)]
pub struct BindingRequest<'a> {
    /// `receiver:sender`.
    pub username: &'a str,
    /// Password that signs it; `None` = 20 bytes of nothing in place of a signature.
    pub password: Option<&'a str>,
    /// Transaction id.
    pub transaction: [u8; 12],
    /// Nominates the pair.
    pub use_candidate: bool,
    /// With a FINGERPRINT that fits.
    pub fingerprint: bool,
}

const MAGIC_COOKIE: u32 = 0x2112_a442;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

impl BindingRequest<'_> {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0, 1, 0, 0];
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&self.transaction);
        attribute(&mut out, 0x0006, self.username.as_bytes());
        attribute(&mut out, 0x0024, &1_845_501_695_u32.to_be_bytes());
        attribute(&mut out, 0x802a, &[7; 8]);
        if self.use_candidate {
            attribute(&mut out, 0x0025, &[]);
        }
        // Both checks cover a length that ends with themselves (RFC 8489 §14.5, §14.7).
        set_length(&mut out, 24);
        let mac = match self.password {
            Some(password) => {
                let crypto = str0m_aws_lc_rs::default_provider();
                crypto
                    .sha1_hmac_provider
                    .sha1_hmac(password.as_bytes(), &[&out])
            }
            None => [0; 20],
        };
        attribute(&mut out, 0x0008, &mac);
        if self.fingerprint {
            set_length(&mut out, 8);
            let sum = crc32(&out) ^ FINGERPRINT_XOR;
            attribute(&mut out, 0x8028, &sum.to_be_bytes());
        }
        set_length(&mut out, 0);
        out
    }
}

fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - 20 + more) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    while !out.len().is_multiple_of(4) {
        out.push(0);
    }
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// A plain-text DTLS 1.2 record (RFC 6347 §4.1) of epoch 0.
pub fn dtls_record(content: u8, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![content, 0xfe, 0xfd, 0, 0];
    out.extend_from_slice(&sequence.to_be_bytes()[2..]);
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A handshake fragment (RFC 6347 §4.2.2), whatever its numbers say.
pub fn handshake_fragment(
    message: u8,
    length: u32,
    sequence: u16,
    offset: u32,
    fragment_length: u32,
    body: &[u8],
) -> Vec<u8> {
    let mut out = vec![message];
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes()[1..]);
    out.extend_from_slice(&fragment_length.to_be_bytes()[1..]);
    out.extend_from_slice(body);
    out
}

/// A fatal alert in plain text: handshake_failure.
pub fn fatal_alert() -> Vec<u8> {
    dtls_record(21, 3, &[2, 40])
}

/// A valid ClientHello of a client that is somebody else.
pub fn client_hello(now: Instant) -> Vec<u8> {
    let provider = str0m_aws_lc_rs::default_provider();
    let certificate = provider.dtls_provider.generate_certificate();
    let certificate = certificate.expect("a certificate");
    let config = dimpl::Config::builder()
        .build()
        .expect("the default configuration");
    let mut dtls = dimpl::Dtls::new_12(Arc::new(config), certificate, now);
    dtls.set_active(true);
    let _ = dtls.handle_timeout(now);
    let mut buffer = [0; 2_048];
    for _ in 0..16 {
        match dtls.poll_output(&mut buffer) {
            dimpl::Output::Packet(packet) => return packet.to_vec(),
            dimpl::Output::Timeout(_) => {
                let _ = dtls.handle_timeout(now);
            }
            _ => {}
        }
    }
    panic!("no ClientHello");
}

/// [`client_hello`], made once.
pub fn client_hello_cached() -> Vec<u8> {
    static HELLO: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    HELLO.get_or_init(|| client_hello(Instant::now())).clone()
}

/// A ServerHello that chooses nothing sensible.
pub fn server_hello() -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[0x5a; 32]);
    body.extend_from_slice(&[0, 0xc0, 0x2b, 0]);
    let message = handshake_fragment(2, body.len() as u32, 0, 0, body.len() as u32, &body);
    dtls_record(22, 0, &message)
}

/// A HelloVerifyRequest with a cookie of its own.
pub fn hello_verify_request() -> Vec<u8> {
    let body = [0xfe, 0xff, 4, 1, 2, 3, 4];
    let message = handshake_fragment(3, body.len() as u32, 0, 0, body.len() as u32, &body);
    dtls_record(22, 0, &message)
}

/// Datagrams of DTLS that would break a careless parser or state machine: fragments that overlap, are
/// empty, lie about their length or come from the other role; records torn or of the wrong type.
pub fn dtls_oddities() -> Vec<(&'static str, Vec<u8>)> {
    let handshake = |fragment: Vec<u8>| dtls_record(22, 9, &fragment);
    let hello = handshake_fragment;
    let two = |a: Vec<u8>, b: Vec<u8>| [a, b].concat();
    vec![
        ("empty handshake record", dtls_record(22, 1, &[])),
        (
            "torn record",
            vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        ("record header only", vec![22, 0xfe, 0xfd]),
        (
            "zero-length fragment",
            handshake(hello(1, 100, 0, 50, 0, &[])),
        ),
        ("zero-length message", handshake(hello(1, 0, 0, 0, 0, &[]))),
        (
            "fragment beyond its message",
            handshake(hello(1, 10, 0, 8, 20, &[7; 20])),
        ),
        (
            "fragment at the far end",
            handshake(hello(1, 0xff_ffff, 0, 0xff_fff0, 8, &[7; 8])),
        ),
        (
            "fragment longer than its record",
            handshake(hello(1, 200, 0, 0, 200, &[7; 20])),
        ),
        (
            "overlapping fragments",
            two(
                handshake(hello(1, 120, 0, 0, 60, &[1; 60])),
                handshake(hello(1, 120, 0, 30, 60, &[2; 60])),
            ),
        ),
        (
            "fragments of one message that disagree about its length",
            two(
                handshake(hello(1, 120, 0, 0, 60, &[1; 60])),
                handshake(hello(1, 80, 0, 60, 20, &[2; 20])),
            ),
        ),
        (
            "message from the future",
            handshake(hello(1, 4, 60_000, 0, 4, &[0; 4])),
        ),
        (
            "message of no type",
            handshake(hello(250, 4, 0, 0, 4, &[0; 4])),
        ),
        ("hello request", handshake(hello(0, 0, 0, 0, 0, &[]))),
        (
            "certificate out of order",
            handshake(hello(11, 3, 1, 0, 3, &[0; 3])),
        ),
        (
            "client key exchange out of order",
            handshake(hello(16, 66, 2, 0, 66, &[65; 66])),
        ),
        (
            "finished in plain text",
            handshake(hello(20, 12, 3, 0, 12, &[0; 12])),
        ),
        ("server hello done", handshake(hello(14, 0, 3, 0, 0, &[]))),
        ("change cipher spec", dtls_record(20, 4, &[1])),
        (
            "application data in plain text",
            dtls_record(23, 5, b"hello"),
        ),
        ("warning alert", dtls_record(21, 6, &[1, 0])),
        ("close_notify in plain text", dtls_record(21, 6, &[2, 0])),
        ("record of no type", dtls_record(63, 7, &[0; 40])),
        ("epoch 1 that nobody has keys for", {
            let mut record = dtls_record(22, 0, &[9; 64]);
            record[4] = 1;
            record
        }),
        ("another version", {
            let mut record = dtls_record(22, 0, &[9; 64]);
            record[1] = 3;
            record
        }),
    ]
}

/// An RTP packet without keys: header and `payload` bytes, tag included.
pub fn rtp(payload_type: u8, sequence: u16, ssrc: u32, payload: usize) -> Vec<u8> {
    let mut out = vec![0x80, payload_type];
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.resize(12 + payload, 0x5a);
    out
}

/// An RTCP packet without keys, `bytes` long.
pub fn rtcp(packet_type: u8, bytes: usize) -> Vec<u8> {
    let mut out = vec![0x80, packet_type, 0, 1, 0, 0, 0, 7];
    out.resize(bytes, 0xa5);
    out.truncate(bytes);
    out
}

/// Kind of a datagram by its first byte (RFC 7983 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 0 to 3.
    Stun,
    /// 20 to 63.
    Dtls,
    /// 128 to 191, packet type 192 to 223 (RFC 5761 §4).
    Rtcp,
    /// The other 128 to 191.
    Rtp,
    /// None of these.
    Other,
}

/// What a datagram is.
pub fn kind(datagram: &[u8]) -> Kind {
    match (datagram.first(), datagram.get(1)) {
        (Some(0..=3), _) => Kind::Stun,
        (Some(20..=63), _) => Kind::Dtls,
        (Some(128..=191), Some(192..=223)) => Kind::Rtcp,
        (Some(128..=191), _) => Kind::Rtp,
        _ => Kind::Other,
    }
}

/// The SSRC of an RTP packet.
pub fn ssrc_of(datagram: &[u8]) -> Option<u32> {
    let bytes = datagram.get(8..12)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// An address nobody in the world has.
pub fn stranger(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::new([203, 0, high, low].into(), 6_666)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_that_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_signed_request_is_what_an_ice_agent_accepts() {
        use str0m::net::{Protocol, Receive};
        let bytes = BindingRequest {
            username: "mine:yours",
            password: Some("secret-of-at-least-22-chars"),
            transaction: [3; 12],
            use_candidate: true,
            fingerprint: true,
        }
        .to_bytes();
        let at = stranger(1);
        assert!(Receive::new(Protocol::Udp, at, at, &bytes).is_ok());
        assert_eq!(kind(&bytes), Kind::Stun);
    }
}
