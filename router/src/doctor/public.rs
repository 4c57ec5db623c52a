//! The address that clients are told: is it the one they reach this machine by?

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Patient;
use super::report::Finding;
use crate::config::Config;
use crate::stun;

pub(super) const CHECK: &str = "public address";
const KEY: &str = "media.public_addresses";
/// Time a name service has, and a server again.
const ASKED_FOR: Duration = Duration::from_secs(2);
/// Questions at once: addresses times servers.
const QUESTIONS_MAX: usize = 16;

/// What a STUN server said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Where it was sent from.
    from: SocketAddr,
    /// Whether that was a media port, whose number a 1:1 NAT keeps.
    media: bool,
    server: String,
    answer: Result<SocketAddr, String>,
}

/// Servers to ask: those named on the command line, those that are asked at the start, and the STUN and TURN servers that clients are told of.
pub(super) fn servers(config: &Config, named: &[String]) -> Vec<String> {
    let mut servers = named.to_vec();
    servers.extend_from_slice(&config.media.public_address_servers);
    let urls = config.ice_servers.iter().flat_map(|server| &server.urls);
    servers.extend(urls.filter_map(|url| by_udp(url)));
    let mut known = BTreeSet::new();
    servers.retain(|server| known.insert(server.clone()));
    servers
}

/// `HOST[:PORT]` of a URL (RFC 7064, RFC 7065) whose server answers binding requests over UDP.
fn by_udp(url: &str) -> Option<String> {
    let rest = url
        .strip_prefix("stun:")
        .or_else(|| url.strip_prefix("turn:"))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    (query.is_empty() || query == "transport=udp").then(|| place.to_owned())
}

/// Asks, and judges.
pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    let told = patient.told();
    judge(&told, &patient.own, &ask(patient, &told))
}

/// From every address that is bound, all servers at once.
fn ask(patient: &Patient, told: &[(SocketAddr, SocketAddr)]) -> Vec<Seen> {
    let bound = told
        .iter()
        .filter(|(bound, told)| !bound.ip().is_loopback() || bound != told);
    let questions = bound.flat_map(|(bound, _)| {
        let servers = patient.servers.iter();
        servers.enumerate().map(move |(index, server)| {
            // A port is one socket's: the first server is asked from the media port itself, if that is free.
            let media = patient.media_free && index == 0;
            let port = if media { bound.port() } else { 0 };
            (SocketAddr::new(bound.ip(), port), media, server.clone())
        })
    });
    let asked: Vec<_> = questions
        .take(QUESTIONS_MAX)
        .map(|(from, media, server)| {
            std::thread::spawn(move || {
                let answer = stun::seen_at(&server, from, ASKED_FOR);
                let answer = answer.map_err(|error| error.to_string());
                Seen {
                    from,
                    media,
                    server,
                    answer,
                }
            })
        })
        .collect();
    // A panic of one is no answer.
    asked
        .into_iter()
        .filter_map(|thread| thread.join().ok())
        .collect()
}

