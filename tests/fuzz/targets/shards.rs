//! A shard, and everything that it sends and says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rillway_core::api::{Action, Event, Grant, Request, Source};
use rillway_core::id::{ClientId, Reference, SocketId, WorkerId};
use rillway_core::limits::Limits;
use rillway_core::{Shard, ShardConfig, Transmit};

/// Where a shard is reached.
pub const ROUTER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    40_000,
);

/// What a shard sent in a turn.
#[derive(Default)]
pub struct Sent(pub Vec<(SocketAddr, Vec<u8>)>);

impl Transmit for Sent {
    fn transmit(&mut self, socket: SocketId, destination: SocketAddr, contents: &[u8]) {
        assert_eq!(socket, SocketId(0));
        assert!(!contents.is_empty() && contents.len() <= 1_500);
        self.0.push((destination, contents.to_vec()));
    }
}

/// An empty shard.
pub fn shard(now: Instant) -> Shard {
    let config = ShardConfig {
        worker: WorkerId(3),
        local_addresses: vec![ROUTER],
        advertised_addresses: vec![ROUTER],
        listeners: 0,
        limits: Limits::default(),
        relays: None,
        unix_time: Duration::from_secs(1_700_000_000),
        seed: [42; 32],
    };
    Shard::new(config, now)
}

/// Ends a turn; what was sent, and what was said.
pub fn turn(shard: &mut Shard, now: Instant) -> (Sent, Vec<Event>) {
    let mut sent = Sent::default();
    shard.handle_timeout(now);
    shard.flush(now, &mut sent);
    let events = std::iter::from_fn(|| shard.poll_event()).collect();
    (sent, events)
}

/// A client asks for something.
pub fn ask(shard: &mut Shard, now: Instant, client: u64, reference: u64, action: Action) {
    let request = Request {
        client: ClientId(client),
        reference: Reference(reference),
        action,
    };
    shard.handle_request(now, request);
}

/// A client comes into the one room there is.
pub fn join(shard: &mut Shard, now: Instant, client: u64) {
    let grant = Grant {
        room: "room".to_owned(),
        identity: format!("client {client}"),
        name: None,
        publish: vec![
            Source::Camera,
            Source::Microphone,
            Source::Screen,
            Source::ScreenAudio,
            Source::Other,
        ],
        subscribe: true,
        publish_data: true,
        record_control: false,
        max_publish_bps: Some(1_000_000),
        expires_at_ms: None,
        attributes: Vec::new(),
    };
    let joined_at_ms = 7;
    ask(
        shard,
        now,
        client,
        0,
        Action::Join {
            grant,
            joined_at_ms,
        },
    );
}

/// Everybody leaves, and nothing is left of anybody.
pub fn leave(shard: &mut Shard, now: Instant, clients: &[u64]) {
    for client in clients {
        ask(shard, now, *client, 0, Action::Leave);
    }
    let _ = turn(shard, now);
    let _ = turn(shard, now + Duration::from_secs(60));
    let left = shard.table_sizes();
    let tables = [
        left.rooms,
        left.room_names,
        left.participants,
        left.clients,
        left.tracks,
        left.subscriptions,
        left.transports,
        left.addresses,
        left.sending,
        left.offers_due,
    ];
    assert_eq!(tables, [0; 10], "{left:?}");
}

/// A publishing offer of audio, or of video too, as a browser makes it.
pub fn offer(video: bool) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let mids = if video { "0 1" } else { "0" };
    let mut text = format!(
        "v=0\r\no=- 77 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
         a=ssrc:1111 cname:c\r\n"
    );
    if video {
        text.push_str(
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\n\
             a=rtcp-mux\r\na=setup:actpass\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\n\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc:2222 cname:c\r\n",
        );
    }
    text
}
