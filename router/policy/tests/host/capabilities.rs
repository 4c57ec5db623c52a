//! Capabilities as a component sees them: lifted, lowered, and bound to its plugin.

use std::collections::BTreeMap;

use rillway_plugin_sdk::signaling::Input;
use rillway_policy::testing::{Assembly, bytes_spec};
use rillway_policy::{Key, Kind, Plugin, PluginSpec, Rollout};

use crate::support::{TestHost, sent};

/// Sends as a text message what `$text` and `$length` say.
const SEND: &str = "
    (i32.store (i32.const 0) (i32.const 512))
    (i32.store (i32.const 4) (i32.const 1))
    (i32.store (i32.const 532) (global.get $text))
    (i32.store (i32.const 536) (global.get $length))
    (i32.const 0)";

fn assembly(body: &str) -> Assembly {
    Assembly::new(Kind::Signaling, format!("{body} {SEND}"))
        .fields("(global $text (mut i32) (i32.const 0)) (global $length (mut i32) (i32.const 0))")
}

/// What the component says to a client.
async fn says(plugin: &Plugin) -> String {
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    let commands = instance.call(Input::Tick).await.unwrap();
    sent(&commands).expect("a text message").to_owned()
}

async fn load(host: &TestHost, assembly: &Assembly) -> Plugin {
    host.load(bytes_spec("test", assembly.build())).await
}

/// The text that a function has left in the area at 600, as pointer and length.
const TAKE: &str = "
    (global.set $text (i32.load (i32.const 600)))
    (global.set $length (i32.load (i32.const 604)))";

#[tokio::test]
async fn a_plugin_reads_its_configuration() {
    let host = TestHost::new();
    let assembly =
        assembly(&format!("(call $get (i32.const 600)) {TAKE}")).import("config", "get", "get");
    assert_eq!(says(&load(&host, &assembly).await).await, "{}");
    let spec = PluginSpec {
        config: serde_json::json!({ "colour": "blue" }),
        ..bytes_spec("test", assembly.build())
    };
    let plugin = host.load(spec.clone()).await;
    assert_eq!(says(&plugin).await, r#"{"colour":"blue"}"#);
    let changed = PluginSpec {
        config: serde_json::json!({ "colour": "red" }),
        ..spec
    };
    plugin
        .reload(Some(changed), Rollout::default())
        .await
        .unwrap();
    assert_eq!(says(&plugin).await, r#"{"colour":"red"}"#);
}

#[tokio::test]
async fn instances_share_a_store_that_survives_reloads() {
    let host = TestHost::new();
    // increment("n", 1, none), then get("n"): the text of an `option` lies behind its case.
    let assembly = assembly(&format!(
        "(call $increment (i32.const 2048) (i32.const 1) (i64.const 1)
                          (i32.const 0) (i64.const 0) (i32.const 640))
         (call $get (i32.const 2048) (i32.const 1) (i32.const 596)) {TAKE}"
    ))
    .import("kv", "increment", "increment")
    .import("kv", "get", "get")
    .data(2_048, *b"n");
    let plugin = load(&host, &assembly).await;
    assert_eq!(
        (says(&plugin).await.as_str(), says(&plugin).await.as_str()),
        ("1", "2")
    );
    plugin.reload(None, Rollout::default()).await.unwrap();
    assert_eq!(says(&plugin).await, "3");
    assert!(plugin.stats().kv_bytes > 0);
    // Another plugin has its own.
    let other = host.load(bytes_spec("other", assembly.build())).await;
    assert_eq!(says(&other).await, "1");
}

#[tokio::test]
async fn metrics_are_the_plugins_own() {
    let host = TestHost::new();
    let assembly = assembly(
        "(call $add (i32.const 2048) (i32.const 5) (i64.const 7))
         (call $observe (i32.const 2048) (i32.const 5) (f64.const 2.5))",
    )
    .import("metrics", "add", "add")
    .import("metrics", "observe", "observe")
    .data(2_048, *b"calls");
    let plugin = load(&host, &assembly).await;
    says(&plugin).await;
    says(&plugin).await;
    let stats = plugin.stats();
    let [(name, custom)] = stats.custom.as_slice() else {
        panic!("{:?}", stats.custom)
    };
    assert_eq!(name, "calls");
    assert_eq!((custom.total, custom.observations), (14, 2));
    assert!((custom.sum - 5.0).abs() < f64::EPSILON);
}

/// A component that verifies `token` with the key `k` and sends the payload, or the number of the error.
fn verifier(token: &str) -> Assembly {
    // result<verified, key-error>: case, then header and payload, or the error's case.
    assembly(&format!(
        "(call $verify (i32.const 2112) (i32.const {}) (i32.const 2048) (i32.const 1) (i32.const 588))
         (if (i32.load8_u (i32.const 588))
           (then
             (i32.store8 (i32.const 2100) (i32.add (i32.const 48) (i32.load8_u (i32.const 592))))
             (global.set $text (i32.const 2100))
             (global.set $length (i32.const 1)))
           (else {TAKE}))",
        token.len()
    ))
    .import("crypto", "verify-jws", "verify")
    .data(2_048, *b"k")
    .data(2_112, token.as_bytes())
}

#[tokio::test]
async fn tokens_are_verified_with_keys_that_stay_outside() {
    let host = TestHost::new();
    // RFC 7515 A.1, whose key is given as a JWK.
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let jwk = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    let key = Key::jwk(rillway_policy::Algorithm::Hs256, jwk).unwrap();
    let with = |token: &str, name: &str| PluginSpec {
        keys: BTreeMap::from([(name.to_owned(), key.clone())]),
        ..bytes_spec("test", verifier(token).build())
    };
    let said = says(&host.load(with(token, "k")).await).await;
    assert!(said.starts_with(r#"{"iss":"joe""#), "{said}");
    assert_eq!(
        says(&host.load(with(token, "other")).await).await,
        "0",
        "unknown-key"
    );
    let forged = token.replace("dBjf", "eBjf");
    assert_eq!(
        says(&host.load(with(&forged, "k")).await).await,
        "1",
        "bad-signature"
    );
    assert_eq!(
        says(&host.load(with("nonsense", "k")).await).await,
        "2",
        "malformed"
    );
}

#[tokio::test]
async fn random_bytes_are_random_and_bounded() {
    let host = TestHost::new();
    // The length as a digit: how often 256 fits into it.
    let assembly = assembly(
        "(call $random (i32.const 100000) (i32.const 600))
         (i32.store8 (i32.const 2100)
            (i32.add (i32.const 48) (i32.shr_u (i32.load (i32.const 604)) (i32.const 8))))
         (global.set $text (i32.const 2100))
         (global.set $length (i32.const 1))",
    )
    .import("crypto", "random", "random");
    assert_eq!(says(&load(&host, &assembly).await).await, "4");
}

#[tokio::test]
async fn clocks_run() {
    let host = TestHost::new();
    // 1 if both clocks are ahead of what they were, or where they must be.
    let assembly = assembly(
        "(i64.store (i32.const 640) (call $ns))
         (i32.store8 (i32.const 2100) (i32.add (i32.const 48) (i32.and
            (i64.ge_u (call $ns) (i64.load (i32.const 640)))
            (i64.gt_u (call $ms) (i64.const 1700000000000)))))
         (global.set $text (i32.const 2100))
         (global.set $length (i32.const 1))",
    )
    .import("clock", "monotonic-ns", "ns")
    .import("clock", "now-ms", "ms");
    assert_eq!(says(&load(&host, &assembly).await).await, "1");
}
