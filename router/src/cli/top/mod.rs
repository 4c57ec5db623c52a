//! `rillway top`: a running router, live in the terminal.

mod draw;
mod feed;
mod model;
mod rows;
mod table;
mod text;
mod why;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::Rect;

use super::operate::{Ask, OperateError};
use draw::{HEIGHT_MIN, Palette, WIDTH_MIN, draw};
use feed::Feed;
use model::{Model, News};

/// Longest wait for a key; news wait as long for their place on the screen.
const KEY_TIME: Duration = Duration::from_millis(100);
/// The screen is drawn this often even if nothing has come: it says for how long.
const DRAW_TIME: Duration = Duration::from_secs(1);
/// Cells of a line with `--once`.
const ONCE_WIDTH: u16 = 100;
/// Time that two samples have to come.
const ONCE_TIME: Duration = Duration::from_secs(20);

pub(super) const HELP: &str = "\
Examples:
  rillway top                   the `rillway dev` that runs on this machine
  rillway top --room standup    begins in a room
  rillway top --once            one picture as plain text
  rillway top --once --json     one sample, with rates over a second

In it, ? lists the keys. Numbers come once a second; a router that goes away is waited for.";

/// `rillway top`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Top {
    /// Begin with who is in this room
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Seconds between numbers, 1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    interval: u32,
    /// Print one picture and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    ask: Ask,
}

impl Top {
    /// Shows it until `q`; or prints it once.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        if self.ask.is_json() && !self.once {
            let why = "add `--once`; `rillway events --json` is for programs that go on";
            return Err(OperateError::argument(&"--json", &why));
        }
        let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
        if !(self.once || terminal) {
            let why = "this is no terminal; `--once` prints a picture";
            return Err(OperateError::argument(&"rillway top", &why));
        }
        let (sender, news) = mpsc::channel();
        let feed = Feed::start(self.ask.clone(), self.interval * 1_000, sender)?;
        let mut model = Model::new(self.room.clone());
        feed.want(model.wanted());
        if self.once {
            return self.print(&news, &mut model);
        }
        // Before the terminal is taken, so that an error is seen where errors are.
        first(&news, &mut model)?;
        // It gives the terminal back at a panic too.
        let mut terminal = ratatui::try_init().map_err(|error| local(&error))?;
        let result = show(&mut terminal, &feed, &news, &mut model);
        ratatui::restore();
        result.map(|()| String::new())
    }

    /// One picture, of two samples: rates need both.
    fn print(&self, news: &Receiver<News>, model: &mut Model) -> Result<String, OperateError> {
        let end = Instant::now() + ONCE_TIME;
        while model
            .sample
            .as_ref()
            .is_none_or(|sample| sample.over_ms == 0)
        {
            let left = end.saturating_duration_since(Instant::now());
            match news.recv_timeout(left) {
                Ok(News::Failed(error)) => return Err(error),
                Ok(News::Gone(why)) => return Err(OperateError::Local(why)),
                Ok(news) => model.news(news),
                Err(_) => {
                    let why = format!("no numbers within {} s", ONCE_TIME.as_secs());
                    return Err(OperateError::Local(why));
                }
            }
        }
        match (&model.sample, self.ask.is_json()) {
            (Some(sample), true) => self.ask.show(&**sample, |_| String::new()),
            _ => Ok(picture(model)),
        }
    }
}

fn local(error: &dyn std::fmt::Display) -> OperateError {
    OperateError::Local(error.to_string())
}

/// Waits until there is a router, or an error.
fn first(news: &Receiver<News>, model: &mut Model) -> Result<(), OperateError> {
    while model.sample.is_none() {
        match news.recv() {
            Ok(News::Failed(error)) => return Err(error),
            Ok(News::Gone(why)) => return Err(OperateError::Local(why)),
            Ok(News::End) | Err(_) => return Err(OperateError::Local("interrupted".to_owned())),
            Ok(news) => model.news(news),
        }
    }
    Ok(())
}

/// Everything there is, as lines without colours.
fn picture(model: &mut Model) -> String {
    let rows = model.table().map_or(0, |table| table.rows.len());
    let height = u16::try_from(rows + 16).unwrap_or(u16::MAX).max(HEIGHT_MIN);
    let area = Rect::new(0, 0, ONCE_WIDTH.max(WIDTH_MIN), height);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer, model, Palette { coloured: false });
    let mut lines = lines(&buffer);
    // The keys, which nobody can press.
    lines.pop();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

/// The text of a buffer.
fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width.max(1));
    let rows = buffer.content.chunks(width);
    let lines = rows.map(|row| {
        let text: String = row.iter().map(|cell| cell.symbol()).collect();
        text.trim_end().to_owned()
    });
    lines.collect()
}

fn show(
    terminal: &mut DefaultTerminal,
    feed: &Feed,
    news: &Receiver<News>,
    model: &mut Model,
) -> Result<(), OperateError> {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let palette = Palette { coloured: !plain };
    let mut drawn: Option<Instant> = None;
    loop {
        let mut changed = drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW_TIME);
        loop {
            match news.try_recv() {
                Ok(News::Failed(error)) => return Err(error),
                Ok(one) => {
                    model.news(one);
                    changed = true;
                }
                Err(_) => break,
            }
        }
        if model.ended {
            return Ok(());
        }
        if changed {
            let shown =
                terminal.draw(|frame| draw(frame.area(), frame.buffer_mut(), model, palette));
            shown.map_err(|error| local(&error))?;
            drawn = Some(Instant::now());
        }
        if event::poll(KEY_TIME).map_err(|error| local(&error))? {
            match event::read().map_err(|error| local(&error))? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if !model.key(key) {
                        return Ok(());
                    }
                    feed.want(model.wanted());
                }
                _ => {}
            }
            drawn = None;
        }
    }
}
