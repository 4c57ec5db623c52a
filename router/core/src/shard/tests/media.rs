use super::*;
use crate::limits::RTP_PAYLOAD_BYTES;

#[test]
fn a_stream_has_one_ssrc_and_no_gaps_whatever_feeds_it() {
    let mut bench = Bench::new();
    let (alice, alice_mids) = bench.talker("room");
    let (carol, carol_mids) = bench.talker("room");
    let bob = bench.join("room");
    let from_alice = bench.clients[alice].track(1);
    let from_carol = bench.clients[carol].track(1);
    bench.watch(bob, &[from_alice]);
    let mid = bench.clients[bob].mid_of(from_alice);
    let mut feed = Feed::video(alice_mids[1], None);
    for frame in 0..20 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    // The section is reused for another's track.
    bench.ok(bob, Action::Unsubscribe(from_alice));
    bench.run(FRAME);
    bench.ok(bob, Action::Subscribe(from_carol));
    bench.run(FRAME);
    assert_eq!(
        bench.clients[bob].mid_of(from_carol),
        mid,
        "an idle section is reused"
    );
    let mut feed = Feed::video(carol_mids[1], None);
    feed.packet.sequence = 40_000;
    feed.packet.timestamp = 5;
    feed.picture = 3;
    for frame in 0..20 {
        bench.run(FRAME);
        bench.send(carol, &feed.next(frame == 2, 2));
    }
    assert_eq!((bench.count(bob, 1), bench.count(bob, 2)), (20, 18));
    bench.assert_continuous(bob, mid);
}

#[test]
fn a_late_joiner_gets_a_keyframe_and_requests_are_coalesced() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let track = bench.clients[alice].track(1);
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..30 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    assert!(bench.clients[alice].publish().keyframe_requests.is_empty());
    let watchers: Vec<usize> = (0..4).map(|_| bench.join("room")).collect();
    for watcher in &watchers {
        bench.ok(*watcher, Action::Subscribe(track));
    }
    for _ in 0..100 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(false, 1));
    }
    let asked = bench.clients[alice].publish().keyframe_requests.len();
    assert!((3..=5).contains(&asked), "one per second for all: {asked}");
    assert_eq!(bench.shard.stats().keyframe_requests_sent, asked as u64);
    bench.send(alice, &feed.next(true, 1));
    bench.clients[alice].publish().keyframe_requests.clear();
    for _ in 0..60 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(false, 1));
    }
    assert_eq!(
        bench.clients[alice].publish().keyframe_requests,
        [],
        "nobody waits any more"
    );
    for watcher in watchers {
        assert_eq!(bench.count(watcher, 1), 61);
    }
}

#[test]
fn a_subscribers_keyframe_request_reaches_the_publisher() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mid = bench.clients[bob].mid_of(track);
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..60 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    bench.clients[alice].publish().keyframe_requests.clear();
    for _ in 0..5 {
        let now = bench.now;
        let end = bench.clients[bob].subscribe();
        let mut api = end.rtc.direct_api();
        let stream = api.stream_rx_by_mid(mid, None).unwrap();
        stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
        end.rtc.handle_input(str0m::Input::Timeout(now)).unwrap();
        end.drain();
        bench.run(FRAME);
    }
    assert_eq!(bench.shard.stats().keyframe_requests_received, 5);
    assert_eq!(bench.clients[alice].publish().keyframe_requests.len(), 1);
    bench.run(Duration::from_secs(1));
    assert_eq!(
        bench.clients[alice].publish().keyframe_requests.len(),
        2,
        "the rest waited for the interval"
    );
}

#[test]
fn a_muted_track_is_not_forwarded_and_leaves_no_gap() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    let mut audio = Feed::audio(mids[0]);
    let mut video = Feed::video(mids[1], None);
    let both = |bench: &mut Bench, count, tag, audio: &mut Feed, video: &mut Feed| {
        for frame in 0..count {
            bench.run(FRAME);
            bench.send(alice, &audio.next(false, tag));
            bench.send(alice, &video.next(frame == 0, tag));
        }
    };
    both(&mut bench, 10, 1, &mut audio, &mut video);
    assert_eq!(
        bench.refused(bob, Action::Mute(tracks[0], true)),
        RequestError::NotFound("track".into()),
        "only its publisher mutes a track"
    );
    for track in tracks {
        bench.ok(alice, Action::Mute(track, true));
    }
    both(&mut bench, 10, 2, &mut audio, &mut video);
    for track in tracks {
        bench.ok(alice, Action::Mute(track, false));
    }
    both(&mut bench, 10, 3, &mut audio, &mut video);
    assert_eq!(bench.count(bob, 1), 20);
    assert_eq!(bench.count(bob, 2), 0);
    assert_eq!(bench.count(bob, 3), 20);
    for (client, track) in [(alice, tracks[0]), (bob, tracks[0]), (bob, tracks[1])] {
        let events = &bench.clients[client].events;
        let told = |muted| events.contains(&EventKind::TrackMuted(track, muted));
        assert!(told(true) && told(false));
    }
    for track in tracks {
        let mid = bench.clients[bob].mid_of(track);
        bench.assert_continuous(bob, mid);
    }
    bench.ok(alice, Action::Mute(tracks[0], true));
    let dave = bench.join("room");
    let joined = bench.clients[dave].events.iter().find_map(|e| match e {
        EventKind::Joined { tracks, .. } => Some(tracks.clone()),
        _ => None,
    });
    let muted: Vec<bool> = joined.unwrap().iter().map(|track| track.muted).collect();
    assert_eq!(muted, [true, false]);
}

