//! A configuration file's text, and where in it a key is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Problem};

/// A longer file is not a configuration; the bound keeps `--config /dev/zero` from filling memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The text of a file, whole and valid UTF-8.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What reports call it: the path as it was given.
    pub(super) name: String,
    /// Folder that relative paths in it start from.
    pub(super) folder: PathBuf,
    /// Its text.
    pub(super) text: String,
}

/// Where a key stands in a file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// The key itself.
    pub(super) key: Range<usize>,
    /// Its value.
    pub(super) value: Range<usize>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is longer than 1 MiB, or is not UTF-8.
    pub(super) fn read(path: &Path) -> Result<Source, ConfigError> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| ConfigError::new(None, vec![unreadable(&name, &error)]))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let problem = Problem::new(format!(
                "`{name}` is longer than 1 MiB, which no configuration is"
            ));
            return Err(ConfigError::new(None, vec![problem]));
        }
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source { name, folder, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                // The text before the fault is unchanged by this, so the position holds.
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
                let problem = Problem::new("this is not UTF-8".to_owned())
                    .at(at..end, "this byte belongs to no character")
                    .help("save the file as UTF-8, as TOML asks for");
                Err(ConfigError::new(
                    Some(Source { name, folder, text }),
                    vec![problem],
                ))
            }
        }
    }

    /// A text that is part of the program.
    pub(super) fn built_in(name: &str, text: &str) -> Source {
        Source {
            name: name.to_owned(),
            folder: PathBuf::new(),
            text: text.to_owned(),
        }
    }

    /// Finds a key by its dotted path; list elements are `[n]`, counted from 0. `None` if the file does
    /// not have it.
    pub(super) fn find(&self, key: &str) -> Option<Span> {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let mut found = Span {
            key: root.span(),
            value: root.span(),
        };
        let mut value = &DeValue::Table(root.into_inner());
        for step in key.split('.') {
            let mut parts = step.split('[');
            let name = parts.next()?;
            let DeValue::Table(table) = value else {
                return None;
            };
            let (entry, inner) = table.iter().find(|(entry, _)| entry.get_ref() == name)?;
            found = Span {
                key: entry.span(),
                value: inner.span(),
            };
            value = inner.get_ref();
            for index in parts {
                let DeValue::Array(array) = value else {
                    return None;
                };
                let inner = array.get(index.strip_suffix(']')?.parse::<usize>().ok()?)?;
                found = Span {
                    key: inner.span(),
                    value: inner.span(),
                };
                value = inner.get_ref();
            }
        }
        Some(found)
    }

    /// A place in a report, with the span kept inside the text and on character borders.
    pub(super) fn place(&self, span: Range<usize>, label: &str) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        Place {
            span: start..end,
            label: label.to_owned(),
        }
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub(super) fn line_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line_start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |n| n + 1);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = 1 + String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count();
        (line, column)
    }
}

/// Lines of every key of a file.
pub(super) struct Positions {
    lines: BTreeMap<String, usize>,
}

impl Positions {
    pub(super) fn new(source: &Source) -> Self {
        let (root, _) = DeTable::parse_recoverable(&source.text);
        let mut positions = Positions {
            lines: BTreeMap::new(),
        };
        positions.table(source, "", root.get_ref());
        positions
    }

    fn table(&mut self, source: &Source, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let name = name.get_ref();
            let path = match path {
                "" => name.to_string(),
                path => format!("{path}.{name}"),
            };
            self.value(source, path, value);
        }
    }

    fn value(&mut self, source: &Source, path: String, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(source, &path, table),
            DeValue::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.value(source, format!("{path}[{index}]"), value);
                }
            }
            _ => {}
        }
        let (line, _) = source.line_column(value.span().start);
        self.lines.insert(path, line);
    }

    /// The line of a key's value, from 1.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }
}

/// Says why a file cannot be read, and what to do.
fn unreadable(name: &str, error: &io::Error) -> Problem {
    let problem =
        |why: &str| Problem::new(format!("cannot read the configuration `{name}`: {why}"));
    match error.kind() {
        io::ErrorKind::NotFound => problem("there is no such file").help(&format!(
            "`rillway reference config > {name}` writes one with every key and its default"
        )),
        io::ErrorKind::PermissionDenied => problem("permission denied")
            .help("give the user that runs rillway the right to read it"),
        io::ErrorKind::IsADirectory => problem("it is a directory").help("name a file in it"),
        _ => problem(&error.to_string()),
    }
}
