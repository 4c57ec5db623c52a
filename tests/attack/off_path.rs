//! Somebody who can send from any address but that of a participant.

use std::time::Duration;

use rillway_tests::forge::{self, BindingRequest, Kind, stranger};

use crate::scene::{Scene, every_kind};

#[test]
fn nothing_from_a_stranger_gets_an_answer_or_hurts_anybody() {
    for passive in [false, true] {
        let mut scene = Scene::begin(1, passive);
        // All through joining, negotiating and connecting, and while media flows.
        let mut n = 0;
        let mut turns = 0;
        let source = stranger(77);
        while turns < 400 {
            let kinds = if turns % 20 == 0 {
                every_kind(&scene)
            } else {
                Vec::new()
            };
            for (name, datagram) in kinds {
                n += 1;
                let back = scene.inject(source, &datagram);
                assert_eq!(back, 0, "{name} was answered");
            }
            scene.world.run_for(Duration::from_millis(1));
            turns += 1;
        }
        scene.wait_for_media();
        assert_eq!(scene.bytes_to(source), 0);
        let dropped: u64 = scene.world.stats(0).dropped.iter().sum();
        assert_eq!(dropped, n, "each is counted as dropped, under some cause");
        scene.assert_unharmed();
    }
}

#[test]
fn what_a_participant_sent_is_worth_nothing_from_elsewhere() {
    let mut scene = Scene::connected(2, false);
    let source = stranger(1);
    for (outside, kinds) in [
        (scene.publish_from, &[Kind::Rtp, Kind::Rtcp, Kind::Dtls][..]),
        (scene.subscribe_from, &[Kind::Rtcp, Kind::Dtls]),
    ] {
        for kind in kinds {
            let datagram = scene.sighted(true, outside, *kind);
            let datagram = datagram.unwrap_or_else(|| panic!("no {kind:?} from {outside} seen"));
            let forwarded = scene.world.stats(0).rtp_forwarded;
            let received = scene.world.stats(0).rtp_received;
            for _ in 0..100 {
                assert_eq!(scene.inject(source, &datagram), 0, "{kind:?} was answered");
            }
            assert_eq!(scene.world.stats(0).rtp_forwarded, forwarded);
            assert_eq!(scene.world.stats(0).rtp_received, received);
        }
    }
    // The right SSRC and payload type, with sequence numbers that are still to come.
    let rtp = scene
        .sighted(true, scene.publish_from, Kind::Rtp)
        .expect("media");
    for step in 1..1_000_u16 {
        let mut forged = rtp.clone();
        let sequence = u16::from_be_bytes([rtp[2], rtp[3]]).wrapping_add(step);
        forged[2..4].copy_from_slice(&sequence.to_be_bytes());
        assert_eq!(scene.inject(source, &forged), 0);
    }
    assert_eq!(scene.bytes_to(source), 0);
    scene.assert_unharmed();
}

#[test]
fn genuine_media_is_not_taken_from_an_address_that_was_not_validated() {
    // The strongest a thief can be: it has packets that the router has never seen and would believe,
    // media, reports and handshakes, and sends them from elsewhere.
    let mut scene = Scene::connected(6, false);
    scene.world.links(scene.publisher).0.stolen = Some(Vec::new());
    scene.world.links(scene.subscriber).0.stolen = Some(Vec::new());
    scene.world.run_for(Duration::from_millis(400));
    let mut stolen = Vec::new();
    for who in [scene.publisher, scene.subscriber] {
        let taken = scene.world.links(who).0.stolen.take();
        stolen.extend(taken.into_iter().flatten());
    }
    let media: Vec<_> = stolen
        .iter()
        .filter(|p| {
            matches!(
                forge::kind(&p.contents),
                Kind::Rtp | Kind::Rtcp | Kind::Dtls
            )
        })
        .collect();
    assert!(media.len() > 20, "{} packets", media.len());
    let before = *scene.world.stats(0);
    for packet in &media {
        assert_eq!(scene.inject(stranger(9), &packet.contents), 0);
        // Nor from the address of the other participant, whose transport has other keys.
        let other = if packet.source == scene.publish_from {
            scene.subscribe_from
        } else {
            scene.publish_from
        };
        scene.inject(other, &packet.contents);
    }
    let after = *scene.world.stats(0);
    assert_eq!(after.rtp_received, before.rtp_received);
    assert_eq!(after.rtp_forwarded, before.rtp_forwarded);
    assert_eq!(scene.bytes_to(stranger(9)), 0);
    // From where they belong they are as good as ever: nothing above was for want of genuineness.
    for packet in &media {
        scene.inject(packet.source, &packet.contents);
    }
    assert!(scene.world.stats(0).rtp_forwarded > before.rtp_forwarded + 20);
    scene.assert_unharmed();
}

