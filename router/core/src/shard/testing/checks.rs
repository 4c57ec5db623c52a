//! What tests look at, and unusual ways to drive the bench.

use std::time::Instant;

use str0m::media::{MediaKind as Kind, Mid};
use str0m::rtp::RtpPacket;

use super::{Bench, Client, Publication, Sink, TestPacket};
use crate::api::*;
use crate::id::*;
use crate::shard::Shard;
use crate::shard::slab::{TrackKey, TransportKey, from_public};

impl Bench {
    /// A client sends a frame; everything is exchanged.
    pub(crate) fn send(&mut self, client: usize, packet: &TestPacket) {
        let now = self.now;
        self.clients[client].publish().send_rtp(now, packet);
        self.settle();
    }
}

impl Bench {
    /// How many packets a subscriber got whose payload ends with this tag.
    pub(crate) fn count(&mut self, client: usize, tag: u8) -> usize {
        let received = &self.clients[client].subscribe().received;
        received
            .iter()
            .filter(|packet| packet.payload.last() == Some(&tag))
            .count()
    }

    /// The router's ICE credentials toward a publisher.
    pub(crate) fn credentials(&self, client: usize) -> str0m::IceCreds {
        let id = self.clients[client].id;
        let key = self.shard.transport_of(id, Direction::Publish);
        self.shard.credentials_of(key)
    }

    pub(crate) fn drops(&self, cause: crate::stats::DropCause) -> u64 {
        self.shard.stats().dropped[cause as usize]
    }

    /// Packets of a section, in order of their sequence numbers.
    fn stream(&mut self, client: usize, mid: Mid) -> Vec<&RtpPacket> {
        let end = self.clients[client].subscribe.as_mut().unwrap();
        let mut api = end.rtc.direct_api();
        let ssrc = api.stream_rx_by_mid(mid, None).expect("a stream").ssrc();
        let mut packets: Vec<&RtpPacket> = end
            .received
            .iter()
            .filter(|packet| packet.header.ssrc == ssrc)
            .collect();
        packets.sort_by_key(|packet| packet.seq_no);
        packets
    }

    /// Sequence numbers missing in a section's stream.
    pub(crate) fn gaps(&mut self, client: usize, mid: Mid) -> u64 {
        let packets = self.stream(client, mid);
        let steps = packets
            .windows(2)
            .map(|pair| *pair[1].seq_no - *pair[0].seq_no);
        steps.map(|step| step - 1).sum()
    }

    /// One SSRC, no gap, timestamps that grow with the frames, picture ids that go on.
    pub(crate) fn assert_continuous(&mut self, client: usize, mid: Mid) {
        let end = self.clients[client].subscribe.as_mut().unwrap();
        let audio = end.rtc.media(mid).unwrap().kind() == Kind::Audio;
        let packets = self.stream(client, mid);
        assert!(packets.len() > 2);
        for pair in packets.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            assert_eq!(*a.seq_no + 1, *b.seq_no, "sequence");
            let step = b.header.timestamp.wrapping_sub(a.header.timestamp);
            assert!(step > 0 && step < 90_000 * 10, "timestamp step {step}");
            if audio {
                continue;
            }
            let ids = |p: &RtpPacket| {
                let picture = u16::from_be_bytes([p.payload[2] & 0x7f, p.payload[3]]);
                (picture, p.payload[4])
            };
            assert_eq!((ids(a).0 + 1) & 0x7fff, ids(b).0, "picture id");
            assert_eq!(ids(a).1.wrapping_add(1), ids(b).1, "TL0PICIDX");
        }
        let total = self.clients[client].subscribe().received.len();
        assert!(total > 0);
    }
}

impl Bench {
    /// A client that has not joined.
    pub(crate) fn add_client(&mut self) -> usize {
        let index = self.clients.len();
        self.clients.push(Client {
            id: ClientId(1_000 + index as u64),
            publish: None,
            subscribe: None,
            events: Vec::new(),
            answers: true,
        });
        index
    }
}

impl Bench {
    /// Publishes without exchanging anything beyond the offer and answer.
    pub(crate) fn publish_quietly(&mut self, client: usize, media: &[Publication]) {
        self.filter = Some(Box::new(|_| false));
        self.publish(client, media);
        self.filter = None;
    }

    /// One exchange in which `before` sees every datagram of a client before the shard does.
    pub(crate) fn step_with(&mut self, before: &mut dyn FnMut(&mut Shard, Instant, &[u8])) {
        let now = self.now;
        for _ in 0..20 {
            let mut moved = false;
            for client in &mut self.clients {
                for end in [&mut client.publish, &mut client.subscribe]
                    .into_iter()
                    .flatten()
                {
                    end.tick(now);
                    while let Some(bytes) = end.sent.pop_front() {
                        moved = true;
                        before(&mut self.shard, now, &bytes);
                        self.shard
                            .handle_datagram(now, SocketId(0), end.address, &bytes);
                    }
                }
            }
            self.shard.handle_timeout(now);
            let mut sink = Sink::default();
            self.shard.flush(now, &mut sink);
            for (_, destination, bytes) in sink.0 {
                moved = true;
                self.deliver(destination, &bytes);
            }
            while let Some(event) = self.shard.poll_event() {
                self.handle(event);
            }
            if !moved {
                return;
            }
        }
    }
}

impl Shard {
    pub(crate) fn transport_keys(&self) -> Vec<TransportKey> {
        let participants = self
            .clients
            .values()
            .filter_map(|key| self.participants.get(*key));
        participants
            .flat_map(|p| [p.publish, p.subscribe])
            .flatten()
            .collect()
    }
}

impl Shard {
    pub(crate) fn transport_of(&self, client: ClientId, direction: Direction) -> TransportKey {
        let participant = self.participants.get(self.clients[&client]).unwrap();
        participant.transport(direction).unwrap()
    }

    pub(crate) fn credentials_of(&self, key: TransportKey) -> str0m::IceCreds {
        self.transports.get(key).unwrap().credentials().clone()
    }
}

impl Shard {
    /// Packets of a track kept for retransmission.
    pub(crate) fn kept(&self, track: TrackId) -> usize {
        let key = from_public::<TrackKey>(self.config.worker, track.0).unwrap();
        let layers = &self.tracks.get(key).unwrap().layers;
        layers.iter().map(|layer| layer.history.len()).sum()
    }
}
