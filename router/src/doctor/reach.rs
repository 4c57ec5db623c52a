//! Does media get to the addresses that clients are told? Asked from this machine, which is all that can be done here.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::Patient;
use super::holders::Protocol;
use super::report::Finding;
use crate::{run, stun, turn};

/// Time there is for an answer. A machine answers itself in less than a millisecond.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// TCP connections that are tried at once.
const CONNECTIONS_MAX: usize = 32;

/// What came of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tried {
    protocol: Protocol,
    told: SocketAddr,
    answered: bool,
}

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A running router.
    Router,
    /// Ourselves: no router runs.
    Ourselves,
}

/// Asks, and judges.
pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    const CHECK: &str = "reachability";
    let (told, tcp) = (patient.told(), patient.told_tcp());
    let silent = patient.config.limits.stun_answers_per_second == 0;
    let (asked, tried) = if patient.media_runs {
        let udp = match silent {
            true => Ok(Vec::new()),
            false => routers_udp(&told),
        };
        (
            Asked::Router,
            udp.map(|mut tried| {
                tried.extend(routers_tcp(&tcp));
                tried
            }),
        )
    } else if patient.media_free {
        (Asked::Ourselves, ourselves(&told, &tcp))
    } else {
        let what = "the media ports are not a running router's, nor free";
        return vec![Finding::not_checked(CHECK, what)];
    };
    let mut found = match tried {
        Ok(tried) => judge(asked, &tried, &patient.own),
        Err(error) => {
            let what = format!("a socket to ask by cannot be had: {error}");
            vec![Finding::not_checked(CHECK, what)]
        }
    };
    if asked == Asked::Router && silent {
        let what = "UDP: `limits.stun_answers_per_second` is 0, so the router answers nobody";
        found.push(Finding::not_checked(CHECK, what).at("limits.stun_answers_per_second"));
    }
    found
}

/// Binding requests to every media port of a running router.
fn routers_udp(told: &[(SocketAddr, SocketAddr)]) -> io::Result<Vec<Tried>> {
    let targets: BTreeSet<_> = told.iter().map(|(_, told)| *told).collect();
    let targets = Vec::from_iter(targets);
    let answered = stun::answering(&targets, ANSWERED_WITHIN)?;
    let tried = targets.into_iter().zip(answered);
    Ok(tried
        .map(|(told, answered)| Tried {
            protocol: Protocol::Udp,
            told,
            answered,
        })
        .collect())
}

/// Connections to them.
fn routers_tcp(told: &[(SocketAddr, SocketAddr)]) -> Vec<Tried> {
    let targets: BTreeSet<_> = told.iter().map(|(_, told)| *told).collect();
    let trying = targets.into_iter().take(CONNECTIONS_MAX).map(|told| {
        std::thread::spawn(move || Tried {
            protocol: Protocol::Tcp,
            told,
            answered: TcpStream::connect_timeout(&told, ANSWERED_WITHIN).is_ok(),
        })
    });
    let trying = trying.collect::<Vec<_>>().into_iter();
    trying.filter_map(|thread| thread.join().ok()).collect()
}

/// Opens the ports and sends something to them by the address that clients are told.
fn ourselves(
    told: &[(SocketAddr, SocketAddr)],
    tcp: &[(SocketAddr, SocketAddr)],
) -> io::Result<Vec<Tried>> {
    let mut tried = Vec::new();
    let mut listening: Vec<(UdpSocket, SocketAddr)> = Vec::new();
    let mut listeners: Vec<TcpListener> = Vec::new();
    for (bound, told) in told {
        listening.push((turn::listen_udp(*bound)?, *told));
    }
    for (bound, _) in tcp {
        listeners.push(run::listen_on(*bound)?);
    }
    tried.extend(heard(&listening)?);
    // Nobody accepts; the kernel does.
    tried.extend(routers_tcp(tcp));
    drop(listeners);
    Ok(tried)
}

