//! A TURN relay (RFC 8656) between clients, some of whom have credentials, and peers, over hours.
//!
//! What may leave is decided here once more, by rules of the fuzzer's own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rillway_turn::credentials::Secret;
use rillway_turn::peers::Peers;
use rillway_turn::{Client, ListenerId, Relay, Settings};
use turn_types::attribute::{
    AdditionalAddressFamily, ChannelNumber, Data, EvenPort, Lifetime, RequestedAddressFamily,
    RequestedTransport, XorPeerAddress,
};
use turn_types::channel::ChannelData;
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CREATE_PERMISSION, REFRESH, SEND};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass,
    MessageIntegrityCredentials, MessageWrite as _, MessageWriteExt as _, MessageWriteVec, Method,
    TransactionId,
};

use super::reader::Reader;
use super::wires::Wires;

const UNIX: Duration = Duration::from_secs(1_000_000);
const REALM: &str = "rillway";
/// Where the router takes media: bound, and told.
pub const MEDIA: [(&str, &str); 2] = [
    ("10.0.0.5:40000", "1.2.3.4:40000"),
    ("127.0.0.1:40000", "127.0.0.1:40000"),
];
/// Peers to ask for.
const PEERS: [&str; 14] = [
    "1.2.3.4:40000",
    "127.0.0.1:40000",
    "10.0.0.5:40000",
    "1.2.3.4:22",
    "8.8.8.8:50000",
    "8.8.8.8:53",
    "9.9.9.9:50000",
    "169.254.169.254:8080",
    "[::1]:40000",
    "[::ffff:127.0.0.1]:40000",
    "[2a00::1]:50000",
    "[64:ff9b::7f00:1]:40000",
    "224.0.0.1:40000",
    "192.168.0.1:40000",
];
const METHODS: [Method; 7] = [
    BINDING,
    ALLOCATE,
    REFRESH,
    CREATE_PERMISSION,
    CHANNEL_BIND,
    CONNECT,
    SEND,
];
const ALLOCATIONS_MAX: usize = 3;
/// Times its request that an answer to somebody without an allocation may have, bytes (`docs/turn.md`).
const ANSWER_TIMES: usize = 5;

/// Somebody who sends.
struct Person {
    client: Client,
    username: String,
    key: MessageIntegrityCredentials,
    nonce: String,
}

struct Scene {
    relay: Relay,
    wires: Wires,
    now: Instant,
    people: Vec<Person>,
}

/// Input: whether public peers are allowed, then steps.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let mut scene = Scene::new(reader.byte().unwrap_or(0) % 2 == 1);
    while scene.step(&mut reader).is_some() {}
    scene.end();
}

impl Scene {
    fn new(public: bool) -> Self {
        let (now, secret) = (Instant::now(), Secret::new(b"north north north"));
        let media = MEDIA.map(|(bound, told)| (at(bound), at(told)));
        let settings = Settings {
            realm: REALM.to_owned(),
            secret: secret.clone(),
            peers: Peers::new(media, [at("5.6.7.8:1").ip()], public),
            allocations_max: ALLOCATIONS_MAX,
            allocations_per_user_max: 2,
            allocations_per_address_max: 2,
            stranger_answers_per_second: 10,
        };
        let person = |n: u8| {
            let minted = secret.mint(["ada", "ada", "grace", "eve"][usize::from(n)], UNIX * 2);
            let password = if n == 3 {
                "wrong".to_owned()
            } else {
                minted.password
            };
            let key =
                LongTermKeyCredentials::new(minted.username.clone(), password, REALM.to_owned());
            Person {
                client: Client {
                    listener: ListenerId(0),
                    address: SocketAddr::from(([192, 0, 2, 1 + n / 2], 1_000 + u16::from(n))),
                    proven: n == 2,
                },
                username: minted.username,
                key: key.into(),
                nonce: "none".to_owned(),
            }
        };
        Scene {
            relay: Relay::new(settings, now),
            wires: Wires::new(public),
            now,
            people: (0..4).map(person).collect(),
        }
    }

