//! The `http` capability: what is sent, what is refused, and servers that do not behave.

pub(crate) mod component;
mod hostile;
pub(crate) mod server;
mod tls;
mod webhook;

use std::time::Duration;

use rillway_policy::{Budgets, Capability, LoadError, Origin, PluginSpec};
use tokio::net::TcpListener;

use crate::support::{TestHost, patient};
use component::{Request, networks, says, spec};
use server::{Manner, Server, answer};

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let host = TestHost::new();
    let server = Server::new(Manner::Raw(answer("201 Created", b"hello"))).await;
    let request = Request {
        method: "POST",
        headers: &[("X-Key", "1"), ("accept", "text/plain")],
        body_bytes: 3,
        ..Request::get(format!("{}/path?q=1", server.origin()))
    };
    let plugin = host.load(spec(&request, &[&server.origin()])).await;
    assert_eq!(says(&plugin).await.unwrap(), "k201hello");
    let seen = server.requests().join("");
    assert!(seen.starts_with("POST /path?q=1 HTTP/1.1\r\n"), "{seen}");
    for line in [
        &format!("host: {}\r\n", server.address),
        "x-key: 1\r\n",
        "accept: text/plain\r\n",
        "content-length: 3\r\n",
        "user-agent: rillway/",
    ] {
        assert!(seen.contains(line), "{line:?} in {seen:?}");
    }
    assert!(seen.ends_with("\r\n\r\n\0\0\0"), "{seen:?}");
    let stats = plugin.stats().http;
    assert_eq!((stats.requests, stats.answered, stats.refused), (1, 1, 0));
    assert_eq!((stats.waiting, stats.durations.count()), (0, 1));
    // The method, the URL, the headers and the body; then the header and the body of the answer.
    let sent = 4 + request.url.len() + 6 + 16 + 3;
    assert_eq!(
        (stats.bytes_sent, stats.bytes_received),
        (sent as u64, 15 + 5)
    );
}

#[tokio::test]
async fn nothing_is_sent_elsewhere() {
    let host = TestHost::new();
    let (listed, other) = (
        Server::new(Manner::Raw(answer("200 OK", b""))).await,
        Server::new(Manner::Raw(answer("200 OK", b"secret"))).await,
    );
    let elsewhere = Request::get(format!("{}/", other.origin()));
    let plugin = host.load(spec(&elsewhere, &[&listed.origin()])).await;
    let said = says(&plugin).await.unwrap();
    assert_eq!(said, format!("0{}", other.origin()));
    let stats = plugin.stats().http;
    assert_eq!((stats.requests, stats.refused), (0, 1));
    // The same address, but TLS was asked for.
    let https = listed.origin().replace("http:", "https:");
    let request = Request::get(format!("{}/", listed.origin()));
    let plugin = host.load(spec(&request, &[&https])).await;
    assert_eq!(
        says(&plugin).await.unwrap(),
        format!("0{}", listed.origin())
    );
    assert!(other.requests().is_empty() && listed.requests().is_empty());
}

#[tokio::test]
async fn redirects_are_the_plugins_affair() {
    let host = TestHost::new();
    let target = Server::new(Manner::Raw(answer("200 OK", b"secret"))).await;
    let head = format!(
        "HTTP/1.1 307 Moved\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n",
        target.origin()
    );
    let server = Server::new(Manner::Raw(head.into_bytes())).await;
    let request = Request::get(server.origin());
    // Not even to an origin that is listed.
    let origins = [server.origin(), target.origin()];
    let plugin = host.load(spec(&request, &[&origins[0], &origins[1]])).await;
    assert_eq!(says(&plugin).await.unwrap(), "k307");
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn headers_of_the_connection_are_the_routers() {
    let host = TestHost::new();
    let server = Server::new(Manner::Raw(answer("200 OK", b""))).await;
    for (header, complaint) in [
        (
            ("Host", "evil.example"),
            "1the header `Host` is set by the router",
        ),
        (("transfer-encoding", "chunked"), "set by the router"),
        (("x", "1\r\nhost: evil.example"), "control characters"),
        (("x y", "1"), "is no name"),
    ] {
        let request = Request {
            headers: &[header],
            ..Request::get(server.origin())
        };
        let plugin = host.load(spec(&request, &[&server.origin()])).await;
        let said = says(&plugin).await.unwrap();
        assert!(said.starts_with('1') && said.contains(complaint), "{said}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn who_is_not_there_does_not_answer() {
    let host = TestHost::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let plugin = host.load(spec(&Request::get(&*origin), &[&origin])).await;
    let said = says(&plugin).await.unwrap();
    assert!(said.starts_with('3') && said.contains("refused"), "{said}");
    let stats = plugin.stats().http;
    assert_eq!((stats.requests, stats.answered, stats.failures), (1, 0, 1));
}

#[tokio::test]
async fn a_name_does_not_lead_inside() {
    let host = TestHost::new();
    let server = Server::new(Manner::Raw(answer("200 OK", b"inside"))).await;
    let port = server.address.port();
    // No address in Rust's eyes, so that it is looked up; the C library knows it without DNS.
    let origin = format!("http://127.1:{port}");
    let name = spec(&Request::get(&*origin), &[&origin]);
    let said = says(&host.load(name.clone()).await).await.unwrap();
    assert!(
        said.starts_with('3') && said.contains("not public"),
        "{said}"
    );
    assert!(server.requests().is_empty());
    let listed = PluginSpec {
        http_private_networks: networks(&["127.0.0.0/8"]),
        ..name
    };
    assert_eq!(says(&host.load(listed).await).await.unwrap(), "k200inside");
    let origin = format!("http://localhost:{port}");
    let local = host.load(spec(&Request::get(&*origin), &[&origin])).await;
    assert_eq!(says(&local).await.unwrap(), "k200inside");
}

#[tokio::test]
async fn so_many_requests_are_under_way_at_once() {
    let host = TestHost::new();
    let late = Manner::Late(Duration::from_millis(20), answer("200 OK", b""));
    let server = Server::new(late).await;
    let limited = PluginSpec {
        budgets: Budgets {
            http_requests: Some(2),
            ..patient()
        },
        ..spec(&Request::get(server.origin()), &[&server.origin()])
    };
    let plugin = host.load(limited).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move { says(&plugin).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "k200");
    }
    assert_eq!((server.at_once_max(), server.requests().len()), (2, 10));
}

#[tokio::test]
async fn what_is_not_granted_is_refused_at_load() {
    let host = TestHost::new();
    let server = Server::new(Manner::Silent).await;
    let good = spec(&Request::get(server.origin()), &[&server.origin()]);
    let without = PluginSpec {
        imports: vec![Capability::Log],
        ..good.clone()
    };
    let problem = host.0.load(without).await.unwrap_err();
    assert!(
        matches!(
            problem,
            LoadError::NotGranted {
                capability: Capability::Http,
                ..
            }
        ),
        "{problem}"
    );
    let nowhere = PluginSpec {
        http_origins: Vec::new(),
        ..good.clone()
    };
    let problem = host.0.load(nowhere).await.unwrap_err().to_string();
    assert!(problem.contains("plugins.test.http_origins"), "{problem}");
    let many = PluginSpec {
        http_origins: vec![Origin::parse("https://a.example").unwrap(); 65],
        ..good
    };
    let problem = host.0.load(many).await.unwrap_err().to_string();
    assert!(problem.contains("at most 64"), "{problem}");
}