/// Which sockets hear what is sent to them.
fn heard(listening: &[(UdpSocket, SocketAddr)]) -> io::Result<Vec<Tried>> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut word = [0; 16];
    getrandom::fill(&mut word).map_err(io::Error::other)?;
    let mut tried: Vec<_> = listening
        .iter()
        .map(|(_, told)| Tried {
            protocol: Protocol::Udp,
            told: *told,
            answered: false,
        })
        .collect();
    let (v4, v6) = (
        UdpSocket::bind(stun::any(true)),
        UdpSocket::bind(stun::any(false)),
    );
    for told in listening.iter().map(|(_, told)| told) {
        if let Ok(from) = if told.is_ipv4() { &v4 } else { &v6 } {
            // Refused by the host is not answered.
            let _ = from.send_to(&word, told);
        }
    }
    let until = Instant::now() + ANSWERED_WITHIN;
    let mut buffer = [0; 64];
    while Instant::now() < until && tried.iter().any(|tried| !tried.answered) {
        for ((socket, _), tried) in listening.iter().zip(&mut tried) {
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                tried.answered |= buffer[..length] == word;
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(tried)
}

/// `own`: addresses of this machine. What does not answer there is broken; what is a NAT's may refuse its own machine.
fn judge(asked: Asked, tried: &[Tried], own: &[IpAddr]) -> Vec<Finding> {
    const CHECK: &str = "reachability";
    let mut found = Vec::new();
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let of = |answered, ours| -> Vec<SocketAddr> {
            let all = tried
                .iter()
                .filter(|t| t.protocol == protocol && t.answered == answered);
            all.map(|t| t.told)
                .filter(|a| own.contains(&a.ip()) == ours)
                .collect()
        };
        let who = match asked {
            Asked::Router => "the router answers",
            Asked::Ourselves => "what is sent there comes in (no router runs)",
        };
        let answered: Vec<_> = of(true, true).into_iter().chain(of(true, false)).collect();
        if !answered.is_empty() {
            let what = format!(
                "{protocol} {}: {who}; asked from this machine, strangers were not",
                list(&answered)
            );
            found.push(Finding::ok(CHECK, what));
        }
        let broken = of(false, true);
        if !broken.is_empty() {
            found.push(unanswered(asked, protocol, &broken));
        }
        let beyond = of(false, false);
        if !beyond.is_empty() {
            let what = format!(
                "{protocol} {}: not from outside, and by its own NAT a machine often cannot reach itself",
                list(&beyond)
            );
            let finding = Finding::not_checked(CHECK, what);
            let way = match protocol {
                Protocol::Udp => format!(
                    "elsewhere: `turnutils_stunclient -p {} {}`",
                    beyond[0].port(),
                    beyond[0].ip()
                ),
                Protocol::Tcp => format!(
                    "elsewhere: `nc -vz {} {}`",
                    beyond[0].ip(),
                    beyond[0].port()
                ),
            };
            found.push(finding.mend(way));
        }
    }
    found
}

fn unanswered(asked: Asked, protocol: Protocol, broken: &[SocketAddr]) -> Finding {
    const CHECK: &str = "reachability";
    let name = protocol.to_string().to_lowercase();
    let ports: BTreeSet<_> = broken.iter().map(SocketAddr::port).collect();
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let what = match asked {
        Asked::Router => format!(
            "{protocol} {}: the running router does not answer",
            list(broken)
        ),
        Asked::Ourselves => format!(
            "{protocol} {}: what is sent there does not come in",
            list(broken)
        ),
    };
    let rule = format!(
        "a firewall of this machine? `nft add rule inet filter input {name} dport {{ {} }} accept`",
        ports.join(", ")
    );
    let finding = Finding::problem(CHECK, what)
        .at("media.first_port")
        .mend(rule);
    match asked {
        Asked::Router => finding.mend("a worker that hangs? `rillway worker` and the log say so"),
        Asked::Ourselves => finding,
    }
}

/// `10.0.0.5:40000, …`: a few of them, and how many more.
fn list(addresses: &[SocketAddr]) -> String {
    const SHOWN: usize = 3;
    let shown = addresses.iter().take(SHOWN).map(ToString::to_string);
    let text = shown.collect::<Vec<_>>().join(", ");
    match addresses.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn tried(told: &str, answered: bool) -> Tried {
        Tried {
            protocol: Protocol::Udp,
            told: at(told),
            answered,
        }
    }

    #[test]
    fn an_own_address_that_does_not_answer_is_broken_and_a_nats_is_not_known() {
        let own = [at("10.0.0.5:1").ip()];
        let judged = |asked, told, answered| {
            let found = judge(asked, &[tried(told, answered)], &own);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].clone()
        };
        let (ours, nat) = ("10.0.0.5:40000", "198.51.100.7:40000");
        for asked in [Asked::Router, Asked::Ourselves] {
            assert_eq!(judged(asked, ours, true).verdict, Verdict::Ok);
            assert_eq!(judged(asked, nat, true).verdict, Verdict::Ok);
            let broken = judged(asked, ours, false);
            assert_eq!(broken.verdict, Verdict::Problem);
            assert!(
                broken.mend[0].contains("udp dport { 40000 } accept"),
                "{broken:?}"
            );
            let unknown = judged(asked, nat, false);
            assert_eq!(unknown.verdict, Verdict::NotChecked);
            assert!(
                unknown.mend[0].contains("-p 40000 198.51.100.7"),
                "{unknown:?}"
            );
        }
        let ok = judged(Asked::Ourselves, ours, true);
        assert!(
            ok.what.ends_with("strangers were not"),
            "no more is claimed: {ok:?}"
        );
    }

    #[test]
    fn what_is_sent_to_a_port_of_ours_comes_in() {
        let free = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
            socket.local_addr().expect("an address")
        };
        let (open, other) = (free(), free());
        let both = [(open, open), (other, at("127.0.0.1:1"))];
        let tried = ourselves(&both, &both);
        let tried = tried.expect("ports are free");
        let answered: Vec<_> = tried
            .iter()
            .map(|t| (t.protocol, t.told == open, t.answered))
            .collect();
        assert!(answered.contains(&(Protocol::Udp, true, true)), "{tried:?}");
        assert!(
            answered.contains(&(Protocol::Udp, false, false)),
            "{tried:?}"
        );
        assert!(answered.contains(&(Protocol::Tcp, true, true)), "{tried:?}");
        assert!(
            answered.contains(&(Protocol::Tcp, false, false)),
            "{tried:?}"
        );
    }
}
