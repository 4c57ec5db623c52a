//! Media over TCP (RFC 6544): clients whose network carries no UDP, and connections that are none of theirs.

use std::time::{Duration, Instant};

use rillway::config::DriverChoice;
use rillway_tests::client::full_grant;
use rillway_tests::link::Link;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::calls::{assert_complete, stop};
use crate::router::{PATIENCE, metric, metric_becomes, start};

async fn join(router: &rillway::Running, number: u64, tcp: bool, epoch: Instant) -> LiveClient {
    let mut config = member(number + 1, "meeting", epoch);
    config.grant = full_grant("meeting", &format!("person {number}"));
    config.tracks = vec![TrackSpec::audio(), TrackSpec::video(2)];
    config.channels = true;
    config.tcp = tcp;
    let client = LiveClient::connect(router.gateway_address(), config).await;
    client.expect("the gateway listens")
}

/// Two on TCP and one on UDP, connected to each other.
async fn call(router: &rillway::Running) -> Vec<LiveClient> {
    let epoch = Instant::now();
    let mut clients = Vec::new();
    for (number, tcp) in [(0, true), (1, true), (2, false)] {
        clients.push(join(router, number, tcp, epoch).await);
    }
    let ready = |c: &LiveClient| c.hears(4) && c.client.is_open("reliable");
    let heard = LiveClient::run_all(&mut clients, PATIENCE, ready).await;
    assert!(heard.expect("sockets work"), "not everybody is heard");
    clients
}

async fn run(clients: &mut [LiveClient], time: Duration) {
    let done = LiveClient::run_all(clients, time, |_| false).await;
    done.expect("sockets work");
}

async fn a_call_by(driver: DriverChoice) {
    let router = start(|config| config.media.driver = driver);
    let mut clients = call(&router).await;
    let now = Instant::now();
    assert!(clients[0].client.send_data(now, "reliable", b"by frames"));
    run(&mut clients, Duration::from_secs(2)).await;
    stop(&mut clients).await;
    assert_complete(&clients);
    for client in &clients[1..] {
        assert_eq!(client.client.messages.len(), 1);
        assert_eq!(client.client.messages[0].payload, b"by frames");
    }
    metric_becomes(
        &router,
        "rillway_transport_connects_total{worker=\"0\",path=\"tcp\"}",
        4.0,
    )
    .await;
    metric_becomes(&router, "rillway_tcp_connections{worker=\"0\"}", 4.0).await;
    let dropped = "rillway_tcp_dropped_packets_total{worker=\"0\",cause=";
    for cause in ["\"video\"}", "\"other\"}"] {
        let count = metric(&router, &format!("{dropped}{cause}")).await;
        assert_eq!(count, Some(0.0), "{cause}");
    }
}

#[tokio::test]
async fn a_call_over_tcp_by_the_ring_driver_is_whole() {
    a_call_by(DriverChoice::Ring).await;
}

#[tokio::test]
async fn a_call_over_tcp_by_the_mmsg_driver_is_whole() {
    a_call_by(DriverChoice::Mmsg).await;
}

/// One stops reading its connection for a while: the others miss nothing, and it goes on afterwards.
#[tokio::test]
async fn a_client_that_does_not_read_hurts_itself_alone() {
    let router = start(|_| {});
    let mut clients = call(&router).await;
    let deafen = |client: &mut LiveClient, deaf: bool| match &mut client.sockets[1] {
        Link::Tcp(framed) => framed.deaf = deaf,
        Link::Udp(_) => panic!("on TCP"),
    };
    deafen(&mut clients[0], true);
    run(&mut clients, Duration::from_secs(4)).await;
    let heard = |client: &LiveClient| -> u64 {
        let inbound = client.client.inbound.values();
        inbound.map(|i| i.packets).sum()
    };
    let before = heard(&clients[0]);
    deafen(&mut clients[0], false);
    run(&mut clients, Duration::from_secs(2)).await;
    assert!(heard(&clients[0]) > before + 50, "it goes on");
    stop(&mut clients).await;
    // What the others sent to each other is whole. Clients cannot be compared with one left out.
    clients.remove(0);
    assert_complete(&clients);
    let stalled = "rillway_tcp_ended_connections_total{worker=\"0\",cause=\"stalled\"}";
    assert_eq!(metric(&router, stalled).await, Some(0.0));
}

#[tokio::test]
async fn connections_that_belong_to_nobody_are_closed() {
    let router = start(|_| {});
    let mut clients = call(&router).await;
    let address = media_over_tcp(&clients);
    let mut garbage = TcpStream::connect(address).await.expect("listening");
    garbage
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("taken");
    let mut silent = TcpStream::connect(address).await.expect("listening");
    let mut half = TcpStream::connect(address).await.expect("listening");
    half.write_all(&[0, 200, 1, 2, 3]).await.expect("taken");
    let ended = |cause: &str| {
        format!("rillway_tcp_ended_connections_total{{worker=\"0\",cause=\"{cause}\"}}")
    };
    let closed = async {
        let mut byte = [0; 1];
        for stream in [&mut garbage, &mut half, &mut silent] {
            assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
        }
    };
    // Meanwhile the call goes on.
    let both = async { tokio::join!(closed, run(&mut clients, Duration::from_secs(13))) };
    tokio::time::timeout(4 * PATIENCE, both)
        .await
        .expect("all are closed");
    for (cause, count) in [("oversized", 1.0), ("partial", 1.0), ("unproven", 1.0)] {
        metric_becomes(&router, &ended(cause), count).await;
    }
    metric_becomes(&router, "rillway_tcp_connections{worker=\"0\"}", 4.0).await;
    stop(&mut clients).await;
    assert_complete(&clients);
}

/// Where the clients on TCP are connected to.
fn media_over_tcp(clients: &[LiveClient]) -> std::net::SocketAddr {
    let links = clients.iter().flat_map(|client| &client.sockets);
    let remotes = links.filter_map(|link| match link {
        Link::Tcp(framed) => framed.remote(),
        Link::Udp(_) => None,
    });
    remotes.last().expect("somebody is on TCP")
}

#[tokio::test]
async fn tcp_can_be_turned_off() {
    let router = start(|config| config.media.tcp = None);
    let mut clients = vec![join(&router, 0, true, Instant::now()).await];
    run(&mut clients, Duration::from_secs(2)).await;
    for link in &clients[0].sockets {
        assert!(matches!(link, Link::Tcp(framed) if framed.remote().is_none()));
    }
}
