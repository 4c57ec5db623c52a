//! `[sandbox]`: which files the process keeps within reach.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of the file system `rillway serve` keeps to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sandbox {
    /// Whether the rest is out of reach.
    pub files: Confinement,
    /// Folders and files that are read: those of every file that the configuration names, and more as it says.
    pub read: Vec<PathBuf>,
    /// Folders that are written: recordings, compiled components, the configuration's own, and more as it says.
    pub write: Vec<PathBuf>,
}

/// `sandbox.files`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confinement {
    /// Where the kernel can; a log line says what came of it.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// Or the process ends with an error that says why not.
    Required,
}

/// Which files the process can reach at all, for good, even if somebody takes it over (Landlock, Linux 5.13): those
/// that this file names, folders of the system for names, certificates and time, and what is said here. No program can
/// be started from it. `rillway serve` alone does this.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSandbox {
    /// Whether it is done.
    pub(super) files: Confinement,
    /// Folders and files to be read beside them, relative to this file: where a later reload shall find its files.
    #[schemars(length(max = 64))]
    pub(super) read: Vec<PathBuf>,
    /// Folders to be written beside them, relative to this file.
    #[schemars(length(max = 64))]
    pub(super) write: Vec<PathBuf>,
}
