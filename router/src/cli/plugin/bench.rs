//! `rillway plugin bench`: what calls of a component cost, beside those of a component that does nothing.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rillway_policy::testing::{self, Behaviour};
use rillway_policy::{Calls, Kind, Limits, Measured, Plugin, PluginSpec, Rounds};
use serde::Serialize;

use super::stage::{Stage, Subject, Subjected, several, unhurried};
use super::{Done, EXIT_CODES, PluginError, grouped, kind};

const EXAMPLES: &str = "\
Examples:
  rillway plugin bench my-plugin.wasm --config rillway.toml
  rillway plugin bench my-plugin.wasm --script session.jsonl --instances 1000
  rillway plugin bench signaling-rooms --json

Each instance gets the whole script. Times are processor time of the policy
thread, so neighbours do not count; `empty` is a component that gets the same
inputs and does nothing, measured in the same run: what lies between the two is
the plugin's own. Budgets are those of the kind, or of --config. Build the
router with --release for numbers that mean something.";

pub(super) fn help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

/// Calls that are measured unless told otherwise.
const CALLS: usize = 20_000;
/// Times a component that is reused gets the script in each instance.
const REPEATS: usize = 100;

/// Arguments of `rillway plugin bench`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// What is played to each instance [default: a short script for the kind]
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Only one of its policies [default: all]
    #[arg(long, value_name = "KIND", value_parser = kind())]
    kind: Option<Kind>,
    /// Instances that are made, one after the other [default: as many as make 20,000 calls]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    instances: Option<u32>,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
}

/// How a sample of times is spread, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Spread {
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

/// What one policy cost.
#[derive(Debug, Serialize)]
struct Cost {
    kind: &'static str,
    calls: usize,
    instances: usize,
    call: Spread,
    empty_call: Spread,
    call_budget_ns: u128,
    start: Spread,
    empty_start: Spread,
    start_budget_ns: u128,
    memory_bytes: usize,
    empty_memory_bytes: usize,
    memory_budget_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    name: String,
    sha256: String,
    bytes: usize,
    compile_ms: u128,
    optimized: bool,
    costs: Vec<Cost>,
}

impl Spread {
    /// Of a sample that is not empty.
    fn of(mut sample: Vec<Duration>) -> Spread {
        sample.sort_unstable();
        let at = |share: usize| {
            let rank = (sample.len() * share).div_ceil(100).max(1) - 1;
            let time = sample.get(rank).copied().unwrap_or_default();
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
        };
        Spread {
            p50_ns: at(50),
            p99_ns: at(99),
            max_ns: at(100),
        }
    }
}

/// Processor time of the calling thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Done, PluginError> {
        let mut subject = self.subject.read()?;
        let kinds = subject.wanted(self.kind)?;
        if self.script.is_some() && kinds.len() > 1 {
            return Err(several(&subject));
        }
        subject.spec.budgets = unhurried(&subject.spec.budgets);
        let stage = Stage::start()?;
        let loaded = stage.load(&subject)?;
        let costs = kinds
            .into_iter()
            .map(|kind| self.cost(&stage, &subject, &loaded.plugin, kind))
            .collect::<Result<Vec<_>, _>>()?;
        let report = Report {
            name: subject.spec.name.clone(),
            sha256: subject.component.sha256(),
            bytes: subject.component.bytes.len(),
            compile_ms: loaded.took.as_millis(),
            optimized: !cfg!(debug_assertions),
            costs,
        };
        let text = match self.json {
            true => format!("{:#}\n", serde_json::json!(report)),
            false => report.text(),
        };
        Ok(text.into())
    }

    fn cost(
        &self,
        stage: &Stage,
        subject: &Subjected,
        plugin: &Plugin,
        kind: Kind,
    ) -> Result<Cost, PluginError> {
        let (calls, _) = subject.calls(kind, self.script.as_deref())?;
        // What lives for a client or a room gets its script once; what is reused, and views of a room, which
        // come five times a second, often.
        let repeats = match kind {
            Kind::Authentication | Kind::LayerSelection => REPEATS,
            Kind::Signaling | Kind::Recording => 1,
        };
        let enough = CALLS.div_ceil(calls.len() * repeats);
        let asked = self.instances.and_then(|n| usize::try_from(n).ok());
        let rounds = Rounds {
            instances: asked.unwrap_or(enough),
            repeats,
            clock: thread_time,
        };
        let measured = measure(stage, plugin, calls.clone(), rounds)?;
        let empty = empty(stage, subject, kind)?;
        let empty = measure(stage, &empty, calls, rounds)?;
        let limits = Limits::resolve(kind, &subject.spec.budgets);
        Ok(Cost {
            kind: kind.name(),
            calls: measured.calls.len(),
            instances: measured.starts.len(),
            call: Spread::of(measured.calls),
            empty_call: Spread::of(empty.calls),
            call_budget_ns: limits.call.as_nanos(),
            start: Spread::of(measured.starts),
            empty_start: Spread::of(empty.starts),
            start_budget_ns: limits.start.as_nanos(),
            memory_bytes: measured.memory_bytes_max,
            empty_memory_bytes: empty.memory_bytes_max,
            memory_budget_bytes: limits.memory_bytes,
        })
    }
}

