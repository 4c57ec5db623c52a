//! `rillway plugin run`: a script is played to a component, and its answers are shown.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rillway_policy::Kind;
use serde_json::{Value, json};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::stage::{Answer, Stage, Subject, several};
use super::{Done, EXIT_CODES, PluginError, kind};

const EXAMPLES: &str = "\
Examples:
  rillway plugin run my-plugin.wasm session.jsonl
  rillway plugin run my-plugin.wasm session.jsonl --json > answers.jsonl
  rillway plugin run auth-jwt              the script that belongs to it

A script has one input a line, as JSON; lines that begin with # do not count:

  authentication   {\"scheme\": \"token\", \"credentials\": \"abc\", \"room\": \"lobby\"}
  signaling        {\"opened\": {\"path\": \"/chat\"}}
                   {\"message\": {\"text\": \"hello\"}}
                   \"tick\"
  layer-selection  {\"now_ms\": 0, \"tracks\": [], \"subscribers\": []}
  recording        {\"room_opened\": \"lobby\"}

One instance gets them all, in order. What it logs goes to standard error.";

pub(super) fn help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

/// Arguments of `rillway plugin run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The script [default: a short one for the kind]
    #[arg(value_name = "SCRIPT")]
    script: Option<PathBuf>,
    /// Which of its policies, for a component with several
    #[arg(long, value_name = "KIND", value_parser = kind())]
    kind: Option<Kind>,
    /// One line of JSON for each input
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Done, PluginError> {
        let subject = self.subject.read()?;
        let [kind] = subject.wanted(self.kind)?[..] else {
            return Err(several(&subject));
        };
        let (calls, inputs) = subject.calls(kind, self.script.as_deref())?;
        // Its log lines are part of what an author wants to see; who logs already does so on.
        let log = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .without_time()
            .with_target(false);
        let of_plugins = Targets::new().with_target("rillway::plugin", LevelFilter::DEBUG);
        let _ = tracing_subscriber::registry()
            .with(log.with_filter(of_plugins))
            .try_init();
        let stage = Stage::start()?;
        let loaded = stage.load(&subject)?;
        let answers = stage.play(&loaded.plugin, calls);
        let failed = answers.iter().find_map(|answer| {
            let fault = answer.as_ref().err()?;
            Some(PluginError::Unfit(format!(
                "{}: {fault}",
                subject.spec.name
            )))
        });
        let show = match self.json {
            true => line,
            false => lines,
        };
        let mut text = String::new();
        for (input, answer) in inputs.iter().zip(&answers) {
            text.push_str(&show(input, answer));
        }
        Ok(Done { text, failed })
    }
}

/// An answer as a value: `{"commands": […]}`, `{"granted": …}`, or `{"fault": …, "message": …}`.
fn value(answer: &Answer) -> Value {
    match answer {
        Ok(value) => value.clone(),
        Err(fault) => json!({ "fault": fault.name(), "message": fault.to_string() }),
    }
}

fn line(_: &Value, answer: &Answer) -> String {
    format!("{}\n", value(answer))
}

/// For people: what went in, and each value that came out.
fn lines(input: &Value, answer: &Answer) -> String {
    let mut text = format!("> {input}\n");
    let answer = value(answer);
    let list = answer.as_object().and_then(|members| {
        let mut members = members.values();
        members.next()?.as_array()
    });
    match list {
        Some(values) => {
            for value in values {
                let _ = writeln!(text, "< {value}");
            }
        }
        None => {
            let _ = writeln!(text, "< {answer}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_shown_one_a_line() {
        let answer = Ok(json!({"commands": [{"reference": 1, "action": "join"}]}));
        assert_eq!(
            line(&json!("tick"), &answer),
            "{\"commands\":[{\"reference\":1,\"action\":\"join\"}]}\n"
        );
        assert_eq!(
            lines(&json!("tick"), &answer),
            "> \"tick\"\n< {\"reference\":1,\"action\":\"join\"}\n"
        );
        let fault = Err(rillway_policy::Fault::Memory);
        assert!(line(&json!("tick"), &fault).starts_with("{\"fault\":\"memory\""));
        let denied = Ok(json!({"denied": {"forbidden": "no"}}));
        assert_eq!(
            lines(&json!({}), &denied),
            "> {}\n< {\"denied\":{\"forbidden\":\"no\"}}\n"
        );
    }
}
