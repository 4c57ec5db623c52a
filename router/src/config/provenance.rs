//! Where a value came from, so that a report points there: the file, a flag, or nowhere (a default).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{ConfigError, Problem};
use super::raw::Raw;
use super::source::Source;

/// Origins of a configuration's values.
///
/// Two configurations with the same values are equal wherever the values came from, so all provenances
/// are equal.
#[derive(Debug, Clone)]
pub(super) struct Provenance {
    source: Arc<Source>,
    flags: BTreeMap<&'static str, &'static str>,
    /// Whether flags can be given for values (`rillway dev`).
    takes_flags: bool,
}

impl PartialEq for Provenance {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Provenance {}

impl Provenance {
    pub(super) fn new(
        source: Source,
        flags: BTreeMap<&'static str, &'static str>,
        takes_flags: bool,
    ) -> Self {
        let source = Arc::new(source);
        Provenance {
            source,
            flags,
            takes_flags,
        }
    }

    /// The flag that would change a key, if there is one.
    pub(super) fn flag_for(&self, key: &str) -> Option<&'static str> {
        let flag = match key {
            "gateway.listen" => "--listen ADDR",
            "metrics.listen" => "--metrics ADDR",
            "media.first_port" => "--first-port PORT",
            "media.driver" => "--driver DRIVER",
            _ => return None,
        };
        self.takes_flags.then_some(flag)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn error(&self, problems: Vec<Problem>) -> ConfigError {
        ConfigError::new(Some(self.source().clone()), problems)
    }

    /// Points a problem at the value of a key: its place in the file, else a note that says where the
    /// value is from. The first call makes the place of the problem, the next ones explain it.
    pub(super) fn point(&self, problem: Problem, key: &str, label: &str) -> Problem {
        if let Some(flag) = self.flags.get(key) {
            return problem.note(&format!("`{key}` is set by `{flag}` on the command line"));
        }
        if let Some(span) = self.source.find(key) {
            return problem.place(self.source.place(span.value, label));
        }
        match default_value(key) {
            Some(value) => problem.note(&format!(
                "`{key}` is not in `{}`; its default is {value}",
                self.source.name
            )),
            None => problem.note(&format!("`{key}` is not in `{}`", self.source.name)),
        }
    }
}

/// A key's default, as TOML.
fn default_value(key: &str) -> Option<String> {
    let defaults = toml::Value::try_from(Raw::default()).ok()?;
    let value = key
        .split('.')
        .try_fold(&defaults, |value, step| value.get(step))?;
    Some(value.to_string())
}
