//! Data channels: fan-out in a room, within bounds.

use std::time::Duration;

use rillway_core::api::{Action, EventKind, RequestError};
use rillway_core::limits::Limits;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};
use str0m_netem::NetemConfig;

fn room(world: &mut World, size: usize) -> Vec<Who> {
    let room: Vec<_> = (0..size)
        .map(|_| world.join_with("r", |config| config.channels = true))
        .collect();
    let open = |w: &World, who: &Who| {
        w.client(*who).is_open("reliable") && w.client(*who).is_open("unreliable")
    };
    assert!(
        world.run_until(SOON, |w| room.iter().all(|who| open(w, who))),
        "channels stay shut"
    );
    // The router has heard of all channels too.
    world.run_for(Duration::from_millis(50));
    room
}

fn payloads(world: &World, who: Who, label: &str) -> Vec<Vec<u8>> {
    let messages = world.client(who).messages.iter();
    let of_label = messages.filter(|m| m.label == label);
    of_label.map(|m| m.payload.clone()).collect()
}

#[test]
fn messages_reach_everybody_else_once_and_in_order() {
    let mut world = World::with_shard(41);
    let room = room(&mut world, 4);
    let sender = world.client(room[0]).me.expect("joined");
    let sent: Vec<Vec<u8>> = (0..100_usize)
        .map(|n| {
            // From 1 byte to above what one SCTP packet carries.
            let mut message = vec![n as u8; 1 + n * 160];
            message[n * 160] = !(n as u8);
            message
        })
        .collect();
    for message in &sent {
        for label in ["reliable", "unreliable"] {
            assert!(world.with(room[0], |c, now| c.send_data(now, label, message)));
        }
        world.run_for(Duration::from_millis(20));
    }
    world.run_for(Duration::from_secs(1));
    for who in &room[1..] {
        assert_eq!(payloads(&world, *who, "reliable"), sent);
        // Nothing is lost here, but the order may differ.
        let mut unreliable = payloads(&world, *who, "unreliable");
        unreliable.sort_by_key(Vec::len);
        assert_eq!(unreliable, sent);
        assert!(world.client(*who).messages.iter().all(|m| m.from == sender));
    }
    assert!(world.client(room[0]).messages.is_empty(), "it came back");
    assert_eq!(world.stats(0).data_dropped, 0);
    world.assert_sound();
}

#[test]
fn the_largest_message_passes_and_one_byte_more_does_not() {
    let mut world = World::with_shard(42);
    let room = room(&mut world, 2);
    let largest = Limits::default().data_message_bytes as usize;
    for bytes in [largest, largest + 1, 5] {
        // What a client's own stack refuses to send does not reach the router either.
        world.with(room[0], |c, now| {
            c.send_data(now, "reliable", &vec![9; bytes])
        });
        world.run_for(Duration::from_secs(1));
    }
    let sizes: Vec<_> = payloads(&world, room[1], "reliable")
        .iter()
        .map(Vec::len)
        .collect();
    assert_eq!(sizes, [largest, 5]);
}

#[test]
fn a_sender_that_is_too_fast_is_slowed_and_told() {
    let mut world = World::new(43);
    let limits = Limits {
        data_bytes_per_second: 50_000,
        ..Limits::default()
    };
    world.add_shard(limits);
    let room = room(&mut world, 3);
    for n in 0..400_u32 {
        let mut message = vec![0; 1_000];
        message[..4].copy_from_slice(&n.to_be_bytes());
        world.with(room[0], |c, now| c.send_data(now, "reliable", &message));
        world.run_for(Duration::from_millis(5));
    }
    world.run_for(Duration::from_secs(2));
    // 400 kB in 2 s; allowed are one second's burst and two seconds' rate.
    for who in &room[1..] {
        let got: usize = payloads(&world, *who, "reliable")
            .iter()
            .map(Vec::len)
            .sum();
        assert!((90_000..=200_000).contains(&got), "{got} bytes passed");
    }
    let told: u64 = world
        .client(room[0])
        .events
        .iter()
        .map(|e| match e {
            EventKind::DataDropped {
                outgoing: true,
                count,
            } => *count,
            _ => 0,
        })
        .sum();
    let passed = payloads(&world, room[1], "reliable").len() as u64;
    assert_eq!(told + passed, 400, "each message is delivered or reported");
    assert!(world.stats(0).data_dropped > 0);
    // Others are not held up by it.
    assert!(world.with(room[1], |c, now| c.send_data(
        now,
        "reliable",
        b"still here"
    )));
    world.run_for(Duration::from_millis(200));
    assert_eq!(
        payloads(&world, room[2], "reliable")
            .last()
            .map(Vec::as_slice),
        Some(&b"still here"[..])
    );
    world.assert_sound();
}

