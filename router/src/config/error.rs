//! What is wrong with a configuration, said so that it can be mended.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::Source;

/// A key whose value is only proved by the kernel, when it is bound or applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub(super) &'static str);

impl Key {
    /// `gateway.listen`
    pub const GATEWAY_LISTEN: Key = Key("gateway.listen");
    /// `metrics.listen`
    pub const METRICS_LISTEN: Key = Key("metrics.listen");
    /// `console.listen`
    pub const CONSOLE_LISTEN: Key = Key("console.listen");
    /// `management.listen`
    pub const MANAGEMENT_LISTEN: Key = Key("management.listen");
    /// `turn.udp`
    pub const TURN_UDP: Key = Key("turn.udp");
    /// `turn.tcp`
    pub const TURN_TCP: Key = Key("turn.tcp");
    /// `turn.tls`
    pub const TURN_TLS: Key = Key("turn.tls");
    /// `turn.relay_addresses`
    pub const TURN_RELAY_ADDRESSES: Key = Key("turn.relay_addresses");
    /// `media.workers`
    pub const MEDIA_WORKERS: Key = Key("media.workers");
    /// `media.first_port`
    pub const MEDIA_FIRST_PORT: Key = Key("media.first_port");
    /// `media.bind`
    pub const MEDIA_BIND: Key = Key("media.bind");
    /// `media.interfaces`
    pub const MEDIA_INTERFACES: Key = Key("media.interfaces");
    /// `media.public_address_servers`
    pub const MEDIA_PUBLIC_ADDRESS_SERVERS: Key = Key("media.public_address_servers");
    /// `recording.directory`
    pub const RECORDING_DIRECTORY: Key = Key("recording.directory");
    /// `media.driver`
    pub const MEDIA_DRIVER: Key = Key("media.driver");

    /// The dotted path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A configuration that cannot be used: one problem or several, each with its place in the file.
///
/// Its `Display` is the whole report, without colour; [`ConfigError::render`] is the same with it.
#[derive(Debug)]
pub struct ConfigError {
    source: Option<Source>,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Exit code of the process, `EX_CONFIG` of sysexits.h.
    pub const EXIT_CODE: u8 = 78;

    /// Problems of one file, in the order of the file.
    pub(super) fn new(source: Option<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| {
            p.place
                .as_ref()
                .map_or(usize::MAX, |place| place.span.start)
        });
        ConfigError { source, problems }
    }

    /// What is wrong, one by one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Line and column of a problem, both from 1, if it has a place in the file.
    #[must_use]
    pub fn line_column(&self, problem: &Problem) -> Option<(usize, usize)> {
        let place = problem.place.as_ref()?;
        Some(self.source.as_ref()?.line_column(place.span.start))
    }

    /// The report, with terminal colours if `coloured`.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let reports = self
            .problems
            .iter()
            .map(|p| renderer.render(&[self.group(p)]));
        let mut text = reports.collect::<Vec<_>>().join("\n\n");
        if let ([_, _, ..], Some(source)) = (self.problems.as_slice(), &self.source) {
            text += &format!("\n\n{} problems in `{}`", self.problems.len(), source.name);
        }
        text
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(problem.title.as_str()));
        if let (Some(source), Some(place)) = (&self.source, &problem.place) {
            let mut snippet = Snippet::source(source.text.as_str())
                .path(source.name.as_str())
                .annotation(
                    AnnotationKind::Primary
                        .span(place.span.clone())
                        .label(place.label.as_str()),
                );
            for related in &problem.related {
                let span = AnnotationKind::Context.span(related.span.clone());
                snippet = snippet.annotation(span.label(related.label.as_str()));
            }
            group = group.element(snippet);
        }
        let notes = problem
            .notes
            .iter()
            .map(|text| Level::NOTE.message(text.as_str()));
        let help = problem
            .help
            .iter()
            .map(|text| Level::HELP.message(text.as_str()));
        group.elements(notes).elements(help)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigError {}

/// A piece of the file, pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes of the text.
    pub(super) span: Range<usize>,
    /// What is said beside the caret.
    pub(super) label: String,
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    title: String,
    place: Option<Place>,
    related: Vec<Place>,
    notes: Vec<String>,
    help: Vec<String>,
}

impl Problem {
    pub(super) fn new(title: String) -> Self {
        Problem {
            title,
            place: None,
            related: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What would mend it.
    #[must_use]
    pub fn help_lines(&self) -> &[String] {
        &self.help
    }

    /// Points at a piece of the file that is known to be whole characters.
    pub(super) fn at(mut self, span: Range<usize>, label: &str) -> Self {
        self.place = Some(Place {
            span,
            label: label.to_owned(),
        });
        self
    }

    /// Points at a place; the first is where the problem is, the others explain it.
    pub(super) fn place(mut self, place: Place) -> Self {
        match self.place {
            None => self.place = Some(place),
            Some(_) => self.related.push(place),
        }
        self
    }

    pub(super) fn note(mut self, text: &str) -> Self {
        self.notes.push(text.to_owned());
        self
    }

    pub(super) fn help(mut self, text: &str) -> Self {
        self.help.push(text.to_owned());
        self
    }
}
