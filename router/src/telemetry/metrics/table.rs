//! The one list of metrics: names, kinds, units, labels, meanings. `docs/metrics.md` is written from it.

use std::fmt::Write;

use rillway_core::stats::{DropCause, FailCause};
use rillway_ring::StreamEnd;
use rillway_turn::Refusal;

use super::gateway::{Reject, RequestTarget, Resumed};

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Now.
    Gauge,
    /// Counts by size, with their sum.
    Histogram,
    /// Count and sum.
    Summary,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// A label and what values it can have. None of them is unbounded: never a room, a participant, an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// Values of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these.
    Of(&'static [&'static str]),
    /// Something fixed for the life of the process, or of a worker.
    Fixed(&'static str),
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name: `rillway_`, subject, unit in base units, `_total` for counters.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// Its labels, in this order.
    pub labels: &'static [Label],
    /// What it means.
    pub help: &'static str,
}

const WORKER: Label = Label {
    name: "worker",
    values: Values::Fixed("number of the media worker, from 0"),
};
const STATE: Label = Label {
    name: "state",
    values: Values::Of(&TRANSPORT_STATES),
};
const PATH: Label = Label {
    name: "path",
    values: Values::Of(&PATHS),
};
const DIRECTION: Label = Label {
    name: "direction",
    values: Values::Of(&["received", "sent"]),
};
const TURN_DIRECTION: Label = Label {
    name: "direction",
    values: Values::Of(&["to-peers", "to-clients"]),
};

const PLUGIN: Label = Label {
    name: "plugin",
    values: Values::Fixed("name of the plugin in the configuration"),
};
const KIND: Label = Label {
    name: "kind",
    values: Values::Of(&[
        "authentication",
        "signaling",
        "layer-selection",
        "recording",
    ]),
};
const CUSTOM: Label = Label {
    name: "name",
    values: Values::Fixed("what the plugin calls it; at most 32 for each plugin"),
};

/// Faults of a call.
pub const PLUGIN_FAULTS: [&str; 5] = ["trapped", "timeout", "memory", "excess", "start"];
/// Why a call was not made.
pub const PLUGIN_REFUSALS: [&str; 4] = ["instances", "rate", "busy", "breaker"];
/// States of a breaker.
pub const BREAKER_STATES: [&str; 3] = ["closed", "open", "half-open"];

/// Classes of HTTP status (RFC 9110 §15) that a request can be answered with.
pub const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// States of a transport, in the order of `ShardStats::transports`.
pub const TRANSPORT_STATES: [&str; 4] = ["new", "connecting", "connected", "disconnected"];

/// Ways that a transport takes, in the order of `PathKind::ALL`.
pub const PATHS: [&str; 5] = ["udp", "turn-udp", "tcp", "turn-tcp", "turn-tls"];

/// What becomes of a reload.
pub const CONFIG_RELOAD_RESULTS: [&str; 4] = ["applied", "unchanged", "refused", "invalid"];

/// What became of a span.
pub const TRACE_SPAN_RESULTS: [&str; 4] = ["exported", "rejected", "failed", "full"];

/// Why a management connection was refused, or ended by the router.
pub const MANAGEMENT_REFUSALS: [&str; 5] = ["rate", "full", "handshake", "late", "certificate"];

/// What becomes of a management call.
pub const MANAGEMENT_RESULTS: [&str; 5] = ["done", "forbidden", "limit", "failed", "gone"];

/// What becomes of a recording policy's order.
pub const RECORDING_ORDER_RESULTS: [&str; 6] =
    ["started", "running", "refused", "failed", "stopped", "idle"];

