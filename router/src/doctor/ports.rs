//! Can every address be listened on, or does a running router do so already?

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::Worker;
use super::holders::{Holder, Holders, Protocol};
use super::report::{Finding, of_config};
use crate::config::{Config, Key};
use crate::management::server;
use crate::{run, turn};

/// Problems of one check that are told; where one port is taken, often all are.
const TOLD_MAX: usize = 4;

/// An address that the configuration wants.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    check: &'static str,
    key: Key,
    protocol: Protocol,
    address: SocketAddr,
}

/// What stands in the way of it.
#[derive(Debug)]
enum State {
    Free,
    Held(Vec<Holder>),
    Refused(io::Error),
}

/// What is known of all ports.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) findings: Vec<Finding>,
    /// Processes of routers that hold ports of this configuration.
    pub(super) routers: BTreeSet<u32>,
    /// Whether the media ports are theirs.
    pub(super) media_runs: bool,
    /// Whether they are nobody's.
    pub(super) media_free: bool,
}

/// Tries every address.
pub(super) fn survey(config: &Config, workers: &[Worker]) -> Survey {
    let wanted = wanted(config, workers);
    let holders = Holders::now();
    let states: Vec<_> = wanted
        .into_iter()
        .map(|w| (w, state(w, &holders)))
        .collect();
    let routers: BTreeSet<u32> = states.iter().flat_map(|(_, s)| routers(s)).collect();
    let media = |(wanted, _): &&(Wanted, State)| wanted.check == MEDIA;
    let all_media = |test: fn(&State) -> bool| {
        let mut media = states.iter().filter(media).peekable();
        media.peek().is_some() && media.all(|(_, state)| test(state))
    };
    let mut survey = Survey {
        findings: findings(config, &states, &routers),
        media_runs: all_media(|state| routers_of(state) > 0),
        media_free: all_media(|state| matches!(state, State::Free)),
        routers,
    };
    if config.media.first_port == 0 {
        let what = "any free ports: `media.first_port` is 0, which is for tests";
        survey
            .findings
            .push(Finding::ok(MEDIA, what).at(Key::MEDIA_FIRST_PORT.as_str()));
    }
    survey.findings.extend(several(&survey.routers));
    survey.findings.extend(relay(config, workers, &holders));
    survey
}

const MEDIA: &str = "media ports";
const TURN: &str = "TURN ports";

fn wanted(config: &Config, workers: &[Worker]) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let mut want = |check, key, protocol, address: SocketAddr| {
        // Any port is to be had.
        if address.port() != 0 {
            wanted.push(Wanted {
                check,
                key,
                protocol,
                address,
            });
        }
    };
    let tcp = Protocol::Tcp;
    want("gateway", Key::GATEWAY_LISTEN, tcp, config.gateway.listen);
    if let Some(metrics) = config.metrics {
        want("metrics", Key::METRICS_LISTEN, tcp, metrics.listen);
    }
    if let Some(console) = &config.console {
        want("console", Key::CONSOLE_LISTEN, tcp, console.listen);
    }
    if let Some(management) = &config.management {
        let key = Key::MANAGEMENT_LISTEN;
        want("management", key, Protocol::Udp, management.listen);
    }
    let mut known = BTreeSet::new();
    for worker in workers {
        // All behind one port: it is wanted once.
        for address in worker.bound.iter().filter(|a| known.insert(**a)) {
            want(MEDIA, Key::MEDIA_FIRST_PORT, Protocol::Udp, *address);
        }
        for (address, _) in &worker.tcp {
            want(MEDIA, Key::MEDIA_FIRST_PORT, tcp, *address);
        }
    }
    if let Some(turn) = &config.turn {
        for (key, protocol, addresses) in [
            (Key::TURN_UDP, Protocol::Udp, &turn.udp),
            (Key::TURN_TCP, tcp, &turn.tcp),
            (Key::TURN_TLS, tcp, &turn.tls),
        ] {
            for address in addresses {
                want(TURN, key, protocol, *address);
            }
        }
    }
    wanted
}

