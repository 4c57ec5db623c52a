//! HTTPS: who is trusted.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rillway_policy::HostConfig;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::component::{Request, says, spec};
use super::server::{Manner, Server, answer};
use crate::support::{Folder, TestHost};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    fn pem(&self) -> String {
        let der = BASE64.encode(self.0.der());
        format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
    }

    /// A server's side with a certificate for `name`.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("it signs");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn host(authority: &Authority, folder: &Folder) -> TestHost {
    let path = folder.path("ca.pem");
    std::fs::write(&path, authority.pem()).expect("a file");
    TestHost::with(HostConfig {
        instances: 20,
        http_ca: Some(path),
        ..HostConfig::default()
    })
}

#[tokio::test]
async fn the_operators_authority_is_trusted_for_its_names() {
    let folder = Folder::new("tls");
    let authority = Authority::new();
    let host = host(&authority, &folder).await;
    let manner = Manner::Raw(answer("200 OK", b"sealed"));
    for (name, says_so) in [("localhost", "k200sealed"), ("other.example", "3")] {
        let tls = authority.acceptor(name);
        let server = Server::with(manner.clone(), Some(tls)).await;
        let origin = format!("https://localhost:{}", server.address.port());
        let plugin = host.load(spec(&Request::get(&*origin), &[&origin])).await;
        let said = says(&plugin).await.unwrap();
        assert!(said.starts_with(says_so), "{name}: {said}");
        let trusted = says_so.starts_with('k');
        assert_eq!(server.requests().len(), usize::from(trusted));
        assert!(trusted || said.contains("certificate"), "{said}");
    }
}

#[tokio::test]
async fn nobody_else_is_trusted() {
    let folder = Folder::new("tls-other");
    let host = host(&Authority::new(), &folder).await;
    let tls = Authority::new().acceptor("localhost");
    let server = Server::with(Manner::Raw(answer("200 OK", b"")), Some(tls)).await;
    let origin = format!("https://localhost:{}", server.address.port());
    let plugin = host.load(spec(&Request::get(&*origin), &[&origin])).await;
    let said = says(&plugin).await.unwrap();
    assert!(
        said.starts_with('3') && said.contains("certificate"),
        "{said}"
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_file_that_holds_no_authority_is_said_at_load() {
    let folder = Folder::new("tls-none");
    let path = folder.path("ca.pem");
    let host = TestHost::with(HostConfig {
        instances: 20,
        http_ca: Some(path.clone()),
        ..HostConfig::default()
    });
    let good = spec(&Request::get("https://localhost"), &["https://localhost"]);
    for (content, says_so) in [
        (None, "No such file"),
        (Some("nothing"), "no certificate in it"),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "ca.pem",
        ),
    ] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let problem = host.0.load(good.clone()).await.unwrap_err().to_string();
        assert!(
            problem.contains("policy.http_ca_file") && problem.contains(says_so),
            "{problem}"
        );
    }
}
