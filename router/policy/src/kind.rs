//! The four interfaces a component may export, and what it may import.

use std::fmt;

/// What a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Who may join.
    Authentication,
    /// What a client says and hears beside media.
    Signaling,
    /// Which layer of each video track each subscriber gets.
    LayerSelection,
    /// What is recorded.
    Recording,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [
        Kind::Authentication,
        Kind::Signaling,
        Kind::LayerSelection,
        Kind::Recording,
    ];

    /// Name of the interface in the WIT; also its label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Authentication => "authentication",
            Kind::Signaling => "signaling",
            Kind::LayerSelection => "layer-selection",
            Kind::Recording => "recording",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin may ask of the host; each is an interface it may import if the operator grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Lines in the router's log.
    Log,
    /// Counters and observations of its own.
    Metrics,
    /// Its table of the router's TOML.
    Config,
    /// Time.
    Clock,
    /// A store that all instances of the plugin share.
    Kv,
    /// Signatures, with keys that stay with the host.
    Crypto,
    /// HTTP requests to origins that the operator lists.
    Http,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Capability; 7] = [
        Capability::Log,
        Capability::Metrics,
        Capability::Config,
        Capability::Clock,
        Capability::Kv,
        Capability::Crypto,
        Capability::Http,
    ];

    /// Name of the interface in the WIT, and in `plugins.NAME.imports`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Capability::Log => "log",
            Capability::Metrics => "metrics",
            Capability::Config => "config",
            Capability::Clock => "clock",
            Capability::Kv => "kv",
            Capability::Crypto => "crypto",
            Capability::Http => "http",
        }
    }

    /// The capability of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Capability> {
        Capability::ALL
            .into_iter()
            .find(|capability| capability.name() == name)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
