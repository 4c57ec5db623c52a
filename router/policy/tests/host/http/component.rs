//! A component that sends one request for each text message, and says what became of it.

use rillway_plugin_sdk::signaling::Input;
use rillway_policy::testing::{Assembly, bytes_spec};
use rillway_policy::{Fault, Kind, Network, Origin, Plugin, PluginSpec};

use crate::support::{sent, text};

/// What it sends.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: String,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The body is that many zeros.
    pub(crate) body_bytes: u32,
    pub(crate) timeout_ms: u32,
}

impl Request<'_> {
    pub(crate) fn get(url: impl Into<String>) -> Self {
        Request {
            method: "GET",
            url: url.into(),
            headers: &[],
            body_bytes: 0,
            timeout_ms: 0,
        }
    }
}

const METHOD: u32 = 2_048;
const URL: u32 = 2_112;
const HEADERS: u32 = 3_072;
const HEADER_TEXT: u32 = 3_200;
const BODY: u32 = 1 << 17;

/// Says `kSTATUS` with the first 200 bytes of the body, or the number of the error's case with its text. A
/// tick does nothing.
pub(crate) fn component(request: &Request<'_>) -> Vec<u8> {
    let (mut table, mut texts) = (Vec::new(), Vec::new());
    for text in request
        .headers
        .iter()
        .flat_map(|(name, value)| [name, value])
    {
        let at = HEADER_TEXT + u32::try_from(texts.len()).unwrap();
        let length = u32::try_from(text.len()).unwrap();
        table.extend([at.to_le_bytes(), length.to_le_bytes()].concat());
        texts.extend_from_slice(text.as_bytes());
    }
    let body = format!(
        "(local $length i32)
        (if (i32.ne (i32.load8_u (local.get $p0)) (i32.const 1))
          (then (i64.store (i32.const 0) (i64.const 0)) (return (i32.const 0))))
        (call $send (i32.const {METHOD}) (i32.const {}) (i32.const {URL}) (i32.const {})
                    (i32.const {HEADERS}) (i32.const {}) (i32.const {BODY}) (i32.const {})
                    (i32.const {}) (i32.const 600))
        (if (i32.load8_u (i32.const 600))
          (then
            (i32.store8 (i32.const 0x8000) (i32.add (i32.const 48) (i32.load8_u (i32.const 604))))
            (if (i32.ne (i32.load8_u (i32.const 604)) (i32.const 2))
              (then
                (local.set $length (i32.load (i32.const 612)))
                (memory.copy (i32.const 0x8001) (i32.load (i32.const 608)) (local.get $length))))
            (local.set $length (i32.add (i32.const 1) (local.get $length))))
          (else
            (i32.store8 (i32.const 0x8000) (i32.const 107))
            (call $digit (i32.const 0x8001) (i32.const 100))
            (call $digit (i32.const 0x8002) (i32.const 10))
            (call $digit (i32.const 0x8003) (i32.const 1))
            (local.set $length (i32.load (i32.const 620)))
            (if (i32.gt_u (local.get $length) (i32.const 200))
              (then (local.set $length (i32.const 200))))
            (memory.copy (i32.const 0x8004) (i32.load (i32.const 616)) (local.get $length))
            (local.set $length (i32.add (i32.const 4) (local.get $length)))))
        (i32.store (i32.const 0) (i32.const 512))
        (i32.store (i32.const 4) (i32.const 1))
        (memory.fill (i32.const 512) (i32.const 0) (i32.const 64))
        (i32.store (i32.const 532) (i32.const 0x8000))
        (i32.store (i32.const 536) (local.get $length))
        (i32.const 0)",
        request.method.len(),
        request.url.len(),
        request.headers.len(),
        request.body_bytes,
        request.timeout_ms,
    );
    Assembly::new(Kind::Signaling, body)
        .import("http", "send", "send")
        .fields(
            "(func $digit (param $at i32) (param $unit i32)
               (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u
                 (i32.div_u (i32.load16_u (i32.const 604)) (local.get $unit))
                 (i32.const 10)))))",
        )
        .data(METHOD, request.method.as_bytes())
        .data(URL, request.url.as_bytes())
        .data(HEADERS, table)
        .data(HEADER_TEXT, texts)
        .reserve(BODY + request.body_bytes)
        .build()
}

/// Loads it with these origins.
pub(crate) fn spec(request: &Request<'_>, origins: &[&str]) -> PluginSpec {
    let origin = |text: &&str| Origin::parse(text).expect("an origin");
    PluginSpec {
        http_origins: origins.iter().map(origin).collect(),
        budgets: crate::support::patient(),
        ..bytes_spec("test", component(request))
    }
}

pub(crate) fn networks(texts: &[&str]) -> Vec<Network> {
    let network = |text: &&str| Network::parse(text).expect("a network");
    texts.iter().map(network).collect()
}

/// What a new instance says about its request.
pub(crate) async fn says(plugin: &Plugin) -> Result<String, Fault> {
    let mut instance = plugin.signaling().unwrap().open().await?;
    let commands = instance.call(text("go")).await?;
    // It goes on as if nothing had been.
    assert_eq!(instance.call(Input::Tick).await, Ok(vec![]));
    Ok(sent(&commands).expect("a text message").to_owned())
}
