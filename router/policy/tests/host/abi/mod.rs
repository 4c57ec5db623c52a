//! Components of every released version of the ABI (`tests/abi`), as they were built then, still see and say
//! all that there is to see and say.

mod calls;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Decision, Scope, View};
use rillway_plugin_sdk::recording::{Container, Event, FailureCause, Order, Request};
use rillway_plugin_sdk::signaling::{Action, Command, FailureCode, Frame, Input, TransportState};
use rillway_plugin_sdk::types::{Attributes, Denial, Direction, MediaKind, Source};
use rillway_policy::testing::bytes_spec;
use rillway_policy::{Capability, Kind, Origin, PluginSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{self, TestHost, patient, sent, text};

/// Version of the ABI, component, and what is recorded about it.
const COMPONENTS: [(&str, &[u8], &str); 2] = [
    (
        "0.1.0",
        include_bytes!("../../../../../tests/abi/policy-0.1.0.wasm"),
        include_str!("../../../../../tests/abi/policy-0.1.0.toml"),
    ),
    (
        "0.2.0",
        include_bytes!("../../../../../tests/abi/policy-0.2.0.wasm"),
        include_str!("../../../../../tests/abi/policy-0.2.0.toml"),
    ),
];

/// The first version; it cannot say or be told what came later.
const FIRST: &str = "0.1.0";

fn is_newer_action(action: &Action) -> bool {
    matches!(action, Action::Notify(_))
}

fn is_newer_event(event: &Event) -> bool {
    matches!(event, Event::Started(_) | Event::Recording(_) | Event::Tick)
}

fn is_newer_order(order: &Order) -> bool {
    matches!(order, Order::TickEveryMs(_))
}

/// Bytes of the value of an attribute.
const VALUE_BYTES: usize = 1_024;
/// Calls in which anything has been shown.
const CALLS_MAX: usize = 100;

fn spec(component: &[u8]) -> PluginSpec {
    PluginSpec {
        // One that imports `http` has an origin; nobody listens there.
        http_origins: vec![Origin::parse("http://127.0.0.1:9").expect("an origin")],
        budgets: patient(),
        ..bytes_spec("mirror", component.to_vec())
    }
}

#[tokio::test]
async fn every_released_version_has_its_component() {
    let released = rillway_policy_wit::RELEASED.iter();
    let released: Vec<&str> = released.map(|(version, _)| *version).collect();
    assert_eq!(
        released,
        COMPONENTS.map(|(version, ..)| version),
        "build tests/abi/mirror with the new version (docs/plugins/overview.md, Versions) and add it here"
    );
    let host = TestHost::new();
    for (version, component, recorded) in COMPONENTS {
        let recorded: toml::Table = recorded.parse().expect("TOML");
        let digest = Sha256::digest(component);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let plugin = host.load(spec(component)).await;
        let kinds: Vec<&str> = plugin.kinds().into_iter().map(Kind::name).collect();
        let imports: Vec<&str> = plugin.imports().into_iter().map(Capability::name).collect();
        let found: [(&str, toml::Value); 5] = [
            ("abi", plugin.abi().into()),
            ("sha256", digest.into()),
            (
                "bytes",
                i64::try_from(component.len()).expect("small").into(),
            ),
            ("exports", kinds.into()),
            ("imports", imports.into()),
        ];
        for (key, value) in found {
            assert_eq!(
                recorded.get(key),
                Some(&value),
                "{version}: `{key}`: restore tests/abi/policy-{version}.wasm, which is never built again"
            );
        }
        assert_eq!(plugin.abi(), version);
        assert_eq!(plugin.imports().len(), Capability::ALL.len());
        assert_eq!(plugin.kinds().len(), Kind::ALL.len());
    }
}

/// The case of a value, by its name in Rust. A new case does not compile before it is here, and then wants a
/// value in `values`.
macro_rules! cases {
    ($($function:ident: $type:ident { $($case:ident)+ })+) => { $(
        fn $function(value: &$type) -> &'static str {
            match value {
                $($type::$case { .. } => stringify!($case),)+
            }
        }
    )+ };
}

cases! {
    media_kind: MediaKind { Audio Video }
    source: Source { Camera Microphone Screen ScreenAudio Other }
    direction: Direction { Publish Subscribe }
    denial: Denial { Unauthenticated Forbidden OverQuota Unavailable }
    frame: Frame { Text Binary }
    transport_state: TransportState { New Connecting Connected Disconnected Failed Closed }
    input: Input {
        Opened Message Request Closed Tick Granted Denied Joined ParticipantJoined ParticipantLeft
        TrackPublished TrackUnpublished TrackMuted Answer Offer TransportState Speakers Layer Data
        DataDropped Relayed Recording Draining Removed Done Failed Extension
    }
    action: Action {
        Send Respond Close TickEveryMs Authenticate Join Leave AcceptOffer AcceptAnswer
        AcceptReceivingOffer AddCandidate RestartIce CloseTransport Subscribe Unsubscribe Wish Mute
        Unpublish SendData SendTo Notify RequestRecording Extension
    }
    event: Event {
        RoomOpened ParticipantJoined ParticipantLeft TrackPublished TrackUnpublished TrackMuted
        Speakers Requested Started Finished Failed Recording Tick RoomClosed
    }
    scope: Scope { Whole Changes }
    container: Container { Mp4 Webm RtpDump }
    failure_cause: FailureCause {
        DiskFull DiskFault Overload Encrypted Unsupported Unavailable Other
    }
    order: Order { Start Stop TickEveryMs }
}

