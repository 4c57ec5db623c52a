//! Lines in the router's log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::kind::Kind;
use crate::rate::Bucket;

/// Longest message, bytes; the rest is cut (part of the ABI).
const MESSAGE_BYTES_MAX: usize = 1_024;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one plugin.
#[derive(Debug)]
pub(crate) struct Log {
    rate: Mutex<Bucket>,
    lines: AtomicU64,
    dropped: AtomicU64,
}

impl Log {
    pub(crate) fn new(lines_per_second: u32) -> Log {
        Log {
            rate: Mutex::new(Bucket::new(lines_per_second, Instant::now())),
            lines: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_rate(&self, lines_per_second: u32) {
        let bucket = Bucket::new(lines_per_second, Instant::now());
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
    }

    pub(crate) fn write(
        &self,
        plugin: &str,
        kind: Kind,
        level: Level,
        message: &str,
        now: Instant,
    ) {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if !rate.take(1.0, now) {
            drop(rate);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        drop(rate);
        self.lines.fetch_add(1, Relaxed);
        let kind = kind.name();
        let message = clean(message);
        match level {
            Level::Debug => tracing::debug!(target: "rillway::plugin", plugin, kind, "{message}"),
            Level::Info => tracing::info!(target: "rillway::plugin", plugin, kind, "{message}"),
            Level::Warn => tracing::warn!(target: "rillway::plugin", plugin, kind, "{message}"),
            Level::Error => tracing::error!(target: "rillway::plugin", plugin, kind, "{message}"),
        }
    }

    /// Lines written, and dropped because there were too many.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.lines.load(Relaxed), self.dropped.load(Relaxed))
    }
}

/// Cuts a message to its bound and escapes what could forge a line or steer a terminal.
pub(crate) fn clean(message: &str) -> String {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let kept = message.get(..end).unwrap_or_default();
    let mut clean = String::with_capacity(kept.len());
    for c in kept.chars() {
        // The second range turns the direction of text around.
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_forge_a_line() {
        assert_eq!(
            clean("a\nERROR \u{1b}[2J\u{202e}b"),
            "a\\nERROR \\u{1b}[2J\\u{202e}b"
        );
        assert_eq!(clean("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = "ü".repeat(1_000);
        assert_eq!(clean(&long).len(), 1_024);
        let odd = format!("x{long}");
        assert_eq!(clean(&odd).len(), 1_023);
    }

    #[test]
    fn lines_over_the_rate_are_counted() {
        let log = Log::new(5);
        for _ in 0..100 {
            log.write("p", Kind::Signaling, Level::Debug, "x", Instant::now());
        }
        let (lines, dropped) = log.counts();
        assert_eq!(lines + dropped, 100);
        assert!((5..=7).contains(&lines), "{lines}");
    }
}
