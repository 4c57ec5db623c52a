//! The client over real sockets: UDP or TCP for media, the rooms protocol over WebSocket.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rillway_core::api::EventKind;
use rillway_core::id::ClientId;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::{Client, ClientConfig};
use crate::link::Link;
use crate::wire::{self, Incoming};

/// Datagrams read from one socket before others get their turn.
const READ_BUDGET: usize = 64;

/// Why a client could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// A socket failed.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    /// The WebSocket connection failed.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The router said something that is not in the protocol.
    #[error("protocol: {0}: {1}")]
    Protocol(wire::WireError, String),
}

/// How the WebSocket connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Close code; `None` if it just broke.
    pub code: Option<u16>,
    /// Reason given.
    pub reason: String,
}

/// A client with its sockets.
pub struct LiveClient {
    /// The client. After changing it, its wishes are carried out by the next step.
    pub client: Client,
    /// Time within which the router asked it to leave.
    pub draining: Option<u64>,
    /// The WebSocket connection is gone.
    pub ended: Option<Ended>,
    /// Errors that belong to no request.
    pub errors: Vec<(String, String)>,
    /// Datagrams the kernel did not take.
    pub send_failures: u64,
    /// Its ways to the router: to publish, and to subscribe.
    pub sockets: [Link; 2],
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    auto_subscribe: bool,
    buffer: Vec<u8>,
}

impl LiveClient {
    /// Connects to `ws://GATEWAY/signal/rooms` and asks to join. The router subscribes it to
    /// everything, unless `config.auto_subscribe` is false.
    ///
    /// # Errors
    /// [`LiveError`] if a socket cannot be had or the connection is refused.
    pub async fn connect(gateway: SocketAddr, config: ClientConfig) -> Result<Self, LiveError> {
        LiveClient::connect_with(gateway, config, &[]).await
    }

