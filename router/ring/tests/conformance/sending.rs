//! Runs, segments, limits of the send side.

use rillway_ring::{DriverKind, SendError, SocketId, UdpDriver};

use crate::harness::{
    Inbox, Net, address, any, collect, expect_silence, pattern, run_to, send_now,
};
use crate::netns;

pub(crate) async fn segments_of_unequal_size(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    let sizes = [1, 1200, 13, 576, 1199, 1400, 9000, 2];
    let payloads: Vec<_> = sizes
        .iter()
        .map(|&size| pattern(size as u64, size * 5))
        .collect();
    for (payload, &size) in payloads.iter().zip(&sizes) {
        sender.send(run_to(to, size, payload)).unwrap();
    }
    sender.flush().unwrap();
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 5 * sizes.len()).await;
    let expected: Vec<_> = payloads
        .iter()
        .zip(sizes)
        .flat_map(|(payload, size)| payload.chunks(size))
        .collect();
    assert_eq!(inbox.payloads(), expected);
    assert!(
        inbox
            .0
            .iter()
            .all(|(_, source, _)| *source == address(&sender))
    );
    let stats = sender.stats();
    assert_eq!(stats.sent_datagrams, expected.len() as u64);
    assert_eq!(stats.sent_bytes, expected.concat().len() as u64);
    assert_eq!(
        (stats.sent_runs, stats.send_errors),
        (sizes.len() as u64, 0)
    );
    assert_eq!(receiver.stats().received_datagrams, stats.sent_datagrams);
    assert_eq!(receiver.stats().received_bytes, stats.sent_bytes);
}

pub(crate) async fn a_last_shorter_segment(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let payload = pattern(7, 3 * 1200 + 1);
    send_now(&mut sender, address(&receiver), 1200, &payload);
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 4).await;
    assert_eq!(inbox.payloads(), payload.chunks(1200).collect::<Vec<_>>());
    assert_eq!(inbox.0[3].2.len(), 1);
    // A run shorter than one segment is a datagram.
    send_now(&mut sender, address(&receiver), 1200, &payload[..700]);
    collect(&mut receiver, &mut inbox, 5).await;
    assert_eq!(inbox.payloads()[4], &payload[..700]);
    expect_silence(&mut receiver, &mut inbox).await;
}

pub(crate) async fn a_run_longer_than_a_message(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    // 200 segments: four messages by count, and 54 by bytes at 1,200.
    for segment in [100, 1200] {
        let payload = pattern(segment as u64, 200 * segment - 3);
        send_now(&mut sender, address(&receiver), segment, &payload);
        let mut inbox = Inbox::default();
        collect(&mut receiver, &mut inbox, 200).await;
        assert_eq!(
            inbox.payloads(),
            payload.chunks(segment).collect::<Vec<_>>()
        );
    }
    assert_eq!(sender.stats().sent_runs, 2);
    assert_eq!(sender.stats().sent_datagrams, 400);
}

pub(crate) async fn the_longest_datagram(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let payload = pattern(1, rillway_ring::MESSAGE_BYTES_MAX);
    send_now(&mut sender, address(&receiver), payload.len(), &payload);
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 1).await;
    assert_eq!(inbox.payloads(), [payload.as_slice()]);
}

/// The kernel refuses the whole message (EMSGSIZE); the driver counts it and goes on.
pub(crate) async fn a_segment_above_the_mtu(net: Net) {
    let Some((mut sender, to)) = netns::narrow_driver(&net, 4 << 20) else {
        return;
    };
    let fits = 1500 - 28;
    let payload = pattern(3, 4 * fits);
    send_now(&mut sender, to, fits, &payload);
    assert_eq!(
        sender.stats().send_errors,
        0,
        "a full-sized segment is sent"
    );
    // One datagram, then a train, above the MTU; then one that fits.
    sender
        .send(run_to(to, fits + 1, &payload[..fits + 1]))
        .unwrap();
    sender
        .send(run_to(to, fits + 1, &payload[..3 * fits]))
        .unwrap();
    sender.send(run_to(to, fits, &payload[..fits])).unwrap();
    sender.flush().unwrap();
    assert_eq!(sender.stats().send_errors, 1 + 3);
    assert_eq!(sender.stats().sent_datagrams, 4 + 1 + 3 + 1);
    // Not mistaken for missing segmentation: trains still go out as one message.
    let before = sender.stats().send_errors;
    send_now(&mut sender, to, fits, &payload);
    assert_eq!(sender.stats().send_errors, before);
}

