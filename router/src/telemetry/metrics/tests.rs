//! Every series is there, says what was counted, and can be scraped.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rillway_core::stats::{DropCause, FailCause, ShardStats};
use rillway_ring::DriverStats;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use rillway_policy::{
    BUCKETS_US, BreakerState, Custom, Durations, HttpStats, Kind, KindStats, PluginStats,
    VersionId, VersionStats,
};

use super::table::{self, ALL, Values};
use super::*;

const TURN_MICROS: [u64; 3] = [10, 100, 1_000];
const BATCHES: [u64; 2] = [1, 8];
const NOTHING: Buckets<'static> = Buckets {
    counts: &[0, 0, 0, 0],
    sum: 0,
};

fn worker(registry: &Registry, index: u16) -> WorkerRecorder {
    let bounds = Bounds {
        turn_micros: &TURN_MICROS,
        turn_datagrams: &BATCHES,
        latency_micros: &TURN_MICROS,
    };
    registry.worker(index, &bounds)
}

/// A router of two workers.
fn registry() -> Registry {
    let registry = Registry::new();
    let (_gateway, _rules) = (registry.gateway(), registry.rules());
    let (_config, _management) = (registry.config(), registry.management());
    let (_recorder, _traces) = (registry.recorder(), registry.traces());
    let _turn = registry.turn();
    for index in 0..2 {
        worker(&registry, index).driver("mmsg", "fallback");
    }
    // What a plugin counts itself has no series before.
    let recorder = registry.plugin("night-watch", &Kind::ALL);
    let kinds = Kind::ALL.map(|kind| kind_stats(kind, 0)).into();
    recorder.record(&plugin_stats(kinds), version(1));
    registry
}

fn version(generation: u64) -> VersionId {
    VersionId {
        generation,
        sha256: [7; 32],
    }
}

fn kind_stats(kind: Kind, calls: u64) -> KindStats {
    let mut counts = vec![0; BUCKETS_US.len() + 1];
    counts[3] = calls;
    KindStats {
        kind,
        calls,
        durations: Durations {
            counts,
            sum_us: 4 * calls,
        },
        faults: ["trapped", "timeout", "memory", "excess", "start"].map(|name| (name, calls)),
        refused: ["instances", "rate", "busy", "breaker"].map(|name| (name, 2 * calls)),
        instances: 3,
        instances_made: 9,
        memory_bytes: 4_096,
        memory_bytes_max: 8_192,
        bytes_in: 10,
        bytes_out: 20,
        breaker: BreakerState::HalfOpen,
    }
}

fn plugin_stats(kinds: Vec<KindStats>) -> PluginStats {
    let custom = Custom {
        total: 5,
        observations: 2,
        sum: 1.5,
    };
    PluginStats {
        name: "night-watch".to_owned(),
        kinds,
        versions: vec![VersionStats {
            id: version(3),
            percent: 25,
            instances: 1,
            kinds: Vec::new(),
        }],
        returns: 1,
        log_lines: 2,
        log_lines_dropped: 3,
        kv_bytes: 100,
        http: HttpStats {
            requests: 20,
            answered: 8,
            failures: 9,
            refused: 10,
            waiting: 3,
            durations: Durations {
                counts: vec![17; BUCKETS_US.len() + 1],
                sum_us: 2_500_000,
            },
            bytes_sent: 11,
            bytes_received: 12,
        },
        custom: vec![("doors".to_owned(), custom)],
        custom_dropped: 4,
    }
}

/// Value of a series by its text before the space.
fn value(registry: &Registry, series: &str) -> f64 {
    let text = registry.render();
    let line = text.lines().find(|line| {
        line.rsplit_once(' ')
            .is_some_and(|(name, _)| name == series)
    });
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.rsplit_once(' ')
        .and_then(|(_, value)| value.parse().ok())
        .expect("a number")
}