#[test]
fn padding_leaves_no_gap_and_begins_nothing() {
    // Chromium without a camera probes its bandwidth with empty packets on the microphone's SSRC.
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    for (index, (track, mut feed)) in tracks
        .into_iter()
        .zip([Feed::audio(mids[0]), Feed::video(mids[1], None)])
        .enumerate()
    {
        let before = bench.clients[bob].subscribe().received.len();
        for frame in 0..30 {
            bench.run(FRAME);
            let mut packet = feed.next(frame == 3, 1);
            if frame < 3 || frame % 7 == 6 {
                packet.payload.clear();
                // Not a frame, so it has no picture either.
                feed.picture -= 1;
            }
            bench.send(alice, &packet);
        }
        let mid = bench.clients[bob].mid_of(track);
        assert_eq!(bench.gaps(bob, mid), 0, "section {index}");
        let received = &bench.clients[bob].subscribe().received[before..];
        let empty = received.iter().filter(|p| p.payload.is_empty()).count();
        assert_eq!((received.len(), empty), (27, 4), "section {index}");
        assert!(!received[0].payload.is_empty(), "it began with content");
    }
}

#[test]
fn a_lost_packet_is_retransmitted_once_asked_for() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mid = bench.clients[bob].mid_of(track);
    let mut feed = Feed::video(mids[1], None);
    let mut lost = 0;
    for frame in 0..100 {
        bench.run(FRAME);
        bench.lose_media_to_clients = frame % 7 == 5;
        lost += u32::from(bench.lose_media_to_clients);
        bench.send(alice, &feed.next(frame == 0, 1));
        bench.lose_media_to_clients = false;
    }
    bench.run(Duration::from_secs(1));
    assert!(lost > 10);
    assert_eq!(bench.count(bob, 1), 100, "every lost packet came again");
    bench.assert_continuous(bob, mid);
}

#[test]
fn a_payload_that_would_not_fit_is_dropped_at_the_door() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    let mut feed = Feed::audio(mids[0]);
    for size in [RTP_PAYLOAD_BYTES, RTP_PAYLOAD_BYTES + 1] {
        let mut packet = feed.next(false, 9);
        packet.payload = vec![9; size];
        bench.run(FRAME);
        bench.send(alice, &packet);
    }
    assert_eq!(bench.count(bob, 9), 1);
    assert_eq!(
        bench.drops(DropCause::Malformed),
        1,
        "counted, and the receivers live"
    );
}

#[test]
fn header_extensions_of_the_publisher_arrive() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    let mut audio = Feed::audio(mids[0]);
    audio.packet.extensions.audio_level = Some(-33);
    audio.packet.extensions.voice_activity = Some(true);
    let mut video = Feed::video(mids[1], None);
    video.packet.extensions.video_orientation = Some(str0m::rtp::VideoOrientation::Deg90);
    bench.send(alice, &audio.next(false, 1));
    bench.send(alice, &video.next(true, 2));
    let received = &bench.clients[bob].subscribe().received;
    assert_eq!(received.len(), 2);
    let of = |tag| {
        let packet = received.iter().find(|p| p.payload.last() == Some(&tag));
        packet.unwrap().header.ext_vals.clone()
    };
    assert_eq!(of(1).audio_level, Some(-33));
    assert_eq!(of(1).voice_activity, Some(true));
    assert_eq!(
        of(2).video_orientation,
        Some(str0m::rtp::VideoOrientation::Deg90)
    );
}

