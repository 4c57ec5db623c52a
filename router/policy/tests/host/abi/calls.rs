//! Every function that a component may import, with every outcome that has a case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rillway_policy::{Algorithm, Key, Plugin, PluginSpec, SignalingInstance};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span;

use super::{COMPONENTS, spec};
use crate::http::server::{Manner, Server, answer};
use crate::support::{TestHost, sent, text};

pub(super) const LEVELS: [&str; 4] = ["Debug", "Info", "Warn", "Error"];
pub(super) const KEY_ERRORS: [&str; 3] = ["UnknownKey", "BadSignature", "Malformed"];
pub(super) const HTTP_ERRORS: [&str; 4] = ["NotAllowed", "Invalid", "Timeout", "Failed"];

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// What the call comes to.
async fn outcome(instance: &mut SignalingInstance, call: Value) -> Value {
    let commands = instance.call(text(&call.to_string())).await.unwrap();
    let said = sent(&commands).unwrap_or_else(|| panic!("{call}: {commands:?}"));
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{call}: {error}: {said}"))
}

/// The case of an `err`, by its name in Rust.
fn case(outcome: &Value) -> String {
    let error = &outcome["err"];
    let members = error.as_object();
    let case = members.and_then(|m| m.keys().next().map(String::as_str));
    let case = case.or(error.as_str()).unwrap_or_default();
    super::pascal(&case.replace('_', "-"))
}

async fn open(plugin: &Plugin) -> SignalingInstance {
    plugin.signaling().unwrap().open().await.unwrap()
}

#[tokio::test]
async fn configuration_is_read_and_may_be_refused() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let config = json!({"a": [1, "\u{e9}", null, {"b": true}]});
        let with = |config| PluginSpec {
            config,
            ..spec(component)
        };
        let plugin = host.load(with(config.clone())).await;
        let mut instance = open(&plugin).await;
        let read = outcome(&mut instance, json!("config_get")).await;
        assert_eq!(read, config, "{version}");
        let refused = host.0.load(with(json!({"refuse": "not today"}))).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("not today"), "{version}: {said}");
    }
}

#[tokio::test]
async fn time_runs() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let mut instance = open(&host.load(spec(component)).await).await;
        let unix_ms = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::try_from(now.expect("after 1970").as_millis())
                .expect("before the year 500 million")
        };
        let before = unix_ms();
        let now = outcome(&mut instance, json!("clock_now_ms")).await;
        let now = now.as_u64().expect("a number");
        assert!((before..=unix_ms()).contains(&now), "{version}: {now}");
        let mut last = 0;
        for _ in 0..3 {
            let now = outcome(&mut instance, json!("clock_monotonic_ns")).await;
            let now = now.as_u64().expect("a number");
            assert!(now > last, "{version}: {now} after {last}");
            last = now;
        }
    }
}

#[tokio::test]
async fn the_store_keeps_bytes_and_numbers() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let mut instance = open(&host.load(spec(component)).await).await;
        let too_long = "k".repeat(257);
        let script = [
            (json!({"kv_get": "k"}), json!(null)),
            (
                json!({"kv_set": ["k", [0, 255], null]}),
                json!({"ok": null}),
            ),
            (json!({"kv_get": "k"}), json!([0, 255])),
            (json!({"kv_set": ["k", [], 60_000]}), json!({"ok": null})),
            (json!({"kv_get": "k"}), json!([])),
            (json!({"kv_delete": "k"}), json!(null)),
            (json!({"kv_get": "k"}), json!(null)),
            (
                json!({"kv_increment": ["n", i64::MIN, null]}),
                json!({"ok": i64::MIN}),
            ),
            (
                json!({"kv_increment": ["m", i64::MAX, 60_000]}),
                json!({"ok": i64::MAX}),
            ),
            (json!({"kv_set": ["gone", [1], 0]}), json!({"ok": null})),
            (json!({"kv_get": "gone"}), json!(null)),
        ];
        for (call, expected) in script {
            let found = outcome(&mut instance, call.clone()).await;
            assert_eq!(found, expected, "{version}: {call}");
        }
        for call in [
            json!({"kv_set": [too_long, [], null]}),
            json!({"kv_increment": [too_long, 1, null]}),
        ] {
            let found = outcome(&mut instance, call).await;
            assert!(found["err"].is_string(), "{version}: {found}");
        }
    }
}

#[tokio::test]
async fn metrics_are_counted() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let plugin = host.load(spec(component)).await;
        let mut instance = open(&plugin).await;
        outcome(&mut instance, json!({"metrics_add": ["n", 1_u64 << 40]})).await;
        outcome(&mut instance, json!({"metrics_observe": ["n", -2.5]})).await;
        let custom = plugin.stats().custom;
        let [(name, n)] = custom.as_slice() else {
            panic!("{version}: {custom:?}");
        };
        assert_eq!(name, "n", "{version}");
        assert_eq!((n.total, n.observations), (1 << 40, 1), "{version}");
        assert!((n.sum + 2.5).abs() < f64::EPSILON, "{version}");
    }
}

