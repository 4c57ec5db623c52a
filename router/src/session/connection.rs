//! The two ends of a client connection: the gateway moves frames and requests, the session gives them
//! meaning.
//!
//! Both directions are bounded. Toward the session the gateway waits, so that a client that sends
//! faster than it is served is slowed down by TCP. Toward the client nobody waits: a client that
//! does not read is closed once its queue is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rillway_plugin_sdk::signaling::{Frame, HttpRequest, HttpResponse, Opened};
use tokio::sync::{mpsc, oneshot};

use crate::telemetry::traces::Place;

use super::trail::Arrival;

/// Frames of a client waiting for its session. A few, so that one burst is taken at once.
const INCOMING_MAX: usize = 16;
/// Frames waiting for a client that is slow to read. Joining a room of 1,000 is one frame, but
/// 1,000 clients that join at once are 1,000 frames for everybody.
const OUTGOING_FRAMES_MAX: usize = 4_096;
/// Bytes waiting for a client that is slow to read. With all clients stuck at once this is what a
/// connection can cost.
const OUTGOING_BYTES_MAX: usize = 4 << 20;
/// Longest reason a close frame may carry: a control frame holds 125 bytes, two are the code
/// (RFC 6455 §5.5).
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// WebSocket close codes (RFC 6455 §7.4.1; 4000–4999 are ours, see `docs/protocol-rooms.md`).
pub(crate) mod close {
    /// All is said.
    pub(crate) const NORMAL: u16 = 1000;
    /// The router is going away.
    pub(crate) const GOING_AWAY: u16 = 1001;
    /// The client broke RFC 6455.
    pub(crate) const PROTOCOL_ERROR: u16 = 1002;
    /// From the client: it goes on with another connection.
    pub(crate) const GOES_ON: u16 = 4002;
    /// Text that is not UTF-8 (RFC 6455 §8.1).
    pub(crate) const INVALID_TEXT: u16 = 1007;
    /// Our fault.
    pub(crate) const INTERNAL: u16 = 1011;
    /// Too large or too fast, in either direction.
    pub(crate) const EXCESS: u16 = 4008;
    /// Silent too long.
    pub(crate) const IDLE: u16 = 4009;
    /// It cannot go on with this connection: it has to begin anew.
    pub(crate) const ANEW: u16 = 4010;
    /// Fault in the policy plugin.
    pub(crate) const PLUGIN_FAULT: u16 = 4011;
    /// Not now: the policy plugin takes no more clients, or has failed too often.
    pub(crate) const UNAVAILABLE: u16 = 4013;
}

/// Why and how a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    /// Close code.
    pub(crate) code: u16,
    /// For people; at most 123 bytes.
    pub(crate) reason: String,
}

impl Close {
    /// Cuts the reason to what a close frame can carry.
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX));
        Close { code, reason }
    }
}

/// From the gateway to the session.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The client sent a frame.
    Frame(Frame),
    /// The client sent a request.
    Request(Exchange),
    /// The connection is gone; nothing follows.
    Closed(String),
}

/// An HTTP request and the way of its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request; the session gives it its id.
    pub(crate) request: HttpRequest,
    /// Where the answer goes. Dropped without one, it is a fault of ours.
    pub(crate) answer: oneshot::Sender<Answer>,
    /// Where spans of what becomes of it belong.
    pub(crate) place: Place,
}

/// What becomes of an HTTP request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The plugin's answer.
    Response(HttpResponse),
    /// The client's session ended before it.
    Gone,
    /// Too many requests of this client wait already.
    Busy,
    /// The router is going away.
    Closing,
    /// The plugin failed.
    Fault,
    /// The plugin takes no client now.
    Unavailable,
}

impl Answer {
    /// What a request gets whose client is closed so.
    pub(crate) fn of(close: &Close) -> Self {
        match close.code {
            close::GOING_AWAY => Answer::Closing,
            close::UNAVAILABLE => Answer::Unavailable,
            _ => Answer::Fault,
        }
    }
}

/// From the session to the gateway.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Send this.
    Frame(Frame),
    /// Close after what was sent before.
    Close(Close),
}

/// The session's end.
#[derive(Debug)]
pub(crate) struct Connection {
    /// How the client connected.
    pub(crate) opened: Opened,
    /// What it sends.
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    /// How it is reached.
    pub(crate) way: Way,
    /// Where spans of its session belong.
    pub(crate) arrival: Arrival,
}

/// How a client is reached.
#[derive(Debug)]
pub(crate) enum Way {
    /// By frames of its WebSocket connection.
    Socket(Outbox),
    /// By answers to its requests.
    Requests,
}

/// The gateway's end.
#[derive(Debug)]
pub(crate) struct Peer {
    /// To the session; full means wait.
    pub(crate) incoming: mpsc::Sender<Incoming>,
    /// From the session.
    pub(crate) outgoing: OutgoingQueue,
    /// Close at once, whatever is still queued.
    pub(crate) abort: oneshot::Receiver<Close>,
}

