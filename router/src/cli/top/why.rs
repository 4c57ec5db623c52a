//! Why a subscription gets what it gets, as lines.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};

use super::model::Model;
use super::text::{bits, plain};
use crate::cli::tables::{layers, muted};
use crate::management::wire::{Network, Reason};

/// Bars of a bit rate, eight steps each.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Values of the bit rate that are shown.
const SHOWN: usize = 48;

/// Everything about it.
pub(super) fn text(model: &Model, participant: &str, track: &str) -> Text<'static> {
    let reasons = match &model.reasons {
        None => return Text::from("asking …"),
        Some(Err(why)) => return Text::from(plain(why)),
        Some(Ok(reasons)) => reasons,
    };
    let wanted = |reason: &&Reason| {
        let one = reason.subscription.as_ref();
        one.is_some_and(|one| one.participant == participant && one.track == track)
    };
    let Some(reason) = reasons.iter().find(wanted) else {
        return Text::from("it does not receive this track any more");
    };
    let mut lines = facts(reason);
    lines.push(named("rate", &history(model)));
    lines.push(Line::default());
    lines.extend(decisions(reason));
    Text::from(lines)
}

fn named(name: &str, value: &str) -> Line<'static> {
    Line::from(vec![
        Span::styled(
            format!("{name:<9}"),
            Style::new().add_modifier(Modifier::BOLD),
        ),
        Span::raw(value.to_owned()),
    ])
}

fn facts(reason: &Reason) -> Vec<Line<'static>> {
    let one = reason.subscription.clone().unwrap_or_default();
    let track = reason.track.clone().unwrap_or_default();
    let wish = one.wish.unwrap_or_default();
    let wished = match (wish.paused, wish.width, wish.height) {
        (true, ..) => "nothing for now".to_owned(),
        (_, 0, 0) => format!("the best; priority {}", wish.priority),
        (_, width, height) => format!("{width}x{height}; priority {}", wish.priority),
    };
    let mut state = one.state.clone();
    if let Some(layer) = one.spatial.filter(|_| one.kind == "video") {
        state += &format!(", layer {layer}");
    }
    if let Some(next) = one.target.filter(|_| one.target != one.spatial) {
        state += &format!(", next {next}");
    }
    if track.muted {
        state += &format!("; muted by {}", muted(&track));
    }
    vec![
        named(
            "track",
            &format!("{} of {}", track.source, plain(&track.identity)),
        ),
        named("state", &state),
        named("wish", &wished),
        named("estimate", &estimate(reason.network, reason.audio_bps)),
        named("layers", &layers(&track.layers)),
    ]
}

fn estimate(network: Option<Network>, audio_bps: u32) -> String {
    let network = network.unwrap_or_default();
    let Some(bps) = network.available_outgoing_bps else {
        return "not measured: everything is sent".to_owned();
    };
    let bounds = [
        ("delay", network.delay_bps),
        ("loss", network.loss_bps),
        ("probe", network.probe_bps),
        ("REMB", network.remb_bps),
    ];
    let bounds = bounds.into_iter().filter_map(|(name, bps)| {
        let bps = bits(bps?.into());
        Some(format!("{name} {bps}"))
    });
    let bounds: Vec<_> = bounds.collect();
    let mut text = format!("{} bit/s", bits(bps.into()));
    if !bounds.is_empty() {
        text += &format!(" by {}", bounds.join(", "));
    }
    text + &format!("; sound takes {}", bits(audio_bps.into()))
}

/// The last seconds of what is forwarded.
fn history(model: &Model) -> String {
    let known = model.forwarded.iter().flatten();
    let values: Vec<u64> = known.copied().collect();
    let shown = values
        .get(values.len().saturating_sub(SHOWN)..)
        .unwrap_or_default();
    let (Some(last), Some(top)) = (shown.last(), shown.iter().max()) else {
        return "…".to_owned();
    };
    let bar = |value: &u64| {
        let step = (value * 7).checked_div(*top).unwrap_or(0);
        let step = usize::try_from(step).unwrap_or(7);
        BARS.get(step).copied().unwrap_or('█')
    };
    let bars: String = shown.iter().map(bar).collect();
    format!("{bars} {} bit/s", bits(*last))
}

fn decisions(reason: &Reason) -> Vec<Line<'static>> {
    if reason.decisions.is_empty() {
        let sound = reason
            .track
            .as_ref()
            .is_some_and(|track| track.kind == "audio");
        let none = match sound {
            true => "Sound needs no decision: all of it is forwarded.",
            false => "Nothing was decided yet: no layer was sent so far.",
        };
        return vec![Line::from(none)];
    }
    let mut lines = vec![named("decided", "newest first")];
    for decision in reason.decisions.iter().rev() {
        let ago = format!("{:.1} s ago", decision.age_ms as f64 / 1_000.0);
        let by = format!("{}: {}", plain(&decision.policy), plain(&decision.reason));
        lines.push(Line::from(format!("{ago:>12}  {by}")));
        lines.push(Line::from(format!(
            "{:>12}  {}",
            "",
            plain(&decision.outcome)
        )));
    }
    lines
}
