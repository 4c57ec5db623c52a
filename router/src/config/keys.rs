//! The one table of what a reload does with each key. The reference and `docs/configuration.md` are written from it.

use std::fmt::{self, Write};

#[cfg(test)]
use serde_json::Value;

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At once, for everybody.
    AtOnce,
    /// For connections that are made from then on.
    NewConnections,
    /// For those who join, and rooms that open, from then on.
    NewComers,
    /// For instances of the plugin that begin from then on: clients keep theirs, rooms change theirs.
    NewInstances,
    /// Not before a restart: a reload that finds it changed is refused.
    Restart,
}

impl Effect {
    /// Whether a reload can change it.
    #[must_use]
    pub fn is_live(self) -> bool {
        self != Effect::Restart
    }

    /// A few words for tables; stable.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::AtOnce => "at once",
            Effect::NewConnections => "new connections",
            Effect::NewComers => "who comes next",
            Effect::NewInstances => "new instances",
            Effect::Restart => "restart",
        }
    }

    /// A sentence for the reference.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Effect::AtOnce => "A reload changes it at once.",
            Effect::NewConnections => "A reload changes it for new connections.",
            Effect::NewComers => "A reload changes it for those who come next.",
            Effect::NewInstances => "A reload changes it for new instances.",
            Effect::Restart => "To change it needs a restart.",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Every key there is. `*`: any name; `[]`: any element.
const KEYS: &[(&str, Effect)] = {
    use Effect::{AtOnce, NewComers, NewConnections, NewInstances, Restart};
    &[
        ("gateway.listen", Restart),
        ("gateway.page", AtOnce),
        ("gateway.connections_max", NewConnections),
        ("gateway.message_bytes_max", NewConnections),
        ("gateway.messages_per_second_max", NewConnections),
        ("gateway.ping_interval_ms", NewConnections),
        ("gateway.idle_timeout_ms", NewConnections),
        ("gateway.header_timeout_ms", NewConnections),
        ("gateway.resume_ms", NewConnections),
        ("gateway.allowed_origins", NewConnections),
        ("signaling.routes[].path", Restart),
        ("signaling.routes[].plugin", Restart),
        ("signaling.routes[].subprotocol", Restart),
        ("authentication.policy", Restart),
        ("layers.policy", Restart),
        ("layers.every_ms", NewComers),
        ("recording.policy", Restart),
        ("recording.directory", Restart),
        ("recording.free_bytes_min", AtOnce),
        ("recording.sync_every_ms", AtOnce),
        ("recording.queue_packets", Restart),
        ("recording.files_max", AtOnce),
        ("policy.threads", Restart),
        ("policy.instances_max", Restart),
        ("policy.component_bytes_max", Restart),
        ("policy.cache_folder", Restart),
        ("policy.http_ca_file", Restart),
        ("policy.watch_files", Restart),
        ("plugins.*.component", NewInstances),
        ("plugins.*.sha256", NewInstances),
        ("plugins.*.imports", NewInstances),
        ("plugins.*.http_origins", NewInstances),
        ("plugins.*.http_private_networks", NewInstances),
        ("plugins.*.config", NewInstances),
        ("plugins.*.keys.*.algorithm", NewInstances),
        ("plugins.*.keys.*.file", NewInstances),
        ("plugins.*.budgets.call_ms_max", NewInstances),
        ("plugins.*.budgets.memory_bytes_max", NewInstances),
        ("plugins.*.budgets.instances_max", NewInstances),
        ("plugins.*.budgets.calls_per_second_max", NewInstances),
        ("plugins.*.budgets.bytes_per_second_max", NewInstances),
        ("plugins.*.budgets.log_lines_per_second_max", NewInstances),
        ("plugins.*.budgets.kv_bytes_max", NewInstances),
        ("plugins.*.budgets.http_requests_max", NewInstances),
        ("media.workers", Restart),
        ("media.participants_per_part", NewComers),
        ("media.first_port", Restart),
        ("media.udp_ports", Restart),
        ("media.udp_steering", Restart),
        ("media.driver", Restart),
        ("media.tcp", Restart),
        ("media.tcp_connections_max", Restart),
        ("media.tcp_connections_per_address_max", Restart),
        ("media.bind", Restart),
        ("media.interfaces", Restart),
        ("media.public_addresses", Restart),
        ("media.public_address_servers", Restart),
        ("media.receive_buffer_bytes", Restart),
        ("media.send_buffer_bytes", Restart),
        ("media.pin_cpus", Restart),
        ("limits.participants_per_room", NewComers),
        ("limits.rooms", NewComers),
        // What participants were told when they joined, and have negotiated by.
        ("limits.tracks_per_participant", Restart),
        ("limits.subscriptions_per_participant", Restart),
        ("limits.sdp_bytes", Restart),
        ("limits.data_message_bytes", Restart),
        ("limits.data_bytes_per_second", NewComers),
        ("limits.data_queue_bytes", AtOnce),
        ("limits.stun_answers_per_second", AtOnce),
        ("ice.servers[].urls", NewComers),
        ("ice.servers[].username", NewComers),
        ("ice.servers[].credential_file", NewComers),
        ("turn.udp", Restart),
        ("turn.tcp", Restart),
        ("turn.tls", Restart),
        ("turn.host", Restart),
        ("turn.certificate", Restart),
        ("turn.key", Restart),
        ("turn.secret_file", Restart),
        ("turn.realm", Restart),
        ("turn.relay_addresses", Restart),
        ("turn.relay_first_port", Restart),
        ("turn.relay_last_port", Restart),
        ("turn.public_peers", Restart),
        ("turn.credential_seconds", Restart),
        ("turn.allocations_max", Restart),
        ("turn.allocations_per_user_max", Restart),
        ("turn.allocations_per_address_max", Restart),
        ("turn.stranger_answers_per_second", Restart),
        ("metrics.enabled", Restart),
        ("metrics.listen", Restart),
        ("traces.endpoint", Restart),
        ("traces.headers_file", AtOnce),
        ("traces.ca_file", Restart),
        ("traces.sampled_permille", AtOnce),
        ("traces.service_name", Restart),
        ("traces.queue_spans", Restart),
        ("traces.timeout_ms", Restart),
        ("management.listen", Restart),
        ("management.certificate", NewConnections),
        ("management.key", NewConnections),
        ("management.client_ca", NewConnections),
        ("management.connections_max", NewConnections),
        ("management.calls_per_second_max", NewConnections),
        ("management.idle_timeout_ms", NewConnections),
        ("console.listen", Restart),
        ("console.token_file", AtOnce),
        ("log.format", Restart),
        ("log.filter", AtOnce),
        ("reload.watch", AtOnce),
        ("shutdown.notice_ms", AtOnce),
        ("sandbox.files", Restart),
        ("sandbox.read", Restart),
        ("sandbox.write", Restart),
    ]
};

