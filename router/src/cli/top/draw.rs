//! The model → cells of a terminal.
//!
//! Colours are those of the terminal's own palette that are readable on light and on dark, and never the only
//! sign: what is selected is reversed, what is wrong is bold.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Clear, Paragraph, Sparkline, SparklineBar, Widget, Wrap};

use super::model::{Link, Model, Place};
use super::rows;
use super::table::{Cell, Column, Look, Mood, Row, Table};
use super::text::{age, bits, bytes, micros, percent, plain};
use super::why;
use crate::management::wire::Sample;

/// Smaller than this, a terminal shows only that.
pub(super) const WIDTH_MIN: u16 = 78;
pub(super) const HEIGHT_MIN: u16 = 16;

/// Workers shown above the rooms at most.
const WORKERS_SHOWN: usize = 4;

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Palette {
    pub(super) coloured: bool,
}

impl Palette {
    fn colour(self, style: Style, colour: Color) -> Style {
        match self.coloured {
            true => style.fg(colour),
            false => style,
        }
    }

    fn mood(self, mood: Mood) -> Style {
        match mood {
            Mood::Plain => Style::new(),
            Mood::Dim => Style::new().add_modifier(Modifier::DIM),
            Mood::Warn => self.colour(Style::new(), Color::Magenta),
            Mood::Alarm => self.colour(bold(), Color::Red),
        }
    }

    fn line(self) -> Style {
        self.colour(Style::new(), Color::Cyan)
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// A place to write lines into, from the top.
struct Page<'a> {
    left: Rect,
    buffer: &'a mut Buffer,
    palette: Palette,
}

impl Page<'_> {
    /// Takes lines off the top.
    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.left.height);
        let taken = Rect {
            height,
            ..self.left
        };
        self.left.y += height;
        self.left.height -= height;
        taken
    }

    /// Writes pieces one after the other on the next line.
    fn line(&mut self, pieces: &[(&str, Style)]) {
        let area = self.take(1);
        if area.height == 0 {
            return;
        }
        let mut x = area.x;
        for (text, style) in pieces {
            let room = usize::from(area.right().saturating_sub(x));
            (x, _) = self.buffer.set_stringn(x, area.y, text, room, *style);
        }
    }
}

/// Draws everything.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, model: &mut Model, palette: Palette) {
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!(
            "This terminal has {} x {} cells, and rillway top needs {WIDTH_MIN} x {HEIGHT_MIN}.\nMake it larger, or press q.",
            area.width, area.height
        );
        let text = Paragraph::new(text).wrap(Wrap { trim: true });
        return text.render(area, buffer);
    }
    let footer = Rect {
        y: area.bottom() - 1,
        height: 1,
        ..area
    };
    let mut page = Page {
        left: Rect {
            height: area.height - 1,
            ..area
        },
        buffer,
        palette,
    };
    head(&mut page, model);
    if model.help {
        help(&mut page);
    } else {
        body(&mut page, model);
    }
    foot(footer, buffer, model);
}

fn head(page: &mut Page<'_>, model: &Model) {
    let router = model.router.as_str();
    let Some(sample) = model.sample.as_deref() else {
        page.line(&[("rillway top ", bold()), (router, Style::new())]);
        let text = match &model.link {
            Link::Connecting => "connecting …".to_owned(),
            Link::Up => "connected; the first numbers come within a second or two …".to_owned(),
            Link::Down { .. } => String::new(),
        };
        page.line(&[(&text, Style::new())]);
        return link(page, model);
    };
    let up = format!("  up {}", age(sample.uptime_ms));
    let memory = format!("  memory {}", bytes(sample.memory_bytes));
    let name = format!("rillway {} ", sample.version);
    let serving = sample.phase == "serving";
    let phase = page
        .palette
        .mood(if serving { Mood::Plain } else { Mood::Alarm });
    page.line(&[
        (&name, bold()),
        (router, Style::new()),
        ("  ", Style::new()),
        (&sample.phase, phase),
        (&up, Style::new()),
        (&memory, Style::new()),
    ]);
    totals(page, sample, model.lost);
    counts(page, sample);
    lines(page, model);
    link(page, model);
}

