//! Checks a parsed file against the schema of [`super::raw`]: unknown keys, types, bounds, formats. All
//! problems of a file are found in one pass.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde_json::Value;
use toml::de::{DeInteger, DeTable, DeValue};

use super::PublicAddress;
use super::error::Problem;
use super::source::Source;

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
            match schema["properties"].get(name) {
                Some(inner) => self.value(&join(path, name), value.get_ref(), value.span(), inner),
                None => self.unknown(path, name, key.span(), value.get_ref(), schema),
            }
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
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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

/// Checks a string with a format; the error is why, and what was expected.
fn check_format(format: Option<&str>, text: &str) -> Result<(), (String, &'static str)> {
    match format {
        Some("socket-address") => text.parse::<SocketAddr>().map(drop).map_err(|_| {
            let why = match text.parse::<IpAddr>() {
                Ok(_) => "the port is missing",
                Err(_) if text.starts_with("localhost") => {
                    "names are not looked up: write 127.0.0.1"
                }
                Err(_) => "expected an IP address and a port",
            };
            (
                why.to_owned(),
                "an address with a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
            )
        }),
        Some("ip") => text.parse::<IpAddr>().map(drop).map_err(|_| {
            let port = text.parse::<SocketAddr>().is_ok();
            let why = if port {
                "there must be no port"
            } else {
                "expected an IP address"
            };
            (
                why.to_owned(),
                "an IP address, such as \"192.0.2.1\" or \"2001:db8::1\"",
            )
        }),
        Some("public-address") => text.parse::<PublicAddress>().map(drop).map_err(|why| {
            (
                why,
                "a public address, such as \"203.0.113.7\" or \"203.0.113.7/10.0.0.5\"",
            )
        }),
        Some("origin") => check_origin(text).map_err(|why| {
            (
                why.to_owned(),
                "an origin, such as \"https://meet.example.org\"",
            )
        }),
        Some("ice-url") => check_ice_url(text).map_err(|why| {
            (
                why.to_owned(),
                "an ICE server URL, such as \"stun:stun.example.org:3478\"",
            )
        }),
        Some("log-filter") => tracing_subscriber::EnvFilter::builder()
            .parse(text)
            .map(drop)
            .map_err(|error| {
                (
                    error.to_string(),
                    "a filter, such as \"info\" or \"info,rillway=debug\"",
                )
            }),
        _ => Ok(()),
    }
}

/// An origin as browsers serialise it (RFC 6454 §6.2): scheme, host, port if not the default, no more.
fn check_origin(text: &str) -> Result<(), &'static str> {
    let Some(rest) = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
    else {
        return Err("expected http:// or https:// before it");
    };
    if rest.is_empty() {
        return Err("the host is missing");
    }
    if rest.contains(['/', '?', '#', '@', '*', ' ']) {
        return Err(
            "expected scheme, host and port only: no path, no `*`, not even a `/` at the end",
        );
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("browsers send origins in small letters");
    }
    let default = if text.starts_with("https") {
        ":443"
    } else {
        ":80"
    };
    if rest.ends_with(default) {
        return Err("browsers leave the scheme's own port out");
    }
    Ok(())
}

/// `stun:` and `turn:` URIs (RFC 7064 §3.1, RFC 7065 §3.1), as browsers accept them.
fn check_ice_url(text: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err("the scheme is missing: stun:, stuns:, turn: or turns:");
    };
    let turn = match scheme {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return Err("expected stun:, stuns:, turn: or turns:"),
    };
    if rest.starts_with("//") {
        return Err("these URLs have no `//`");
    }
    let (host_port, query) = match rest.split_once('?') {
        Some((host_port, query)) => (host_port, Some(query)),
        None => (rest, None),
    };
    match query {
        Some("transport=udp" | "transport=tcp") if turn => {}
        Some(_) if turn => return Err("expected ?transport=udp or ?transport=tcp"),
        Some(_) => return Err("stun: URLs have no `?`"),
        None => {}
    }
    check_host_port(host_port)
}

fn check_host_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = if let Some(v6) = text.strip_prefix('[') {
        let (host, port) = v6.split_once(']').ok_or("a `]` is missing")?;
        host.parse::<std::net::Ipv6Addr>()
            .map_err(|_| "expected an IPv6 address in the brackets")?;
        (
            host,
            port.strip_prefix(':')
                .or_else(|| (!port.is_empty()).then_some("?")),
        )
    } else {
        text.split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err("expected a host name or address");
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => Err("expected a port from 1 to 65535"),
        _ => Ok(()),
    }
}
