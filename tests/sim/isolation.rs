//! Two rooms that look alike in everything an outsider could choose: nothing crosses.

use std::time::Duration;

use rillway_core::api::{Action, EventKind, RequestError, Wish};
use rillway_core::id::{ParticipantId, TrackId};
use rillway_tests::client::full_grant;
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

/// Joins a room of two whose clients have names, mids, SSRCs and ICE credentials drawn from the same
/// seeds in every room.
fn twin_room(world: &mut World, room: &str) -> [Who; 2] {
    ["ada", "grace"].map(|name| {
        let who = world.join_with(room, |config| {
            config.grant = full_grant(room, name);
            config.tracks = vec![TrackSpec::audio(), TrackSpec::video(2)];
            config.channels = true;
            config.auto_publish = false;
        });
        assert!(world.run_until(SOON, |w| w.client(who).me.is_some()));
        world.with(who, |client, now| {
            fastrand::seed(name.len() as u64);
            client.publish(now);
        });
        who
    })
}

fn ssrcs(world: &mut World, who: Who) -> Vec<(String, u32)> {
    world.with(who, |client, _| {
        let mids: Vec<_> = client.published.iter().map(|p| p.mid).collect();
        let peer = client.publisher.as_mut().expect("published");
        let found = mids.into_iter().map(|mid| {
            let mut api = peer.rtc.direct_api();
            let stream = api.stream_tx_by_mid(mid, None).expect("a stream");
            (mid.to_string(), *stream.ssrc())
        });
        let found = found.collect();
        peer.drain();
        found
    })
}

#[test]
fn equal_names_mids_and_ssrcs_in_two_rooms_do_not_mix() {
    let mut world = World::with_shard(11);
    let left = twin_room(&mut world, "left");
    let right = twin_room(&mut world, "right");
    let both_ways = |w: &World, [a, b]: [Who; 2]| w.hears(a, b) && w.hears(b, a);
    assert!(world.run_until(SOON, |w| both_ways(w, left) && both_ways(w, right)));
    for (l, r) in left.into_iter().zip(right) {
        assert_eq!(
            ssrcs(&mut world, l),
            ssrcs(&mut world, r),
            "the twins differ"
        );
        let ufrag = |world: &mut World, who| {
            world.with(who, |c, _| {
                let peer = c.publisher.as_mut().expect("published");
                let ufrag = peer.rtc.direct_api().local_ice_credentials().ufrag;
                peer.drain();
                ufrag
            })
        };
        assert_eq!(ufrag(&mut world, l), ufrag(&mut world, r));
    }
    world.run_for(Duration::from_secs(2));
    for [a, b] in [left, right] {
        for (to, from) in [(a, b), (b, a)] {
            let client = world.client(to);
            assert_eq!(client.roster.len(), 1, "{to:?} sees {:?}", client.roster);
            assert_eq!(client.tracks.len(), 2);
            assert_eq!(client.inbound.len(), 2);
            assert_eq!(
                client.roster.keys().copied().collect::<Vec<_>>(),
                [world.client(from).me.expect("joined")]
            );
        }
    }
    world.stop_media();
    for [a, b] in [left, right] {
        for index in 0..2 {
            world.assert_complete(a, b, index, 200);
            world.assert_complete(b, a, index, 200);
        }
    }
    world.assert_sound();
}

