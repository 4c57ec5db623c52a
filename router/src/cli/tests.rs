//! Arguments and what comes of them.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::*;

fn parse(arguments: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("rillway").chain(arguments.split_whitespace()))
}

fn action(arguments: &str) -> Result<Action, ConfigError> {
    parse(arguments).expect(arguments).action()
}

fn reference_file() -> String {
    format!(
        "{}/../config/examples/behind-nat.toml",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn dev_needs_nothing_and_takes_flags() {
    let Ok(Action::Dev(mut config)) = action("dev") else {
        panic!("must run")
    };
    let mut expected = Config::dev();
    // Each has a folder of its own.
    let folder = |config: &mut Config| {
        let recorder = config.recorder.as_mut().expect("`dev` records");
        assert!(recorder.temporary);
        std::mem::take(&mut recorder.directory)
    };
    assert_ne!(folder(&mut config), folder(&mut expected));
    assert_eq!(*config, expected);
    let flags = "dev --listen 0.0.0.0:81 --public-address 203.0.113.7 --driver mmsg --workers 3 --log debug --metrics off --first-port 41000";
    let Ok(Action::Dev(config)) = action(flags) else {
        panic!("must run")
    };
    assert_eq!(config.gateway.listen.to_string(), "0.0.0.0:81");
    assert_eq!(
        (config.media.driver, config.media.workers.get()),
        (DriverChoice::Mmsg, 3)
    );
    assert_eq!(config.media.public_addresses[0].to_string(), "203.0.113.7");
    assert_eq!(config.log.filter, "debug");
    assert_eq!((config.metrics, config.media.first_port), (None, 41_000));
    let Ok(Action::Dev(config)) = action("dev --metrics 127.0.0.1:91") else {
        panic!("must run")
    };
    assert_eq!(config.metrics.map(|m| m.listen.port()), Some(91));
}

#[test]
fn serve_reads_its_file() {
    let Ok(Action::Serve(config)) = action(&format!("serve --config {}", reference_file())) else {
        panic!("must run")
    };
    assert_eq!(
        (config.media.workers.get(), config.log.format),
        (2, LogFormat::Json)
    );
    let error = action("serve --config no/such.toml").expect_err("no such file");
    assert!(error.to_string().contains("no/such.toml"), "{error}");
}

#[test]
fn check_says_what_a_file_means() {
    let Ok(Action::Print(text)) = action(&format!("check {}", reference_file())) else {
        panic!("valid")
    };
    for part in [
        "is valid",
        "TCP 127.0.0.1:8080",
        "UDP 40000 to 40001 on 10.0.0.5",
        "2 workers",
        "203.0.113.7/10.0.0.5",
        "auth-open",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn references_are_printed() {
    assert_eq!(
        action("reference config").expect("text"),
        Action::Print(config::reference())
    );
    let Ok(Action::Print(schema)) = action("reference schema") else {
        panic!("text")
    };
    serde_json::from_str::<serde_json::Value>(&schema).expect("JSON");
    let Ok(Action::Print(metrics)) = action("reference metrics") else {
        panic!("text")
    };
    assert!(metrics.contains("`rillway_build_info`"));
}

#[test]
fn wrong_arguments_are_refused() {
    for (arguments, kind) in [
        ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("drive", ErrorKind::InvalidSubcommand),
        ("serve", ErrorKind::MissingRequiredArgument),
        ("dev --listen localhost", ErrorKind::ValueValidation),
        ("dev --workers 257", ErrorKind::ValueValidation),
        ("dev --driver rong", ErrorKind::InvalidValue),
        ("dev --log rillway=loud", ErrorKind::ValueValidation),
        ("dev --metrics on", ErrorKind::ValueValidation),
        ("dev --no-such-flag", ErrorKind::UnknownArgument),
        ("--version", ErrorKind::DisplayVersion),
    ] {
        assert_eq!(
            parse(arguments).expect_err(arguments).kind(),
            kind,
            "{arguments}"
        );
    }
    let suggestion = parse("dev --lisen 1").expect_err("unknown").to_string();
    assert!(suggestion.contains("--listen"), "{suggestion}");
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = Arguments::command().render_long_help().to_string();
    for part in [
        "rillway dev",
        "rillway serve --config",
        "rillway check",
        "Exit codes",
        "78",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