#[test]
fn no_length_and_first_byte_does_harm_from_anywhere() {
    let mut scene = Scene::connected(3, false);
    let fillings: [&[u8]; 5] = [
        &[0],
        &[0xff],
        &[0x6f, 0x12],
        &[0xc8, 0, 1],
        &[0x5a, 0xa5, 0, 0xff],
    ];
    scene.world.tap = None;
    let participants = [scene.publish_from, scene.subscribe_from];
    let mut buffer = Vec::with_capacity(1_500);
    let dropped = |scene: &Scene| scene.world.stats(0).dropped.iter().sum::<u64>();
    for length in 0..=1_500_usize {
        for first in 0..=255_u8 {
            let filling = fillings[(length + usize::from(first)) % fillings.len()];
            buffer.clear();
            buffer.extend(filling.iter().cycle().take(length));
            if let Some(byte) = buffer.first_mut() {
                *byte = first;
            }
            // Participants in turns: the sweep goes over both transports.
            let inside = participants[(length / 2 + usize::from(first)) % 2];
            for source in [stranger(length as u16), inside] {
                let before = dropped(&scene);
                let back = scene.inject(source, &buffer);
                if source != inside {
                    assert_eq!(back, 0, "{length} bytes, first {first}");
                    assert_eq!(dropped(&scene), before + 1, "{length} bytes, first {first}");
                }
            }
        }
        if length % 100 == 0 {
            scene.world.run_for(Duration::from_millis(20));
        }
    }
    scene.assert_unharmed();
}

#[test]
fn floods_of_checks_that_do_not_verify_cost_less_than_they_bring() {
    let mut scene = Scene::connected(4, false);
    let check = scene
        .sighted(true, scene.publish_from, Kind::Stun)
        .expect("checks were made");
    let answer = scene
        .world
        .client(scene.publisher)
        .events
        .iter()
        .find_map(|e| match e {
            rillway_core::api::EventKind::Answer { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
    let answer = answer.expect("published");
    let ufrag = answer
        .lines()
        .find_map(|l| l.strip_prefix("a=ice-ufrag:"))
        .expect("a ufrag");
    let right = format!("{ufrag}:whoever");
    let wrong = format!("{}:whoever", "A".repeat(ufrag.len()));
    let mut flood: Vec<Vec<u8>> = Vec::new();
    for (username, password) in [
        (&right, None),
        (&right, Some("guessed-guessed-guessed")),
        (&wrong, None),
    ] {
        for use_candidate in [true, false] {
            let request = BindingRequest {
                username,
                password,
                transaction: [5; 12],
                use_candidate,
                fingerprint: true,
            };
            flood.push(request.to_bytes());
        }
    }
    // A genuine one with a bit changed: in the user name, in the attributes, in the signature. (The
    // FINGERPRINT behind it is signed by nothing and proves nothing.)
    for byte in [24, 30, check.len() - 30, check.len() - 10] {
        let mut changed = check.clone();
        changed[byte] ^= 1;
        flood.push(changed);
    }
    scene.world.tap = None;
    for round in 0..200_u16 {
        for (i, datagram) in flood.iter().enumerate() {
            for source in [stranger(round), stranger(60_000), scene.publish_from] {
                let back = scene.inject(source, datagram);
                let spoofed = source == scene.publish_from;
                assert!(back <= datagram.len(), "datagram {i} is amplified");
                assert!(spoofed || back == 0, "datagram {i} got {back} bytes");
            }
        }
        scene.world.run_for(Duration::from_millis(10));
    }
    assert_eq!(scene.bytes_to(stranger(60_000)), 0);
    let stats = scene.world.stats(0);
    let causes =
        rillway_core::stats::DropCause::ALL.map(|(c, name)| (name, stats.dropped[c as usize]));
    println!("{causes:?}");
    assert!(stats.dropped.iter().sum::<u64>() >= 200 * 10 * 2);
    scene.assert_unharmed();
}

#[test]
fn clients_still_connect_while_checks_that_do_not_verify_pour_in() {
    let mut scene = Scene::begin(5, false);
    scene.world.tap = None;
    let request = BindingRequest {
        username: "AAAAAAAAAAAAAAAAAAAA:x",
        password: None,
        transaction: [5; 12],
        use_candidate: true,
        fingerprint: true,
    }
    .to_bytes();
    // As the ufrag of the victim is in its SDP, take that of the other one, too.
    for _ in 0..500 {
        for n in 0..20 {
            scene.inject(stranger(n), &request);
            scene.inject(stranger(n), &forge::client_hello_cached());
        }
        scene.world.run_for(Duration::from_millis(1));
    }
    scene.wait_for_media();
    scene.assert_unharmed();
}
