//! Asking by STUN (RFC 8489): where is this machine seen, and does an address answer?

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rillway_turn::binding::Request;

/// STUN's port (RFC 8489 §18.6).
const PORT: u16 = 3_478;
/// Pause before a request is sent again; doubled each time. Shorter than RFC 8489 §6.2.1 asks for, because somebody
/// waits: a lost packet shall not be a server that does not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// Answers are shorter.
const ANSWER_BYTES_MAX: usize = 1_500;

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StunError {
    /// No name service, or no such name.
    #[error("`{host}` cannot be found: {why}")]
    Name {
        /// What was looked for.
        host: String,
        /// What came of it.
        why: String,
    },
    /// It has addresses, but none of the family that is asked from.
    #[error("`{host}` has no {family} address")]
    Family {
        /// What was looked for.
        host: String,
        /// "IPv4" or "IPv6".
        family: &'static str,
    },
    /// The system does not let us ask.
    #[error("cannot send from {from}: {error}")]
    Socket {
        /// Where it was to be sent from.
        from: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Nobody answered.
    #[error("no answer from {0}")]
    Silent(SocketAddr),
}

/// Where `server`, `HOST[:PORT]`, sees what is sent from `from`. Takes as long as `within` to look the name up and as long
/// again to ask.
///
/// # Errors
/// [`StunError`].
pub(crate) fn seen_at(
    server: &str,
    from: SocketAddr,
    within: Duration,
) -> Result<SocketAddr, StunError> {
    let address = resolve(server, from.is_ipv4(), within)?;
    let refused = |error| StunError::Socket { from, error };
    let socket = UdpSocket::bind(from).map_err(refused)?;
    // Nobody but the server is heard from then on.
    socket.connect(address).map_err(refused)?;
    let request = Request::new();
    let until = Instant::now() + within;
    let (mut pause, mut buffer) = (PAUSE, [0; ANSWER_BYTES_MAX]);
    while let Some(left) = left(until) {
        // What the network said of an earlier one is no reason not to ask again.
        let _ = socket.send(request.bytes());
        let again = Instant::now() + pause.min(left);
        pause *= 2;
        while let Some(wait) = self::left(again) {
            let _ = socket.set_read_timeout(Some(wait));
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    if let Some(seen) = request.seen_at(&buffer[..length]) {
                        return Ok(seen);
                    }
                }
                Err(error) if is_pause(&error) => {}
                // Refused by the host: the time until the next attempt is not to be spun away.
                Err(_) => std::thread::sleep(wait.min(PAUSE)),
            }
        }
    }
    Err(StunError::Silent(address))
}

/// Which of these answer binding requests.
///
/// # Errors
/// There is no socket to ask by.
pub(crate) fn answering(targets: &[SocketAddr], within: Duration) -> io::Result<Vec<bool>> {
    let requests: Vec<_> = targets.iter().map(|_| Request::new()).collect();
    let mut answered = vec![false; targets.len()];
    for is_ipv4 in [true, false] {
        if !targets.iter().any(|target| target.is_ipv4() == is_ipv4) {
            continue;
        }
        let socket = UdpSocket::bind(any(is_ipv4))?;
        let until = Instant::now() + within;
        let (mut pause, mut buffer) = (PAUSE, [0; ANSWER_BYTES_MAX]);
        let open = |answered: &[bool]| -> Vec<usize> {
            let all = (0..targets.len()).filter(|&i| !answered[i]);
            all.filter(|&i| targets[i].is_ipv4() == is_ipv4).collect()
        };
        while let (Some(left), false) = (left(until), open(&answered).is_empty()) {
            for index in open(&answered) {
                let _ = socket.send_to(requests[index].bytes(), targets[index]);
            }
            let again = Instant::now() + pause.min(left);
            pause *= 2;
            while let (Some(wait), false) = (self::left(again), open(&answered).is_empty()) {
                let _ = socket.set_read_timeout(Some(wait));
                if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                    // By its id alone: what goes through a NAT may come back from elsewhere.
                    let bytes = &buffer[..length];
                    let of = requests.iter().position(|r| r.seen_at(bytes).is_some());
                    of.into_iter().for_each(|index| answered[index] = true);
                }
            }
        }
    }
    Ok(answered)
}

