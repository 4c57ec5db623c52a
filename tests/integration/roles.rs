//! Every verb of the management protocol's schema against every role, as the document says, and against those who
//! have none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use rillway::Signals;
use rillway::management::pki::Authority;
use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{
    ConfigReloadRequest, DrainRequest, EventsRequest, Request, Response, StatusRequest,
};
use rillway::management::{Client, Identity, Role, frame};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::management::{HOUR, Managed, ask, authority, code, identity};
use crate::router::{get, soon};
use crate::site::Site;

const SCHEMA: &str = include_str!("../../router/src/management/rillway.management.v1.proto");
const DOCUMENT: &str = include_str!("../../docs/management.md");
/// A refusal comes at once; a watch may have nothing to say.
const FIRST_PART: Duration = Duration::from_secs(2);

/// Name and number of each verb: the fields of `Request`.
fn verbs() -> Vec<(&'static str, u64)> {
    let fields = SCHEMA.split("oneof verb {").nth(1).expect("there");
    let fields = fields.split('}').next().expect("it ends");
    let verbs = fields.lines().filter_map(|line| {
        let (field, number) = line.trim().trim_end_matches(';').split_once(" = ")?;
        let name = field.split_whitespace().nth(1)?;
        Some((name, number.parse().ok()?))
    });
    let verbs: Vec<_> = verbs.collect();
    assert!(verbs.len() >= 19, "{verbs:?}");
    verbs
}

/// The least role that a verb is open to by the document's table, and whether `peer` may use it besides.
fn documented() -> BTreeMap<&'static str, (Option<Role>, bool)> {
    let mut found: BTreeMap<_, (Option<Role>, bool)> = BTreeMap::new();
    for role in Role::ALL {
        let row = format!("| `{role}` |");
        let row = DOCUMENT.lines().find_map(|line| line.strip_prefix(&row));
        let row = row.unwrap_or_else(|| panic!("no row for {role}"));
        for verb in row.split('`').skip(1).step_by(2) {
            let entry = found.entry(verb).or_default();
            match role {
                Role::Peer => entry.1 = true,
                _ => entry.0 = entry.0.or(Some(role)),
            }
        }
    }
    found
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A verb with nothing in its fields, as it travels; a drain is out of bounds, so that it ends nothing.
fn request(name: &str, number: u64) -> Vec<u8> {
    if name == "drain" {
        let deadline_ms = Some(u32::MAX);
        let verb = Some(Verb::Drain(DrainRequest { deadline_ms }));
        return frame::bytes(&Request { verb });
    }
    // The field's key, of wire type 2, and the length of an empty message.
    let mut field = varint(number << 3 | 2);
    field.push(0);
    [varint(field.len() as u64), field].concat()
}

/// The first part of an answer to these bytes; `None`: nothing yet.
async fn first_part(client: &Client, bytes: &[u8]) -> Option<Part> {
    let (mut sending, mut answer) = client.connection().open_bi().await.expect("a stream");
    sending.write_all(bytes).await.expect("taken");
    sending.finish().expect("open");
    let first = frame::read::<Response, _>(&mut answer, 1 << 24);
    let first = tokio::time::timeout(FIRST_PART, first).await.ok()?;
    first.expect("a message").expect("an answer").part
}

#[tokio::test]
async fn every_verb_of_the_schema_is_open_to_the_roles_of_the_document() {
    let documented = documented();
    let verbs = verbs();
    for name in documented.keys() {
        let known = verbs.iter().any(|(verb, _)| verb == name);
        assert!(known, "`{name}` in docs/management.md is in no schema");
    }
    for role in Role::ALL {
        opens_what_it_should(role, &verbs, &documented).await;
    }
    println!("{} verbs × {} roles", verbs.len(), Role::ALL.len());
}

