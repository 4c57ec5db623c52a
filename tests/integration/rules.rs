//! Components that decide about rooms: which layer viewers get, and what is recorded.

use std::time::{Duration, Instant};

use rillway::Running;
use rillway_core::api::{Action, Wish};
use rillway_policy::Kind;
use rillway_policy::testing::{Assembly, Behaviour, component};
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use serde_json::json;

use crate::router::{PATIENCE, join, metric, metric_becomes, start};
use crate::site::Site;

/// Where the values that a component returns lie, beneath its heap.
const VALUES: u32 = 1 << 17;
/// Of the layer policy's views and choices (canonical ABI).
const SUBSCRIBER_BYTES: u32 = 40;
const SUBSCRIPTION_BYTES: u32 = 24;
const CHOICE_BYTES: u32 = 32;

/// A layer policy that asks for whole views, and goes through all subscriptions: `$sub` is one, `$out` the choice
/// about it, whose spatial index `act` writes (`i32.store8 offset=16`).
fn chooser(act: &str) -> Vec<u8> {
    let body = format!(
        "(local $viewer i32) (local $viewers i32) (local $sub i32) (local $subs i32) (local $out i32)
        (local.set $out (i32.const {VALUES}))
        (local.set $viewer (local.get $p6))
        (local.set $viewers (i32.add (local.get $p6) (i32.mul (local.get $p7) (i32.const {SUBSCRIBER_BYTES}))))
        (block $seen (loop $next_viewer
          (br_if $seen (i32.ge_u (local.get $viewer) (local.get $viewers)))
          (local.set $sub (i32.load offset=24 (local.get $viewer)))
          (local.set $subs (i32.add (local.get $sub)
            (i32.mul (i32.load offset=28 (local.get $viewer)) (i32.const {SUBSCRIPTION_BYTES}))))
          (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $sub) (local.get $subs)))
            (memory.fill (local.get $out) (i32.const 0) (i32.const {CHOICE_BYTES}))
            (i64.store (local.get $out) (i64.load (local.get $viewer)))
            (i64.store offset=8 (local.get $out) (i64.load (local.get $sub)))
            {act}
            (local.set $out (i32.add (local.get $out) (i32.const {CHOICE_BYTES})))
            (local.set $sub (i32.add (local.get $sub) (i32.const {SUBSCRIPTION_BYTES})))
            (br $next)))
          (local.set $viewer (i32.add (local.get $viewer) (i32.const {SUBSCRIBER_BYTES})))
          (br $next_viewer)))
        (i32.store (i32.const 0) (i32.const {VALUES}))
        (i32.store (i32.const 4) (i32.div_u
          (i32.sub (local.get $out) (i32.const {VALUES})) (i32.const {CHOICE_BYTES})))
        (i32.store8 (i32.const 8) (i32.const 0))
        (i32.const 0)"
    );
    Assembly::new(Kind::LayerSelection, body)
        .reserve(2 * VALUES)
        .build()
}

/// The opposite of what anybody would: the smallest layer for large pictures, the largest for small ones.
const CONTRARY: &str = "(i32.store8 offset=16 (local.get $out) (select (i32.const 0) (i32.const 2)
    (i32.ge_u (i32.load16_u offset=8 (local.get $sub)) (i32.const 640))))";

/// It also traps when a picture is as wide as this.
const UNLUCKY: (u16, u16) = (600, 300);

const LAYERS: &str = "authentication.policy = \"auth-open\"\nlayers.policy = \"mine\"\n";
const MINE: &str =
    "[plugins.mine]\ncomponent = \"mine.wasm\"\n[plugins.mine.budgets]\ncall_ms_max = 2000\n";

fn site(name: &str, component: &[u8]) -> Site {
    let site = Site::new(name);
    site.write("mine.wasm", component);
    site
}

/// Somebody with a microphone and a camera of three sizes, and somebody who watches.
async fn pair(running: &Running, room: &str, number: u64) -> [LiveClient; 2] {
    let epoch = Instant::now();
    let mut publisher = member(number, room, epoch);
    publisher.tracks = vec![TrackSpec::audio(), TrackSpec::simulcast()];
    let viewer = member(number + 1, room, epoch);
    let address = running.gateway_address();
    let clients = [
        LiveClient::connect(address, publisher).await,
        LiveClient::connect(address, viewer).await,
    ];
    let mut clients = clients.map(|client| client.expect("the gateway listens"));
    let ready = |c: &LiveClient| !c.client.published.is_empty() || c.hears(2);
    run_until(&mut clients, "the camera is seen", ready).await;
    clients
}