    /// The same with more headers.
    ///
    /// # Errors
    /// As [`LiveClient::connect`].
    pub async fn connect_with(
        gateway: SocketAddr,
        mut config: ClientConfig,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, LiveError> {
        let sockets = [Link::new(config.tcp)?, Link::new(config.tcp)?];
        config.publish_address = sockets[0].local_addr()?;
        config.subscribe_address = sockets[1].local_addr()?;
        let url = format!("ws://{gateway}/signal/rooms");
        let mut request = url.into_client_request().map_err(Box::new)?;
        let protocol = HeaderValue::from_static("rillway.rooms.v1");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header value");
            request.headers_mut().insert(*name, value);
        }
        let (socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .map_err(Box::new)?;
        // The router does it for us.
        let auto_subscribe = std::mem::replace(&mut config.auto_subscribe, false);
        let mut client = Client::new(config);
        client.join();
        Ok(LiveClient {
            client,
            draining: None,
            ended: None,
            errors: Vec::new(),
            send_failures: 0,
            sockets,
            socket,
            auto_subscribe,
            buffer: vec![0; 2_048],
        })
    }

    /// Runs several at once until `done` holds for all, or until `limit` has passed; says whether it
    /// held.
    ///
    /// # Errors
    /// [`LiveError`] of the first that failed.
    pub async fn run_all(
        clients: &mut [LiveClient],
        limit: Duration,
        done: impl Fn(&LiveClient) -> bool,
    ) -> Result<bool, LiveError> {
        let end = Instant::now() + limit;
        while !clients.iter().all(&done) {
            if Instant::now() >= end {
                return Ok(false);
            }
            let step = Duration::from_millis(50);
            let runs = clients.iter_mut().map(|c| c.run_for(step));
            futures_util::future::try_join_all(runs).await?;
        }
        Ok(true)
    }

    /// Whether something was received of `tracks` tracks.
    pub fn hears(&self, tracks: usize) -> bool {
        let inbound = self.client.inbound.values();
        inbound.filter(|i| i.packets > 0).count() >= tracks
    }

    /// Asks to be told which layers it gets, or not.
    ///
    /// # Errors
    /// [`LiveError`]
    pub async fn ask_for_layers(&mut self, wanted: bool) -> Result<(), LiveError> {
        let message = serde_json::json!({"type": "notify", "layers": wanted});
        let message = Message::text(message.to_string());
        self.socket.send(message).await.map_err(Box::new)?;
        Ok(())
    }

    /// Asks that the room be recorded, or not any more.
    ///
    /// # Errors
    /// [`LiveError`]
    pub async fn record(&mut self, wanted: bool) -> Result<(), LiveError> {
        let message = serde_json::json!({"type": "record", "start": wanted});
        let message = Message::text(message.to_string());
        self.socket.send(message).await.map_err(Box::new)?;
        Ok(())
    }

    /// Stops or resumes its media.
    pub fn set_running(&mut self, running: bool) {
        for published in &mut self.client.published {
            published.running = running;
        }
    }

    /// Runs for some time.
    ///
    /// # Errors
    /// [`LiveError`]
    pub async fn run_for(&mut self, time: Duration) -> Result<(), LiveError> {
        self.run_until(time, |_| false).await.map(|_| ())
    }

    /// Runs until `done` or until `limit` has passed; says whether it was done.
    ///
    /// # Errors
    /// [`LiveError`]
    pub async fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&LiveClient) -> bool,
    ) -> Result<bool, LiveError> {
        let end = Instant::now() + limit;
        while !done(self) {
            if Instant::now() >= end {
                return Ok(false);
            }
            self.step(end).await?;
        }
        self.carry().await?;
        Ok(true)
    }

    async fn step(&mut self, end: Instant) -> Result<(), LiveError> {
        self.carry().await?;
        // `done` may hang on something outside: look at it every 20 ms.
        let at = self.client.poll_timeout().unwrap_or(end).min(end);
        let at = at.min(Instant::now() + Duration::from_millis(20));
        tokio::select! {
            biased;
            ready = self.sockets[0].readable() => { ready?; self.read(0)?; }
            ready = self.sockets[1].readable() => { ready?; self.read(1)?; }
            message = self.socket.next(), if self.ended.is_none() => self.hear(message)?,
            () = tokio::time::sleep_until(at.into()) => {}
        }
        let now = Instant::now();
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<(), LiveError> {
        let local = self.sockets[index].local_addr()?;
        for _ in 0..READ_BUDGET {
            match self.sockets[index].try_recv_from(&mut self.buffer) {
                Ok((bytes, source)) => {
                    let data = &self.buffer[..bytes];
                    let now = Instant::now();
                    self.client.handle_datagram(now, local, source, data);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier send; the socket is fine.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hear(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), LiveError> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                self.ended = Some(Ended {
                    code: frame.as_ref().map(|f| f.code.into()),
                    reason: frame.map(|f| f.reason.to_string()).unwrap_or_default(),
                });
                return Ok(());
            }
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => {
                self.ended = Some(Ended {
                    code: None,
                    reason: error.to_string(),
                });
                return Ok(());
            }
            None => {
                let reason = "end of stream".to_owned();
                self.ended = Some(Ended { code: None, reason });
                return Ok(());
            }
        };
        let incoming = wire::incoming(text.as_str())
            .map_err(|error| LiveError::Protocol(error, text.to_string()))?;
        match incoming {
            Incoming::Event(event) => self.client.handle_event(Instant::now(), event),
            Incoming::Draining(time) => self.draining = Some(time),
            Incoming::Error(code, message) => self.errors.push((code, message)),
            Incoming::Other(_) => {}
        }
        Ok(())
    }

    /// Carries out what the client wants to be sent.
    async fn carry(&mut self) -> Result<(), LiveError> {
        while let Some(datagram) = self.client.poll_transmit() {
            let first = self.client.config.publish_address == datagram.source;
            let socket = &mut self.sockets[usize::from(!first)];
            let sent = socket.send_to(&datagram.contents, datagram.destination);
            if sent.await.is_err() {
                self.send_failures += 1;
            }
        }
        while let Some((reference, action)) = self.client.poll_request() {
            let (message, answered) = wire::request(reference, &action, self.auto_subscribe);
            if self.ended.is_none() {
                let message = Message::text(message.to_string());
                self.socket.send(message).await.map_err(Box::new)?;
            }
            if !answered {
                let done = EventKind::Done { reference };
                self.client.handle_event(Instant::now(), done);
            }
        }
        Ok(())
    }
}

/// A client of a room, for [`LiveClient::connect`], which fills in its addresses.
pub fn member(number: u64, room: &str, epoch: Instant) -> ClientConfig {
    let unknown: SocketAddr = ([127, 0, 0, 1], 9).into();
    ClientConfig::new(ClientId(number), room, [unknown; 2], epoch)
}
