//! Traces: what a collector gets of a client's way in, and what a collector that does not work costs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use rillway::management::Role;
use rillway::{Running, Signals};
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use rillway_tests::whip::{self, Session};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::management::ask;
use crate::reload::{managed, reload};
use crate::router::{PATIENCE, handshake, join, metric};
use crate::site::Site;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const TOKEN: &str = "the-collectors-token";

/// What a collector was sent: heads of requests, and spans.
#[derive(Default)]
struct Taken {
    connections: usize,
    heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
    requests: Vec<ExportTraceServiceRequest>,
}

/// How a collector answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Takes,
    Refuses,
    /// Reads, and says nothing.
    Hangs,
}

struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Collector {
    async fn start(manner: Manner) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let theirs = taken.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                theirs.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, manner, theirs.clone()));
            }
        });
        Collector { address, taken }
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.requests.iter().flat_map(|r| &r.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Waits until it has a span that is wanted.
    async fn finds(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(span) = self.spans().into_iter().find(&wanted) {
                return span;
            }
            assert!(Instant::now() < until, "no {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has spans of all these names.
    async fn has(&self, names: &[&str]) -> Vec<Span> {
        let until = Instant::now() + PATIENCE;
        loop {
            let spans = self.spans();
            let has = |name: &&&str| spans.iter().any(|span| span.name == **name);
            let missing: Vec<_> = names.iter().filter(|name| !has(name)).collect();
            if missing.is_empty() {
                return spans;
            }
            let there: Vec<_> = spans.iter().map(|span| &span.name).collect();
            assert!(Instant::now() < until, "no {missing:?} among {there:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// HTTP/1.1 with `content-length`, as the router sends it.
async fn serve(mut stream: TcpStream, manner: Manner, taken: Arc<Mutex<Taken>>) {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let head = end.map(|end| String::from_utf8_lossy(&bytes[..end]).to_lowercase());
        let length = head.as_ref().and_then(|head| {
            let line = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length:"))?;
            line.trim().parse::<usize>().ok()
        });
        if let (Some(end), Some(head), Some(length)) = (end, head, length)
            && bytes.len() >= end + 4 + length
        {
            let body: Vec<u8> = bytes.drain(..end + 4 + length).skip(end + 4).collect();
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
            if manner == Manner::Takes {
                let mut taken = taken.lock().unwrap();
                taken.heads.push(head);
                taken.requests.push(request);
                taken.bodies.push(body);
            }
            let answer: &[u8] = match manner {
                Manner::Takes => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Manner::Refuses => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
                Manner::Hangs => b"",
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn router(site: &Site, collector: SocketAddr, more: &str) -> Running {
    site.secret("headers", &format!("Authorization: Bearer {TOKEN}\n"));
    let text = format!(
        "authentication.policy = \"auth-open\"\n\
         [traces]\nendpoint = \"http://{collector}/v1/traces\"\nheaders_file = \"headers\"\n{more}\n"
    );
    rillway::run(site.config(&text), Signals::Ignore).expect("free ports on loopback")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a| a.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(yes) => yes.to_string(),
        other => format!("{other:?}"),
    })
}

/// Spans by name, the first of each, and which of them each is below.
struct Tree {
    spans: Vec<Span>,
}

impl Tree {
    fn of(spans: Vec<Span>, trace: &str) -> Tree {
        let spans = spans.into_iter().filter(|s| hex(&s.trace_id) == trace);
        Tree {
            spans: spans.collect(),
        }
    }

    fn find(&self, name: &str) -> &Span {
        let found = self.spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// The name of the span that one is below, or its id if it is another program's.
    fn parent(&self, name: &str) -> String {
        let id = &self.find(name).parent_span_id;
        let parent = self.spans.iter().find(|span| span.span_id == *id);
        parent.map_or_else(|| hex(id), |parent| parent.name.clone())
    }
}

/// What the spans of a join say.
fn says_what_it_should(tree: &Tree, root: &str) {
    let says = |name: &str, key: &str| attribute(tree.find(name), key).unwrap_or_default();
    assert_eq!(tree.find(root).kind(), SpanKind::Server);
    assert_eq!(says(root, "http.response.status_code"), "101");
    assert_eq!(says(root, "http.route"), "/signal/rooms");
    assert_eq!(says(root, "rillway.connected"), "true");
    assert_eq!(says("authenticate", "rillway.plugin"), "auth-open");
    assert_eq!(says("authenticate", "rillway.outcome"), "granted");
    assert_eq!(
        says("signaling message", "rillway.plugin"),
        "signaling-rooms"
    );
    for name in ["authenticate", "signaling message", "signaling open"] {
        let version = says(name, "rillway.plugin.version");
        assert!(
            version.starts_with("1-") && version.len() == 14,
            "{version}"
        );
    }
    assert_eq!(says("worker join", "rillway.worker"), "0");
    assert!(!says("worker join", "rillway.participant").is_empty());
    for span in &tree.spans {
        assert!(
            span.end_time_unix_nano >= span.start_time_unix_nano,
            "{}",
            span.name
        );
        let failed = span
            .status
            .as_ref()
            .is_some_and(|s| s.code() == StatusCode::Error);
        assert!(!failed, "{}: {:?}", span.name, span.status);
    }
    let connected = tree.find("transport connect").end_time_unix_nano;
    assert!(tree.find(root).end_time_unix_nano >= connected);
    assert!(
        tree.find("worker join").start_time_unix_nano
            >= tree.find("authenticate").end_time_unix_nano
    );
}

/// What reached a collector says nothing of people, and nothing that opens something.
fn tells_no_secret(collector: &Collector) {
    let taken = collector.taken.lock().unwrap();
    for (head, body) in taken.heads.iter().zip(&taken.bodies) {
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        assert!(
            head.contains(&format!("authorization: bearer {TOKEN}")),
            "{head}"
        );
        let text = String::from_utf8_lossy(body);
        // Neither who it is, nor where, nor what opens something.
        for secret in ["hush-hush", "127.0.0.1", "guest-", TOKEN, "ice-ufrag"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(
            text.contains("service.name") && text.contains("edge"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_join_is_one_trace_from_the_gateway_through_plugins_to_the_worker() {
    let collector = Collector::start(Manner::Takes).await;
    let site = Site::new("traces-join");
    let running = router(&site, collector.address, "service_name = \"edge\"");
    let mut config = member(1, "hush-hush-room", Instant::now());
    config.tracks = vec![TrackSpec::audio()];
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", traceparent.as_str())];
    let client = LiveClient::connect_with(running.gateway_address(), config, &headers).await;
    let mut client = client.expect("the gateway listens");
    let published = client
        .run_until(PATIENCE, |c| {
            let published = c.client.published.first();
            published.is_some_and(|p| p.track.is_some())
        })
        .await;
    assert!(published.expect("sockets work"), "it is not published");
    client
        .run_for(Duration::from_secs(1))
        .await
        .expect("sockets work");
    let root = "GET /signal/rooms";
    let names = [
        root,
        "signaling open",
        "signaling message",
        "authenticate",
        "signaling granted",
        "worker join",
        "signaling joined",
        "worker accept-offer",
        "signaling answer",
        "transport connect",
    ];
    let tree = Tree::of(collector.has(&names).await, TRACE);
    let parents: BTreeMap<_, _> = names.iter().map(|n| (*n, tree.parent(n))).collect();
    let expected = [
        (root, PARENT),
        ("signaling open", root),
        ("signaling message", root),
        ("authenticate", "signaling message"),
        ("signaling granted", root),
        ("worker join", "signaling granted"),
        ("signaling joined", root),
        ("worker accept-offer", "signaling message"),
        ("signaling answer", root),
        ("transport connect", root),
    ];
    assert_eq!(parents, expected.map(|(n, p)| (n, p.to_owned())).into());
    says_what_it_should(&tree, root);
    tells_no_secret(&collector);
    let sent = metric(&running, "rillway_trace_spans_total{result=\"exported\"}").await;
    assert!(sent >= Some(names.len() as f64), "{sent:?}");
}

#[tokio::test]
async fn what_a_client_negotiates_later_is_a_trace_of_its_own_with_a_link() {
    let collector = Collector::start(Manner::Takes).await;
    let site = Site::new("traces-later");
    let running = router(&site, collector.address, "");
    let gateway = running.gateway_address();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", traceparent.as_str())];
    let talker = |number| {
        let mut config = member(number, "r", Instant::now());
        config.tracks = vec![TrackSpec::audio()];
        config
    };
    let first = LiveClient::connect_with(gateway, talker(1), &headers).await;
    let mut first = first.expect("the gateway listens");
    let sends = first
        .run_until(PATIENCE, |c| {
            let published = c.client.published.first();
            published.is_some_and(|p| p.track.is_some())
        })
        .await;
    assert!(sends.expect("sockets work"), "it is not published");
    first
        .run_for(Duration::from_secs(1))
        .await
        .expect("sockets work");
    let second = LiveClient::connect(gateway, talker(2)).await;
    let mut both = [first, second.expect("the gateway listens")];
    let heard = LiveClient::run_all(&mut both, PATIENCE, |c| c.hears(1)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    let is_linked = |span: &Span| span.links.iter().any(|link| hex(&link.trace_id) == TRACE);
    let root = collector.finds("trace with a link", is_linked).await;
    assert_eq!(
        (root.name.as_str(), root.parent_span_id.len()),
        ("signaling message", 0)
    );
    assert_ne!(hex(&root.trace_id), TRACE);
    let below = |span: &Span| span.parent_span_id == root.span_id;
    let asked = collector.finds("request below it", below).await;
    assert_eq!(asked.name, "worker accept-answer");
    assert_eq!(asked.trace_id, root.trace_id);
}

#[tokio::test]
async fn a_whip_session_is_traced_by_its_requests() {
    let collector = Collector::start(Manner::Takes).await;
    let site = Site::new("traces-whip");
    let running = router(&site, collector.address, "");
    let gateway = running.gateway_address();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [("traceparent", traceparent.as_str())];
    let session = Session::begin_with(gateway, whip::Role::Publisher, "/whip/r", &headers).await;
    let session = session.expect("it is created");
    session.ask("DELETE", &[], "").await.expect("answered");
    let names = [
        "POST /whip",
        "signaling request",
        "authenticate",
        "worker join",
        "DELETE /whip",
    ];
    let spans = collector.has(&names).await;
    let deleted = spans.iter().find(|span| span.name == "DELETE /whip");
    let deleted = deleted.expect("it is there");
    assert_ne!(hex(&deleted.trace_id), TRACE, "a request of its own");
    let tree = Tree::of(spans.clone(), TRACE);
    assert_eq!(tree.parent("POST /whip"), PARENT);
    assert_eq!(tree.parent("signaling request"), "POST /whip");
    assert_eq!(tree.parent("authenticate"), "signaling request");
    let created = attribute(tree.find("POST /whip"), "http.response.status_code");
    assert_eq!(created.as_deref(), Some("201"));
    // The path of a session opens it.
    let taken = collector.taken.lock().unwrap();
    let bodies = taken.bodies.concat();
    assert!(!String::from_utf8_lossy(&bodies).contains("/resources/"));
}

#[tokio::test]
async fn collectors_that_do_not_work_cost_spans_and_nothing_else() {
    for manner in [Manner::Hangs, Manner::Refuses] {
        let collector = Collector::start(manner).await;
        let site = Site::new("traces-lost");
        let running = router(
            &site,
            collector.address,
            "queue_spans = 64\ntimeout_ms = 100",
        );
        let began = Instant::now();
        let lost = async |result: &str| {
            let series = format!("rillway_trace_spans_total{{result=\"{result}\"}}");
            metric(&running, &series).await.unwrap_or(0.0)
        };
        // While one batch is tried again and again, others fill the queue.
        let mut number = 0;
        while lost("failed").await == 0.0 || (manner == Manner::Hangs && lost("full").await == 0.0)
        {
            assert!(began.elapsed() < PATIENCE, "no span is counted as lost");
            let (_client, joined) = join(&running, "r", &format!("n{number}")).await;
            assert_eq!(joined["type"], "joined", "{joined}");
            number += 1;
        }
        assert!(number > 5, "{number} joined");
        assert_eq!(lost("exported").await, 0.0);
        let ended = Instant::now();
        drop(running);
        // The last try has half a second.
        assert!(ended.elapsed() < PATIENCE, "{:?}", ended.elapsed());
    }
}

#[tokio::test]
async fn a_reload_changes_the_share_and_the_headers_and_refuses_the_rest() {
    let collector = Collector::start(Manner::Takes).await;
    let site = Site::new("traces-reload");
    let text = |path: &str, share: u16| {
        format!(
            "authentication.policy = \"auth-open\"\n[traces]\nheaders_file = \"headers\"\n\
             endpoint = \"http://{}{path}\"\nsampled_permille = {share}\n",
            collector.address
        )
    };
    site.secret("headers", "x-token: sesame-old\n");
    let managed = managed(&site, &text("/v1/traces", 0));
    let admin = managed.client(Role::Admin).await;
    let (_client, joined) = join(&managed.running, "r", "Ada").await;
    assert_eq!(joined["type"], "joined");

    site.save(&text("/v2/traces", 1_000));
    let refused = ask(&admin, reload()).await.expect_err("it needs a restart");
    assert!(refused.to_string().contains("traces.endpoint"), "{refused}");

    site.save(&text("/v1/traces", 1_000));
    site.secret("headers", "x-token: sesame-new\n");
    let changed = format!("{:?}", ask(&admin, reload()).await.expect("it can"));
    for key in ["traces.headers_file", "traces.sampled_permille"] {
        assert!(changed.contains(key), "{changed}");
    }
    assert!(!changed.contains("sesame"), "{changed}");
    let (_client, joined) = join(&managed.running, "r", "Bob").await;
    assert_eq!(joined["type"], "joined");
    collector.has(&["worker join"]).await;
    let taken = collector.taken.lock().unwrap();
    let head = taken.heads.concat();
    assert!(
        head.contains("x-token: sesame-new") && !head.contains("sesame-old"),
        "{head}"
    );
    assert!(!head.contains("/v2/"), "{head}");
    let spans = taken.requests.iter().flat_map(|r| &r.resource_spans);
    let spans = spans.flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    let joins = spans.filter(|span| span.name == "worker join").count();
    assert_eq!(joins, 1, "only the second was one of the share");
}

#[tokio::test]
async fn nobody_is_called_who_is_not_named_and_a_share_of_none_is_none() {
    let collector = Collector::start(Manner::Takes).await;
    assert_eq!(crate::router::config().traces, None, "off by default");
    let site = Site::new("traces-none");
    let running = router(&site, collector.address, "sampled_permille = 0");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("sec-websocket-protocol", crate::router::SUBPROTOCOL),
        ("traceparent", traceparent.as_str()),
    ];
    let client = handshake(running.gateway_address(), &headers).await;
    drop(client.expect("a client is welcome"));
    let (_client, joined) = join(&running, "r", "Ada").await;
    assert_eq!(joined["type"], "joined");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(collector.taken.lock().unwrap().connections, 0);
}
