//! Views of the core → messages.

use std::time::Duration;

use rillway_core::api::{Decider, Fit, LayerInfo, MediaKind, TransportState};
use rillway_core::inspect::{
    DecisionView, NetworkView, ParticipantView, ReasonView, RoomView, SubscriptionView, TrackView,
    TransportView,
};

use crate::management::wire;

/// An id as clients of the rooms protocol see it.
pub(crate) fn id(number: u64) -> String {
    format!("{number:x}")
}

/// The number of an id; `None` if it is none.
pub(super) fn number(id: &str) -> Option<u64> {
    let plain = !id.is_empty() && id.len() <= 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(id, 16).ok())?
}

pub(super) fn room(workers: &[u8], view: RoomView) -> wire::Room {
    let mut workers = workers.iter().map(|worker| u32::from(*worker));
    wire::Room {
        name: view.name,
        worker: workers.next().unwrap_or_default(),
        other_workers: workers.collect(),
        participants: view.participants,
        tracks: view.tracks,
        subscriptions: view.subscriptions,
        received_bps: view.received_bps,
    }
}

pub(in crate::management) fn participant(worker: u8, view: ParticipantView) -> wire::Participant {
    let attributes = view.info.attributes.into_iter();
    wire::Participant {
        id: id(view.info.id.0),
        room: view.room,
        identity: view.info.identity,
        name: view.info.name.unwrap_or_default(),
        joined_at_ms: view.info.joined_at_ms,
        worker: u32::from(worker),
        publish: view.publish.map(transport),
        subscribe: view.subscribe.map(transport),
        tracks: view.tracks,
        subscriptions: view.subscriptions,
        expires_at_ms: view.expires_at_ms,
        attributes: attributes
            .map(|(key, value)| wire::Attribute { key, value })
            .collect(),
    }
}

/// Those of a participant that it has.
pub(super) fn transports(view: ParticipantView) -> impl Iterator<Item = wire::TransportOf> {
    let info = view.info;
    let both = [("publish", view.publish), ("subscribe", view.subscribe)];
    let has = both.into_iter().filter_map(|(way, one)| Some((way, one?)));
    has.map(move |(direction, one)| wire::TransportOf {
        room: view.room.clone(),
        participant: id(info.id.0),
        identity: info.identity.clone(),
        direction: direction.to_owned(),
        transport: Some(transport(one)),
    })
}

fn transport(view: TransportView) -> wire::Transport {
    let pair = view.path.map(|(local, remote)| wire::CandidatePair {
        local: local.to_string(),
        remote: remote.to_string(),
        protocol: if view.tcp { "tcp" } else { "udp" }.to_owned(),
    });
    let traffic = view.traffic;
    wire::Transport {
        state: state(view.state).to_owned(),
        candidate_pair: pair,
        packets_received: traffic.packets_received,
        bytes_received: traffic.bytes_received,
        packets_sent: traffic.packets_sent,
        bytes_sent: traffic.bytes_sent,
        retransmitted_packets_sent: traffic.retransmitted,
        packets_lost: traffic.packets_lost,
        nack_count: traffic.nacks,
        pli_count: traffic.plis,
        network: view.network.map(network),
    }
}

fn network(view: NetworkView) -> wire::Network {
    let bounds = view.bounds;
    wire::Network {
        round_trip_time_ms: (view.rtt_ms > 0).then(|| u32::from(view.rtt_ms)),
        loss_permille: u32::from(view.loss_permille),
        queue_ms: u32::from(view.queue_ms),
        available_outgoing_bps: view.estimate_bps,
        delay_bps: bounds.delay_bps,
        loss_bps: bounds.loss_bps,
        probe_bps: bounds.probe_bps,
        remb_bps: bounds.remb_bps,
    }
}

/// The word for a state, as `RTCPeerConnectionState`.
fn state(state: TransportState) -> &'static str {
    match state {
        TransportState::New => "new",
        TransportState::Connecting => "connecting",
        TransportState::Connected => "connected",
        TransportState::Disconnected => "disconnected",
        TransportState::Failed => "failed",
        TransportState::Closed => "closed",
    }
}

pub(in crate::management) fn track(view: TrackView) -> wire::Track {
    let sizes = view.sizes.into_iter().chain(std::iter::repeat(None));
    let layers = view.info.layers.into_iter().zip(sizes);
    wire::Track {
        id: id(view.info.id.0),
        room: view.room,
        participant: id(view.info.owner.0),
        identity: view.identity,
        kind: kind(view.info.kind == MediaKind::Video),
        source: view.info.source.as_str().to_owned(),
        codec: view.info.codec,
        muted: view.info.muted,
        muted_by_publisher: view.muted_by_owner,
        muted_by_operator: view.muted_by_operator,
        layers: layers.map(|(info, size)| layer(info, size)).collect(),
        subscriptions: view.subscriptions,
    }
}

fn layer(info: LayerInfo, size: Option<(u16, u16)>) -> wire::Layer {
    let (width, height) = size.unwrap_or_default();
    wire::Layer {
        spatial: u32::from(info.spatial),
        rid: info.rid.unwrap_or_default(),
        width: u32::from(width),
        height: u32::from(height),
        fps: u32::from(info.fps),
        bitrate_bps: info.bitrate_bps,
        active: info.active,
    }
}

