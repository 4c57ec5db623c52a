mod browsers;
mod congestion;
mod data;
mod egress;
mod inspect;
mod layers;
mod media;
mod moved;
mod negotiation;
mod parts;
mod paths;
mod port;
mod receiving;
mod recording;
mod restart;
mod rooms;
mod scalable;
mod security;
mod simulcast;
mod strangers;
mod tcp;

use std::time::Duration;

use super::TableSizes;
use super::testing::*;
use crate::api::*;
use crate::id::*;
use crate::stats::DropCause;

const FRAME: Duration = Duration::from_millis(33);

#[test]
fn audio_and_video_reach_the_other_and_everything_is_freed() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    let mut audio = Feed::audio(mids[0]);
    let mut video = Feed::video(mids[1], None);
    for frame in 0..60 {
        bench.run(FRAME);
        bench.send(alice, &audio.next(false, 1));
        bench.send(alice, &video.next(frame == 3, 2));
    }
    assert_eq!(
        bench.count(bob, 1),
        60,
        "audio flows from the first packet on"
    );
    assert_eq!(bench.count(bob, 2), 57, "video flows from the keyframe on");
    assert!(!bench.clients[alice].publish().keyframe_requests.is_empty());
    let stats = *bench.shard.stats();
    assert_eq!(stats.dropped, [0; DropCause::COUNT]);
    assert_eq!(stats.rtp_received, 120);
    assert_eq!(stats.rtp_forwarded, 117);
    assert_eq!(stats.transports, [0, 0, 3, 0]);
    assert_eq!((stats.joins, stats.connects), (2, 3));
    assert_eq!((stats.rooms, stats.participants), (1, 2));
    assert_eq!((stats.tracks, stats.subscriptions), (4, 2));
    let states = bench.clients[bob].states(Direction::Subscribe);
    assert_eq!(
        states,
        [TransportState::Connecting, TransportState::Connected]
    );

    bench.ok(bob, Action::Leave);
    bench.ok(alice, Action::Leave);
    assert_eq!(bench.shard.table_sizes(), TableSizes::default());
    let stats = *bench.shard.stats();
    assert_eq!(stats.transports, [0; 4]);
    assert_eq!((stats.rooms, stats.participants), (0, 0));
    assert_eq!((stats.tracks, stats.subscriptions), (0, 0));
    assert!(
        bench.clients[alice].publish().closed,
        "the client is told by DTLS"
    );
    assert_eq!(bench.shard.poll_timeout(), None, "nothing is left to do");
}

#[test]
fn the_same_seed_gives_the_same_credentials() {
    let sdp = || {
        let mut bench = Bench::new();
        let alice = bench.join("room");
        bench.publish(alice, &[AUDIO]);
        let answers = bench.clients[alice].events.iter().find_map(|e| match e {
            EventKind::Answer { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
        let text = answers.unwrap();
        let line = text.lines().find(|line| line.starts_with("a=ice-pwd:"));
        line.unwrap().to_owned()
    };
    assert_eq!(sdp(), sdp());
}