/// Whether an address is of no use outside of its network: private, shared (RFC 6598), unique-local, loopback.
pub(super) fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// `told`: bound, and as clients are told. `own`: addresses of this machine.
fn judge(told: &[(SocketAddr, SocketAddr)], own: &[IpAddr], seen: &[Seen]) -> Vec<Finding> {
    let addresses: BTreeSet<IpAddr> = told.iter().map(|(_, told)| told.ip()).collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    if seen.is_empty() {
        return vec![unasked(&addresses, own)];
    }
    let mut found = Vec::new();
    let mut silent = Vec::new();
    let mut right = BTreeSet::new();
    for (bound, told) in told {
        let of_it = || seen.iter().filter(|seen| seen.from.ip() == bound.ip());
        let answers = || of_it().filter_map(|s| Some((s, s.answer.as_ref().ok()?)));
        silent.extend(of_it().filter_map(|s| s.answer.as_ref().err()));
        let Some((by, answer)) = answers().next() else {
            continue;
        };
        if addresses.contains(&answer.ip()) {
            right.insert(answer.ip());
        } else {
            found.push(wrong(bound.ip(), told.ip(), answer.ip(), &by.server));
        }
        let moved = answers().find(|(s, answer)| s.media && answer.port() != s.from.port());
        found.extend(moved.map(|(s, answer)| translated(s, *answer)));
    }
    found.sort_by_key(|finding| finding.what.clone());
    found.dedup();
    if !right.is_empty() {
        let what = format!("{}: STUN servers see the same", list(&right));
        found.insert(0, Finding::ok(CHECK, what));
    }
    if found.is_empty() {
        silent.sort();
        silent.dedup();
        let why: Vec<_> = silent.into_iter().map(String::as_str).collect();
        let what = format!(
            "{}: no STUN server could be asked: {}",
            list(&addresses),
            why.join("; ")
        );
        let finding = Finding::warning(CHECK, what);
        found.push(
            finding.mend("does a firewall let UDP out? `--stun HOST:PORT` asks another server"),
        );
    }
    found
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Nobody was asked.
fn unasked(addresses: &BTreeSet<IpAddr>, own: &[IpAddr]) -> Finding {
    let all = list(addresses);
    let ask = "`rillway doctor --stun HOST:PORT` asks a STUN server where it sees this machine";
    if addresses.iter().all(IpAddr::is_loopback) {
        return Finding::ok(CHECK, format!("{all}: for clients on this machine alone"));
    }
    let outer: BTreeSet<_> = addresses
        .iter()
        .copied()
        .filter(|ip| !is_inner(*ip))
        .collect();
    if outer.is_empty() {
        let what =
            format!("{all}: for clients of these networks alone, unless a NAT is before them");
        return Finding::not_checked(CHECK, what).mend(ask);
    }
    if outer.iter().all(|ip| own.contains(ip)) {
        return Finding::ok(CHECK, format!("{}: this machine has it", list(&outer)));
    }
    let what = format!("{}: not of this machine, so a NAT's", list(&outer));
    Finding::not_checked(CHECK, what).at(KEY).mend(ask)
}

fn wrong(bound: IpAddr, told: IpAddr, seen: IpAddr, server: &str) -> Finding {
    let line =
        format!("`public_addresses = [\"{seen}/{bound}\"]` in `[media]`, then restart rillway");
    if is_inner(seen) {
        let what = format!("clients are told {told}, and {server}, of this network, sees {seen}");
        return Finding::warning(CHECK, what).at(KEY).mend(line);
    }
    let what = match told == bound && is_inner(told) {
        true => format!("clients are told {told}, which they cannot reach: {server} sees {seen}"),
        false => format!("clients are told {told}, and {server} sees {seen}"),
    };
    Finding::problem(CHECK, what).at(KEY).mend(line)
}

fn translated(seen: &Seen, answer: SocketAddr) -> Finding {
    let (from, server) = (seen.from.port(), &seen.server);
    let what = format!(
        "the NAT changes ports: {server} sees port {from} as {}, so it is no 1:1 NAT",
        answer.port()
    );
    Finding::warning(CHECK, what)
        .at("media.first_port")
        .mend(format!(
            "forward UDP and TCP {from}, and one more for each worker, to {} unchanged",
            seen.from.ip()
        ))
        .mend("or let clients come by a TURN server outside (`ice.servers`)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn told(pairs: &[(&str, &str)]) -> Vec<(SocketAddr, SocketAddr)> {
        let pairs = pairs.iter();
        pairs.map(|(bound, told)| (at(bound), at(told))).collect()
    }

    fn seen(from: &str, answer: Result<&str, &str>) -> Seen {
        Seen {
            from: at(from),
            media: at(from).port() != 0,
            server: "stun.example.org".to_owned(),
            answer: answer.map(at).map_err(str::to_owned),
        }
    }

    const INNER: &str = "10.0.0.5:40000";
    const OUTER: &str = "198.51.100.7:40000";

    #[test]
    fn a_nat_that_keeps_ports_is_told_right() {
        let told = told(&[(INNER, OUTER), ("127.0.0.1:40000", "127.0.0.1:40000")]);
        let found = judge(&told, &[at(INNER).ip()], &[seen(INNER, Ok(OUTER))]);
        let what = "198.51.100.7: STUN servers see the same";
        assert_eq!(found, [Finding::ok(CHECK, what)]);
    }

    #[test]
    fn another_address_or_none_is_a_problem_with_the_line_to_write() {
        let line =
            "`public_addresses = [\"198.51.100.7/10.0.0.5\"]` in `[media]`, then restart rillway";
        for (was_told, said) in [
            (INNER, "clients are told 10.0.0.5, which they cannot reach"),
            ("198.51.100.99:40000", "clients are told 198.51.100.99, and"),
        ] {
            let told = told(&[(INNER, was_told)]);
            let found = judge(&told, &[at(INNER).ip()], &[seen(INNER, Ok(OUTER))]);
            let [found] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(found.verdict, Verdict::Problem);
            assert!(found.what.starts_with(said), "{found:?}");
            assert_eq!(found.mend, [line]);
        }
        let inside = judge(
            &told(&[(INNER, INNER)]),
            &[],
            &[seen(INNER, Ok("10.9.0.1:40000"))],
        );
        assert_eq!(
            inside[0].verdict,
            Verdict::Warning,
            "a server within the network"
        );
    }

    #[test]
    fn a_bridge_behind_the_public_address_of_this_machine_is_no_problem() {
        let bridge = "172.17.0.1:40000";
        let told = told(&[(OUTER, OUTER), (bridge, bridge)]);
        let answers = [seen(OUTER, Ok(OUTER)), seen(bridge, Ok(OUTER))];
        let found = judge(&told, &[at(OUTER).ip()], &answers);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].verdict, Verdict::Ok);
    }

    #[test]
    fn a_nat_that_changes_ports_is_no_static_one() {
        let answers = [seen(INNER, Ok("198.51.100.7:51234"))];
        let found = judge(&told(&[(INNER, OUTER)]), &[], &answers);
        let verdicts: Vec<_> = found.iter().map(|f| f.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Warning]);
        assert!(
            found[1].what.contains("sees port 40000 as 51234"),
            "{found:?}"
        );
        let mut elsewhere = answers[0].clone();
        elsewhere.media = false;
        let found = judge(&told(&[(INNER, OUTER)]), &[], &[elsewhere]);
        assert_eq!(found.len(), 1, "no media port was asked from: {found:?}");
    }

    #[test]
    fn servers_that_do_not_answer_prove_nothing() {
        let found = judge(
            &told(&[(INNER, OUTER)]),
            &[],
            &[seen(INNER, Err("no answer from it"))],
        );
        assert_eq!(found[0].verdict, Verdict::Warning);
        assert!(found[0].what.contains("no answer from it"), "{found:?}");
    }

    #[test]
    fn without_servers_the_machine_itself_is_asked() {
        let verdict = |pairs: &[(&str, &str)], own: &[&str]| {
            let own: Vec<_> = own
                .iter()
                .map(|ip| ip.parse().expect("an address"))
                .collect();
            judge(&told(pairs), &own, &[])[0].verdict
        };
        let loopback = "127.0.0.1:40000";
        assert_eq!(
            verdict(&[(loopback, loopback)], &["127.0.0.1"]),
            Verdict::Ok
        );
        assert_eq!(verdict(&[(OUTER, OUTER)], &["198.51.100.7"]), Verdict::Ok);
        assert_eq!(
            verdict(&[(INNER, OUTER)], &["10.0.0.5"]),
            Verdict::NotChecked
        );
        assert_eq!(
            verdict(&[(INNER, INNER)], &["10.0.0.5"]),
            Verdict::NotChecked
        );
    }

    #[test]
    fn servers_of_clients_are_asked_where_they_answer_udp() {
        for (url, expected) in [
            ("stun:stun.example.org", Some("stun.example.org")),
            ("turn:a.example:3479?transport=udp", Some("a.example:3479")),
            ("turn:a.example:3479", Some("a.example:3479")),
            ("turn:a.example?transport=tcp", None),
            ("turns:a.example", None),
            ("stuns:a.example", None),
        ] {
            assert_eq!(by_udp(url).as_deref(), expected, "{url}");
        }
    }
}