/// What a reload does with a key, by its pattern; what is in no row needs a restart.
pub(super) fn effect(pattern: &str) -> Effect {
    let row = KEYS.iter().find(|(key, _)| *key == pattern);
    row.map_or(Effect::Restart, |(_, effect)| *effect)
}

/// Whether a pattern is a key, not a table of keys.
pub(super) fn is_key(pattern: &str) -> bool {
    KEYS.iter().any(|(key, _)| *key == pattern)
}

/// Keys that stand once in a file, under no name and in no list.
pub(super) fn single() -> impl Iterator<Item = &'static str> {
    let keys = KEYS.iter().map(|(key, _)| *key);
    keys.filter(|key| !key.contains(['*', '[']))
}

/// Pattern of what is below a pattern. Tables whose names the writer chooses have `*` for them.
pub(super) fn below(pattern: &str, name: &str) -> String {
    match pattern {
        "" => name.to_owned(),
        "plugins" | "plugins.*.keys" => format!("{pattern}.*"),
        _ => format!("{pattern}.{name}"),
    }
}

/// Every pattern that a schema has.
#[cfg(test)]
fn of_schema(schema: &Value, pattern: &str, found: &mut Vec<String>) {
    if let Some(tables) = schema["properties"].as_object() {
        for (name, inner) in tables {
            of_schema(inner, &below(pattern, name), found);
        }
    } else if schema["items"]["type"] == "object" {
        of_schema(&schema["items"], &format!("{pattern}[]"), found);
    } else if schema["additionalProperties"].is_object() {
        let inner = &schema["additionalProperties"];
        of_schema(inner, &below(pattern, "*"), found);
    } else {
        found.push(pattern.to_owned());
    }
}

/// What `docs/configuration.md` says of reloads: a row for each kind of effect.
#[must_use]
pub fn reloads() -> String {
    use Effect::{AtOnce, NewComers, NewConnections, NewInstances, Restart};
    let rows = [
        (AtOnce, "at once"),
        (NewConnections, "for connections made from then on"),
        (
            NewComers,
            "for those who join, and rooms that open, from then on",
        ),
        (
            NewInstances,
            "for instances of the plugin from then on: clients keep theirs, rooms change theirs",
        ),
        (
            Restart,
            "after a restart: a reload that finds one changed is refused",
        ),
    ];
    let mut text = "| takes effect | keys |\n|---|---|\n".to_owned();
    for (effect, when) in rows {
        let of_effect = KEYS.iter().filter(|(_, e)| *e == effect);
        let keys: Vec<_> = of_effect.map(|(key, _)| format!("`{key}`")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {when} | {} |", keys.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_exactly_one_row() {
        let mut wanted = Vec::new();
        of_schema(&super::super::schema(), "", &mut wanted);
        let mut rows: Vec<_> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
        wanted.sort();
        rows.sort();
        assert_eq!(
            rows, wanted,
            "router/src/config/keys.rs classifies every key"
        );
    }

    #[test]
    fn the_document_has_the_table() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let text = std::fs::read_to_string(file).expect("docs/configuration.md");
        assert!(
            text.contains(&reloads()),
            "docs/configuration.md is stale: cargo run -- reference reloads"
        );
    }
}