fn kind(video: bool) -> String {
    if video { "video" } else { "audio" }.to_owned()
}

pub(in crate::management) fn subscription(view: SubscriptionView) -> wire::Subscription {
    wire::Subscription {
        state: subscription_state(&view).to_owned(),
        room: view.room,
        participant: id(view.subscriber.0),
        identity: view.identity,
        track: id(view.track.0),
        publisher: id(view.publisher.0),
        publisher_identity: view.publisher_identity,
        kind: kind(view.video),
        spatial: view.spatial.map(u32::from),
        target: view.target.map(u32::from),
        wish: Some(wire::Wish {
            width: u32::from(view.wish.width),
            height: u32::from(view.wish.height),
            fps: u32::from(view.wish.fps),
            priority: u32::from(view.wish.priority),
            paused: view.wish.paused,
        }),
        packets: view.packets,
        bytes: view.bytes,
        bitrate_bps: view.bitrate_bps,
    }
}

fn subscription_state(view: &SubscriptionView) -> &'static str {
    if !view.negotiated {
        "negotiating"
    } else if view.wish.paused {
        "paused"
    } else if view.held {
        "held"
    } else if view.spatial.is_none() {
        "waiting"
    } else {
        "forwarding"
    }
}

pub(in crate::management) fn reason(view: ReasonView) -> wire::Reason {
    wire::Reason {
        subscription: Some(subscription(view.subscription)),
        track: Some(track(view.track)),
        network: view.network.map(network),
        audio_bps: view.audio_bps,
        decisions: view.decisions.into_iter().map(decision).collect(),
    }
}

fn decision(view: DecisionView) -> wire::Decision {
    let policy = match &view.by {
        Decider::BuiltIn => "built-in".to_owned(),
        Decider::Policy(policy) => policy.to_string(),
    };
    wire::Decision {
        age_ms: whole_ms(view.age),
        policy,
        outcome: outcome(&view),
        chosen: view.chosen.flatten().map(u32::from),
        chose_nothing: view.chosen == Some(None),
        wanted: view.wanted.map(u32::from),
        fit: match view.fits {
            None => "unbounded",
            Some(Fit::Layer(_)) => "layer",
            Some(Fit::Nothing) => "nothing",
        }
        .to_owned(),
        fits: match view.fits {
            Some(Fit::Layer(layer)) => Some(u32::from(layer)),
            _ => None,
        },
        due: view.due.map(u32::from),
        reason: view.reason,
    }
}

/// What was made of a decision, for people.
fn outcome(view: &DecisionView) -> String {
    let Some(wanted) = view.wanted else {
        return "nothing is forwarded, as the policy chose".to_owned();
    };
    let chosen = match view.chosen {
        Some(Some(chosen)) if chosen != wanted => {
            format!("layer {chosen} is not being sent: layer {wanted} in its place")
        }
        _ => format!("layer {wanted} is wanted"),
    };
    match (view.fits, view.due) {
        (Some(Fit::Nothing), _) => {
            format!("{chosen}; the estimate leaves no room, so nothing is forwarded")
        }
        (Some(Fit::Layer(_)), Some(due)) if due < wanted => {
            format!("{chosen}; the estimate leaves room for layer {due}")
        }
        (Some(Fit::Layer(_)), _) => format!("{chosen}, and it fits the estimate"),
        (None, _) => format!("{chosen}; the network is not measured, so all of it is sent"),
    }
}

/// Milliseconds.
pub(in crate::management) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_nothing_else() {
        assert_eq!(number(&id(0x1f_ffff_ffff_ffff)), Some(0x1f_ffff_ffff_ffff));
        for text in ["", "+1", "-1", "0x1", "g", "11112222333344445", " 1"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn outcomes_say_what_the_host_and_the_estimate_changed() {
        let policy = Decider::Policy("layers-ours 3-ab".into());
        let made = |chosen, wanted, fits, due| {
            outcome(&DecisionView {
                age: Duration::ZERO,
                by: policy.clone(),
                reason: String::new(),
                chosen,
                wanted,
                fits,
                due,
            })
        };
        let cases = [
            (
                made(Some(None), None, None, None),
                "nothing is forwarded, as the policy chose",
            ),
            (
                made(Some(Some(2)), Some(1), None, Some(1)),
                "layer 2 is not being sent: layer 1 in its place; the network is not measured, so all of it is sent",
            ),
            (
                made(Some(Some(2)), Some(2), Some(Fit::Layer(0)), Some(0)),
                "layer 2 is wanted; the estimate leaves room for layer 0",
            ),
            (
                made(None, Some(1), Some(Fit::Layer(1)), Some(1)),
                "layer 1 is wanted, and it fits the estimate",
            ),
            (
                made(None, Some(0), Some(Fit::Nothing), None),
                "layer 0 is wanted; the estimate leaves no room, so nothing is forwarded",
            ),
        ];
        for (got, wanted) in cases {
            assert_eq!(got, wanted);
        }
    }
}