/// The SDK may add codes without a new version; those of the WIT are compared below.
fn failure_code(code: &FailureCode) -> String {
    format!("{code:?}")
}

/// Interface and type → the names of its cases.
type Cases = BTreeMap<String, BTreeSet<String>>;

/// Every enumeration and variant of the package.
fn cases_of_the_wit(files: &[(&str, &str)]) -> Cases {
    let mut sources = wit_parser::SourceMap::new();
    for (name, text) in files {
        sources.push_str(name, *text);
    }
    let Ok(group) = sources.parse() else {
        panic!("a released WIT does not parse");
    };
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_group(group).expect("the WIT is whole");
    let mut found = Cases::new();
    for (_, definition) in &resolve.types {
        let cases: Vec<&str> = match &definition.kind {
            wit_parser::TypeDefKind::Enum(of) => of.cases.iter().map(|c| c.name.as_str()).collect(),
            wit_parser::TypeDefKind::Variant(of) => {
                of.cases.iter().map(|c| c.name.as_str()).collect()
            }
            _ => continue,
        };
        let wit_parser::TypeOwner::Interface(interface) = definition.owner else {
            panic!("{definition:?} belongs to no interface");
        };
        let interface = resolve.interfaces[interface].name.as_deref();
        let name = definition.name.as_deref();
        let name = format!(
            "{}/{}",
            interface.unwrap_or_default(),
            name.unwrap_or_default()
        );
        found.insert(name, cases.into_iter().map(pascal).collect());
    }
    found
}

/// `screen-audio` → `ScreenAudio`.
fn pascal(name: &str) -> String {
    let words = name.split('-');
    words
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}

#[test]
fn a_value_of_every_case_is_sent() {
    let mut sent = Cases::new();
    let mut add = |name: &str, cases: Vec<&str>| {
        let cases = cases.into_iter().map(str::to_owned).collect();
        sent.insert(name.to_owned(), cases);
    };
    add(
        "types/media-kind",
        values::MEDIA_KINDS.iter().map(media_kind).collect(),
    );
    add("types/source", values::SOURCES.iter().map(source).collect());
    add(
        "types/direction",
        values::DIRECTIONS.iter().map(direction).collect(),
    );
    add(
        "types/denial",
        values::denials().iter().map(denial).collect(),
    );
    add(
        "signaling/frame",
        values::frames().iter().map(frame).collect(),
    );
    add(
        "signaling/transport-state",
        values::TRANSPORT_STATES
            .iter()
            .map(transport_state)
            .collect(),
    );
    add(
        "signaling/input",
        values::inputs().iter().map(input).collect(),
    );
    add(
        "signaling/action",
        values::actions().iter().map(action).collect(),
    );
    add(
        "layer-selection/scope",
        values::SCOPES.iter().map(scope).collect(),
    );
    add(
        "recording/event",
        values::events().iter().map(event).collect(),
    );
    add(
        "recording/container",
        values::CONTAINERS.iter().map(container).collect(),
    );
    add(
        "recording/failure-cause",
        values::FAILURE_CAUSES.iter().map(failure_cause).collect(),
    );
    add(
        "recording/order",
        values::orders().iter().map(order).collect(),
    );
    add("log/level", calls::LEVELS.to_vec());
    add("crypto/key-error", calls::KEY_ERRORS.to_vec());
    add("http/error", calls::HTTP_ERRORS.to_vec());
    let codes = values::FAILURE_CODES.iter().map(failure_code).collect();
    sent.insert("signaling/failure-code".to_owned(), codes);
    // Of the version that the SDK speaks; an older one has fewer.
    assert_eq!(sent, cases_of_the_wit(&rillway_policy_wit::FILES));
}

/// JSON as components write and read it: bytes that are no text are lists of numbers.
fn to_json<T: Serialize>(value: &T) -> String {
    fn plain(value: Value) -> Value {
        match value {
            Value::Object(members) => match members.get("base64").and_then(Value::as_str) {
                Some(base64) => BASE64.decode(base64).expect("written by the SDK").into(),
                None => members.into_iter().map(|(k, v)| (k, plain(v))).collect(),
            },
            Value::Array(values) => values.into_iter().map(plain).collect(),
            other => other,
        }
    }
    plain(serde_json::to_value(value).expect("JSON")).to_string()
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {text}"),
    }
}

/// JSON of an answer, in attributes.
fn reply<T: Serialize>(answer: &T) -> Attributes {
    let text = to_json(answer);
    let mut rest = text.as_str();
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.floor_char_boundary(VALUE_BYTES));
        attributes.push(("reply".to_owned(), part.to_owned()));
        rest = after;
    }
    attributes
}