#[test]
fn names_follow_the_rules() {
    let mut seen = BTreeSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(seen.insert(name), "{name} twice");
        assert!(name.starts_with("rillway_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == table::Kind::Counter,
            "{name}"
        );
        assert!(
            metric.help.ends_with('.') && !metric.help.contains(['\n', '|', '\\']),
            "{name}: help"
        );
        let last = name.trim_end_matches("_total").rsplit('_').next();
        for unit in ["seconds", "bytes"] {
            assert_eq!(
                metric.unit == unit,
                last == Some(unit),
                "{name}: the unit ends the name"
            );
        }
        for forbidden in ["_ms", "_micros", "_kb", "milli"] {
            assert!(!name.contains(forbidden), "{name}: base units");
        }
    }
}

#[test]
fn checked_in_documentation_is_what_the_code_generates() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let same = std::fs::read_to_string(file).is_ok_and(|text| text == reference());
    assert!(
        same,
        "docs/metrics.md is stale: cargo run -- reference metrics > docs/metrics.md"
    );
}

#[test]
fn every_series_is_there_from_the_start() {
    let text = registry().render();
    for metric in ALL {
        let name = metric.name;
        assert!(
            text.contains(&format!("# HELP {name} {}\n", metric.help)),
            "{name}: HELP in\n{text}"
        );
        assert!(
            text.contains(&format!("# TYPE {name} {}\n", metric.kind.as_str())),
            "{name}: TYPE"
        );
        // Of a distribution, the line there is one of.
        let suffix = match metric.kind {
            table::Kind::Counter | table::Kind::Gauge => "",
            table::Kind::Histogram | table::Kind::Summary => "_count",
        };
        let series = text.lines().filter(|line| {
            line.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(suffix))
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let series = series.collect::<Vec<_>>();
        assert!(!series.is_empty(), "{name}: no series");
        let info = name.ends_with("_info");
        for label in metric.labels {
            let Values::Of(values) = label.values else {
                continue;
            };
            for value in values.iter().filter(|_| !info) {
                let wanted = format!("{}=\"{value}\"", label.name);
                let found = series.iter().filter(|line| line.contains(&wanted)).count();
                let others = metric.labels.iter().filter(|l| l.name != label.name);
                let each: usize = others
                    .map(|label| match label.values {
                        Values::Of(values) => values.len(),
                        Values::Fixed(_) if label.name == "worker" => 2,
                        Values::Fixed(_) => 1,
                    })
                    .product();
                assert_eq!(found, each, "{name} {wanted}");
            }
        }
    }
}

#[test]
fn nothing_is_rendered_that_the_table_does_not_have() {
    let text = registry().render();
    let known = ALL.iter().map(|m| m.name).collect::<BTreeSet<_>>();
    let typed = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(typed.collect::<BTreeSet<_>>(), known);
    assert!(!text.contains("\n\n"));
}

#[test]
fn promtool_finds_nothing_to_say() {
    let registry = registry();
    registry.gateway().joined(Duration::from_millis(3));
    let mut recorder = worker(&registry, 0);
    let buckets = Buckets {
        counts: &[5, 4, 3, 2],
        sum: 9_999,
    };
    let looping = LoopStats {
        busy_ratio: 0.25,
        ..LoopStats::default()
    };
    recorder.record(
        &looping,
        &Shapes {
            turn_micros: buckets,
            turn_datagrams: buckets,
            latency_micros: buckets,
        },
        &DriverStats::default(),
        &ShardStats::default(),
    );
    let mut command = Command::new("promtool");
    let command = command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool (Debian: prometheus) is needed in CI"
        );
        return eprintln!("skipped: promtool is not installed");
    };
    let mut input = child.stdin.take().expect("piped");
    input
        .write_all(registry.render().as_bytes())
        .expect("promtool reads");
    drop(input);
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// What [`a_worker_s_numbers_arrive`] must find.
const WORKER_SERIES: &[(&str, f64)] = &[
    ("rillway_rooms{worker=\"1\"}", 3.0),
    ("rillway_rooms{worker=\"0\"}", 0.0),
    (
        "rillway_worker_forwarding_latency_seconds_bucket{worker=\"1\",le=\"0.0001\"}",
        3.0,
    ),
    (
        "rillway_worker_forwarding_latency_seconds_sum{worker=\"1\"}",
        120e-6,
    ),
    ("rillway_rtp_forwarded_packets_total{worker=\"1\"}", 70.0),
    ("rillway_transports{worker=\"1\",state=\"connected\"}", 3.0),
    (
        "rillway_dropped_datagrams_total{worker=\"1\",cause=\"rate_limited\"}",
        6.0,
    ),
    (
        "rillway_dropped_datagrams_total{worker=\"1\",cause=\"malformed\"}",
        0.0,
    ),
    ("rillway_udp_sent_bytes_total{worker=\"1\"}", 1_500.0),
    (
        "rillway_udp_send_dropped_datagrams_total{worker=\"1\",cause=\"queue_full\"}",
        8.0,
    ),
    ("rillway_worker_busy_ratio{worker=\"1\"}", 0.5),
    ("rillway_worker_requests_waiting{worker=\"1\"}", 4.0),
    (
        "rillway_worker_turn_seconds_bucket{worker=\"1\",le=\"0.00001\"}",
        1.0,
    ),
    (
        "rillway_worker_turn_seconds_bucket{worker=\"1\",le=\"0.001\"}",
        3.0,
    ),
    (
        "rillway_worker_turn_seconds_bucket{worker=\"1\",le=\"+Inf\"}",
        4.0,
    ),
    ("rillway_worker_turn_seconds_count{worker=\"1\"}", 4.0),
    ("rillway_worker_turn_seconds_sum{worker=\"1\"}", 5.0),
    (
        "rillway_worker_turn_datagrams_bucket{worker=\"1\",le=\"8\"}",
        1.0,
    ),
    ("rillway_worker_turn_datagrams_sum{worker=\"1\"}", 77.0),
    ("rillway_transport_connect_seconds_sum{worker=\"1\"}", 0.5),
    ("rillway_transport_connect_seconds_count{worker=\"1\"}", 2.0),
    (
        "rillway_network_estimate_bytes_per_second_sum{worker=\"1\"}",
        1_000.0,
    ),
    ("rillway_nacked_packets_total{worker=\"1\"}", 9.0),
    ("rillway_reported_lost_packets_total{worker=\"1\"}", 11.0),
    (
        "rillway_transports_failed_total{worker=\"1\",cause=\"consent\"}",
        12.0,
    ),
];