async fn run_until(clients: &mut [LiveClient], what: &str, done: impl Fn(&LiveClient) -> bool) {
    let done = LiveClient::run_all(clients, PATIENCE, done).await;
    assert!(done.expect("sockets work"), "not in time: {what}");
}

async fn run_for(clients: &mut [LiveClient], time: Duration) {
    let ran = LiveClient::run_all(clients, time, |_| false).await;
    ran.expect("sockets work");
}

/// Every viewer says how large it shows the camera of its room.
fn wish(clients: &mut [LiveClient], (width, height): (u16, u16)) {
    for pair in clients.chunks_mut(2) {
        let track = pair[0].client.published[1].track.expect("published");
        pair[1].client.request(Action::Wish(Wish {
            track,
            width,
            height,
            fps: 0,
            priority: 0,
            paused: false,
        }));
    }
}

/// The layer that a viewer gets of the one camera there is; `None` for who publishes it.
fn layer(client: &LiveClient) -> Option<u8> {
    let mut cameras = client.client.inbound.values();
    let camera = cameras.find_map(|inbound| inbound.newest.filter(|n| n.vp8.is_some()))?;
    Some(camera.body.layer)
}

async fn all_get(clients: &mut [LiveClient], wanted: u8) {
    let what = format!("viewers get layer {wanted}");
    let gets = |c: &LiveClient| layer(c).is_none_or(|layer| layer == wanted);
    run_until(clients, &what, gets).await;
}

/// Waits for a metric while media flows.
async fn grows_to(running: &Running, clients: &mut [LiveClient], series: &str, least: f64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let now = metric(running, series).await;
        if now.is_some_and(|now| now >= least) {
            return;
        }
        assert!(Instant::now() < until, "{series} is {now:?}");
        run_for(clients, Duration::from_millis(200)).await;
    }
}

/// What was sent arrived, and in the form that viewers can show.
async fn assert_whole(clients: &mut [LiveClient]) {
    for client in clients.iter_mut() {
        client.set_running(false);
    }
    run_for(clients, Duration::from_secs(1)).await;
    for pair in clients.chunks(2) {
        let [publisher, viewer] = pair else {
            panic!("pairs");
        };
        assert_eq!(viewer.client.violations, Vec::<String>::new());
        assert_eq!(viewer.errors, Vec::new());
        assert_eq!(viewer.client.inbound.len(), 2);
        for inbound in viewer.client.inbound.values() {
            assert_eq!(inbound.rtp_gaps(), 0, "packets lost of {:?}", inbound.info);
        }
        let audio = publisher.client.published[0].track.expect("published");
        let sent = publisher.client.published[0].layers[0].sequence;
        let missing = viewer.client.inbound[&audio].missing(0, sent);
        assert!(missing.is_empty(), "{} of {sent} missing", missing.len());
    }
}

#[tokio::test]
async fn a_component_selects_layers_and_follows_what_viewers_wish() {
    let site = site("layers", &chooser(CONTRARY));
    let running = site.run(&format!("{LAYERS}{MINE}"));
    let mut clients = pair(&running, "r", 1).await;
    for (size, wanted) in [
        ((1_280, 720), 0),
        ((320, 180), 2),
        ((640, 360), 0),
        ((160, 90), 2),
    ] {
        wish(&mut clients, size);
        all_get(&mut clients, wanted).await;
    }
    let applied = "rillway_layer_choices_total{worker=\"0\",result=\"applied\"}";
    grows_to(&running, &mut clients, applied, 4.0).await;
    let calls = "rillway_plugin_calls_total{plugin=\"mine\",kind=\"layer-selection\"}";
    grows_to(&running, &mut clients, calls, 4.0).await;
    for (series, wanted) in [
        (
            "rillway_layer_choices_total{worker=\"0\",result=\"refused\"}",
            0.0,
        ),
        ("rillway_layer_fallbacks_total{worker=\"0\"}", 0.0),
        ("rillway_rule_faults_total{kind=\"layers\"}", 0.0),
        ("rillway_rule_rooms", 1.0),
    ] {
        assert_eq!(metric(&running, series).await, Some(wanted), "{series}");
    }
    assert_whole(&mut clients).await;
    drop(clients);
    // The instance ends with its room.
    metric_becomes(&running, "rillway_rule_rooms", 0.0).await;
}

