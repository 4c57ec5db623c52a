//! Buffers, budgets, sockets of the receive side.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rillway_ring::{Driver, DriverConfig, DriverKind, Receiver, SocketId, UdpDriver};

use crate::harness::{
    Inbox, Net, address, any, collect, expect_silence, pattern, ready, run_to, send_now,
};

/// Four buffers, sixty-four datagrams at once: the rest waits in the kernel, in order.
pub(crate) async fn buffers_exhausted_and_armed_again(net: Net) {
    let mut config = any();
    config.receive_buffers = 4;
    let (mut sender, mut receiver) = (net.driver(), net.open(&config).unwrap());
    let to = address(&receiver);
    let mut inbox = Inbox::default();
    for round in 0..3 {
        for index in 0..64u8 {
            sender.send(run_to(to, 1200, &[index; 1200])).unwrap();
        }
        sender.flush().unwrap();
        // Let the kernel fill what it has before anybody looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
        collect(&mut receiver, &mut inbox, 64 * (round + 1)).await;
    }
    for (index, payload) in inbox.payloads().iter().enumerate() {
        assert_eq!(*payload, [index as u8 % 64; 1200]);
    }
    let stats = receiver.stats();
    assert_eq!(stats.received_truncated, 0);
    if net.kind != DriverKind::Mmsg {
        // recvmmsg brings its buffers along with each call: there is nothing to arm.
        assert!(stats.receive_rearmed >= 3, "{stats:?}");
    }
    expect_silence(&mut receiver, &mut inbox).await;
}

pub(crate) async fn a_budget_and_the_rest_later(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    for index in 0..100u8 {
        sender.send(run_to(to, 500, &[index; 500])).unwrap();
    }
    sender.flush().unwrap();
    let mut inbox = Inbox::default();
    let mut turns = 0;
    while inbox.0.len() < 100 {
        ready(&mut receiver).await;
        let before = inbox.0.len();
        let got = receiver.receive(10, &mut inbox).unwrap();
        assert_eq!(
            got,
            inbox.0.len() - before,
            "the count is what was handed over"
        );
        assert!(got <= 10, "{got} single datagrams for a budget of 10");
        turns += 1;
    }
    assert!(turns >= 10);
    assert_eq!(inbox.0[99].2, [99; 500]);
    // A train is never split: the budget is exceeded by less than one.
    send_now(&mut sender, to, 100, &[7; 6400]);
    ready(&mut receiver).await;
    let got = receiver.receive(1, &mut inbox).unwrap();
    assert!(
        got == 64 || got == 1,
        "{got}: a train, or datagrams where GRO is off"
    );
}

pub(crate) async fn a_datagram_longer_than_the_buffer(net: Net) {
    let mut config = any();
    config.receive_buffer_bytes = 2048;
    let (mut sender, mut receiver) = (net.driver(), net.open(&config).unwrap());
    let to = address(&receiver);
    sender.send(run_to(to, 2048, &[1; 2048])).unwrap();
    sender.send(run_to(to, 4000, &[2; 4000])).unwrap();
    sender.send(run_to(to, 100, &[3; 100])).unwrap();
    sender.flush().unwrap();
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 2).await;
    assert_eq!(inbox.payloads(), [&[1; 2048][..], &[3; 100][..]]);
    assert_eq!(receiver.stats().received_truncated, 1);
    assert_eq!(receiver.stats().received_datagrams, 2);
}

/// A zero-length datagram ends a multishot receive in the kernel; the next one must still arrive.
pub(crate) async fn an_empty_datagram(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    let mut inbox = Inbox::default();
    for round in 1..=3 {
        if net.kind == DriverKind::Sim {
            let endpoint = net.sim.endpoint("127.0.0.1:0".parse().unwrap()).unwrap();
            assert!(endpoint.send(to, b""));
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            assert_eq!(socket.send_to(b"", to).unwrap(), 0);
        }
        send_now(&mut sender, to, 4, b"next");
        collect(&mut receiver, &mut inbox, 2 * round).await;
        assert_eq!(inbox.payloads()[2 * round - 2..], [&b""[..], &b"next"[..]]);
    }
}

