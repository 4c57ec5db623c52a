//! Tables and texts for people: what is in rooms, and why.

use super::operate::table;
use crate::management::wire::{self, Layer, Network, Subscription, Track, Transport};

pub(super) fn room_table(rooms: &[wire::Room]) -> String {
    let header = [
        "ROOM",
        "WORKER",
        "PARTICIPANTS",
        "TRACKS",
        "SUBSCRIPTIONS",
        "RECEIVED",
    ];
    let rows = rooms.iter().map(|room| {
        [
            plain(&room.name),
            workers(room.worker, &room.other_workers),
            room.participants.to_string(),
            room.tracks.to_string(),
            room.subscriptions.to_string(),
            rate(room.received_bps),
        ]
    });
    table(header, rows)
}

/// The workers that have parts of a room.
pub(super) fn workers(first: u32, others: &[u32]) -> String {
    let all = std::iter::once(&first).chain(others);
    let all: Vec<String> = all.map(ToString::to_string).collect();
    all.join("+")
}

pub(super) fn participant_table(participants: &[wire::Participant]) -> String {
    let header = [
        "PARTICIPANT",
        "IDENTITY",
        "NAME",
        "PUBLISH",
        "SUBSCRIBE",
        "TRACKS",
        "SUBSCRIPTIONS",
    ];
    let state = |transport: &Option<Transport>| match transport {
        Some(transport) => transport.state.clone(),
        None => "-".to_owned(),
    };
    let rows = participants.iter().map(|participant| {
        [
            participant.id.clone(),
            plain(&participant.identity),
            plain(&participant.name),
            state(&participant.publish),
            state(&participant.subscribe),
            participant.tracks.to_string(),
            participant.subscriptions.to_string(),
        ]
    });
    table(header, rows)
}

/// A line for each figure, a column for each direction.
pub(super) fn transport_table(participant: &wire::Participant) -> String {
    let ways = [&participant.publish, &participant.subscribe];
    let line = |name: &str, of: &dyn Fn(&Transport) -> String| {
        let [publish, subscribe] = ways.map(|way| way.as_ref().map_or_else(|| "-".to_owned(), of));
        [name.to_owned(), publish, subscribe]
    };
    let network = |of: fn(&Network) -> String| {
        move |transport: &Transport| {
            let network = transport.network.as_ref();
            network.map_or_else(|| "-".to_owned(), of)
        }
    };
    let pair = |transport: &Transport| match &transport.candidate_pair {
        Some(pair) => format!("{} {} → {}", pair.protocol, pair.local, pair.remote),
        None => "-".to_owned(),
    };
    let rows = [
        line("state", &|t| t.state.clone()),
        line("candidate pair", &pair),
        line("round trip", &network(|n| millis(n.round_trip_time_ms))),
        line(
            "lost of a thousand",
            &network(|n| n.loss_permille.to_string()),
        ),
        line("queue on the way", &network(|n| millis(Some(n.queue_ms)))),
        line(
            "estimate",
            &network(|n| maybe_rate(n.available_outgoing_bps)),
        ),
        line("  bound by delay", &network(|n| maybe_rate(n.delay_bps))),
        line("  bound by loss", &network(|n| maybe_rate(n.loss_bps))),
        line("  bound by REMB", &network(|n| maybe_rate(n.remb_bps))),
        line("  shown by a probe", &network(|n| maybe_rate(n.probe_bps))),
        line("packets received", &|t| t.packets_received.to_string()),
        line("bytes received", &|t| t.bytes_received.to_string()),
        line("packets sent", &|t| t.packets_sent.to_string()),
        line("bytes sent", &|t| t.bytes_sent.to_string()),
        line("retransmitted", &|t| {
            t.retransmitted_packets_sent.to_string()
        }),
        line("packets lost", &|t| t.packets_lost.to_string()),
        line("NACKs", &|t| t.nack_count.to_string()),
        line("PLIs", &|t| t.pli_count.to_string()),
    ];
    table(["TRANSPORT", "PUBLISH", "SUBSCRIBE"], rows)
}

pub(super) fn track_table(tracks: &[Track]) -> String {
    let header = [
        "TRACK",
        "PUBLISHER",
        "SOURCE",
        "CODEC",
        "MUTED",
        "SUBSCRIPTIONS",
        "LAYERS",
    ];
    let rows = tracks.iter().map(|track| {
        [
            track.id.clone(),
            plain(&track.identity),
            track.source.clone(),
            track.codec.clone(),
            muted(track).to_owned(),
            track.subscriptions.to_string(),
            layers(&track.layers),
        ]
    });
    table(header, rows)
}

pub(super) fn muted(track: &Track) -> &'static str {
    match (track.muted_by_publisher, track.muted_by_operator) {
        (false, false) => "-",
        (true, false) => "publisher",
        (false, true) => "operator",
        (true, true) => "both",
    }
}

