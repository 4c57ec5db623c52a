//! A client of TURN (RFC 8656) over UDP that can ask for what browsers never do, and coturn's server beside ours.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turn_types::AddressFamily;
use turn_types::attribute::{
    ChannelNumber, RequestedAddressFamily, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};

/// Until an answer counts as lost.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// Requests are repeated this often.
const TRIES: u32 = 6;
/// Until coturn must listen.
const START_TIME: Duration = Duration::from_secs(10);

/// What a relay said to a request: a code of RFC 8656 §19, or done.
pub type Said = Result<(), u16>;

/// Somebody with an allocation.
pub struct Caller {
    socket: UdpSocket,
    username: String,
    realm: String,
    key: MessageIntegrityCredentials,
    nonce: String,
    /// The relayed address.
    pub relayed: SocketAddr,
}

/// A request of this method with what `add` puts in.
fn request(
    method: Method,
    add: impl FnOnce(TransactionId, &mut MessageWriteVec),
) -> (TransactionId, MessageWriteVec) {
    let mut message = Message::builder_request(method, MessageWriteVec::new());
    let id = Message::from_bytes(message.as_slice()).expect("whole");
    let id = id.transaction_id();
    add(id, &mut message);
    (id, message)
}

/// A STUN binding request, which anybody may send to a media port.
pub fn binding() -> Vec<u8> {
    request(BINDING, |_, _| {}).1.finish()
}

/// A request for an allocation by somebody who does not know yet that credentials are needed.
pub fn bare_allocate() -> Vec<u8> {
    request(ALLOCATE, |_, message| want(None, message))
        .1
        .finish()
}

