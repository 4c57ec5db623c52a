//! Several drivers behind one port: who may join, who gets what, and what the kernel is told.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rillway_ring::{
    Driver, DriverConfig, PortSharing, SocketId, Steering, SteeringError, StreamConfig, UdpDriver,
};

use crate::harness::{Inbox, Net, PATIENCE, address, alone, any, replace, run_to};

const CLIENTS: usize = 64;

fn sharing(at: SocketAddr, sharing: PortSharing, steering: Option<&Steering>) -> DriverConfig {
    let mut config = DriverConfig::new([at]);
    config.sharing = sharing;
    config.steering = steering.cloned();
    config
}

/// The first opens a free port; the others join.
fn group(net: &Net, steering: &[Steering]) -> Vec<Driver> {
    let open = |at, kind, number: usize| {
        let config = sharing(at, kind, steering.get(number));
        net.open(&config).expect("it opens")
    };
    let free = "127.0.0.1:0".parse().unwrap();
    let mut drivers = vec![open(free, PortSharing::Opened, 0)];
    let at = address(&drivers[0]);
    drivers.push(open(at, PortSharing::Joined, 1));
    drivers.push(open(at, PortSharing::Joined, 2));
    assert!(drivers.iter().all(|driver| address(driver) == at));
    drivers
}

fn clients() -> Vec<UdpSocket> {
    let client = |_| UdpSocket::bind("127.0.0.1:0").expect("a port");
    (0..CLIENTS).map(client).collect()
}

/// Every client sends its number; by client, which driver got it.
async fn dealt(drivers: &mut [Driver], clients: &[UdpSocket]) -> Vec<usize> {
    let at = address(&drivers[0]);
    for (number, client) in clients.iter().enumerate() {
        client.send_to(&[number as u8], at).expect("sent");
    }
    let mut by_client = vec![None; clients.len()];
    let all = async {
        while by_client.iter().any(Option::is_none) {
            for (number, driver) in drivers.iter_mut().enumerate() {
                let mut inbox = Inbox::default();
                driver.receive(256, &mut inbox).expect("it works");
                for (_, source, data) in inbox.0 {
                    let client = usize::from(data[0]);
                    assert_eq!(source, clients[client].local_addr().unwrap());
                    assert_eq!(by_client[client].replace(number), None, "came once");
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, all).await;
    assert!(ended.is_ok(), "all arrive");
    by_client.into_iter().map(Option::unwrap).collect()
}

pub(crate) async fn a_port_is_opened_by_one_and_joined_by_others(net: Net) {
    let mut drivers = group(&net, &[]);
    let at = address(&drivers[0]);
    // By accident nobody gets in.
    for kind in [PortSharing::Own, PortSharing::Opened] {
        let error = net.open(&sharing(at, kind, None)).expect_err("taken");
        assert!(error.is_address_in_use(), "{kind:?}: {error}");
    }
    let clients = clients();
    let first = dealt(&mut drivers, &clients).await;
    for number in 0..drivers.len() {
        assert!(first.contains(&number), "{number} gets some of {first:?}");
    }
    assert_eq!(
        dealt(&mut drivers, &clients).await,
        first,
        "always the same"
    );
    // Whoever answers, it is the port that was asked.
    for driver in &mut drivers {
        let to = clients[0].local_addr().unwrap();
        driver.send(run_to(to, 1, &[7])).unwrap();
        driver.flush().unwrap();
        let (_, from) = clients[0].recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from, at);
    }
    // One is gone: the others get what was its.
    let gone = drivers.pop();
    drop(gone);
    assert!(dealt(&mut drivers, &clients).await.iter().all(|to| *to < 2));
    drop(drivers.pop());
    let mut config = alone();
    config.sharing = PortSharing::Opened;
    let last = net.open(&config).expect("another");
    drop(replace(&net, last, &config));
}

pub(crate) async fn tcp_beside_it_has_ports_of_its_own(net: Net) {
    let streams = |port| {
        Some(StreamConfig {
            connections: 10,
            connections_per_address: 10,
            port,
        })
    };
    let mut config = any();
    config.sharing = PortSharing::Opened;
    config.streams = streams(Some(0));
    let first = net.open(&config).expect("free ports");
    let (udp, tcp) = (first.local_addresses()[0], first.local_addresses()[1]);
    config = sharing(udp, PortSharing::Joined, None);
    config.streams = streams(Some(tcp.port()));
    let error = net.open(&config).expect_err("the first one listens there");
    assert!(error.is_address_in_use(), "{error}");
    config.streams = streams(Some(0));
    let second = net.open(&config).expect("another port for TCP");
    assert_eq!(second.local_addresses()[0], udp);
    assert_ne!(second.local_addresses()[1], tcp);
}

pub(crate) async fn the_kernel_steers_to_whom_it_was_told(net: Net) {
    let free = ["127.0.0.1:0".parse().unwrap()];
    let places = match Steering::new(&free, 3) {
        Ok(places) => places,
        Err(SteeringError::Refused { step, source }) => {
            return eprintln!("skipped: {step}: {source}");
        }
        Err(other) => panic!("{other}"),
    };
    let mut drivers = group(&net, &places);
    let clients = clients();
    let hashed = dealt(&mut drivers, &clients).await;
    let remote = |client: usize| clients[client].local_addr().unwrap();
    let wanted: Vec<_> = (0..CLIENTS).map(|client| client % 3).collect();
    assert_ne!(hashed, wanted);
    for (client, number) in wanted.iter().enumerate() {
        places[*number].take(SocketId(0), remote(client)).unwrap();
    }
    assert_eq!(dealt(&mut drivers, &clients).await, wanted);
    // Only its own driver can take a client out; then it goes as before.
    for client in 0..CLIENTS {
        places[(client + 1) % 3]
            .leave(SocketId(0), remote(client))
            .unwrap();
    }
    assert_eq!(dealt(&mut drivers, &clients).await, wanted);
    for (client, number) in wanted.iter().enumerate() {
        places[*number].leave(SocketId(0), remote(client)).unwrap();
        places[*number].leave(SocketId(0), remote(client)).unwrap();
    }
    assert_eq!(dealt(&mut drivers, &clients).await, hashed);
    // Of one that is gone, others get what it had; nothing is lost.
    for (client, number) in wanted.iter().enumerate() {
        places[*number].take(SocketId(0), remote(client)).unwrap();
    }
    drop(drivers.pop());
    let left = dealt(&mut drivers, &clients).await;
    for (left, wanted) in left.iter().zip(&wanted).filter(|(_, wanted)| **wanted < 2) {
        assert_eq!(left, wanted);
    }
    assert!(left.iter().all(|number| *number < 2));
}