/// Binds, lets go, and looks who was in the way.
fn state(wanted: Wanted, holders: &Holders) -> State {
    let bound = match (wanted.protocol, wanted.key) {
        (Protocol::Tcp, _) => run::listen_on(wanted.address).map(drop),
        (Protocol::Udp, Key::MANAGEMENT_LISTEN) => server::bind(wanted.address).map(drop),
        (Protocol::Udp, _) => turn::listen_udp(wanted.address).map(drop),
    };
    match bound {
        Ok(()) => State::Free,
        Err(error) => match holders.of(wanted.protocol, wanted.address) {
            found if found.is_empty() => State::Refused(error),
            found => State::Held(found),
        },
    }
}

fn routers(state: &State) -> impl Iterator<Item = u32> + '_ {
    let holders = match state {
        State::Held(holders) => holders.as_slice(),
        _ => &[],
    };
    holders.iter().filter_map(|holder| match holder {
        Holder::Router { pid, .. } => Some(*pid),
        _ => None,
    })
}

fn routers_of(state: &State) -> usize {
    routers(state).count()
}

/// A line for each check that is well, and one for each address that is not.
fn findings(config: &Config, states: &[(Wanted, State)], running: &BTreeSet<u32>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut checks: Vec<_> = states.iter().map(|(wanted, _)| wanted.check).collect();
    checks.dedup();
    for check in checks {
        let of_check = || states.iter().filter(|(wanted, _)| wanted.check == check);
        let bad: Vec<_> = of_check()
            .flat_map(|(wanted, state)| judge(config, *wanted, state, running))
            .collect();
        let more = bad.len().saturating_sub(TOLD_MAX);
        if bad.is_empty() {
            let addresses = of_check().map(|(wanted, _)| *wanted).collect::<Vec<_>>();
            let by = match running.iter().next() {
                Some(pid) => format!("held by a running router, process {pid}"),
                None => "free".to_owned(),
            };
            found.push(Finding::ok(check, format!("{}: {by}", places(&addresses))));
        }
        found.extend(bad.into_iter().take(TOLD_MAX));
        if more > 0 {
            let what = format!("the same of {more} more of its addresses");
            found.push(Finding::problem(check, what));
        }
    }
    found
}

/// `None`: it is well.
fn judge(config: &Config, wanted: Wanted, state: &State, running: &BTreeSet<u32>) -> Vec<Finding> {
    let (check, key) = (wanted.check, wanted.key.as_str());
    let place = format!("{} {}", wanted.protocol, wanted.address);
    match state {
        State::Free if running.is_empty() => Vec::new(),
        State::Free => {
            let what = format!("{place} is free, although a router is running");
            let way = "if the file was changed since it started: `systemctl restart rillway`";
            vec![Finding::warning(check, what).at(key).mend(way)]
        }
        State::Held(_) if routers_of(state) > 0 => Vec::new(),
        State::Held(holders) => {
            let names: Vec<_> = holders.iter().map(ToString::to_string).collect();
            let what = format!("{place} is held by {}", names.join(" and "));
            let mut finding = Finding::problem(check, what).at(key);
            for holder in holders {
                finding = match holder {
                    Holder::Other { pid, .. } => finding.mend(format!("end it: `kill {pid}`")),
                    _ => finding.mend("`rillway doctor` as root says which process it is"),
                };
            }
            vec![finding.mend(format!("or give `{key}` another port"))]
        }
        State::Refused(error) => {
            let error = config.bind_error(wanted.key, wanted.address, error);
            let mut found = of_config(check, config.name(), &error);
            found.iter_mut().for_each(|f| f.key = Some(key.to_owned()));
            found
        }
    }
}