/// Makes a client over HTTP: its session's end, and where its requests go.
pub(crate) fn resource(opened: Opened) -> (Connection, mpsc::Sender<Incoming>) {
    let (sender, incoming) = mpsc::channel(INCOMING_MAX);
    let connection = Connection {
        opened,
        incoming,
        way: Way::Requests,
        arrival: Arrival::default(),
    };
    (connection, sender)
}

/// Makes the two ends of a WebSocket connection.
pub(crate) fn pair(opened: Opened) -> (Connection, Peer) {
    let (incoming_sender, incoming) = mpsc::channel(INCOMING_MAX);
    let (outgoing_sender, outgoing) = mpsc::channel(OUTGOING_FRAMES_MAX);
    let (abort_sender, abort) = oneshot::channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let connection = Connection {
        opened,
        incoming,
        way: Way::Socket(Outbox {
            queue: outgoing_sender,
            bytes: bytes.clone(),
            abort: Some(abort_sender),
        }),
        arrival: Arrival::default(),
    };
    let peer = Peer {
        incoming: incoming_sender,
        outgoing: OutgoingQueue {
            queue: outgoing,
            bytes,
        },
        abort,
    };
    (connection, peer)
}

/// The client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow;

/// The session's side of the bounded queue to the client.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
    abort: Option<oneshot::Sender<Close>>,
}

impl Outbox {
    /// Queues a frame; one for a connection that is gone is dropped.
    ///
    /// # Errors
    /// [`Overflow`] when a bound is met; the caller closes the connection.
    pub(crate) fn send(&mut self, frame: Frame) -> Result<(), Overflow> {
        let bytes = frame_bytes(&frame);
        if self.bytes.load(Ordering::Relaxed) + bytes > OUTGOING_BYTES_MAX {
            return Err(Overflow);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.queue.try_send(Outgoing::Frame(frame)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
        }
    }

    /// Closes the connection after everything queued has left.
    pub(crate) fn close(&mut self, close: Close) {
        if let Err(mpsc::error::TrySendError::Full(Outgoing::Close(close))) =
            self.queue.try_send(Outgoing::Close(close))
        {
            self.abort(close);
        }
    }

    /// Closes the connection at once, whatever is queued.
    pub(crate) fn abort(&mut self, close: Close) {
        if let Some(abort) = self.abort.take() {
            // An error means that the gateway's end is gone, which is what was wanted.
            let _ = abort.send(close);
        }
    }
}

/// The gateway's side of the bounded queue to the client.
#[derive(Debug)]
pub(crate) struct OutgoingQueue {
    queue: mpsc::Receiver<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

impl OutgoingQueue {
    /// The next thing to do; `None` when the session is gone.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        let next = self.queue.recv().await;
        if let Some(Outgoing::Frame(frame)) = &next {
            self.bytes.fetch_sub(frame_bytes(frame), Ordering::Relaxed);
        }
        next
    }
}

/// Bytes of a frame's payload.
pub(crate) fn frame_bytes(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.len(),
        Frame::Binary(bytes) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Frame {
        Frame::Text("x".repeat(bytes))
    }

    fn open() -> (Outbox, Peer) {
        let (connection, peer) = pair(Opened::default());
        match connection.way {
            Way::Socket(outbox) => (outbox, peer),
            Way::Requests => panic!("a WebSocket has an outbox"),
        }
    }

    #[tokio::test]
    async fn frames_and_close_keep_their_order() {
        let (mut outbox, mut peer) = open();
        outbox.send(text(3)).unwrap();
        outbox.close(Close::new(close::NORMAL, "bye"));
        assert!(matches!(peer.outgoing.next().await, Some(Outgoing::Frame(f)) if f == text(3)));
        assert!(matches!(peer.outgoing.next().await, Some(Outgoing::Close(c)) if c.code == 1000));
        drop(outbox);
        assert!(peer.outgoing.next().await.is_none());
    }

    #[tokio::test]
    async fn bytes_and_frames_are_bounded_and_given_back() {
        let (mut outbox, mut peer) = open();
        for _ in 0..4 {
            outbox.send(text(1 << 20)).unwrap();
        }
        assert_eq!(outbox.send(text(1)), Err(Overflow));
        peer.outgoing.next().await.unwrap();
        outbox.send(text(1 << 20)).unwrap();

        let (mut outbox, mut peer) = open();
        for _ in 0..OUTGOING_FRAMES_MAX {
            outbox.send(text(1)).unwrap();
        }
        assert_eq!(outbox.send(text(1)), Err(Overflow));
        outbox.close(Close::new(close::NORMAL, ""));
        assert_eq!(
            peer.abort.try_recv().unwrap().code,
            close::NORMAL,
            "a close that finds no room goes round the queue"
        );
    }

    #[test]
    fn a_close_reason_fits_a_control_frame() {
        assert_eq!(Close::new(4000, "é".repeat(100)).reason.len(), 122);
        assert_eq!(Close::new(4000, "fine").reason, "fine");
    }
}
