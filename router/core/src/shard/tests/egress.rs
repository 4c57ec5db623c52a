//! What leaves by our own sender, as an independent receiver (the engine) sees it.

use std::time::{Instant, SystemTime};

use str0m::media::Mid;

use super::*;
use crate::limits::HISTORY_AGE;

/// What [`Bench::run`] makes of a [`FRAME`].
const STEP: Duration = Duration::from_millis(40);

/// When a packet was captured, by the last sender report of its stream.
fn captured(bench: &mut Bench, client: usize, mid: Mid, rate: u32) -> SystemTime {
    let end = bench.clients[client].subscribe();
    let ssrc = end
        .rtc
        .direct_api()
        .stream_rx_by_mid(mid, None)
        .unwrap()
        .ssrc();
    let packet = end.received.iter().rev().find(|p| p.header.ssrc == ssrc);
    let timestamp = packet.expect("a packet").header.timestamp;
    let report = end.reports.iter().rev().find(|report| report.mid == mid);
    let info = &report.expect("a report").sender_info;
    let ticks = timestamp.wrapping_sub(info.rtp_time.numer() as u32) as i32;
    let offset =
        Duration::from_micros(u64::from(ticks.unsigned_abs()) * 1_000_000 / u64::from(rate));
    if ticks < 0 {
        info.ntp_time - offset
    } else {
        info.ntp_time + offset
    }
}

#[test]
fn reports_keep_the_streams_of_a_publisher_in_step() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let tracks = [bench.clients[alice].track(0), bench.clients[alice].track(1)];
    bench.watch(bob, &tracks);
    let mut audio = Feed::audio(mids[0]);
    let mut video = Feed::video(mids[1], None);
    // Both clocks as fast as time passes, from different beginnings.
    (audio.ticks, video.ticks) = (48 * 40, 90 * 40);
    video.packet.timestamp = u32::MAX - 50_000;
    for frame in 0..400 {
        bench.run(Duration::from_millis(30));
        let (sound, picture) = (audio.next(false, 1), video.next(frame == 0, 1));
        bench.send(alice, &sound);
        // Pictures take the longer way.
        let now = bench.now;
        bench.clients[alice].publish().send_rtp(now, &picture);
        bench.now += Duration::from_millis(10);
        bench.settle();
    }
    let [sound, picture] = tracks.map(|track| bench.clients[bob].mid_of(track));
    let sound = captured(&mut bench, bob, sound, 48_000);
    let picture = captured(&mut bench, bob, picture, 90_000);
    let apart = sound
        .duration_since(picture)
        .unwrap_or_else(|e| e.duration());
    assert!(apart < Duration::from_millis(15), "{apart:?}");
    let reports = bench.clients[bob].subscribe().reports.len();
    assert!(
        (20..60).contains(&reports),
        "{reports} in 16 s for two streams"
    );
}

#[test]
fn a_section_is_named_until_the_receiver_has_bound_its_ssrc() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    bench.watch(bob, &[track]);
    let mid = bench.clients[bob].mid_of(track);
    let mut feed = Feed::video(mids[1], None);
    for frame in 0..300 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    let received = &bench.clients[bob].subscribe().received;
    let named = received
        .iter()
        .filter(|p| p.header.ext_vals.mid == Some(mid))
        .count();
    assert_eq!(received[0].header.ext_vals.mid, Some(mid));
    assert!((1..200).contains(&named), "{named} of 300");
    assert_eq!(received[299].header.ext_vals.mid, None);
    let numbers: Vec<u16> = received
        .iter()
        .map(|p| p.header.ext_vals.transport_cc.unwrap())
        .collect();
    assert!(
        numbers
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
    );
    let times = received
        .iter()
        .map(|p| p.header.ext_vals.abs_send_time.unwrap());
    let times: Vec<Instant> = times.collect();
    let spent = times[299] - times[0];
    assert!(
        spent.abs_diff(STEP * 299) < Duration::from_millis(1),
        "{spent:?}"
    );
}

#[test]
fn the_history_of_a_layer_ends_with_its_packets() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(1);
    let mut feed = Feed::video(mids[1], None);
    let kept = |bench: &mut Bench| bench.shard.kept(track);
    bench.send(alice, &feed.next(true, 1));
    assert_eq!(kept(&mut bench), 0, "nobody can miss it");
    bench.watch(bob, &[track]);
    for frame in 0..100 {
        bench.run(FRAME);
        bench.send(alice, &feed.next(frame == 0, 1));
    }
    let most = (HISTORY_AGE.as_millis() / STEP.as_millis()) as usize + 2;
    assert!(
        (10..=most).contains(&kept(&mut bench)),
        "{}",
        kept(&mut bench)
    );
    bench.run(Duration::from_secs(3));
    assert_eq!(kept(&mut bench), 0, "silence frees it");
}

