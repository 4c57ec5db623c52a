//! A relay with a pretended network, and a client that speaks to it as browsers do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use turn_types::attribute::{
    ChannelNumber, Data, EvenPort, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_types::channel::ChannelData;
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CREATE_PERMISSION, REFRESH, SEND};
use turn_types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method,
};

use crate::credentials::Secret;
use crate::limits::{CHANNELS_MAX, STRANGERS_PER_SOURCE};
use crate::peers::Peers;
use crate::{Client, Family, ListenerId, Network, NoRelay, Refusal, Relay, Settings, Wanted};

const MEDIA: &str = "127.0.0.1:40000";
const UNIX: Duration = Duration::from_secs(1_000_000);

#[derive(Default)]
struct Wires {
    ports: u16,
    open: Vec<SocketAddr>,
    to_clients: Vec<(Client, Vec<u8>)>,
    to_peers: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
}

impl Network for Wires {
    fn open(&mut self, _: Client, wanted: Wanted) -> Result<SocketAddr, NoRelay> {
        if wanted.family == Family::V6 {
            return Err(NoRelay::Family);
        }
        self.ports += 1;
        self.ports += u16::from(wanted.even && self.ports % 2 == 1);
        let relay = SocketAddr::from(([127, 0, 0, 1], 50_000 + self.ports));
        self.open.push(relay);
        Ok(relay)
    }

    fn close(&mut self, relay: SocketAddr) {
        self.open.retain(|open| *open != relay);
    }

    fn to_client(&mut self, client: Client, message: &[u8]) {
        self.to_clients.push((client, message.to_vec()));
    }

    fn to_peer(&mut self, relay: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        self.to_peers.push((relay, peer, payload.to_vec()));
    }
}

struct Stage {
    relay: Relay,
    wires: Wires,
    now: Instant,
    secret: Secret,
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn client(port: u16) -> Client {
    Client {
        listener: ListenerId(0),
        address: SocketAddr::from(([192, 0, 2, 1], port)),
        proven: false,
    }
}

impl Stage {
    fn new() -> Self {
        let (now, secret) = (Instant::now(), Secret::new(b"north north north"));
        let media = [
            (at(MEDIA), at(MEDIA)),
            (at("10.0.0.5:40000"), at("1.2.3.4:40000")),
        ];
        let settings = Settings {
            realm: "rillway".to_owned(),
            secret: secret.clone(),
            peers: Peers::new(media, [], false),
            allocations_max: 8,
            allocations_per_user_max: 2,
            allocations_per_address_max: 4,
            stranger_answers_per_second: 100,
        };
        Stage {
            relay: Relay::new(settings, now),
            wires: Wires::default(),
            now,
            secret,
        }
    }

    /// What comes back to the client for this.
    fn send(&mut self, client: Client, bytes: &[u8]) -> Option<Vec<u8>> {
        self.wires.to_clients.clear();
        self.relay
            .handle_client(client, bytes, (self.now, UNIX), &mut self.wires);
        let answer = self.wires.to_clients.pop();
        assert!(self.wires.to_clients.is_empty(), "one answer each");
        answer.map(|(to, bytes)| {
            assert_eq!(to, client);
            bytes
        })
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.relay.handle_time(self.now, &mut self.wires);
    }
}

/// Somebody with credentials.
struct Person {
    client: Client,
    username: String,
    key: MessageIntegrityCredentials,
    nonce: String,
}

fn request(method: Method, add: impl FnOnce(&Ids, &mut MessageWriteVec)) -> Vec<u8> {
    let mut message = Message::builder_request(method, MessageWriteVec::new());
    let ids = Ids(Message::from_bytes(&message.clone_bytes())
        .expect("whole")
        .transaction_id());
    add(&ids, &mut message);
    message.finish()
}

struct Ids(turn_types::stun::message::TransactionId);

trait CloneBytes {
    fn clone_bytes(&self) -> Vec<u8>;
}

impl CloneBytes for MessageWriteVec {
    fn clone_bytes(&self) -> Vec<u8> {
        self.as_slice().to_vec()
    }
}

fn code(answer: Option<&Vec<u8>>) -> Option<u16> {
    let message = Message::from_bytes(answer?).expect("an answer is STUN");
    Some(
        message
            .attribute::<ErrorCode>()
            .map_or(0, |error| error.code()),
    )
}

impl Person {
    fn new(stage: &mut Stage, client: Client, identity: &str) -> Self {
        let minted = stage.secret.mint(identity, UNIX + Duration::from_secs(60));
        Person::with(stage, client, minted.username, minted.password)
    }

