//! `rillway plugin check`: is a component fit for a router, and what does that need?

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use rillway_policy::{Capability, Kind, Limits};
use serde::Serialize;

use super::stage::{Loaded, Stage, Subject, Subjected};
use super::{Done, EXIT_CODES, PluginError, grouped, kind};

const EXAMPLES: &str = "\
Examples:
  rillway plugin check my-plugin.wasm
  rillway plugin check my-plugin.wasm --config rillway.toml --json
  rillway plugin check auth-jwt            one that is part of the program

It is loaded by the plugin host of the router, with the bounds of its kind, and
plays a short script to each of its policies. Without --config it may import
every capability and has no configuration.";

pub(super) fn help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

/// Arguments of `rillway plugin check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Only one of its policies [default: all]
    #[arg(long, value_name = "KIND", value_parser = kind())]
    kind: Option<Kind>,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    name: String,
    bytes: usize,
    sha256: String,
    abi: &'static str,
    exports: Vec<String>,
    imports: Vec<String>,
    compile_ms: u128,
    smoke: Vec<Smoke>,
    /// What to write into the router's configuration.
    toml: String,
    fit: bool,
}

/// A script that was played to one policy.
#[derive(Debug, Serialize)]
struct Smoke {
    kind: &'static str,
    calls: usize,
    fault: Option<String>,
    longest_us_at_most: Option<u64>,
    budget_us: u128,
    memory_bytes: u64,
    memory_budget_bytes: usize,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Done, PluginError> {
        let subject = self.subject.read()?;
        let kinds = subject.wanted(self.kind)?;
        let stage = Stage::start()?;
        let loaded = stage.load(&subject)?;
        let smoke = kinds
            .into_iter()
            .map(|kind| smoke(&stage, &subject, &loaded, kind))
            .collect::<Result<Vec<_>, _>>()?;
        let failed = smoke.iter().find_map(|smoke| {
            let fault = smoke.fault.as_ref()?;
            let text = format!(
                "{}: a call of {} failed: {fault}",
                subject.spec.name, smoke.kind
            );
            Some(PluginError::Unfit(text))
        });
        let report = Report {
            name: subject.spec.name.clone(),
            bytes: subject.component.bytes.len(),
            sha256: subject.component.sha256(),
            abi: loaded.plugin.abi(),
            exports: subject.component.kinds.clone(),
            imports: subject.component.imports.clone(),
            compile_ms: loaded.took.as_millis(),
            smoke,
            toml: toml(&subject),
            fit: failed.is_none(),
        };
        let text = match self.json {
            true => format!("{:#}\n", serde_json::json!(report)),
            false => report.text(&subject),
        };
        Ok(Done { text, failed })
    }
}

fn smoke(
    stage: &Stage,
    subject: &Subjected,
    loaded: &Loaded,
    kind: Kind,
) -> Result<Smoke, PluginError> {
    let (calls, _) = subject.calls(kind, None)?;
    let answers = stage.play(&loaded.plugin, calls);
    let limits = Limits::resolve(kind, &subject.spec.budgets);
    let stats = loaded.plugin.kind_stats(kind);
    Ok(Smoke {
        kind: kind.name(),
        calls: answers.len(),
        fault: answers
            .iter()
            .find_map(|answer| Some(answer.as_ref().err()?.to_string())),
        longest_us_at_most: stats.as_ref().and_then(|s| s.durations.quantile_us(1.0)),
        budget_us: limits.call.as_micros(),
        memory_bytes: stats.map_or(0, |stats| stats.memory_bytes_max),
        memory_budget_bytes: limits.memory_bytes,
    })
}

/// Capabilities that a router gives to any plugin.
const HARMLESS: [Capability; 4] = [
    Capability::Log,
    Capability::Metrics,
    Capability::Config,
    Capability::Clock,
];

/// The lines that load it.
fn toml(subject: &Subjected) -> String {
    let name = &subject.spec.name;
    let mut text = String::new();
    // What is part of the program needs no table.
    if subject.shipped.is_none() {
        let sha256 = subject.component.sha256();
        let _ = writeln!(
            text,
            "[plugins.{name}]\ncomponent = \"{name}.wasm\"\nsha256 = \"{sha256}\""
        );
        let harmless = |import: &String| HARMLESS.iter().any(|c| c.name() == import);
        if !subject.component.imports.iter().all(harmless) {
            let _ = writeln!(text, "imports = {:?}", subject.component.imports);
        }
        text.push('\n');
    }
    for kind in subject.kinds() {
        match kind {
            Kind::Authentication => {
                let _ = write!(text, "[authentication]\npolicy = \"{name}\"\n");
            }
            Kind::Signaling => {
                let _ = write!(
                    text,
                    "[[signaling.routes]]\npath = \"/{name}\"\nplugin = \"{name}\"\nsubprotocol = \"{name}.v1\"  \
                     # what its clients ask for; without it: plain HTTP\n"
                );
            }
            Kind::LayerSelection => {
                let _ = write!(text, "[layers]\npolicy = \"{name}\"\n");
            }
            Kind::Recording => {
                let _ = write!(text, "[recording]\npolicy = \"{name}\"\n");
            }
        }
    }
    text
}

impl Report {
    fn text(&self, subject: &Subjected) -> String {
        let mut text = subject.component.summary(&self.name);
        let _ = writeln!(text, "  abi       rillway:policy@{}", self.abi);
        let _ = writeln!(text, "  loaded    in {} ms", self.compile_ms);
        for smoke in &self.smoke {
            let _ = writeln!(text, "  {}", smoke.text());
        }
        if self.fit {
            let _ = writeln!(text, "\nIt is fit. In the router's configuration:\n");
            for line in self.toml.lines() {
                let line = format!("  {line}");
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }
}

impl Smoke {
    fn text(&self) -> String {
        let calls = match self.fault {
            Some(_) => format!("the last of {} calls of {} failed", self.calls, self.kind),
            None => format!("{} calls of {}, none failed", self.calls, self.kind),
        };
        let longest = self.longest_us_at_most.map_or(String::new(), |us| {
            let budget = Duration::from_micros(u64::try_from(self.budget_us).unwrap_or(u64::MAX));
            format!("; the longest within {us} µs of {} ms", budget.as_millis())
        });
        format!(
            "smoke     {calls}{longest}; memory {} KiB of {}",
            grouped(self.memory_bytes >> 10),
            grouped(self.memory_budget_bytes as u64 >> 10)
        )
    }
}
