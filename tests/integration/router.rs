//! A router of the test's own, and the clients that talk to it.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rillway::config::Config;
use rillway::{Running, Signals};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longest wait for something that must happen, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Path and subprotocol of the rooms protocol.
pub(crate) const PATH: &str = "/signal/rooms";
pub(crate) const SUBPROTOCOL: &str = "rillway.rooms.v1";

/// Development's configuration on free ports of the loopback interface.
pub(crate) fn config() -> Config {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config::dev();
    config.gateway.listen = loopback;
    if let Some(metrics) = &mut config.metrics {
        metrics.listen = loopback;
    }
    config.media.first_port = 0;
    config.media.bind = vec![loopback.ip()];
    config.media.workers = NonZeroU16::MIN;
    config
}

/// A router with that configuration, changed.
pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config();
    change(&mut config);
    rillway::run(config, Signals::Ignore).expect("free ports on loopback")
}

/// Fails the test if `future` takes longer than anything may.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// What a plain HTTP request brings.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request head as it is, reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut bytes = Vec::new();
    // A reset after the answer is an end too.
    let _ = soon("the answer", stream.read_to_end(&mut bytes)).await;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A request without body, with more header lines (each ended by CRLF).
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"
    );
    raw(address, &request).await
}

/// `GET` without ado.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    http(address, "GET", path, "").await
}

/// A number of a metric, its labels written as Prometheus does.
pub(crate) async fn metric(running: &Running, series: &str) -> Option<f64> {
    let address = running.metrics_address().expect("metrics are on");
    let text = get(address, "/metrics").await.body;
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Waits until a metric has this value; workers report once a second.
pub(crate) async fn metric_becomes(running: &Running, series: &str, wanted: f64) {
    metric_when(running, series, |now| now == Some(wanted), wanted).await;
}

/// The same, or more.
pub(crate) async fn metric_at_least(running: &Running, series: &str, wanted: f64) {
    metric_when(running, series, |now| now >= Some(wanted), wanted).await;
}

async fn metric_when(
    running: &Running,
    series: &str,
    good: impl Fn(Option<f64>) -> bool,
    wanted: f64,
) {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = metric(running, series).await;
        if good(now) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < until,
            "{series} is {now:?}, not {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client of the rooms protocol.
pub(crate) struct Client {
    socket: Socket,
    next_id: u64,
}

/// A WebSocket handshake as a client library makes it, with other headers.
///
/// # Errors
/// The answer, if it was no upgrade.
pub(crate) async fn handshake(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<Client, tungstenite::Error> {
    let mut request = format!("ws://{address}{PATH}").into_client_request()?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header value");
        request
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    let (socket, _) = soon("the handshake", tokio_tungstenite::connect_async(request)).await?;
    Ok(Client { socket, next_id: 1 })
}

/// Status of a refused handshake.
pub(crate) fn refusal(result: Result<Client, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("no HTTP answer: {error}"),
        Ok(_) => 101,
    }
}

/// A connected client.
pub(crate) async fn connect(running: &Running) -> Client {
    handshake(
        running.gateway_address(),
        &[("sec-websocket-protocol", SUBPROTOCOL)],
    )
    .await
    .expect("a client is welcome")
}

/// A client in a room, and what it was told of it.
pub(crate) async fn join(running: &Running, room: &str, name: &str) -> (Client, Value) {
    let mut client = connect(running).await;
    let joined = client
        .ask(json!({"type": "join", "room": room, "name": name}))
        .await;
    assert_eq!(joined["type"], "joined", "{joined}");
    (client, joined)
}

impl Client {
    /// Sends a message as it is.
    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("connected");
    }

    /// Sends a message, if the connection still takes it.
    pub(crate) async fn try_send(&mut self, message: Message) -> bool {
        self.socket.send(message).await.is_ok()
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, mut request: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = id.into();
        self.send(Message::text(request.to_string())).await;
        self.until("the answer", |message| message["id"] == id)
            .await
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Value {
        self.until("a message", |_| true).await
    }

    /// Waits for a message of a type.
    pub(crate) async fn told(&mut self, kind: &str) -> Value {
        self.until(kind, |message| message["type"] == kind).await
    }

    async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        soon(what, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let message: Value = serde_json::from_str(&text).expect("JSON");
                        if fits(&message) {
                            return message;
                        }
                    }
                    Some(Ok(Message::Close(frame))) => panic!("closed before {what}: {frame:?}"),
                    Some(Ok(_)) => {}
                    other => panic!("lost before {what}: {other:?}"),
                }
            }
        })
        .await
    }

    /// Waits for the end; returns the close code, 1006 if there was none.
    pub(crate) async fn closed(&mut self) -> u16 {
        soon("the close", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return 1006,
                }
            }
        })
        .await
    }

    /// Begins to close with this code.
    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.send(Message::Close(Some(frame))).await;
    }

    /// Ends the connection without a word.
    pub(crate) fn vanish(self) {
        drop(self.socket);
    }
}
