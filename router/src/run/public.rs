//! The public address, learned by STUN at the start (`media.public_address_servers`).
//!
//! A 1:1 NAT, as clouds have it, keeps ports: what is learned of one port holds for all, so the address alone is asked for.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Config, ConfigError, Key, PublicAddress};
use crate::stun::{self, StunError};

use super::settings::media_addresses;

/// Time a name service has, and a server again; requests are repeated meanwhile.
const ASKED_FOR: Duration = Duration::from_secs(2);

/// Where servers see a bound address.
#[derive(Debug)]
struct Answer {
    bound: IpAddr,
    server: String,
    seen: Result<IpAddr, StunError>,
}

/// Asks the servers that the configuration names, if any, and puts what they say before its public addresses.
///
/// # Errors
/// None answers, and the configuration has no public address.
pub(crate) fn learn(config: &mut Config) -> Result<(), ConfigError> {
    if config.media.public_address_servers.is_empty() {
        return Ok(());
    }
    let answers = ask(config, &addresses(config));
    let learned = choose(&answers);
    for answer in &answers {
        match &answer.seen {
            Ok(public) => {
                let (bound, server) = (answer.bound, &answer.server);
                tracing::info!(%bound, %public, server, "public address by STUN");
            }
            // A server of one family says nothing to the other, which is as it should be.
            Err(StunError::Family { .. }) => {}
            Err(error) => {
                tracing::warn!(bound = %answer.bound, %error, "no public address by STUN");
            }
        }
    }
    if learned.is_empty() {
        return unanswered(config, &answers);
    }
    let known = std::mem::take(&mut config.media.public_addresses);
    config.media.public_addresses = merge(learned, known);
    Ok(())
}

/// What was written stands, if anything was.
fn unanswered(config: &Config, answers: &[Answer]) -> Result<(), ConfigError> {
    if !config.media.public_addresses.is_empty() {
        tracing::warn!("no STUN server said a public address: `media.public_addresses` stands");
        return Ok(());
    }
    let errors = answers.iter().filter_map(|a| a.seen.as_ref().err());
    let mut why: Vec<_> = errors.map(ToString::to_string).collect();
    why.sort();
    why.dedup();
    let problem = match why.as_slice() {
        [] => "there is no address to be asked about".to_owned(),
        why => format!("no public address was learned: {}", why.join("; ")),
    };
    let help = "let UDP out to them, or write the address: `media.public_addresses`, which stands where no server answers";
    Err(config.refused(Key::MEDIA_PUBLIC_ADDRESS_SERVERS, &problem, help))
}

/// Every address that clients may be told of: those of media and of the TURN relay.
fn addresses(config: &Config) -> Vec<IpAddr> {
    // Whoever binds them says so if there are none. A server outside is not reached from loopback, unless that is what
    // was asked for.
    let mut all = media_addresses(config).unwrap_or_default();
    all.retain(|address| !address.is_loopback() || config.media.bind.contains(address));
    if let Some(turn) = &config.turn {
        let listened = turn.udp.iter().chain(&turn.tcp).chain(&turn.tls);
        all.extend(listened.map(SocketAddr::ip));
        all.extend(&turn.relay_addresses);
    }
    let mut known = BTreeSet::new();
    all.retain(|address| known.insert(*address));
    all
}

/// Every server from every address, all at once.
fn ask(config: &Config, addresses: &[IpAddr]) -> Vec<Answer> {
    let asking = addresses.iter().flat_map(|bound| {
        let servers = config.media.public_address_servers.iter();
        servers.map(move |server| (*bound, server.clone()))
    });
    let asking: Vec<_> = asking
        .map(|(bound, server)| {
            std::thread::spawn(move || {
                let seen = stun::seen_at(&server, SocketAddr::new(bound, 0), ASKED_FOR);
                Answer {
                    bound,
                    server,
                    seen: seen.map(|seen| seen.ip()),
                }
            })
        })
        .collect();
    // A panic of one is no answer.
    asking
        .into_iter()
        .filter_map(|thread| thread.join().ok())
        .collect()
}

