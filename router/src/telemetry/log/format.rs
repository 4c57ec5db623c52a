//! What a line looks like: tracing-subscriber's own formats, and how many lines were left out.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::rate;

/// A format that ends its lines with how many of the same cause were left out, if any.
pub(super) struct Counted<F>(F);

impl Counted<Format<Full>> {
    pub(super) fn human(colour: bool) -> Self {
        Counted(tracing_subscriber::fmt::format().with_ansi(colour))
    }
}

impl Counted<Format<Json>> {
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

impl<S, N> FormatEvent<S, N> for Counted<Format<Full>>
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
        match rate::take_left_out() {
            0 => writer.write_str(&line),
            n => writeln!(writer, "{} left_out={n}", line.trim_end()),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Counted<Format<Json>>
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
