use std::task::{Context, Poll};

use rillway_ring::{DriverStats, Receiver};

use super::*;

/// Records runs; refuses with `Full` once `slots` are in use until the next flush.
#[derive(Default)]
struct Recorder {
    runs: Vec<(u16, SocketAddr, usize, Vec<u8>)>,
    slots: usize,
    used: usize,
    flushes: usize,
    frees_on_flush: bool,
}

impl Recorder {
    fn with_slots(slots: usize, frees_on_flush: bool) -> Self {
        Recorder {
            slots,
            frees_on_flush,
            ..Recorder::default()
        }
    }

    /// Every datagram in the order it would leave, per destination and socket.
    fn datagrams(&self) -> Vec<(u16, SocketAddr, Vec<u8>)> {
        self.runs
            .iter()
            .flat_map(|(socket, destination, segment, payload)| {
                payload
                    .chunks(*segment)
                    .map(|chunk| (*socket, *destination, chunk.to_vec()))
            })
            .collect()
    }
}

impl UdpDriver for Recorder {
    fn local_addresses(&self) -> &[SocketAddr] {
        &[]
    }
    fn receive(&mut self, _: usize, _: &mut dyn Receiver) -> io::Result<usize> {
        Ok(0)
    }
    fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        if run.payload.is_empty() || run.segment_bytes == 0 {
            return Err(SendError::Invalid);
        }
        if self.used == self.slots {
            return Err(SendError::Full);
        }
        self.used += 1;
        self.runs.push((
            run.socket.0,
            run.destination,
            run.segment_bytes,
            run.payload.to_vec(),
        ));
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        if self.frees_on_flush {
            self.used = 0;
        }
        Ok(())
    }
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
    fn stats(&self) -> DriverStats {
        DriverStats::default()
    }
    fn shutdown(&mut self) {}
}

