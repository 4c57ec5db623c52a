//! Rooms with parts on two workers.

use super::*;
use crate::shard::testing::span::{Span, WORKERS};

fn joined(bench: &Bench, client: usize) -> Option<(Vec<ParticipantId>, Vec<TrackId>)> {
    bench.clients[client]
        .events
        .iter()
        .find_map(|event| match event {
            EventKind::Joined {
                participants,
                tracks,
                ..
            } => Some((
                participants.iter().map(|info| info.id).collect(),
                tracks.iter().map(|info| info.id).collect(),
            )),
            _ => None,
        })
}

fn happened(bench: &Bench, client: usize, wanted: &EventKind) -> usize {
    let events = bench.clients[client].events.iter();
    events.filter(|event| *event == wanted).count()
}

/// Somebody who sends sound and a picture on one side.
fn talker(span: &mut Span, side: usize) -> (usize, [TrackId; 2], [str0m::media::Mid; 2]) {
    let (client, mids) = span.side(side).talker("room");
    span.sync();
    let bench = span.side(side);
    let tracks = [
        bench.clients[client].track(0),
        bench.clients[client].track(1),
    ];
    (client, tracks, [mids[0], mids[1]])
}

fn viewer(span: &mut Span, side: usize, tracks: &[TrackId]) -> usize {
    let client = span.side(side).join("room");
    span.sync();
    if !tracks.is_empty() {
        span.side(side).watch(client, tracks);
        span.sync();
    }
    client
}

#[test]
fn who_joins_a_part_is_told_who_is_in_the_others_and_who_comes_and_goes() {
    let mut span = Span::of("room");
    let (alice, tracks, _) = talker(&mut span, 0);
    let alice_id = span.sides[0].clients[alice].me();
    let bob = span.side(1).join("room");
    assert_eq!(
        joined(&span.sides[1], bob),
        None,
        "not before the other part was heard of"
    );
    span.sync();
    let told = joined(&span.sides[1], bob).expect("joined");
    assert_eq!(told, (vec![alice_id], tracks.to_vec()));
    let bob_id = span.sides[1].clients[bob].me();
    let came = span.sides[0].clients[alice]
        .events
        .iter()
        .any(|event| matches!(event, EventKind::ParticipantJoined(info) if info.id == bob_id));
    assert!(came);
    // Another one on the first side learns of both.
    let carol = span.side(0).join("room");
    assert_eq!(
        joined(&span.sides[0], carol).expect("joined").0,
        [alice_id, bob_id]
    );
    let muted = EventKind::TrackMuted(tracks[1], true);
    span.side(0).ok(alice, Action::Mute(tracks[1], true));
    span.sync();
    assert_eq!(happened(&span.sides[1], bob, &muted), 1);
    span.side(0).ok(alice, Action::Unpublish(tracks[0]));
    span.sync();
    let ended = EventKind::TrackUnpublished(tracks[0]);
    assert_eq!(happened(&span.sides[1], bob, &ended), 1);
    span.side(1).ok(bob, Action::Leave);
    span.sync();
    let left = EventKind::ParticipantLeft(bob_id);
    assert_eq!(happened(&span.sides[0], alice, &left), 1);
    for client in [alice, carol] {
        span.side(0).ok(client, Action::Leave);
    }
    span.sync();
    for side in &mut span.sides {
        side.shard.set_parts(side.now, "room", &[]);
        assert_eq!(side.shard.table_sizes(), TableSizes::default());
        assert_eq!(side.shard.poll_timeout(), None, "nothing is left to do");
    }
}

#[test]
fn a_join_is_answered_in_time_even_if_the_other_part_says_nothing() {
    let mut span = Span::of("room");
    let (alice, _, _) = talker(&mut span, 0);
    span.cut = true;
    let bob = span.side(1).join("room");
    span.run(Duration::from_millis(400));
    assert_eq!(joined(&span.sides[1], bob), None);
    span.run(Duration::from_millis(400));
    assert_eq!(joined(&span.sides[1], bob), Some((vec![], vec![])));
    // What was cut off is told by the next roster; a part that is no more takes its people along.
    let side = &mut span.sides[0];
    side.shard.set_parts(side.now, "room", &[]);
    side.shard.set_parts(side.now, "room", &WORKERS);
    span.cut = false;
    span.sync();
    let alice_id = span.sides[0].clients[alice].me();
    let came = span.sides[1].clients[bob]
        .events
        .iter()
        .any(|event| matches!(event, EventKind::ParticipantJoined(info) if info.id == alice_id));
    assert!(came);
    let side = &mut span.sides[1];
    side.shard.set_parts(side.now, "room", &[]);
    span.sync();
    let left = EventKind::ParticipantLeft(alice_id);
    assert_eq!(happened(&span.sides[1], bob, &left), 1);
    assert_eq!(span.sides[1].shard.table_sizes().mirrors, 0);
}