    /// Asks, and is asked for credentials.
    fn with(stage: &mut Stage, client: Client, username: String, password: String) -> Self {
        let bare = request(ALLOCATE, |_, m| {
            m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
                .unwrap();
        });
        let answer = stage.send(client, &bare).expect("an answer");
        assert_eq!(code(Some(&answer)), Some(401));
        assert!(
            answer.len() <= bare.len() * 5,
            "{} for {}",
            answer.len(),
            bare.len()
        );
        let answer = Message::from_bytes(&answer).expect("STUN");
        let realm = answer
            .attribute::<Realm>()
            .expect("a realm")
            .realm()
            .to_owned();
        let nonce = answer
            .attribute::<Nonce>()
            .expect("a nonce")
            .nonce()
            .to_owned();
        let key = LongTermKeyCredentials::new(username.clone(), password, realm).into();
        Person {
            client,
            username,
            key,
            nonce,
        }
    }

    fn signed(&self, method: Method, add: impl FnOnce(&Ids, &mut MessageWriteVec)) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        let ids = Ids(Message::from_bytes(&message.clone_bytes())
            .expect("whole")
            .transaction_id());
        add(&ids, &mut message);
        message
            .add_attribute(&Username::new(&self.username).unwrap())
            .unwrap();
        message
            .add_attribute(&Realm::new("rillway").unwrap())
            .unwrap();
        message
            .add_attribute(&Nonce::new(&self.nonce).unwrap())
            .unwrap();
        message
            .add_message_integrity(&self.key, IntegrityAlgorithm::Sha1)
            .unwrap();
        message.finish()
    }

    fn allocate(&self, stage: &mut Stage) -> Option<Vec<u8>> {
        let ask = self.signed(ALLOCATE, |_, m| {
            m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
                .unwrap();
        });
        stage.send(self.client, &ask)
    }

    fn peer(
        &self,
        stage: &mut Stage,
        method: Method,
        peers: &[SocketAddr],
        number: u16,
    ) -> Option<u16> {
        let ask = self.signed(method, |ids, m| {
            for peer in peers {
                m.add_attribute(&XorPeerAddress::new(*peer, ids.0)).unwrap();
            }
            if method == CHANNEL_BIND {
                m.add_attribute(&ChannelNumber::new(number)).unwrap();
            }
        });
        code(stage.send(self.client, &ask).as_ref())
    }

    fn refresh(&self, stage: &mut Stage, seconds: u32) -> Option<u16> {
        let ask = self.signed(REFRESH, |_, m| {
            m.add_attribute(&Lifetime::new(seconds)).unwrap();
        });
        code(stage.send(self.client, &ask).as_ref())
    }
}

/// Channel data.
fn channel(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4 + payload.len()];
    ChannelData::new(number, payload).write_into_unchecked(&mut bytes);
    bytes
}

fn indication(peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut message = Message::builder_indication(SEND, MessageWriteVec::new());
    let ids = Message::from_bytes(&message.clone_bytes())
        .expect("whole")
        .transaction_id();
    message
        .add_attribute(&XorPeerAddress::new(peer, ids))
        .unwrap();
    message.add_attribute(&Data::new(payload)).unwrap();
    message.finish()
}

