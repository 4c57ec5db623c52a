//! A running configuration beside its file: every key with its origin, what differs, and whether a reload can
//! change it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, Problem};
use super::keys::{self, Effect};
use super::provenance::Origin;
use super::source::Source;
use super::{Config, Secret};

/// In place of a value that may be secret.
const HIDDEN: &str = "(not shown)";

/// A key of a running configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted path; elements of lists are `[n]`.
    pub key: String,
    /// Its value as TOML; `None`: it has none. What only a plugin understands is not shown: it may be secret.
    pub value: Option<String>,
    /// Where it is from.
    pub origin: Origin,
    /// When a change takes effect.
    pub effect: Effect,
}

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its dotted path.
    pub key: String,
    /// The value in force, as TOML; `None`: there is none.
    pub before: Option<String>,
    /// The other one.
    pub after: Option<String>,
    /// The file that it names has another content.
    pub content: bool,
    /// Where the other one is from.
    pub origin: Origin,
    /// When it takes effect.
    pub effect: Effect,
}

/// Why a configuration's file is not read again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RereadError {
    /// There is none.
    #[error("this router runs without a configuration file")]
    NoFile,
    /// It cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

/// A value beside the pattern of its key.
struct Leaf {
    pattern: String,
    value: toml::Value,
}

impl Leaf {
    fn shown(&self) -> String {
        match self.pattern.as_str() {
            "plugins.*.config" => HIDDEN.to_owned(),
            _ => self.value.to_string(),
        }
    }
}

