//! One client, with a server of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use turn_server_proto::api::{DelayedMessageOrChannelSend, Transmit, TurnServerApi as _};
use turn_server_proto::server::TurnServer;
use turn_types::TransportType;
use turn_types::stun::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials,
};
use turn_types::transmit::{DelayedTransmitBuild as _, TransmitBuild};

use crate::bucket::Bucket;
use crate::credentials::{self, NameError};
use crate::limits::{
    CHANNEL, CHANNELS_MAX, NAMES_MAX, NONCE, PERMISSION, PERMISSIONS_MAX, REQUESTS_PER_SECOND,
};
use crate::relay::Settings;

/// What the library is told that clients come by: framing and padding of streams are undone before.
const TRANSPORT: TransportType = TransportType::Udp;
/// Where it is told that it listens: it has one client, and compares addresses with this one only.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What the library wants sent.
pub(crate) type Sent<'a> = TransmitBuild<DelayedMessageOrChannelSend<&'a [u8]>>;

/// A client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) server: TurnServer,
    client: SocketAddr,
    pub(crate) began: Instant,
    /// Whom its allocation counts for; `None`: it has none.
    pub(crate) user: Option<String>,
    /// Its relayed addresses, as clients are told.
    pub(crate) relays: Vec<SocketAddr>,
    names: u8,
    signs_with: Option<(String, MessageIntegrityCredentials)>,
    requests: Bucket,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<(u16, SocketAddr, Instant)>,
    /// The request that made its allocation, and its answer: it may be lost, and asked for again.
    pub(crate) allocated: Option<(Vec<u8>, Vec<u8>)>,
}

/// What is to be done about a user name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The library knows whom to ask for.
    Known,
    /// It will find that nobody is called so.
    Unknown(NameError),
    /// This client has tried too many.
    TooMany,
}

impl Session {
    pub(crate) fn new(client: SocketAddr, settings: &Settings, now: Instant) -> Self {
        let mut server = TurnServer::new(TRANSPORT, LISTEN, settings.realm.clone());
        server.set_nonce_expiry_duration(NONCE);
        Session {
            server,
            client,
            began: now,
            user: None,
            relays: Vec::new(),
            names: 0,
            signs_with: None,
            requests: Bucket::new(REQUESTS_PER_SECOND, now),
            permissions: Vec::new(),
            channels: Vec::new(),
            allocated: None,
        }
    }

    pub(crate) fn may_ask(&mut self, now: Instant) -> bool {
        self.requests.take(now)
    }

    /// Makes the password of a user name known to the library, if it has one.
    pub(crate) fn name(&mut self, name: &str, settings: &Settings, unix: Duration) -> Named {
        if self
            .signs_with
            .as_ref()
            .is_some_and(|(known, _)| known == name)
        {
            // Who has an allocation keeps it; what ends is the time to make one.
            let ended = credentials::identity(name, unix)
                .err()
                .filter(|_| self.user.is_none());
            return ended.map_or(Named::Known, Named::Unknown);
        }
        if self.names >= NAMES_MAX {
            return Named::TooMany;
        }
        self.names += 1;
        if let Err(error) = credentials::identity(name, unix) {
            return Named::Unknown(error);
        }
        let (username, password) = (name.to_owned(), settings.secret.password(name));
        self.server.add_user(username.clone(), password.clone());
        if self.user.is_none() {
            let realm = settings.realm.clone();
            let key = LongTermKeyCredentials::new(username.clone(), password, realm);
            self.signs_with = Some((username, key.into()));
        }
        Named::Known
    }

    /// The name that its requests are signed for.
    pub(crate) fn named(&self) -> Option<&str> {
        self.signs_with.as_ref().map(|(name, _)| name.as_str())
    }

    /// Whether a message was signed with this client's password, and how.
    pub(crate) fn verify(
        &self,
        message: &Message<'_>,
    ) -> Option<(&MessageIntegrityCredentials, IntegrityAlgorithm)> {
        let (_, key) = self.signs_with.as_ref()?;
        let algorithm = message.validate_integrity(key).ok()?;
        Some((key, algorithm))
    }

    /// Hands the library what the client sent.
    pub(crate) fn client_sent<'a>(&mut self, bytes: &'a [u8], now: Tick) -> Option<Sent<'a>> {
        let sent = Transmit::new(bytes, TRANSPORT, self.client, LISTEN);
        self.server.recv(sent, now)
    }

    /// Hands the library what a peer sent.
    pub(crate) fn peer_sent<'a>(
        &mut self,
        relay: SocketAddr,
        peer: SocketAddr,
        bytes: &'a [u8],
        now: Tick,
    ) -> Option<Sent<'a>> {
        let sent = Transmit::new(bytes, TRANSPORT, peer, relay);
        self.server.recv(sent, now)
    }

    /// Whether these peers may be added to those it has permission for.
    pub(crate) fn permit(&mut self, peers: &[SocketAddr], now: Instant) -> bool {
        self.permissions.retain(|(_, until)| *until > now);
        for peer in peers {
            let full = self.permissions.len() == PERMISSIONS_MAX;
            let known = self.permissions.iter_mut().find(|(ip, _)| *ip == peer.ip());
            match known {
                Some((_, until)) => *until = now + PERMISSION,
                None if full => return false,
                None => self.permissions.push((peer.ip(), now + PERMISSION)),
            }
        }
        true
    }

    /// Whether a channel may be bound: neither it nor the peer is bound otherwise (RFC 8656 §12.1), and there is room.
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Bind {
        self.channels.retain(|(_, _, until)| *until > now);
        let full = self.channels.len() == CHANNELS_MAX;
        let of_either = |(n, p, _): &&mut (u16, SocketAddr, Instant)| *n == number || *p == peer;
        match self.channels.iter_mut().find(of_either) {
            Some((n, p, until)) if *n == number && *p == peer => {
                *until = now + CHANNEL;
                Bind::Done
            }
            Some(_) => Bind::Taken,
            None if full => Bind::Full,
            None => {
                self.channels.push((number, peer, now + CHANNEL));
                Bind::Done
            }
        }
    }
}

/// What became of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    Done,
    Taken,
    Full,
}

/// The library's time.
pub(crate) type Tick = turn_types::Instant;

/// The bytes of what the library wants sent; built in `scratch` where they are not a piece of what came in.
pub(crate) fn contents<'a>(
    data: DelayedMessageOrChannelSend<&'a [u8]>,
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    match data {
        DelayedMessageOrChannelSend::Range(bytes, range) => &bytes[range],
        // Its `write_into` makes a Send indication of it, which is the client's to send, and which browsers drop: only
        // `build` makes a Data indication (RFC 8656 §11.4).
        DelayedMessageOrChannelSend::Message(message) => {
            *scratch = message.build();
            scratch
        }
        built => {
            scratch.resize(built.len(), 0);
            let length = built.write_into(scratch);
            &scratch[..length]
        }
    }
}
