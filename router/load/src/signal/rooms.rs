//! Clients of Rillway's rooms protocol, version 1 (`docs/protocol-rooms.md`).

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Client, JOIN_TIME, JoinError, reply};
use crate::marker::Medium;
use crate::peer::PeerError;
use crate::server::Stream;
use crate::thread::Command;

const PATH: &str = "/signal/rooms";
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("rillway.rooms.v1");
const JOIN: u64 = 1;
const PUBLISH: u64 = 2;

type Connected = oneshot::Receiver<Result<(), PeerError>>;

/// Joins, stays, and leaves.
pub(crate) async fn run(client: &mut Client) -> Result<(), JoinError> {
    let deadline = Instant::now() + JOIN_TIME;
    let socket = tokio::time::timeout_at(deadline, connect(client)).await;
    let socket = socket.map_err(|_| JoinError::Late("the WebSocket did not open"))??;
    let mut session = Session {
        socket,
        next_id: PUBLISH + 1,
        stage: "no answer to `join`",
        publishing: None,
        playing: None,
        played: false,
        awaits: [true, false, false],
        sees: false,
    };
    session.join(client).await?;
    session.go_on(client, deadline).await
}

async fn connect(client: &Client) -> Result<WebSocketStream<Box<dyn Stream>>, JoinError> {
    let server = &client.connector.server;
    let url = format!("{}{}", server.origin("ws"), server.path(PATH));
    let broken = |error: &tungstenite::Error| JoinError::Protocol(format!("WebSocket: {error}"));
    let mut request = url.into_client_request().map_err(|error| broken(&error))?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", SUBPROTOCOL);
    let stream = client.connector.connect().await?;
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or(&[]);
            let detail = String::from_utf8_lossy(body);
            let detail: String = detail
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            let what = format!("the rooms protocol at {PATH}");
            let status = response.status().as_u16();
            Err(JoinError::of_status(&what, status, &detail))
        }
        Err(error) => Err(broken(&error)),
    }
}

struct Session {
    socket: WebSocketStream<Box<dyn Stream>>,
    next_id: u64,
    /// What it waits for, if it is late.
    stage: &'static str,
    publishing: Option<Connected>,
    playing: Option<Connected>,
    /// The connection to play was begun.
    played: bool,
    /// It has joined once these are over: to be answered, to publish, to play.
    awaits: [bool; 3],
    sees: bool,
}

/// Resolves when there is something to wait for, and it came.
async fn connected(waiting: &mut Option<Connected>) -> Result<(), JoinError> {
    let Some(receiver) = waiting else {
        return std::future::pending().await;
    };
    let done = receiver.await;
    *waiting = None;
    match done {
        Ok(done) => Ok(done?),
        Err(_) => Err(JoinError::Media(
            "the thread for media has ended".to_owned(),
        )),
    }
}

impl Session {
    async fn send(&mut self, message: &Value) -> Result<(), JoinError> {
        let message = Message::text(message.to_string());
        let sent = self.socket.send(message).await;
        sent.map_err(|error| JoinError::Ended(error.to_string()))
    }

    async fn join(&mut self, client: &Client) -> Result<(), JoinError> {
        let message = json!({
            "type": "join", "id": JOIN, "room": client.room(), "name": format!("load {}", client.number),
            "token": client.plan.token(client.number), "autoSubscribe": client.member.plays,
        });
        self.send(&message).await
    }

    async fn go_on(&mut self, client: &mut Client, deadline: Instant) -> Result<(), JoinError> {
        let mut joined = false;
        loop {
            if self.awaits == [false; 3] && !joined {
                joined = true;
                client.joined(self.sees);
            }
            tokio::select! {
                message = self.socket.next() => self.hear(client, message).await?,
                done = connected(&mut self.publishing) => {
                    done?;
                    self.awaits[1] = false;
                }
                done = connected(&mut self.playing) => {
                    done?;
                    self.awaits[2] = false;
                }
                () = client.stopped() => break,
                () = sleep_until(deadline), if !joined => return Err(JoinError::Late(self.stage)),
            }
        }
        // Whether it listens or not, it is the end.
        let _ = self.send(&json!({"type": "leave"})).await;
        let _ = self.socket.close(None).await;
        Ok(())
    }