    fn step(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let (kind, who) = (reader.byte()?, reader.byte()?);
        let who = usize::from(who) % self.people.len();
        match kind % 9 {
            0 => self.send(who, reader.chunk()?),
            1 => {
                let method = *reader.pick(&METHODS)?;
                let message = self.request(who, method, reader, attributes);
                self.send(who, &damaged(message, reader));
            }
            2 => {
                let message = self.request(who, ALLOCATE, reader, |m, _, _| {
                    let _ = m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP));
                });
                self.send(who, &message);
            }
            3 => {
                let message = self.request(who, CREATE_PERMISSION, reader, |m, id, reader| {
                    let _ = m.add_attribute(&XorPeerAddress::new(address(reader), id));
                });
                self.send(who, &message);
            }
            4 => {
                let message = self.request(who, CHANNEL_BIND, reader, |m, id, reader| {
                    let _ = m.add_attribute(&XorPeerAddress::new(address(reader), id));
                    let number = 0x4000 + u16::from(reader.byte().unwrap_or(0));
                    let _ = m.add_attribute(&ChannelNumber::new(number));
                });
                self.send(who, &message);
            }
            5 => {
                let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
                let id = transaction(&message);
                let _ = message.add_attribute(&XorPeerAddress::new(address(reader), id));
                let _ = message.add_attribute(&Data::new(reader.chunk()?));
                self.send(who, &message.finish());
            }
            6 => {
                let number = 0x4000 + u16::from(reader.byte()?);
                let payload = reader.chunk()?;
                let mut bytes = vec![0; 4 + payload.len()];
                ChannelData::new(number, payload).write_into_unchecked(&mut bytes);
                self.send(who, &bytes);
            }
            7 => {
                let relay = self.wires.some_relay(usize::from(reader.byte()?));
                let from = address(reader);
                self.from_peer(relay, from, reader.chunk()?);
            }
            _ => self.pass(who, reader.short()?),
        }
        Some(())
    }

    /// A request that is signed, mostly.
    fn request(
        &self,
        who: usize,
        method: Method,
        reader: &mut Reader<'_>,
        add: impl FnOnce(&mut MessageWriteVec, TransactionId, &mut Reader<'_>),
    ) -> Vec<u8> {
        let person = &self.people[who];
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        let id = transaction(&message);
        add(&mut message, id, reader);
        if person.nonce != "none" {
            let username = Username::new(&person.username).expect("short");
            let realm = Realm::new(REALM).expect("short");
            let nonce = Nonce::new(&person.nonce).expect("short");
            let _ = message.add_attribute(&username);
            let _ = message.add_attribute(&realm);
            let _ = message.add_attribute(&nonce);
            let _ = message.add_message_integrity(&person.key, IntegrityAlgorithm::Sha1);
        }
        message.finish()
    }

    /// A client sends this; what comes back is looked at.
    fn send(&mut self, who: usize, bytes: &[u8]) {
        let person = &mut self.people[who];
        let client = person.client;
        let stranger = !self.relay.is_allocated(&client);
        self.wires.expect(client, self.now);
        self.relay
            .handle_client(client, bytes, (self.now, UNIX), &mut self.wires);
        let answers = self.wires.answers();
        assert!(answers.len() <= 1, "{} answers to one", answers.len());
        for answer in answers {
            let most = ANSWER_TIMES * bytes.len();
            assert!(
                !stranger || answer.len() <= most,
                "{} for {}",
                answer.len(),
                bytes.len()
            );
            let request = Message::from_bytes(bytes).expect("only requests are answered");
            let answer = Message::from_bytes(&answer).expect("an answer is STUN");
            assert_eq!(answer.transaction_id(), request.transaction_id());
            assert_eq!(answer.method(), request.method());
            if let Ok(nonce) = answer.attribute::<Nonce>() {
                person.nonce = nonce.nonce().to_owned();
            }
            let error = answer.attribute::<ErrorCode>().is_ok();
            assert_eq!(answer.has_class(MessageClass::Error), error);
            if !error {
                self.wires.granted(&request);
            }
        }
        self.check();
    }

    fn from_peer(&mut self, relay: SocketAddr, from: SocketAddr, payload: &[u8]) {
        self.wires.expect_of(relay, self.now);
        self.relay
            .handle_peer(relay, from, payload, self.now, &mut self.wires);
        let got = self.wires.answers();
        assert!(got.len() <= 1);
        assert!(got.is_empty() || self.wires.may_send(relay, from));
        self.check();
    }

    fn pass(&mut self, who: usize, seconds: u16) {
        if seconds == 0 {
            self.relay.gone(self.people[who].client, &mut self.wires);
        }
        self.now += Duration::from_secs(u64::from(seconds));
        self.relay.handle_time(self.now, &mut self.wires);
        assert!(self.wires.answers().is_empty());
        self.check();
    }

    fn check(&self) {
        let stats = self.relay.stats();
        assert_eq!(stats.faults, 0, "the library panicked");
        assert!(stats.allocations as usize <= ALLOCATIONS_MAX);
        assert_eq!(stats.allocations, self.wires.owners(), "a relay of nobody");
    }

    /// Everything ends by itself.
    fn end(mut self) {
        for _ in 0..3 {
            self.pass(0, 4_000);
        }
        assert_eq!(self.wires.owners(), 0);
        let stats = self.relay.stats();
        assert_eq!((stats.allocations, stats.half_open), (0, 0));
    }
}

