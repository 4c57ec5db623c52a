//! A call to be attacked.

use std::net::SocketAddr;
use std::time::Duration;

use rillway_core::id::ClientId;
use rillway_tests::client::ClientConfig;
use rillway_tests::forge::{self, Kind};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

/// A publisher, a subscriber, and their addresses as the router knows them.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) publisher: Who,
    pub(crate) subscriber: Who,
    /// Of the publisher's publishing transport.
    pub(crate) publish_from: SocketAddr,
    /// Of the subscriber's subscribing transport.
    pub(crate) subscribe_from: SocketAddr,
}

impl Scene {
    /// Both have joined; nothing has been sent yet. `passive`: the clients are DTLS servers.
    pub(crate) fn begin(seed: u64, passive: bool) -> Self {
        let mut world = World::with_shard(seed);
        world.tap = Some(Vec::new());
        let set_up = |config: &mut ClientConfig| config.dtls_passive = passive;
        let publisher = world.join_with("r", |config| {
            set_up(config);
            config.tracks = vec![TrackSpec::audio(), TrackSpec::video(2)];
            config.channels = true;
        });
        let subscriber = world.join_with("r", set_up);
        let publish_from = world.client(publisher).config.publish_address;
        let subscribe_from = world.client(subscriber).config.subscribe_address;
        assert_eq!(world.client(publisher).config.client, ClientId(1));
        Scene {
            world,
            publisher,
            subscriber,
            publish_from,
            subscribe_from,
        }
    }

    /// Media flows and is received.
    pub(crate) fn connected(seed: u64, passive: bool) -> Self {
        let mut scene = Scene::begin(seed, passive);
        scene.wait_for_media();
        scene.world.run_for(Duration::from_secs(1));
        scene
    }

    pub(crate) fn wait_for_media(&mut self) {
        let (to, from) = (self.subscriber, self.publisher);
        let heard = self.world.run_until(SOON * 2, |w| w.hears(to, from));
        let states = (
            &self.world.client(from).states,
            &self.world.client(to).states,
        );
        assert!(heard, "no media: {states:?}");
    }

    /// Everything sent so far and from now on arrives; nobody was disconnected; nothing went to
    /// strangers.
    pub(crate) fn assert_unharmed(&mut self) {
        self.world.run_for(Duration::from_secs(1));
        self.world.stop_media();
        for index in 0..2 {
            self.world
                .assert_complete(self.subscriber, self.publisher, index, 300);
            let packets = self.world.received(self.subscriber, self.publisher, index);
            assert!(packets > 40, "too little media to prove anything");
        }
        self.world.assert_sound();
        assert_eq!(self.world.stats(0).transport_panics, 0);
        assert_eq!(self.world.stats(0).transports, [0, 0, 2, 0]);
    }

    /// The newest datagram of this kind seen, to or from an address.
    pub(crate) fn sighted(&self, inward: bool, outside: SocketAddr, kind: Kind) -> Option<Vec<u8>> {
        let tap = self.world.tap.as_ref()?;
        let mut newest = tap.iter().rev();
        let found = newest.find(|s| {
            s.inward == inward && s.outside == outside && forge::kind(&s.contents) == kind
        });
        found.map(|s| s.contents.clone())
    }

    /// How many datagrams of this kind were seen.
    pub(crate) fn count(&self, inward: bool, outside: SocketAddr, kind: Kind) -> usize {
        let tap = self.world.tap.iter().flatten();
        tap.filter(|s| {
            s.inward == inward && s.outside == outside && forge::kind(&s.contents) == kind
        })
        .count()
    }

    /// Injects a datagram and returns how many bytes came back to its source in that turn.
    pub(crate) fn inject(&mut self, source: SocketAddr, contents: &[u8]) -> usize {
        let sent = self.world.inject(0, source, contents);
        let back = sent.iter().filter(|(to, _)| *to == source);
        back.map(|(_, contents)| contents.len()).sum()
    }

    /// Bytes the router sent to an address so far.
    pub(crate) fn bytes_to(&self, address: SocketAddr) -> u64 {
        self.world.ledger.account(address).received
    }
}

/// Every kind of datagram worth sending, as somebody who has seen nothing can make it.
pub(crate) fn every_kind(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("empty".to_owned(), Vec::new()),
        ("one byte".to_owned(), vec![0x80]),
        (
            "ClientHello".to_owned(),
            forge::client_hello(scene.world.now),
        ),
        ("ServerHello".to_owned(), forge::server_hello()),
        (
            "HelloVerifyRequest".to_owned(),
            forge::hello_verify_request(),
        ),
        ("fatal alert".to_owned(), forge::fatal_alert()),
        ("RTP".to_owned(), forge::rtp(111, 1, 0x1234_5678, 200)),
        ("RTP with nothing in it".to_owned(), forge::rtp(96, 1, 1, 0)),
        ("64 KiB".to_owned(), vec![0x80; 65_507]),
        (
            "TURN channel data".to_owned(),
            vec![0x40, 0, 0, 4, 1, 2, 3, 4],
        ),
        ("STUN of another cookie".to_owned(), vec![0; 20]),
    ];
    for (name, datagram) in forge::dtls_oddities() {
        all.push((name.to_owned(), datagram));
    }
    for bytes in 8..=40 {
        for packet_type in [200, 201, 203, 205, 206] {
            all.push((
                format!("RTCP {packet_type} of {bytes} bytes"),
                forge::rtcp(packet_type, bytes),
            ));
        }
    }
    for username in ["", ":", "a:b", "x", &"u".repeat(513)] {
        for fingerprint in [true, false] {
            let request = forge::BindingRequest {
                username,
                password: Some("of-somebody-else-entirely"),
                transaction: [9; 12],
                use_candidate: true,
                fingerprint,
            };
            all.push((format!("STUN for {username:.8}"), request.to_bytes()));
        }
    }
    all
}
