//! Clients over TCP and TLS.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use rillway_turn::limits::FRAME_BYTES_MAX;
use rillway_turn::{Client, ListenerId, framing};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::{PAUSE, Shared};
use crate::config::Turn;

/// What waits for one client at most; more is dropped, message by message.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// A client that takes nothing for so long is gone.
const STALL_TIME: Duration = Duration::from_secs(10);
/// Time for a TLS handshake, and to get an allocation; without one a connection is no use.
const ADMISSION_TIME: Duration = Duration::from_secs(10);
/// Connections beyond those that could have an allocation: they are being made.
const CONNECTIONS_SPARE: usize = 64;
/// What is read at once.
const READ_BYTES: usize = 4 << 10;

/// What waits for a client.
#[derive(Default)]
pub(super) struct Pipe {
    waiting: RefCell<Vec<u8>>,
    wake: Notify,
}

impl Pipe {
    /// Puts a whole message at the end; `false`: there is no room, and it is dropped.
    pub(super) fn put(&self, message: &[u8]) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let padding = framing::padding(message);
        if waiting.len() + message.len() + padding.len() > WAITING_BYTES_MAX {
            return false;
        }
        waiting.extend_from_slice(message);
        waiting.extend_from_slice(padding);
        self.wake.notify_one();
        true
    }

    async fn take(&self) -> Vec<u8> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.borrow_mut());
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}

/// How many connections there are, and may be.
#[derive(Clone)]
pub(super) struct Places(Rc<PlacesOf>);

struct PlacesOf {
    all: Cell<usize>,
    of: RefCell<HashMap<IpAddr, usize>>,
    max: usize,
    max_of: usize,
}

/// A connection's place.
struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(settings: &Turn) -> Self {
        Places(Rc::new(PlacesOf {
            all: Cell::new(0),
            of: RefCell::default(),
            max: settings.allocations_max as usize + CONNECTIONS_SPARE,
            max_of: settings.allocations_per_address_max as usize + CONNECTIONS_SPARE / 8,
        }))
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let mut of = self.0.of.borrow_mut();
        let here = of.get(&address).copied().unwrap_or(0);
        if self.0.all.get() >= self.0.max || here >= self.0.max_of {
            return None;
        }
        self.0.all.set(self.0.all.get() + 1);
        of.insert(address, here + 1);
        Some(Place {
            places: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let places = &self.places.0;
        places.all.set(places.all.get() - 1);
        let mut of = places.of.borrow_mut();
        if let Some(here) = of.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                of.remove(&self.address);
            }
        }
    }
}

/// Takes connections of one listener.
pub(super) async fn accept(
    shared: Rc<Shared>,
    (id, listener): (ListenerId, TcpListener),
    acceptor: Option<TlsAcceptor>,
    places: Places,
) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match places.take(from.ip()) {
                Some(place) => {
                    let client = Client {
                        listener: id,
                        address: from,
                        proven: true,
                    };
                    let begun = begin(shared.clone(), client, (stream, place), acceptor.clone());
                    tokio::task::spawn_local(begun);
                }
                None => tracing::warn!(cause = "connections", "TURN: a connection was refused"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for TURN");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn begin(
    shared: Rc<Shared>,
    client: Client,
    (stream, place): (TcpStream, Place),
    acceptor: Option<TlsAcceptor>,
) {
    let socket = socket2::SockRef::from(&stream);
    // Where the system has neither, packets come late and stalled connections live longer.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(STALL_TIME));
    match acceptor {
        None => serve(&shared, client, stream).await,
        Some(acceptor) => {
            let handshake = tokio::time::timeout(ADMISSION_TIME, acceptor.accept(stream));
            // Whoever speaks no TLS, or is late, has nothing here.
            if let Ok(Ok(stream)) = handshake.await {
                serve(&shared, client, stream).await;
            }
        }
    }
    drop(place);
}

/// One connection, until it ends, stalls, sends what is no TURN, or has no allocation.
async fn serve(shared: &Rc<Shared>, client: Client, stream: impl AsyncRead + AsyncWrite) {
    let pipe = Rc::new(Pipe::default());
    shared.sockets.borrow_mut().connect(client, pipe.clone());
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read(shared, client, reader) => {}
        () = write(&pipe, writer) => {}
        () = without_allocation(shared, client) => {}
    }
    let (mut relay, mut sockets) = (shared.relay.borrow_mut(), shared.sockets.borrow_mut());
    sockets.disconnect(client);
    relay.gone(client, &mut *sockets);
}

async fn read(shared: &Shared, client: Client, mut reader: impl AsyncRead + Unpin) {
    let mut received = Vec::with_capacity(READ_BYTES);
    loop {
        received.reserve(READ_BYTES);
        match reader.read_buf(&mut received).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut at = 0;
        loop {
            match framing::next(&received[at..]) {
                Ok(Some((taken, whole))) => {
                    shared.client_sent(client, &received[at..at + whole]);
                    at += taken;
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        received.drain(..at);
        debug_assert!(received.len() <= FRAME_BYTES_MAX);
        tokio::task::yield_now().await;
    }
}

async fn write(pipe: &Pipe, mut writer: impl AsyncWrite + Unpin) {
    loop {
        let bytes = pipe.take().await;
        let sent = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if !matches!(tokio::time::timeout(STALL_TIME, sent).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Ends when the client has no allocation (any more).
async fn without_allocation(shared: &Shared, client: Client) {
    loop {
        tokio::time::sleep(ADMISSION_TIME).await;
        if !shared.relay.borrow().is_allocated(&client) {
            return;
        }
    }
}