#[test]
fn packets_go_both_ways_by_channels_and_indications() {
    let mut stage = Stage::new();
    let ada = Person::new(&mut stage, client(1), "ada");
    let answer = ada.allocate(&mut stage).expect("an answer");
    assert_eq!(code(Some(&answer)), Some(0));
    let message = Message::from_bytes(&answer).expect("STUN");
    let relayed = message
        .attribute::<XorRelayedAddress>()
        .expect("an address");
    let relayed = relayed.addr(message.transaction_id());
    assert_eq!(stage.wires.open, [relayed]);

    // The bound address behind a NAT is where it goes; clients know the other.
    let (told, bound) = (at("1.2.3.4:40000"), at("10.0.0.5:40000"));
    assert_eq!(ada.peer(&mut stage, CREATE_PERMISSION, &[told], 0), Some(0));
    assert_eq!(stage.send(ada.client, &indication(told, b"hello")), None);
    assert_eq!(
        stage.wires.to_peers.pop(),
        Some((relayed, bound, b"hello".to_vec()))
    );
    stage
        .relay
        .handle_peer(relayed, bound, b"back", stage.now, &mut stage.wires);
    let (_, data) = stage.wires.to_clients.pop().expect("a Data indication");
    // Not a Send indication, which has the same attributes: browsers drop it.
    assert_eq!(data[..2], [0x00, 0x17], "the type of a Data indication");
    let data = Message::from_bytes(&data).expect("STUN");
    assert_eq!(data.attribute::<Data>().expect("data").data(), b"back");
    let peer = data.attribute::<XorPeerAddress>().expect("a peer");
    assert_eq!(peer.addr(data.transaction_id()), told);

    assert_eq!(
        ada.peer(&mut stage, CHANNEL_BIND, &[at(MEDIA)], 0x4001),
        Some(0)
    );
    assert_eq!(stage.send(ada.client, &channel(0x4001, b"media")), None);
    assert_eq!(
        stage.wires.to_peers.pop(),
        Some((relayed, at(MEDIA), b"media".to_vec()))
    );
    stage
        .relay
        .handle_peer(relayed, at(MEDIA), b"more!", stage.now, &mut stage.wires);
    assert_eq!(
        stage.wires.to_clients.pop(),
        Some((ada.client, channel(0x4001, b"more!")))
    );
    let stats = stage.relay.stats();
    assert_eq!((stats.to_peers_packets, stats.to_peers_bytes), (2, 10));
    assert_eq!((stats.to_clients_packets, stats.to_clients_bytes), (2, 9));
}

#[test]
fn an_allocation_that_was_lost_on_its_way_is_answered_again() {
    let mut stage = Stage::new();
    let ada = Person::new(&mut stage, client(1), "ada");
    let ask = ada.signed(ALLOCATE, |_, m| {
        m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
            .unwrap();
    });
    let first = stage.send(ada.client, &ask);
    assert_eq!(code(first.as_ref()), Some(0));
    assert_eq!(stage.send(ada.client, &ask), first);
    assert_eq!(stage.relay.stats().allocated, 1);
    // Another one of the same client is none (RFC 8656 §7.2).
    assert_eq!(code(ada.allocate(&mut stage).as_ref()), Some(437));
}