/// Layers in a line, smallest first; those that are silent in brackets.
pub(super) fn layers(layers: &[Layer]) -> String {
    let each = layers.iter().map(|layer| {
        let mut text = layer.spatial.to_string();
        if !layer.rid.is_empty() {
            text += &format!(" {}", plain(&layer.rid));
        }
        if layer.width > 0 {
            text += &format!(" {}x{}", layer.width, layer.height);
        }
        if layer.fps > 0 && layer.width > 0 {
            text += &format!(" {} fps", layer.fps);
        }
        text += &format!(" {}", rate(layer.bitrate_bps.into()));
        if layer.active {
            text
        } else {
            format!("({text})")
        }
    });
    let each: Vec<String> = each.collect();
    each.join(", ")
}

pub(super) fn subscription_table(subscriptions: &[Subscription]) -> String {
    let header = [
        "SUBSCRIBER",
        "TRACK",
        "OF",
        "KIND",
        "STATE",
        "LAYER",
        "NEXT",
        "RATE",
        "PACKETS",
    ];
    let rows = subscriptions.iter().map(|subscription| {
        let video = subscription.kind == "video";
        let next = subscription
            .target
            .filter(|_| video && subscription.target != subscription.spatial);
        [
            format!(
                "{} {}",
                subscription.participant,
                plain(&subscription.identity)
            ),
            subscription.track.clone(),
            plain(&subscription.publisher_identity),
            subscription.kind.clone(),
            subscription.state.clone(),
            layer(subscription.spatial),
            layer(next),
            rate(subscription.bitrate_bps.into()),
            subscription.packets.to_string(),
        ]
    });
    table(header, rows)
}

fn layer(spatial: Option<u32>) -> String {
    spatial.map_or_else(|| "-".to_owned(), |spatial| spatial.to_string())
}

pub(super) fn reason_text(reason: &wire::Reason) -> String {
    let subscription = reason.subscription.clone().unwrap_or_default();
    let track = reason.track.clone().unwrap_or_default();
    let network = reason.network.unwrap_or_default();
    let wish = subscription.wish.unwrap_or_default();
    let wished = match (wish.paused, wish.width, wish.height) {
        (true, _, _) => "nothing for now".to_owned(),
        (false, 0, 0) => format!("the best; priority {}", wish.priority),
        (false, width, height) => format!("{width}x{height}; priority {}", wish.priority),
    };
    let estimate = match network.available_outgoing_bps {
        Some(bps) => format!(
            "{}; by delay {}, by loss {}, by REMB {}; sound takes {}",
            rate(bps.into()),
            maybe_rate(network.delay_bps),
            maybe_rate(network.loss_bps),
            maybe_rate(network.remb_bps),
            rate(reason.audio_bps.into())
        ),
        None => "not measured: everything is sent".to_owned(),
    };
    let now = match subscription.spatial {
        Some(spatial) if track.kind == "video" => {
            format!("{}, layer {spatial}", subscription.state)
        }
        _ => subscription.state.clone(),
    };
    let head = [
        [
            "track",
            &format!(
                "{} ({} of {})",
                track.id,
                track.source,
                plain(&track.identity)
            ),
        ],
        ["state", &now],
        ["muted by", muted(&track)],
        ["wish", &wished],
        ["estimate", &estimate],
        ["layers", &layers(&track.layers)],
    ]
    .map(|[key, value]| [key.to_owned(), value.to_owned()]);
    let text = table(["SUBSCRIBER", &plain(&subscription.identity)], head);
    if reason.decisions.is_empty() {
        let sound = track.kind == "audio";
        let none = if sound {
            "sound needs no decision: all of it is forwarded"
        } else {
            "nothing was decided yet: no layer was sent so far"
        };
        return format!("{text}\n\n{none}");
    }
    let rows = reason.decisions.iter().rev().map(|decision| {
        [
            format!("{:.1} s ago", decision.age_ms as f64 / 1_000.0),
            plain(&decision.policy),
            plain(&decision.reason),
            plain(&decision.outcome),
        ]
    });
    let decisions = table(["DECIDED", "BY", "REASON", "OUTCOME"], rows);
    format!("{text}\n\n{decisions}")
}

/// What comes from clients and plugins, without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

pub(super) fn rate(bps: u64) -> String {
    match bps {
        0..1_000 => format!("{bps} bit/s"),
        1_000..1_000_000 => format!("{} kbit/s", bps / 1_000),
        _ => format!("{:.1} Mbit/s", bps as f64 / 1e6),
    }
}

pub(super) fn maybe_rate(bps: Option<u32>) -> String {
    bps.map_or_else(|| "-".to_owned(), |bps| rate(bps.into()))
}

pub(super) fn millis(time: Option<u32>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say_cannot_reach_the_terminal() {
        let room = wire::Room {
            name: "a\u{1b}[2Jb\n".to_owned(),
            ..wire::Room::default()
        };
        let text = room_table(&[room]);
        assert!(
            text.contains("a[2Jb") && text.lines().count() == 2,
            "{text}"
        );
    }

    #[test]
    fn rates_have_units() {
        let texts = [999, 1_000, 1_250_000].map(rate);
        assert_eq!(texts, ["999 bit/s", "1 kbit/s", "1.2 Mbit/s"]);
        assert_eq!(maybe_rate(None), "-");
    }
}
