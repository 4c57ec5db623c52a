//! Media that nobody holding the keys has sent.

use std::time::Duration;

use rillway_tests::forge::{self, Kind};

use crate::scene::Scene;

/// Resident memory of this process, bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.expect("a number") * 4_096
}

#[test]
fn a_million_bad_tags_close_nothing_and_leave_nothing_behind() {
    let mut scene = Scene::connected(31, false);
    let rtp = scene
        .sighted(true, scene.publish_from, Kind::Rtp)
        .expect("media");
    let rtcp = scene
        .sighted(true, scene.publish_from, Kind::Rtcp)
        .expect("reports");
    scene.world.tap = None;
    let before = *scene.world.stats(0);
    let mut forged = rtp.clone();
    let mut memory = Vec::new();
    for n in 0..1_000_000_u32 {
        if n % 100_000 == 0 {
            memory.push(resident_bytes());
        }
        // Forged packets take the place of real ones: right SSRC and payload type, any sequence.
        forged[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        let last = forged.len() - 1;
        forged[last] = (n >> 16) as u8 ^ 0x5a;
        scene.inject(scene.publish_from, &forged);
        if n % 16 == 0 {
            let mut forged = rtcp.clone();
            let at = (n as usize / 16) % forged.len().saturating_sub(2) + 2;
            forged[at] ^= 1 << (n / 16 % 8);
            scene.inject(scene.publish_from, &forged);
        }
    }
    memory.push(resident_bytes());
    let after = *scene.world.stats(0);
    assert_eq!(
        after.rtp_received, before.rtp_received,
        "a forged packet was believed"
    );
    assert_eq!(after.rtp_forwarded, before.rtp_forwarded);
    assert_eq!(after.transports, [0, 0, 2, 0]);
    // After the first tenth nothing may grow: 4 MB in 900,000 packets would be 5 bytes each.
    let grown = memory[memory.len() - 1].saturating_sub(memory[1]);
    assert!(grown < 4 << 20, "memory grew by {grown} bytes: {memory:?}");
    scene.assert_unharmed();
}

#[test]
fn each_bit_of_a_packet_counts() {
    let mut scene = Scene::connected(32, false);
    let rtp = scene
        .sighted(true, scene.publish_from, Kind::Rtp)
        .expect("media");
    let before = scene.world.stats(0).rtp_received;
    let sequence = u16::from_be_bytes([rtp[2], rtp[3]]);
    for bit in 0..rtp.len() * 8 {
        let mut forged = rtp.clone();
        // A sequence number that was not seen, so that nothing passes for a replay.
        let fresh = sequence.wrapping_add(500 + (bit % 20_000) as u16);
        forged[2..4].copy_from_slice(&fresh.to_be_bytes());
        forged[bit / 8] ^= 1 << (bit % 8);
        scene.inject(scene.publish_from, &forged);
    }
    assert_eq!(scene.world.stats(0).rtp_received, before);
    scene.assert_unharmed();
}

#[test]
fn a_packet_sent_again_is_not_forwarded_again() {
    let mut scene = Scene::connected(33, false);
    let tap = scene.world.tap.clone().expect("tapped");
    let from = scene.publish_from;
    let media: Vec<_> = tap
        .iter()
        .filter(|s| s.inward && s.outside == from)
        .filter(|s| matches!(forge::kind(&s.contents), Kind::Rtp | Kind::Rtcp))
        .collect();
    assert!(media.len() > 100);
    let before = *scene.world.stats(0);
    for _ in 0..3 {
        for sighting in &media {
            scene.inject(from, &sighting.contents);
        }
    }
    let after = *scene.world.stats(0);
    assert_eq!(after.rtp_forwarded, before.rtp_forwarded);
    assert_eq!(after.rtp_received, before.rtp_received);
    // The subscriber's own check would see a packet that came twice.
    scene.assert_unharmed();
}

#[test]
fn truncated_and_padded_media_does_no_harm() {
    let mut scene = Scene::connected(34, false);
    for kind in [Kind::Rtp, Kind::Rtcp] {
        let datagram = scene
            .sighted(true, scene.publish_from, kind)
            .expect("media");
        for length in 0..datagram.len() {
            scene.inject(scene.publish_from, &datagram[..length]);
            scene.inject(scene.subscribe_from, &datagram[..length]);
        }
        for more in [1, 2, 3, 4, 16, 100, 500] {
            let mut longer = datagram.clone();
            longer.resize(datagram.len() + more, more as u8);
            scene.inject(scene.publish_from, &longer);
        }
        for padding in 0..=255 {
            let mut padded = datagram.clone();
            padded[0] |= 0x20;
            let last = padded.len() - 1;
            padded[last] = padding;
            scene.inject(scene.publish_from, &padded);
        }
        for first in 0x80..=0xbf_u8 {
            // CSRC counts and extensions that the packet has no room for.
            let mut short = datagram[..datagram.len().min(40)].to_vec();
            short[0] = first;
            scene.inject(scene.publish_from, &short);
            scene.inject(scene.subscribe_from, &short);
        }
    }
    scene.world.run_for(Duration::from_millis(100));
    scene.assert_unharmed();
}

#[test]
fn media_toward_a_subscriber_cannot_be_turned_around() {
    // What the router sent is not accepted by it, on either transport.
    let mut scene = Scene::connected(35, false);
    let rtp = scene
        .sighted(false, scene.subscribe_from, Kind::Rtp)
        .expect("media");
    let before = *scene.world.stats(0);
    for source in [scene.subscribe_from, scene.publish_from] {
        for _ in 0..10 {
            scene.inject(source, &rtp);
        }
    }
    assert_eq!(scene.world.stats(0).rtp_received, before.rtp_received);
    assert_eq!(scene.world.stats(0).rtp_forwarded, before.rtp_forwarded);
    scene.assert_unharmed();
}
