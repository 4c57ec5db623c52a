//! Packets of one receiver next to each other, so that a driver sends many with one call (UDP GSO): all of
//! a run have one length but the last, which may be shorter.

use std::net::SocketAddr;

use crate::id::SocketId;
use crate::shard::Transmit;

/// Room for one packet: more than a header with all extensions, the largest payload, what RTX puts before
/// it, and a tag.
pub(crate) const SLOT_BYTES: usize = 1_792;

/// Most packets of a run: `UDP_MAX_SEGMENTS` was 64 before Linux 6.9, and more would gain nothing.
const RUN_PACKETS: usize = 64;

/// Most bytes of a run: one IP packet must hold what the kernel gets in one send.
const RUN_BYTES: usize = 64_000;

/// Where a receiver is, and the socket it is reached from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) socket: SocketId,
    pub(crate) destination: SocketAddr,
    /// It is a TCP connection.
    pub(crate) stream: bool,
}

/// The slots of a worker, used again for every receiver and so always in the cache.
#[derive(Debug)]
pub(crate) struct Train {
    bytes: Box<[u8]>,
    /// Where the open run begins.
    begin: usize,
    end: usize,
    packets: usize,
    /// Length of its packets.
    packet_bytes: usize,
    /// Its last packet was shorter.
    complete: bool,
    /// It is video on a TCP connection.
    dispensable: bool,
}

impl Train {
    /// Makes room for a run and the packet after it.
    pub(crate) fn new() -> Self {
        Train {
            bytes: vec![0; RUN_BYTES + SLOT_BYTES].into_boxed_slice(),
            begin: 0,
            end: 0,
            packets: 0,
            packet_bytes: 0,
            complete: false,
            dispensable: false,
        }
    }

    /// The slot of the next packet.
    pub(crate) fn slot(&mut self, route: Route, out: &mut dyn Transmit) -> &mut [u8] {
        if self.bytes.len() - self.end < SLOT_BYTES {
            self.send(route, out);
        }
        let end = self.end;
        self.bytes
            .get_mut(end..end + SLOT_BYTES)
            .unwrap_or_default()
    }

    /// A packet of this length is complete in the slot. What is dispensable where a TCP connection does
    /// not keep up shares no run with what is not; for UDP that makes no difference.
    pub(crate) fn couple(
        &mut self,
        bytes: usize,
        dispensable: bool,
        route: Route,
        out: &mut dyn Transmit,
    ) {
        let dispensable = dispensable && route.stream;
        let fits = !self.complete
            && dispensable == self.dispensable
            && bytes <= self.packet_bytes
            && self.packets < RUN_PACKETS
            && self.end - self.begin + bytes <= RUN_BYTES;
        if self.packets > 0 && !fits {
            self.hand_out(route, out);
        }
        if self.packets == 0 {
            self.packet_bytes = bytes;
            self.complete = false;
            self.dispensable = dispensable;
        }
        self.complete |= bytes < self.packet_bytes;
        self.packets += 1;
        self.end += bytes;
    }

    /// Hands out what is there. The slots are free again.
    pub(crate) fn send(&mut self, route: Route, out: &mut dyn Transmit) {
        if self.packets > 0 {
            self.hand_out(route, out);
        }
        self.begin = 0;
        self.end = 0;
    }

    /// Forgets what is there.
    pub(crate) fn abandon(&mut self) {
        self.begin = 0;
        self.end = 0;
        self.packets = 0;
    }