impl Config {
    /// The file that it was read from, if it was.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.provenance.loader().file.clone()
    }

    /// Whether `rillway serve` reads such a configuration: its process has nobody in front of it.
    pub(crate) fn is_served(&self) -> bool {
        self.provenance.loader().is_serve()
    }

    /// Reads its file again, as at the start: with the same flags before it.
    ///
    /// # Errors
    /// [`RereadError`], with everything that is wrong.
    pub fn reread(&self) -> Result<Config, RereadError> {
        let file = self.file().ok_or(RereadError::NoFile)?;
        self.read(Source::read(&file)?)
    }

    /// Reads a text as if it stood in its file.
    ///
    /// # Errors
    /// [`RereadError`], with everything that is wrong.
    pub fn reread_as(&self, name: &str, text: &str) -> Result<Config, RereadError> {
        let file = self.file().ok_or(RereadError::NoFile)?;
        let mut source = Source::built_in(name, text);
        source.folder = file.parent().map(PathBuf::from).unwrap_or_default();
        self.read(source)
    }

    fn read(&self, source: Source) -> Result<Config, RereadError> {
        let mut config = Config::from_source(source, self.provenance.loader().clone())?;
        // What the program made for itself is no key's, and stays.
        if self.provenance.raw().management.listen.is_none()
            && config.provenance.raw().management.listen.is_none()
        {
            config.management.clone_from(&self.management);
        }
        if self.provenance.raw().console.listen.is_none()
            && config.provenance.raw().console.listen.is_none()
        {
            config.console.clone_from(&self.console);
        }
        if let (Some(ours), Some(theirs)) = (&self.recorder, &mut config.recorder)
            && ours.temporary
            && theirs.temporary
        {
            theirs.directory.clone_from(&ours.directory);
        }
        Ok(config)
    }

    /// Every key with its value and origin, by key.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut leaves = self.leaves();
        let origins = self.provenance.origins();
        let origin = |key: &str| origins.of(key);
        let shown = |(key, leaf): (&String, &Leaf)| Setting {
            origin: origin(key),
            effect: keys::effect(&leaf.pattern),
            value: Some(leaf.shown()),
            key: key.clone(),
        };
        let mut settings: Vec<_> = leaves.iter().map(shown).collect();
        for key in keys::single() {
            if leaves.remove(key).is_none() {
                settings.push(Setting {
                    key: key.to_owned(),
                    value: None,
                    origin: origin(key),
                    effect: keys::effect(key),
                });
            }
        }
        for (key, value) in self.made() {
            for setting in settings.iter_mut().filter(|s| s.key == key) {
                setting.value = Some(toml::Value::String(value.clone()).to_string());
                setting.origin = Origin::Program;
            }
        }
        settings.sort_by(|a, b| a.key.cmp(&b.key));
        settings
    }

    /// What `rillway dev` has made for itself.
    fn made(&self) -> Vec<(&'static str, String)> {
        let mut made = Vec::new();
        if let Some(recorder) = self.recorder.as_ref().filter(|r| r.temporary) {
            let folder = recorder.directory.display().to_string();
            made.push(("recording.directory", folder));
        }
        let written = self.provenance.raw().management.listen;
        if let (Some(management), None) = (&self.management, written) {
            made.push(("management.listen", management.listen.to_string()));
        }
        let written = self.provenance.raw().console.listen;
        if let (Some(console), None) = (&self.console, written) {
            made.push(("console.listen", console.listen.to_string()));
        }
        made
    }

    /// Keys by which another configuration differs from this one, by key.
    #[must_use]
    pub fn changes(&self, other: &Config) -> Vec<Change> {
        let (before, after) = (self.leaves(), other.leaves());
        let origins = other.provenance.origins();
        let mut changes = Vec::new();
        let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (old, new) = (before.get(key), after.get(key));
            if old.map(|leaf| &leaf.value) == new.map(|leaf| &leaf.value) {
                continue;
            }
            let pattern = new.or(old).map_or("", |leaf| leaf.pattern.as_str());
            changes.push(Change {
                key: key.clone(),
                before: old.map(Leaf::shown),
                after: new.map(Leaf::shown),
                content: false,
                origin: origins.of(key),
                effect: self.effect(other, key, pattern),
            });
        }
        let (old, new) = (self.contents(), other.contents());
        for (key, content) in old {
            let differs = new.get(&key).is_some_and(|new| *new != content);
            let leaf = after.get(&key).filter(|_| differs);
            if let Some(leaf) = leaf
                && !changes.iter().any(|change| change.key == key)
            {
                changes.push(Change {
                    before: Some(leaf.shown()),
                    after: Some(leaf.shown()),
                    content: true,
                    origin: origins.of(&key),
                    effect: self.effect(other, &key, &leaf.pattern),
                    key,
                });
            }
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    }

    /// Plugins can be changed where they are loaded; to come or go they need a restart.
    fn effect(&self, other: &Config, key: &str, pattern: &str) -> Effect {
        let name = key
            .strip_prefix("plugins.")
            .and_then(|k| k.split('.').next());
        let loaded = |name| self.plugins.contains_key(name) && other.plugins.contains_key(name);
        match name {
            Some(name) if !loaded(name) => Effect::Restart,
            _ => keys::effect(pattern),
        }
    }

    /// The report of a reload that is refused because of keys that need a restart; `None`: there is none.
    /// `self` is the one that was read.
    #[must_use]
    pub fn needs_restart(&self, changes: &[Change]) -> Option<ConfigError> {
        let problem = |change: &Change| {
            let shown = |value: &Option<String>| match value {
                Some(value) => format!("`{value}`"),
                None => "not set".to_owned(),
            };
            let title = format!(
                "`{}` cannot change while the router runs: it is {}, and was read as {}",
                change.key,
                shown(&change.before),
                shown(&change.after)
            );
            let problem = Problem::new(title);
            let problem = self
                .provenance
                .point(problem, &change.key, "needs a restart");
            problem.help("restart the router to use it, or set it back")
        };
        let fixed = changes.iter().filter(|change| !change.effect.is_live());
        let problems: Vec<_> = fixed.map(problem).collect();
        (!problems.is_empty()).then(|| self.provenance.error(problems))
    }

    /// Every key that has a value.
    fn leaves(&self) -> BTreeMap<String, Leaf> {
        let mut leaves = BTreeMap::new();
        // A struct of tables is always one.
        if let Ok(value) = toml::Value::try_from(self.provenance.raw()) {
            flatten(String::new(), String::new(), value, &mut leaves);
        }
        leaves
    }

    /// What was read from files that keys name.
    fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let reveal = |secret: &Secret| secret.reveal().to_owned();
        for (index, server) in self.ice_servers.iter().enumerate() {
            if let Some(credential) = &server.credential {
                let key = format!("ice.servers[{index}].credential_file");
                contents.insert(key, reveal(credential));
            }
        }
        for (name, plugin) in &self.plugins {
            for (key, material) in &plugin.keys {
                let key = format!("plugins.{name}.keys.{key}.file");
                contents.insert(key, reveal(&material.material));
            }
        }
        if let (Some(console), Some(_)) = (&self.console, self.provenance.raw().console.listen) {
            contents.insert("console.token_file".to_owned(), reveal(&console.token));
        }
        if let Some(traces) = &self.traces {
            let line = |(name, value): &(String, Secret)| format!("{name}: {}\n", value.reveal());
            let headers = traces.headers.iter().map(line).collect();
            contents.insert("traces.headers_file".to_owned(), headers);
            contents.insert("traces.ca_file".to_owned(), traces.authorities.clone());
        }
        if let Some(turn) = &self.turn {
            let secret = turn
                .secret
                .as_ref()
                .map(|s| ("turn.secret_file", reveal(s)));
            contents.extend(secret.map(|(key, text)| (key.to_owned(), text)));
            if let Some(identity) = &turn.identity {
                let files = [
                    ("turn.certificate", identity.certificate.clone()),
                    ("turn.key", reveal(&identity.key)),
                ];
                contents.extend(files.map(|(key, text)| (key.to_owned(), text)));
            }
        }
        if let (Some(management), Some(_)) =
            (&self.management, self.provenance.raw().management.listen)
        {
            let identity = &management.identity;
            let files = [
                ("management.certificate", identity.certificate.clone()),
                ("management.key", reveal(&identity.key)),
                ("management.client_ca", identity.authority.clone()),
            ];
            contents.extend(files.map(|(key, text)| (key.to_owned(), text)));
        }
        contents
    }
}