#[test]
fn a_receiver_that_does_not_read_loses_alone_and_is_told() {
    let mut world = World::new(44);
    world.add_shard(Limits {
        data_queue_bytes: 200_000,
        data_bytes_per_second: 100_000_000,
        ..Limits::default()
    });
    let room = room(&mut world, 3);
    // At most the queue and what SCTP has taken already are kept: 200 kB and less than 256 KiB.
    world.links(room[2]).1.cut = true;
    for n in 0..1_000_u32 {
        let mut message = vec![0; 1_000];
        message[..4].copy_from_slice(&n.to_be_bytes());
        world.with(room[0], |c, now| c.send_data(now, "reliable", &message));
        world.run_for(Duration::from_millis(2));
    }
    assert_eq!(payloads(&world, room[1], "reliable").len(), 1_000);
    assert!(world.stats(0).data_dropped >= 500, "{:?}", world.stats(0));
    world.links(room[2]).1.cut = false;
    world.run_for(Duration::from_secs(10));
    let late = payloads(&world, room[2], "reliable");
    assert!(
        !late.is_empty() && late.len() < 400,
        "{} messages",
        late.len()
    );
    let told: u64 = world
        .client(room[2])
        .events
        .iter()
        .map(|e| match e {
            EventKind::DataDropped {
                outgoing: false,
                count,
            } => *count,
            _ => 0,
        })
        .sum();
    assert_eq!(
        told + late.len() as u64,
        1_000,
        "each message is delivered or reported"
    );
}

#[test]
fn reliable_messages_survive_loss_and_unreliable_ones_do_not_wait() {
    let mut world = World::with_shard(45);
    let room = room(&mut world, 2);
    for who in &room {
        let seed = who.0 as u64 * 2 + 451;
        let lossy = NetemConfig::new().latency(Duration::from_millis(20)).loss(
            str0m_netem::RandomLoss::new(str0m_netem::Probability::new(0.1)),
        );
        let (up, down) = world.links(*who);
        up.set_config(lossy.seed(seed));
        down.set_config(lossy.seed(seed + 1));
    }
    for n in 0..300_u32 {
        for label in ["reliable", "unreliable"] {
            world.with(room[0], |c, now| c.send_data(now, label, &n.to_be_bytes()));
        }
        world.run_for(Duration::from_millis(20));
    }
    world.run_for(Duration::from_secs(20));
    let expected: Vec<_> = (0..300_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(payloads(&world, room[1], "reliable"), expected);
    let unreliable = payloads(&world, room[1], "unreliable").len();
    assert!((150..300).contains(&unreliable), "{unreliable} of 300");
}

#[test]
fn data_through_signaling_goes_to_whom_it_is_for() {
    let mut world = World::with_shard(46);
    let room: Vec<_> = (0..4).map(|_| world.join("r", vec![])).collect();
    assert!(world.run_until(SOON, |w| room.iter().all(|who| w.client(*who).me.is_some())));
    let ids: Vec<_> = room
        .iter()
        .map(|who| world.client(*who).me.expect("joined"))
        .collect();
    let send = |to: &[usize], text: &str| Action::SendData {
        to: to.iter().map(|i| ids[*i]).collect(),
        label: "chat".to_owned(),
        payload: text.as_bytes().to_vec(),
    };
    world.ask(room[0], send(&[], "all")).expect("may send");
    world.ask(room[0], send(&[2, 3], "some")).expect("may send");
    world.run_for(Duration::from_millis(100));
    let got = |who: Who| -> Vec<String> {
        let events = world.client(who).events.iter();
        let data = events.filter_map(|e| match e {
            EventKind::Data {
                from,
                label,
                payload,
            } => {
                assert_eq!((*from, label.as_str()), (ids[0], "chat"));
                Some(String::from_utf8_lossy(payload).into_owned())
            }
            _ => None,
        });
        data.collect()
    };
    assert_eq!(got(room[0]), [""; 0]);
    assert_eq!(got(room[1]), ["all"]);
    assert_eq!(got(room[2]), ["all", "some"]);
    assert_eq!(got(room[3]), ["all", "some"]);
    let too_big = Action::SendData {
        to: Vec::new(),
        label: "chat".to_owned(),
        payload: vec![0; Limits::default().data_message_bytes as usize + 1],
    };
    let refused = world.ask(room[0], too_big);
    assert!(
        matches!(refused, Err(RequestError::Limit(_))),
        "{refused:?}"
    );
    world.assert_sound();
}