/// First parts of a table of names with labels.
const fn names<T: Copy, const N: usize>(pairs: &[(T, &'static str); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = pairs[index].1;
        index += 1;
    }
    names
}

/// Why the TURN relay refuses.
const TURN_REFUSALS: [&str; Refusal::COUNT] = names(&Refusal::ALL);

const DROP_CAUSES: [&str; DropCause::COUNT] = names(&DropCause::ALL);

const FAIL_CAUSES: [&str; FailCause::COUNT] = names(&FailCause::ALL);

const TCP_ENDS: [&str; StreamEnd::COUNT] = names(&StreamEnd::ALL);

/// Declares each metric as a constant, its help text as the constant's documentation, and all of them
/// as `ALL`.
macro_rules! metrics {
    ($(#[doc = $help:literal] $id:ident $kind:ident $name:literal $unit:literal [$($label:expr),*];)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help.trim_ascii(),
            };
        )*
        /// All metrics, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    /// Always 1; its labels say which build this is.
    BUILD_INFO Gauge "rillway_build_info" "one" [
        Label { name: "version", values: Values::Fixed("release of rillway") }
    ];
    /// Start of the process, since 1970-01-01 UTC.
    START_TIME Gauge "rillway_start_time_seconds" "seconds" [];

    /// Reloads of the configuration: `applied`, `unchanged` (nothing differed), `refused` (it needs a restart, or names a plugin that cannot be used), or `invalid` (there is no file, or a fault in it). After the last two everything is as before.
    CONFIG_RELOADS Counter "rillway_config_reloads_total" "reloads" [
        Label { name: "result", values: Values::Of(&CONFIG_RELOAD_RESULTS) }
    ];
    /// Counts the configurations that were in force, from 1.
    CONFIG_GENERATION Gauge "rillway_config_generation" "configurations" [];
    /// When the configuration in force came into force, since 1970-01-01 UTC.
    CONFIG_TIME Gauge "rillway_config_time_seconds" "seconds" [];

    /// Spans of traces: taken by the collector (`exported`), refused by it (`rejected`), not sent because it did not answer in time, cannot be reached or is failing (`failed`), or dropped because the queue to it was full (`full`). All 0 unless `traces.endpoint` is set.
    TRACE_SPANS Counter "rillway_trace_spans_total" "spans" [
        Label { name: "result", values: Values::Of(&TRACE_SPAN_RESULTS) }
    ];

    /// Clients connected now: WebSocket connections, and resources over HTTP.
    GATEWAY_CONNECTIONS Gauge "rillway_gateway_connections" "connections" [];
    /// Clients accepted.
    GATEWAY_CONNECTIONS_TOTAL Counter "rillway_gateway_connections_total" "connections" [];
    /// Signaling messages, and bodies of requests.
    GATEWAY_MESSAGES Counter "rillway_gateway_messages_total" "messages" [DIRECTION];
    /// Bytes of signaling messages, without framing.
    GATEWAY_MESSAGE_BYTES Counter "rillway_gateway_message_bytes_total" "bytes" [DIRECTION];
    /// Requests to signaling plugins over HTTP: to an `endpoint`, which makes a client, or to the `resource` of one; by the first digit of the answer's status.
    GATEWAY_REQUESTS Counter "rillway_gateway_http_requests_total" "requests" [
        Label { name: "target", values: Values::Of(&RequestTarget::NAMES) },
        Label { name: "status", values: Values::Of(&STATUS_CLASSES) }
    ];
    /// Clients refused or cut off.
    GATEWAY_REJECTS Counter "rillway_gateway_rejects_total" "clients" [
        Label { name: "cause", values: Values::Of(&Reject::NAMES) }
    ];
    /// Clients that came back with the key of their session: who went on, who had lost messages to it, and whose session was over; both of these begin anew.
    GATEWAY_RESUMPTIONS Counter "rillway_gateway_resumptions_total" "clients" [
        Label { name: "result", values: Values::Of(&Resumed::NAMES) }
    ];
    /// Time from a client's wish to join to its first connected transport.
    JOIN_TIME Histogram "rillway_join_seconds" "seconds" [];

    /// Rooms that have a layer or recording policy of their own now.
    RULE_ROOMS Gauge "rillway_rule_rooms" "rooms" [];
    /// Times a room lost the instance of its policy by a fault: the built-in one selects layers then, and nothing new is recorded.
    RULE_FAULTS Counter "rillway_rule_faults_total" "faults" [
        Label { name: "kind", values: Values::Of(&["layers", "recording"]) }
    ];
    /// Answers of layer policies dropped because the worker's queue was full.
    LAYER_ANSWERS_DROPPED Counter "rillway_layer_answers_dropped_total" "answers" [];
    /// Orders of recording policies: to start, which `started`, was `running` already, was `refused` (no such track, or a bad name) or `failed` (nothing can be recorded now, or not in that container); to stop, which `stopped` or found the track `idle`.
    RECORDING_ORDERS Counter "rillway_recording_orders_total" "orders" [
        Label { name: "result", values: Values::Of(&RECORDING_ORDER_RESULTS) }
    ];

    /// Tracks that are being written now.
    RECORDER_TRACKS Gauge "rillway_recorder_tracks" "tracks" [];
    /// Files being written now.
    RECORDER_FILES_OPEN Gauge "rillway_recorder_files_open" "files" [];
    /// Files that ended: `finished`, `failed` (playable up to there, if anything was written), `recovered` (left by a crash and completed at the start).
    RECORDER_FILES Counter "rillway_recorder_files_total" "files" [
        Label { name: "result", values: Values::Of(&["finished", "failed", "recovered"]) }
    ];
    /// Bytes written to recordings.
    RECORDER_WRITTEN Counter "rillway_recorder_written_bytes_total" "bytes" [];
    /// Packets that the recorder took.
    RECORDER_PACKETS Counter "rillway_recorder_packets_total" "packets" [];
    /// Packets that are missing in recordings because the recorder's `queue` was full or the `disk` was too slow; forwarding never waits for either.
    RECORDER_DROPPED Counter "rillway_recorder_dropped_packets_total" "packets" [
        Label { name: "cause", values: Values::Of(&["queue", "disk"]) }
    ];
    /// Times when a track began to lose frames that way; it goes on at its next keyframe.
    RECORDER_DROPS Counter "rillway_recorder_drops_total" "times" [];
    /// Time to make written data durable (fdatasync).
    RECORDER_SYNC_TIME Summary "rillway_recorder_sync_seconds" "seconds" [];
    /// The longest such time since the start.
    RECORDER_SYNC_MAX Gauge "rillway_recorder_sync_max_seconds" "seconds" [];
    /// Most packets that were found in a worker's queue to the recorder since the start.
    RECORDER_QUEUE_MAX Gauge "rillway_recorder_queue_max_packets" "packets" [];
    /// Bytes that wait for the disk now.
    RECORDER_WAITING Gauge "rillway_recorder_waiting_bytes" "bytes" [];
    /// Free bytes beneath `recording.directory`, as last seen.
    RECORDER_FREE Gauge "rillway_recorder_free_bytes" "bytes" [];
    /// 1 while nothing is recorded because the disk is full or cannot be written.
    RECORDER_STOPPED Gauge "rillway_recorder_stopped" "one" [];
    /// Times when recording stopped, or a file failed, for a reason that an operator has to mend: no space, a read-only or broken disk, no file descriptors. One for each reason until it has passed; the log has its line.
    RECORDER_ALARMS Counter "rillway_recorder_alarms_total" "alarms" [];
    /// What recording policies were not told because the control thread was far behind.
    RECORDER_EVENTS_LOST Counter "rillway_recorder_events_lost_total" "events" [];

    /// TURN allocations now.
    TURN_ALLOCATIONS Gauge "rillway_turn_allocations" "allocations" [];
    /// TURN allocations made.
    TURN_ALLOCATED Counter "rillway_turn_allocations_total" "allocations" [];
    /// Clients of the TURN relay over TCP and TLS now.
    TURN_CONNECTIONS Gauge "rillway_turn_connections" "connections" [];
    /// Packets relayed by TURN.
    TURN_PACKETS Counter "rillway_turn_packets_total" "packets" [TURN_DIRECTION];
    /// Payload of packets relayed by TURN.
    TURN_BYTES Counter "rillway_turn_bytes_total" "bytes" [TURN_DIRECTION];
    /// Packets that the TURN relay dropped: a `client` or the way to a `peer` did not take them, or they were `unexpected`, of no allocation, permission or channel.
    TURN_DROPPED Counter "rillway_turn_dropped_packets_total" "packets" [
        Label { name: "cause", values: Values::Of(&["client", "peer", "unexpected"]) }
    ];
    /// What the TURN relay refused: a `peer` that is not allowed, an allocation over a quota or without a free port (`user-quota`, `address-quota`, `total-quota`, `ports`), strangers over the `rate`, more requests, permissions or channels than one client may have (`excess`), what is `malformed`, and what is `unsupported`.
    TURN_REFUSED Counter "rillway_turn_refused_total" "refusals" [
        Label { name: "cause", values: Values::Of(&TURN_REFUSALS) }
    ];
    /// TURN credentials that were `wrong` or had `expired`.
    TURN_CREDENTIALS Counter "rillway_turn_credentials_refused_total" "requests" [
        Label { name: "cause", values: Values::Of(&["wrong", "expired"]) }
    ];
    /// Clients of the TURN relay that were lost to a fault of its protocol library.
    TURN_FAULTS Counter "rillway_turn_faults_total" "clients" [];

    /// Always 1; its labels say which UDP driver the worker uses and whether it was asked for (`configured`), proved by a test run (`probed`) or taken because io_uring is not available (`fallback`).
    DRIVER_INFO Gauge "rillway_worker_driver_info" "one" [
        WORKER,
        Label { name: "driver", values: Values::Of(&["ring", "mmsg", "sim"]) },
        Label { name: "reason", values: Values::Of(&["configured", "probed", "fallback"]) }
    ];
    /// Share of the last second that the worker spent in turns, 0 to 1.
    BUSY_RATIO Gauge "rillway_worker_busy_ratio" "one" [WORKER];
    /// Time of a worker's turn: receive, requests, timers, send.
    TURN_TIME Histogram "rillway_worker_turn_seconds" "seconds" [WORKER];
    /// Datagrams received in one turn, of the turns that received any.
    TURN_DATAGRAMS Histogram "rillway_worker_turn_datagrams" "datagrams" [WORKER];
    /// Time from the kernel's receive queue to its send queue, of packets forwarded to anybody.
    FORWARDING_LATENCY Histogram "rillway_worker_forwarding_latency_seconds" "seconds" [WORKER];
    /// Requests of the control thread that the worker handled.
    REQUESTS Counter "rillway_worker_requests_total" "requests" [WORKER];
    /// Requests waiting for the worker now.
    REQUESTS_WAITING Gauge "rillway_worker_requests_waiting" "requests" [WORKER];
    /// Events handed to the control thread.
    EVENTS Counter "rillway_worker_events_total" "events" [WORKER];
    /// Dispensable events (speakers, statistics) dropped because the control thread was behind.
    EVENTS_DROPPED Counter "rillway_worker_events_dropped_total" "events" [WORKER];
    /// Clients given up because an indispensable event had no room.
    CLIENTS_LOST Counter "rillway_worker_clients_lost_total" "clients" [WORKER];

    /// Rooms whose rules (layer selection, recording) had to start anew because an event had no room.
    ROOMS_LOST Counter "rillway_worker_rooms_lost_total" "rooms" [WORKER];

    /// Datagrams received.
    UDP_RECEIVED Counter "rillway_udp_received_datagrams_total" "datagrams" [WORKER];
    /// Bytes of datagrams received, without UDP and IP headers.
    UDP_RECEIVED_BYTES Counter "rillway_udp_received_bytes_total" "bytes" [WORKER];
    /// Kernel messages that received datagrams came in; GRO joins several datagrams in one.
    UDP_RECEIVED_BATCHES Counter "rillway_udp_received_batches_total" "batches" [WORKER];
    /// Datagrams longer than a receive buffer, discarded.
    UDP_TRUNCATED Counter "rillway_udp_truncated_datagrams_total" "datagrams" [WORKER];
    /// Times the receive buffers ran out and the receive was armed again.
    UDP_REARMED Counter "rillway_udp_receive_rearmed_total" "times" [WORKER];
    /// Datagrams sent.
    UDP_SENT Counter "rillway_udp_sent_datagrams_total" "datagrams" [WORKER];
    /// Bytes of datagrams sent, without UDP and IP headers.
    UDP_SENT_BYTES Counter "rillway_udp_sent_bytes_total" "bytes" [WORKER];
    /// Kernel messages that sent datagrams went in; GSO joins several datagrams in one.
    UDP_SENT_BATCHES Counter "rillway_udp_sent_batches_total" "batches" [WORKER];
    /// Datagrams that the kernel refused to send.
    UDP_SEND_ERRORS Counter "rillway_udp_send_errors_total" "datagrams" [WORKER];
    /// Times the send queue was full.
    UDP_SEND_FULL Counter "rillway_udp_send_full_total" "times" [WORKER];
    /// Datagrams not sent: the send queue was full even after a flush, or they were empty or too long.
    UDP_SEND_DROPPED Counter "rillway_udp_send_dropped_datagrams_total" "datagrams" [
        WORKER,
        Label { name: "cause", values: Values::Of(&["queue_full", "unsendable"]) }
    ];
    /// Datagrams that the kernel gave to another worker than theirs, where workers share a UDP port (`media.udp_ports`): `sent` by the worker that handed them over, `received` by theirs.
    HANDED_OVER Counter "rillway_handed_over_datagrams_total" "datagrams" [WORKER, DIRECTION];
    /// Datagrams for another worker that were dropped because it was too far behind to take them.
    HANDOVER_DROPPED Counter "rillway_handover_dropped_datagrams_total" "datagrams" [WORKER];
    /// System calls of the UDP driver.
    UDP_SYSCALLS Counter "rillway_udp_syscalls_total" "calls" [WORKER];

    /// TCP connections for media accepted, those refused at once included.
    TCP_ACCEPTED Counter "rillway_tcp_accepted_connections_total" "connections" [WORKER];
    /// TCP connections for media refused: `full` (too many in all), `address` (too many from theirs).
    TCP_REFUSED Counter "rillway_tcp_refused_connections_total" "connections" [
        WORKER,
        Label { name: "cause", values: Values::Of(&["full", "address"]) }
    ];
    /// TCP connections for media that ended: `closed` by the client or the network; `unproven` (no valid check in time, or another needed its place), `idle`, `partial` (half a frame), `oversized` (a frame longer than any packet) or `stalled` (not read) by us.
    TCP_ENDED Counter "rillway_tcp_ended_connections_total" "connections" [
        WORKER,
        Label { name: "cause", values: Values::Of(&TCP_ENDS) }
    ];
    /// TCP connections for media now.
    TCP_OPEN Gauge "rillway_tcp_connections" "connections" [WORKER];
    /// Packets received over TCP.
    TCP_RECEIVED Counter "rillway_tcp_received_packets_total" "packets" [WORKER];
    /// Bytes received over TCP, framing included.
    TCP_RECEIVED_BYTES Counter "rillway_tcp_received_bytes_total" "bytes" [WORKER];
    /// Packets queued to be sent over TCP.
    TCP_SENT Counter "rillway_tcp_sent_packets_total" "packets" [WORKER];
    /// Their bytes, without framing.
    TCP_SENT_BYTES Counter "rillway_tcp_sent_bytes_total" "bytes" [WORKER];
    /// Packets not sent over TCP: `video` and `other` because their connection did not keep up, `gone` because there is none any more.
    TCP_DROPPED Counter "rillway_tcp_dropped_packets_total" "packets" [
        WORKER,
        Label { name: "cause", values: Values::Of(&["video", "other", "gone"]) }
    ];
    /// System calls for TCP connections.
    TCP_SYSCALLS Counter "rillway_tcp_syscalls_total" "calls" [WORKER];

    /// Received datagrams dropped.
    DROPPED Counter "rillway_dropped_datagrams_total" "datagrams" [
        WORKER,
        Label { name: "cause", values: Values::Of(&DROP_CAUSES) }
    ];
    /// STUN binding requests without credentials answered: somebody asked for the address it is seen at.
    STUN_ANSWERED Counter "rillway_stun_answered_requests_total" "requests" [WORKER];
    /// RTP packets received and authenticated.
    RTP_RECEIVED Counter "rillway_rtp_received_packets_total" "packets" [WORKER];
    /// Payload bytes of RTP packets received.
    RTP_RECEIVED_BYTES Counter "rillway_rtp_received_bytes_total" "bytes" [WORKER];
    /// RTP packets forwarded, one per receiver.
    RTP_FORWARDED Counter "rillway_rtp_forwarded_packets_total" "packets" [WORKER];
    /// Payload bytes of RTP packets forwarded.
    RTP_FORWARDED_BYTES Counter "rillway_rtp_forwarded_bytes_total" "bytes" [WORKER];
    /// RTP packets of recorded tracks, given to the recorder.
    RTP_RECORDED Counter "rillway_rtp_recorded_packets_total" "packets" [WORKER];
    /// Their payload bytes.
    RTP_RECORDED_BYTES Counter "rillway_rtp_recorded_bytes_total" "bytes" [WORKER];
    /// RTP packets that crossed to and from other workers' parts of their rooms.
    CROSSED Counter "rillway_rtp_crossed_packets_total" "packets" [WORKER, DIRECTION];
    /// What was lost between workers because the other one was too far behind; "other" is anything but packets.
    CROSSED_DROPPED Counter "rillway_worker_crossings_dropped_total" "crossings" [
        WORKER,
        Label { name: "what", values: Values::Of(&["video", "audio", "other"]) }
    ];
    /// What waits for the worker from other workers now.
    CROSSED_WAITING Gauge "rillway_worker_crossings_waiting" "crossings" [WORKER];
    /// RTP packets sent again because a subscriber missed them.
    RTP_RETRANSMITTED Counter "rillway_rtp_retransmitted_packets_total" "packets" [WORKER];
    /// RTP packets not sent because they were too late or had been sent before.
    RTP_REFUSED Counter "rillway_rtp_refused_packets_total" "packets" [WORKER];
    /// RTP packets not sent because they waited too long for room on the way to their subscriber, or something newer took their place.
    RTP_GIVEN_UP Counter "rillway_rtp_given_up_packets_total" "packets" [WORKER];
    /// RTP packets of padding, sent to find out what a subscriber's network carries.
    RTP_PADDING Counter "rillway_rtp_padding_packets_total" "packets" [WORKER];
    /// Bursts sent to find out whether a subscriber's network carries more.
    NETWORK_PROBES Counter "rillway_network_probes_total" "bursts" [WORKER];
    /// Transport-wide feedback of subscribers: `read`, `malformed`.
    TRANSPORT_FEEDBACK Counter "rillway_transport_feedback_total" "messages" [
        WORKER,
        Label { name: "result", values: Values::Of(&["read", "malformed"]) }
    ];
    /// NACKs received from subscribers.
    NACKS Counter "rillway_nacks_total" "messages" [WORKER];
    /// Packets that they ask for; `rillway_rtp_retransmitted_packets_total` counts those that were sent again.
    NACKED Counter "rillway_nacked_packets_total" "packets" [WORKER];
    /// Packets that receiver reports of subscribers are about.
    REPORTED Counter "rillway_reported_packets_total" "packets" [WORKER];
    /// Of those, packets lost on the way to the subscriber; the quotient of both rates is the loss.
    REPORTED_LOST Counter "rillway_reported_lost_packets_total" "packets" [WORKER];
    /// Estimates of what a subscriber's network carries, made at each of its reports; the quotient of both rates is the mean.
    ESTIMATES Summary "rillway_network_estimate_bytes_per_second" "bytes per second" [WORKER];
    /// Keyframe requests: `received` from subscribers, `sent` to publishers.
    KEYFRAME_REQUESTS Counter "rillway_keyframe_requests_total" "requests" [WORKER, DIRECTION];
    /// Data messages forwarded, one per receiver.
    DATA_FORWARDED Counter "rillway_data_messages_forwarded_total" "messages" [WORKER];
    /// Data messages dropped at a bound.
    DATA_DROPPED Counter "rillway_data_messages_dropped_total" "messages" [WORKER];

    /// Views of rooms made for layer policies.
    LAYER_VIEWS Counter "rillway_layer_views_total" "views" [WORKER];
    /// Choices of layer policies: `applied`, `refused` (about nobody or nothing in the room), `stale` (made from a view that counts no more).
    LAYER_CHOICES Counter "rillway_layer_choices_total" "choices" [
        WORKER,
        Label { name: "result", values: Values::Of(&["applied", "refused", "stale"]) }
    ];
    /// Times the built-in layer policy took over a room because its own failed or was silent.
    LAYER_FALLBACKS Counter "rillway_layer_fallbacks_total" "times" [WORKER];

    /// Rooms now.
    ROOMS Gauge "rillway_rooms" "rooms" [WORKER];
    /// Participants now.
    PARTICIPANTS Gauge "rillway_participants" "participants" [WORKER];
    /// Published tracks now.
    TRACKS Gauge "rillway_tracks" "tracks" [WORKER];
    /// Subscriptions now.
    SUBSCRIPTIONS Gauge "rillway_subscriptions" "subscriptions" [WORKER];
    /// Tracks that are being recorded now.
    RECORDED_TRACKS Gauge "rillway_recorded_tracks" "tracks" [WORKER];
    /// Transports now.
    TRANSPORTS Gauge "rillway_transports" "transports" [WORKER, STATE];
    /// Joins answered.
    JOINS Counter "rillway_joins_total" "joins" [WORKER];
    /// Transports that were connected, by the way they took: `udp` and `tcp` to a media port, `turn-udp`, `turn-tcp` and `turn-tls` by this router's own relay. A relay of somebody else's is `udp`.
    TRANSPORT_CONNECTS Counter "rillway_transport_connects_total" "transports" [WORKER, PATH];
    /// Times a connected transport changed to another way, by that.
    TRANSPORT_PATH_CHANGES Counter "rillway_transport_path_changes_total" "changes" [WORKER, PATH];
    /// Times a connected transport's client was found at another port, which a NAT had given it.
    TRANSPORT_PATH_REBINDS Counter "rillway_transport_path_rebinds_total" "changes" [WORKER];
    /// Time of transports from offer or answer to connected.
    CONNECT_TIME Summary "rillway_transport_connect_seconds" "seconds" [WORKER];
    /// Transports that failed: `unreachable` (no check of the client's that was right came in time: ICE), `handshake` (it did not end in time: DTLS), `consent` (it was connected, and nothing came for 30 s), `fault` (what the client said cannot be).
    TRANSPORTS_FAILED Counter "rillway_transports_failed_total" "transports" [
        WORKER,
        Label { name: "cause", values: Values::Of(&FAIL_CAUSES) }
    ];
    /// Transports that failed by a panic caught at their edge; each is a bug.
    TRANSPORT_PANICS Counter "rillway_transport_panics_total" "transports" [WORKER];

    /// Management connections open now.
    MANAGEMENT_CONNECTIONS Gauge "rillway_management_connections" "connections" [];
    /// Management connections that were accepted: their certificate has a role.
    MANAGEMENT_ACCEPTED Counter "rillway_management_connections_total" "connections" [];
    /// Management connections refused, or ended: `rate` (too many at once), `full`, `handshake` (no certificate of the authority, or a revoked one, among others), `late` (the handshake took too long), `certificate` (it has no role, or a reload took its trust).
    MANAGEMENT_REFUSED Counter "rillway_management_refused_connections_total" "connections" [
        Label { name: "cause", values: Values::Of(&MANAGEMENT_REFUSALS) }
    ];
    /// Management calls that ended: `done`, `forbidden` (the role does not include the verb, or the certificate has ended), `limit`, `failed` (any other error), `gone` (the client gave it up or read nothing).
    MANAGEMENT_CALLS Counter "rillway_management_calls_total" "calls" [
        Label { name: "result", values: Values::Of(&MANAGEMENT_RESULTS) }
    ];
    /// Management calls under way now, watches among them.
    MANAGEMENT_OPEN Gauge "rillway_management_calls_open" "calls" [];
    /// Time from a management call's stream to the first part of its answer, or its error.
    MANAGEMENT_TIME Histogram "rillway_management_answer_seconds" "seconds" [];
    /// Events, and samples of `watch`, that clients lost because they did not read in time.
    MANAGEMENT_LOST Counter "rillway_management_lost_events_total" "events" [];

    /// Calls into a plugin, with those that ended in a fault.
    PLUGIN_CALLS Counter "rillway_plugin_calls_total" "calls" [PLUGIN, KIND];
    /// Time of a call, with what it waited for HTTP.
    PLUGIN_CALL_TIME Histogram "rillway_plugin_call_seconds" "seconds" [PLUGIN, KIND];
    /// Calls that ended in a fault, and with it their instance: a trap, the deadline, too much memory, a value over a bound (`excess`), or no instance could be made (`start`).
    PLUGIN_FAULT Counter "rillway_plugin_faults_total" "faults" [
        PLUGIN, KIND, Label { name: "fault", values: Values::Of(&PLUGIN_FAULTS) }
    ];
    /// Calls that were not made: too many instances, a budget for each second, a queue that is full, or the breaker.
    PLUGIN_REFUSED Counter "rillway_plugin_refused_total" "calls" [
        PLUGIN, KIND, Label { name: "reason", values: Values::Of(&PLUGIN_REFUSALS) }
    ];
    /// 1 for the state of the breaker: after three faults in a short time it is `open`, and nothing is called until a trial (`half-open`) succeeds.
    PLUGIN_BREAKER Gauge "rillway_plugin_breaker" "one" [
        PLUGIN, KIND, Label { name: "state", values: Values::Of(&BREAKER_STATES) }
    ];
    /// Instances now.
    PLUGIN_INSTANCES Gauge "rillway_plugin_instances" "instances" [PLUGIN, KIND];
    /// Instances made.
    PLUGIN_INSTANCES_TOTAL Counter "rillway_plugin_instances_total" "instances" [PLUGIN, KIND];
    /// Linear memory of all instances now.
    PLUGIN_MEMORY Gauge "rillway_plugin_memory_bytes" "bytes" [PLUGIN, KIND];
    /// Linear memory of the largest instance there has been.
    PLUGIN_INSTANCE_MEMORY_MAX Gauge "rillway_plugin_instance_memory_max_bytes" "bytes" [PLUGIN, KIND];
    /// Bytes of what calls were given (`received`) and returned (`sent`).
    PLUGIN_BYTES Counter "rillway_plugin_call_bytes_total" "bytes" [PLUGIN, KIND, DIRECTION];
    /// Number of the version in use: 1 at the start, and more with each reload.
    PLUGIN_GENERATION Gauge "rillway_plugin_generation" "one" [PLUGIN];
    /// Share of new instances that a version on trial gets, 0 to 100.
    PLUGIN_CANARY_PERCENT Gauge "rillway_plugin_canary_percent" "percent" [PLUGIN];
    /// Times a new version failed, and the one before came back by itself.
    PLUGIN_RETURNS Counter "rillway_plugin_returns_total" "times" [PLUGIN];
    /// Lines a plugin logged.
    PLUGIN_LOG_LINES Counter "rillway_plugin_log_lines_total" "lines" [
        PLUGIN, Label { name: "result", values: Values::Of(&["written", "dropped"]) }
    ];
    /// Keys and values in a plugin's store now.
    PLUGIN_KV Gauge "rillway_plugin_kv_bytes" "bytes" [PLUGIN];
    /// Requests a plugin made by HTTP: an answer of whatever status came, none came (`failed`), or it was not sent because it is malformed or its origin is not listed (`refused`).
    PLUGIN_HTTP Counter "rillway_plugin_http_requests_total" "requests" [
        PLUGIN, Label { name: "result", values: Values::Of(&["answered", "failed", "refused"]) }
    ];
    /// Time of a request that was sent.
    PLUGIN_HTTP_TIME Histogram "rillway_plugin_http_request_seconds" "seconds" [PLUGIN];
    /// Requests that wait for their answer now, or for their turn.
    PLUGIN_HTTP_WAITING Gauge "rillway_plugin_http_waiting" "requests" [PLUGIN];
    /// Bytes of requests and answers.
    PLUGIN_HTTP_BYTES Counter "rillway_plugin_http_bytes_total" "bytes" [PLUGIN, DIRECTION];
    /// What a plugin counts itself (`metrics.add`).
    PLUGIN_CUSTOM Counter "rillway_plugin_custom_total" "one" [PLUGIN, CUSTOM];
    /// What a plugin observes itself (`metrics.observe`), in units of its own.
    PLUGIN_CUSTOM_OBSERVED Summary "rillway_plugin_custom_observed" "one" [PLUGIN, CUSTOM];
    /// Values a plugin counted or observed under a name that is none, or under too many names.
    PLUGIN_CUSTOM_DROPPED Counter "rillway_plugin_custom_dropped_total" "values" [PLUGIN];
}

/// Text of `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Served for Prometheus at `/metrics` on `metrics.listen` (see `config/rillway.toml`). Every series is\n\
         there from the start, with 0, but for what plugins count themselves. Workers and plugins hand their\n\
         numbers over once a second.\n\n\
         Written by `rillway reference metrics` from `router/src/telemetry/metrics/table.rs`; a test keeps it so.\n\n\
         | Name | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|\n",
    );
    let mut labels = Vec::<(&str, Vec<&str>, Values)>::new();
    for metric in ALL {
        let names = metric
            .labels
            .iter()
            .map(|l| format!("`{}`", l.name))
            .collect::<Vec<_>>()
            .join(", ");
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {names} | {} |",
            metric.name,
            metric.kind.as_str(),
            metric.unit,
            metric.help
        );
        for label in metric.labels {
            match labels
                .iter_mut()
                .find(|(name, _, values)| *name == label.name && *values == label.values)
            {
                Some((_, users, _)) => users.push(metric.name),
                None => labels.push((label.name, vec![metric.name], label.values)),
            }
        }
    }
    text += "\n## Labels\n\nNone is unbounded: no room, no participant, no address.\n\n\
             | Label | Of | Values |\n|---|---|---|\n";
    for (name, users, values) in labels {
        let values = match values {
            Values::Of(values) => values
                .iter()
                .map(|v| format!("`{v}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Values::Fixed(what) => what.to_owned(),
        };
        let users = match users.as_slice() {
            [one] => format!("`{one}`"),
            several => format!("{} metrics", several.len()),
        };
        let _ = writeln!(text, "| `{name}` | {users} | {values} |");
    }
    text
}
