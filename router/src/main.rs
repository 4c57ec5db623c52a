//! `rillway`: arguments → configuration → run → exit code.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use rillway::cli::doctor::{Broken, Examined};
use rillway::cli::load::{LoadCommandError, Loaded};
use rillway::cli::operate::OperateError;
use rillway::cli::plugin::{Plugin, PluginError};
use rillway::cli::recording::{Done, RecordingError};
use rillway::cli::{Action, Arguments, EXIT_INTERNAL, EXIT_OK};
use rillway::config::{Config, ConfigError};
use rillway::management::{Identity, dev, discovery};
use rillway::sandbox::{self, SandboxError};
use rillway::{RunError, Running, Signals, telemetry};

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
        Action::Doctor(doctor) => examined(doctor.run()),
        Action::Node(node) => print(&node.run()?),
        Action::Worker(workers) => print(&workers.run()?),
        Action::Room(room) => print(&room.run()?),
        Action::Participant(participant) => print(&participant.run()?),
        Action::Track(track) => print(&track.run()?),
        Action::Subscription(list) => print(&list.run()?),
        Action::Transport(list) => print(&list.run()?),
        Action::Capture(capture) => print(&capture.run()?),
        Action::Token(token) => print(&token.run()?),
        Action::Completions(shell) => print(&shell.run()?),
        Action::Man(man) => print(&man.run()?),
        Action::Log(log) => print(&log.run()?),
        Action::Metrics(metrics) => print(&metrics.run()?),
        Action::Events(events) => print(&events.run()?),
        Action::Top(top) => print(&top.run()?),
        Action::Drain(drain) => print(&drain.run()?),
        Action::Why(why) => print(&why.run()?),
        Action::Config(config) => print(&config.run()?),
        Action::Ca(ca) => print(&ca.run()?),
        Action::Recording(recording) => found(recording.run()?),
        Action::Dump(dump) => found(dump.run()?),
        Action::Load(load) => loaded(load.run()?),
        Action::Dev(config) => serve(*config, true),
        Action::Serve(config) => serve(*config, false),
    }
}

fn plugin_command(plugin: &Plugin) -> anyhow::Result<()> {
    let done = plugin.run()?;
    print(&done.text)?;
    done.failed.map_or(Ok(()), |error| Err(error.into()))
}

fn found(done: Done) -> anyhow::Result<()> {
    print(&done.text)?;
    done.failed.map_or(Ok(()), |error| Err(error.into()))
}

fn loaded(done: Loaded) -> anyhow::Result<()> {
    print(&done.text)?;
    done.failed.map_or(Ok(()), |error| Err(error.into()))
}

fn examined(done: Examined) -> anyhow::Result<()> {
    print(&done.text)?;
    done.failed.map_or(Ok(()), |error| Err(error.into()))
}

fn serve(mut config: Config, announce: bool) -> anyhow::Result<()> {
    // Before any thread is there. Who develops has files in many places.
    let confined = (!announce).then(|| sandbox::confine(&config.sandbox));
    let confined = confined.transpose()?;
    telemetry::log::install(&config.log)
        .map_err(|error| anyhow::anyhow!("cannot write log lines: {error}"))?;
    if let Some(confined) = confined {
        confined.log();
    }
    // A file given to `dev` may have its own channel.
    let identity = (announce && config.management.is_none())
        .then(|| dev::equip(&mut config))
        .transpose()?;
    let token = (announce && config.console.is_none())
        .then(|| dev::equip_console(&mut config))
        .transpose()?;
    let recordings = config.recording.as_ref().and(config.recorder.as_ref());
    let recordings = recordings.map(|r| format!("Recordings: {}\n", r.directory.display()));
    let running = rillway::run(config, Signals::Handle)?;
    // Kept until the end: the entry goes with it.
    let _found = identity.and_then(|identity| findable(&running, &identity));
    if announce {
        let metrics = running
            .metrics_address()
            .map(|m| format!("Metrics: http://{m}/metrics\n"));
        let metrics = metrics.unwrap_or_default();
        let console = running.console_address().zip(token);
        let console =
            console.map(|(at, token)| format!("Console: http://{at}/#token={}\n", token.reveal()));
        let console = console.unwrap_or_default();
        print(&format!(
            "\nOpen {} in two windows to make a call. Ctrl-C ends the router.\n{console}{metrics}{}\n",
            running.url(),
            recordings.unwrap_or_default()
        ))?;
    }
    Ok(running.wait()?)
}

/// Lets the command line of this machine find the router. It serves without, too.
fn findable(running: &Running, identity: &Identity) -> Option<dev::Found> {
    let published = match discovery::folder() {
        Ok(folder) => dev::publish(&folder, running, identity).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    published
        .inspect_err(|error| {
            tracing::warn!(error, "`rillway node` and others will not find this router");
        })
        .ok()
}

/// Prints to standard output. A reader that wants no more (`| head`) is no fault.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}"))
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
    let recording = error.downcast_ref::<RecordingError>();
    let config = match (plugin, recording) {
        (Some(PluginError::Config(config)), _) | (_, Some(RecordingError::Config(config))) => {
            Some(config)
        }
        _ => error.downcast_ref::<ConfigError>(),
    };
    let (text, code) = match (config, run) {
        (Some(config), _) | (_, Some(RunError::Config(config))) => {
            (config.render(coloured), ConfigError::EXIT_CODE)
        }
        (_, Some(run @ RunError::Network(config))) => (config.render(coloured), run.exit_code()),
        (_, Some(run)) => (run.to_string(), run.exit_code()),
        _ => {
            let operate = error.downcast_ref().map(OperateError::exit_code);
            let recording = recording.map(RecordingError::exit_code);
            let code = plugin.map(PluginError::exit_code).or(operate).or(recording);
            let sandbox = error.downcast_ref::<SandboxError>();
            let code = code.or(sandbox.map(|_| ConfigError::EXIT_CODE));
            let broken = error.downcast_ref::<Broken>();
            let code = code.or(broken.map(|_| Broken::EXIT_CODE));
            let load = error.downcast_ref().map(LoadCommandError::exit_code);
            let code = code.or(load);
            // Each error says what its cause said, so causes are not appended.
            (format!("error: {error}"), code.unwrap_or(EXIT_INTERNAL))
        }
    };
    // Where standard error cannot be written, the exit code has to do.
    let _ = writeln!(io::stderr(), "{text}");
    code
}