    async fn hear(
        &mut self,
        client: &Client,
        message: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<(), JoinError> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map_or_else(String::new, |f| format!("{} {}", f.code, f.reason));
                return Err(JoinError::Ended(why));
            }
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(JoinError::Ended(error.to_string())),
            None => return Err(JoinError::Ended("end of stream".to_owned())),
        };
        let message: Value = serde_json::from_str(&text)
            .map_err(|error| JoinError::Protocol(format!("{error}: {}", text.as_str())))?;
        match message.get("type").and_then(Value::as_str) {
            Some("joined") => self.entered(client, &message).await,
            Some("published") => self.published(client, &message).await,
            Some("offer") => self.offered(client, &message).await,
            Some("error") => refusal(&message),
            Some("removed") => Err(JoinError::Ended(text_of(&message, "reason")?.to_owned())),
            // Of others, and what is of no use here.
            _ => Ok(()),
        }
    }

    async fn entered(&mut self, client: &Client, message: &Value) -> Result<(), JoinError> {
        let tracks = message.get("tracks").and_then(Value::as_array);
        self.sees = client.member.plays && tracks.is_some_and(|tracks| !tracks.is_empty());
        let limits = message.get("limits");
        let subscriptions = limits.and_then(|l| l.get("subscriptionsPerParticipant")?.as_u64());
        client.board.borrow_mut().subscriptions_max = subscriptions;
        let publishes = client.member.publisher.is_some();
        self.awaits = [false, publishes, self.sees || !publishes];
        self.stage = "no connection for media came about";
        let Some(number) = client.member.publisher else {
            return Ok(());
        };
        let (of_offer, offer) = oneshot::channel();
        let command = Command::Publish(client.key(true), number, of_offer);
        client.thread.ask(command);
        let offered = reply(offer).await?;
        let sections = offered.sections.iter().map(|(medium, mid)| {
            let source = match medium {
                Medium::Audio => "microphone",
                Medium::Video => "camera",
            };
            json!({"mid": mid, "source": source})
        });
        let message = json!({
            "type": "publish", "id": PUBLISH, "sdp": offered.sdp, "tracks": sections.collect::<Vec<_>>(),
        });
        self.send(&message).await
    }

    async fn published(&mut self, client: &Client, message: &Value) -> Result<(), JoinError> {
        let (told, connected) = oneshot::channel();
        let (of_accept, accept) = oneshot::channel();
        let sdp = text_of(message, "sdp")?.to_owned();
        let command = Command::Accept(client.key(true), sdp, told, of_accept);
        client.thread.ask(command);
        reply(accept).await?;
        self.publishing = Some(connected);
        Ok(())
    }

    async fn offered(&mut self, client: &Client, message: &Value) -> Result<(), JoinError> {
        let (told, connected) = oneshot::channel();
        let (of_answer, answer) = oneshot::channel();
        let sdp = text_of(message, "sdp")?.to_owned();
        let first = !self.played;
        let told = first.then_some(told);
        let command = Command::Answer(client.key(false), sdp, told, of_answer);
        client.thread.ask(command);
        let sdp = reply(answer).await?;
        if first {
            self.played = true;
            self.playing = Some(connected);
        }
        let id = self.next_id;
        self.next_id += 1;
        let offer = message.get("offerId").cloned().unwrap_or_default();
        let answer = json!({"type": "answer", "id": id, "offerId": offer, "sdp": sdp});
        self.send(&answer).await
    }
}

/// What an error means: those of an `answer` or without a request are as bad as others.
fn refusal(message: &Value) -> Result<(), JoinError> {
    let code = text_of(message, "code")?;
    let said = message.get("message").and_then(Value::as_str);
    let said = format!("{code}: {}", said.unwrap_or_default());
    Err(match code {
        "unauthenticated" => JoinError::Unauthenticated(said),
        "forbidden" => JoinError::Forbidden(said),
        "over_quota" | "limit_exceeded" | "unavailable" => JoinError::Full(said),
        _ => JoinError::Refused(said),
    })
}

fn text_of<'a>(message: &'a Value, member: &str) -> Result<&'a str, JoinError> {
    let text = message.get(member).and_then(Value::as_str);
    text.ok_or_else(|| JoinError::Protocol(format!("a message without `{member}`: {message}")))
}
