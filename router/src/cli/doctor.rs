//! `rillway doctor`: what would keep a router from serving here?

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, ConfigError, Overrides};
use crate::doctor::{Report, examine};
use crate::stun;

pub(super) const HELP: &str = "\
Examples:
  rillway doctor                                   with /etc/rillway/rillway.toml, if there is one
  rillway doctor --config rillway.toml
  rillway doctor --stun stun.example.org:3478      where is this machine seen?
  rillway doctor --json | jq '.findings[] | select(.verdict == \"problem\")'

Run it as root, and on the machine that serves: beside a running router, or before it is started.
Exit code 0: nothing is broken (there may be warnings). 1: something is. docs/doctor.md says what is looked at.";

/// Where packages and the unit have it.
const INSTALLED: &str = "/etc/rillway/rillway.toml";

/// `rillway doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Doctor {
    /// Configuration file [default: /etc/rillway/rillway.toml; where there is none, what `rillway dev` uses]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// STUN server that is asked where it sees this machine, besides those in `ice.servers`; several times for several
    #[arg(long = "stun", value_name = "HOST:PORT", value_parser = server)]
    stun: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn server(text: &str) -> Result<String, String> {
    let valid = stun::host_port(text).map(|_| text.to_owned());
    valid.ok_or_else(|| "expected HOST or HOST:PORT".to_owned())
}

/// Something is broken.
#[derive(Debug, thiserror::Error)]
#[error("something is broken: see above")]
pub struct Broken;

impl Broken {
    /// Exit code of the process.
    pub const EXIT_CODE: u8 = 1;
}

/// What is printed, and whether all is well.
#[derive(Debug)]
pub struct Examined {
    /// The report.
    pub text: String,
    /// It has problems.
    pub failed: Option<Broken>,
}

impl Doctor {
    /// Examines this machine.
    #[must_use]
    pub fn run(&self) -> Examined {
        let (name, config) = self.load();
        let report = examine(&name, config, &self.stun);
        Examined {
            text: self.print(&report),
            failed: report.has_problem().then_some(Broken),
        }
    }

    fn load(&self) -> (String, Result<Config, ConfigError>) {
        let installed = || Some(Path::new(INSTALLED)).filter(|file| file.exists());
        match self.config.as_deref().or_else(installed) {
            Some(file) => {
                let config = Config::load(file, &Overrides::default());
                (file.display().to_string(), config)
            }
            None => (
                "what `rillway dev` uses".to_owned(),
                Config::load_dev(None, &Overrides::default()),
            ),
        }
    }

    fn print(&self, report: &Report) -> String {
        match self.json {
            true => report.json(),
            false => report.text(),
        }
    }
}