/// The text of attributes in which something is shown.
fn shown(attributes: &Attributes) -> String {
    assert!(attributes.iter().all(|(name, _)| name == "seen"));
    attributes.iter().map(|(_, part)| part.as_str()).collect()
}

#[tokio::test]
async fn signaling_sees_every_input_and_says_every_command() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let plugin = host.load(spec(component)).await;
        let mut instance = plugin.signaling().unwrap().open().await.unwrap();
        for input in values::inputs() {
            let commands = instance.call(input.clone()).await.unwrap();
            let seen = sent(&commands).unwrap_or_else(|| panic!("{version}: {input:?}"));
            assert_eq!(read::<Input>(seen), input, "{version}");
        }
        let actions = values::actions().into_iter();
        let actions = actions.filter(|action| version != FIRST || !is_newer_action(action));
        let commands: Vec<Command> = actions
            .zip((0..=u64::MAX).rev())
            .map(|(action, reference)| Command { reference, action })
            .collect();
        for command in &commands {
            let one = std::slice::from_ref(command);
            let said = instance.call(text(&to_json(&one))).await;
            assert_eq!(said.as_deref(), Ok(one), "{version}");
        }
        let said = instance.call(text(&to_json(&commands))).await;
        assert_eq!(said, Ok(commands), "{version}");
        assert_eq!(instance.call(text("[]")).await, Ok(Vec::new()), "{version}");
    }
}

#[tokio::test]
async fn authentication_sees_every_attempt_and_says_every_decision() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let plugin = host.load(spec(component)).await;
        let policy = plugin.authentication().unwrap();
        for attempt in values::attempts() {
            let grant = policy.decide(attempt.clone()).await.unwrap().unwrap();
            let seen: Attempt = read(&shown(&grant.attributes));
            assert_eq!(seen, attempt, "{version}");
        }
        let grants = values::grants().into_iter().map(Ok);
        for decision in grants.chain(values::denials().into_iter().map(Err)) {
            let attempt = Attempt {
                // As serde writes a `Result`, which the mirror reads.
                attributes: reply(&decision),
                ..Attempt::default()
            };
            assert_eq!(policy.decide(attempt).await, Ok(decision), "{version}");
        }
    }
}

fn show() -> Attributes {
    vec![("show".to_owned(), String::new())]
}

#[tokio::test]
async fn layer_selection_sees_every_view_and_says_every_decision() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let plugin = host.load(spec(component)).await;
        let mut room = plugin.layer_selection().unwrap().open().await.unwrap();
        let old = version == "0.1.0";
        for view in values::views() {
            let silent = Ok(Decision::default());
            assert_eq!(room.choose(view.clone()).await, silent, "{version}");
            let view = if old { values::view_0_1(view) } else { view };
            let mut seen = String::new();
            for _ in 0..CALLS_MAX {
                let decision = room.choose(support::view(64, show())).await.unwrap();
                let choices = decision.choices;
                if choices.is_empty() {
                    break;
                }
                seen.extend(choices.iter().map(|choice| choice.reason.as_str()));
            }
            assert_eq!(read::<View>(&seen), view, "{version}");
        }
        for mut decision in values::decisions() {
            let mut attributes = reply(&decision.choices);
            attributes.push((
                "next".to_owned(),
                serde_json::to_string(&decision.next).unwrap(),
            ));
            let view = support::view(decision.choices.len(), attributes);
            if old {
                decision.next = Scope::Whole;
            }
            assert_eq!(room.choose(view).await, Ok(decision), "{version}");
        }
    }
}

fn requested(attributes: Attributes) -> Event {
    Event::Requested(Request {
        start: true,
        by: None,
        attributes,
    })
}

#[tokio::test]
async fn recording_sees_every_event_and_says_every_order() {
    let host = TestHost::new();
    for (version, component, _) in COMPONENTS {
        let plugin = host.load(spec(component)).await;
        let mut room = plugin.recording().unwrap().open().await.unwrap();
        for event in values::events() {
            if version == FIRST && is_newer_event(&event) {
                // It is not called: what it has seen last is not this.
                assert_eq!(room.decide(event).await, Ok(Vec::new()), "{version}");
                continue;
            }
            assert_eq!(
                room.decide(event.clone()).await,
                Ok(Vec::new()),
                "{version}"
            );
            let orders = room.decide(requested(show())).await.unwrap();
            let [Order::Start(start)] = orders.as_slice() else {
                panic!("{version}: {orders:?}");
            };
            let seen = shown(&start.attributes);
            if let Event::Failed(failure) = &event
                && version == FIRST
            {
                let said = json!({"failed": [failure.track, failure.message]});
                assert_eq!(read::<Value>(&seen), said, "{version}: without the cause");
                continue;
            }
            assert_eq!(read::<Event>(&seen), event, "{version}");
        }
        let mut orders = values::orders();
        orders.retain(|order| version != FIRST || !is_newer_order(order));
        let event = requested(reply(&orders));
        assert_eq!(room.decide(event).await, Ok(orders), "{version}");
    }
}