#[test]
fn every_refused_peer_is_answered_403_and_nothing_leaves() {
    let mut stage = Stage::new();
    let ada = Person::new(&mut stage, client(1), "ada");
    ada.allocate(&mut stage);
    assert_eq!(
        ada.peer(&mut stage, CREATE_PERMISSION, &[at(MEDIA)], 0),
        Some(0)
    );
    let refused = [
        "127.0.0.1:22",
        "127.0.0.1:40001",
        "10.0.0.5:40000",
        "1.2.3.4:22",
        "0.0.0.0:40000",
        "10.1.1.1:40000",
        "169.254.169.254:80",
        "224.0.0.1:40000",
        "8.8.8.8:50000",
        "[::1]:40000",
        "[::ffff:127.0.0.1]:40000",
        "[fe80::1]:40000",
        "[::]:40000",
        "[64:ff9b::7f00:1]:40000",
        "[fd00::1]:40000",
    ];
    for peer in refused.map(at) {
        assert_eq!(
            ada.peer(&mut stage, CREATE_PERMISSION, &[peer], 0),
            Some(403),
            "{peer}"
        );
        // A good one beside it does not help.
        assert_eq!(
            ada.peer(&mut stage, CREATE_PERMISSION, &[at(MEDIA), peer], 0),
            Some(403)
        );
        assert_eq!(
            ada.peer(&mut stage, CHANNEL_BIND, &[peer], 0x4002),
            Some(403),
            "{peer}"
        );
        stage.pass(1);
        assert_eq!(stage.send(ada.client, &indication(peer, b"x")), None);
        assert_eq!(stage.send(ada.client, &channel(0x4002, b"x")), None);
        assert_eq!(stage.wires.to_peers, [], "{peer}");
    }
    assert_eq!(
        stage.relay.stats().refused(Refusal::Peer),
        4 * refused.len() as u64
    );
    // What comes from another port of a permitted address is nobody's.
    let relayed = stage.wires.open[0];
    stage.relay.handle_peer(
        relayed,
        at("127.0.0.1:22"),
        b"x",
        stage.now,
        &mut stage.wires,
    );
    assert!(stage.wires.to_clients.is_empty());
}

#[test]
fn credentials_are_asked_for_and_looked_at() {
    let mut stage = Stage::new();
    let good = stage.secret.mint("ada", UNIX + Duration::from_secs(60));
    let ended = stage.secret.mint("ada", UNIX - Duration::from_secs(1));
    let bad = [
        (good.username.clone(), "wrong".to_owned()),
        (ended.username, ended.password),
        ("ada".to_owned(), stage.secret.password("ada")),
        (format!("{}x", good.username), good.password.clone()),
    ];
    for (port, (name, password)) in (10..).zip(bad) {
        let person = Person::with(&mut stage, client(port), name.clone(), password);
        assert_eq!(
            code(person.allocate(&mut stage).as_ref()),
            Some(401),
            "{name}"
        );
    }
    let stats = stage.relay.stats();
    assert_eq!((stats.credentials_expired, stats.allocated), (1, 0));
    assert_eq!(stats.credentials_wrong, 3);
    // A nonce that was not given to this client, and then the one that is.
    let mut ada = Person::with(&mut stage, client(20), good.username, good.password);
    let nonce = std::mem::replace(&mut ada.nonce, "other".to_owned());
    assert!(matches!(
        code(ada.allocate(&mut stage).as_ref()),
        Some(401 | 438)
    ));
    ada.nonce = nonce;
    assert_eq!(code(ada.allocate(&mut stage).as_ref()), Some(0));
    // Who has one keeps it when the time to make one has ended.
    stage.pass(120);
    assert_eq!(ada.refresh(&mut stage, 600), Some(0));
}

#[test]
fn quotas_hold_and_what_is_given_back_is_free_again() {
    let mut stage = Stage::new();
    let mut people = Vec::new();
    let mut outcome = |stage: &mut Stage, port: u16, identity: &str| {
        let person = Person::new(stage, client(port), identity);
        let code = code(person.allocate(stage).as_ref());
        people.push(person);
        code
    };
    assert_eq!(outcome(&mut stage, 1, "ada"), Some(0));
    assert_eq!(outcome(&mut stage, 2, "ada"), Some(0));
    assert_eq!(outcome(&mut stage, 3, "ada"), Some(486), "of one user");
    assert_eq!(outcome(&mut stage, 4, "bob"), Some(0));
    assert_eq!(outcome(&mut stage, 5, "bob"), Some(0));
    assert_eq!(outcome(&mut stage, 6, "eve"), Some(486), "of one address");
    let stats = stage.relay.stats();
    assert_eq!(stats.refused(Refusal::UserQuota), 1);
    assert_eq!(stats.refused(Refusal::AddressQuota), 1);
    assert_eq!((stats.allocations, stage.wires.open.len()), (4, 4));
    assert_eq!(people[0].refresh(&mut stage, 0), Some(0));
    assert_eq!(stage.wires.open.len(), 3);
    assert_eq!(code(people[2].allocate(&mut stage).as_ref()), Some(0));
    // One whose stream ended, and the others when their time is over.
    stage.relay.gone(people[1].client, &mut stage.wires);
    assert_eq!(stage.relay.stats().allocations, 3);
    stage.pass(700);
    let stats = stage.relay.stats();
    assert_eq!(
        (stats.allocations, stats.half_open, stage.wires.open.len()),
        (0, 0, 0)
    );
    assert!(stage.relay.is_empty(), "nothing is remembered");
}

