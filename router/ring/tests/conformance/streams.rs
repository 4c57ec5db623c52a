//! TCP beside UDP: frames in and out, and what strangers may do with connections.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rillway_ring::{
    Driver, DriverConfig, OpenError, SendRun, SocketId, StreamConfig, StreamEnd, UdpDriver,
};

use crate::harness::{Inbox, Net, PATIENCE, any, collect, pattern, ready, send_now};

fn with_streams(connections: usize, connections_per_address: usize) -> DriverConfig {
    let mut config = any();
    config.streams = Some(StreamConfig {
        connections,
        connections_per_address,
        port: None,
    });
    config
}

fn open(net: &Net) -> (Driver, SocketAddr) {
    let driver = net.open(&with_streams(100, 100)).unwrap();
    let listening = listening(&driver);
    (driver, listening)
}

fn listening(driver: &Driver) -> SocketAddr {
    assert_eq!(driver.listeners(), 1);
    assert_eq!(driver.local_addresses().len(), 2);
    driver.local_addresses()[1]
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let mut frame = (packet.len() as u16).to_be_bytes().to_vec();
    frame.extend(packet);
    frame
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

/// The run goes to the connection of `stream`.
fn run_to<'a>(stream: &TcpStream, segment_bytes: usize, payload: &'a [u8]) -> SendRun<'a> {
    SendRun {
        socket: SocketId(1),
        destination: stream.local_addr().unwrap(),
        segment_bytes,
        payload,
    }
}

/// Turns until `done`.
async fn turns(driver: &mut Driver, inbox: &mut Inbox, done: impl Fn(&Driver, &Inbox) -> bool) {
    let waiting = async {
        while !done(driver, inbox) {
            let pause = tokio::time::timeout(Duration::from_millis(100), ready(driver));
            let _ = pause.await;
            driver.receive(64, inbox).unwrap();
            driver.flush().unwrap();
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
        "nothing comes; {:?}",
        driver.stats().streams
    );
}

/// Whether the other side has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 64]);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

pub(crate) async fn frames_both_ways(net: Net) {
    let (mut driver, listening) = open(&net);
    let mut stream = connect(listening);
    let packets = [pattern(1, 20), pattern(2, 1_500), pattern(3, 1)];
    let mut inbox = Inbox::default();
    // Cut where it hurts: within a length, and within a packet.
    let bytes: Vec<u8> = packets.iter().flat_map(|packet| framed(packet)).collect();
    for part in bytes.chunks(21) {
        stream.write_all(part).unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(5), ready(&mut driver)).await;
        driver.receive(64, &mut inbox).unwrap();
    }
    turns(&mut driver, &mut inbox, |_, inbox| inbox.0.len() >= 3).await;
    assert_eq!(inbox.payloads(), packets.each_ref().map(Vec::as_slice));
    let local = stream.local_addr().unwrap();
    for (socket, source, _) in &inbox.0 {
        assert_eq!((*socket, *source), (SocketId(1), local));
    }
    // A run of three, the last shorter, as one write.
    let before = driver.stats().streams.syscalls;
    let run = pattern(4, 2_500);
    driver.send(run_to(&stream, 1_000, &run)).unwrap();
    driver
        .send_dispensable(run_to(&stream, 1_000, &run))
        .unwrap();
    driver.flush().unwrap();
    assert_eq!(driver.stats().streams.syscalls - before, 1);
    for part in run.chunks(1_000).chain(run.chunks(1_000)) {
        assert_eq!(read_frame(&mut stream), part);
    }
    // UDP goes on beside it.
    let mut other = net.driver();
    send_now(&mut other, driver.local_addresses()[0], 3, b"udp");
    turns(&mut driver, &mut inbox, |_, inbox| inbox.0.len() >= 4).await;
    assert_eq!(inbox.0[3].0, SocketId(0));
    let stats = driver.stats();
    assert_eq!(stats.received_datagrams, 1);
    assert_eq!(stats.streams.received_packets, 3);
    assert_eq!(stats.streams.sent_packets, 6);
    assert_eq!(stats.streams.open, 1);
    drop(stream);
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.ended[StreamEnd::Closed as usize] == 1
    })
    .await;
    assert_eq!(driver.stats().streams.open, 0);
}

pub(crate) async fn garbage_ends_its_connection_alone(net: Net) {
    let (mut driver, listening) = open(&net);
    let mut good = connect(listening);
    let mut bad = connect(listening);
    let mut inbox = Inbox::default();
    bad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.ended[StreamEnd::Oversized as usize] == 1
    })
    .await;
    assert!(is_closed(&mut bad));
    good.write_all(&framed(b"good")).unwrap();
    turns(&mut driver, &mut inbox, |_, inbox| !inbox.0.is_empty()).await;
    assert_eq!(inbox.payloads(), [b"good"]);
    assert!(!is_closed(&mut good));
}

pub(crate) async fn what_goes_to_nobody_is_lost(net: Net) {
    let (mut driver, listening) = open(&net);
    let stream = connect(listening);
    let mut inbox = Inbox::default();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 1
    })
    .await;
    let mut run = run_to(&stream, 10, &[7; 25]);
    run.destination.set_port(1);
    driver.send(run).unwrap();
    driver.flush().unwrap();
    assert_eq!(driver.stats().streams.dropped_gone, 3);
    assert_eq!(driver.stats().send_errors, 0);
}

