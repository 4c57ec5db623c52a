//! The page and the probes.

use crate::router::{get, http, raw, start};

#[tokio::test]
async fn the_page_is_served_with_its_guards() {
    let running = start(|_| {});
    let page = get(running.gateway_address(), "/").await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.body.contains("<!doctype html>"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'"), "{policy}");
    let permissions = page.header("permissions-policy").unwrap();
    for device in ["camera", "microphone", "display-capture"] {
        assert!(
            permissions.contains(&format!("{device}=(self)")),
            "{device}"
        );
    }

    let etag = page.header("etag").unwrap();
    let again = http(
        running.gateway_address(),
        "GET",
        "/?room=standup",
        &format!("if-none-match: {etag}\r\n"),
    )
    .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));

    let head = http(running.gateway_address(), "HEAD", "/", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("etag"), Some(etag));
}

#[tokio::test]
async fn every_file_the_page_asks_for_is_there() {
    let running = start(|_| {});
    let address = running.gateway_address();
    let page = get(address, "/").await.body;
    for attribute in ["src=\"", "href=\""] {
        for part in page.split(attribute).skip(1) {
            let link = part.split('"').next().unwrap();
            if link.starts_with(['#', 'h', 'd']) || link.is_empty() {
                continue;
            }
            let path = format!("/{}", link.trim_start_matches(['.', '/']));
            assert_eq!(get(address, &path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_404_page_and_never_a_source_file() {
    let running = start(|_| {});
    for path in [
        "/nothing",
        "/package.json",
        "/../Cargo.toml",
        "/%2e%2e/main.rs",
    ] {
        let answer = get(running.gateway_address(), path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("Not found"), "{path}");
    }
    let post = http(
        running.gateway_address(),
        "POST",
        "/",
        "content-length: 0\r\n",
    )
    .await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn without_the_page_the_probes_and_signaling_remain() {
    let running = start(|config| config.gateway.page = false);
    let address = running.gateway_address();
    assert_eq!(get(address, "/").await.status, 404);
    assert_eq!(get(address, "/healthz").await.status, 200);
    crate::router::join(&running, "r", "a").await;
}

#[tokio::test]
async fn health_and_readiness() {
    let running = start(|_| {});
    for path in ["/healthz", "/readyz"] {
        let answer = get(running.gateway_address(), path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn nonsense_is_refused() {
    let running = start(|_| {});
    let address = running.gateway_address();
    assert_eq!(raw(address, "nonsense\r\n\r\n").await.status, 400);
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000));
    let status = raw(address, &long).await.status;
    assert!([414, 431].contains(&status), "{status}");
    assert_eq!(get(address, "/healthz").await.status, 200);
}
