//! The private authority of a router's operators, and the certificates it issues.
//!
//! A client's certificate names its role in a URI (`rillway:role:admin`); a router's names the hosts it
//! is reached by. Keys are ECDSA on P-256.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::role::{ROLE_URI, Role};
use crate::config::Secret;

/// Certificates are valid from a little before they are made: clocks differ.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// Lists of revoked certificates say when the next is due. Routers do not mind when it is over.
const NEXT_LIST: Duration = Duration::from_secs(3_650 * 24 * 3_600);
/// Ends of a list of revoked certificates as PEM.
const LIST: (&str, &str) = ("-----BEGIN X509 CRL-----", "-----END X509 CRL-----");

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The authority's files are not what they should be.
    #[error("the authority's certificate and key cannot be used: {0}")]
    Authority(rcgen::Error),
    /// A list of revoked certificates is none.
    #[error("the authority's list of revoked certificates cannot be read")]
    List,
    /// What is to be revoked is no certificate of this authority.
    #[error("{0}")]
    Stranger(&'static str),
    /// A host is neither an address nor a name.
    #[error("`{0}` is neither a host name nor an IP address")]
    Host(String),
    /// The library or the system refused.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Common name: who it is, for logs.
    pub name: String,
    /// Role of a client; `None`: it is a router's, and opens nothing.
    pub role: Option<Role>,
    /// Names and addresses a router is reached by.
    pub hosts: Vec<String>,
    /// How long it is valid.
    pub valid: Duration,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: Secret,
}

/// A private certificate authority.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`PkiError::Make`].
    pub fn create(name: &str, valid: Duration) -> Result<Authority, PkiError> {
        let mut params = params(name, valid);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Authority {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// [`PkiError::Authority`].
    pub fn from_pem(certificate: &str, key: &Secret) -> Result<Authority, PkiError> {
        let key = KeyPair::from_pem(key.reveal()).map_err(PkiError::Authority)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(PkiError::Authority)?;
        Ok(Authority {
            certificate: certificate.to_owned(),
            issuer,
        })
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key, as PEM.
    #[must_use]
    pub fn key(&self) -> Secret {
        Secret::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for somebody, with a new key.
    ///
    /// # Errors
    /// [`PkiError::Host`], [`PkiError::Make`].
    pub fn issue(&self, subject: &Subject) -> Result<Issued, PkiError> {
        let mut params = params(&subject.name, subject.valid);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if let Some(role) = subject.role {
            let uri = Ia5String::try_from(format!("{ROLE_URI}{role}"))?;
            params.subject_alt_names.push(SanType::URI(uri));
            let usage = ExtendedKeyUsagePurpose::ClientAuth;
            params.extended_key_usages.push(usage);
        }
        for host in &subject.hosts {
            params.subject_alt_names.push(host_name(host)?);
        }
        if !subject.hosts.is_empty() {
            let usage = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.push(usage);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
        })
    }

    /// The authority's file (certificate, and list of revoked certificates) with one more in the list; `file`
    /// is what it was.
    ///
    /// # Errors
    /// [`PkiError::Stranger`], [`PkiError::List`], [`PkiError::Make`].
    pub fn revoke(&self, file: &str, certificate: &str) -> Result<String, PkiError> {
        let none = PkiError::Stranger("there is no certificate in it");
        let own = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| none)?;
        let ours = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let ours = ours.map_err(|_| PkiError::List)?;
        let other = PkiError::Stranger("it was issued by another authority");
        let (Ok((_, own)), Ok((_, ours))) = (
            X509Certificate::from_der(&own),
            X509Certificate::from_der(&ours),
        ) else {
            return Err(other);
        };
        if own.issuer().as_raw() != ours.subject().as_raw() {
            return Err(other);
        }
        let mut serials = revoked(file)?;
        if !serials.iter().any(|serial| serial == own.raw_serial()) {
            serials.push(own.raw_serial().to_vec());
        }
        let now = OffsetDateTime::now_utc();
        let entry = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now - CLOCK_SKEW,
            next_update: now + NEXT_LIST,
            crl_number: SerialNumber::from(now.unix_timestamp().unsigned_abs()),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer)?.pem()?;
        let certificates = without_lists(file);
        Ok(format!("{}\n{list}", certificates.trim_end()))
    }
}

