//! Tables: their rows from a sample, and how somebody looks at them: order, filter, selection, page.

use std::cmp::Ordering;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Cells at most; 0: what is left.
    pub(super) width: u16,
    /// Numbers stand at the right.
    pub(super) number: bool,
}

/// A column of words; `width` 0: what is left.
pub(super) const fn words(title: &'static str, width: u16) -> Column {
    Column {
        title,
        width,
        number: false,
    }
}

/// A column of numbers.
pub(super) const fn numbers(title: &'static str, width: u16) -> Column {
    Column {
        title,
        width,
        number: true,
    }
}

/// How much a cell wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mood {
    /// Like the others.
    #[default]
    Plain,
    /// Nothing to see.
    Dim,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Alarm,
}

/// A cell: what it shows, and what it is sorted by.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) number: Option<f64>,
    pub(super) mood: Mood,
}

impl Cell {
    /// A word.
    pub(super) fn word(text: &str) -> Cell {
        Cell {
            text: super::text::plain(text),
            ..Cell::default()
        }
    }

    /// A number as it is shown.
    pub(super) fn number(number: f64, text: String) -> Cell {
        Cell {
            text,
            number: Some(number),
            mood: Mood::Plain,
        }
    }

    /// A count.
    pub(super) fn count(count: impl Into<u64>) -> Cell {
        let count = count.into();
        Cell::number(count as f64, count.to_string())
    }

    /// The same in another mood, if that is so.
    pub(super) fn mood(mut self, mood: Mood, so: bool) -> Cell {
        if so {
            self.mood = mood;
        }
        self
    }
}

/// A row; `key` tells it from all others, from sample to sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
}

/// Rows under columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Row>,
}

/// How somebody looks at a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// Column that rows are sorted by.
    pub(super) sort: usize,
    /// The other way round: for numbers, the smallest first.
    pub(super) reverse: bool,
    /// Only rows with this in a cell.
    pub(super) filter: String,
    /// Key of the selected row. It stays selected wherever it moves.
    pub(super) selected: Option<String>,
    /// Where it was last, for when its row is gone.
    at: usize,
    /// First row shown.
    top: usize,
}

impl Look {
    /// Sorted by this column.
    pub(super) fn by(sort: usize) -> Look {
        Look {
            sort,
            ..Look::default()
        }
    }

    /// Filters and sorts the rows, and keeps the selection among them.
    pub(super) fn apply(&mut self, table: &mut Table) {
        let wanted = self.filter.to_lowercase();
        if !wanted.is_empty() {
            let has = |row: &Row| {
                let mut cells = row.cells.iter();
                cells.any(|cell| cell.text.to_lowercase().contains(&wanted))
            };
            table.rows.retain(has);
        }
        self.sort = self.sort.min(table.columns.len().saturating_sub(1));
        let (sort, reverse) = (self.sort, self.reverse);
        table.rows.sort_by(|a, b| {
            let order = order(a.cells.get(sort), b.cells.get(sort));
            let order = if reverse { order.reverse() } else { order };
            // Equal rows must not dance from sample to sample.
            order.then_with(|| a.key.cmp(&b.key))
        });
        let last = table.rows.len().saturating_sub(1);
        let selected = self.selected.as_deref();
        let found = table
            .rows
            .iter()
            .position(|row| Some(&*row.key) == selected);
        self.at = found.unwrap_or(self.at.min(last));
        self.selected = table.rows.get(self.at).map(|row| row.key.clone());
    }

    /// Row of the selection, as of the last [`Look::apply`].
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Moves the selection among these rows.
    pub(super) fn step(&mut self, table: &Table, by: isize) {
        let last = table.rows.len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
        self.selected = table.rows.get(self.at).map(|row| row.key.clone());
    }

    /// The first row to show where `height` fit, so that the selected one is among them.
    pub(super) fn first(&mut self, rows: usize, height: usize) -> usize {
        let most = rows.saturating_sub(height);
        self.top = self.top.min(most).min(self.at);
        if height > 0 && self.at >= self.top + height {
            self.top = self.at + 1 - height;
        }
        self.top
    }