/// What [`a_plugin_s_numbers_arrive`] must find after `rillway_plugin_`.
const PLUGIN_SERIES: &[(&str, f64)] = &[
    (
        "calls_total{plugin=\"night-watch\",kind=\"signaling\"}",
        7.0,
    ),
    (
        "call_seconds_bucket{plugin=\"night-watch\",kind=\"signaling\",le=\"0.000003\"}",
        0.0,
    ),
    (
        "call_seconds_bucket{plugin=\"night-watch\",kind=\"signaling\",le=\"0.000005\"}",
        7.0,
    ),
    (
        "call_seconds_sum{plugin=\"night-watch\",kind=\"signaling\"}",
        0.000_028,
    ),
    (
        "faults_total{plugin=\"night-watch\",kind=\"signaling\",fault=\"memory\"}",
        7.0,
    ),
    (
        "refused_total{plugin=\"night-watch\",kind=\"signaling\",reason=\"breaker\"}",
        14.0,
    ),
    (
        "breaker{plugin=\"night-watch\",kind=\"signaling\",state=\"half-open\"}",
        1.0,
    ),
    (
        "breaker{plugin=\"night-watch\",kind=\"signaling\",state=\"closed\"}",
        0.0,
    ),
    ("instances{plugin=\"night-watch\",kind=\"signaling\"}", 3.0),
    (
        "memory_bytes{plugin=\"night-watch\",kind=\"signaling\"}",
        4_096.0,
    ),
    ("generation{plugin=\"night-watch\"}", 2.0),
    ("canary_percent{plugin=\"night-watch\"}", 25.0),
    (
        "log_lines_total{plugin=\"night-watch\",result=\"dropped\"}",
        3.0,
    ),
    (
        "http_requests_total{plugin=\"night-watch\",result=\"answered\"}",
        8.0,
    ),
    (
        "http_requests_total{plugin=\"night-watch\",result=\"failed\"}",
        9.0,
    ),
    (
        "http_requests_total{plugin=\"night-watch\",result=\"refused\"}",
        10.0,
    ),
    ("http_waiting{plugin=\"night-watch\"}", 3.0),
    ("http_request_seconds_sum{plugin=\"night-watch\"}", 2.5),
    (
        "http_bytes_total{plugin=\"night-watch\",direction=\"sent\"}",
        11.0,
    ),
    ("custom_total{plugin=\"night-watch\",name=\"doors\"}", 5.0),
    (
        "custom_observed_count{plugin=\"night-watch\",name=\"doors\"}",
        2.0,
    ),
    (
        "custom_observed_sum{plugin=\"night-watch\",name=\"doors\"}",
        1.5,
    ),
];