#[test]
fn speakers_are_told_on_change_only() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let (bob, _) = bench.talker("room");
    let me = bench.clients[alice].me();
    let mut feed = Feed::audio(mids[0]);
    let talk = |bench: &mut Bench, feed: &mut Feed, dbov: i8, packets: u32| {
        feed.packet.extensions.audio_level = Some(dbov);
        feed.packet.extensions.voice_activity = Some(dbov > -50);
        for _ in 0..packets {
            bench.run(Duration::from_millis(20));
            bench.send(alice, &feed.next(false, 1));
        }
    };
    let speakers = |bench: &Bench, client: usize| -> Vec<Vec<ParticipantId>> {
        let events = bench.clients[client].events.iter();
        let speakers = events.filter_map(|event| match event {
            EventKind::Speakers(list) => Some(list.iter().map(|(id, _)| *id).collect()),
            _ => None,
        });
        speakers.collect()
    };
    talk(&mut bench, &mut feed, -90, 100);
    assert!(speakers(&bench, bob).is_empty(), "silence is no news");
    talk(&mut bench, &mut feed, -20, 100);
    assert_eq!(speakers(&bench, bob), [vec![me]]);
    assert_eq!(speakers(&bench, alice), [vec![me]]);
    let level = bench.clients[bob].events.iter().find_map(|e| match e {
        EventKind::Speakers(list) => list.first().map(|(_, level)| *level),
        _ => None,
    });
    assert!((50..=110).contains(&level.unwrap()), "{level:?}");
    // Nothing more arrives: that is silence too.
    bench.run(Duration::from_secs(3));
    assert_eq!(speakers(&bench, bob), [vec![me], vec![]]);
    talk(&mut bench, &mut feed, -20, 50);
    let track = bench.clients[alice].track(0);
    bench.ok(alice, Action::Mute(track, true));
    talk(&mut bench, &mut feed, -20, 100);
    assert_eq!(
        speakers(&bench, bob),
        [vec![me], vec![], vec![me], vec![]],
        "who is muted does not speak"
    );
}

#[test]
fn what_a_publisher_lost_is_asked_for_again() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mid = bench.clients[bob].mid_of(track);
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..100 {
        bench.run(FRAME);
        let lose = frame % 9 == 4;
        bench.filter = lose.then(|| Box::new(|bytes: &[u8]| !is_rtp(bytes)) as Filter);
        bench.send(alice, &feed.next(frame == 0, 1));
        bench.filter = None;
    }
    bench.run(Duration::from_secs(1));
    assert_eq!(bench.count(bob, 1), 100);
    bench.assert_continuous(bob, mid);
}

#[test]
fn a_retransmission_of_what_is_there_is_counted_as_that() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..10 {
        bench.run(FRAME);
        bench.filter = (frame == 8).then(|| Box::new(|bytes: &[u8]| !is_rtp(bytes)) as Filter);
        bench.send(alice, &feed.next(frame == 0, 1));
        bench.filter = None;
    }
    // Nothing is sent any more but what is asked for again.
    let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let keep = kept.clone();
    bench.filter = Some(Box::new(move |bytes| {
        if is_rtp(bytes) {
            keep.borrow_mut().push(bytes.to_vec());
        }
        true
    }));
    bench.run(Duration::from_secs(1));
    bench.filter = None;
    assert_eq!(bench.count(bob, 1), 10, "it came again");
    let kept = kept.take();
    assert_eq!(kept.len(), 1, "one retransmission");
    let source = bench.clients[alice].publish().outside();
    let now = bench.now;
    for _ in 0..3 {
        bench
            .shard
            .handle_datagram(now, SocketId(0), source, &kept[0]);
    }
    bench.settle();
    assert_eq!(bench.count(bob, 1), 10);
    assert_eq!(bench.drops(DropCause::Repeated), 3);
    assert_eq!(bench.drops(DropCause::Refused), 0);
}

#[test]
fn a_keyframe_whose_beginning_came_late_is_no_place_to_switch() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mut feed = Feed::video(mids[1], None);
    bench.send(alice, &feed.next(false, 1));
    bench.run(FRAME);
    let beginning = feed.next(true, 1);
    let rest = feed.next(false, 1);
    bench.send(alice, &rest);
    bench.send(alice, &beginning);
    for _ in 0..10 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(false, 1));
    }
    assert_eq!(bench.count(bob, 1), 0, "a picture with a hole helps nobody");
    bench.run(Duration::from_secs(1));
    assert!(!bench.clients[alice].publish().keyframe_requests.is_empty());
    bench.send(alice, &feed.next(true, 1));
    assert_eq!(bench.count(bob, 1), 1);
}

#[test]
fn a_client_whose_nat_gave_it_another_port_is_followed() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    let mut feed = Feed::audio(mids[0]);
    let mut gap = Duration::ZERO;
    let mut last = bench.now;
    for packet in 0..500 {
        bench.run(Duration::from_millis(20));
        if packet == 100 {
            bench.clients[bob].subscribe().mapped = Some("10.7.7.7:777".parse().unwrap());
        }
        let before = bench.count(bob, 1);
        bench.send(alice, &feed.next(false, 1));
        if bench.count(bob, 1) > before {
            gap = gap.max(bench.now - last);
            last = bench.now;
        }
    }
    // The client checks its path every few seconds; before that nobody can know.
    assert!(gap < Duration::from_secs(4), "{gap:?}");
    assert!(last == bench.now, "media flows again");
    assert_eq!(bench.shard.stats().transports, [0, 0, 2, 0]);
}