fn to(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn send_all(driver: &mut Recorder, buffer: &mut RunBuffer, datagrams: &[(u16, u16, Vec<u8>)]) {
    let mut sender = buffer.sender(driver);
    for (socket, port, contents) in datagrams {
        sender.transmit(rillway_core::id::SocketId(*socket), to(*port), contents);
    }
    sender.finish().expect("the recorder never fails");
}

#[test]
fn equal_datagrams_and_a_shorter_last_one_make_one_run() {
    let mut driver = Recorder::with_slots(100, true);
    let mut buffer = RunBuffer::new();
    let datagrams: Vec<_> = [1200, 1200, 1200, 700]
        .iter()
        .map(|&n| (0, 5000, vec![7; n]))
        .collect();
    send_all(&mut driver, &mut buffer, &datagrams);
    assert_eq!(driver.runs.len(), 1);
    assert_eq!(driver.runs[0].2, 1200);
    assert_eq!(driver.runs[0].3.len(), 3 * 1200 + 700);
}

#[test]
fn a_short_segment_ends_its_run_and_a_longer_one_starts_another() {
    let mut driver = Recorder::with_slots(100, true);
    let mut buffer = RunBuffer::new();
    let datagrams: Vec<_> = [1200, 700, 1200, 1201, 3]
        .iter()
        .map(|&n| (0, 5000, vec![1; n]))
        .collect();
    send_all(&mut driver, &mut buffer, &datagrams);
    let shapes: Vec<_> = driver.runs.iter().map(|r| (r.2, r.3.len())).collect();
    assert_eq!(shapes, [(1200, 1900), (1200, 1200), (1201, 1204)]);
}

#[test]
fn destination_and_socket_change_end_a_run() {
    let mut driver = Recorder::with_slots(100, true);
    let mut buffer = RunBuffer::new();
    let datagrams = [(0, 1, vec![1; 9]), (0, 2, vec![2; 9]), (1, 2, vec![3; 9])];
    send_all(&mut driver, &mut buffer, &datagrams);
    assert_eq!(driver.runs.len(), 3);
}

#[test]
fn runs_stay_within_bytes_and_segments() {
    let mut driver = Recorder::with_slots(1000, true);
    let mut buffer = RunBuffer::new();
    let mut datagrams: Vec<_> = (0..200).map(|_| (0, 1, vec![0; 10])).collect();
    datagrams.extend((0..200).map(|_| (0, 2, vec![0; 1400])));
    send_all(&mut driver, &mut buffer, &datagrams);
    for (_, _, segment, payload) in &driver.runs {
        assert!(payload.len() <= RUN_BYTES_MAX);
        assert!(payload.len().div_ceil(*segment) <= RUN_SEGMENTS_MAX);
    }
    assert_eq!(driver.datagrams().len(), 400);
}

#[test]
fn a_full_queue_is_flushed_and_tried_again() {
    let mut driver = Recorder::with_slots(1, true);
    let mut buffer = RunBuffer::new();
    let datagrams: Vec<_> = (1..6).map(|port| (0, port, vec![0; 5])).collect();
    send_all(&mut driver, &mut buffer, &datagrams);
    assert_eq!(driver.runs.len(), 5);
    assert_eq!(buffer.stats(), TransmitStats::default());
}

#[test]
fn what_does_not_fit_after_a_flush_is_dropped_and_counted_by_datagram() {
    let mut driver = Recorder::with_slots(1, false);
    let mut buffer = RunBuffer::new();
    let datagrams = [
        (0, 1, vec![0; 5]),
        (0, 2, vec![0; 5]),
        (0, 2, vec![0; 5]),
        (0, 2, vec![0; 4]),
    ];
    send_all(&mut driver, &mut buffer, &datagrams);
    assert_eq!(driver.runs.len(), 1);
    assert_eq!(buffer.stats().dropped_full, 3);
}

#[test]
fn an_empty_datagram_is_counted_and_spoils_nothing() {
    let mut driver = Recorder::with_slots(100, true);
    let mut buffer = RunBuffer::new();
    let datagrams = [(0, 1, vec![1; 5]), (0, 1, vec![]), (0, 1, vec![2; 5])];
    send_all(&mut driver, &mut buffer, &datagrams);
    assert_eq!(buffer.stats().dropped_invalid, 1);
    assert_eq!(driver.datagrams().len(), 2);
}

#[test]
fn a_run_of_the_shard_goes_out_as_it_is_and_in_its_place() {
    let mut driver = Recorder::with_slots(100, true);
    let mut buffer = RunBuffer::new();
    let mut sender = buffer.sender(&mut driver);
    let socket = rillway_core::id::SocketId(0);
    sender.transmit(socket, to(5_000), &[1; 300]);
    sender.transmit_run(socket, to(5_000), 300, &[2; 700]);
    sender.transmit(socket, to(5_000), &[3; 300]);
    sender.finish().expect("the recorder never fails");
    let shapes: Vec<_> = driver.runs.iter().map(|r| (r.2, r.3.len())).collect();
    assert_eq!(shapes, [(300, 300), (300, 700), (300, 300)]);
    assert_eq!(driver.runs[1].3, [2; 700]);
}

#[test]
fn a_run_that_does_not_fit_is_counted_by_datagram() {
    let mut driver = Recorder::with_slots(0, false);
    let mut buffer = RunBuffer::new();
    let mut sender = buffer.sender(&mut driver);
    sender.transmit_run(rillway_core::id::SocketId(0), to(1), 100, &[0; 250]);
    sender.finish().expect("the recorder never fails");
    assert_eq!(buffer.stats().dropped_full, 3);
}

#[test]
fn order_and_contents_survive_any_pattern() {
    let mut driver = Recorder::with_slots(10_000, true);
    let mut buffer = RunBuffer::new();
    let mut state: u32 = 0x1234_5678;
    let mut next = move |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % bound
    };
    let datagrams: Vec<_> = (0..5_000_u32)
        .map(|i| {
            let length = [4, 40, 1200, 1200, 1200, 1350][next(6) as usize];
            let mut contents = vec![0; length];
            contents[..4].copy_from_slice(&i.to_be_bytes());
            (next(2) as u16, 1 + next(2) as u16, contents)
        })
        .collect();
    for turn in datagrams.chunks(97) {
        send_all(&mut driver, &mut buffer, turn);
    }
    let expected: Vec<_> = datagrams
        .iter()
        .map(|(socket, port, contents)| (*socket, to(*port), contents.clone()))
        .collect();
    assert_eq!(driver.datagrams(), expected);
    assert!(driver.runs.len() < datagrams.len());
}