fn measure(
    stage: &Stage,
    plugin: &Plugin,
    calls: Calls,
    rounds: Rounds,
) -> Result<Measured, PluginError> {
    let kind = calls.kind();
    // So that neither caches nor the processor's clock speed favour whoever comes second.
    let warm = Rounds {
        instances: rounds.instances.div_ceil(10),
        ..rounds
    };
    let fault = |fault| PluginError::Unfit(format!("{}, {kind}: {fault}", plugin.name()));
    stage
        .wait(plugin.measure(calls.clone(), warm))
        .map_err(fault)?;
    stage.wait(plugin.measure(calls, rounds)).map_err(fault)
}

/// A component of the kind that takes everything and answers with nothing; authentication needs an answer.
fn empty(stage: &Stage, subject: &Subjected, kind: Kind) -> Result<Plugin, PluginError> {
    let behaviour = match kind {
        Kind::Authentication => Behaviour::Deny,
        _ => Behaviour::Values(0),
    };
    let spec = PluginSpec {
        budgets: subject.spec.budgets.clone(),
        ..testing::spec("empty", kind, &behaviour)
    };
    let loaded = stage.load_spec(spec);
    loaded.map_err(|error| PluginError::Unfit(error.to_string()))
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!(
            "{}: {} bytes, loaded in {} ms\n",
            self.name,
            grouped(self.bytes as u64),
            self.compile_ms
        );
        for cost in &self.costs {
            cost.write(&mut text);
        }
        if !self.optimized {
            text.push_str(
                "\nThis is a debug build of the router: its part of each call is far slower.\n",
            );
        }
        text
    }
}

impl Cost {
    fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n{}: {} calls, {} instances; processor time\n\n  {:<16}{:>11}{:>11}{:>11}{:>11}",
            self.kind,
            grouped(self.calls as u64),
            grouped(self.instances as u64),
            "",
            "p50",
            "p99",
            "longest",
            "budget"
        );
        for (what, spread, budget) in [
            ("call", self.call, Some(self.call_budget_ns)),
            ("  empty", self.empty_call, None),
            ("new instance", self.start, Some(self.start_budget_ns)),
            ("  empty", self.empty_start, None),
        ] {
            let budget = budget.map_or(String::new(), |ns| format!("{} ms", ns / 1_000_000));
            let _ = writeln!(
                text,
                "  {what:<16}{:>11}{:>11}{:>11}{budget:>11}",
                micros(spread.p50_ns),
                micros(spread.p99_ns),
                micros(spread.max_ns),
            );
        }
        let kib = |bytes: usize| format!("{} KiB", grouped(bytes as u64 >> 10));
        let _ = writeln!(
            text,
            "  {:<16}{:>33}{:>11}\n  {:<16}{:>33}",
            "memory",
            kib(self.memory_bytes),
            kib(self.memory_budget_bytes),
            "  empty",
            kib(self.empty_memory_bytes)
        );
    }
}

/// Microseconds with a digit behind the point.
fn micros(ns: u64) -> String {
    let tenths = (ns + 50) / 100;
    format!("{}.{} µs", grouped(tenths / 10), tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sample() {
        let sample = (1..=200).rev().map(Duration::from_micros).collect();
        let expected = Spread {
            p50_ns: 100_000,
            p99_ns: 198_000,
            max_ns: 200_000,
        };
        assert_eq!(Spread::of(sample), expected);
        let one = Spread::of(vec![Duration::from_nanos(7)]);
        assert_eq!((one.p50_ns, one.p99_ns, one.max_ns), (7, 7, 7));
    }

    #[test]
    fn times_have_one_digit_behind_the_point() {
        assert_eq!(micros(1_249), "1.2 µs");
        assert_eq!(micros(1_250), "1.3 µs");
        assert_eq!(micros(12_345_678), "12,345.7 µs");
    }

    #[test]
    fn a_thread_that_works_uses_time() {
        let before = thread_time();
        let mut sum = 0_u64;
        while thread_time() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(thread_time() > before);
    }
}
