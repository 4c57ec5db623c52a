//! What the conformance suite cannot provoke from outside.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::runtime::Runtime;
use crate::sim::{SimDatagram, SimNetwork, SimVerdict};
use crate::{
    Driver, DriverChoice, DriverConfig, DriverKind, Receiver, SendRun, SocketId, UdpDriver,
    open_kind,
};

#[derive(Default)]
struct Inbox(Vec<Vec<u8>>);

impl Receiver for Inbox {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        self.0.push(data.to_vec());
    }
}

fn loopback() -> DriverConfig {
    DriverConfig::new(["127.0.0.1:0".parse().unwrap()])
}

fn run_to(destination: SocketAddr, payload: &[u8]) -> SendRun<'_> {
    SendRun {
        socket: SocketId(0),
        destination,
        segment_bytes: 100,
        payload,
    }
}

/// EIO on a train: the route cannot segment (IPsec). From then on datagrams leave one by one.
#[test]
fn datagrams_leave_one_by_one_where_trains_cannot() {
    for kind in [DriverKind::Ring, DriverKind::Mmsg] {
        let Ok(runtime) = Runtime::new(kind) else {
            eprintln!("skipped: no io_uring here");
            continue;
        };
        runtime.block_on(async {
            let mut sender = open_kind(kind, &loopback()).unwrap();
            let mut receiver = open_kind(kind, &loopback()).unwrap();
            let socket = match &mut sender {
                Driver::Ring(driver) => driver.first_socket(),
                Driver::Mmsg(driver) => driver.first_socket(),
                Driver::Sim(_) => unreachable!(),
            };
            assert!(socket.segmentation, "this kernel segments");
            // Errors of single datagrams and other errors of trains change nothing.
            socket.note_send_error(&io::Error::from_raw_os_error(libc::EIO), false);
            socket.note_send_error(&io::Error::from_raw_os_error(libc::EMSGSIZE), true);
            assert!(socket.segmentation);
            socket.note_send_error(&io::Error::from_raw_os_error(libc::EIO), true);
            let payload: Vec<u8> = (0..950).map(|index| (index % 251) as u8).collect();
            sender
                .send(run_to(receiver.local_addresses()[0], &payload))
                .unwrap();
            sender.flush().unwrap();
            let mut inbox = Inbox::default();
            while inbox.0.len() < 10 {
                poll_fn(|context| receiver.poll_ready(context))
                    .await
                    .unwrap();
                receiver.receive(64, &mut inbox).unwrap();
            }
            assert_eq!(inbox.0, payload.chunks(100).collect::<Vec<_>>());
            assert_eq!(receiver.stats().received_batches, 10, "nothing was joined");
        });
    }
}

#[test]
fn choices_are_words() {
    for choice in [DriverChoice::Auto, DriverChoice::Ring, DriverChoice::Mmsg] {
        assert_eq!(DriverChoice::from_str(&choice.to_string()), Ok(choice));
    }
    let error = DriverChoice::from_str("uring").unwrap_err();
    assert!(error.to_string().contains("\"mmsg\""), "{error}");
}

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

#[test]
fn a_tap_judges_every_datagram() {
    let network = SimNetwork::new();
    let mut driver = network
        .open(&DriverConfig::new([address(1, 40_000)]))
        .unwrap();
    let client = network.endpoint(address(2, 0)).unwrap();
    let to = client.local_address();
    network.set_tap(|datagram| match datagram.payload.first() {
        Some(0) => SimVerdict::Drop,
        Some(1) => SimVerdict::Hold,
        _ => SimVerdict::Deliver,
    });
    let payload: Vec<u8> = [0, 1, 2].iter().flat_map(|&byte| [byte; 100]).collect();
    driver.send(run_to(to, &payload)).unwrap();
    driver.flush().unwrap();
    assert_eq!(client.receive(), Some((address(1, 40_000), vec![2; 100])));
    assert_eq!(client.receive(), None);
    let held = network.take_held();
    assert_eq!(
        held,
        [SimDatagram {
            source: address(1, 40_000),
            destination: to,
            payload: vec![1; 100],
        }]
    );
    assert!(held.into_iter().all(|datagram| network.inject(datagram)));
    assert_eq!(client.receive(), Some((address(1, 40_000), vec![1; 100])));
    // Also what clients send, empty datagrams among them.
    assert!(client.send(address(1, 40_000), &[0]));
    assert!(client.send(address(1, 40_000), &[]));
    let mut inbox = Inbox::default();
    assert_eq!(driver.receive(9, &mut inbox).unwrap(), 1);
    assert_eq!(inbox.0, [Vec::new()]);
}

#[test]
fn a_full_queue_and_nobody_lose_datagrams() {
    let network = SimNetwork::new();
    let mut config = DriverConfig::new([address(1, 40_000)]);
    config.receive_socket_bytes = 4096;
    let mut driver = network.open(&config).unwrap();
    let client = network.endpoint(address(2, 0)).unwrap();
    for _ in 0..5 {
        assert!(
            client.send(address(1, 40_000), &[0; 1000]),
            "loss is no error to a sender"
        );
    }
    assert!(client.send(address(3, 40_000), &[0; 1000]));
    assert_eq!(network.lost(), 2);
    let mut inbox = Inbox::default();
    assert_eq!(driver.receive(9, &mut inbox).unwrap(), 4);
    assert!(client.send(address(1, 40_000), &[0; 1000]), "room again");
    assert_eq!(network.lost(), 2);
}

#[test]
fn a_wildcard_address_hears_its_port() {
    let network = SimNetwork::new();
    let config = DriverConfig::new([
        "0.0.0.0:40000".parse().unwrap(),
        "[::]:40000".parse().unwrap(),
    ]);
    let mut driver = network.open(&config).unwrap();
    let client = network.endpoint(address(2, 0)).unwrap();
    assert!(client.send(address(1, 40_000), b"x"));
    let mut inbox = Inbox::default();
    assert_eq!(driver.receive(9, &mut inbox).unwrap(), 1);
    let error = network.endpoint(address(1, 40_000)).unwrap_err();
    assert!(error.is_address_in_use(), "{error}");
    drop(driver);
    network.endpoint(address(1, 40_000)).unwrap();
}
