//! `rillway events`: what happens in a running router, as it happens.

use std::io::{self, Write as _};

use clap::Args;
use serde::Serialize;

use super::lists::clock;
use super::operate::{Ask, OperateError};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{Event, EventsRequest, Lost};

pub(super) const HELP: &str = "\
Examples:
  rillway events
  rillway events --room standup
  rillway events --json | jq -r 'select(.kind == \"joined\").identity'

Events come from now on, until Ctrl-C or the end of the router. `lost N`: so many were missed, because they
were not read in time.";

/// `rillway events`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EventsCommand {
    /// Only of this room, whether or not it is open
    #[arg(long, value_name = "ROOM", default_value_t)]
    room: String,
    /// End after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    ask: Ask,
}

impl EventsCommand {
    /// Writes a line for each event, until the router ends or nobody reads.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let room = self.room.clone();
        let mut left = self.count;
        self.ask
            .follow(Verb::Events(EventsRequest { room }), |part| {
                let line = match &part {
                    Part::Event(event) => {
                        left = left.map(|left| left - 1);
                        self.line(event, text)?
                    }
                    Part::Lost(lost) if lost.count > 0 => self.line(lost, lost_text)?,
                    // It has begun; said where it is in nobody's way.
                    Part::Lost(_) => {
                        let _ = writeln!(io::stderr(), "watching");
                        return Ok(true);
                    }
                    _ => return Ok(true),
                };
                let mut out = io::stdout().lock();
                let written = writeln!(out, "{line}").and_then(|()| out.flush());
                Ok(written.is_ok() && left != Some(0))
            })?;
        Ok(String::new())
    }

    fn line<T: Serialize>(&self, of: &T, text: fn(&T) -> String) -> Result<String, OperateError> {
        if self.ask.is_json() {
            serde_json::to_string(of).map_err(|error| OperateError::Local(error.to_string()))
        } else {
            Ok(text(of))
        }
    }
}

fn lost_text(lost: &Lost) -> String {
    format!("lost {}", lost.count)
}

fn text(event: &Event) -> String {
    let time = clock(event.at_ms);
    let named = [
        ("room", &event.room),
        ("participant", &event.participant),
        ("identity", &event.identity),
        ("track", &event.track),
        ("plugin", &event.plugin),
    ];
    let mut line = format!("{time} {}", event.kind);
    for (name, value) in named.into_iter().filter(|(_, value)| !value.is_empty()) {
        line += &format!(" {name}={value}");
    }
    if !event.detail.is_empty() {
        line += &format!(" ({})", event.detail);
    }
    // What comes from clients and plugins, without what a terminal would obey.
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_no_terminal_obeys() {
        let event = Event {
            at_ms: 1_764_160_496_007,
            kind: "joined".to_owned(),
            room: "a\nb".to_owned(),
            participant: "7".to_owned(),
            detail: "Ada\u{1b}[2J".to_owned(),
            ..Event::default()
        };
        assert_eq!(
            text(&event),
            "12:34:56.007Z joined room=ab participant=7 (Ada[2J)"
        );
        assert_eq!(lost_text(&Lost { count: 3 }), "lost 3");
    }
}
