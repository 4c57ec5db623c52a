//! The client against a bare str0m, without a router: what it says it sends is what arrives.

use std::time::Duration;

use rillway_core::api::{MediaKind, ParticipantInfo, TrackInfo};
use str0m::Event;

use super::*;
use crate::inbound::Arrival;
use crate::peer::default_config;

fn info(id: u64) -> ParticipantInfo {
    ParticipantInfo {
        id: ParticipantId(id),
        identity: id.to_string(),
        name: None,
        attributes: Vec::new(),
        joined_at_ms: 0,
    }
}

/// Passes datagrams between a client's publisher and a plain peer for a while.
fn exchange(client: &mut Client, peer: &mut Peer, from: Instant, time: Duration) {
    let step = Duration::from_millis(1);
    let mut now = from;
    while now < from + time {
        now += step;
        client.handle_timeout(now);
        peer.handle_timeout(now);
        while let Some(datagram) = client.poll_transmit() {
            peer.handle_datagram(now, datagram.source, &datagram.contents);
        }
        while let Some(datagram) = peer.poll_transmit() {
            let to = datagram.destination;
            client.handle_datagram(now, to, datagram.source, &datagram.contents);
        }
    }
}

#[test]
fn what_a_client_publishes_arrives_whole_at_a_plain_peer() {
    let now = Instant::now();
    let addresses = ["10.1.0.1:5000", "10.1.0.1:5001"].map(|a| a.parse().expect("an address"));
    let mut config = ClientConfig::new(ClientId(1), "room", addresses, now);
    config.tracks = vec![TrackSpec::audio(), TrackSpec::video(3)];
    let mut client = Client::new(config);
    client.handle_event(
        now,
        EventKind::Joined {
            me: info(7),
            participants: Vec::new(),
            tracks: Vec::new(),
        },
    );
    let Some((reference, Action::AcceptOffer { sdp, sources })) = client.poll_request() else {
        panic!("no offer");
    };
    let local = "10.0.0.1:40000".parse().expect("an address");
    let mut peer = Peer::with_config(now, local, default_config().set_ice_lite(true));
    let offer = str0m::change::SdpOffer::from_sdp_string(&sdp).expect("an offer");
    let answer = peer.rtc.sdp_api().accept_offer(offer).expect("an answer");
    let tracks = sources.iter().enumerate().map(|(i, (mid, _))| MidTrack {
        mid: mid.clone(),
        track: Some(TrackId(i as u64)),
    });
    let tracks: Vec<_> = tracks.collect();
    client.handle_event(
        now,
        EventKind::Answer {
            reference,
            sdp: answer.to_sdp_string(),
            tracks,
        },
    );
    exchange(&mut client, &mut peer, now, Duration::from_secs(3));

    let mut inbound: Vec<Inbound> = [MediaKind::Audio, MediaKind::Video]
        .into_iter()
        .enumerate()
        .map(|(i, kind)| {
            Inbound::new(TrackInfo {
                id: TrackId(i as u64),
                owner: ParticipantId(7),
                kind,
                source: Source::Other,
                codec: String::new(),
                muted: false,
                layers: Vec::new(),
            })
        })
        .collect();
    while let Some(event) = peer.poll_event() {
        let Event::RtpPacket(packet) = event else {
            continue;
        };
        let (vp8, body) = match payload::read_body(&packet.payload) {
            Ok(body) => (None, body),
            Err(_) => payload::read_video(&packet.payload)
                .map(|(v, b)| (Some(v), b))
                .expect("a payload of this world"),
        };
        let arrival = Arrival {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            ssrc: *packet.header.ssrc,
            marker: packet.header.marker,
            vp8,
            body,
        };
        let broken = inbound[body.track.0 as usize].note(&arrival, packet.payload.len());
        assert_eq!(broken, Vec::<String>::new());
    }
    for (inbound, published) in inbound.iter().zip(&client.published) {
        let sent = published.layers[0].sequence;
        assert!(sent > 100, "sent {sent}");
        assert_eq!(inbound.packets, u64::from(sent));
        assert_eq!(inbound.missing(0, sent), Vec::<u32>::new());
        assert_eq!(inbound.rtp_gaps(), 0);
    }
    assert_eq!(inbound[1].keyframes, 1);
}
