//! One WebSocket connection: frames between the client and its session, and the limits on both.

use std::error::Error;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rillway_plugin_sdk::signaling::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tungstenite::Error as WsError;
use tungstenite::error::ProtocolError;

use crate::rate::Bucket;
use crate::session::{Close, Incoming, Outgoing, OutgoingQueue, Peer, close, frame_bytes};
use crate::telemetry::metrics::Reject;

use super::{Gateway, Open};

/// Time a client has to take our close frame and answer it (RFC 6455 §7.1.1).
const CLOSE_TIME: Duration = Duration::from_secs(2);

type Sink = SplitSink<WebSocket, Message>;
type Stream = SplitStream<WebSocket>;

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// It is gone.
    Gone(String),
    /// The client closed it.
    Closed(String),
    /// We close it.
    Close(Close),
    /// We close it because a limit was met.
    Reject(Reject, Close),
}

/// Moves frames until the connection ends, then closes it and tells the session.
pub(super) async fn run(gateway: &Gateway, socket: WebSocket, peer: Peer) {
    let _open = Open::new(&gateway.recorder);
    let Peer {
        incoming,
        mut outgoing,
        abort,
    } = peer;
    let (mut sink, mut stream) = socket.split();
    let end = tokio::select! {
        end = read(&mut stream, &incoming, gateway) => end,
        end = write(&mut sink, &mut outgoing, gateway) => end,
        end = aborted(abort) => end,
    };
    let close = match end {
        End::Gone(reason) => return tell(&incoming, reason).await,
        End::Closed(reason) => {
            tell(&incoming, reason).await;
            return read_to_end(&mut stream).await;
        }
        End::Close(close) => close,
        End::Reject(cause, close) => {
            gateway.recorder.rejected(cause);
            close
        }
    };
    // The session hears of it first: a client that does not answer shall not stay in its room.
    let reason = format!("closed with {}: {}", close.code, close.reason);
    tell(&incoming, reason).await;
    hang_up(&mut sink, &mut stream, close).await;
}

async fn tell(incoming: &mpsc::Sender<Incoming>, reason: String) {
    // An error means that the session has ended already.
    let _ = incoming.send(Incoming::Closed(reason)).await;
}

/// What the client sends, until a limit is met or it is gone.
async fn read(stream: &mut Stream, incoming: &mpsc::Sender<Incoming>, gateway: &Gateway) -> End {
    let settings = gateway.settings();
    let mut bucket = Bucket::new(settings.messages_per_second_max, Instant::now());
    loop {
        let message = match tokio::time::timeout(settings.idle_timeout, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return failed(&error),
            Ok(None) => return End::Gone("connection lost".to_owned()),
            Err(_) => {
                return End::Reject(Reject::Idle, Close::new(close::IDLE, "silent too long"));
            }
        };
        if !bucket.take(Instant::now()) {
            let reason = format!(
                "more than {} messages per second",
                settings.messages_per_second_max
            );
            return End::Reject(Reject::MessageRate, Close::new(close::EXCESS, reason));
        }
        let frame = match message {
            Message::Text(text) => Frame::Text(text.to_string()),
            Message::Binary(bytes) => Frame::Binary(bytes.into()),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(frame) => return End::Closed(closed_by_client(frame)),
        };
        gateway.recorder.received(frame_bytes(&frame));
        if incoming.send(Incoming::Frame(frame)).await.is_err() {
            return session_lost();
        }
    }
}

fn closed_by_client(frame: Option<CloseFrame>) -> String {
    match frame {
        Some(frame) => format!("client closed with {}", frame.code),
        None => "client closed".to_owned(),
    }
}

/// What we make of an error of the WebSocket: a message above the limit, a client that breaks
/// RFC 6455, or a lost connection.
fn failed(error: &axum::Error) -> End {
    let source = error.source().and_then(|s| s.downcast_ref::<WsError>());
    match source {
        Some(WsError::Capacity(_)) => End::Reject(
            Reject::MessageTooLong,
            Close::new(close::EXCESS, "message above the size limit"),
        ),
        Some(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) | None => {
            End::Gone(format!("connection lost: {error}"))
        }
        Some(WsError::Protocol(error)) => End::Reject(
            Reject::BadMessage,
            Close::new(close::PROTOCOL_ERROR, error.to_string()),
        ),
        // RFC 6455 §8.1.
        Some(WsError::Utf8(_)) => End::Reject(
            Reject::BadMessage,
            Close::new(close::INVALID_TEXT, "text that is not UTF-8"),
        ),
        Some(_) => End::Gone(format!("connection lost: {error}")),
    }
}

/// What the session sends, and pings between.
async fn write(sink: &mut Sink, outgoing: &mut OutgoingQueue, gateway: &Gateway) -> End {
    let ping_interval = gateway.settings().ping_interval;
    let first = tokio::time::Instant::now() + ping_interval;
    let mut ping = tokio::time::interval_at(first, ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            next = outgoing.next() => match next {
                Some(Outgoing::Frame(frame)) => {
                    gateway.recorder.sent(frame_bytes(&frame));
                    match frame {
                        Frame::Text(text) => Message::Text(text.into()),
                        Frame::Binary(bytes) => Message::Binary(bytes.into()),
                    }
                }
                Some(Outgoing::Close(close)) => return End::Close(close),
                None => return session_lost(),
            },
            _ = ping.tick() => Message::Ping(Vec::new().into()),
        };
        if let Err(error) = sink.send(message).await {
            return End::Gone(format!("connection lost: {error}"));
        }
    }
}

async fn aborted(abort: oneshot::Receiver<Close>) -> End {
    match abort.await {
        Ok(close) if close.code == close::EXCESS => End::Reject(Reject::SlowReader, close),
        Ok(close) => End::Close(close),
        Err(_) => session_lost(),
    }
}

/// The session ended without a word: a fault of ours.
fn session_lost() -> End {
    End::Close(Close::new(close::INTERNAL, "internal error"))
}

/// Closes with a handshake.
async fn hang_up(sink: &mut Sink, stream: &mut Stream, close: Close) {
    let frame = CloseFrame {
        code: close.code,
        reason: close.reason.into(),
    };
    let sent = tokio::time::timeout(CLOSE_TIME, sink.send(Message::Close(Some(frame)))).await;
    if matches!(sent, Ok(Ok(()))) {
        read_to_end(stream).await;
    }
}

/// Reads until the connection ends, which also sends the answer to a close frame. Whoever closes a
/// TCP connection with unread data on it resets it, and the client might lose the close frame.
async fn read_to_end(stream: &mut Stream) {
    // A client that does not close in time is disconnected.
    let _ = tokio::time::timeout(CLOSE_TIME, async {
        while let Some(Ok(_)) = stream.next().await {}
    })
    .await;
}