/// The device drains slower than we send: EAGAIN is a counted loss, not a stall and not an error.
pub(crate) async fn a_full_socket_buffer(net: Net) {
    let Some((mut sender, to)) = netns::narrow_driver(&net, 8 << 10) else {
        return;
    };
    let payload = pattern(3, 1200);
    if net.kind == DriverKind::Sim {
        net.sim.refuse_sends(50);
    }
    for _ in 0..100 {
        sender.send(run_to(to, 1200, &payload)).unwrap();
    }
    sender.flush().unwrap();
    let errors = sender.stats().send_errors;
    assert!((10..100).contains(&errors), "{errors} of 100 refused");
    assert_eq!(sender.stats().sent_datagrams, 100);
    assert!(
        sender.send(run_to(to, 1200, &payload)).is_ok(),
        "the queue is empty again"
    );
}

pub(crate) async fn a_full_send_queue(net: Net) {
    let mut config = any();
    config.send_slots = 8;
    let (mut sender, mut receiver) = (net.open(&config).unwrap(), net.driver());
    let to = address(&receiver);
    for index in 0..8 {
        sender.send(run_to(to, 100, &[index; 100])).unwrap();
    }
    assert_eq!(
        sender.send(run_to(to, 100, &[8; 100])),
        Err(SendError::Full)
    );
    assert_eq!(sender.stats().send_full, 1);
    assert_eq!(
        sender.stats().sent_datagrams,
        8,
        "a refused run is not counted as sent"
    );
    sender.flush().unwrap();
    sender.send(run_to(to, 100, &[9; 100])).unwrap();
    sender.flush().unwrap();
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 9).await;
    let firsts: Vec<_> = inbox.payloads().iter().map(|payload| payload[0]).collect();
    assert_eq!(
        firsts,
        [0, 1, 2, 3, 4, 5, 6, 7, 9],
        "the refused one never leaves"
    );
    expect_silence(&mut receiver, &mut inbox).await;
}

pub(crate) async fn a_full_arena(net: Net) {
    let mut config = any();
    config.send_arena_bytes = 64 << 10;
    let (mut sender, mut receiver) = (net.open(&config).unwrap(), net.driver());
    let to = address(&receiver);
    let payload = pattern(5, 40_000);
    sender.send(run_to(to, 1000, &payload)).unwrap();
    assert_eq!(
        sender.send(run_to(to, 1000, &payload)),
        Err(SendError::Full)
    );
    sender.send(run_to(to, 1000, &payload[..20_000])).unwrap();
    sender.flush().unwrap();
    send_now(&mut sender, to, 1000, &payload);
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 100).await;
    let expected = [&payload[..], &payload[..20_000], &payload[..]].concat();
    assert_eq!(inbox.payloads().concat(), expected);
}

pub(crate) async fn unsendable_runs(net: Net) {
    let mut config = any();
    config.send_slots = 4;
    config.send_arena_bytes = 1 << 20;
    let (mut sender, mut receiver) = (net.open(&config).unwrap(), net.driver());
    let to = address(&receiver);
    let long = vec![1; 1 << 20];
    let mut elsewhere = run_to(to, 1, b"x");
    elsewhere.socket = SocketId(1);
    let runs = [
        run_to(to, 100, b""),
        run_to(to, 0, b"x"),
        run_to(to, rillway_ring::MESSAGE_BYTES_MAX + 1, &long),
        // 4 messages of 64 segments at most.
        run_to(to, 1, &long[..4 * 64 + 1]),
        elsewhere,
    ];
    for run in runs {
        assert_eq!(
            sender.send(run),
            Err(SendError::Invalid),
            "{}",
            run.segment_bytes
        );
    }
    sender.flush().unwrap();
    assert_eq!(sender.stats().sent_datagrams, 0);
    assert_eq!(sender.stats().send_full, 0);
    expect_silence(&mut receiver, &mut Inbox::default()).await;
    // A socket that is never armed again must not be left behind by all that.
    send_now(&mut sender, to, 1, &long[..4 * 64]);
    collect(&mut receiver, &mut Inbox::default(), 4 * 64).await;
}

pub(crate) async fn one_flush_is_one_system_call(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    let payload = pattern(2, 8 * 1200);
    let before = sender.stats().syscalls;
    for _ in 0..64 {
        sender.send(run_to(to, 1200, &payload)).unwrap();
    }
    assert_eq!(sender.stats().syscalls, before, "send copies, no more");
    sender.flush().unwrap();
    let expected = if net.kind == DriverKind::Sim { 0 } else { 1 };
    assert_eq!(sender.stats().syscalls - before, expected);
    sender.flush().unwrap();
    assert_eq!(
        sender.stats().syscalls - before,
        expected,
        "nothing to flush, no call"
    );
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 512).await;
    assert!(
        receiver.stats().syscalls < 64,
        "{} system calls for 64 trains",
        receiver.stats().syscalls
    );
}
