//! The configuration of a running router: shown, compared with its file, and reloaded under a call.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rillway::Signals;
use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{
    Config, ConfigChanges, ConfigDiffRequest, ConfigReloadRequest, ConfigRequest, ConfigSetting,
    Error,
};
use rillway::management::{CallError, Client, Role};
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use rillway_tests::mutate::{self, Numbers, has_place};
use serde_json::json;

use crate::management::{Managed, ask, authority, management};
use crate::router::{PATIENCE, connect, get, metric, soon};
use crate::site::{Process, Site};

const OPEN: &str = "authentication.policy = \"auth-open\"\n";

/// A router with a file, and operators who ask often.
pub(crate) fn managed(site: &Site, text: &str) -> Managed {
    let authority = authority();
    let mut config = site.config(text);
    let mut settings = management(&authority);
    settings.calls_per_second_max = 10_000;
    config.management = Some(settings);
    let running = rillway::run(config, Signals::Ignore).expect("free ports");
    Managed { authority, running }
}

/// Two people who hear and see each other. One layer of video, so that every packet is for everybody.
pub(crate) async fn call(gateway: SocketAddr) -> [LiveClient; 2] {
    let talker = async |number| {
        let mut config = member(number, "call", Instant::now());
        config.tracks = vec![TrackSpec::audio(), TrackSpec::video(2)];
        let client = LiveClient::connect(gateway, config).await;
        client.expect("the gateway listens")
    };
    let mut clients = [talker(1).await, talker(2).await];
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    clients
}

/// Runs a call until `work` is done.
pub(crate) async fn during<T>(clients: &mut [LiveClient], work: impl Future<Output = T>) -> T {
    let done = Cell::new(false);
    let work = async {
        let result = work.await;
        done.set(true);
        result
    };
    let limit = Duration::from_secs(180);
    let (ran, result) = tokio::join!(LiveClient::run_all(clients, limit, |_| done.get()), work);
    assert!(ran.expect("sockets work"), "the call has gone on");
    result
}

/// Fails if one packet of the call was lost or sent again.
pub(crate) async fn nothing_is_lost(clients: &mut [LiveClient]) {
    for client in clients.iter_mut() {
        client.set_running(false);
    }
    let settle = Duration::from_millis(500);
    let ran = LiveClient::run_all(clients, settle, |_| false).await;
    ran.expect("sockets work");
    let mut packets = 0;
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let receiver = &clients[receiver];
        assert_eq!(receiver.ended, None);
        assert_eq!(receiver.client.violations, Vec::<String>::new());
        for published in &clients[sender].client.published {
            let inbound = &receiver.client.inbound[&published.track.expect("published")];
            let missing = inbound.missing(0, published.layers[0].sequence);
            assert_eq!((missing, inbound.rtp_gaps()), (Vec::new(), 0));
            packets += inbound.packets;
        }
        assert_eq!(receiver.client.nacks, 0);
    }
    assert!(packets > 100, "{packets} packets");
}

pub(crate) fn reload() -> Verb {
    Verb::ConfigReload(ConfigReloadRequest {})
}

fn diff(text: Option<&str>) -> Verb {
    Verb::ConfigDiff(ConfigDiffRequest {
        text: text.map(str::to_owned),
        name: "new.toml".to_owned(),
    })
}

fn changes(answer: Result<Vec<Part>, CallError>) -> ConfigChanges {
    match answer.map(|mut parts| parts.remove(0)) {
        Ok(Part::ConfigChanges(changes)) => changes,
        other => panic!("{other:?}"),
    }
}

fn keys(changes: &ConfigChanges) -> Vec<&str> {
    let keys = changes.changes.iter().map(|change| change.key.as_str());
    keys.collect()
}

