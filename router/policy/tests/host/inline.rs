//! Plugins on fuel: the same in every run.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::Denial;
use rillway_policy::inline::{
    FUEL_PER_US, InlineConfig, InlineHost, InlinePlugin, InlineSignaling,
};
use rillway_policy::testing::{Assembly, Behaviour, Start, bytes_spec, spec};
use rillway_policy::{Capability, Excess, Fault, Key, Kind, LoadError, PluginSpec, Source};

use crate::support::{attempt, sent, text};

const UNIX_MS: u64 = 1_800_000_000_000;
const MS: Duration = Duration::from_millis(1);

fn host(seed: u64) -> InlineHost {
    let unix_ms = UNIX_MS;
    InlineHost::new(InlineConfig { seed, unix_ms }).expect("an engine")
}

fn load(spec: &PluginSpec) -> InlinePlugin {
    host(7).load(spec).expect("it loads")
}

fn open(behaviour: &Behaviour) -> Result<InlineSignaling, Fault> {
    load(&spec("test", Kind::Signaling, behaviour)).signaling(Duration::ZERO)
}

/// Sends as a text message the 32 characters that its clocks, 8 random bytes and a counter with a time to
/// live make: what an instance can notice of its surroundings.
fn noticing() -> PluginSpec {
    let body = "
        (i64.store (i32.const 0x8000) (call $ms))
        (i64.store (i32.const 0x8008) (call $ns))
        (call $random (i32.const 8) (i32.const 600))
        (i64.store (i32.const 0x8010) (i64.load (i32.load (i32.const 600))))
        (call $increment (i32.const 2048) (i32.const 1) (i64.const 1)
                         (i32.const 1) (i64.const 1000) (i32.const 640))
        (i64.store (i32.const 0x8018) (i64.load (i32.const 648)))
        (i32.store (i32.const 0) (i32.const 512))
        (i32.store (i32.const 4) (i32.const 1))
        (memory.fill (i32.const 512) (i32.const 0) (i32.const 64))
        (call $hex)
        (i32.store (i32.const 532) (i32.const 0x9000))
        (i32.store (i32.const 536) (i32.const 64))
        (i32.const 0)";
    // As hexadecimal text, two characters for each byte.
    let hex = "
        (func $digit (param i32) (result i32)
          (i32.add (local.get 0)
            (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get 0) (i32.const 10)))))
        (func $hex
          (local $i i32) (local $byte i32) (local $at i32)
          (loop $again
            (local.set $byte (i32.load8_u offset=0x8000 (local.get $i)))
            (local.set $at (i32.shl (local.get $i) (i32.const 1)))
            (i32.store8 offset=0x9000 (local.get $at)
              (call $digit (i32.shr_u (local.get $byte) (i32.const 4))))
            (i32.store8 offset=0x9001 (local.get $at)
              (call $digit (i32.and (local.get $byte) (i32.const 15))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 32)))))";
    let component = Assembly::new(Kind::Signaling, body)
        .import("clock", "now-ms", "ms")
        .import("clock", "monotonic-ns", "ns")
        .import("crypto", "random", "random")
        .import("kv", "increment", "increment")
        .fields(hex)
        .data(2_048, *b"n");
    bytes_spec("test", component.build())
}

#[derive(Debug, PartialEq, Eq)]
struct Noticed {
    ms: u64,
    ns: u64,
    random: u64,
    count: u64,
}

fn noticed(commands: &[Command]) -> Noticed {
    let text = sent(commands).expect("a text message");
    let number = |index: usize| {
        let digits = &text[index * 16..][..16];
        u64::from_str_radix(digits, 16)
            .expect("hexadecimal")
            .swap_bytes()
    };
    Noticed {
        ms: number(0),
        ns: number(1),
        random: number(2),
        count: number(3),
    }
}

/// Two instances, called in turn: what they notice, and the fuel it takes.
fn run(seed: u64) -> Vec<(Noticed, u64)> {
    let plugin = host(seed).load(&noticing()).unwrap();
    let mut instances = [
        plugin.signaling(Duration::ZERO).unwrap(),
        plugin.signaling(MS).unwrap(),
    ];
    let mut all = Vec::new();
    for ms in [1, 2, 500, 1_000, 1_001] {
        for instance in &mut instances {
            let commands = instance.call(ms * MS, Input::Tick).unwrap();
            all.push((noticed(&commands), instance.fuel()));
        }
    }
    all
}

#[test]
fn a_seed_makes_a_run() {
    let first = run(1);
    assert_eq!(first, run(1));
    let other = run(2);
    for ((mine, fuel), (theirs, their_fuel)) in first.iter().zip(&other) {
        assert_ne!(mine.random, theirs.random);
        assert_eq!(
            (mine.ms, mine.ns, mine.count),
            (theirs.ms, theirs.ns, theirs.count)
        );
        assert_eq!(fuel, their_fuel);
        assert!(*fuel > 100, "{fuel}");
    }
    let mut randoms: Vec<u64> = first.iter().map(|(noticed, _)| noticed.random).collect();
    randoms.sort_unstable();
    randoms.dedup();
    assert_eq!(randoms.len(), 10, "instances and calls differ");
}

