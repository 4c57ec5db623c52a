//! Scripts: inputs of a policy, one JSON value a line.
//!
//! The values are those of the SDK, with names in snake_case: an attempt of authentication, an input of
//! signaling, a view of layer selection, an event of recording. Empty lines and lines that begin with `#` do
//! not count.

use rillway_policy::{Calls, Key, KeyProblem, Kind, PluginSpec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A line of a script is no input.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: this is no input of {kind}: {problem}")]
pub struct ScriptError {
    file: String,
    line: usize,
    kind: Kind,
    problem: String,
}

/// What is played where no script is named.
pub(super) fn of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Authentication => include_str!("scripts/authentication.jsonl"),
        Kind::Signaling => include_str!("scripts/signaling.jsonl"),
        Kind::LayerSelection => include_str!("scripts/layer-selection.jsonl"),
        Kind::Recording => include_str!("scripts/recording.jsonl"),
    }
}

/// What is played to a component that is part of the program: it speaks that one's protocol.
pub(super) fn of_shipped(name: &str) -> Option<&'static str> {
    match name {
        "auth-jwt" => Some(include_str!("scripts/auth-jwt.jsonl")),
        "signaling-rooms" => Some(include_str!("scripts/signaling-rooms.jsonl")),
        "signaling-whip" => Some(include_str!("scripts/signaling-whip.jsonl")),
        _ => None,
    }
}

/// Gives a component that is part of the program, and needs a configuration, one that its script is for.
/// Returns whether it did.
///
/// # Errors
/// The host does not take it: a fault of this program.
pub(super) fn configure_shipped(name: &str, spec: &mut PluginSpec) -> Result<bool, KeyProblem> {
    // For measurements only: everybody knows it.
    let secret = || Key::secret(b"a secret for measurements, known to everybody");
    match name {
        "auth-jwt" => {
            spec.config = json!({ "keys": [{ "name": "main" }], "require_exp": false });
            spec.keys.insert("main".to_owned(), secret()?);
        }
        // Nobody answers there: the question is measured, and saying no.
        "auth-webhook" => {
            spec.config = json!({ "url": "http://127.0.0.1:9/join", "key": "webhook" });
            spec.keys.insert("webhook".to_owned(), secret()?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads a script. `file` is for errors.
///
/// # Errors
/// The first line that is no input of the kind.
pub(super) fn parse(kind: Kind, text: &str, file: &str) -> Result<Calls, ScriptError> {
    Ok(match kind {
        Kind::Authentication => Calls::Authentication(lines(kind, text, file)?),
        Kind::Signaling => Calls::Signaling(lines(kind, text, file)?),
        Kind::LayerSelection => Calls::LayerSelection(lines(kind, text, file)?),
        Kind::Recording => Calls::Recording(lines(kind, text, file)?),
    })
}

/// The lines that count, with their numbers.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| (index + 1, line))
}

fn lines<T: DeserializeOwned>(kind: Kind, text: &str, file: &str) -> Result<Vec<T>, ScriptError> {
    let parse = |(line, text)| {
        serde_json::from_str(text).map_err(|error: serde_json::Error| ScriptError {
            file: file.to_owned(),
            line,
            kind,
            problem: error.to_string(),
        })
    };
    numbered(text).map(parse).collect()
}

/// The inputs as they are written, for showing them again.
pub(super) fn values(text: &str) -> Vec<Value> {
    numbered(text)
        .filter_map(|(_, line)| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_shipped_component_has_a_script_that_can_be_read() {
        for kind in Kind::ALL {
            let calls = parse(kind, of_kind(kind), kind.name()).expect("a script");
            assert_eq!(calls.kind(), kind);
            assert_eq!(calls.len(), values(of_kind(kind)).len());
            assert!(!calls.is_empty());
        }
        for (name, _) in rillway_components::COMPONENTS {
            let kind = match name.split_once('-').map(|(kind, _)| kind) {
                Some("auth") => Kind::Authentication,
                Some("signaling") => Kind::Signaling,
                Some("layers") => Kind::LayerSelection,
                _ => Kind::Recording,
            };
            if let Some(script) = of_shipped(name) {
                parse(kind, script, name).expect("a script");
            }
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let script = "# first\n\n\"tick\"\n{\"tock\": 1}\n";
        let error = parse(Kind::Signaling, script, "s.jsonl").expect_err("wrong");
        let error = error.to_string();
        assert!(
            error.starts_with("s.jsonl:4: this is no input of signaling"),
            "{error}"
        );
        assert!(error.contains("tock"), "{error}");
    }
}
