//! What every driver does with a received message and a run to send.

use std::net::SocketAddr;

use crate::bookkeeping::control::Controls;
use crate::bookkeeping::outbox::Outbox;
use crate::driver::{DriverStats, Receiver, SendError, SendRun, SocketId};

/// One message as the kernel gave it: a datagram, or several joined by GRO.
pub(crate) struct Arrival<'a> {
    pub(crate) source: Option<SocketAddr>,
    pub(crate) payload: &'a mut [u8],
    pub(crate) controls: Controls,
    pub(crate) truncated: bool,
}

/// Hands a message over datagram by datagram and counts. Returns how many.
pub(crate) fn deliver(
    socket: SocketId,
    arrival: &mut Arrival<'_>,
    stats: &mut DriverStats,
    receiver: &mut dyn Receiver,
) -> usize {
    if arrival.truncated {
        stats.received_truncated += 1;
        return 0;
    }
    // Only IP sockets are bound, so the kernel always names an IP sender.
    let Some(source) = arrival.source else {
        return 0;
    };
    let bytes = arrival.payload.len();
    let segment_bytes = arrival.controls.segment_bytes.unwrap_or(bytes).max(1);
    receiver.message(arrival.controls.arrived);
    let mut count = 0;
    if bytes == 0 {
        receiver.datagram(socket, source, arrival.payload);
        count = 1;
    } else {
        for datagram in arrival.payload.chunks_mut(segment_bytes) {
            receiver.datagram(socket, source, datagram);
            count += 1;
        }
    }
    stats.received_datagrams += count as u64;
    stats.received_bytes += bytes as u64;
    count
}

/// Queues a run and counts.
pub(crate) fn enqueue(
    outbox: &mut Outbox,
    run: SendRun<'_>,
    segmentation: bool,
    stats: &mut DriverStats,
) -> Result<(), SendError> {
    match outbox.push(run, segmentation) {
        Ok(datagrams) => {
            stats.sent_runs += 1;
            stats.sent_datagrams += datagrams as u64;
            stats.sent_bytes += run.payload.len() as u64;
            Ok(())
        }
        Err(error) => {
            stats.send_full += u64::from(error == SendError::Full);
            Err(error)
        }
    }
}
