//! `rillway`: arguments → configuration → run → exit code.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rillway::cli::plugin::{Plugin, PluginError};
use rillway::cli::{Action, Arguments, EXIT_INTERNAL, EXIT_OK};
use rillway::config::{Config, ConfigError};
use rillway::{RunError, Signals, telemetry};

fn main() -> ExitCode {
    match act(Arguments::parse()) {
        Ok(()) => EXIT_OK.into(),
        Err(error) => report(&error).into(),
    }
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.action()? {
        Action::Print(text) => print(&text),
        Action::Plugin(plugin) => plugin_command(&plugin),
        Action::Dev(config) => serve(*config, true),
        Action::Serve(config) => serve(*config, false),
    }
}

fn plugin_command(plugin: &Plugin) -> anyhow::Result<()> {
    let done = plugin.run()?;
    print(&done.text)?;
    done.failed.map_or(Ok(()), |error| Err(error.into()))
}

fn serve(config: Config, announce: bool) -> anyhow::Result<()> {
    telemetry::log::install(&config.log).context("cannot write log lines")?;
    let running = rillway::run(config, Signals::Handle)?;
    if announce {
        let metrics = running
            .metrics_address()
            .map(|m| format!("Metrics: http://{m}/metrics\n"));
        let metrics = metrics.unwrap_or_default();
        print(&format!(
            "\nOpen {} in two windows to make a call. Ctrl-C ends the router.\n{metrics}\n",
            running.url()
        ))?;
    }
    Ok(running.wait()?)
}

/// Prints to standard output. A reader that wants no more (`| head`) is no fault.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Says what went wrong on standard error; returns the exit code for it.
fn report(error: &anyhow::Error) -> u8 {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = io::stderr().is_terminal() && !plain;
    let run = error.downcast_ref::<RunError>();
    let plugin = error.downcast_ref::<PluginError>();
    let config = match plugin {
        Some(PluginError::Config(config)) => Some(config),
        _ => error.downcast_ref::<ConfigError>(),
    };
    let (text, code) = match (config, run) {
        (Some(config), _) | (_, Some(RunError::Config(config))) => {
            (config.render(coloured), ConfigError::EXIT_CODE)
        }
        (_, Some(run)) => (run.to_string(), run.exit_code()),
        _ => (
            format!("error: {error:#}"),
            plugin.map_or(EXIT_INTERNAL, PluginError::exit_code),
        ),
    };
    // Where standard error cannot be written, the exit code has to do.
    let _ = writeln!(io::stderr(), "{text}");
    code
}