/// One for each address and one for each public address: of several addresses that are seen at one (a bridge for
/// containers goes out by the others), the first stands for it. The first server that answered counts.
fn choose(answers: &[Answer]) -> Vec<PublicAddress> {
    let mut learned: Vec<PublicAddress> = Vec::new();
    for answer in answers {
        let Ok(public) = answer.seen else {
            continue;
        };
        let bound = Some(answer.bound);
        let known = learned
            .iter()
            .any(|l| l.bound == bound || l.public == public);
        if !known {
            learned.push(PublicAddress { public, bound });
        }
    }
    // An address that is its own stands for itself, whoever else is seen there.
    for answer in answers
        .iter()
        .filter(|a| a.seen.as_ref().is_ok_and(|seen| *seen == a.bound))
    {
        learned.retain(|l| l.public != answer.bound);
        let (public, bound) = (answer.bound, Some(answer.bound));
        learned.push(PublicAddress { public, bound });
    }
    learned
}

/// What was learned, and what was written of other addresses.
fn merge(mut learned: Vec<PublicAddress>, known: Vec<PublicAddress>) -> Vec<PublicAddress> {
    let other = |known: &PublicAddress| match known.bound {
        Some(bound) => learned.iter().all(|l| l.bound != Some(bound)),
        // For every address of its family: those that nothing was learned of.
        None => true,
    };
    let others: Vec<_> = known.into_iter().filter(other).collect();
    learned.extend(others);
    learned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn answer(bound: &str, server: &str, seen: Option<&str>) -> Answer {
        let silent = || StunError::Silent(SocketAddr::new(ip("192.0.2.1"), 3478));
        Answer {
            bound: ip(bound),
            server: server.to_owned(),
            seen: seen.map(ip).ok_or_else(silent),
        }
    }

    fn texts(addresses: &[PublicAddress]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_server_that_answers_counts_for_each_address() {
        let answers = [
            answer("10.0.0.5", "a", None),
            answer("10.0.0.5", "b", Some("203.0.113.7")),
            answer("10.0.0.5", "c", Some("203.0.113.8")),
            answer("10.0.1.5", "b", Some("203.0.113.9")),
            answer("172.17.0.1", "b", Some("203.0.113.7")),
            answer("fd00::5", "b", None),
        ];
        let expected = ["203.0.113.7/10.0.0.5", "203.0.113.9/10.0.1.5"];
        assert_eq!(texts(&choose(&answers)), expected);
        assert!(choose(&answers[..1]).is_empty());
    }

    #[test]
    fn addresses_of_media_and_of_the_relay_are_asked_about_once() {
        let text = "authentication.policy = \"auth-open\"\n[media]\nbind = [\"10.0.0.5\", \"127.0.0.1\"]\n\
                    [turn]\nudp = [\"10.0.0.5:3478\", \"10.0.0.6:3478\"]\n";
        let config = Config::parse("r.toml", text).expect("valid");
        let expected = ["10.0.0.5", "127.0.0.1", "10.0.0.6"].map(ip);
        assert_eq!(addresses(&config), expected);
        let everywhere = text.replace("bind = [\"10.0.0.5\", \"127.0.0.1\"]", "");
        let config = Config::parse("r.toml", &everywhere).expect("valid");
        assert!(addresses(&config).iter().all(|a| !a.is_loopback()));
    }

    #[test]
    fn an_address_without_a_nat_is_its_own() {
        let answers = [
            answer("172.17.0.1", "a", Some("203.0.113.7")),
            answer("203.0.113.7", "a", Some("203.0.113.7")),
        ];
        assert_eq!(texts(&choose(&answers)), ["203.0.113.7/203.0.113.7"]);
    }

    #[test]
    fn what_is_learned_goes_before_what_was_written() {
        let text = "authentication.policy = \"auth-open\"\n[media]\nbind = [\"10.0.0.5\", \"10.0.1.5\"]\n\
                    public_addresses = [\"198.51.100.1/10.0.0.5\", \"198.51.100.2\"]\n";
        let mut config = Config::parse("r.toml", text).expect("valid");
        let learned = choose(&[answer("10.0.0.5", "a", Some("203.0.113.7"))]);
        let media = &mut config.media;
        media.public_addresses = merge(learned, std::mem::take(&mut media.public_addresses));
        assert_eq!(media.advertised(ip("10.0.0.5")), ip("203.0.113.7"));
        assert_eq!(media.advertised(ip("10.0.1.5")), ip("198.51.100.2"));
    }
}