/// Every address of its family, any port.
pub(crate) fn any(is_ipv4: bool) -> SocketAddr {
    let ip: IpAddr = match is_ipv4 {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}

fn left(until: Instant) -> Option<Duration> {
    let left = until.checked_duration_since(Instant::now())?;
    // A socket takes no timeout of nothing.
    (left >= Duration::from_millis(1)).then_some(left)
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Splits `HOST[:PORT]`, `[IPV6]:PORT`; an address of IPv6 alone has no brackets or both.
pub(crate) fn host_port(server: &str) -> Option<(String, u16)> {
    if let Ok(ip) = server.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((ip.to_string(), PORT));
    }
    if let Ok(address) = server.parse::<SocketAddr>() {
        return Some((address.ip().to_string(), address.port()));
    }
    let (host, port) = match server.split_once(':') {
        None => (server, PORT),
        Some((host, port)) => (host, port.parse().ok()?),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let named = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    (named && port != 0).then(|| (host.to_owned(), port))
}

/// The C library waits for name services as long as it likes, so somebody else waits for it.
fn resolve(server: &str, is_ipv4: bool, within: Duration) -> Result<SocketAddr, StunError> {
    let name = |why: String| StunError::Name {
        host: server.to_owned(),
        why,
    };
    let Some(place) = host_port(server) else {
        return Err(name("expected HOST or HOST:PORT".to_owned()));
    };
    let (sender, found) = mpsc::channel();
    std::thread::spawn(move || {
        let found = place.to_socket_addrs().map(Vec::from_iter);
        // Nobody waits any more after `within`.
        let _ = sender.send(found);
    });
    let late = |_| name("the name service does not answer".to_owned());
    let found = found.recv_timeout(within).map_err(late)?;
    let found = found.map_err(|error| name(error.to_string()))?;
    let family = if is_ipv4 { "IPv4" } else { "IPv6" };
    let of_family = found.into_iter().find(|a| a.is_ipv4() == is_ipv4);
    of_family.ok_or(StunError::Family {
        host: server.to_owned(),
        family,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers the second time it is asked, as if the first request were lost.
    fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut buffer = [0; 100];
            let _ = socket.recv_from(&mut buffer);
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(b"something else", from);
                let _ = socket.send_to(&answer(&buffer[..length], from), from);
            }
        });
        address
    }

    /// RFC 8489 §14.2, written by hand: XOR-MAPPED-ADDRESS of IPv4.
    fn answer(request: &[u8], seen: SocketAddr) -> Vec<u8> {
        let IpAddr::V4(ip) = seen.ip() else {
            panic!("IPv4 alone")
        };
        let mut bytes = vec![1, 1, 0, 12];
        bytes.extend_from_slice(&request[4..20]);
        bytes.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
        bytes.extend_from_slice(&(seen.port() ^ 0x2112).to_be_bytes());
        bytes.extend_from_slice(&(u32::from(ip) ^ 0x2112_a442).to_be_bytes());
        bytes
    }

    #[test]
    fn a_server_says_where_it_sees_us() {
        let within = Duration::from_secs(5);
        let from = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr());
        let from = from.expect("a free port");
        let seen = seen_at(&server().to_string(), from, within).expect("an answer");
        assert_eq!(seen, from);
    }

    #[test]
    fn who_does_not_answer_is_told_apart_from_who_does() {
        let silent = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let targets = [silent.local_addr().expect("an address"), server()];
        let answered = answering(&targets, Duration::from_millis(700)).expect("asks");
        assert_eq!(answered, [false, true]);
        let from = any(true);
        let error = seen_at(&targets[0].to_string(), from, Duration::from_millis(300));
        let error = error.expect_err("nobody answers").to_string();
        assert_eq!(error, format!("no answer from {}", targets[0]));
    }

    #[test]
    fn servers_are_hosts_with_a_port_or_without() {
        let named = |text| host_port(text).map(|(host, port)| format!("{host} {port}"));
        for (text, expected) in [
            ("stun.example.org", "stun.example.org 3478"),
            ("stun.example.org:19302", "stun.example.org 19302"),
            ("192.0.2.1:3479", "192.0.2.1 3479"),
            ("[2001:db8::1]:3479", "2001:db8::1 3479"),
            ("[2001:db8::1]", "2001:db8::1 3478"),
            ("2001:db8::1", "2001:db8::1 3478"),
        ] {
            assert_eq!(named(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", ":3478", "a:b", "a:70000", "a:0", "stun:a", "a b", "a/b"] {
            assert_eq!(named(text), None, "{text}");
        }
    }
}