#[tokio::test]
async fn where_a_component_fails_the_built_in_choice_applies_until_it_is_back() {
    let unlucky = format!(
        "(if (i32.eq (i32.load16_u offset=8 (local.get $sub)) (i32.const {})) (then unreachable)) {CONTRARY}",
        UNLUCKY.0
    );
    let site = site("unlucky", &chooser(&unlucky));
    let running = site.run(&format!("{LAYERS}{MINE}"));
    let mut clients = Vec::new();
    for room in 0..3 {
        clients.extend(pair(&running, &format!("room {room}"), 2 * room + 1).await);
    }
    wish(&mut clients, (320, 180));
    all_get(&mut clients, 2).await;
    // Three rooms fail at once: the breaker opens, and nobody misses anything.
    wish(&mut clients, UNLUCKY);
    all_get(&mut clients, 1).await;
    let faults = "rillway_rule_faults_total{kind=\"layers\"}";
    grows_to(&running, &mut clients, faults, 3.0).await;
    let labels = "plugin=\"mine\",kind=\"layer-selection\"";
    let trapped = format!("rillway_plugin_faults_total{{{labels},fault=\"trapped\"}}");
    grows_to(&running, &mut clients, &trapped, 3.0).await;
    let refused = format!("rillway_plugin_refused_total{{{labels},reason=\"breaker\"}}");
    grows_to(&running, &mut clients, &refused, 1.0).await;
    let fallbacks = "rillway_layer_fallbacks_total{worker=\"0\"}";
    grows_to(&running, &mut clients, fallbacks, 3.0).await;
    // The trial finds pictures that it can bear, and every room gets an instance again.
    wish(&mut clients, (320, 180));
    all_get(&mut clients, 2).await;
    assert_whole(&mut clients).await;
}

#[tokio::test]
async fn choices_beyond_what_there_is_are_bounded_or_refused_and_counted() {
    // The highest layer that a number can name, and a second choice about a track that nobody has.
    let excessive = "(i32.store8 offset=16 (local.get $out) (i32.const 255))
        (if (i32.eq (i32.load16_u offset=8 (local.get $sub)) (i32.const 320))
          (then (i64.store offset=8 (local.get $out)
            (i64.xor (i64.load (local.get $sub)) (i64.const 0x155555)))))";
    let site = site("excessive", &chooser(excessive));
    let running = site.run(&format!("{LAYERS}{MINE}"));
    let mut clients = pair(&running, "r", 1).await;
    wish(&mut clients, (160, 90));
    all_get(&mut clients, 2).await;
    let refused = "rillway_layer_choices_total{worker=\"0\",result=\"refused\"}";
    assert_eq!(metric(&running, refused).await, Some(0.0));
    wish(&mut clients, (320, 180));
    grows_to(&running, &mut clients, refused, 1.0).await;
    let faults = "rillway_rule_faults_total{kind=\"layers\"}";
    assert_eq!(metric(&running, faults).await, Some(0.0));
    assert_whole(&mut clients).await;
}

#[tokio::test]
async fn a_layer_policy_is_replaced_while_media_flows() {
    let site = site("layer-swap", &chooser(CONTRARY));
    let running = site.run(&format!("{LAYERS}policy.watch_files = true\n{MINE}"));
    let mut clients = pair(&running, "r", 1).await;
    wish(&mut clients, (320, 180));
    all_get(&mut clients, 2).await;
    // The viewer changes nothing: the room itself has to notice.
    site.replace(
        "mine.wasm",
        &chooser("(i32.store8 offset=16 (local.get $out) (i32.const 1))"),
    );
    let generation = "rillway_plugin_generation{plugin=\"mine\"}";
    grows_to(&running, &mut clients, generation, 2.0).await;
    all_get(&mut clients, 1).await;
    wish(&mut clients, (1_280, 720));
    run_for(&mut clients, Duration::from_secs(1)).await;
    all_get(&mut clients, 1).await;
    for series in [
        "rillway_layer_fallbacks_total{worker=\"0\"}",
        "rillway_rule_faults_total{kind=\"layers\"}",
    ] {
        assert_eq!(metric(&running, series).await, Some(0.0), "{series}");
    }
    assert_whole(&mut clients).await;
}

/// A recording policy that wants every track it hears of, and the last one again when somebody asks. With
/// each start comes one that cannot be: of a track that nobody publishes.
fn recorder() -> Vec<u8> {
    let start = |at: u32, track: &str| {
        format!(
            "(memory.fill (i32.const {at}) (i32.const 0) (i32.const 40))
            (i64.store (i32.const {}) {track})
            (i32.store (i32.const {}) (i32.const 1032))
            (i32.store (i32.const {}) (i32.const 4))",
            at + 8,
            at + 20,
            at + 24,
        )
    };
    let body = format!(
        "(i64.store (i32.const 0) (i64.const 0))
        (if (i32.eq (local.get $p0) (i32.const 3)) (then (global.set $track (local.get $p1))))
        (if (i32.or (i32.eq (local.get $p0) (i32.const 3)) (i32.eq (local.get $p0) (i32.const 7)))
          (then
            (i32.store (i32.const 0) (i32.const 512))
            (i32.store (i32.const 4) (i32.const 2))
            {}
            {}))
        (i32.const 0)",
        start(512, "(global.get $track)"),
        start(552, "(i64.xor (global.get $track) (i64.const 0x155555))"),
    );
    Assembly::new(Kind::Recording, body)
        .fields("(global $track (mut i64) (i64.const 0))")
        .data(1_032, *b"clip")
        .build()
}

