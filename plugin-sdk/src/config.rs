//! The plugin's own table of the router's TOML. WIT: `rillway:policy/config`.

use std::fmt::Write as _;

use serde::de::value::UnitDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Reads a configuration from JSON text, as `plugins.NAME.config` reaches a plugin.
///
/// # Errors
/// What is wrong and where, for the operator: a member of the wrong type or missing, and every member that
/// `T` has no field for.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let mut unknown = String::new();
    let read = serde_ignored::deserialize(tracked, |path| {
        let separator = if unknown.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(unknown, "{separator}`{path}`");
    });
    let config = read.map_err(|error: serde_json::Error| {
        let at = track.path().to_string();
        // Line and column are those of a text that nobody wrote.
        let text = error.to_string();
        let what = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
        if at == "." {
            format!("config: {what}")
        } else {
            format!("config: `{at}`: {what}")
        }
    })?;
    if unknown.is_empty() {
        Ok(config)
    } else {
        Err(format!("config: there is no key {unknown}"))
    }
}

/// What [`Plugin::start`](crate::Plugin::start) is given: `json` is asked for only if `T` holds anything, so
/// that a plugin without a configuration does not import `config`.
pub(crate) fn read<T: DeserializeOwned>(json: impl FnOnce() -> String) -> Result<T, String> {
    if size_of::<T>() == 0 {
        let unit: UnitDeserializer<serde::de::value::Error> = ().into_deserializer();
        if let Ok(nothing) = T::deserialize(unit) {
            return Ok(nothing);
        }
    }
    parse(&json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    struct Config {
        keys: Vec<Key>,
        #[serde(default)]
        leeway_s: u64,
    }

    #[derive(Debug, serde::Deserialize, PartialEq)]
    struct Key {
        name: String,
    }

    #[test]
    fn a_configuration_is_read() {
        let config: Config = parse(r#"{"keys": [{"name": "a"}], "leeway_s": 5}"#).unwrap();
        assert_eq!(config.keys[0].name, "a");
        assert_eq!(config.leeway_s, 5);
    }

    #[test]
    fn errors_say_where() {
        let error = |json| parse::<Config>(json).unwrap_err();
        assert_eq!(error("{}"), "config: missing field `keys`");
        assert_eq!(
            error(r#"{"keys": [{"name": "a"}, {"name": 3}]}"#),
            "config: `keys[1].name`: invalid type: integer `3`, expected a string"
        );
        assert_eq!(
            error(r#"{"keys": [{"name": "a", "nmae": ""}], "leeway": 5}"#),
            "config: there is no key `keys.0.nmae`, `leeway`"
        );
    }

    #[test]
    fn nothing_is_asked_for_where_nothing_is_wanted() {
        read::<()>(|| panic!("asked for the configuration")).unwrap();

        #[derive(serde::Deserialize)]
        struct Empty {}
        let error = read::<Empty>(|| r#"{"a": 1}"#.to_owned()).map(|Empty {}| ());
        assert_eq!(error.unwrap_err(), "config: there is no key `a`");
    }
}