#[test]
fn ids_of_another_room_are_as_good_as_unknown() {
    let mut world = World::with_shard(12);
    let left = twin_room(&mut world, "left");
    let right = twin_room(&mut world, "right");
    let both_ways = |w: &World, [a, b]: [Who; 2]| w.hears(a, b) && w.hears(b, a);
    assert!(world.run_until(SOON, |w| both_ways(w, left) && both_ways(w, right)));

    let mallory = left[0];
    let neighbour = left[1];
    let stranger = world.client(right[0]).me.expect("joined");
    let foreign: Vec<TrackId> = right
        .iter()
        .flat_map(|who| [world.track(*who, 0), world.track(*who, 1)])
        .collect();
    let events_before: Vec<_> = right.map(|who| world.client(who).events.len()).into();
    let unheard = TrackId(0x1f_ffff_ffff_ffff);
    for track in foreign
        .iter()
        .copied()
        .chain([unheard, TrackId(0), TrackId(u64::MAX)])
    {
        let wish = Wish {
            track,
            width: 1_920,
            height: 1_080,
            fps: 60,
            priority: 255,
            paused: false,
        };
        for action in [
            Action::Subscribe(track),
            Action::Mute(track, true),
            Action::Unpublish(track),
            Action::Wish(wish),
            Action::Unsubscribe(track),
        ] {
            let text = format!("{action:?}");
            let result = world.ask(mallory, action);
            let harmless = matches!(result, Err(RequestError::NotFound(_)));
            assert!(harmless, "{text}: {result:?}");
        }
    }
    for to in [stranger, ParticipantId(0), ParticipantId(u64::MAX)] {
        let _ = world.ask(
            mallory,
            Action::SendData {
                to: vec![to],
                label: "chat".to_owned(),
                payload: b"psst".to_vec(),
            },
        );
    }
    // Tracks of the same room that are somebody else's may be received, not ruled over.
    for index in 0..2 {
        let track = world.track(neighbour, index);
        for action in [Action::Mute(track, true), Action::Unpublish(track)] {
            let text = format!("{action:?}");
            let result = world.ask(mallory, action);
            assert!(result.is_err(), "{text}");
        }
        assert!(world.client(mallory).tracks.contains_key(&track));
    }
    world.run_for(Duration::from_secs(1));

    assert_eq!(
        world.client(mallory).inbound.len(),
        2,
        "got something foreign"
    );
    for (who, before) in right.into_iter().zip(events_before) {
        let new = &world.client(who).events[before..];
        let quiet = new
            .iter()
            .all(|e| matches!(e, EventKind::Speakers(_) | EventKind::Layer { .. }));
        assert!(quiet, "{who:?} was told {new:?}");
    }
    world.stop_media();
    for [a, b] in [left, right] {
        for index in 0..2 {
            world.assert_complete(a, b, index, 200);
            world.assert_complete(b, a, index, 200);
        }
    }
    world.assert_sound();
}

#[test]
fn data_stays_in_its_room_too() {
    let mut world = World::with_shard(13);
    let left = twin_room(&mut world, "left");
    let right = twin_room(&mut world, "right");
    let everybody = [left, right].concat();
    let open = |w: &World, who: Who| {
        w.client(who).is_open("reliable") && w.client(who).is_open("unreliable")
    };
    assert!(world.run_until(SOON, |w| everybody.iter().all(|who| open(w, *who))));
    for who in &everybody {
        let text = format!("from {who:?}");
        for label in ["reliable", "unreliable"] {
            assert!(world.with(*who, |c, now| c.send_data(now, label, text.as_bytes())));
        }
        let payload = text.into_bytes();
        let label = "signaled".to_owned();
        let to = Vec::new();
        world
            .ask(*who, Action::SendData { to, label, payload })
            .expect("may send");
    }
    world.run_for(Duration::from_secs(1));
    for [a, b] in [left, right] {
        for (to, from) in [(a, b), (b, a)] {
            let text = format!("from {from:?}").into_bytes();
            let sender = world.client(from).me.expect("joined");
            let client = world.client(to);
            assert_eq!(client.messages.len(), 2);
            for message in &client.messages {
                assert_eq!((message.from, &message.payload), (sender, &text));
            }
            let signaled: Vec<_> = client
                .events
                .iter()
                .filter_map(|e| match e {
                    EventKind::Data {
                        from,
                        label,
                        payload,
                    } => Some((*from, label.as_str(), payload)),
                    _ => None,
                })
                .collect();
            assert_eq!(signaled, [(sender, "signaled", &text)]);
        }
    }
    world.assert_sound();
}
