//! The report of a run, for people.

use rillway_load::Report;
use rillway_load::report::{Delivery, ThreadHealth, Times, Watched};

use super::super::operate::table;
use super::super::tables::{plain, rate};

/// All of it.
pub(super) fn report(report: &Report) -> String {
    let mut parts = vec![joined(report), delivery(&report.delivery), times(report)];
    parts.push(threads(&report.swarm.threads));
    if !report.watched.is_empty() {
        parts.push(watched(&report.watched));
    }
    let mut text = parts.join("\n\n");
    text.push('\n');
    for (failure, count) in &report.joins.failures {
        text += &format!("\nfailed: {count} × {}", plain(failure));
    }
    for warning in &report.warnings {
        text += &format!("\nwarning: {}", plain(warning));
    }
    if !(report.joins.failures.is_empty() && report.warnings.is_empty()) {
        text.push('\n');
    }
    text
}

fn joined(report: &Report) -> String {
    let joins = &report.joins;
    let profiles: Vec<&str> = report.profiles.keys().map(String::as_str).collect();
    let row = [
        format!("{} of {}", joins.joined, joins.clients),
        joins.failed.to_string(),
        format!(
            "{:.1} (asked: {})",
            joins.per_second, joins.per_second_asked
        ),
        joins.without_frame.to_string(),
        profiles.join(", "),
    ];
    let header = ["JOINED", "FAILED", "JOINS/S", "SAW NOTHING", "SRTP"];
    table(header, [row])
}

fn delivery(delivery: &Delivery) -> String {
    let row = [
        delivery.expected.to_string(),
        delivery.delivered.to_string(),
        format!("{} ({:.3} %)", delivery.lost, delivery.loss_percent),
        delivery.missing.to_string(),
        delivery.withheld.to_string(),
        delivery.repeated.to_string(),
        format!("{:.0}", delivery.packets_per_second),
        rate(delivery.bits_per_second as u64),
        format!("{:.1}", delivery.seconds),
    ];
    let header = [
        "EXPECTED",
        "DELIVERED",
        "LOST",
        "MISSING",
        "WITHHELD",
        "REPEATED",
        "PACKETS/S",
        "RATE",
        "SECONDS",
    ];
    table(header, [row])
}

fn times(report: &Report) -> String {
    let latency = &report.latency;
    let rows = [
        ("audio, write to read", &latency.audio_ms),
        ("video, write to read", &latency.video_ms),
        ("all, write to read", &latency.all_ms),
        ("to join", &report.joins.took_ms),
        ("to the first frame", &report.joins.first_frame_ms),
    ];
    let rows = rows.into_iter().filter(|(_, times)| times.count > 0);
    let row = |(what, times): (&str, &Times)| {
        let [p50, p99, p999, max] = [times.p50, times.p99, times.p999, times.max].map(ms);
        [
            what.to_owned(),
            times.count.to_string(),
            p50,
            p99,
            p999,
            max,
        ]
    };
    let header = ["TIME, ms", "COUNT", "P50", "P99", "P99.9", "LONGEST"];
    table(header, rows.map(row))
}

fn ms(time: f64) -> String {
    if time < 10.0 {
        format!("{time:.2}")
    } else {
        format!("{time:.1}")
    }
}

fn threads(threads: &[ThreadHealth]) -> String {
    let rows = threads.iter().enumerate().map(|(number, thread)| {
        [
            number.to_string(),
            format!("{:.0} %", thread.busy_percent),
            format!("{:.0} %", thread.waited_percent),
            format!("{} ms", ms(thread.late_ms.p99)),
            format!("{:.2}", thread.us_per_packet),
        ]
    });
    let header = ["SWARM THREAD", "BUSY", "WAITED", "LATE, P99", "µs/PACKET"];
    table(header, rows)
}

fn watched(watched: &[Watched]) -> String {
    let rows = watched.iter().map(|process| {
        [
            process.pid.to_string(),
            format!("{:.0} %", process.busy_percent),
            format!("{:.2}", process.us_per_packet),
            bytes(process.resident),
            bytes(process.resident_per_client),
        ]
    });
    let header = ["PROCESS", "BUSY", "µs/PACKET", "MEMORY", "MEMORY/CLIENT"];
    table(header, rows)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