/// Serial numbers in the lists of a file.
fn revoked(file: &str) -> Result<Vec<Vec<u8>>, PkiError> {
    let mut serials = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(file.as_bytes()) {
        let list = list.map_err(|_| PkiError::List)?;
        let (_, list) = CertificateRevocationList::from_der(&list).map_err(|_| PkiError::List)?;
        let entries = list.iter_revoked_certificates();
        serials.extend(entries.map(|entry| entry.raw_serial().to_vec()));
    }
    Ok(serials)
}

/// A file but for its lists.
fn without_lists(file: &str) -> String {
    let mut rest = file;
    let mut kept = String::new();
    while let Some((before, list)) = rest.split_once(LIST.0) {
        kept += before;
        rest = list.split_once(LIST.1).map_or("", |(_, after)| after);
    }
    kept + rest
}

fn params(name: &str, valid: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - CLOCK_SKEW;
    // Far beyond any lifetime the command line accepts, so this is reached by no caller.
    params.not_after = now.checked_add(valid_time(valid)).unwrap_or(now);
    params
}

fn valid_time(valid: Duration) -> time::Duration {
    time::Duration::try_from(valid).unwrap_or(time::Duration::MAX)
}

/// An address, or a name of letters, digits, hyphens and dots (RFC 1123 §2.1).
fn host_name(host: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = IpAddr::from_str(host) {
        return Ok(SanType::IpAddress(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(PkiError::Host(host.to_owned()));
    }
    Ok(SanType::DnsName(Ia5String::try_from(host.to_owned())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_revoked_is_in_the_list_and_stays_there() {
        let valid = Duration::from_secs(3_600);
        let [ours, theirs] = ["a", "b"].map(|name| Authority::create(name, valid).expect("made"));
        let issue = |authority: &Authority| {
            let subject = Subject {
                name: "ada".to_owned(),
                role: Some(Role::Admin),
                hosts: Vec::new(),
                valid,
            };
            authority.issue(&subject).expect("made").certificate
        };
        let (first, second) = (issue(&ours), issue(&ours));
        let one = ours.revoke(ours.certificate(), &first).expect("ours");
        let two = ours.revoke(&one, &second).expect("ours");
        let same = ours.revoke(&two, &second).expect("again");
        for (file, revoked_in_all) in [(ours.certificate(), 0), (&one, 1), (&two, 2), (&same, 2)] {
            assert_eq!(revoked(file).expect("a list").len(), revoked_in_all);
            assert_eq!(file.matches("BEGIN CERTIFICATE").count(), 1);
            assert!(file.matches(LIST.0).count() <= 1);
        }
        let again = Authority::from_pem(&two, &ours.key()).expect("still the authority's file");
        assert!(again.revoke(&two, &issue(&again)).is_ok());
        for stranger in [&*issue(&theirs), "", "no certificate"] {
            let refused = ours.revoke(&two, stranger);
            assert!(matches!(refused, Err(PkiError::Stranger(_))), "{refused:?}");
        }
        let broken = format!("{}{}\nAAAA\n{}\n", ours.certificate(), LIST.0, LIST.1);
        assert!(matches!(ours.revoke(&broken, &first), Err(PkiError::List)));
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in ["localhost", "sfu-1.example.org", "10.0.0.5", "::1"] {
            assert!(host_name(host).is_ok(), "{host}");
        }
        for host in ["", "a..b", "-a", "a b", "https://a", "a:1", "ü.example"] {
            assert!(matches!(host_name(host), Err(PkiError::Host(_))), "{host}");
        }
    }
}