#[test]
fn a_room_is_full_whichever_part_is_joined() {
    let mut span = Span::of("room");
    let limits = crate::limits::Limits {
        participants_per_room: 2,
        ..Default::default()
    };
    for side in &mut span.sides {
        side.shard.set_limits(side.now, limits);
    }
    let alice = span.side(0).join("room");
    span.side(0).join("room");
    // Nobody here knows of them yet.
    let bob = span.side(1).join("room");
    assert_eq!(span.sides[1].clients[bob].failures(), []);
    span.sync();
    let full = RequestError::Limit("2 participants in a room".into());
    assert_eq!(
        span.sides[1].clients[bob].failures(),
        std::slice::from_ref(&full)
    );
    assert_eq!(joined(&span.sides[1], bob), None);
    let sizes = span.sides[1].shard.table_sizes();
    assert_eq!((sizes.rooms, sizes.participants, sizes.clients), (0, 0, 0));
    let gone = span.sides[0].clients[alice].events.iter();
    assert!(
        gone.last()
            .is_some_and(|e| matches!(e, EventKind::ParticipantLeft(_)))
    );
    // And with somebody left there is room.
    span.side(0).ok(alice, Action::Leave);
    span.sync();
    let bob = span.side(1).join("room");
    span.sync();
    assert!(joined(&span.sides[1], bob).is_some());
    assert_eq!(span.side(1).clients[bob].failures(), []);
}

#[test]
fn media_crosses_once_and_only_while_somebody_there_wants_it() {
    let mut span = Span::of("room");
    let (alice, tracks, mids) = talker(&mut span, 0);
    let near = viewer(&mut span, 0, &tracks);
    let far: Vec<usize> = (0..3).map(|_| viewer(&mut span, 1, &[])).collect();
    let mut audio = Feed::audio(mids[0]);
    let mut video = Feed::video(mids[1], None);
    let mut play = |span: &mut Span, frames: usize, tag: u8, keyframe: bool| {
        for frame in 0..frames {
            span.run(FRAME);
            let sound = audio.next(false, 100);
            span.side(0).send(alice, &sound);
            let picture = video.next(keyframe && frame == 0, tag);
            span.side(0).send(alice, &picture);
        }
        span.run(FRAME);
    };
    play(&mut span, 10, 1, true);
    assert_eq!(span.sides[0].shard.stats().crossed_out, 0);
    for viewer in &far {
        span.side(1).watch(*viewer, &tracks);
    }
    span.sync();
    let asked = span.sides[0].clients[alice]
        .publish()
        .keyframe_requests
        .len();
    assert!(asked > 0, "nobody asked for a keyframe across");
    play(&mut span, 60, 2, true);
    assert_eq!(span.sides[0].shard.stats().crossed_out, 120);
    assert_eq!(span.sides[1].shard.stats().crossed_in, 120);
    assert_eq!(span.sides[0].count(near, 2), 60);
    for viewer in &far {
        let bench = &mut span.sides[1];
        assert_eq!(
            (bench.count(*viewer, 2), bench.count(*viewer, 100)),
            (60, 60)
        );
        let mid = bench.clients[*viewer].mid_of(tracks[1]);
        bench.assert_continuous(*viewer, mid);
    }
    for viewer in &far {
        for track in tracks {
            span.side(1).ok(*viewer, Action::Unsubscribe(track));
        }
    }
    span.sync();
    play(&mut span, 10, 3, false);
    assert_eq!(span.sides[0].shard.stats().crossed_out, 120);
    assert_eq!(span.sides[0].count(near, 3), 10);
}

#[test]
fn what_is_lost_between_workers_is_made_good_by_a_keyframe() {
    let mut span = Span::of("room");
    let (alice, tracks, mids) = talker(&mut span, 0);
    let bob = viewer(&mut span, 1, &tracks);
    let mut video = Feed::video(mids[1], None);
    for frame in 0..30 {
        span.run(FRAME);
        let picture = video.next(frame == 0, 1);
        span.side(0).send(alice, &picture);
    }
    span.sync();
    span.lose_video = true;
    for _ in 0..5 {
        span.run(FRAME);
        let picture = video.next(false, 2);
        span.side(0).send(alice, &picture);
    }
    span.sync();
    span.lose_video = false;
    let before = span.sides[0].clients[alice]
        .publish()
        .keyframe_requests
        .len();
    // As a browser does when it misses what nobody has any more.
    let now = span.sides[1].now;
    let mid = span.sides[1].clients[bob].mid_of(tracks[1]);
    let end = span.sides[1].clients[bob].subscribe();
    let mut api = end.rtc.direct_api();
    let stream = api.stream_rx_by_mid(mid, None).expect("a stream");
    stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    end.tick_at(now);
    for _ in 0..90 {
        span.run(FRAME);
        let asked = span.sides[0].clients[alice]
            .publish()
            .keyframe_requests
            .len()
            > before;
        let picture = video.next(asked, if asked { 4 } else { 3 });
        span.side(0).send(alice, &picture);
        if asked {
            break;
        }
    }
    span.run(FRAME);
    assert_eq!(span.sides[1].count(bob, 2), 0);
    assert_eq!(
        span.sides[1].count(bob, 4),
        1,
        "no keyframe was asked for across"
    );
}