#[test]
fn what_there_is_not_is_said() {
    let mut stage = Stage::new();
    let ada = Person::new(&mut stage, client(1), "ada");
    let tcp = ada.signed(ALLOCATE, |_, m| {
        m.add_attribute(&RequestedTransport::new(RequestedTransport::TCP))
            .unwrap();
    });
    assert_eq!(code(stage.send(ada.client, &tcp).as_ref()), Some(508));
    let pair = ada.signed(ALLOCATE, |_, m| {
        m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
            .unwrap();
        m.add_attribute(&EvenPort::new(true)).unwrap();
    });
    assert_eq!(code(stage.send(ada.client, &pair).as_ref()), Some(508));
    assert_eq!(
        ada.refresh(&mut stage, 600),
        Some(437),
        "there is nothing yet"
    );
    let even = ada.signed(ALLOCATE, |_, m| {
        m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
            .unwrap();
        m.add_attribute(&EvenPort::new(false)).unwrap();
    });
    assert_eq!(code(stage.send(ada.client, &even).as_ref()), Some(0));
    assert_eq!(stage.wires.open[0].port() % 2, 0);
    assert_eq!(ada.peer(&mut stage, CONNECT, &[at(MEDIA)], 0), Some(400));
    assert_eq!(stage.wires.open.len(), 1);
}

#[test]
fn channels_are_one_to_one_and_few() {
    let mut stage = Stage::new();
    let ada = Person::new(&mut stage, client(1), "ada");
    ada.allocate(&mut stage);
    let (one, other) = (at(MEDIA), at("1.2.3.4:40000"));
    assert_eq!(ada.peer(&mut stage, CHANNEL_BIND, &[one], 0x4000), Some(0));
    assert_eq!(ada.peer(&mut stage, CHANNEL_BIND, &[one], 0x4000), Some(0));
    assert_eq!(
        ada.peer(&mut stage, CHANNEL_BIND, &[other], 0x4000),
        Some(400)
    );
    assert_eq!(
        ada.peer(&mut stage, CHANNEL_BIND, &[one], 0x4001),
        Some(400)
    );
    assert_eq!(
        ada.peer(&mut stage, CHANNEL_BIND, &[one, other], 0x4001),
        Some(400)
    );
    const { assert!(CHANNELS_MAX > 2) };
}

#[test]
fn strangers_get_few_answers_and_leave_nothing() {
    let mut stage = Stage::new();
    let bare = request(ALLOCATE, |_, m| {
        m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
            .unwrap();
    });
    let binding = request(BINDING, |_, _| {});
    let answers = (0..1_000)
        .filter(|n| stage.send(client(*n), &bare).is_some())
        .count();
    assert_eq!(answers, STRANGERS_PER_SOURCE as usize, "of one address");
    let mut elsewhere = HashMap::new();
    for n in 0..50_000_u32 {
        let ip = std::net::Ipv4Addr::from(0x0b00_0000 + n);
        let from = Client {
            listener: ListenerId(0),
            address: (ip, 9).into(),
            proven: false,
        };
        let ask = if n % 2 == 0 { &bare } else { &binding };
        if let Some(answer) = stage.send(from, ask) {
            elsewhere.insert(ip, answer);
        }
    }
    assert_eq!(elsewhere.len() + answers, 100, "of all");
    assert!(stage.relay.stats().half_open <= 100);
    assert_eq!(stage.relay.stats().refused(Refusal::Rate), 51_000 - 100);
    stage.pass(4);
    assert!(stage.relay.is_empty());
    // An answer to "where am I" is hardly longer than its question.
    let answer = stage.send(client(1), &binding).expect("one second later");
    assert!(answer.len() <= binding.len() + 12);
}

