//! What is checked in for dashboards and alerts says what the router says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rillway::telemetry::metrics::table::{self, Kind};
use serde_json::Value;

use crate::site::Site;

/// Metrics that are in no panel and no alert, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "rillway_config_time_seconds",
        "the generation shows each change",
    ),
    ("rillway_gateway_message_bytes_total", "messages are shown"),
    (
        "rillway_management_connections_total",
        "open ones and calls are shown",
    ),
    ("rillway_plugin_call_bytes_total", "for authors of plugins"),
    (
        "rillway_plugin_custom_dropped_total",
        "for authors of plugins",
    ),
    (
        "rillway_plugin_custom_observed",
        "its meaning is the plugin's",
    ),
    ("rillway_plugin_custom_total", "its meaning is the plugin's"),
    ("rillway_plugin_http_bytes_total", "requests are shown"),
    (
        "rillway_plugin_instance_memory_max_bytes",
        "for authors of plugins",
    ),
    (
        "rillway_plugin_instances_total",
        "those there are now are shown",
    ),
    ("rillway_recorder_drops_total", "the packets are shown"),
    (
        "rillway_recorder_events_lost_total",
        "`rillway_worker_clients_lost_total` comes first",
    ),
    (
        "rillway_recorder_queue_max_packets",
        "for the size of the queue",
    ),
    (
        "rillway_rtp_recorded_bytes_total",
        "what is written is shown",
    ),
    (
        "rillway_stun_answered_requests_total",
        "harmless, whatever it is",
    ),
    ("rillway_tcp_received_packets_total", "the bytes are shown"),
    ("rillway_tcp_sent_packets_total", "the bytes are shown"),
    (
        "rillway_trace_spans_total",
        "who traces sees what is missing; no call does",
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/observability")
}

fn read(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every expression of the dashboard, its annotations' among them.
fn queries() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if name == "expr" => found.push(text.clone()),
                        value => collect(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let mut found = Vec::new();
    collect(&dashboard, &mut found);
    assert!(found.len() > 100, "{} expressions", found.len());
    found
}

/// Names of alerts, in order.
fn alerts() -> Vec<String> {
    let file = read("alerts.yml");
    let names = file
        .lines()
        .filter_map(|l| l.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// The series that a text names.
fn series(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("rillway_")).collect()
}

/// Every series that the router serves, with its metric.
fn served() -> BTreeMap<String, &'static str> {
    let mut all = BTreeMap::new();
    for metric in table::ALL {
        let suffixes: &[&str] = match metric.kind {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Summary => &["_sum", "_count"],
        };
        for suffix in suffixes {
            all.insert(format!("{}{suffix}", metric.name), metric.name);
        }
    }
    all
}

#[test]
fn dashboard_and_alerts_name_what_there_is_and_all_of_it() {
    let served = served();
    let mut shown = BTreeSet::new();
    let queries = queries();
    let (alerts, tests) = (read("alerts.yml"), read("alerts.test.yml"));
    // Advice to people names metrics, not their series.
    let is_advice = |line: &&str| line.trim_start().starts_with("action: ");
    let all: BTreeSet<&str> = table::ALL.iter().map(|metric| metric.name).collect();
    for name in alerts.lines().filter(is_advice).flat_map(series) {
        assert!(all.contains(name), "{name} is no metric");
    }
    let rest = alerts
        .lines()
        .chain(tests.lines())
        .filter(|l| !is_advice(l));
    for text in queries.iter().map(String::as_str).chain(rest) {
        for name in series(text) {
            let metric = served.get(name);
            shown.insert(*metric.unwrap_or_else(|| panic!("{name} is no series of the router")));
        }
    }
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
    let both: Vec<_> = shown.intersection(&elsewhere).collect();
    assert!(both.is_empty(), "shown after all: {both:?}");
    let known: BTreeSet<&str> = shown.union(&elsewhere).copied().collect();
    let forgotten: Vec<_> = all.difference(&known).collect();
    assert!(
        forgotten.is_empty(),
        "in no panel of config/observability/dashboard.json, in no alert, and without a reason here: {forgotten:?}"
    );
    let gone: Vec<_> = elsewhere.difference(&all).collect();
    assert!(gone.is_empty(), "no metrics: {gone:?}");
}

#[test]
fn each_alert_is_tested_both_ways_and_documented() {
    let tests = read("alerts.test.yml");
    let path = folder().join("../../docs/operations.md");
    let document = std::fs::read_to_string(path).expect("docs/operations.md");
    let alerts = alerts();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in &alerts {
        for case in ["fires", "is quiet"] {
            let name = format!("name: {alert} {case}\n");
            assert!(
                tests.contains(&name),
                "alerts.test.yml lacks `{alert} {case}`"
            );
        }
        let row = format!("| `{alert}` |");
        assert!(document.contains(&row), "docs/operations.md lacks {alert}");
    }
    let rows = document.matches("| `Rillway").count();
    assert_eq!(rows, alerts.len(), "docs/operations.md has others");
}

/// `promtool` with these arguments; `false`, and a word, where it is not installed.
fn promtool(arguments: &[&str], file: &Path) -> bool {
    let output = Command::new("promtool").args(arguments).arg(file).output();
    let Ok(output) = output else {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool (Debian: prometheus) is needed in CI"
        );
        eprintln!("skipped: promtool is not installed");
        return false;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", file.display());
    true
}

#[test]
fn promtool_takes_the_rules_and_every_query_and_alerts_do_what_they_say() {
    if !promtool(&["check", "rules"], &folder().join("alerts.yml")) {
        return;
    }
    promtool(&["test", "rules"], &folder().join("alerts.test.yml"));
    // What Grafana puts in, and then as rules, which is what promtool reads.
    let mut rules = "groups:\n  - name: panels\n    rules:\n".to_owned();
    for (number, query) in queries().iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m");
        let query = query.replace("$instance", ".*").replace('\'', "''");
        assert!(
            !query.contains('$'),
            "a variable that is not known: {query}"
        );
        writeln!(
            rules,
            "      - record: panel:{number}\n        expr: '{query}'"
        )
        .expect("a string");
    }
    let site = Site::new("panels");
    site.write("panels.yml", &rules);
    promtool(
        &["check", "rules", "--lint=none"],
        &site.0.join("panels.yml"),
    );
}
