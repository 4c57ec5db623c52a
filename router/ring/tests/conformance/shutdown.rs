//! The end: buffers come back, ports are free at once.

use rillway_ring::{Driver, DriverConfig, SendError, UdpDriver};

use crate::harness::{Inbox, Net, address, alone, collect, pattern, replace, run_to, send_now};

/// A driver with datagrams in completed buffers, more waiting in the kernel, and unflushed sends.
fn loaded(net: &Net) -> (Driver, Driver) {
    let mut config = alone();
    config.receive_buffers = 16;
    let (mut sender, mut receiver) = (net.driver(), net.open(&config).unwrap());
    let to = address(&receiver);
    for _ in 0..4 {
        for _ in 0..100 {
            sender.send(run_to(to, 1200, &pattern(1, 1200))).unwrap();
        }
        sender.flush().unwrap();
    }
    let mut some = Inbox::default();
    assert!(receiver.receive(3, &mut some).unwrap() >= 3);
    let back = address(&sender);
    receiver
        .send(run_to(back, 1200, &pattern(2, 4800)))
        .unwrap();
    (sender, receiver)
}

/// The port is free and works: nothing of the old driver holds the socket.
async fn rebind(net: &Net, sender: &mut Driver, receiver: Driver) {
    let config = DriverConfig::new([address(&receiver)]);
    let mut again = replace(net, receiver, &config);
    send_now(sender, address(&again), 5, b"again");
    let mut inbox = Inbox::default();
    collect(&mut again, &mut inbox, 1).await;
    assert_eq!(
        inbox.payloads(),
        [b"again"],
        "nothing left over from before"
    );
}

pub(crate) async fn with_buffers_in_flight(net: Net) {
    let (mut sender, mut receiver) = loaded(&net);
    let start = std::time::Instant::now();
    receiver.shutdown();
    assert!(
        start.elapsed() < std::time::Duration::from_millis(900),
        "cancelled, not timed out"
    );
    rebind(&net, &mut sender, receiver).await;
}

pub(crate) async fn by_drop(net: Net) {
    for _ in 0..10 {
        let (mut sender, receiver) = loaded(&net);
        rebind(&net, &mut sender, receiver).await;
    }
}

pub(crate) async fn refuses_work_afterwards(net: Net) {
    let (mut sender, mut receiver) = loaded(&net);
    receiver.shutdown();
    receiver.shutdown();
    assert_eq!(receiver.receive(64, &mut Inbox::default()).unwrap(), 0);
    let run = run_to(address(&sender), 1, b"x");
    assert_eq!(receiver.send(run), Err(SendError::Closed));
    receiver.flush().unwrap();
    // Ready, so that nobody waits for a driver that is gone.
    crate::harness::ready(&mut receiver).await;
    let mut inbox = Inbox::default();
    crate::harness::expect_silence(&mut sender, &mut inbox).await;
}
