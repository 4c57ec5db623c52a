//! Opening: what is refused, and in which words.

use rillway_ring::{DriverConfig, DriverKind, OpenError};

use crate::harness::{Net, address, alone, any, replace};

pub(crate) async fn a_port_in_use(net: Net) {
    let first = net.open(&alone()).unwrap();
    let taken = address(&first);
    let config = DriverConfig::new(["127.0.0.1:0".parse().unwrap(), taken]);
    let error = net.open(&config).expect_err("two drivers on one port");
    assert!(error.is_address_in_use(), "{error}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    drop(replace(&net, first, &config));
}

pub(crate) async fn an_address_of_nobody(net: Net) {
    if net.kind == DriverKind::Sim {
        // Every address exists in a simulated network.
        return;
    }
    let config = DriverConfig::new(["192.0.2.1:0".parse().unwrap()]);
    let error = net.open(&config).expect_err("TEST-NET-1 is nobody's");
    assert!(!error.is_address_in_use());
    assert!(matches!(error, OpenError::Bind { .. }), "{error:?}");
    assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
}

pub(crate) async fn configuration_bounds(net: Net) {
    let broken: [fn(&mut DriverConfig); 9] = [
        |config| config.addresses.clear(),
        |config| config.addresses = vec!["127.0.0.1:0".parse().unwrap(); 65],
        |config| config.receive_socket_bytes = 100,
        |config| config.send_socket_bytes = 2 << 30,
        |config| config.receive_buffers = 3,
        |config| config.receive_buffers = 0,
        |config| config.receive_buffer_bytes = 1500,
        |config| config.send_slots = 0,
        |config| config.send_arena_bytes = 1000,
    ];
    for breaking in broken {
        let mut config = any();
        breaking(&mut config);
        let error = net.open(&config).expect_err("out of bounds");
        assert!(matches!(error, OpenError::Config(_)), "{error}");
    }
    let mut least = any();
    (least.receive_buffers, least.receive_buffer_bytes) = (1, 2048);
    (least.send_slots, least.send_arena_bytes) = (1, 64 << 10);
    net.open(&least).expect("the least of everything");
    let mut most = any();
    (most.receive_buffers, most.send_slots) = (1 << 12, 4096);
    net.open(&most).expect("much of everything");
}