#[test]
fn the_granted_bit_rate_is_announced_and_enforced() {
    let mut bench = Bench::new();
    let mut bounded = grant("room");
    bounded.max_publish_bps = Some(800_000);
    let alice = bench.join_with(bounded);
    let mids = bench.publish(alice, &[AUDIO, VIDEO, VIDEO]);
    bench.run(Duration::from_secs(1));
    let answer = bench.clients[alice].events.iter().find_map(|e| match e {
        EventKind::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    assert_eq!(answer.matches("b=TIAS:400000\r\n").count(), 2, "{answer}");
    let mut feed = Feed::video(mids[1], None);
    let mut sent = 0;
    // 1,000 bytes every 10 ms are the bound; 5,000 are not.
    for (rate, dropped) in [(1, false), (5, true)] {
        bench.run(Duration::from_secs(2));
        let before = bench.drops(DropCause::RateLimited);
        for _ in 0..200 {
            bench.run(Duration::from_millis(10));
            for _ in 0..rate {
                let mut packet = feed.next(true, 1);
                packet.payload.resize(1_000, 1);
                bench.send(alice, &packet);
                sent += 1;
            }
        }
        let over = bench.drops(DropCause::RateLimited) - before;
        assert_eq!(over > 0, dropped, "{over}");
    }
    assert_eq!(bench.shard.stats().rtp_received, sent);
}

#[test]
fn a_publisher_that_changes_its_codec_is_negotiated_anew() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let (_, first, _) = bench.clients[bob].last_offer();
    assert!(
        first.contains("VP8/90000") && !first.contains("VP9/90000"),
        "{first}"
    );
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..5 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    assert_eq!(bench.count(bob, 1), 5);
    let config = bench.clients[alice].publish().rtc.codec_config();
    let vp9 = config.find(|p| p.spec().codec == str0m::format::Codec::Vp9);
    let vp9 = vp9.unwrap().pt();
    for frame in 0..60 {
        bench.run(FRAME);
        let mut packet = feed.next(false, 2);
        packet.payload_type = Some(vp9);
        // A picture id, begin and end of a frame; a keyframe now and then.
        let inter = if frame % 20 == 19 { 0 } else { 0x40 };
        packet.payload = [
            &[0x8c | inter, 0x81, frame, 0x82, 0x49, 0x83, 0x42][..],
            &[2; 40],
        ]
        .concat();
        bench.send(alice, &packet);
    }
    let (_, second, lines) = bench.clients[bob].last_offer();
    assert!(second.contains("VP9/90000"), "{second}");
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.track == Some(track))
            .count(),
        1
    );
    assert!(bench.count(bob, 2) > 10, "{}", bench.count(bob, 2));
}

#[test]
fn sound_in_a_codec_for_pictures_goes_nowhere() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    let (before, ..) = bench.clients[bob].last_offer();
    let config = bench.clients[alice].publish().rtc.codec_config();
    let vp8 = config.find(|p| p.spec().codec == str0m::format::Codec::Vp8);
    let vp8 = vp8.unwrap().pt();
    let mut feed = Feed::audio(mids[0]);
    for tag in [1, 2, 1] {
        bench.run(FRAME);
        let mut packet = feed.next(false, tag);
        packet.payload_type = (tag == 2).then_some(vp8);
        bench.send(alice, &packet);
    }
    bench.run(FRAME);
    // Found by fuzzing: every subscriber got an offer whose section for it had no format left.
    let (after, ..) = bench.clients[bob].last_offer();
    assert_eq!(before, after, "nothing is negotiated anew");
    assert_eq!((bench.count(bob, 1), bench.count(bob, 2)), (2, 0));
}

#[test]
fn sound_has_no_keyframes() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    let mut feed = Feed::audio(mids[0]);
    for _ in 0..10 {
        bench.run(Duration::from_millis(20));
        bench.send(alice, &feed.next(false, 1));
    }
    let before = bench.shard.stats().keyframe_requests_received;
    let mid = bench.clients[bob].mid_of(track);
    let end = bench.clients[bob].subscribe();
    let mut api = end.rtc.direct_api();
    let stream = api.stream_rx_by_mid(mid, None).unwrap();
    stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
    let now = bench.now;
    end.tick_at(now);
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.shard.stats().keyframe_requests_received, before + 1);
    assert_eq!(bench.shard.stats().keyframe_requests_sent, 0);
}
