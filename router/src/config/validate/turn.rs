//! `[turn]`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::{Checks, Readers, read_secret, read_text};
use crate::config::Secret;
use crate::config::turn::{RawTurn, SECRET_CHARS_MIN, Turn, TurnIdentity};
use crate::turn;

/// A longer file is no chain of certificates.
const PEM_BYTES_MAX: u64 = 64 * 1024;

impl Checks<'_> {
    /// `None`: the relay is off, or there is a problem.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        let raw = &self.raw.turn;
        if raw.udp.is_empty() && raw.tcp.is_empty() && raw.tls.is_empty() {
            return None;
        }
        self.turn_listeners();
        self.turn_ports();
        let relay_addresses = self.relay_addresses();
        let secret = self.turn_secret();
        let identity = self.turn_identity();
        Some(Turn {
            udp: raw.udp.clone(),
            tcp: raw.tcp.clone(),
            tls: raw.tls.clone(),
            host: raw.host.clone(),
            identity,
            secret,
            realm: raw.realm.clone(),
            relay_addresses,
            relay_ports: raw.relay_first_port..=raw.relay_last_port,
            public_peers: raw.public_peers,
            credential_time: Duration::from_secs(u64::from(raw.credential_seconds)),
            allocations_max: raw.allocations_max,
            allocations_per_user_max: raw.allocations_per_user_max,
            allocations_per_address_max: raw.allocations_per_address_max,
            stranger_answers_per_second: raw.stranger_answers_per_second,
        })
    }

    fn turn_listeners(&mut self) {
        let raw = self.raw;
        let lists = [
            ("udp", &raw.turn.udp),
            ("tcp", &raw.turn.tcp),
            ("tls", &raw.turn.tls),
        ];
        for (name, list) in lists {
            for (index, address) in list.iter().enumerate() {
                if address.ip().is_unspecified() || address.ip().is_multicast() {
                    let key = format!("turn.{name}[{index}]");
                    let title = format!(
                        "`{key}` cannot be {address}: a client must be told an address it can reach"
                    );
                    let help = "name an address of an interface";
                    self.report(title, &[(&key, "names no interface")], help);
                }
            }
        }
        let gateway = (raw.gateway.listen, "gateway.listen");
        let streams = raw.turn.tcp.iter().map(|a| (*a, "turn.tcp"));
        let streams = streams.chain(raw.turn.tls.iter().map(|a| (*a, "turn.tls")));
        let streams: Vec<(SocketAddr, &str)> = streams.collect();
        for (index, (address, key)) in streams.iter().enumerate() {
            let others = streams[..index].iter().copied().chain([gateway]);
            if let Some((_, other)) = others
                .into_iter()
                .find(|(a, _)| super::collide(*a, *address))
            {
                let title = format!(
                    "`{key}` and `{other}` both want TCP port {}",
                    address.port()
                );
                let keys = [(*key, "this listener"), (other, "and this one")];
                self.report(
                    title,
                    &keys,
                    "give one of them another port or another address",
                );
            }
        }
    }

    fn turn_ports(&mut self) {
        let raw = &self.raw.turn;
        let (first, last) = (raw.relay_first_port, raw.relay_last_port);
        if first > last {
            let title = format!("there is no port from {first} to {last} to relay from");
            let keys = [
                ("turn.relay_first_port", "the first port"),
                ("turn.relay_last_port", "the last one"),
            ];
            self.report(title, &keys, "put the lower one first");
        }
    }

    fn relay_addresses(&mut self) -> Vec<IpAddr> {
        let raw = &self.raw.turn;
        if raw.relay_addresses.is_empty() {
            let listened = raw.udp.iter().chain(&raw.tcp).chain(&raw.tls);
            let mut families = BTreeSet::new();
            let addresses = listened.map(SocketAddr::ip);
            return addresses
                .filter(|ip| families.insert(ip.is_ipv4()))
                .collect();
        }
        let addresses = raw.relay_addresses.clone();
        let unusable = addresses
            .iter()
            .position(|a| a.is_unspecified() || a.is_multicast());
        if let Some(index) = unusable {
            let key = format!("turn.relay_addresses[{index}]");
            let title = format!("`{key}` is no address of an interface");
            self.report(
                title,
                &[(&key, "relay from here?")],
                "name one, or leave it out",
            );
        }
        if let [a, b] = addresses.as_slice()
            && a.is_ipv4() == b.is_ipv4()
        {
            let title = "`turn.relay_addresses` has two addresses of one family".to_owned();
            let keys = [("turn.relay_addresses[1]", "which of them?")];
            self.report(title, &keys, "leave one out");
        }
        addresses
    }

    fn turn_secret(&mut self) -> Option<Secret> {
        let file = self.raw.turn.secret_file.as_deref()?;
        let path = self.provenance.source().folder.join(file);
        let (why, help) = match read_secret(&path) {
            Ok(secret) if secret.reveal().chars().count() >= SECRET_CHARS_MIN => {
                return Some(secret);
            }
            Ok(_) => (
                format!("it has fewer than {SECRET_CHARS_MIN} characters"),
                format!("openssl rand -hex 32 > {}", path.display()),
            ),
            Err(problem) => problem,
        };
        let title = format!("cannot use the secret in `{}`: {why}", path.display());
        self.report(title, &[("turn.secret_file", "this file")], &help);
        None
    }

    fn turn_identity(&mut self) -> Option<TurnIdentity> {
        let raw = &self.raw.turn;
        let wanted = !raw.tls.is_empty();
        let (Some(certificate), Some(key), Some(_), true) =
            (&raw.certificate, &raw.key, &raw.host, wanted)
        else {
            let missing = match (&raw.certificate, &raw.key) {
                (None, _) => "turn.certificate",
                (_, None) => "turn.key",
                _ => "turn.host",
            };
            if wanted {
                let title = format!("`turn.tls` is set, and `{missing}` is not");
                let help =
                    "a browser takes TLS only from the host that a certificate it believes is for";
                self.report(
                    title,
                    &[("turn.tls", "needs a certificate and its name")],
                    help,
                );
            }
            return None;
        };
        let folder = self.provenance.source().folder.clone();
        let (certificate, key) = (folder.join(certificate), folder.join(key));
        let certificate = self.pem("turn.certificate", &certificate, Readers::Anybody)?;
        let key = self
            .pem("turn.key", &key, Readers::Private)
            .map(Secret::new)?;
        let identity = TurnIdentity { certificate, key };
        if let Err(why) = turn::tls(&identity) {
            let title = format!("TURN's certificate and key cannot be used: {why}");
            let keys = [
                ("turn.certificate", "this one"),
                ("turn.key", "with this key"),
            ];
            self.report(
                title,
                &keys,
                "name a certificate in PEM and the key it was made for",
            );
            return None;
        }
        Some(identity)
    }

    fn pem(&mut self, key: &str, path: &Path, readers: Readers) -> Option<String> {
        match read_text(path, PEM_BYTES_MAX, readers) {
            Ok(text) => Some(text),
            Err((why, help)) => {
                let title = format!("cannot use `{}`: {why}", path.display());
                self.report(title, &[(key, "this file")], &help);
                None
            }
        }
    }

    /// Files that `[turn]` names, for the sandbox.
    pub(super) fn turn_files(raw: &RawTurn) -> impl Iterator<Item = (String, &Path)> {
        let files = [
            ("turn.secret_file", &raw.secret_file),
            ("turn.certificate", &raw.certificate),
            ("turn.key", &raw.key),
        ];
        let named = files.into_iter();
        named.filter_map(|(key, file)| Some((key.to_owned(), file.as_deref()?)))
    }
}
