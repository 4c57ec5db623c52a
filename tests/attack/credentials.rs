//! ICE credentials: nobody can guess them, no two are alike.

use std::collections::BTreeSet;
use std::time::Duration;

use rillway_core::api::{Action, EventKind};
use rillway_core::limits::Limits;
use rillway_tests::media::TrackSpec;
use rillway_tests::world::World;

/// Joins some clients that publish and subscribe, restarts ICE on all transports, and collects the
/// credentials of the router. Before each step the generator that str0m draws from is set to the same
/// state: credentials made with it would repeat.
fn credentials(seed: u64, clients: usize) -> Vec<(String, String)> {
    let mut world = World::new(seed);
    world.add_shard(Limits::default());
    let mut all = Vec::new();
    for _ in 0..clients {
        let who = world.join("r", vec![TrackSpec::audio()]);
        for _ in 0..40 {
            fastrand::seed(1);
            world.run_for(Duration::from_millis(5));
        }
        all.push(who);
    }
    for who in &all {
        fastrand::seed(1);
        world.with(*who, |c, now| {
            let reference = c.restart_publish(now);
            c.request(Action::RestartIce);
            reference
        });
        for _ in 0..10 {
            fastrand::seed(1);
            world.run_for(Duration::from_millis(5));
        }
    }
    let mut found = BTreeSet::new();
    for who in &all {
        for event in &world.client(*who).events {
            let (EventKind::Answer { sdp, .. } | EventKind::Offer { sdp, .. }) = event else {
                continue;
            };
            let of = |name: &str| {
                let line = sdp.lines().find_map(|l| l.strip_prefix(name));
                line.expect("credentials").to_owned()
            };
            found.insert((of("a=ice-ufrag:"), of("a=ice-pwd:")));
        }
    }
    found.into_iter().collect()
}

#[test]
fn credentials_are_unique_and_do_not_come_from_a_generator_that_can_be_guessed() {
    let clients = 12;
    let first = credentials(1, clients);
    // Two transports each, each restarted once.
    assert_eq!(first.len(), clients * 4);
    let ufrags: BTreeSet<_> = first.iter().map(|(u, _)| u).collect();
    let passwords: BTreeSet<_> = first.iter().map(|(_, p)| p).collect();
    assert_eq!((ufrags.len(), passwords.len()), (clients * 4, clients * 4));

    // The engine's own, from the same state of its generator.
    let mut guessed = BTreeSet::new();
    for skip in 0..64 {
        fastrand::seed(1);
        for _ in 0..skip {
            fastrand::u8(..);
        }
        let creds = str0m::IceCreds::new();
        guessed.insert(creds.ufrag);
        guessed.insert(creds.pass);
    }
    for (ufrag, password) in &first {
        assert!(!guessed.contains(ufrag) && !guessed.contains(password));
        let ice_char = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        assert!(ufrag.chars().all(ice_char) && password.chars().all(ice_char));
        // RFC 8445 §5.3: 24 bits in the ufrag, 128 in the password; 6 bits a character.
        assert!(ufrag.len() * 6 >= 24 && password.len() * 6 >= 128);
    }

    // Another seed of the shard, all else equal: nothing is alike.
    let second = credentials(2, clients);
    let seconds: BTreeSet<_> = second.iter().map(|(_, p)| p).collect();
    assert!(passwords.is_disjoint(&seconds));
    // No part of a password is the same in all.
    for position in 0..first[0].1.len() {
        let chars: BTreeSet<_> = passwords.iter().map(|p| p.as_bytes()[position]).collect();
        assert!(
            chars.len() > 10,
            "position {position} of the password hardly varies"
        );
    }
}