fn refused(answer: Result<Vec<Part>, CallError>) -> Error {
    match answer {
        Err(CallError::Said(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn show(client: &Client) -> Config {
    let shown = ask(client, Verb::Config(ConfigRequest {})).await;
    match shown.map(|mut parts| parts.remove(0)) {
        Ok(Part::Config(config)) => config,
        other => panic!("{other:?}"),
    }
}

fn setting(config: &Config, key: &str) -> ConfigSetting {
    let found = config.settings.iter().find(|setting| setting.key == key);
    found.unwrap_or_else(|| panic!("no {key}")).clone()
}

#[tokio::test]
async fn what_can_change_changes_under_a_call_that_loses_nothing() {
    let site = Site::new("reload");
    site.secret("turn", "sesame-old");
    let turn =
        "[[ice.servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential_file = \"turn\"\n";
    let managed = managed(&site, &format!("{OPEN}{turn}"));
    let (gateway, admin) = (
        managed.running.gateway_address(),
        managed.client(Role::Admin).await,
    );
    let mut clients = call(gateway).await;
    assert_eq!(get(gateway, "/").await.status, 200);

    // Nothing differs yet.
    let same = during(&mut clients, ask(&admin, reload())).await;
    assert_eq!(
        (keys(&changes(same)), show(&admin).await.generation),
        (vec![], 1)
    );

    site.save(&format!(
        "{OPEN}gateway.page = false\nlog.filter = \"debug\"\nlimits.participants_per_room = 3\n\
         layers.every_ms = 300\nrecording.files_max = 7\nshutdown.notice_ms = 2000\n[plugins.auth-open.budgets]\ncalls_per_second_max = 900\n{turn}"
    ));
    site.secret("turn", "sesame-new");
    let wanted = [
        "gateway.page",
        "ice.servers[0].credential_file",
        "layers.every_ms",
        "limits.participants_per_room",
        "log.filter",
        "plugins.auth-open.budgets.calls_per_second_max",
        "recording.files_max",
        "shutdown.notice_ms",
    ];
    let outlook = changes(during(&mut clients, ask(&admin, diff(None))).await);
    assert_eq!(
        (keys(&outlook), outlook.needs_restart),
        (wanted.to_vec(), false)
    );
    assert_eq!(
        get(gateway, "/").await.status,
        200,
        "a comparison changes nothing"
    );
    let changed = changes(during(&mut clients, ask(&admin, reload())).await);
    assert_eq!((keys(&changed), changed.generation), (wanted.to_vec(), 2));
    let page = &changed.changes[0];
    assert_eq!(
        (
            page.before.as_deref(),
            page.after.as_deref(),
            page.effect.as_str()
        ),
        (Some("true"), Some("false"), "at once")
    );
    assert!(page.place.ends_with("rillway.toml:5"), "{page:?}");
    assert!(changed.changes[1].content, "the same file, another secret");

    // And the call goes on with what it has now.
    during(&mut clients, tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(get(gateway, "/").await.status, 404);
    // The third gets in, with the new credential; a fourth does not.
    let mut third = connect(&managed.running).await;
    let joined = third.ask(json!({"type": "join", "room": "call"})).await;
    assert_eq!(joined["type"], "joined");
    assert!(joined.to_string().contains("sesame-new"), "{joined}");
    let mut fourth = connect(&managed.running).await;
    let full = fourth.ask(json!({"type": "join", "room": "call"})).await;
    assert_eq!(full["type"], "error", "{full}");

    let shown = show(&admin).await;
    let budget = setting(&shown, "plugins.auth-open.budgets.calls_per_second_max");
    assert_eq!(
        (budget.value.as_deref(), budget.origin.as_str()),
        (Some("900"), "file")
    );
    assert_eq!(setting(&shown, "gateway.connections_max").origin, "default");
    let secrets = format!("{shown:?}");
    assert!(!secrets.contains("sesame"), "{secrets}");
    for (series, value) in [
        ("rillway_config_reloads_total{result=\"applied\"}", 1.0),
        ("rillway_config_reloads_total{result=\"unchanged\"}", 1.0),
        ("rillway_config_generation", 2.0),
        ("rillway_plugin_generation{plugin=\"auth-open\"}", 2.0),
    ] {
        crate::router::metric_becomes(&managed.running, series, value).await;
    }
    nothing_is_lost(&mut clients).await;
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_says_where() {
    let site = Site::new("reload-refused");
    let managed = managed(&site, OPEN);
    let (gateway, admin) = (
        managed.running.gateway_address(),
        managed.client(Role::Admin).await,
    );

    // A fault: the report is that of a start.
    let faulty = "gateway.page = false\nlimits.rooms = 0\nlimts.rooms = 1\n";
    site.save(&format!("{OPEN}{faulty}"));
    let path = site.0.join("rillway.toml");
    let at_start = rillway::config::Config::load(&path, &rillway::config::Overrides::default());
    let at_start = at_start.expect_err("two faults").to_string();
    let error = refused(ask(&admin, reload()).await);
    assert_eq!(error.code(), Code::Refused);
    assert!(
        error.message.contains(&at_start),
        "{}\n{at_start}",
        error.message
    );
    assert!(at_start.contains("rillway.toml:6:") && at_start.contains("did you mean `limits`?"));
    assert_eq!(refused(ask(&admin, diff(None)).await).code(), Code::Refused);

    // Keys that need a restart are all named, and the others wait with them.
    let fixed = "gateway.page = false\nlimits.sdp_bytes = 65000\nrecording.queue_packets = 20000\n";
    site.save(&format!("{OPEN}{fixed}"));
    let error = refused(ask(&admin, reload()).await);
    for part in [
        "`limits.sdp_bytes` cannot change",
        "rillway.toml:6:20",
        "`recording.queue_packets`",
        "2 problems",
    ] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    assert!(changes(ask(&admin, diff(None)).await).needs_restart);

    // A plugin that cannot be used: the one before it, and the page, stay as they are.
    site.write("none.wasm", "no component");
    site.save(&format!(
        "{OPEN}gateway.page = false\n[plugins.auth-open.budgets]\ncalls_per_second_max = 900\n\
         [plugins.signaling-rooms]\ncomponent = \"none.wasm\"\n"
    ));
    let error = refused(ask(&admin, reload()).await);
    assert!(
        error.message.contains("rillway.toml:9:"),
        "{}",
        error.message
    );

    assert_eq!(get(gateway, "/").await.status, 200);
    let shown = show(&admin).await;
    assert_eq!(
        (shown.generation, shown.file),
        (1, path.display().to_string())
    );
    for (result, count) in [("invalid", 1.0), ("refused", 2.0), ("applied", 0.0)] {
        let series = format!("rillway_config_reloads_total{{result=\"{result}\"}}");
        assert_eq!(
            metric(&managed.running, &series).await,
            Some(count),
            "{result}"
        );
    }
    let generation = "rillway_plugin_generation{plugin=\"auth-open\"}";
    assert_eq!(metric(&managed.running, generation).await, Some(1.0));

    // A text in place of the file; its own name is in its report.
    let base = std::fs::read_to_string(&path)
        .expect("there")
        .replace("none.wasm", "builtin:signaling-rooms");
    let other = changes(ask(&admin, diff(Some(&base))).await);
    assert_eq!(keys(&other)[0], "gateway.page");
    assert_eq!(other.changes[0].place, "new.toml:5");
    let error = refused(ask(&admin, diff(Some("[media"))).await);
    assert!(error.message.contains("new.toml:1:"), "{}", error.message);
    std::fs::remove_file(&path).expect("there");
    let error = refused(ask(&admin, reload()).await);
    assert!(
        error.message.contains("there is no such file"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn sighup_reloads_and_a_bad_file_is_survived() {
    let site = Site::new("hangup");
    site.save(OPEN);
    let process = Process::start(&site);
    let gateway = process.gateway;
    let mut clients = call(gateway).await;
    let page = async |wanted: u16| {
        while get(gateway, "/").await.status != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    site.save(&format!("{OPEN}gateway.page = false\n"));
    process.signal("HUP");
    during(&mut clients, soon("the page is gone", page(404))).await;
    site.save(&format!("{OPEN}gateway.page = maybe\n"));
    process.signal("HUP");
    during(&mut clients, tokio::time::sleep(Duration::from_millis(500))).await;
    assert_eq!(get(gateway, "/").await.status, 404, "as it was");
    site.save(OPEN);
    process.signal("HUP");
    during(&mut clients, soon("the page is back", page(200))).await;
    nothing_is_lost(&mut clients).await;
}

#[tokio::test]
async fn mutated_files_are_applied_or_refused_whole_under_a_call() {
    let count = std::env::var("RILLWAY_TEST_RELOADS").map_or(200, |n| n.parse().expect("a number"));
    let site = Site::new("mutated");
    let managed = managed(&site, OPEN);
    let admin = managed.client(Role::Admin).await;
    let mut clients = call(managed.running.gateway_address()).await;
    let reloads = async {
        let mut numbers = Numbers::new(7);
        let (mut applied, mut bad) = (0, 0);
        for number in 0..count {
            let text = mutate::configuration(OPEN, &mut numbers);
            site.save(&text);
            let before = show(&admin).await;
            // Some media between any two.
            tokio::time::sleep(Duration::from_millis(15)).await;
            match ask(&admin, reload()).await {
                Ok(parts) => {
                    let changes = changes(Ok(parts));
                    assert!(!changes.needs_restart, "{number}");
                    let differs = u64::from(!changes.changes.is_empty());
                    assert_eq!(changes.generation, before.generation + differs, "{number}");
                    applied += 1;
                }
                Err(CallError::Said(error)) => {
                    assert_eq!(error.code(), Code::Refused, "{number}: {error:?}");
                    assert!(has_place(&error.message), "{number}: {}", error.message);
                    assert_eq!(show(&admin).await, before, "{number}: {text}");
                    bad += 1;
                }
                Err(error) => panic!("{number}: {error}"),
            }
        }
        println!("{applied} applied, {bad} refused");
        assert!(
            applied > count / 10 && bad > count / 10,
            "{applied} applied, {bad} refused"
        );
    };
    during(&mut clients, reloads).await;
    nothing_is_lost(&mut clients).await;
}