/// `UDP and TCP 40000 to 40003 on 2 addresses`, `TCP 127.0.0.1:8080`.
fn places(wanted: &[Wanted]) -> String {
    let addresses: BTreeSet<_> = wanted.iter().map(|w| w.address.ip()).collect();
    let ports: BTreeSet<_> = wanted.iter().map(|w| w.address.port()).collect();
    let protocols: BTreeSet<_> = wanted.iter().map(|w| w.protocol).collect();
    let protocols: Vec<_> = protocols.iter().map(ToString::to_string).collect();
    let mut text = protocols.join(" and ");
    if let [one] = wanted {
        let _ = write!(text, " {}", one.address);
        return text;
    }
    let (first, last) = (ports.first().copied(), ports.last().copied());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let _ = match first == last {
        true => write!(text, " {first}"),
        false if usize::from(last - first) + 1 == ports.len() => write!(text, " {first} to {last}"),
        false => {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            write!(text, " {}", ports.join(", "))
        }
    };
    let _ = match addresses.len() {
        1..=3 => {
            let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            write!(text, " on {}", all.join(", "))
        }
        many => write!(text, " on {many} addresses"),
    };
    text
}

/// Two routers with ports of one configuration: clients find now one, now the other.
fn several(routers: &BTreeSet<u32>) -> Option<Finding> {
    if routers.len() < 2 {
        return None;
    }
    let all: Vec<_> = routers.iter().map(ToString::to_string).collect();
    let what = format!("several routers hold them: processes {}", all.join(", "));
    let way = "end all but one: `rillway drain`, or `kill` and its number";
    Some(Finding::problem("ports", what).mend(way))
}

/// The ports that TURN relays from.
fn relay(config: &Config, workers: &[Worker], holders: &Holders) -> Vec<Finding> {
    const CHECK: &str = "TURN relay";
    let Some(turn) = &config.turn else {
        return Vec::new();
    };
    let (first, last) = (*turn.relay_ports.start(), *turn.relay_ports.end());
    let mut found = Vec::new();
    for address in &turn.relay_addresses {
        if let Err(error) = UdpSocket::bind((*address, 0)) {
            let key = Key::TURN_RELAY_ADDRESSES;
            let error = config.bind_error(key, SocketAddr::new(*address, 0), &error);
            found.extend(of_config(CHECK, config.name(), &error));
        }
    }
    let media: BTreeSet<_> = workers.iter().flat_map(|w| &w.bound).collect();
    let media = media.iter().map(|address| address.port());
    let media: BTreeSet<_> = media.filter(|p| turn.relay_ports.contains(p)).collect();
    let taken = holders.udp_ports(&turn.relay_addresses, first, last);
    let free = turn.relay_ports.clone().count().saturating_sub(taken);
    found.extend(judge_relay(
        (first, last),
        free,
        turn.allocations_max,
        media.first().copied(),
    ));
    found
}