/// After a restart an office comes back at once, by TCP, where no request is repeated.
#[test]
fn many_connections_of_one_address_are_all_answered() {
    let mut stage = Stage::new();
    let bare = request(ALLOCATE, |_, m| {
        m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
            .unwrap();
    });
    for port in 0..300 {
        let from = Client {
            proven: true,
            ..client(port)
        };
        assert_eq!(code(stage.send(from, &bare).as_ref()), Some(401), "{port}");
    }
    let one = Client {
        proven: true,
        ..client(1)
    };
    let answers = (0..1_000).filter(|_| stage.send(one, &bare).is_some());
    assert!(answers.count() <= 100, "of one connection");
}

/// Reproducible, and enough to mutate with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => bytes.insert(at, self.below(256) as u8),
                // A length that is not so.
                4 if bytes.len() > 4 => bytes[3] = bytes[3].wrapping_add(4),
                _ => bytes.extend(std::iter::repeat_n(self.below(256) as u8, self.below(32))),
            }
        }
    }
}

#[test]
fn whatever_comes_nothing_breaks_and_nothing_is_kept() {
    let mut stage = Stage::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let rounds = std::env::var("RILLWAY_TEST_TURN_MESSAGES").ok();
    let rounds: u32 = rounds.and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let people: Vec<_> = (1..4)
        .map(|port| {
            let person = Person::new(&mut stage, client(port), &format!("person {port}"));
            person.allocate(&mut stage);
            person.peer(&mut stage, CHANNEL_BIND, &[at(MEDIA)], 0x4000);
            person
        })
        .collect();
    let told = at(MEDIA);
    for round in 0..rounds {
        let person = &people[dice.below(people.len())];
        let mut bytes = match dice.below(6) {
            0 => indication(told, b"payload"),
            1 => channel(0x4000, b"payload"),
            2 => person.signed(ALLOCATE, |_, m| {
                m.add_attribute(&RequestedTransport::new(RequestedTransport::UDP))
                    .unwrap();
            }),
            3 => person.signed(REFRESH, |_, m| {
                m.add_attribute(&Lifetime::new(dice.below(3) as u32 * 600))
                    .unwrap();
            }),
            4 => person.signed(CHANNEL_BIND, |ids, m| {
                m.add_attribute(&XorPeerAddress::new(told, ids.0)).unwrap();
                m.add_attribute(&ChannelNumber::new(0x4000)).unwrap();
            }),
            _ => request(BINDING, |_, _| {}),
        };
        if dice.below(8) > 0 {
            dice.mutate(&mut bytes);
        }
        let from = match dice.below(4) {
            0 => client(dice.below(60_000) as u16),
            _ => person.client,
        };
        stage.wires.to_peers.clear();
        stage.send(from, &bytes);
        for (_, peer, _) in &stage.wires.to_peers {
            assert!(
                [at(MEDIA), at("10.0.0.5:40000")].contains(peer),
                "round {round}: {peer}"
            );
        }
        if dice.below(50) == 0 {
            stage.pass(dice.below(3) as u64);
        }
        if let Some(relayed) = stage.wires.open.first().copied() {
            let (now, wires) = (stage.now, &mut stage.wires);
            stage.relay.handle_peer(relayed, told, &bytes, now, wires);
        }
        assert!(stage.wires.open.len() <= 8);
    }
    let stats = stage.relay.stats();
    assert_eq!(stats.faults, 0, "the library is never broken");
    assert!(stats.refused(Refusal::Malformed) > 100, "{stats:?}");
    stage.pass(4_000);
    stage.pass(1);
    assert!(stage.relay.is_empty() && stage.wires.open.is_empty());
}
