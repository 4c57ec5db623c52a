//! What a line looks like.

use std::borrow::Cow;
use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::rate;

/// Lines for people: time, level, place, message, fields, and how many of the same cause were left out.
pub(super) struct Human {
    /// Whether levels are coloured.
    pub(super) colour: bool,
}

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        SystemTime.format_time(&mut writer)?;
        match colour(level).filter(|_| self.colour) {
            Some(colour) => write!(writer, " \u{1b}[{colour}m{level:>5}\u{1b}[0m ")?,
            None => write!(writer, " {level:>5} ")?,
        }
        let mut fields = String::new();
        context.format_fields(Writer::new(&mut fields), event)?;
        write!(
            writer,
            "{}: {}",
            event.metadata().target(),
            harmless(&fields)
        )?;
        match rate::take_left_out() {
            0 => writeln!(writer),
            n => writeln!(writer, " left_out={n}"),
        }
    }
}

/// Colour of a level on a terminal (ECMA-48 SGR).
fn colour(level: Level) -> Option<u8> {
    match level {
        Level::ERROR => Some(31),
        Level::WARN => Some(33),
        Level::INFO => Some(32),
        _ => None,
    }
}

/// What a peer sent may be in it: it must not steer the terminal, nor look like a line of its own.
fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => clean.push_str("\n    "),
            other if other.is_control() => clean.extend(other.escape_default()),
            other => clean.push(other),
        }
    }
    Cow::Owned(clean)
}

/// Lines for machines: tracing-subscriber's JSON, with `left_out` where lines of the same cause were.
pub(super) struct Counted(Format<Json>);

impl Counted {
    pub(super) fn json() -> Self {
        let format = tracing_subscriber::fmt::format::json();
        Counted(
            format
                .flatten_event(true)
                .with_span_list(false)
                .with_ansi(false),
        )
    }
}

impl<S, N> FormatEvent<S, N> for Counted
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        match (rate::take_left_out(), line.trim_end().strip_suffix('}')) {
            (0, _) | (_, None) => writer.write_str(&line),
            (n, Some(open)) => writeln!(writer, "{open},\"left_out\":{n}}}"),
        }
    }
}