async fn opens_what_it_should(
    role: Role,
    verbs: &[(&'static str, u64)],
    documented: &BTreeMap<&'static str, (Option<Role>, bool)>,
) {
    let managed = Managed::start(|settings| settings.calls_per_second_max = 1_000);
    let client = managed.client(role).await;
    // Several at once: most of the time goes by waiting for what has nothing to say.
    for some in verbs.chunks(8) {
        let answers = some.iter().map(|(name, number)| {
            let (client, bytes) = (&client, request(name, *number));
            async move { first_part(client, &bytes).await }
        });
        let answers = futures_util::future::join_all(answers).await;
        for ((name, _), answer) in some.iter().zip(answers) {
            let Some((needs, peer)) = documented.get(name) else {
                panic!("`{name}` is not in docs/management.md's table of roles");
            };
            let open =
                needs.is_some_and(|needs| role.includes(needs)) || (*peer && role == Role::Peer);
            let refused = match answer {
                Some(Part::Error(error)) => {
                    assert_ne!(error.code(), Code::Unimplemented, "{role}: {name}");
                    error.code() == Code::Forbidden
                }
                _ => false,
            };
            assert_eq!(refused, !open, "{role}: {name}");
        }
    }
    client.close().await;
}

/// What a client shows, if anything, and whom it believes.
pub(crate) fn tls(identity: Option<&Identity>, trusted: &Authority) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(trusted.certificate().as_bytes());
    roots.add(root.expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
            let chain: Result<Vec<_>, _> = chain.collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes());
            let config = builder.with_client_auth_cert(chain.expect("PEM"), key.expect("PEM"));
            config.expect("a pair")
        }
    };
    config.alpn_protocols = vec![rillway::management::ALPN.to_vec()];
    config
}

fn endpoint(config: rustls::ClientConfig) -> quinn::Endpoint {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut endpoint = quinn::Endpoint::client(any).expect("a port");
    let tls = QuicClientConfig::try_from(config).expect("for QUIC");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    endpoint
}

/// Bytes that a client without the right to anything gets for all verbs together, sent as soon as it may send: the
/// client's side of TLS 1.3 is through before the router has judged its certificate. A drain that is heard ends
/// the router.
async fn heard(address: SocketAddr, config: rustls::ClientConfig) -> usize {
    let endpoint = endpoint(config);
    let connecting = endpoint.connect(address, "127.0.0.1").expect("a name");
    let Ok(connection) = soon("a handshake", connecting).await else {
        return 0;
    };
    let mut answers = Vec::new();
    for (name, number) in verbs() {
        let Ok((mut sending, answer)) = connection.open_bi().await else {
            break;
        };
        let bytes = match name {
            "drain" => request("a drain as it is meant", number),
            _ => request(name, number),
        };
        let _ = sending.write_all(&bytes).await;
        let _ = sending.finish();
        answers.push(answer);
    }
    let mut bytes = 0;
    for mut answer in answers {
        let read = soon("an end", answer.read_to_end(1 << 20)).await;
        bytes += read.map_or(0, |read| read.len());
    }
    bytes
}

#[tokio::test]
async fn who_has_no_right_is_heard_with_no_verb() {
    let managed = Managed::start(|settings| settings.calls_per_second_max = 1_000);
    let address = managed.running.management_address().expect("on");
    let (ours, theirs) = (&managed.authority, &authority());
    let admin = Some(Role::Admin);
    let expired = identity(ours, ours, admin, Duration::ZERO);
    // Certificates count whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let right = identity(ours, ours, admin, HOUR);
    let mut other_protocol = tls(Some(&right), ours);
    other_protocol.alpn_protocols = vec![b"h3".to_vec()];
    let cases = [
        ("no certificate", tls(None, ours)),
        ("expired", tls(Some(&expired), ours)),
        (
            "another authority",
            tls(Some(&identity(theirs, ours, admin, HOUR)), ours),
        ),
        (
            "a router's certificate",
            tls(Some(&identity(ours, ours, None, HOUR)), ours),
        ),
        ("another protocol", other_protocol),
    ];
    for (title, config) in cases {
        assert_eq!(heard(address, config).await, 0, "{title}");
    }
    assert!(
        heard(
            address,
            tls(Some(&identity(ours, ours, Some(Role::Peer), HOUR)), ours)
        )
        .await
            > 0,
        "the test itself hears what is said"
    );

    // One that speaks neither TLS nor QUIC, and one that takes it for TCP.
    let plain = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
    let plain = plain.expect("a port");
    for (name, number) in verbs() {
        let bytes = request(name, number);
        plain.send_to(&bytes, address).await.expect("sent");
    }
    let mut room = [0; 2_000];
    let answer = tokio::time::timeout(Duration::from_millis(500), plain.recv(&mut room));
    assert!(answer.await.is_err(), "nothing is said in the clear");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());

    // All drains among them have ended nothing.
    let gateway = managed.running.gateway_address();
    assert_eq!(get(gateway, "/readyz").await.status, 200);
    let viewer = managed.client(Role::Viewer).await;
    let status = ask(&viewer, Verb::Status(StatusRequest {})).await;
    assert_eq!(code(status), None);
}