#[test]
fn a_plugin_s_numbers_arrive() {
    let registry = Registry::new();
    let recorder = registry.plugin("night-watch", &[Kind::Signaling]);
    let stats = plugin_stats(vec![kind_stats(Kind::Signaling, 7)]);
    // The same numbers again change nothing: they are what is, not what was added.
    for _ in 0..2 {
        recorder.record(&stats, version(2));
        for (series, wanted) in PLUGIN_SERIES {
            let found = value(&registry, &format!("rillway_plugin_{series}"));
            assert!((found - wanted).abs() < 1e-12, "{series}: {found}");
        }
    }
}

#[test]
fn a_worker_s_numbers_arrive() {
    let registry = registry();
    let mut recorder = worker(&registry, 1);
    let mut shard = ShardStats {
        rooms: 3,
        rtp_forwarded: 70,
        connects: 2,
        ..ShardStats::default()
    };
    shard.connect_micros_sum = 500_000;
    (shard.estimates, shard.estimate_bps_sum) = (2, 8_000);
    (shard.nacked, shard.reported_lost) = (9, 11);
    shard.transports_failed[FailCause::Consent as usize] = 12;
    shard.transports = [1, 2, 3, 4];
    shard.dropped[DropCause::RateLimited as usize] = 6;
    let driver = DriverStats {
        sent_bytes: 1_500,
        ..DriverStats::default()
    };
    let looping = LoopStats {
        busy_ratio: 0.5,
        requests_waiting: 4,
        send_dropped_full: 8,
        ..LoopStats::default()
    };
    let turns = Buckets {
        counts: &[1, 2, 0, 1],
        sum: 5_000_000,
    };
    let batches = Buckets {
        counts: &[1, 0, 2],
        sum: 77,
    };
    let latency = Buckets {
        counts: &[0, 3, 0, 0],
        sum: 120,
    };
    let shapes = Shapes {
        turn_micros: turns,
        turn_datagrams: batches,
        latency_micros: latency,
    };
    recorder.record(&looping, &shapes, &driver, &shard);
    for (series, wanted) in WORKER_SERIES {
        assert!((value(&registry, series) - wanted).abs() < 1e-9, "{series}");
    }
}

