//! Log lines on standard error: for people or as JSON, at most one per cause and second.

mod format;
mod levels;
mod rate;

#[cfg(test)]
mod tests;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use rate::RateLimit;

pub(crate) use levels::{LevelError, Levels};

/// Checks filter directives (`log.filter`).
///
/// # Errors
/// What is wrong with them.
pub fn check_filter(text: &str) -> Result<(), String> {
    EnvFilter::builder()
        .parse(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Sends the process's log lines to standard error, as configured. Colour only for people, on a terminal,
/// and where `NO_COLOR` is not set.
///
/// Panics become such lines too: one that peers can repeat must not flood standard error, and a JSON log
/// stays JSON.
///
/// # Errors
/// The process logs already.
pub fn install(log: &Log) -> Result<(), TryInitError> {
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (directives, handle) = reload::Layer::new(directives(&log.filter));
    let filter = directives.and(RateLimit::system());
    let layer = layer(log.format, filter, colour, std::io::stderr);
    tracing_subscriber::registry().with(layer).try_init()?;
    let replace = move |filter: &str| {
        // It fails only if the process's log is gone.
        let _ = handle.reload(self::directives(filter));
    };
    let _ = LEVELS.set(Levels::new(&log.filter, replace));
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// The levels of this process's log, if it was installed here.
pub(crate) fn levels() -> Option<&'static Levels> {
    LEVELS.get()
}

/// Other filter directives from now on, if this process's log was installed here.
pub(crate) fn set_filter(filter: &str) {
    if let Some(levels) = levels() {
        levels.configure(filter);
    }
}

/// The TURN library says who does what, with addresses, and what strangers send wrong: nothing for a log, unless
/// somebody asks for one of these by name.
const SILENT: &str = "turn_server_proto=off,turn_types=off,stun_proto=off,stun_types=off";

/// Checked when the configuration was; what does not parse after all falls back to errors only.
fn directives(filter: &str) -> EnvFilter {
    // Of two directives for one target the last one counts.
    EnvFilter::builder().parse_lossy(format!("{SILENT},{filter}"))
}

/// Writes a line for a panic. Where it happened is its cause, so that each place has its own line.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let cause = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("(no text)");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("(no name)");
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(cause, thread, panic = message, backtrace, "panic");
}

/// The layer that writes the lines.
fn layer<S, F, W>(
    format: LogFormat,
    filter: F,
    colour: bool,
    writer: W,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Filter<S> + Send + Sync + 'static,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false);
    match format {
        LogFormat::Human => {
            let lines = lines.event_format(format::Human { colour });
            lines.with_filter(filter).boxed()
        }
        LogFormat::Json => {
            let fields = tracing_subscriber::fmt::format::JsonFields::new();
            let lines = lines
                .fmt_fields(fields)
                .event_format(format::Counted::json());
            lines.with_filter(filter).boxed()
        }
    }
}