/// RFC 9001 §9.2: what is sent early may be sent again by anybody.
#[tokio::test]
async fn nothing_can_be_sent_early() {
    let managed = Managed::start(|_| {});
    let address = managed.running.management_address().expect("on");
    let ours = &managed.authority;
    let mut config = tls(Some(&identity(ours, ours, Some(Role::Admin), HOUR)), ours);
    config.enable_early_data = true;
    let endpoint = endpoint(config);
    for attempt in 0..2 {
        let connecting = endpoint.connect(address, "127.0.0.1").expect("a name");
        let connection = match connecting.into_0rtt() {
            Ok(_) => panic!("early data on attempt {attempt}"),
            Err(connecting) => soon("a handshake", connecting).await.expect("welcome"),
        };
        // A ticket would come with the first answer at the latest.
        let (mut sending, mut answer) = connection.open_bi().await.expect("a stream");
        sending
            .write_all(&request("status", 1))
            .await
            .expect("taken");
        sending.finish().expect("open");
        let read = soon("an answer", answer.read_to_end(1 << 16)).await;
        assert!(!read.expect("an answer").is_empty());
        connection.close(0_u32.into(), b"");
    }
}

/// Takes effect at the next reload: for who comes, and for who is there with calls under way.
#[tokio::test]
async fn who_is_revoked_is_out_with_the_next_reload() {
    let authority = authority();
    let site = Site::new("revoked");
    let router = identity(&authority, &authority, None, HOUR);
    site.secret("router.pem", &router.certificate);
    site.secret("router.key", router.key.reveal());
    site.secret("ca.pem", authority.certificate());
    let config = site.config(
        "authentication.policy = \"auth-open\"\n[management]\nlisten = \"127.0.0.1:0\"\n\
         certificate = \"router.pem\"\nkey = \"router.key\"\nclient_ca = \"ca.pem\"\n",
    );
    let running = rillway::run(config, Signals::Ignore).expect("free ports");
    let managed = Managed { authority, running };
    let ours = &managed.authority;
    let [eve, ada] = [(); 2].map(|()| identity(ours, ours, Some(Role::Admin), HOUR));
    let connect = async |identity: &Identity| {
        let client = Client::connect(&managed.target(identity.clone())).await;
        client.unwrap_or_else(|error| panic!("{error}"))
    };
    let (of_eve, of_ada) = (connect(&eve).await, connect(&ada).await);
    let status = || Verb::Status(StatusRequest {});
    assert_eq!(code(ask(&of_eve, status()).await), None);
    let mut watch = of_eve
        .call(Verb::Events(EventsRequest::default()))
        .await
        .expect("a stream");
    let first = soon("a part", watch.next()).await.expect("a part");
    assert!(matches!(first, Some(Part::Lost(_))));

    let list = ours.revoke(ours.certificate(), &eve.certificate);
    site.secret("ca.pem", &list.expect("a list"));
    let reload = Verb::ConfigReload(ConfigReloadRequest {});
    assert_eq!(code(ask(&of_ada, reload).await), None);
    // Events of the reload may have come before.
    let ended = soon("the end", async {
        loop {
            if let Err(error) = watch.next().await {
                return error;
            }
        }
    });
    let text = ended.await.to_string();
    assert!(text.contains("not trusted any more"), "{text}");
    let again = Client::connect(&managed.target(eve)).await;
    let refused = match again {
        Err(error) => error.to_string(),
        Ok(client) => match ask(&client, status()).await {
            Err(error) => error.to_string(),
            Ok(parts) => panic!("heard: {parts:?}"),
        },
    };
    assert!(refused.contains("revoked"), "{refused}");
    assert_eq!(code(ask(&of_ada, status()).await), None, "she may stay");
}