#[test]
fn counters_follow_and_go_on_when_a_worker_starts_anew() {
    let registry = registry();
    let shard = |rtp_forwarded| ShardStats {
        rtp_forwarded,
        ..ShardStats::default()
    };
    let mut recorder = worker(&registry, 0);
    let record = |recorder: &mut WorkerRecorder, packets, turns: &[u64]| {
        let turns = Buckets {
            counts: turns,
            sum: turns.iter().sum(),
        };
        recorder.record(
            &LoopStats::default(),
            &Shapes {
                turn_micros: turns,
                turn_datagrams: NOTHING,
                latency_micros: NOTHING,
            },
            &DriverStats::default(),
            &shard(packets),
        );
        let forwarded = value(
            &registry,
            "rillway_rtp_forwarded_packets_total{worker=\"0\"}",
        );
        (
            forwarded,
            value(&registry, "rillway_worker_turn_seconds_count{worker=\"0\"}"),
        )
    };
    assert_eq!(record(&mut recorder, 10, &[1, 0, 0, 0]), (10.0, 1.0));
    assert_eq!(record(&mut recorder, 10, &[1, 0, 0, 0]), (10.0, 1.0));
    assert_eq!(record(&mut recorder, 25, &[1, 2, 0, 0]), (25.0, 3.0));
    let mut successor = worker(&registry, 0);
    assert_eq!(record(&mut successor, 5, &[0, 0, 1, 0]), (30.0, 4.0));
    assert_eq!(
        record(&mut successor, 2, &[0, 0, 1, 0]),
        (32.0, 4.0),
        "its counter fell: it began anew"
    );
}

#[test]
fn the_gateway_counts_as_it_goes() {
    let registry = registry();
    let gateway = registry.gateway();
    gateway.opened();
    gateway.opened();
    gateway.closed();
    gateway.received(100);
    gateway.sent(7);
    gateway.joined(Duration::from_millis(20));
    gateway.rejected(Reject::SlowReader);
    gateway.resumed(Resumed::Unknown);
    for (series, wanted) in [
        ("rillway_gateway_connections", 1.0),
        ("rillway_gateway_connections_total", 2.0),
        (
            "rillway_gateway_messages_total{direction=\"received\"}",
            1.0,
        ),
        (
            "rillway_gateway_message_bytes_total{direction=\"sent\"}",
            7.0,
        ),
        ("rillway_gateway_rejects_total{cause=\"slow_reader\"}", 1.0),
        ("rillway_gateway_rejects_total{cause=\"full\"}", 0.0),
        ("rillway_gateway_resumptions_total{result=\"unknown\"}", 1.0),
        ("rillway_join_seconds_bucket{le=\"0.01\"}", 0.0),
        ("rillway_join_seconds_bucket{le=\"0.025\"}", 1.0),
        ("rillway_join_seconds_count", 1.0),
    ] {
        assert!((value(&registry, series) - wanted).abs() < 1e-9, "{series}");
    }
    assert_eq!(Reject::SlowReader as usize + 1, Reject::NAMES.len());
    assert_eq!(Resumed::Unknown as usize + 1, Resumed::NAMES.len());
    assert_eq!(
        (Reject::Full.as_str(), Reject::Idle.as_str()),
        ("full", "idle")
    );
}

/// Answer to a request on a new connection.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("reads");
    String::from_utf8(answer).expect("UTF-8")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), work)
            .await
            .expect("in time")
    })
}

#[test]
fn prometheus_can_ask() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("address");
        let server = tokio::spawn(serve(listener, registry()));
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(
            answer.contains("\nrillway_rooms{worker=\"0\"} 0\n"),
            "{answer}"
        );
        let answer = ask(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 404") && answer.contains("/metrics"),
            "{answer}"
        );
        let answer = ask(
            address,
            "POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        server.abort();
    });
}

#[test]
fn stuck_scrapers_are_cut_off() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("address");
        let within = Duration::from_millis(200);
        let server = tokio::spawn(server::serve_within(listener, registry(), 2, within));
        let mut stuck = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nhost")
                .await
                .expect("writes");
            stuck.push(stream);
        }
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for stream in &mut stuck {
            let mut rest = Vec::new();
            // Cut off, with or without a 408.
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.starts_with(b"HTTP/1.1 200"));
        }
        server.abort();
    });
}

#[test]
fn paths_are_named_as_the_core_counts_them() {
    assert_eq!(
        rillway_core::path::PathKind::ALL.map(|kind| kind.as_str()),
        table::PATHS
    );
}
