//! The WebSocket of a client: frames between it and its session, and the limits on both. One after another, where the
//! client can go on with another ([`super::resume`]).

use std::error::Error;
use std::sync::atomic::Ordering;
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
use crate::telemetry::metrics::{Reject, Resumed};

use super::resume::{Kept, Progress, Resumption, Successor};
use super::{Gateway, Open};

/// Time a client has to take our close frame and answer it (RFC 6455 §7.1.1).
const CLOSE_TIME: Duration = Duration::from_secs(2);

type Sink = SplitSink<WebSocket, Message>;
type Stream = SplitStream<WebSocket>;

/// How a WebSocket ends.
enum End {
    /// It is gone.
    Gone(String),
    /// The client closed it.
    Closed(String),
    /// We close it.
    Close(Close),
    /// We close it because a limit was met.
    Reject(Reject, Close),
    /// The client goes on with another.
    Succeeded(Box<Successor>),
}

/// Moves frames until the session ends, or its client is gone for good; then closes the connection and tells the session.
pub(super) async fn run(
    gateway: &Gateway,
    (socket, first): (WebSocket, Option<Message>),
    mut peer: Peer,
    mut resumption: Option<Resumption>,
) {
    let _open = Open::new(&gateway.recorder);
    let mut bucket = Bucket::new(gateway.settings().messages_per_second_max, Instant::now());
    let (mut socket, mut first) = (socket, Vec::from_iter(first));
    loop {
        let (mut sink, mut stream) = socket.split();
        let halves = (&mut sink, &mut stream);
        let both = (&mut peer, &mut bucket);
        let how = serve(gateway, halves, both, resumption.as_mut(), first).await;
        let successor = match (how, &mut resumption) {
            (End::Succeeded(successor), _) => *successor,
            (End::Gone(reason), Some(resumption)) => {
                drop((sink, stream));
                match absent(gateway, &mut peer, resumption, reason).await {
                    Ok(successor) => successor,
                    Err(reason) => return tell(&peer.incoming, reason).await,
                }
            }
            (how, resumption) => {
                // Whoever comes with its key while it is being closed begins anew.
                *resumption = None;
                return end(gateway, &peer.incoming, (sink, stream), how).await;
            }
        };
        let greeting = resumption.as_ref().and_then(|r| r.greeting(&successor));
        gateway.recorder.resumed(match greeting {
            Some(_) => Resumed::Yes,
            None => Resumed::Gap,
        });
        socket = successor.socket;
        first = match greeting {
            Some(greeting) => greeting,
            None => {
                let reason = "messages between its connections are lost";
                tell(&peer.incoming, reason.to_owned()).await;
                let (mut sink, mut stream) = socket.split();
                return hang_up(&mut sink, &mut stream, Close::new(close::ANEW, reason)).await;
            }
        };
    }
}

/// Moves frames by one WebSocket, with what it is sent first.
async fn serve(
    gateway: &Gateway,
    (sink, stream): (&mut Sink, &mut Stream),
    (peer, bucket): (&mut Peer, &mut Bucket),
    resumption: Option<&mut Resumption>,
    first: Vec<Message>,
) -> End {
    let Peer {
        incoming,
        outgoing,
        abort,
    } = peer;
    let (successors, ledger) = match resumption {
        Some(Resumption {
            successors,
            progress,
            kept,
            ..
        }) => (Some(successors), Some((kept, &*progress))),
        None => (None, None),
    };
    let progress = ledger.as_ref().map(|(_, progress)| *progress);
    tokio::select! {
        end = read(stream, (incoming, bucket), gateway, progress) => end,
        end = write(sink, outgoing, gateway, ledger, first) => end,
        end = aborted(abort) => end,
        end = succeeded(successors) => end,
    }
}

async fn succeeded(successors: Option<&mut mpsc::Receiver<Successor>>) -> End {
    if let Some(successors) = successors
        && let Some(successor) = successors.recv().await
    {
        return End::Succeeded(Box::new(successor));
    }
    std::future::pending().await
}

