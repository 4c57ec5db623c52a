//! Certificates: their time, and the name they are for. That they can be read and belong to their keys is known once the
//! configuration is.

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::report::Finding;
use crate::config::Config;

/// Time before the end at which it is said, days. Who renews by ACME does so 30 days before.
const SOON_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 24 * 3_600;

/// What there is to say of a file with certificates.
struct File<'a> {
    check: &'static str,
    key: &'static str,
    pem: &'a str,
    /// Name that clients reach it by, and the key that says so.
    host: Option<(&'a str, &'static str)>,
    /// Whether clients ask for a name at all.
    named: bool,
    /// How a new one is had.
    renew: &'static str,
}

/// Every certificate that the configuration names.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut files = Vec::new();
    if let Some(turn) = &config.turn
        && let Some(identity) = &turn.identity
    {
        files.push(File {
            check: "TURN certificate",
            key: "turn.certificate",
            pem: &identity.certificate,
            host: turn.host.as_deref().map(|host| (host, "turn.host")),
            named: true,
            renew: "renew it where it was made (`certbot renew`), then `systemctl restart rillway`",
        });
    }
    if let Some(management) = &config.management {
        files.push(File {
            check: "management certificate",
            key: "management.certificate",
            pem: &management.identity.certificate,
            host: None,
            named: true,
            renew: "`rillway ca issue NAME --server --host HOST`, then `systemctl reload rillway`",
        });
        files.push(File {
            check: "management authority",
            key: "management.client_ca",
            pem: &management.identity.authority,
            host: None,
            named: false,
            renew: "`rillway ca init`, and new certificates for the router and all operators",
        });
    }
    let now = OffsetDateTime::now_utc().unix_timestamp();
    files.iter().map(|file| judge(file, now)).collect()
}

/// The worst there is to say.
fn judge(file: &File<'_>, now: i64) -> Finding {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.pem.as_bytes()).collect();
    let problem = |what: String| Finding::problem(file.check, what).at(file.key);
    let chain = match read {
        Ok(chain) if !chain.is_empty() => chain,
        _ => return problem("there is no certificate in it".to_owned()).mend(file.renew),
    };
    let mut ends = i64::MAX;
    for (index, der) in chain.iter().enumerate() {
        let which = match index {
            0 => "it".to_owned(),
            _ => format!("certificate {} of its chain", index + 1),
        };
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return problem(format!("{which} cannot be read")).mend(file.renew);
        };
        let validity = certificate.validity();
        let (from, until) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        if until < now {
            let what = format!("{which} expired on {}", date(until));
            return problem(what).mend(file.renew);
        }
        if from > now {
            let what = format!("{which} is not valid before {}", date(from));
            return problem(what)
                .mend("is this machine's clock right?")
                .mend(file.renew);
        }
        ends = ends.min(until);
    }
    if let Some(finding) = names(file, &chain[0]) {
        return finding.at(file.key);
    }
    let days = (ends - now) / DAY_SECONDS;
    if days < SOON_DAYS {
        let what = format!("it expires on {}, in {days} days", date(ends));
        return Finding::warning(file.check, what)
            .at(file.key)
            .mend(file.renew);
    }
    let host = file.host.map(|(host, _)| format!("for {host}, "));
    let host = host.unwrap_or_default();
    Finding::ok(file.check, format!("{host}valid until {}", date(ends)))
}

/// `None`: it is for whom it should be.
fn names(file: &File<'_>, der: &CertificateDer<'_>) -> Option<Finding> {
    if !file.named {
        return None;
    }
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(Vec::new(), |names| {
        names
            .value
            .general_names
            .iter()
            .map(ToString::to_string)
            .collect()
    });
    if names.is_empty() {
        let what = "it names no host, so clients refuse it";
        return Some(Finding::problem(file.check, what).mend(file.renew));
    }
    let (host, key) = file.host?;
    let covered = ServerName::try_from(host).is_ok_and(|name| {
        ParsedCertificate::try_from(der).is_ok_and(|c| verify_server_name(&c, &name).is_ok())
    });
    if covered {
        return None;
    }
    let what = format!("it is not for {host}, but for {}", names.join(", "));
    let way = format!("have one made for {host}, or set `{key}` to a name that it has");
    Some(Finding::problem(file.check, what).mend(way))
}

fn date(timestamp: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(timestamp);
    date.map_or_else(|_| timestamp.to_string(), |date| date.date().to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::report::Verdict;
    use crate::management::pki::{Authority, Subject};

    const DAY: u64 = 24 * 3_600;

    /// Of a certificate for these hosts that is good for so long, after so many days.
    fn judged(hosts: &[&str], valid_days: u64, after_days: i64) -> Finding {
        let valid = Duration::from_secs(valid_days * DAY);
        let authority = Authority::create("a", valid).expect("made");
        let subject = Subject {
            name: "router".to_owned(),
            role: None,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            valid,
        };
        let issued = authority.issue(&subject).expect("made");
        let file = File {
            check: "TURN certificate",
            key: "turn.certificate",
            pem: &issued.certificate,
            host: Some(("turn.example.org", "turn.host")),
            named: true,
            renew: "renew",
        };
        let now = OffsetDateTime::now_utc().unix_timestamp();
        judge(&file, now + after_days * DAY_SECONDS)
    }

    #[test]
    fn time_and_name_are_judged() {
        let ours = ["turn.example.org"];
        for (hosts, valid, after, verdict, said) in [
            (
                &ours[..],
                90,
                0,
                Verdict::Ok,
                "for turn.example.org, valid until 20",
            ),
            (&ours, 90, 80, Verdict::Warning, "it expires on 20"),
            (&ours, 90, 91, Verdict::Problem, "it expired on 20"),
            (&ours, 90, -2, Verdict::Problem, "it is not valid before 20"),
            (
                &["other.org"],
                90,
                0,
                Verdict::Problem,
                "it is not for turn.example.org, but for",
            ),
            (&[], 90, 0, Verdict::Problem, "it names no host"),
        ] {
            let found = judged(hosts, valid, after);
            assert_eq!(found.verdict, verdict, "{found:?}");
            assert!(found.what.starts_with(said), "{found:?}");
            assert_eq!(found.mend.is_empty(), verdict == Verdict::Ok, "{found:?}");
        }
    }

    #[test]
    fn a_chain_is_as_good_as_its_worst_certificate() {
        let made = |days: u64| {
            let valid = Duration::from_secs(days * DAY);
            Authority::create("a", valid)
                .expect("made")
                .certificate()
                .to_owned()
        };
        let pem = made(90) + &made(20);
        let file = |pem| File {
            check: "management authority",
            key: "management.client_ca",
            pem,
            host: None,
            named: false,
            renew: "renew",
        };
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let at = |days| judge(&file(&pem), now + days * DAY_SECONDS);
        assert_eq!(at(0).verdict, Verdict::Ok);
        assert_eq!(at(10).verdict, Verdict::Warning);
        let late = at(30);
        assert!(
            late.what.starts_with("certificate 2 of its chain expired"),
            "{late:?}"
        );
        assert_eq!(judge(&file("nothing"), now).verdict, Verdict::Problem);
    }
}