fn counts(page: &mut Page<'_>, sample: &Sample) {
    let sum = |count: fn(&crate::management::wire::WorkerSample) -> u64| -> u64 {
        sample.workers.iter().map(count).sum()
    };
    let mut text = format!(
        "rooms {}  people {}  tracks {}  subscriptions {}",
        sample.rooms_open,
        sum(|worker| worker.participants),
        sum(|worker| worker.tracks),
        sum(|worker| worker.subscriptions),
    );
    let recorded = sample.recording.unwrap_or_default().tracks;
    if recorded > 0 {
        text += &format!("  recording {recorded}");
    }
    page.line(&[(&text, Style::new())]);
}

fn totals(page: &mut Page<'_>, sample: &Sample, lost: u64) {
    let known = sample.over_ms > 0;
    let rate = |bps: fn(&crate::management::wire::WorkerSample) -> u64| match known {
        true => bits(sample.workers.iter().map(bps).sum()),
        false => "-".to_owned(),
    };
    let sent: f64 = sample.rooms.iter().map(|r| r.packets_sent_per_second).sum();
    let missing = sample
        .rooms
        .iter()
        .map(|r| r.loss_permille * r.packets_sent_per_second);
    let missing: f64 = missing.sum();
    let loss = match sent > 0.0 {
        true => percent(missing / sent / 1_000.0),
        false => "-".to_owned(),
    };
    let latency = super::model::forwarding(sample).map_or_else(
        || "-".to_owned(),
        |(p50, p99)| format!("p50 {} p99 {}", micros(p50 as f64), micros(p99 as f64)),
    );
    let mut text = format!(
        "in {} bit/s  out {} bit/s  loss {loss}  latency {latency}",
        rate(|worker| worker.received_bps),
        rate(|worker| worker.sent_bps),
    );
    if lost > 0 {
        text += &format!("  samples lost {lost}");
    }
    page.line(&[(&text, Style::new())]);
    if let [first, ..] = sample.silent_workers.as_slice() {
        let text = format!("worker {first} does not answer: its rooms are missing");
        let style = page.palette.mood(Mood::Alarm);
        page.line(&[(&text, style)]);
    }
}

/// Sparklines of latency and bit rate, side by side.
fn lines(page: &mut Page<'_>, model: &Model) {
    let area = page.take(2);
    let half = area.width / 2;
    let left = Rect {
        width: half,
        ..area
    };
    let right = Rect {
        x: area.x + half,
        width: area.width - half,
        ..area
    };
    let top = |history: &std::collections::VecDeque<Option<u64>>, width: u16| {
        let shown = history.iter().rev().take(usize::from(width)).flatten();
        shown.max().copied().unwrap_or(0)
    };
    let latency = format!(" p99 of {}", micros(top(&model.latency, half - 18) as f64));
    spark(page, left, &latency, model.latency.iter());
    let sent = format!(" out of {}", bits(top(&model.sent, half - 18)));
    spark(page, right, &sent, model.sent.iter());
}

/// A sparkline with its name and its top at the left.
fn spark<'a>(
    page: &mut Page<'_>,
    area: Rect,
    name: &str,
    values: impl DoubleEndedIterator<Item = &'a Option<u64>>,
) {
    let Rect { x, y, width, .. } = area;
    page.buffer.set_stringn(x, y, name, 17, Style::new());
    let area = Rect {
        x: x + 18,
        width: width.saturating_sub(19),
        ..area
    };
    let mut shown: Vec<SparklineBar> = values
        .rev()
        .take(usize::from(area.width))
        .map(|value| SparklineBar::from(*value))
        .collect();
    shown.reverse();
    Sparkline::default()
        .data(shown)
        .style(page.palette.line())
        .absent_value_symbol(" ")
        .render(area, page.buffer);
}

/// A line where there is no router any more.
fn link(page: &mut Page<'_>, model: &Model) {
    if let Link::Down { why, since } = &model.link {
        let seconds = since.elapsed().as_secs();
        let why = why.split(';').next().unwrap_or(why);
        let text = format!("{} - trying again ({seconds} s)", plain(why));
        let style = page
            .palette
            .mood(Mood::Alarm)
            .add_modifier(Modifier::REVERSED);
        page.line(&[(&text, style)]);
    }
}

