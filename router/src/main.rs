//! `rillway`: arguments → configuration → run → exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use rillway::cli::{self, Action, Arguments};
use rillway::config::Config;
use rillway::{Running, Signals, telemetry};

fn main() -> ExitCode {
    let action = match Arguments::parse().action() {
        Ok(action) => action,
        Err(error) => return fail(&error, cli::EXIT_CONFIG),
    };
    match action {
        Action::Print(text) => print(&text),
        Action::Dev(config) => serve(*config, say_where),
        Action::Serve(config) => serve(*config, |_| {}),
    }
}

/// Runs until a signal ends it; `started` hears of the start.
fn serve(config: Config, started: fn(&Running)) -> ExitCode {
    if let Err(error) = telemetry::log::install(&config.log) {
        return fail(&error, cli::EXIT_INTERNAL);
    }
    let running = match rillway::run(config, Signals::Handle) {
        Ok(running) => running,
        Err(error) => return fail(&error, error.exit_code()),
    };
    started(&running);
    match running.wait() {
        Ok(()) => ExitCode::from(cli::EXIT_OK),
        Err(error) => fail(&error, error.exit_code()),
    }
}

fn say_where(running: &Running) {
    print(&format!(
        "Rillway is running: {}\nOpen it in two windows to talk to yourself. Ctrl-C ends it.\n",
        running.url()
    ));
}

/// Prints a text. A reader that has gone away wants no more of it.
fn print(text: &str) -> ExitCode {
    let mut output = std::io::stdout().lock();
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
    ExitCode::from(cli::EXIT_OK)
}

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(code)
}