#[test]
fn time_is_what_the_caller_says() {
    let noticed: Vec<Noticed> = run(1).into_iter().map(|(noticed, _)| noticed).collect();
    let (first, last) = (&noticed[0], &noticed[9]);
    assert_eq!((first.ms, first.ns), (UNIX_MS + 1, 1_000_000));
    assert_eq!((last.ms, last.ns), (UNIX_MS + 1_001, 1_001_000_000));
    // The store is the plugin's, and what lives for a second from 1 ms on is gone at 1,001 ms.
    let counts: Vec<u64> = noticed.iter().map(|noticed| noticed.count).collect();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8, 1, 2]);
}

#[test]
fn a_loop_ends_by_fuel() {
    for _ in 0..2 {
        let mut instance = open(&Behaviour::Spin).unwrap();
        let fault = instance.call(Duration::ZERO, Input::Tick).unwrap_err();
        assert_eq!(fault, Fault::Timeout(20 * MS));
        assert_eq!(instance.fuel(), 20_000 * FUEL_PER_US);
        assert_eq!(instance.call(MS, Input::Tick), Err(Fault::Gone));
    }
    let starting = open(&Behaviour::Starting(Start::Spin));
    assert_eq!(starting.unwrap_err(), Fault::Timeout(250 * MS));
}

#[test]
fn work_takes_the_fuel_it_takes() {
    let fuel = |turns| {
        let mut instance = open(&Behaviour::Busy(turns)).unwrap();
        let commands = instance.call(Duration::ZERO, text("x")).unwrap();
        assert_eq!(sent(&commands), Some("x"));
        let first = instance.fuel();
        instance.call(MS, text("x")).unwrap();
        assert_eq!(instance.fuel(), first);
        first
    };
    let (one, two) = (fuel(10_000), fuel(20_000));
    assert_eq!(one, fuel(10_000));
    assert!(two > one + 10_000, "{one}, {two}");
}

#[test]
fn the_bounds_are_those_of_the_host() {
    let fault = |behaviour: &Behaviour| {
        let mut instance = open(behaviour).unwrap();
        instance.call(Duration::ZERO, Input::Tick).unwrap_err()
    };
    assert_eq!(fault(&Behaviour::Grow), Fault::Memory);
    assert_eq!(fault(&Behaviour::GrowTable), Fault::Memory);
    assert_eq!(fault(&Behaviour::Huge), Fault::Excess(Excess::Bytes));
    assert_eq!(
        fault(&Behaviour::Values(4_097)),
        Fault::Excess(Excess::Commands)
    );
    let trapped = |fault: Fault| matches!(fault, Fault::Trapped(_));
    assert!(trapped(fault(&Behaviour::Trap)) && trapped(fault(&Behaviour::Recurse)));
    let failing = Behaviour::Starting(Start::Fail("no".to_owned()));
    assert_eq!(open(&failing).unwrap_err(), Fault::Start("no".to_owned()));
    let refused = PluginSpec {
        imports: vec![Capability::Clock],
        ..noticing()
    };
    let problem = host(1).load(&refused).unwrap_err();
    assert!(matches!(problem, LoadError::NotGranted { .. }), "{problem}");
}

#[test]
fn there_is_no_network() {
    use crate::http::component::{Request, component};
    let request = Request::get("http://127.0.0.1:1");
    let plugin = load(&bytes_spec("test", component(&request)));
    let mut instance = plugin.signaling(Duration::ZERO).unwrap();
    let commands = instance.call(Duration::ZERO, text("go")).unwrap();
    assert_eq!(sent(&commands), Some("3this host has no network"));
}

/// A token of `auth-jwt` that ends at this Unix second.
fn token(secret: &[u8], expires_s: u64) -> String {
    let rights = r#"{"room": "blue", "subscribe": true}"#;
    let claims = format!(r#"{{"sub": "ada", "exp": {expires_s}, "rillway": {rights}}}"#);
    let signed = format!(
        "{}.{}",
        BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        BASE64.encode(claims)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mac = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(mac.as_ref()))
}

#[test]
fn a_shipped_policy_runs_on_told_time() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let bytes = rillway_components::get("auth-jwt").expect("it is shipped");
    let name = "auth-jwt";
    let spec = PluginSpec {
        imports: vec![Capability::Config, Capability::Clock, Capability::Crypto],
        keys: BTreeMap::from([("main".to_owned(), Key::secret(secret).unwrap())]),
        config: serde_json::json!({ "keys": [{ "name": "main" }], "leeway_s": 0 }),
        ..PluginSpec::new(name, Source::Embedded { name, bytes })
    };
    let decide = || {
        let mut policy = load(&spec).authentication(Duration::ZERO).unwrap();
        let attempt = Attempt {
            scheme: "token".to_owned(),
            credentials: token(secret, UNIX_MS / 1_000 + 60).into_bytes(),
            ..attempt("blue")
        };
        let valid = policy.call(59 * 1_000 * MS, attempt.clone()).unwrap();
        let fuel = policy.fuel();
        let late = policy.call(61 * 1_000 * MS, attempt).unwrap();
        (valid, fuel, late, policy.fuel())
    };
    let first = decide();
    assert_eq!(first.0.as_ref().unwrap().identity, "ada");
    assert!(
        matches!(first.2, Err(Denial::Unauthenticated(_))),
        "{:?}",
        first.2
    );
    assert_eq!(first, decide());
}