#[test]
fn a_viewer_elsewhere_gets_the_layer_it_wants() {
    let mut span = Span::of("room");
    let alice = span.side(0).join("room");
    span.side(0).publish(alice, &[SIMULCAST]);
    span.run(Duration::from_secs(1));
    let track = span.sides[0].clients[alice].track(0);
    let mid = span.sides[0].clients[alice].published()[0].mid.clone();
    let mid = str0m::media::Mid::from(mid.as_str());
    let bob = viewer(&mut span, 1, &[track]);
    let mut feeds = ["q", "h", "f"].map(|rid| Feed::video(mid, Some(rid)));
    let mut seen = 0;
    let mut play = |span: &mut Span, frames: usize, base: u8| {
        for _ in 0..frames {
            span.run(FRAME);
            let asked = span.sides[0].clients[alice]
                .publish()
                .keyframe_requests
                .len();
            let keyframe = asked > seen;
            seen = asked;
            for (layer, feed) in feeds.iter_mut().enumerate() {
                let packet = feed.next(keyframe, base + layer as u8);
                span.side(0).send(alice, &packet);
            }
        }
        span.run(FRAME);
    };
    play(&mut span, 150, 10);
    assert!(span.sides[1].count(bob, 12) > 60, "not the largest layer");
    let layer = |span: &Span| {
        let events = span.sides[1].clients[bob].events.iter().rev();
        let mut layers = events.filter_map(|event| match event {
            EventKind::Layer { spatial, .. } => Some(*spatial),
            _ => None,
        });
        layers.next().expect("a layer was told")
    };
    assert_eq!(layer(&span), Some(2));
    let wish = Wish {
        track,
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
        paused: true,
    };
    span.side(1).ok(bob, Action::Wish(wish));
    play(&mut span, 30, 20);
    assert_eq!(layer(&span), None);
    let before: usize = (20..23).map(|tag| span.sides[1].count(bob, tag)).sum();
    assert_eq!(before, 0, "a paused track was forwarded");
}

#[test]
fn data_and_speakers_cross() {
    let mut span = Span::of("room");
    let (alice, _, mids) = talker(&mut span, 0);
    let bob = span.side(1).join("room");
    span.sync();
    let carol = span.side(1).join("room");
    for (side, client) in [(0, alice), (1, bob)] {
        span.side(side).publish(client, &[Publication::Channels]);
        span.run(Duration::from_secs(1));
    }
    let me = span.sides[0].clients[alice].me();
    let now = span.sides[0].now;
    let sent = span.sides[0].clients[alice]
        .publish()
        .write(now, "reliable", b"hello");
    assert!(sent);
    span.run(Duration::from_millis(100));
    let got = std::mem::take(&mut span.sides[1].clients[bob].publish().data);
    let expected = [&me.0.to_be_bytes()[..], b"hello"].concat();
    assert_eq!(got, [("reliable".to_owned(), expected)]);
    // Through signaling, to one of those elsewhere.
    let bob_id = span.sides[1].clients[bob].me();
    span.side(0).ok(
        alice,
        Action::SendData {
            to: vec![bob_id],
            label: "chat".into(),
            payload: b"only you".to_vec(),
        },
    );
    span.sync();
    let told = EventKind::Data {
        from: me,
        label: "chat".into(),
        payload: b"only you".to_vec(),
    };
    assert_eq!(happened(&span.sides[1], bob, &told), 1);
    assert_eq!(happened(&span.sides[1], carol, &told), 0);
    // Who speaks is the same for everybody.
    let mut audio = Feed::audio(mids[0]);
    audio.packet.extensions.audio_level = Some(-20);
    audio.packet.extensions.voice_activity = Some(true);
    for _ in 0..100 {
        span.run(Duration::from_millis(20));
        let packet = audio.next(false, 1);
        span.side(0).send(alice, &packet);
    }
    span.run(Duration::from_secs(3));
    let spoke = |bench: &Bench, client: usize| -> Vec<Option<ParticipantId>> {
        let events = bench.clients[client].events.iter();
        let heard = events.filter_map(|event| match event {
            EventKind::Speakers(speakers) => Some(speakers.first().map(|first| first.0)),
            _ => None,
        });
        heard.collect()
    };
    assert_eq!(spoke(&span.sides[0], alice), [Some(me), None]);
    assert_eq!(spoke(&span.sides[1], bob), [Some(me), None]);
}
