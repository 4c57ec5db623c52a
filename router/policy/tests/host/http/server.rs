//! A server on loopback that answers as told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Answers with these bytes.
    Raw(Vec<u8>),
    /// The same, after some time.
    Late(Duration, Vec<u8>),
    /// Reads it and says nothing.
    Silent,
    /// Promises a long body and sends a byte every few milliseconds.
    Dribble,
    /// Sends a body that does not end.
    Endless,
}

/// An answer with a body.
pub(crate) fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// What it has seen.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

/// Ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl Server {
    pub(crate) async fn new(manner: Manner) -> Server {
        Server::with(manner, None).await
    }

    pub(crate) async fn with(manner: Manner, tls: Option<TlsAcceptor>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::<Seen>::default();
        let theirs = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, manner, seen) = (tls.clone(), manner.clone(), Arc::clone(&theirs));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &manner, &seen).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &manner, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Server { address, seen }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far, each with its body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen
            .requests
            .lock()
            .expect("no test panics in it")
            .clone()
    }

    /// Most requests that waited for their answers at one time.
    pub(crate) fn at_once_max(&self) -> usize {
        self.seen.at_once_max.load(SeqCst)
    }
}

/// Until the other side is gone.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    manner: &Manner,
    seen: &Seen,
) -> Option<()> {
    loop {
        let request = read(&mut stream).await?;
        seen.requests.lock().expect("as above").push(request);
        let now = seen.at_once.fetch_add(1, SeqCst) + 1;
        seen.at_once_max.fetch_max(now, SeqCst);
        let sent = behave(&mut stream, manner).await;
        seen.at_once.fetch_sub(1, SeqCst);
        sent?;
    }
}

async fn behave(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), manner: &Manner) -> Option<()> {
    match manner {
        Manner::Raw(bytes) => stream.write_all(bytes).await.ok(),
        Manner::Late(after, bytes) => {
            tokio::time::sleep(*after).await;
            stream.write_all(bytes).await.ok()
        }
        Manner::Silent => {
            // Ends when the client closes.
            while stream.read_u8().await.is_ok() {}
            None
        }
        Manner::Dribble => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
            stream.write_all(head).await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Manner::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.ok()?;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk).await.ok()?;
            }
        }
    }
}

/// One request, with as much body as it says.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let head = loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        match end {
            Some(end) => break end + 4,
            None => stream.read_buf(&mut bytes).await.ok().filter(|n| *n > 0)?,
        };
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    while bytes.len() < head + length {
        stream.read_buf(&mut bytes).await.ok().filter(|n| *n > 0)?;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