pub(crate) async fn several_sockets(net: Net) {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut addresses = vec![local, local, "127.0.0.2:0".parse().unwrap()];
    if net.kind == DriverKind::Sim || UdpSocket::bind("[::1]:0").is_ok() {
        addresses.push("[::1]:0".parse().unwrap());
    } else {
        eprintln!("skipped in part: this host has no IPv6 loopback");
    }
    let config = DriverConfig::new(addresses);
    let mut left = net.open(&config).unwrap();
    let mut right = net.open(&config).unwrap();
    let count = config.addresses.len();
    let to: Vec<_> = right.local_addresses().to_vec();
    let from: Vec<_> = left.local_addresses().to_vec();
    for round in 0..10u8 {
        for (index, &destination) in to.iter().enumerate() {
            let mut run = run_to(destination, 4, b"");
            let payload = [index as u8, round, 1, 2];
            run.socket = SocketId(index as u16);
            run.payload = &payload;
            left.send(run).unwrap();
        }
    }
    left.flush().unwrap();
    let mut inbox = Inbox::default();
    collect(&mut right, &mut inbox, 10 * count).await;
    for (index, &source) in from.iter().enumerate() {
        let mut rounds = 0..10;
        for (_, from, data) in inbox
            .0
            .iter()
            .filter(|(socket, ..)| usize::from(socket.0) == index)
        {
            assert_eq!(*from, source);
            assert_eq!(data[0], index as u8);
            assert_eq!(
                Some(data[1]),
                rounds.next().map(|round: i32| round as u8),
                "in order per socket"
            );
        }
        assert_eq!(rounds.next(), None, "all ten on socket {index}");
    }
    // And back, from the socket that received.
    echo(&mut right, &inbox);
    let mut answers = Inbox::default();
    collect(&mut left, &mut answers, 10 * count).await;
    assert_eq!(left.stats().send_errors + right.stats().send_errors, 0);
}

fn echo(driver: &mut Driver, inbox: &Inbox) {
    for (socket, source, data) in &inbox.0 {
        let mut run = run_to(*source, data.len(), data);
        run.socket = *socket;
        driver.send(run).unwrap();
    }
    driver.flush().unwrap();
}

pub(crate) async fn trains_come_in_one_batch(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let payload = pattern(9, 40 * 1200);
    send_now(&mut sender, address(&receiver), 1200, &payload);
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 40).await;
    assert_eq!(inbox.payloads().concat(), payload);
    let stats = receiver.stats();
    assert_eq!(
        (stats.received_batches, stats.received_datagrams),
        (1, 40),
        "GRO is on, and its trains are split again"
    );
}

/// Times of arrival, by message.
#[derive(Default)]
struct Postmarks(Vec<Option<Duration>>);

impl Receiver for Postmarks {
    fn message(&mut self, arrived: Option<Duration>) {
        self.0.push(arrived);
    }

    fn datagram(&mut self, _: SocketId, _: SocketAddr, _: &mut [u8]) {}
}

/// Of when the kernel got it, however late the driver is asked.
pub(crate) async fn the_time_of_arrival(net: Net) {
    let unix = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
    };
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let before = unix();
    send_now(&mut sender, address(&receiver), 100, &[1; 100]);
    ready(&mut receiver).await;
    let there = unix();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut marks = Postmarks::default();
    assert_eq!(receiver.receive(10, &mut marks).unwrap(), 1);
    let [mark] = marks.0[..] else {
        panic!("one message, not {:?}", marks.0);
    };
    match net.kind {
        DriverKind::Sim => assert_eq!(mark, None, "nobody's clock"),
        DriverKind::Ring | DriverKind::Mmsg => {
            let mark = mark.expect("Linux says it");
            assert!(
                before <= mark && mark <= there,
                "{before:?} {mark:?} {there:?}"
            );
        }
    }
}

/// Short buffers take no trains: the kernel must not join what would not fit.
pub(crate) async fn trains_into_short_buffers(net: Net) {
    let mut config = any();
    config.receive_buffer_bytes = 2048;
    let (mut sender, mut receiver) = (net.driver(), net.open(&config).unwrap());
    let payload = pattern(9, 39 * 1200 + 7);
    send_now(&mut sender, address(&receiver), 1200, &payload);
    let mut inbox = Inbox::default();
    collect(&mut receiver, &mut inbox, 40).await;
    assert_eq!(inbox.payloads(), payload.chunks(1200).collect::<Vec<_>>());
    assert_eq!(receiver.stats().received_batches, 40);
    assert_eq!(receiver.stats().received_truncated, 0);
}

struct Scribbler(Inbox);

impl Receiver for Scribbler {
    fn datagram(&mut self, socket: SocketId, source: SocketAddr, data: &mut [u8]) {
        self.0.datagram(socket, source, data);
        data.fill(0xff);
    }
}

/// Decryption works in place: what one receiver writes must not show up in a later datagram.
pub(crate) async fn data_changed_in_place(net: Net) {
    let mut config = any();
    config.receive_buffers = 2;
    let (mut sender, mut receiver) = (net.driver(), net.open(&config).unwrap());
    let to = address(&receiver);
    let mut scribbler = Scribbler(Inbox::default());
    for index in 0..20u8 {
        send_now(&mut sender, to, 300, &[index; 900]);
        while scribbler.0.0.len() < 3 * (usize::from(index) + 1) {
            ready(&mut receiver).await;
            receiver.receive(64, &mut scribbler).unwrap();
        }
    }
    for (position, payload) in scribbler.0.payloads().iter().enumerate() {
        assert_eq!(*payload, [(position / 3) as u8; 300]);
    }
}
