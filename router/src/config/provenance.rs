//! Where a value came from, so that a report points there: the file, a flag, or nowhere (a default).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::error::{ConfigError, Problem};
use super::load::{DEV, Loader};
use super::raw::Raw;
use super::source::{Positions, Source};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file, at this line.
    File {
        /// Its path, as it was given.
        name: String,
        /// From 1.
        line: usize,
    },
    /// A flag of the command line.
    Flag(&'static str),
    /// The program itself, for `rillway dev`.
    Program,
    /// Nowhere.
    Default,
}

impl Origin {
    /// "file", "flag", "program" or "default".
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Origin::File { .. } => "file",
            Origin::Flag(_) => "flag",
            Origin::Program => "program",
            Origin::Default => "default",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Program => f.write_str("rillway dev"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Origins of many keys: the files are parsed once.
pub(super) struct Origins<'a> {
    flags: &'a BTreeMap<&'static str, &'static str>,
    files: Vec<(&'a str, Positions)>,
}

impl Origins<'_> {
    pub(super) fn of(&self, key: &str) -> Origin {
        if let Some(flag) = self.flags.get(key) {
            return Origin::Flag(flag);
        }
        let found = self
            .files
            .iter()
            .find_map(|(name, lines)| Some((name, lines.line(key)?)));
        match found {
            Some((name, line)) => Origin::File {
                name: (*name).to_owned(),
                line,
            },
            None => Origin::Default,
        }
    }
}

/// Origins of a configuration's values.
///
/// Two configurations with the same values are equal wherever the values came from, so all provenances
/// are equal.
#[derive(Clone)]
pub(super) struct Provenance {
    source: Arc<Source>,
    flags: BTreeMap<&'static str, &'static str>,
    /// Who read it, and how it is read again.
    loader: Loader,
    /// What was read, flags included.
    raw: Arc<Raw>,
}

/// Its text and values are not shown: a plugin's own table may hold anything.
impl fmt::Debug for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provenance({})", self.source.name)
    }
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
        loader: Loader,
        raw: Raw,
    ) -> Self {
        Provenance {
            source: Arc::new(source),
            flags,
            loader,
            raw: Arc::new(raw),
        }
    }

    pub(super) fn loader(&self) -> &Loader {
        &self.loader
    }

    pub(super) fn raw(&self) -> &Raw {
        &self.raw
    }

    /// Where each key's value came from.
    pub(super) fn origins(&self) -> Origins<'_> {
        let mut files = vec![(self.source.name.as_str(), Positions::new(&self.source))];
        if !self.loader.is_serve() && self.loader.file.is_some() {
            let built_in = Source::built_in(Loader::DEV_NAME, DEV);
            files.push((Loader::DEV_NAME, Positions::new(&built_in)));
        }
        Origins {
            flags: &self.flags,
            files,
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
        (!self.loader.is_serve()).then_some(flag)
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
