//! Log lines, in the router's log, with the plugin's name. WIT: `rillway:policy/log`.
//!
//! A message is cut at 1,024 bytes and control characters are escaped; lines over the plugin's rate are
//! dropped and counted.

use super::backend;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// For whoever works on the plugin.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is not as it should be, and was dealt with.
    Warn,
    /// Something went wrong.
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: &str) {
    backend::write(level, message);
}

/// Writes a line for whoever works on the plugin.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a line that is worth knowing.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a line about what is not as it should be, and was dealt with.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a line about what went wrong.
pub fn error(message: &str) {
    write(Level::Error, message);
}

/// From now on a panic of this component writes its message and place to the log before it traps; without
/// this, the router knows only that there was a trap. To be called in [`Plugin::start`](crate::Plugin::start)
/// by plugins that may log. Natively it does nothing: a test shows its panics anyway.
pub fn panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}
