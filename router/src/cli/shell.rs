//! What a shell and `man` get: completions, and pages of the manual.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::Arguments;
use super::operate::OperateError;

pub(super) const COMPLETIONS_HELP: &str = "\
Examples:
  rillway completions bash > ~/.local/share/bash-completion/completions/rillway
  rillway completions zsh > ~/.zfunc/_rillway          a folder of your `fpath`
  rillway completions fish > ~/.config/fish/completions/rillway.fish";

pub(super) const MAN_HELP: &str = "\
Examples:
  rillway man | man -l -                    read it
  rillway man room show | man -l -          the page of a sub-command
  rillway man --folder /usr/local/share/man/man1";

/// `rillway completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Completions {
    /// For which
    shell: Shell,
}

/// `rillway man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Man {
    /// Of this sub-command
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
    /// Write a page for each sub-command into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "path")]
    folder: Option<PathBuf>,
}

/// The command with everything in it, as its help has it.
fn command() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

impl Completions {
    /// The script.
    ///
    /// # Errors
    /// [`OperateError::Local`].
    pub fn run(&self) -> Result<String, OperateError> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "rillway",
            &mut script,
        );
        text(script)
    }
}

impl Man {
    /// The page; or, with a folder, where the pages are.
    ///
    /// # Errors
    /// There is no such sub-command, or the folder cannot be written to.
    pub fn run(&self) -> Result<String, OperateError> {
        let command = command();
        if let Some(folder) = &self.folder {
            let mut pages = 0;
            let failed = |error: io::Error| OperateError::argument(&folder.display(), &error);
            std::fs::create_dir_all(folder).map_err(failed)?;
            write_all(&command, &mut |name, page| {
                pages += 1;
                std::fs::write(folder.join(name), page)
            })
            .map_err(failed)?;
            return Ok(format!("{pages} pages are in {}\n", folder.display()));
        }
        let mut found = &command;
        for name in &self.path {
            let next = found.find_subcommand(name).filter(|c| !c.is_hide_set());
            found = next.ok_or_else(|| {
                OperateError::argument(&self.path.join(" "), &"there is no such sub-command")
            })?;
        }
        text(page(found).map_err(|error| OperateError::Local(error.to_string()))?)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, OperateError> {
    String::from_utf8(bytes).map_err(|error| OperateError::Local(error.to_string()))
}

/// The name of a command's page: of `rillway room show` it is `rillway-room-show`.
fn title(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    name.replace(' ', "-")
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let title = title(command);
    let whole = command.clone().display_name(title.clone());
    let page = clap_mangen::Man::new(whole).title(title).section("1");
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok(text)
}

fn write_all(
    command: &Command,
    write: &mut dyn FnMut(String, Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    write(format!("{}.1", title(command)), page(command)?)?;
    let shown = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    for below in command.get_subcommands().filter(shown) {
        write_all(below, write)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sub_command_has_a_page() {
        let mut names = Vec::new();
        let collected = write_all(&command(), &mut |name, page| {
            let text = String::from_utf8(page).expect("UTF-8");
            assert!(
                text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"),
                "{text}"
            );
            names.push(name);
            Ok(())
        });
        collected.expect("written to memory");
        for name in [
            "rillway.1",
            "rillway-room-show.1",
            "rillway-plugin-reload.1",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
        }
        let main = Man {
            path: Vec::new(),
            folder: None,
        };
        let text = main.run().expect("a page");
        assert!(text.contains("Exit codes"), "{text}");
        let none = Man {
            path: vec!["room".to_owned(), "none".to_owned()],
            folder: None,
        };
        assert!(none.run().is_err());
    }
}