fn flatten(key: String, pattern: String, value: toml::Value, leaves: &mut BTreeMap<String, Leaf>) {
    if keys::is_key(&pattern) {
        leaves.insert(key, Leaf { pattern, value });
        return;
    }
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let inner = match key.as_str() {
                    "" => name.clone(),
                    key => format!("{key}.{name}"),
                };
                flatten(inner, keys::below(&pattern, &name), value, leaves);
            }
        }
        toml::Value::Array(list) => {
            for (index, value) in list.into_iter().enumerate() {
                let inner = format!("{key}[{index}]");
                flatten(inner, format!("{pattern}[]"), value, leaves);
            }
        }
        // There is a row for every key: a test sees to that.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Overrides;
    use super::*;

    fn parsed(text: &str) -> Config {
        let text = format!("authentication.policy = \"auth-open\"\n{text}");
        Config::parse("a.toml", &text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_value_has_its_origin() {
        let overrides = Overrides {
            workers: Some(3),
            ..Overrides::default()
        };
        let dev = Config::load_dev(None, &overrides).expect("valid");
        let settings = dev.settings();
        let origin = |key: &str| {
            let found = settings.iter().find(|setting| setting.key == key);
            found.expect("every key is listed").origin.to_string()
        };
        assert_eq!(origin("media.workers"), "--workers");
        assert_eq!(origin("media.driver"), "default");
        assert_eq!(origin("recording.directory"), "rillway dev");
        assert!(origin("log.format").starts_with("config/dev.toml (built in):"));
        for key in keys::single() {
            let rows = settings.iter().filter(|setting| setting.key == key);
            assert_eq!(rows.count(), 1, "{key}");
        }
    }

    #[test]
    fn a_table_of_a_plugin_is_compared_and_not_shown() {
        let with = |key: &str| parsed(&format!("[plugins.auth-jwt.config]\nissuer = \"{key}\"\n"));
        let changes = with("hush").changes(&with("quiet"));
        let [change] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!(change.key, "plugins.auth-jwt.config");
        assert_eq!(
            (&*change.after.clone().expect("set"), change.effect),
            (HIDDEN, Effect::NewInstances)
        );
        let shown = format!("{:?}", with("hush").settings());
        assert!(!shown.contains("hush"));
    }

    #[test]
    fn plugins_come_and_go_with_a_restart_and_keys_that_go_are_named() {
        let (none, one) = (
            parsed(""),
            parsed("[plugins.auth-jwt]\nimports = [\"log\"]\n"),
        );
        for (before, after) in [(&none, &one), (&one, &none)] {
            let changes = before.changes(after);
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert_eq!(changes[0].effect, Effect::Restart);
        }
        let (less, all) = (parsed("media.workers = 2\n"), parsed(""));
        let changes = less.changes(&all);
        let report = all.needs_restart(&changes).expect("it does").to_string();
        assert!(
            report.contains("`media.workers` is not in `a.toml`; its default is 0"),
            "{report}"
        );
        assert_eq!(less.changes(&less), []);
        assert!(matches!(less.reread(), Err(RereadError::NoFile)));
    }
}