/// Many connect and say nothing: they cannot keep out one who comes later, nor end one that is known.
pub(crate) async fn silent_connections_make_room(net: Net) {
    let mut driver = net.open(&with_streams(20, 100)).unwrap();
    let listening = listening(&driver);
    let mut inbox = Inbox::default();
    let mut known = connect(listening);
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 1
    })
    .await;
    driver.send(run_to(&known, 4, b"hello")).unwrap();
    driver.flush().unwrap();
    let silent: Vec<TcpStream> = (0..60).map(|_| connect(listening)).collect();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.accepted == 61
    })
    .await;
    let stats = driver.stats().streams;
    assert_eq!(stats.open, 20);
    assert_eq!(stats.ended[StreamEnd::Unproven as usize], 41);
    assert_eq!(read_frame(&mut known), b"hell");
    let mut late = connect(listening);
    late.write_all(&framed(b"late")).unwrap();
    turns(&mut driver, &mut inbox, |_, inbox| !inbox.0.is_empty()).await;
    drop(silent);
}

pub(crate) async fn one_address_has_its_share(net: Net) {
    let mut driver = net.open(&with_streams(100, 4)).unwrap();
    let listening = listening(&driver);
    let mut inbox = Inbox::default();
    let streams: Vec<TcpStream> = (0..10).map(|_| connect(listening)).collect();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.accepted == 10
    })
    .await;
    let stats = driver.stats().streams;
    assert_eq!((stats.open, stats.refused_address), (4, 6));
    drop(streams);
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 0
    })
    .await;
    let _again = connect(listening);
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 1
    })
    .await;
}

/// A client that does not read: what waits for it is bounded, video goes first, and others get theirs.
pub(crate) async fn who_does_not_read_costs_little(net: Net) {
    let (mut driver, listening) = open(&net);
    let slow = connect(listening);
    let mut quick = connect(listening);
    let mut inbox = Inbox::default();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 2
    })
    .await;
    let mut video = vec![0x80; 12_000];
    let sound = [0x80; 160];
    let mut got = 0;
    for frame in 0..2_000_u32 {
        for packet in video.chunks_mut(1_200) {
            packet[4..8].copy_from_slice(&frame.to_be_bytes());
        }
        driver
            .send_dispensable(run_to(&slow, 1_200, &video))
            .unwrap();
        driver.send(run_to(&slow, 160, &sound)).unwrap();
        driver.send(run_to(&quick, 160, &sound)).unwrap();
        driver.receive(64, &mut inbox).unwrap();
        driver.flush().unwrap();
        assert_eq!(read_frame(&mut quick), sound);
        got += 1;
    }
    let stats = driver.stats().streams;
    assert_eq!(got, 2_000);
    assert!(stats.dropped_video > 5_000, "{stats:?}");
    assert_eq!(stats.dropped_video % 10, 0, "whole frames: {stats:?}");
    assert_eq!(stats.dropped_other, 0, "{stats:?}");
    // It reads again: whole frames come, and all of the sound.
    let mut slow = slow;
    let mut heard = 0;
    let began = std::time::Instant::now();
    slow.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    let mut part = [0; 1 << 16];
    while heard < 2_000 && began.elapsed() < PATIENCE {
        while let Ok(read) = slow.read(&mut part) {
            assert_ne!(read, 0, "it was not closed");
            bytes.extend(&part[..read]);
        }
        while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if rest.len() < length {
                break;
            }
            assert!(length == 160 || length == 1_200);
            heard += usize::from(length == 160);
            bytes.drain(..2 + length);
        }
        driver.receive(64, &mut inbox).unwrap();
        driver.flush().unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(heard, 2_000);
}

pub(crate) async fn a_taken_port_is_an_error(net: Net) {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let mut config = with_streams(1, 1);
    config.addresses = vec![taken];
    let error = net.open(&config).unwrap_err();
    assert!(matches!(error, OpenError::Listen { .. }), "{error}");
    assert!(error.is_address_in_use(), "{error}");
    assert!(error.to_string().contains("TCP"), "{error}");
    config.streams = Some(StreamConfig {
        connections: 0,
        connections_per_address: 1,
        port: None,
    });
    assert!(matches!(net.open(&config), Err(OpenError::Config(_))));
}

pub(crate) async fn the_end_frees_ports_and_connections(net: Net) {
    let (mut driver, listening) = open(&net);
    let mut stream = connect(listening);
    let mut inbox = Inbox::default();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 1
    })
    .await;
    driver.shutdown();
    assert!(is_closed(&mut stream));
    assert_eq!(driver.receive(64, &mut inbox).unwrap(), 0);
    drop(driver);
    drop(stream);
    let mut config = with_streams(1, 1);
    config.addresses = vec![listening];
    let again = net.open(&config).expect("free at once");
    let mut back = connect(self::listening(&again));
    drop(again);
    let waited = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_closed(&mut back)
    });
    assert!(waited);
}

pub(crate) async fn an_idle_set_sleeps(net: Net) {
    let (mut driver, listening) = open(&net);
    let stream = connect(listening);
    let mut inbox = Inbox::default();
    turns(&mut driver, &mut inbox, |driver, _| {
        driver.stats().streams.open == 1
    })
    .await;
    // What is left over takes a look or two.
    let mut slept = false;
    for _ in 0..5 {
        driver.receive(64, &mut inbox).unwrap();
        let waiting = std::future::poll_fn(|context| driver.poll_ready(context));
        let woken = tokio::time::timeout(Duration::from_millis(200), waiting).await;
        slept |= woken.is_err();
    }
    assert!(slept, "{:?}", driver.stats());
    // And wakes for a frame.
    let mut writer = stream;
    writer.write_all(&framed(b"wake")).unwrap();
    collect(&mut driver, &mut inbox, 1).await;
    assert_eq!(inbox.payloads(), [b"wake"]);
}
