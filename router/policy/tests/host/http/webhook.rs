//! The shipped `auth-webhook`, as a component, with a service on loopback.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use rillway_plugin_sdk::types::{Denial, Source};
use rillway_policy::{
    Budgets, Capability, Fault, Key, Kind, Origin, Plugin, PluginSpec, Source as From,
};

use super::server::{Manner, Server, answer};
use crate::support::{TestHost, attempt, patient};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

async fn load(host: &TestHost, server: &Server, config: serde_json::Value) -> Plugin {
    host.load(with(server, config, patient())).await
}

fn with(server: &Server, config: serde_json::Value, budgets: Budgets) -> PluginSpec {
    let mut config = config;
    config["url"] = format!("{}/join", server.origin()).into();
    config["key"] = "webhook".into();
    let bytes = rillway_components::get("auth-webhook").expect("it is shipped");
    let source = From::Embedded {
        name: "auth-webhook",
        bytes,
    };
    PluginSpec {
        imports: vec![
            Capability::Log,
            Capability::Config,
            Capability::Clock,
            Capability::Kv,
            Capability::Crypto,
            Capability::Http,
        ],
        config,
        keys: BTreeMap::from([("webhook".to_owned(), Key::secret(SECRET).expect("long"))]),
        http_origins: vec![Origin::parse(&server.origin()).expect("an origin")],
        budgets,
        ..PluginSpec::new("auth-webhook", source)
    }
}

/// Whether a request carries the signature that the plugin's documentation describes.
fn is_signed(request: &str) -> bool {
    let (head, body) = request.split_once("\r\n\r\n").expect("a request");
    let mut lines = head.lines();
    let signature = lines.find_map(|line| line.strip_prefix("rillway-signature: "));
    let Some((at, mac)) = signature.and_then(|s| s.strip_prefix("t=")?.split_once(",v1=")) else {
        return false;
    };
    let mac: Vec<u8> = mac
        .as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::verify(&key, format!("{at}.{body}").as_bytes(), &mac).is_ok()
}

#[tokio::test]
async fn a_service_lets_people_in() {
    let host = TestHost::new();
    let body = br#"{"identity": "ada", "publish": ["camera"], "subscribe": true}"#;
    let server = Server::new(Manner::Raw(answer("200 OK", body))).await;
    let plugin = load(&host, &server, serde_json::json!({})).await;
    let policy = plugin.authentication().unwrap();
    let grant = policy.authenticate(attempt("blue")).await.unwrap();
    assert_eq!((&*grant.room, &*grant.identity), ("blue", "ada"));
    assert_eq!(grant.publish, [Source::Camera]);
    let asked = server.requests().join("");
    assert!(asked.contains(r#""room":"blue""#), "{asked}");
    assert!(is_signed(&asked), "{asked}");
    assert!(!is_signed(&asked.replace("blue", "red!")), "anything is");
    // The answer is kept for the same question, and another is asked.
    policy.authenticate(attempt("blue")).await.unwrap();
    assert_eq!(server.requests().len(), 1);
    policy.authenticate(attempt("green")).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    assert_eq!(plugin.stats().http.requests, 2);
}

#[tokio::test]
async fn a_service_keeps_people_out() {
    let host = TestHost::new();
    let unavailable = "the authentication service cannot be asked now";
    for (status, body, denial) in [
        (
            "403 Forbidden",
            r#"{"message": "not you"}"#,
            Denial::Forbidden("not you".to_owned()),
        ),
        (
            "401 Unauthorized",
            "",
            Denial::Unauthenticated("these credentials prove nobody".to_owned()),
        ),
        (
            "500 Internal Server Error",
            "{}",
            Denial::Unavailable(unavailable.to_owned()),
        ),
        (
            "200 OK",
            r#"{"publish": ["everything"]}"#,
            Denial::Unavailable(unavailable.to_owned()),
        ),
    ] {
        let server = Server::new(Manner::Raw(answer(status, body.as_bytes()))).await;
        let plugin = load(&host, &server, serde_json::json!({})).await;
        let policy = plugin.authentication().unwrap();
        assert_eq!(policy.decide(attempt("r")).await, Ok(Err(denial)));
        assert_eq!(plugin.stats().kinds[0].faults_total(), 0);
    }
}

#[tokio::test]
async fn a_slow_service_keeps_people_out_in_time() {
    let host = TestHost::new();
    let server = Server::new(Manner::Silent).await;
    // By its own configuration: a denial that says why.
    let patient = load(&host, &server, serde_json::json!({ "timeout_ms": 30 })).await;
    let decided = patient.authentication().unwrap().decide(attempt("r")).await;
    assert!(
        matches!(decided, Ok(Err(Denial::Unavailable(_)))),
        "{decided:?}"
    );
    // By the deadline: a fault of the plugin, and still nobody gets in.
    let call = Duration::from_millis(100);
    let budgets = Budgets {
        call: Some(call),
        ..Budgets::default()
    };
    let hasty = host
        .load(with(&server, serde_json::json!({}), budgets))
        .await;
    let policy = hasty.authentication().unwrap();
    let decided = policy.decide(attempt("r")).await;
    assert_eq!(decided, Err(Fault::Timeout(call)));
    let denied = policy.authenticate(attempt("r")).await;
    assert!(matches!(denied, Err(Denial::Unavailable(_))), "{denied:?}");
    assert_eq!(
        hasty
            .kind_stats(Kind::Authentication)
            .unwrap()
            .faults("timeout"),
        2
    );
}