fn body(page: &mut Page<'_>, model: &mut Model) {
    let place = model.place();
    page.line(&[]);
    if place == Place::Rooms && page.left.height > 12 {
        workers(page, model.sample.as_deref());
        page.line(&[]);
    }
    tabs(page, &place, model.sample.as_deref());
    if let Place::Why {
        participant, track, ..
    } = &place
    {
        let area = page.left;
        let text = why::text(model, participant, track);
        let text = Paragraph::new(text).wrap(Wrap { trim: false });
        return text.render(area, page.buffer);
    }
    if let Some(table) = model.table() {
        let empty = empty(&place, model);
        let look = model.look();
        if table.rows.is_empty() {
            header(page, table.columns, None);
            page.line(&[(&empty, Style::new().add_modifier(Modifier::DIM))]);
        } else {
            list(page, &table, look);
        }
    }
}

/// What an empty table says.
fn empty(place: &Place, model: &mut Model) -> String {
    let filter = model.look().filter.clone();
    if !filter.is_empty() {
        return format!("nothing has `{}` in it; Esc shows all", plain(&filter));
    }
    match (place, model.sample.is_some()) {
        (_, false) => String::new(),
        (Place::Rooms, _) => "no room is open: nobody has joined one".to_owned(),
        (Place::Room(room), _) => format!("room {} is not open", plain(room)),
        (Place::Person { .. }, _) => "it receives nothing, or is not there any more".to_owned(),
        _ => "there is none".to_owned(),
    }
}

fn workers(page: &mut Page<'_>, sample: Option<&Sample>) {
    let columns = rows::worker_columns();
    header(page, columns, None);
    let all = sample
        .map(|sample| sample.workers.as_slice())
        .unwrap_or_default();
    for worker in all.iter().take(WORKERS_SHOWN) {
        row(page, columns, &rows::worker_row(worker), false);
    }
    let more = all.len().saturating_sub(WORKERS_SHOWN);
    if more > 0 {
        let text = format!("and {more} more: press 2");
        page.line(&[(&text, Style::new().add_modifier(Modifier::DIM))]);
    }
}

/// Where one is.
fn tabs(page: &mut Page<'_>, place: &Place, sample: Option<&Sample>) {
    let detail = sample.and_then(|sample| sample.room.as_ref());
    let name = |id: &str| {
        let people = detail.into_iter().flat_map(|detail| &detail.participants);
        let mut people = people.filter_map(|sample| sample.participant.as_ref());
        let found = people.find(|participant| participant.id == id);
        plain(found.map_or(id, rows::called))
    };
    let path = match place {
        Place::Room(room) => vec![plain(room)],
        Place::Person { room, id } => vec![plain(room), format!("{} receives", name(id))],
        Place::Why {
            room,
            participant,
            track,
        } => {
            let why = format!("why {} gets what it gets of {track}", name(participant));
            vec![plain(room), why]
        }
        _ => Vec::new(),
    };
    let tab = |this: bool| match this {
        true => bold().add_modifier(Modifier::REVERSED),
        false => Style::new(),
    };
    let rooms = !matches!(place, Place::Workers | Place::Plugins);
    let mut pieces = vec![
        (" 1 Rooms ".to_owned(), tab(rooms)),
        (" 2 Workers ".to_owned(), tab(*place == Place::Workers)),
        (" 3 Plugins ".to_owned(), tab(*place == Place::Plugins)),
    ];
    for part in path {
        pieces.push((format!(" > {part}"), bold()));
    }
    if detail.is_some_and(|detail| detail.cut) {
        pieces.push((" (cut)".to_owned(), page.palette.mood(Mood::Warn)));
    }
    let pieces: Vec<_> = pieces
        .iter()
        .map(|(text, style)| (text.as_str(), *style))
        .collect();
    page.line(&pieces);
}

fn list(page: &mut Page<'_>, table: &Table, look: &mut Look) {
    header(page, table.columns, Some(look));
    let height = usize::from(page.left.height);
    // The last line says how many there are, if they do not fit.
    let fits = table.rows.len() <= height;
    let shown = if fits {
        height
    } else {
        height.saturating_sub(1)
    };
    let first = look.first(table.rows.len(), shown);
    let at = look.at();
    for (index, one) in table.rows.iter().enumerate().skip(first).take(shown) {
        row(page, table.columns, one, index == at);
    }
    if !fits {
        let last = (first + shown).min(table.rows.len());
        let text = format!("{} to {last} of {}", first + 1, table.rows.len());
        page.line(&[(&text, Style::new().add_modifier(Modifier::DIM))]);
    }
}

