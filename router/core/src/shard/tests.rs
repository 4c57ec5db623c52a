use std::time::Duration;

use super::testing::*;
use crate::api::*;

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
    let audio_mid = bench.clients[bob].mid_of(tracks[0]);
    let video_mid = bench.clients[bob].mid_of(tracks[1]);
    let received = &bench.clients[bob].subscribe().received;
    let of = |tag: u8| {
        received
            .iter()
            .filter(|p| p.payload.last() == Some(&tag))
            .count()
    };
    assert_eq!(of(1), 60, "audio flows from the first packet");
    assert_eq!(of(2), 57, "video flows from the keyframe");
    assert_ne!(audio_mid, video_mid);
    assert!(!bench.clients[alice].publish().keyframe_requests.is_empty());
    assert_eq!(bench.shard.stats().dropped, [0; 6]);

    bench.ok(bob, Action::Leave);
    bench.ok(alice, Action::Leave);
    bench.settle();
    assert_eq!(bench.shard.table_sizes(), super::TableSizes::default());
    assert_eq!(bench.shard.stats().transports, [0; 4]);
    assert!(
        bench.clients[alice].publish().closed,
        "the client is told by DTLS"
    );
}
