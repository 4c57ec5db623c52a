//! A network namespace of its own, with an interface of MTU 1500 that drains slowly.
#![allow(unsafe_code)]

use std::net::SocketAddr;
use std::process::Command;

use rillway_ring::{Driver, DriverConfig, DriverKind};

use crate::harness::{Net, STARTING_PROCESS, any, is_root};

/// A driver that sends over an interface of MTU 1500 at 64 kbit/s, and an address behind it. `None`
/// (and a line that says so) where that takes root. Moves this thread into a new namespace for good,
/// which is well: the test harness gives every test its own thread.
pub(crate) fn narrow_driver(net: &Net, send_socket_bytes: usize) -> Option<(Driver, SocketAddr)> {
    let to: SocketAddr = "10.9.0.2:9".parse().unwrap();
    let mut config = DriverConfig::new(["10.9.0.1:0".parse().unwrap()]);
    config.send_socket_bytes = send_socket_bytes;
    if net.kind == DriverKind::Sim {
        net.sim.set_mtu(1500);
        return Some((net.open(&any()).unwrap(), to));
    }
    if !is_root() {
        eprintln!("skipped: a network namespace takes root");
        return None;
    }
    // SAFETY: changes only the calling thread's network namespace; no memory is involved.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if moved != 0 {
        eprintln!("skipped: unshare: {}", std::io::Error::last_os_error());
        return None;
    }
    let steps = [
        "ip link set lo up",
        "ip link add v0 type veth peer name v1",
        "ip addr add 10.9.0.1/24 dev v0",
        "ip link set v0 up",
        "ip link set v1 up",
        // The address is nobody's: packets leave through v0 and end in v1.
        "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:99 dev v0 nud permanent",
    ];
    let shaping = "tc qdisc add dev v0 root tbf rate 64kbit burst 64kb limit 10mb";
    let shaping = (send_socket_bytes < 64 << 10).then_some(shaping);
    let _alone = STARTING_PROCESS.write().unwrap();
    for step in steps.into_iter().chain(shaping) {
        let mut words = step.split(' ');
        let status = Command::new(words.next().unwrap()).args(words).status();
        match status {
            Ok(status) => assert!(status.success(), "{step}: {status}"),
            Err(error) => {
                eprintln!("skipped: {step}: {error} (iproute2 is needed)");
                return None;
            }
        }
    }
    Some((
        net.open(&config).expect("a driver in its own namespace"),
        to,
    ))
}