#[test]
fn a_keyframe_is_asked_for_in_place_of_what_is_no_longer_kept() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    bench.watch(bob, &[bench.clients[alice].track(1)]);
    let mut feed = Feed::video(mids[1], None);
    let mut begun = false;
    let mut go_on = |bench: &mut Bench, lost: usize| {
        let before = *bench.shard.stats();
        for frame in 0..lost + 25 {
            bench.lose_media_to_clients = frame < lost;
            bench.run(FRAME);
            bench.send(alice, &feed.next(!begun, 1));
            begun = true;
        }
        let after = bench.shard.stats();
        assert_eq!(
            after.keyframe_requests_received, before.keyframe_requests_received,
            "the client itself asks for none"
        );
        after.keyframe_requests_sent - before.keyframe_requests_sent
    };
    go_on(&mut bench, 0);
    assert_eq!(go_on(&mut bench, 8), 0, "all of it can be sent again");
    assert!(go_on(&mut bench, 60) > 0, "the first of it cannot");
}

#[test]
fn a_keyframe_is_asked_for_after_a_publisher_was_cut_off() {
    let mut bench = Bench::new();
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    bench.watch(bob, &[bench.clients[alice].track(1)]);
    let mut feed = Feed::video(mids[1], None);
    let mut begun = false;
    // So many frames that never come, or are not made; and some that do.
    let mut go_on = |bench: &mut Bench, away: usize, made: bool| {
        let before = bench.shard.stats().keyframe_requests_sent;
        for frame in 0..away + 10 {
            bench.run(FRAME);
            if frame >= away {
                bench.send(alice, &feed.next(!begun, 1));
                begun = true;
            } else if made {
                feed.next(false, 1);
            }
        }
        bench.shard.stats().keyframe_requests_sent - before
    };
    go_on(&mut bench, 0, true);
    assert_eq!(go_on(&mut bench, 40, false), 0, "nothing is missing");
    assert_eq!(go_on(&mut bench, 5, true), 0, "it may be sent again");
    assert!(go_on(&mut bench, 40, true) > 0);
}

/// Picture id of a [`vp8`] payload.
fn picture(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[2], payload[3]]) & 0x7fff
}

#[test]
fn what_is_lost_around_a_switch_of_layers_comes_again() {
    const ROUNDS: u8 = 6;
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let mids = bench.publish(alice, &[SIMULCAST]);
    bench.run(Duration::from_secs(1));
    let track = bench.clients[alice].track(0);
    let bob = bench.join("room");
    bench.watch(bob, &[track]);
    let mut feeds = ["q", "h", "f"].map(|rid| Feed::video(mids[0], Some(rid)));
    for (feed, place) in feeds.iter_mut().zip(0_u16..) {
        feed.packet.timestamp = 1_000_000 * u32::from(place);
        feed.packet.sequence = 100 + 7_000 * u64::from(place);
        feed.picture = 32_700 - 300 * place;
    }
    for round in 0..ROUNDS {
        let wish = Wish {
            track,
            width: if round % 2 == 0 { 160 } else { 1_280 },
            height: 1,
            fps: 0,
            priority: 0,
            paused: false,
        };
        bench.ok(bob, Action::Wish(wish));
        for frame in 0..30 {
            // Of both layers, the keyframe between them too.
            bench.lose_media_to_clients = round > 0 && (8..13).contains(&frame);
            bench.run(FRAME);
            for (layer, feed) in feeds.iter_mut().enumerate() {
                let mut packet = feed.next(frame == 10, layer as u8 * 16 + round);
                if frame == 10 {
                    let width = 320_u16 << layer;
                    packet.payload[12..14].copy_from_slice(&width.to_le_bytes());
                }
                bench.send(alice, &packet);
            }
        }
        bench.run(Duration::from_millis(300));
    }
    bench.run(Duration::from_secs(1));
    let mut received = bench.clients[bob].subscribe().received.split_off(0);
    received.sort_by_key(|packet| packet.seq_no);
    for pair in received.windows(2) {
        let [before, after] = pair else { continue };
        assert_eq!(*after.seq_no, *before.seq_no + 1);
        let elapsed = after.header.timestamp.wrapping_sub(before.header.timestamp);
        assert!((1..90_000).contains(&elapsed), "{elapsed}");
        let pictures = [before, after].map(|packet| picture(&packet.payload));
        assert_eq!(pictures[1], (pictures[0] + 1) & 0x7fff);
    }
    // Which layer each is of: the tag says it. Sizes are unknown before the first keyframe.
    let layers = received.iter().map(|packet| packet.payload[20] >> 4);
    let mut layers: Vec<u8> = layers.collect();
    let total = layers.len();
    layers.dedup();
    assert_eq!(layers, [2, 0, 2, 0, 2]);
    // Nothing came before the first keyframe; a switch up has that moment's frame of both layers.
    assert_eq!(total, 30 * usize::from(ROUNDS) - 10 + 2);
    let again = bench.shard.stats().rtp_retransmitted;
    assert!(again >= 5 * u64::from(ROUNDS - 1), "{again}");
    assert_eq!(bench.shard.stats().rtp_refused, 0);
}
