//! What can go wrong: in the host, when a plugin is loaded, and in a call.

use std::path::PathBuf;
use std::time::Duration;

use crate::kind::{Capability, Kind};

/// The host cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A value of the configuration.
    #[error("policy.{key}: {problem}")]
    Config {
        /// Name of the value.
        key: &'static str,
        /// What is wrong with it and how to mend it.
        problem: String,
    },
    /// wasmtime does not start, mostly because address space is short.
    #[error(
        "the WebAssembly engine does not start: {0}; lower policy.instances or raise `ulimit -v`"
    )]
    Engine(String),
    /// A thread cannot be made.
    #[error("no thread for policies: {0}")]
    Thread(std::io::Error),
}

/// A plugin cannot be loaded. Whatever ran before goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("plugin {plugin}: cannot read {path}: {error}", path = path.display())]
    File {
        /// Name of the plugin.
        plugin: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The component is too large.
    #[error(
        "plugin {plugin}: the component has {bytes} bytes, at most {max}: build it with `opt-level = \"s\"` and \
         without debug information, or raise policy.component_bytes_max"
    )]
    TooLarge {
        /// Name of the plugin.
        plugin: String,
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// The file is not the one that was pinned.
    #[error(
        "plugin {plugin}: SHA-256 is {found}, but plugins.{plugin}.sha256 says {pinned}: restore the file, or pin \
         the new one after a review"
    )]
    Pin {
        /// Name of the plugin.
        plugin: String,
        /// Digest of the file, hexadecimal.
        found: String,
        /// Digest in the configuration, hexadecimal.
        pinned: String,
    },
    /// The bytes are no component.
    #[error("plugin {plugin}: {problem}")]
    Invalid {
        /// Name of the plugin.
        plugin: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A capability was not granted.
    #[error(
        "plugin {plugin} imports `{capability}`, which is not granted: add \"{capability}\" to \
         plugins.{plugin}.imports, or use a component that does without"
    )]
    NotGranted {
        /// Name of the plugin.
        plugin: String,
        /// What it wants.
        capability: Capability,
    },
    /// An import that this router does not have.
    #[error("plugin {plugin} imports `{import}`, which no router has: {mend}")]
    UnknownImport {
        /// Name of the plugin.
        plugin: String,
        /// What it wants.
        import: String,
        /// How to mend it.
        mend: &'static str,
    },
    /// An interface that a plugin must have is missing.
    #[error("plugin {plugin} does not export `{export}`: {mend}")]
    MissingExport {
        /// Name of the plugin.
        plugin: String,
        /// What is missing.
        export: String,
        /// How to mend it.
        mend: &'static str,
    },
    /// Built for another version of the ABI.
    #[error(
        "plugin {plugin} was built for `{found}`, and this router speaks {known}: rebuild it with an SDK of that \
         version, or use a router that speaks the other"
    )]
    Version {
        /// Name of the plugin.
        plugin: String,
        /// Interface with the version that was found.
        found: String,
        /// Versions that are known.
        known: String,
    },
    /// Interfaces of two versions in one component.
    #[error(
        "plugin {plugin} has interfaces of two versions of the ABI, {first} and `{found}`: build all of it \
         against one WIT"
    )]
    MixedVersions {
        /// Name of the plugin.
        plugin: String,
        /// Version of what came first.
        first: &'static str,
        /// Interface of another version.
        found: String,
    },
    /// A bound that the host's own configuration does not allow.
    #[error("plugins.{plugin}.{key}: {problem}")]
    Budget {
        /// Name of the plugin.
        plugin: String,
        /// Name of the bound.
        key: &'static str,
        /// What is wrong with it and how to mend it.
        problem: String,
    },
    /// The trial instance failed.
    #[error("plugin {plugin}: its first instance failed: {fault}")]
    Trial {
        /// Name of the plugin.
        plugin: String,
        /// How.
        fault: Fault,
    },
    /// A reload dropped an interface that is in use.
    #[error(
        "plugin {plugin}: the new version does not export `{kind}`, which the running one does: load it under \
         another name, or restart the router"
    )]
    KindLost {
        /// Name of the plugin.
        plugin: String,
        /// What is missing.
        kind: Kind,
    },
    /// The host has been shut down.
    #[error("plugin {plugin}: the plugin host has been shut down")]
    ShutDown {
        /// Name of the plugin.
        plugin: String,
    },
}

/// A bound that a returned value passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Excess {
    /// More bytes than a call may hand out.
    #[error("bytes handed to the router")]
    Bytes,
    /// More commands than 4,096.
    #[error("commands of one call")]
    Commands,
    /// More choices than there are subscriptions.
    #[error("choices of one call")]
    Choices,
    /// More orders than 1,024.
    #[error("orders of one call")]
    Orders,
    /// A text, a list or a number over its bound; says which.
    #[error("{0}")]
    Value(&'static str),
}

/// Why the host did not even try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The plugin has as many instances as it may.
    #[error("it has as many instances as it may")]
    Instances,
    /// The plugin is called more often than it may be, or with more bytes.
    #[error("it has been called as often as it may be")]
    Rate,
    /// No instance became free in time.
    #[error("all its instances are busy")]
    Busy,
    /// Faults have opened the breaker.
    #[error("its breaker is open for another {} ms", retry_in.as_millis())]
    BreakerOpen {
        /// When a trial is made.
        retry_in: Duration,
    },
}

/// A plugin did not do what it should, or was not asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ended abnormally: a panic, an access out of bounds, a full stack, or a value that is none.
    #[error("the plugin trapped: {0}")]
    Trapped(String),
    /// It took too long.
    #[error("the plugin took longer than {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It trapped after it was refused memory or table space.
    #[error("the plugin wanted more memory than it may have")]
    Memory,
    /// It returned more than it may.
    #[error("the plugin exceeded a bound: {0}")]
    Excess(Excess),
    /// `lifecycle.start` returned an error; the text is the plugin's.
    #[error("the plugin does not start: {0}")]
    Start(String),
    /// It was not called.
    #[error("the plugin was not called: {0}")]
    Refused(Refusal),
    /// The instance is gone: it failed before, or the host has been shut down.
    #[error("the instance is gone")]
    Gone,
}

impl Fault {
    /// Whether the instance is lost with it. After a refusal it can be called again.
    #[must_use]
    pub const fn ends_instance(&self) -> bool {
        !matches!(self, Fault::Refused(_))
    }

    /// Whether the plugin is to blame, so that breakers count it.
    pub(crate) const fn is_plugins(&self) -> bool {
        !matches!(self, Fault::Refused(_) | Fault::Gone)
    }

    /// Label in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Fault::Trapped(_) => "trapped",
            Fault::Timeout(_) => "timeout",
            Fault::Memory => "memory",
            Fault::Excess(_) => "excess",
            Fault::Start(_) => "start",
            Fault::Refused(_) => "refused",
            Fault::Gone => "gone",
        }
    }
}