    /// Sorts by another column, to the right or to the left.
    pub(super) fn sort_by(&mut self, table: &Table, step: isize) {
        let columns = table.columns.len().max(1);
        let columns_signed = isize::try_from(columns).unwrap_or(1);
        let sort = isize::try_from(self.sort).unwrap_or(0) + step;
        self.sort = usize::try_from(sort.rem_euclid(columns_signed)).unwrap_or(0);
        self.reverse = false;
    }
}

/// Words from A, numbers from the largest; what has no number comes last.
fn order(a: Option<&Cell>, b: Option<&Cell>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else {
        return Ordering::Equal;
    };
    match (a.number, b.number) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.text.to_lowercase().cmp(&b.text.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [words("NAME", 0), numbers("RATE", 8)];

    fn table(rows: &[(&str, f64)]) -> Table {
        let rows = rows.iter().map(|(name, rate)| Row {
            key: (*name).to_owned(),
            cells: vec![Cell::word(name), Cell::number(*rate, rate.to_string())],
        });
        Table {
            columns: &COLUMNS,
            rows: rows.collect(),
        }
    }

    fn names(table: &Table) -> Vec<&str> {
        table.rows.iter().map(|row| row.key.as_str()).collect()
    }

    #[test]
    fn words_sort_from_a_and_numbers_from_the_largest() {
        let rows = [("b", 1.0), ("C", 3.0), ("a", 2.0), ("d", 3.0)];
        let sorted = |sort, reverse| {
            let mut table = table(&rows);
            let mut look = Look::by(sort);
            look.reverse = reverse;
            look.apply(&mut table);
            names(&table).join("")
        };
        assert_eq!(sorted(0, false), "abCd");
        assert_eq!(sorted(0, true), "dCba");
        assert_eq!(sorted(1, false), "Cdab", "equal ones by their key");
        assert_eq!(sorted(1, true), "baCd");
        assert_eq!(sorted(9, false), "Cdab", "there is no such column");
    }

    #[test]
    fn the_selection_stays_with_its_row() {
        let mut look = Look::by(1);
        let mut first = table(&[("a", 3.0), ("b", 2.0), ("c", 1.0)]);
        look.apply(&mut first);
        look.step(&first, 1);
        assert_eq!(look.selected.as_deref(), Some("b"));
        let mut second = table(&[("a", 3.0), ("b", 0.0), ("c", 1.0)]);
        look.apply(&mut second);
        assert_eq!((look.at(), look.selected.as_deref()), (2, Some("b")));
        let mut third = table(&[("a", 3.0), ("c", 1.0)]);
        look.apply(&mut third);
        assert_eq!(look.selected.as_deref(), Some("c"), "its row is gone");
        look.step(&third, -100);
        assert_eq!(look.selected.as_deref(), Some("a"));
        look.apply(&mut table(&[]));
        assert_eq!(look.selected, None);
    }

    #[test]
    fn a_filter_looks_into_every_cell() {
        let mut look = Look::by(0);
        look.filter = "STAND".to_owned();
        let mut rooms = table(&[("standup", 1.0), ("lunch", 2.0), ("understand", 3.0)]);
        look.apply(&mut rooms);
        assert_eq!(names(&rooms), ["standup", "understand"]);
    }

    #[test]
    fn a_page_shows_the_selected_row() {
        let rows: Vec<_> = (0..100)
            .map(|n| (format!("{n:03}"), f64::from(n)))
            .collect();
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, rate)| (name.as_str(), *rate))
            .collect();
        let mut table = table(&rows);
        let mut look = Look::by(0);
        look.apply(&mut table);
        assert_eq!(look.first(100, 10), 0);
        look.step(&table, 9);
        assert_eq!(look.first(100, 10), 0);
        look.step(&table, 1);
        assert_eq!(look.first(100, 10), 1);
        look.step(&table, 1_000);
        assert_eq!(look.first(100, 10), 90);
        look.step(&table, -5);
        assert_eq!(look.first(100, 10), 90, "it is on the page still");
        assert_eq!(look.first(100, 0), 90, "no room at all");
        look.sort_by(&table, -1);
        assert_eq!(look.sort, 1);
        look.sort_by(&table, 1);
        assert_eq!(look.sort, 0);
    }
}
