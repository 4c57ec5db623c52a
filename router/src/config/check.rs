//! Checks a parsed file against the schema of [`super::raw`]: unknown keys, types, bounds, formats. All
//! problems of a file are found in one pass.

use std::ops::Range;

use serde_json::Value;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::Problem;
use super::source::Source;

mod format;

use format::check_format;

/// Checks a whole file.
pub(super) fn check(source: &Source, root: &DeTable<'_>, schema: &Value) -> Vec<Problem> {
    let mut checker = Checker {
        source,
        schema,
        problems: Vec::new(),
    };
    checker.table("", root, schema);
    checker.problems
}

struct Checker<'a> {
    source: &'a Source,
    schema: &'a Value,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn report(&mut self, title: String, span: Range<usize>, label: &str) {
        self.problems
            .push(Problem::new(title).place(self.source.place(span, label)));
    }

    /// Adds help to the problem last reported.
    fn help(&mut self, text: &str) {
        if let Some(problem) = self.problems.pop() {
            self.problems.push(problem.help(text));
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>, schema: &Value) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let any = &schema["additionalProperties"];
            match schema["properties"].get(name) {
                Some(inner) => self.value(&join(path, name), value.get_ref(), value.span(), inner),
                None if any.is_object() => {
                    self.name(path, name, key.span());
                    self.value(&join(path, name), value.get_ref(), value.span(), any);
                }
                // A table that is somebody else's to judge.
                None if any == &Value::Bool(true) => {}
                None => self.unknown(path, name, key.span(), value.get_ref(), schema),
            }
        }
    }

    /// A name that the file's writer chose: it becomes a metric's label and a part of a command line.
    fn name(&mut self, path: &str, name: &str, span: Range<usize>) {
        let fits = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            let title = format!("`{name}` is no name for a table in [{path}]");
            self.report(title, span, "1 to 64 of a-z, 0-9 and -");
        }
    }

    fn unknown(
        &mut self,
        path: &str,
        name: &str,
        span: Range<usize>,
        value: &DeValue<'_>,
        schema: &Value,
    ) {
        let known = names(schema);
        let what = match value {
            DeValue::Table(_) if path.is_empty() => "table",
            _ => "key",
        };
        let place = match path.split_once('[') {
            None if path.is_empty() => "the file".to_owned(),
            None => format!("[{path}]"),
            Some((list, _)) => format!("[[{list}]]"),
        };
        let label = format!("{place} has no such {what}");
        self.report(format!("unknown {what} `{name}`"), span, &label);
        if let Some(nearest) = nearest(name, known.iter().copied()) {
            self.help(&format!("did you mean `{nearest}`?"));
        } else {
            let homes = names(self.schema).into_iter().filter(|table| {
                *table != path
                    && self.schema["properties"][table]["properties"]
                        .get(name)
                        .is_some()
            });
            let homes = homes.map(|table| format!("[{table}]")).collect::<Vec<_>>();
            if !homes.is_empty() {
                self.help(&format!("`{name}` belongs in {}", homes.join(" or ")));
            }
        }
        let known = known
            .iter()
            .map(|k| format!("`{k}`"))
            .collect::<Vec<_>>()
            .join(", ");
        self.help(&format!("{place} may have {known}"));
    }

    fn value(&mut self, path: &str, value: &DeValue<'_>, span: Range<usize>, schema: &Value) {
        if let Some(choices) = choices(schema) {
            return self.choice(path, value, span, &choices);
        }
        match (schema["type"].as_str().unwrap_or_default(), value) {
            ("object", DeValue::Table(table)) => {
                self.table(path, table, schema);
                for required in schema["required"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    if !table.keys().any(|key| key.get_ref() == required) {
                        self.report(
                            format!("`{path}` has no `{required}`"),
                            span.clone(),
                            "it is missing here",
                        );
                    }
                }
            }
            ("array", DeValue::Array(array)) => {
                self.length(path, "element", array.len(), span, schema);
                for (index, element) in array.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.value(&path, element.get_ref(), element.span(), &schema["items"]);
                }
            }
            ("string", DeValue::String(text)) => {
                self.length(path, "byte", text.len(), span.clone(), schema);
                if let Err((why, expected)) = check_format(schema["format"].as_str(), text) {
                    self.report(format!("`{path}` is not {expected}"), span, &why);
                }
            }
            ("integer", DeValue::Integer(number)) => self.integer(path, number, span, schema),
            ("boolean", DeValue::Boolean(_)) => {}
            (_, value) => self.wrong_type(path, value, span, schema),
        }
    }

    fn wrong_type(&mut self, path: &str, value: &DeValue<'_>, span: Range<usize>, schema: &Value) {
        let expected = describe(schema);
        let title = format!(
            "`{path}` has the wrong type: expected {expected}, found {}",
            type_name(value)
        );
        self.report(title, span, &format!("expected {expected}"));
        let unquoted = match (schema["type"].as_str(), value) {
            (Some("integer"), DeValue::String(text)) => text.parse::<i64>().is_ok(),
            (Some("boolean"), DeValue::String(text)) => text.parse::<bool>().is_ok(),
            _ => false,
        };
        match (schema["type"].as_str(), value) {
            _ if unquoted => self.help("write it without the quotes"),
            (Some("array"), DeValue::String(_)) => self.help("put it in brackets: `[\"…\"]`"),
            (Some("array"), DeValue::Table(_)) => {
                self.help(&format!("write `[[{path}]]`, one per element"));
            }
            (Some("object"), _) => {
                self.help(&format!("`[{path}]` is a table: keys follow below it"));
            }
            _ => {}
        }
    }

    fn integer(&mut self, path: &str, number: &DeInteger<'_>, span: Range<usize>, schema: &Value) {
        let bound = |name: &str| schema[name].as_i64().map(i128::from);
        let (min, max) = (
            bound("minimum").unwrap_or(0),
            bound("maximum").unwrap_or(i128::from(i64::MAX)),
        );
        let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
        if value.is_some_and(|value| (min..=max).contains(&value)) {
            return;
        }
        let range = match schema["x-unit"].as_str().unwrap_or_default() {
            "port" => format!("a port, {min} to {max}"),
            unit => format!("{} to {} {unit}", thousands(min), thousands(max)),
        };
        self.report(
            format!("`{path}` is out of range: expected {range}"),
            span,
            &format!("expected {range}"),
        );
    }

    fn length(
        &mut self,
        path: &str,
        what: &str,
        length: usize,
        span: Range<usize>,
        schema: &Value,
    ) {
        let suffix = if what == "byte" { "Length" } else { "Items" };
        let bound = |name: &str| {
            schema[format!("{name}{suffix}")]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
        };
        if let Some(max) = bound("max").filter(|max| length > *max) {
            let label = format!("expected at most {max}, found {length}");
            self.report(format!("`{path}` has too many {what}s"), span, &label);
        } else if let Some(min) = bound("min").filter(|min| length < *min) {
            let label = format!("expected at least {min}");
            self.report(format!("`{path}` has too few {what}s"), span, &label);
        }
    }

    fn choice(&mut self, path: &str, value: &DeValue<'_>, span: Range<usize>, choices: &[&str]) {
        let listed = choices
            .iter()
            .map(|c| format!("\"{c}\""))
            .collect::<Vec<_>>();
        let expected = match listed.as_slice() {
            [one] => one.clone(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        let DeValue::String(text) = value else {
            let title = format!(
                "`{path}` has the wrong type: expected {expected}, found {}",
                type_name(value)
            );
            self.report(title, span, &format!("expected {expected}"));
            return;
        };
        if choices.contains(&text.as_ref()) {
            return;
        }
        self.report(
            format!("`{path}` has no value \"{text}\""),
            span,
            &format!("expected {expected}"),
        );
        if let Some(nearest) = nearest(text, choices.iter().copied()) {
            self.help(&format!("did you mean \"{nearest}\"?"));
        }
    }
}

/// Keys a table may have, as declared.
fn names(schema: &Value) -> Vec<&str> {
    schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|p| p.keys())
        .map(String::as_str)
        .collect()
}

/// Values of an enumeration; `None` if the schema is none.
pub(super) fn choices(schema: &Value) -> Option<Vec<&str>> {
    if let Some(values) = schema["enum"].as_array() {
        return Some(values.iter().filter_map(Value::as_str).collect());
    }
    let variants = schema["oneOf"].as_array()?;
    Some(
        variants
            .iter()
            .filter_map(|v| v["const"].as_str())
            .collect(),
    )
}

/// The name that a mistyped one most likely means; `None` if nothing is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |k: &str| strsim::damerau_levenshtein(&name.to_lowercase(), k);
    let (best, distance) = known.map(|k| (k, distance(k))).min_by_key(|(_, d)| *d)?;
    // A third of the letters may be wrong, or one name begins or ends with the other.
    let part = name.len() >= 3 && (best.contains(name) || name.contains(best));
    (part || distance * 3 <= best.len().max(name.len())).then_some(best)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn describe(schema: &Value) -> &'static str {
    match schema["type"].as_str().unwrap_or_default() {
        "string" => "a string in quotes",
        "integer" => "an integer",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    }
}

/// A number for people: `1,000,000`.
pub(super) fn thousands(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}