#[tokio::test]
async fn a_recording_policy_is_heard_checked_and_told_that_nothing_can_be_recorded() {
    let site = site("recording", &recorder());
    let running = site.run(&format!(
        "authentication.policy = \"auth-open\"\nrecording.policy = \"mine\"\n{MINE}"
    ));
    let mut clients = pair(&running, "r", 1).await;
    let orders = |result| format!("rillway_recording_orders_total{{result=\"{result}\"}}");
    grows_to(&running, &mut clients, &orders("failed"), 2.0).await;
    grows_to(&running, &mut clients, &orders("refused"), 2.0).await;
    let (mut asker, joined) = join(&running, "r", "Ada").await;
    assert_eq!(joined["grant"]["recordControl"], true, "{joined}");
    let answer = asker.ask(json!({"type": "record", "start": true})).await;
    assert_eq!(answer["code"], "unavailable", "{answer}");
    let message = "this router has no place for recordings: its `recording.directory` is not set";
    assert_eq!(answer["message"], message, "{answer}");
    assert_eq!(answer["fatal"], false);
    metric_becomes(&running, &orders("failed"), 3.0).await;
    metric_becomes(&running, &orders("refused"), 3.0).await;
    // Both tracks' failures, and the one that somebody asked for is too soon to be told again.
    let calls = "rillway_plugin_calls_total{plugin=\"mine\",kind=\"recording\"}";
    grows_to(&running, &mut clients, calls, 8.0).await;
    let faults = "rillway_rule_faults_total{kind=\"recording\"}";
    assert_eq!(metric(&running, faults).await, Some(0.0));
    assert_whole(&mut clients).await;
}

#[tokio::test]
async fn by_default_nothing_is_recorded_before_somebody_asks_who_may() {
    let running = start(|_| {});
    let mut clients = pair(&running, "r", 1).await;
    let (mut asker, _) = join(&running, "r", "Ada").await;
    // Both tracks are there, and the policy knows: three have joined, and two tracks were published.
    let calls = "rillway_plugin_calls_total{plugin=\"record-on-request\",kind=\"recording\"}";
    grows_to(&running, &mut clients, calls, 6.0).await;
    let orders = |result| format!("rillway_recording_orders_total{{result=\"{result}\"}}");
    assert_eq!(metric(&running, &orders("started")).await, Some(0.0));
    let answer = asker.ask(json!({"type": "record", "start": true})).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    metric_becomes(&running, &orders("started"), 2.0).await;
    let answer = asker.ask(json!({"type": "record", "start": false})).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    metric_becomes(&running, &orders("stopped"), 2.0).await;
    // Layers are a component's business too.
    let calls = "rillway_plugin_calls_total{plugin=\"layers-adaptive\",kind=\"layer-selection\"}";
    grows_to(&running, &mut clients, calls, 1.0).await;
    wish(&mut clients, (320, 180));
    all_get(&mut clients, 0).await;
    wish(&mut clients, (1_280, 720));
    all_get(&mut clients, 2).await;
    assert_whole(&mut clients).await;
}

#[tokio::test]
async fn without_a_recording_policy_whoever_asks_is_told_so() {
    let site = Site::new("no-recording");
    let running = site.run("authentication.policy = \"auth-open\"\nrecording.policy = \"none\"\n");
    let (mut asker, _) = join(&running, "r", "Ada").await;
    let answer = asker.ask(json!({"type": "record", "start": true})).await;
    assert_eq!(answer["code"], "unavailable", "{answer}");
    let message = "this router records nothing: its `recording.policy` is \"none\"";
    assert_eq!(answer["message"], message, "{answer}");
}

#[tokio::test]
async fn a_policy_of_another_kind_is_refused_with_its_place() {
    let denies = component(Kind::Authentication, &Behaviour::Deny);
    let site = site("wrong-kind", &denies);
    for (key, kind) in [("layers", "layer-selection"), ("recording", "recording")] {
        let said = site.refusal(&format!(
            "authentication.policy = \"auth-open\"\n{key}.policy = \"mine\"\n{MINE}"
        ));
        let wanted = format!("plugin mine does not export `{kind}`");
        assert!(said.contains(&wanted), "{said}");
        assert!(said.contains("rillway.toml:"), "the place: {said}");
    }
}