/// Where each column begins, and its width.
fn places(columns: &[Column], area: Rect) -> Vec<(u16, u16)> {
    let gaps = u16::try_from(columns.len().saturating_sub(1)).unwrap_or(0);
    let fixed: u16 = columns.iter().map(|column| column.width).sum();
    let rest = area.width.saturating_sub(fixed + gaps);
    // Names need no more than this; numbers stay together.
    let rest = rest.min(48);
    let mut x = area.x;
    let places = columns.iter().map(|column| {
        let width = if column.width == 0 {
            rest
        } else {
            column.width
        };
        let place = (x, width);
        x += width + 1;
        place
    });
    places.collect()
}

fn header(page: &mut Page<'_>, columns: &[Column], look: Option<&Look>) {
    let area = page.take(1);
    if area.height == 0 {
        return;
    }
    let style = bold().add_modifier(Modifier::UNDERLINED);
    for (index, (column, place)) in columns.iter().zip(places(columns, area)).enumerate() {
        let sorted = look.is_some_and(|look| look.sort == index);
        let style = match sorted {
            true => style.add_modifier(Modifier::REVERSED),
            false => style,
        };
        write(page.buffer, area, place, column.title, column.number, style);
    }
}

fn row(page: &mut Page<'_>, columns: &[Column], row: &Row, selected: bool) {
    let area = page.take(1);
    if area.height == 0 {
        return;
    }
    let over = match selected {
        true => Style::new().add_modifier(Modifier::REVERSED),
        false => Style::new(),
    };
    if selected {
        page.buffer.set_style(area, over);
    }
    for ((column, place), cell) in columns.iter().zip(places(columns, area)).zip(&row.cells) {
        let Cell { text, mood, .. } = cell;
        let style = page.palette.mood(*mood).patch(over);
        write(page.buffer, area, place, text, column.number, style);
    }
}

fn write(
    buffer: &mut Buffer,
    area: Rect,
    (x, width): (u16, u16),
    text: &str,
    right: bool,
    style: Style,
) {
    let width = width.min(area.right().saturating_sub(x));
    let long = u16::try_from(ratatui::text::Line::from(text).width()).unwrap_or(u16::MAX);
    let x = match right && long < width {
        true => x + width - long,
        false => x,
    };
    if width > 0 {
        buffer.set_stringn(x, area.y, text, usize::from(width), style);
    }
}

fn foot(area: Rect, buffer: &mut Buffer, model: &mut Model) {
    let filtering = model.filtering;
    let depth = match model.place() {
        Place::Rooms | Place::Room(_) | Place::Person { .. } => {
            "Enter open  Esc back  ←→ sort  r reverse  / filter  Tab pane  ? help  q quit"
        }
        Place::Why { .. } => "Esc back  Tab pane  ? help  q quit",
        _ => "←→ sort  r reverse  / filter  Tab pane  ? help  q quit",
    };
    let filter = plain(&model.look().filter);
    let text = match (filtering, filter.is_empty()) {
        (true, _) => format!("filter: {filter}_   Enter keeps it, Esc shows all"),
        (false, false) => format!("filter: {filter}   Esc shows all"),
        (false, true) => depth.to_owned(),
    };
    buffer.set_stringn(
        area.x,
        area.y,
        &text,
        usize::from(area.width),
        Style::new().add_modifier(Modifier::DIM),
    );
}

const HELP: &str = "\
1 2 3, Tab      rooms, workers, plugins
↑ ↓ j k         one row; PgUp PgDn ten; Home End g G first and last
Enter           room > who is in it > what somebody receives > why
Esc             back; from the top, the end
← → < >         sort by another column; r the other way round
/               only rows with these letters
q, Ctrl-C       the end

Rates are over the time since the numbers before, a second as a rule. IN and OUT
are bits per second, seen from the router; LOSS is what subscribers report.
CARRIES is what the network to a participant is estimated to carry. TURN, P50,
P99: how long a turn of the worker takes, and how long packets stay in it.
A `-` is not known yet, or does not apply.";

fn help(page: &mut Page<'_>) {
    page.line(&[]);
    let area = page.left;
    Clear.render(area, page.buffer);
    Paragraph::new(HELP).render(area, page.buffer);
}
