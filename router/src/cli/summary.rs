//! What a valid configuration means, in a few lines for people.

use std::fmt::Write;

use crate::config::{Component, Config, DriverChoice};

/// The answer of `rillway check`.
pub(super) fn summary(name: &str, config: &Config) -> String {
    let mut text = format!("{name} is valid\n");
    let mut line = |what: &str, meaning: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {what:<15}{meaning}");
    };
    line("gateway", format!("TCP {}", config.gateway.listen));
    line("media", media(config));
    line(
        "metrics",
        config
            .metrics
            .map_or("off".to_owned(), |m| format!("TCP {}", m.listen)),
    );
    line(
        "authentication",
        match config.authentication.as_str() {
            "auth-open" => "auth-open: whoever reaches the gateway may join any room".to_owned(),
            other => other.to_owned(),
        },
    );
    for route in &config.signaling_routes {
        let transport = match &route.subprotocol {
            Some(subprotocol) => format!("WebSocket {subprotocol}"),
            None => "HTTP".to_owned(),
        };
        line(
            "signaling",
            format!("{} by {}, {transport}", route.path, route.plugin),
        );
    }
    let layers = config.layers.as_ref().map(|layers| layers.policy.clone());
    line(
        "layers",
        layers.unwrap_or_else(|| "by the router itself".to_owned()),
    );
    if let Some(recording) = &config.recording {
        line("recording", recorded(recording, config));
    }
    for (name, plugin) in &config.plugins {
        if let Component::File(file) = &plugin.component {
            line("plugin", format!("{name} from {}", file.display()));
        }
    }
    if !config.ice_servers.is_empty() {
        let urls = config.ice_servers.iter().flat_map(|s| &s.urls);
        line(
            "ice servers",
            urls.map(String::as_str).collect::<Vec<_>>().join(", "),
        );
    }
    text
}

fn recorded(policy: &str, config: &Config) -> String {
    match &config.recorder {
        Some(recorder) => format!("{policy}, into {}", recorder.directory.display()),
        None => format!("{policy}, but nothing is recorded: `recording.directory` is not set"),
    }
}

fn media(config: &Config) -> String {
    let media = &config.media;
    let workers = media.workers.get();
    let ports = match (media.first_port, workers) {
        (0, _) => "any free UDP ports".to_owned(),
        (first, 1) => format!("UDP {first}"),
        (first, _) if media.shares_port() => format!("one UDP port, {first},"),
        (first, _) => format!("UDP {first} to {}", media.port(workers - 1)),
    };
    let addresses = match media.bind.as_slice() {
        [] if !media.interfaces.is_empty() => format!("interfaces {}", media.interfaces.join(", ")),
        [] => "every interface".to_owned(),
        some => some
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let driver = match media.driver {
        DriverChoice::Auto => "auto",
        DriverChoice::Ring => "ring",
        DriverChoice::Mmsg => "mmsg",
    };
    let plural = if workers == 1 { "" } else { "s" };
    let tcp = match (&media.tcp, media.first_port) {
        (None, _) => String::new(),
        (Some(_), first) if media.shares_port() && first != 0 => {
            format!(", TCP {first} to {}", first.saturating_add(workers - 1))
        }
        (Some(_), _) => ", TCP too".to_owned(),
    };
    let mut text =
        format!("{ports} on {addresses}{tcp}, {workers} worker{plural}, driver {driver}");
    if !media.public_addresses.is_empty() {
        let public = media.public_addresses.iter().map(ToString::to_string);
        let _ = write!(text, ", told as {}", public.collect::<Vec<_>>().join(", "));
    }
    if !media.public_address_servers.is_empty() {
        let servers = media.public_address_servers.join(", ");
        let _ = write!(text, ", told as {servers} will say");
    }
    text
}