/// Waits for the client to come back, and keeps what it is to be sent then; an error says why it will not.
async fn absent(
    gateway: &Gateway,
    peer: &mut Peer,
    resumption: &mut Resumption,
    reason: String,
) -> Result<Successor, String> {
    let over = tokio::time::sleep(gateway.settings().resume);
    tokio::pin!(over);
    loop {
        let closed = tokio::select! {
            successor = resumption.successors.recv() => match successor {
                Some(successor) => return Ok(successor),
                None => return Err(reason),
            },
            () = &mut over => return Err(reason),
            next = peer.outgoing.next() => match next {
                Some(Outgoing::Frame(frame)) => {
                    gateway.recorder.sent(frame_bytes(&frame));
                    resumption.kept.keep(&message(frame), &resumption.progress);
                    continue;
                }
                Some(Outgoing::Close(close)) => close,
                None => return Err(reason),
            },
            close = &mut peer.abort => match close {
                Ok(close) => close,
                Err(_) => return Err(reason),
            },
        };
        return Err(format!("closed with {}: {}", closed.code, closed.reason));
    }
}

/// Closes a WebSocket whose session does not go on.
async fn end(
    gateway: &Gateway,
    incoming: &mpsc::Sender<Incoming>,
    (mut sink, mut stream): (Sink, Stream),
    how: End,
) {
    let close = match how {
        End::Closed(reason) => {
            tell(incoming, reason).await;
            return read_to_end(&mut stream).await;
        }
        End::Close(close) => close,
        End::Reject(cause, close) => {
            gateway.recorder.rejected(cause);
            close
        }
        End::Gone(reason) => return tell(incoming, reason).await,
        // Where there is no resumption nothing succeeds.
        End::Succeeded(_) => return,
    };
    // The session hears of it first: a client that does not answer shall not stay in its room.
    let reason = format!("closed with {}: {}", close.code, close.reason);
    tell(incoming, reason).await;
    hang_up(&mut sink, &mut stream, close).await;
}

async fn tell(incoming: &mpsc::Sender<Incoming>, reason: String) {
    // An error means that the session has ended already.
    let _ = incoming.send(Incoming::Closed(reason)).await;
}

/// What the client sends, until a limit is met or it is gone.
async fn read(
    stream: &mut Stream,
    (incoming, bucket): (&mpsc::Sender<Incoming>, &mut Bucket),
    gateway: &Gateway,
    progress: Option<&Progress>,
) -> End {
    let settings = gateway.settings();
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
            Message::Pong(payload) => {
                progress.inspect(|progress| progress.pong(&payload));
                continue;
            }
            Message::Ping(_) => continue,
            Message::Close(frame) => {
                let goes_on = frame.as_ref().is_some_and(|f| f.code == close::GOES_ON);
                let reason = closed_by_client(frame);
                return match goes_on && progress.is_some() {
                    true => End::Gone(reason),
                    false => End::Closed(reason),
                };
            }
        };
        gateway.recorder.received(frame_bytes(&frame));
        if incoming.send(Incoming::Frame(frame)).await.is_err() {
            return session_lost();
        }
        // Only what has arrived: the rest is sent again, if another WebSocket takes over in between.
        if let Some(progress) = progress {
            progress.received.fetch_add(1, Ordering::Relaxed);
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

/// What it is to be sent first, then what the session sends, and pings between.
async fn write(
    sink: &mut Sink,
    outgoing: &mut OutgoingQueue,
    gateway: &Gateway,
    mut ledger: Option<(&mut Kept, &Progress)>,
    first: Vec<Message>,
) -> End {
    for message in first {
        if let Err(error) = sink.send(message).await {
            return End::Gone(format!("connection lost: {error}"));
        }
    }
    let ping_interval = gateway.settings().ping_interval;
    let first = tokio::time::Instant::now() + ping_interval;
    let mut ping = tokio::time::interval_at(first, ping_interval);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            next = outgoing.next() => match next {
                Some(Outgoing::Frame(frame)) => {
                    gateway.recorder.sent(frame_bytes(&frame));
                    let message = message(frame);
                    if let Some((kept, progress)) = &mut ledger {
                        kept.keep(&message, progress);
                    }
                    message
                }
                Some(Outgoing::Close(close)) => return End::Close(close),
                None => return session_lost(),
            },
            _ = ping.tick() => Message::Ping(match &ledger {
                Some((kept, _)) => kept.sent().to_be_bytes().to_vec().into(),
                None => Vec::new().into(),
            }),
        };
        if let Err(error) = sink.send(message).await {
            return End::Gone(format!("connection lost: {error}"));
        }
    }
}

fn message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Binary(bytes) => Message::Binary(bytes.into()),
    }
}

async fn aborted(abort: &mut oneshot::Receiver<Close>) -> End {
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