    fn hand_out(&mut self, route: Route, out: &mut dyn Transmit) {
        if let Some(run) = self.bytes.get(self.begin..self.end) {
            let Route {
                socket,
                destination,
                ..
            } = route;
            match self.dispensable {
                true => out.transmit_dispensable_run(socket, destination, self.packet_bytes, run),
                false => out.transmit_run(socket, destination, self.packet_bytes, run),
            }
        }
        self.begin = self.end;
        self.packets = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Runs(Vec<(usize, Vec<u8>)>);

    impl Transmit for Runs {
        fn transmit(&mut self, _: SocketId, _: SocketAddr, _: &[u8]) {
            panic!("a run is handed out whole");
        }

        fn transmit_run(&mut self, _: SocketId, _: SocketAddr, bytes: usize, run: &[u8]) {
            self.0.push((bytes, run.to_vec()));
        }
    }

    fn route() -> Route {
        Route {
            socket: SocketId(0),
            destination: "10.0.0.1:1".parse().unwrap(),
            stream: false,
        }
    }

    fn sent(lengths: &[usize]) -> Vec<(usize, Vec<u8>)> {
        let (mut train, mut runs) = (Train::new(), Runs::default());
        for (number, length) in lengths.iter().enumerate() {
            let slot = train.slot(route(), &mut runs);
            slot[..*length].fill(number as u8);
            train.couple(*length, true, route(), &mut runs);
        }
        train.send(route(), &mut runs);
        runs.0
    }

    #[test]
    fn a_shorter_packet_completes_a_run_and_a_longer_one_begins_another() {
        let shapes: Vec<(usize, usize)> = sent(&[1_200, 1_200, 700, 700, 1_200, 1_300])
            .iter()
            .map(|(bytes, run)| (*bytes, run.len()))
            .collect();
        assert_eq!(
            shapes,
            [(1_200, 3_100), (700, 700), (1_200, 1_200), (1_300, 1_300)]
        );
    }

    /// By whether it is dispensable.
    #[derive(Default)]
    struct Classes(Vec<(bool, usize)>);

    impl Transmit for Classes {
        fn transmit(&mut self, _: SocketId, _: SocketAddr, _: &[u8]) {
            panic!("a run is handed out whole");
        }

        fn transmit_run(&mut self, _: SocketId, _: SocketAddr, _: usize, run: &[u8]) {
            self.0.push((false, run.len()));
        }

        fn transmit_dispensable_run(&mut self, _: SocketId, _: SocketAddr, _: usize, run: &[u8]) {
            self.0.push((true, run.len()));
        }
    }

    #[test]
    fn video_for_a_connection_shares_no_run_with_the_rest() {
        for (stream, expected) in [
            (true, vec![(true, 2_400), (false, 1_200), (true, 1_200)]),
            (false, vec![(false, 4_800)]),
        ] {
            let (mut train, mut classes) = (Train::new(), Classes::default());
            let route = Route { stream, ..route() };
            for dispensable in [true, true, false, true] {
                train.slot(route, &mut classes);
                train.couple(1_200, dispensable, route, &mut classes);
            }
            train.send(route, &mut classes);
            assert_eq!(classes.0, expected);
        }
    }

    #[test]
    fn every_packet_leaves_once_in_order_and_within_the_bounds() {
        let mut state = 7_u32;
        let lengths: Vec<usize> = (0..5_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                [40, 1_200, 1_200, 1_200, 1_500][(state >> 8) as usize % 5]
            })
            .collect();
        let runs = sent(&lengths);
        let mut expected = lengths.iter().enumerate();
        for (bytes, run) in &runs {
            assert!(run.len() <= RUN_BYTES && run.len().div_ceil(*bytes) <= RUN_PACKETS);
            for packet in run.chunks(*bytes) {
                let (number, length) = expected.next().unwrap();
                assert_eq!(packet, vec![number as u8; *length]);
            }
        }
        assert_eq!(expected.next(), None);
        assert!(runs.len() < lengths.len() / 2);
        assert!(sent(&[]).is_empty());
    }

    #[test]
    fn a_burst_of_small_packets_stays_within_the_segments_of_the_kernel() {
        let runs = sent(&[100; 200]);
        let counts: Vec<usize> = runs.iter().map(|(_, run)| run.len() / 100).collect();
        assert_eq!(counts, [64, 64, 64, 8]);
    }
}