fn judge_relay(
    (first, last): (u16, u16),
    free: usize,
    wanted: u32,
    media: Option<u16>,
) -> Vec<Finding> {
    const CHECK: &str = "TURN relay";
    let key = "turn.relay_first_port";
    if let Some(media) = media {
        let what = format!("media port {media} is within the relay's, {first} to {last}");
        let way = "put `media.first_port` below `turn.relay_first_port`";
        return vec![Finding::warning(CHECK, what).at(key).mend(way)];
    }
    if free < wanted as usize {
        let what = format!(
            "{free} of the UDP ports {first} to {last} are free, and `turn.allocations_max` is {wanted}"
        );
        let way = "widen `turn.relay_first_port` to `turn.relay_last_port`, or allow fewer";
        return vec![Finding::warning(CHECK, what).at(key).mend(way)];
    }
    let what = format!("{free} of the UDP ports {first} to {last} are free");
    vec![Finding::ok(CHECK, what)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn config() -> Config {
        let text = "authentication.policy = \"auth-open\"\ngateway.listen = \"127.0.0.1:80\"\n";
        Config::parse("r.toml", text).expect("valid")
    }

    fn gateway() -> Wanted {
        Wanted {
            check: "gateway",
            key: Key::GATEWAY_LISTEN,
            protocol: Protocol::Tcp,
            address: "127.0.0.1:80".parse().expect("an address"),
        }
    }

    fn judged(state: State, running: &[u32]) -> Vec<Finding> {
        let running = running.iter().copied().collect();
        findings(&config(), &[(gateway(), state)], &running)
    }

    fn router(pid: u32) -> Holder {
        let command = "rillway serve".to_owned();
        Holder::Router { pid, command }
    }

    #[test]
    fn a_port_is_free_or_the_routers() {
        let free = judged(State::Free, &[]);
        assert_eq!(free, [Finding::ok("gateway", "TCP 127.0.0.1:80: free")]);
        let held = judged(State::Held(vec![router(7)]), &[7]);
        let what = "TCP 127.0.0.1:80: held by a running router, process 7";
        assert_eq!(held, [Finding::ok("gateway", what)]);
    }

    #[test]
    fn somebody_else_is_named_with_how_to_end_it() {
        let other = Holder::Other {
            pid: 77,
            command: "nginx: master".to_owned(),
        };
        let [found] = &judged(State::Held(vec![other]), &[])[..] else {
            panic!("one")
        };
        assert_eq!(found.verdict, Verdict::Problem);
        assert!(
            found.what.contains("process 77 (`nginx: master`)"),
            "{found:?}"
        );
        assert_eq!(found.mend[0], "end it: `kill 77`");
        assert_eq!(found.key.as_deref(), Some("gateway.listen"));
        let hidden = judged(State::Held(vec![Holder::Hidden { uid: 33 }]), &[]);
        assert!(hidden[0].what.contains("user 33"), "{hidden:?}");
        assert!(hidden[0].mend[0].contains("as root"), "{hidden:?}");
    }

    #[test]
    fn a_router_that_does_not_listen_where_it_should_was_not_restarted() {
        let [found] = &judged(State::Free, &[7])[..] else {
            panic!("one")
        };
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(found.mend[0].contains("restart"), "{found:?}");
        assert_eq!(several(&BTreeSet::from([7])), None);
        let two = several(&BTreeSet::from([7, 9])).expect("two of them");
        assert!(two.what.contains("processes 7, 9"), "{two:?}");
    }

    #[test]
    fn what_the_system_refuses_is_told_as_serve_tells_it() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let [found] = &judged(State::Refused(denied), &[])[..] else {
            panic!("one")
        };
        assert_eq!(found.verdict, Verdict::Problem);
        assert!(found.mend[0].contains("CAP_NET_BIND_SERVICE"), "{found:?}");
        assert_eq!(found.place.as_deref(), Some("r.toml:2"));
    }

    #[test]
    fn many_addresses_are_told_in_few_words() {
        let at = |protocol, address: &str| Wanted {
            protocol,
            address: address.parse().expect("an address"),
            ..gateway()
        };
        let all = [
            at(Protocol::Udp, "10.0.0.5:40000"),
            at(Protocol::Tcp, "10.0.0.5:40000"),
            at(Protocol::Udp, "127.0.0.1:40001"),
        ];
        let expected = "UDP and TCP 40000 to 40001 on 10.0.0.5, 127.0.0.1";
        assert_eq!(places(&all), expected);
        let apart = [all[0], at(Protocol::Udp, "10.0.0.5:443")];
        assert_eq!(places(&apart), "UDP 443, 40000 on 10.0.0.5");
    }

    #[test]
    fn a_relay_has_enough_ports_and_none_of_the_workers() {
        let verdict = |free, media| judge_relay((50_000, 50_099), free, 50, media)[0].verdict;
        assert_eq!(verdict(100, None), Verdict::Ok);
        assert_eq!(verdict(50, None), Verdict::Ok);
        assert_eq!(verdict(49, None), Verdict::Warning);
        assert_eq!(verdict(100, Some(50_001)), Verdict::Warning);
    }
}
