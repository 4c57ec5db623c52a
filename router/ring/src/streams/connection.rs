//! One connection: its socket, what is incomplete of its input, what waits of its output.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::assembler::Assembler;
use super::backlog::Backlog;
use super::epoll::Interest;
use crate::driver::StreamEnd;

/// Time from the connection to the first answer of ours, which only a valid check of ICE gets.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(10);
/// Silence of ours after which a connection is of no use: clients check every few seconds what they
/// mean to use, at least every 25.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(60);
/// Time for a frame that has begun.
pub(super) const PARTIAL_TIME: Duration = Duration::from_secs(5);
/// Time for which nothing that waits can be written.
pub(super) const STALL_TIME: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
    /// Index of its listener.
    pub(super) listener: u16,
    pub(super) token: u64,
    pub(super) assembler: Assembler,
    pub(super) backlog: Backlog,
    /// In the list of connections to be written to.
    pub(super) dirty: bool,
    /// The kernel takes no more; we are told when it does.
    pub(super) blocked: bool,
    pub(super) waits_for: Interest,
    /// Something was sent to it: it has shown that it belongs to somebody.
    pub(super) proven: bool,
    /// When something was last sent to it; at first, when it was accepted.
    pub(super) used: Instant,
    /// When the frame that is not complete was begun.
    pub(super) partial_since: Option<Instant>,
    /// Since when nothing of what waits was written.
    pub(super) stalled_since: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        remote: SocketAddr,
        listener: u16,
        token: u64,
        now: Instant,
    ) -> Self {
        Self {
            stream,
            remote,
            listener,
            token,
            assembler: Assembler::default(),
            backlog: Backlog::default(),
            dirty: false,
            blocked: false,
            waits_for: Interest::Read,
            proven: false,
            used: now,
            partial_since: None,
            stalled_since: None,
        }
    }

    /// Reads once. `Ok(None)`: there was nothing.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, StreamEnd> {
        match self.stream.read(buffer) {
            Ok(0) => Err(StreamEnd::Closed),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_for_later(&error) => Ok(None),
            Err(_) => Err(StreamEnd::Closed),
        }
    }

    /// Writes once as much as the kernel takes; returns how much.
    pub(super) fn write(&mut self, now: Instant) -> Result<usize, StreamEnd> {
        let bytes = match self.stream.write_vectored(&self.backlog.slices()) {
            Ok(0) => return Err(StreamEnd::Closed),
            Ok(bytes) => bytes,
            Err(error) if is_for_later(&error) => 0,
            Err(_) => return Err(StreamEnd::Closed),
        };
        self.backlog.written(bytes);
        self.blocked = !self.backlog.is_empty();
        self.stalled_since = match (self.blocked, bytes) {
            (false, _) => None,
            (true, 0) => self.stalled_since.or(Some(now)),
            (true, _) => Some(now),
        };
        Ok(bytes)
    }

    /// Why it should go by now, if it should.
    pub(super) fn expired(&self, now: Instant) -> Option<StreamEnd> {
        let over = |since: Instant, time| now.saturating_duration_since(since) > time;
        let since = |since: Option<Instant>, time| since.is_some_and(|since| over(since, time));
        if !self.proven && over(self.used, PROOF_TIME) {
            Some(StreamEnd::Unproven)
        } else if over(self.used, IDLE_TIME) {
            Some(StreamEnd::Idle)
        } else if since(self.partial_since, PARTIAL_TIME) {
            Some(StreamEnd::Partial)
        } else if since(self.stalled_since, STALL_TIME) {
            Some(StreamEnd::Stalled)
        } else {
            None
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn connection(now: Instant) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, remote) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Connection::new(stream, remote, 0, 0, now), client)
    }

    #[test]
    fn every_kind_of_idleness_has_its_end() {
        let now = Instant::now();
        let (mut connection, client) = connection(now);
        assert_eq!(connection.expired(now + PROOF_TIME), None);
        let late = now + PROOF_TIME + Duration::from_millis(1);
        assert_eq!(connection.expired(late), Some(StreamEnd::Unproven));
        connection.proven = true;
        connection.used = now;
        assert_eq!(connection.expired(late), None);
        connection.partial_since = Some(now);
        assert_eq!(connection.expired(late), Some(StreamEnd::Partial));
        connection.partial_since = None;
        connection.stalled_since = Some(now);
        assert_eq!(connection.expired(late), Some(StreamEnd::Stalled));
        connection.stalled_since = None;
        let later = now + IDLE_TIME + Duration::from_millis(1);
        assert_eq!(connection.expired(later), Some(StreamEnd::Idle));
        drop(client);
    }

    #[test]
    fn who_does_not_read_stalls_within_bounds_and_goes_on_when_read_from() {
        let now = Instant::now();
        let (mut connection, client) = connection(now);
        for _ in 0..50_000 {
            connection.backlog.push(&[0x80; 1_200], false);
            if connection.write(now).unwrap() == 0 {
                break;
            }
        }
        assert!(connection.blocked);
        let stalled = now + STALL_TIME / 2;
        assert_eq!(connection.write(stalled), Ok(0));
        assert_eq!(connection.stalled_since, Some(now));
        // Somebody reads: progress.
        client.set_nonblocking(true).unwrap();
        let mut sink = vec![0; 1 << 16];
        for _ in 0..100_000 {
            while matches!((&client).read(&mut sink), Ok(bytes) if bytes > 0) {}
            if connection.write(stalled).unwrap() > 0 && !connection.blocked {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(connection.stalled_since, None);
        drop(client);
        let end = (0..1_000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            connection.read(&mut sink).err()
        });
        assert_eq!(end, Some(StreamEnd::Closed));
    }
}