#[tokio::test]
async fn keys_sign_and_verify() {
    let host = TestHost::new();
    let hmac = |message: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
        aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
    };
    let header = r#"{"alg":"HS256"}"#;
    let signed = [header.as_bytes(), b"{\"sub\":\"ada\"}"].map(|part| BASE64URL.encode(part));
    let signed = signed.join(".");
    let token = format!("{signed}.{}", BASE64URL.encode(hmac(signed.as_bytes())));
    let forged = format!("{signed}.{}", BASE64URL.encode(hmac(b"other")));
    let jwk = json!({"kty": "oct", "k": BASE64URL.encode(SECRET)}).to_string();
    let keys = BTreeMap::from([
        ("secret".to_owned(), Key::secret(SECRET).expect("long")),
        (
            "jwt".to_owned(),
            Key::jwk(Algorithm::Hs256, &jwk).expect("a key"),
        ),
    ]);
    for (version, component, _) in COMPONENTS {
        let plugin = PluginSpec {
            keys: keys.clone(),
            ..spec(component)
        };
        let mut instance = open(&host.load(plugin).await).await;
        let verify = |token: &str, key: &str| json!({"crypto_verify_jws": [token, key]});
        let verified = outcome(&mut instance, verify(&token, "jwt")).await;
        let payload = b"{\"sub\":\"ada\"}".to_vec();
        let expected = json!({"ok": {"header": header, "payload": payload}});
        assert_eq!(verified, expected, "{version}");
        let mac = json!({"crypto_hmac_sha256": ["secret", [0, 255]]});
        let mac = outcome(&mut instance, mac).await;
        assert_eq!(mac, json!({"ok": hmac(&[0, 255])}), "{version}");
        let random = outcome(&mut instance, json!({"crypto_random": 32})).await;
        let other = outcome(&mut instance, json!({"crypto_random": 32})).await;
        assert_eq!(random.as_array().map(Vec::len), Some(32), "{version}");
        assert_ne!(random, other, "{version}");
        let mut errors = BTreeSet::new();
        for call in [
            verify(&token, "nobody"),
            verify(&forged, "jwt"),
            verify("nonsense", "jwt"),
            json!({"crypto_hmac_sha256": ["nobody", []]}),
        ] {
            errors.insert(case(&outcome(&mut instance, call).await));
        }
        assert_eq!(errors, KEY_ERRORS.map(str::to_owned).into(), "{version}");
    }
}

#[tokio::test]
async fn requests_go_out_and_come_back() {
    let host = TestHost::new();
    let mut said = answer("299 Enough", &[0, 255]);
    let headers = b"x-one: 1\r\n";
    let at = said.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    said.splice(at..at, headers.iter().copied());
    let server = Server::new(Manner::Raw(said)).await;
    let silent = Server::new(Manner::Silent).await;
    let closed = Server::new(Manner::Raw(b"nonsense\r\n\r\n".to_vec())).await;
    let origins = [&server, &silent, &closed].map(Server::origin);
    for (version, component, _) in COMPONENTS {
        let plugin = PluginSpec {
            http_origins: origins
                .iter()
                .map(|origin| rillway_policy::Origin::parse(origin).expect("an origin"))
                .collect(),
            ..spec(component)
        };
        let mut instance = open(&host.load(plugin).await).await;
        let send = |method: &str, url: String, timeout_ms: u32| {
            json!({"http_send": {
                "method": method,
                "url": url,
                "headers": [["x-two", "2"]],
                "body": [98, 111, 100, 121],
                "timeout_ms": timeout_ms,
            }})
        };
        let url = format!("{}/path?q=1", origins[0]);
        let found = outcome(&mut instance, send("PUT", url, 0)).await;
        assert_eq!(found["ok"]["status"], 299, "{version}: {found}");
        assert_eq!(found["ok"]["body"], json!([0, 255]), "{version}");
        let headers = found["ok"]["headers"].as_array().expect("a list");
        assert!(headers.contains(&json!(["x-one", "1"])), "{version}");
        let seen = server.requests().pop().expect("a request");
        assert!(seen.starts_with("PUT /path?q=1 HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("\r\nx-two: 2\r\n"), "{seen}");
        assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
        let mut errors = BTreeSet::new();
        for call in [
            send("GET", "http://127.0.0.2:1/".to_owned(), 0),
            send("no method", origins[0].clone(), 0),
            send("GET", format!("{}/", origins[1]), 20),
            send("GET", format!("{}/", origins[2]), 0),
        ] {
            errors.insert(case(&outcome(&mut instance, call).await));
        }
        assert_eq!(errors, HTTP_ERRORS.map(str::to_owned).into(), "{version}");
    }
}

/// Level and message of each line that a plugin with `mark` in the message wrote.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(String, String)>>>);

impl Lines {
    /// Those of the whole process: plugins run on threads of their own.
    fn of_this_process() -> &'static Lines {
        static LINES: OnceLock<Lines> = OnceLock::new();
        LINES.get_or_init(|| {
            let lines = Lines::default();
            tracing::subscriber::set_global_default(lines.clone()).expect("there is no other");
            lines
        })
    }

    fn with(&self, mark: &str) -> Vec<String> {
        let lines = self.0.lock().expect("no test panics in it");
        let ours = lines.iter().filter(|(_, message)| message.contains(mark));
        ours.map(|(level, _)| level.clone()).collect()
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "rillway::plugin"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let level = event.metadata().level().to_string();
        self.0
            .lock()
            .expect("no test panics in it")
            .push((level, message.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn lines_are_logged_at_their_level() {
    let lines = Lines::of_this_process();
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let mark = format!("mark of {version}");
        let plugin = host.load(spec(component)).await;
        let mut instance = open(&plugin).await;
        for level in 0..LEVELS.len() {
            outcome(&mut instance, json!({"log_write": [level, mark]})).await;
        }
        let expected = LEVELS.map(str::to_uppercase);
        assert_eq!(lines.with(&mark), expected, "{version}");
        assert_eq!(plugin.stats().log_lines, LEVELS.len() as u64, "{version}");
    }
}