/// An address in text.
pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn transaction(message: &MessageWriteVec) -> TransactionId {
    Message::from_bytes(message.as_slice())
        .expect("whole")
        .transaction_id()
}

/// A peer: one that is known, or any.
fn address(reader: &mut Reader<'_>) -> SocketAddr {
    let kind = usize::from(reader.byte().unwrap_or(0));
    match PEERS.get(kind) {
        Some(known) => at(known),
        None if kind % 2 == 0 => {
            let octets = reader.word().unwrap_or(0).to_be_bytes();
            SocketAddr::new(octets.into(), reader.short().unwrap_or(0))
        }
        None => {
            let mut octets = [0; 16];
            for octet in &mut octets {
                *octet = reader.byte().unwrap_or(0);
            }
            SocketAddr::new(IpAddr::from(octets), reader.short().unwrap_or(0))
        }
    }
}

fn attributes(message: &mut MessageWriteVec, id: TransactionId, reader: &mut Reader<'_>) {
    for _ in 0..reader.byte().unwrap_or(0) % 5 {
        let byte = reader.byte().unwrap_or(0);
        let _ = match byte % 7 {
            0 => message.add_attribute(&RequestedTransport::new(byte / 7)),
            1 => message.add_attribute(&EvenPort::new(byte >= 128)),
            2 => message.add_attribute(&Lifetime::new(reader.word().unwrap_or(0))),
            3 => message.add_attribute(&XorPeerAddress::new(address(reader), id)),
            6 => message.add_attribute(&AdditionalAddressFamily::new(
                turn_types::AddressFamily::IPV6,
            )),
            4 => message.add_attribute(&ChannelNumber::new(reader.short().unwrap_or(0))),
            _ => {
                let family = match byte >= 128 {
                    true => turn_types::AddressFamily::IPV6,
                    false => turn_types::AddressFamily::IPV4,
                };
                message.add_attribute(&RequestedAddressFamily::new(family))
            }
        };
    }
}

/// Some bytes changed, or the end cut off.
fn damaged(mut bytes: Vec<u8>, reader: &mut Reader<'_>) -> Vec<u8> {
    for _ in 0..reader.byte().unwrap_or(0) % 4 {
        let at = usize::from(reader.byte().unwrap_or(0));
        let by = reader.byte().unwrap_or(0);
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= by,
            None => bytes.truncate(usize::from(by).max(1)),
        }
    }
    bytes
}
