//! Who has a port, from `/proc`.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Longest command line that is shown, characters.
const COMMAND_CHARS_MAX: usize = 80;

/// What a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        })
    }
}

/// A socket that has a port: one of UDP, or one of TCP that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    protocol: Protocol,
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

/// Who has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// A running router.
    Router { pid: u32, command: String },
    /// Another process.
    Other { pid: u32, command: String },
    /// A process that we may not look into.
    Hidden { uid: u32 },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Router { pid, command } | Holder::Other { pid, command } => {
                write!(f, "process {pid} (`{command}`)")
            }
            Holder::Hidden { uid } => write!(f, "a process of user {uid}"),
        }
    }
}

/// Every port that is held, at one moment.
#[derive(Debug, Default)]
pub(super) struct Holders {
    sockets: Vec<Socket>,
    processes: HashMap<u64, (u32, String, bool)>,
}

impl Holders {
    /// As it is now, in this network namespace.
    pub(super) fn now() -> Holders {
        let mut sockets = Vec::new();
        for (file, protocol) in [
            ("udp", Protocol::Udp),
            ("udp6", Protocol::Udp),
            ("tcp", Protocol::Tcp),
            ("tcp6", Protocol::Tcp),
        ] {
            // Without IPv6 there are no such files.
            let text = std::fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
            sockets.extend(text.lines().skip(1).filter_map(|l| socket(protocol, l)));
        }
        Holders {
            processes: processes(),
            sockets,
        }
    }

    /// Who has what stands in the way of this address; one entry for each process.
    pub(super) fn of(&self, protocol: Protocol, address: SocketAddr) -> Vec<Holder> {
        let mut found = Vec::new();
        let all = self.sockets.iter();
        for socket in all.filter(|s| s.protocol == protocol && overlap(s.address, address)) {
            let holder = self.holder(socket);
            if !found.contains(&holder) {
                found.push(holder);
            }
        }
        found
    }

    /// Ports of a range that others than routers have, of these addresses.
    pub(super) fn udp_ports(&self, ips: &[IpAddr], first: u16, last: u16) -> usize {
        let all = self.sockets.iter().filter(|s| {
            let port = s.address.port();
            s.protocol == Protocol::Udp
                && (first..=last).contains(&port)
                && ips
                    .iter()
                    .any(|ip| overlap(s.address, SocketAddr::new(*ip, port)))
                && !matches!(self.holder(s), Holder::Router { .. })
        });
        let ports: std::collections::BTreeSet<u16> = all.map(|s| s.address.port()).collect();
        ports.len()
    }

    fn holder(&self, socket: &Socket) -> Holder {
        let uid = socket.uid;
        let found = self.processes.get(&socket.inode).cloned();
        found.map_or(
            Holder::Hidden { uid },
            |(pid, command, is_router)| match is_router {
                true => Holder::Router { pid, command },
                false => Holder::Other { pid, command },
            },
        )
    }
}

/// Whether two sockets cannot be bound side by side. IPv6's "every address" often takes IPv4 along.
fn overlap(held: SocketAddr, wanted: SocketAddr) -> bool {
    let (a, b) = (held.ip().to_canonical(), wanted.ip());
    held.port() == wanted.port()
        && (a == b
            || (a.is_unspecified() && (a.is_ipv4() == b.is_ipv4() || a.is_ipv6()))
            || (b.is_unspecified() && a.is_ipv4() == b.is_ipv4()))
}

/// A line of `/proc/net/udp` and its like (proc_net_tcp(5)): number, local, remote, state, …, uid, timeout, inode.
fn socket(protocol: Protocol, line: &str) -> Option<Socket> {
    const LISTENS: &str = "0A";
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    if protocol == Protocol::Tcp && state != LISTENS {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let address = SocketAddr::new(ip_address(ip)?, u16::from_str_radix(port, 16).ok()?);
    Some(Socket {
        protocol,
        address,
        uid,
        inode,
    })
}

/// Words of four bytes, each as the processor has it.
fn ip_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16);
        Some(word.ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes = <[u8; 16]>::try_from(words.concat()).ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Sockets by inode: process, command line, whether it is a router. Of other users' processes, only root sees any.
fn processes() -> HashMap<u64, (u32, String, bool)> {
    let mut found = HashMap::new();
    let Ok(all) = std::fs::read_dir("/proc") else {
        return found;
    };
    let own = std::process::id();
    for entry in all.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let inodes = if pid == own {
            Vec::new()
        } else {
            inodes(&entry.path())
        };
        if inodes.is_empty() {
            continue;
        }
        let command = command(&entry.path());
        let is_router = is_router(&entry.path());
        for inode in inodes {
            found.insert(inode, (pid, command.clone(), is_router));
        }
    }
    found
}

fn inodes(process: &Path) -> Vec<u64> {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else {
        return Vec::new();
    };
    let targets = descriptors.filter_map(|d| std::fs::read_link(d.ok()?.path()).ok());
    let inode = |target: std::path::PathBuf| {
        let text = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        text.parse().ok()
    };
    targets.filter_map(inode).collect()
}

/// What was called, shortened; without arguments that are paths to the program itself.
fn command(process: &Path) -> String {
    let bytes = std::fs::read(process.join("cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|w| !w.is_empty());
    let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
    let mut text = words.join(" ");
    if text.is_empty() {
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        text = name.trim().to_owned();
    }
    text.retain(|c| !c.is_control());
    match text.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn is_router(process: &Path) -> bool {
    let program = std::fs::read_link(process.join("exe")).unwrap_or_default();
    // A file that was replaced since has ` (deleted)` behind its name.
    let name = program.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| matches!(name, "rillway" | "rillway (deleted)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn lines_of_proc_are_read() {
        let udp = "  373: 0100007F:9C40 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 48213 2 0 0";
        let read = socket(Protocol::Udp, udp).expect("a socket");
        assert_eq!((read.uid, read.inode), (1000, 48213));
        if cfg!(target_endian = "little") {
            assert_eq!(read.address, at("127.0.0.1:40000"));
        }
        let tcp = "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0";
        let read = socket(Protocol::Tcp, tcp).expect("a socket");
        if cfg!(target_endian = "little") {
            assert_eq!(read.address, at("[::1]:8080"));
        }
        let connected = tcp.replace(" 0A ", " 01 ");
        assert_eq!(
            socket(Protocol::Tcp, &connected),
            None,
            "it does not listen"
        );
        for broken in ["", "0: 0:0", "  sl  local_address rem_address"] {
            assert_eq!(socket(Protocol::Udp, broken), None);
        }
    }

    #[test]
    fn every_address_stands_in_the_way_of_each() {
        for (held, wanted, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.2:80", true),
            ("127.0.0.2:80", "0.0.0.0:80", true),
            ("[::]:80", "127.0.0.2:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ] {
            assert_eq!(overlap(at(held), at(wanted)), expected, "{held} {wanted}");
        }
    }

    #[test]
    fn a_socket_of_this_process_is_nobodys() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        let address = socket.local_addr().expect("an address");
        let holders = Holders::now();
        let found = holders.of(Protocol::Udp, address);
        // Its inode is listed; whose it is, is not looked up for ourselves.
        assert!(matches!(found[..], [Holder::Hidden { .. }]), "{found:?}");
        assert_eq!(holders.of(Protocol::Tcp, address), []);
        let port = address.port();
        assert_eq!(holders.udp_ports(&[address.ip()], port, port), 1);
    }
}
