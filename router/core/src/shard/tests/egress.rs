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
