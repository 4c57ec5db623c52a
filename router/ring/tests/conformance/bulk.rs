//! Many datagrams, every byte checked.

use std::net::SocketAddr;

use rillway_ring::{Receiver, SocketId, UdpDriver};

use crate::harness::{Inbox, Net, PATIENCE, address, collect, pattern, ready, run_to, send_now};

const DATAGRAMS: usize = 256_000;
/// Datagrams under way at a time: 0.6 MB, which every receive buffer of the suite holds.
const BURST: usize = 512;
const BYTES: usize = 1200;

/// Checks order and content as they come: number, then a slice of the common pattern that depends on
/// the number.
struct Checker {
    pattern: Vec<u8>,
    next: usize,
    wrong: usize,
}

impl Checker {
    fn write(&self, number: usize, datagram: &mut [u8]) {
        datagram[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let start = number % 997;
        datagram[8..].copy_from_slice(&self.pattern[start..start + BYTES - 8]);
    }
}

impl Receiver for Checker {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        let mut expected = [0; BYTES];
        self.write(self.next, &mut expected);
        self.wrong += usize::from(*data != expected);
        self.next += 1;
    }
}

/// Runs of 1 to 16 datagrams, bursts of 512, none lost, none changed, in order.
pub(crate) async fn a_quarter_million_intact(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    let mut checker = Checker {
        pattern: pattern(42, 997 + BYTES),
        next: 0,
        wrong: 0,
    };
    let mut burst = vec![0; BURST * BYTES];
    for first in (0..DATAGRAMS).step_by(BURST) {
        for (index, datagram) in burst.chunks_mut(BYTES).enumerate() {
            checker.write(first + index, datagram);
        }
        let mut rest = &burst[..];
        let mut length = 1;
        while !rest.is_empty() {
            let run = (length * BYTES).min(rest.len());
            sender.send(run_to(to, BYTES, &rest[..run])).unwrap();
            rest = &rest[run..];
            length = length % 16 + 1;
        }
        sender.flush().unwrap();
        burst.fill(0xee);
        let turns = async {
            while checker.next < first + BURST {
                ready(&mut receiver).await;
                receiver.receive(256, &mut checker).unwrap();
            }
        };
        let ended = tokio::time::timeout(PATIENCE, turns).await;
        assert!(
            ended.is_ok(),
            "{} arrived: {:?}",
            checker.next,
            receiver.stats()
        );
    }
    assert_eq!((checker.next, checker.wrong), (DATAGRAMS, 0));
    let (sent, received) = (sender.stats(), receiver.stats());
    assert_eq!(sent.sent_datagrams, DATAGRAMS as u64);
    assert_eq!(sent.sent_bytes, (DATAGRAMS * BYTES) as u64);
    assert_eq!((sent.send_errors, sent.send_full), (0, 0));
    assert_eq!(received.received_datagrams, DATAGRAMS as u64);
    assert_eq!(received.received_bytes, (DATAGRAMS * BYTES) as u64);
    assert!(received.received_batches < DATAGRAMS as u64 / 4);
    eprintln!(
        "{} system calls to send, {} to receive {DATAGRAMS} datagrams",
        sent.syscalls, received.syscalls
    );
}

/// After a flush the slots are free: what is queued next, and not yet flushed, must not reach what is
/// already under way.
pub(crate) async fn buffers_reused_after_flush(net: Net) {
    let (mut sender, mut receiver) = (net.driver(), net.driver());
    let to = address(&receiver);
    let mut inbox = Inbox::default();
    for round in 0..50u8 {
        let before = inbox.0.len();
        let mut mine = vec![round; 8 * BYTES];
        for _ in 0..16 {
            sender.send(run_to(to, BYTES, &mine)).unwrap();
        }
        sender.flush().unwrap();
        mine.fill(0xee);
        // The same slots, other content, held back.
        for _ in 0..16 {
            sender.send(run_to(to, BYTES, &mine)).unwrap();
        }
        collect(&mut receiver, &mut inbox, before + 128).await;
        assert!(
            inbox.payloads()[before..]
                .iter()
                .all(|data| *data == [round; BYTES])
        );
        sender.flush().unwrap();
        collect(&mut receiver, &mut inbox, before + 256).await;
        assert!(
            inbox.payloads()[before + 128..]
                .iter()
                .all(|data| *data == [0xee; BYTES])
        );
        inbox.0.clear();
    }
    send_now(&mut sender, to, 3, b"end");
    collect(&mut receiver, &mut inbox, 1).await;
}