/// Asks until there is an answer to this very request; what is relayed meanwhile is lost.
fn ask(socket: &UdpSocket, id: TransactionId, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    for _ in 0..TRIES {
        socket.send(bytes)?;
        let until = Instant::now() + ANSWER_TIME;
        while Instant::now() < until {
            let Ok(length) = socket.recv(&mut buffer) else {
                break;
            };
            let answer = &buffer[..length];
            if Message::from_bytes(answer).is_ok_and(|m| m.transaction_id() == id) {
                return Ok(answer.to_vec());
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn said(answer: &Message<'_>) -> Said {
    match answer.attribute::<ErrorCode>() {
        Ok(error) => Err(error.code()),
        Err(_) => Ok(()),
    }
}

fn want(family: Option<AddressFamily>, message: &mut MessageWriteVec) {
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    message.add_attribute(&udp).expect("room");
    if let Some(family) = family {
        let family = RequestedAddressFamily::new(family);
        message.add_attribute(&family).expect("room");
    }
}

impl Caller {
    /// Takes an allocation; of IPv6 if `v6`.
    ///
    /// # Errors
    /// The code that it is refused with.
    ///
    /// # Panics
    /// Nobody answers.
    pub fn allocate(
        server: SocketAddr,
        (username, password): (&str, &str),
        v6: bool,
    ) -> Result<Caller, u16> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => ([127, 0, 0, 1], 0).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, 0).into(),
        };
        let socket = UdpSocket::bind(any).expect("a free port");
        socket.connect(server).expect("a way");
        socket.set_read_timeout(Some(ANSWER_TIME)).expect("a time");
        let family = v6.then_some(AddressFamily::IPV6);
        let (id, bare) = request(ALLOCATE, |_, m| want(family, m));
        let answer = ask(&socket, id, &bare.finish()).expect("an answer");
        let answer = Message::from_bytes(&answer).expect("STUN");
        let realm = answer.attribute::<Realm>().map_err(|_| 0_u16)?;
        let nonce = answer.attribute::<Nonce>().map_err(|_| 0_u16)?;
        let (realm, nonce) = (realm.realm().to_owned(), nonce.nonce().to_owned());
        let key =
            LongTermKeyCredentials::new(username.to_owned(), password.to_owned(), realm.clone());
        let mut caller = Caller {
            socket,
            username: username.to_owned(),
            realm,
            key: key.into(),
            nonce,
            relayed: any,
        };
        let answer = caller.signed(ALLOCATE, |_, m| want(family, m));
        let answer = Message::from_bytes(&answer).expect("STUN");
        said(&answer)?;
        let relayed = answer.attribute::<XorRelayedAddress>().expect("an address");
        caller.relayed = relayed.addr(answer.transaction_id());
        Ok(caller)
    }

    fn signed(
        &self,
        method: Method,
        add: impl FnOnce(TransactionId, &mut MessageWriteVec),
    ) -> Vec<u8> {
        let (id, mut message) = request(method, add);
        let username = Username::new(&self.username).expect("short");
        let realm = Realm::new(&self.realm).expect("short");
        let nonce = Nonce::new(&self.nonce).expect("short");
        message.add_attribute(&username).expect("room");
        message.add_attribute(&realm).expect("room");
        message.add_attribute(&nonce).expect("room");
        message
            .add_message_integrity(&self.key, IntegrityAlgorithm::Sha1)
            .expect("room");
        ask(&self.socket, id, &message.finish()).expect("an answer")
    }

    /// Asks that a peer may be sent to (RFC 8656 §9).
    ///
    /// # Errors
    /// The code that it is refused with.
    pub fn permit(&self, peer: SocketAddr) -> Said {
        let answer = self.signed(CREATE_PERMISSION, |id, m| {
            m.add_attribute(&XorPeerAddress::new(peer, id))
                .expect("room");
        });
        said(&Message::from_bytes(&answer).expect("STUN"))
    }

    /// Asks for a channel to a peer (RFC 8656 §12).
    ///
    /// # Errors
    /// The code that it is refused with.
    pub fn bind(&self, channel: u16, peer: SocketAddr) -> Said {
        let answer = self.signed(CHANNEL_BIND, |id, m| {
            m.add_attribute(&ChannelNumber::new(channel)).expect("room");
            m.add_attribute(&XorPeerAddress::new(peer, id))
                .expect("room");
        });
        said(&Message::from_bytes(&answer).expect("STUN"))
    }

    /// Sends by a channel. What does not fit in the socket is lost.
    pub fn send(&self, channel: u16, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(4 + payload.len());
        bytes.extend(channel.to_be_bytes());
        let length = u16::try_from(payload.len()).expect("a datagram");
        bytes.extend(length.to_be_bytes());
        bytes.extend(payload);
        let _ = self.socket.send(&bytes);
    }

    /// The next packet of a channel: how long it is. `None`: none came in time.
    pub fn receive(&self, channel: u16) -> Option<usize> {
        let mut buffer = [0; 2048];
        for _ in 0..16 {
            let length = self.socket.recv(&mut buffer).ok()?;
            if length >= 4 && buffer[..2] == channel.to_be_bytes() {
                return Some(length - 4);
            }
        }
        None
    }
}

/// Debian's coturn, with its own rules about peers.
pub struct Coturn {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Who may use it.
pub const COTURN_USER: (&str, &str) = ("ada", "of-the-control");

impl Coturn {
    /// Starts it on loopback, with `more` on its command line. `None`: there is none on this machine.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(folder: &Path, more: &[&str]) -> Option<Coturn> {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let (user, password) = COTURN_USER;
        let process = Command::new("turnserver")
            .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"])
            .args(["-L", "127.0.0.1", "-p", &address.port().to_string()])
            .args(["-E", "127.0.0.1", "-E", "::1", "-m", "1"])
            .args(["--lt-cred-mech", "-r", "control"])
            .args(["-u", &format!("{user}:{password}")])
            .args(["--log-file", "stdout", "--no-software-attribute"])
            .args(["--pidfile", &folder.join("pid").display().to_string()])
            .args(["--db", &folder.join("db").display().to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let coturn = Coturn { process, address };
        let probe = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        probe.connect(address).expect("a way");
        probe
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time");
        let until = Instant::now() + START_TIME;
        loop {
            let _ = probe.send(&binding());
            if probe.recv(&mut [0; 512]).is_ok() {
                return Some(coturn);
            }
            assert!(Instant::now() < until, "coturn does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
