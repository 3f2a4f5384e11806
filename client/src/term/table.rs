//! Tables: framed for a person, bare for a pipe.

use super::{
    boxed,
    text::Text,
    theme::{BOLD, DIM},
};
use std::fmt::Write as _;

/// Cells between two columns.
const GAP: usize = 2;
/// A column that gives way is not made narrower than this.
const NARROWEST: usize = 10;

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// At the left.
    Left(&'static str),
    /// Numbers: at the right.
    Right(&'static str),
    /// At the left, and shortened first when there is no room.
    Gives(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Left(t) | Self::Right(t) | Self::Gives(t) => t,
        }
    }
}

/// Rows under titles.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Text>>,
}

impl Table {
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one text per column.
    pub fn row(&mut self, row: impl IntoIterator<Item = Text>) {
        self.rows.push(row.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In a frame with a title and a footer, no wider than the terminal.
    pub fn framed(&self, title: &str, footer: &str, columns: usize) -> String {
        let room = columns.saturating_sub(4);
        let widths = self.widths(Some(room));
        // Too narrow even so: the last columns are the least.
        if widths.len() > 2 && total(&widths) > room {
            let mut fewer = self.clone();
            fewer.columns.pop();
            return fewer.framed(title, footer, columns);
        }
        let body = self.lines(&widths);
        let widest = body.iter().map(Text::width).max().unwrap_or(0);
        let least = title.chars().count().max(footer.chars().count()) + 6;
        let width = (widest + 4).max(least).min(columns);
        boxed::lines(title, footer, &body, width, DIM)
    }

    /// Without a frame and without any limit to its width.
    pub fn bare(&self) -> String {
        let mut out = String::new();
        for line in self.lines(&self.widths(None)) {
            let _ = writeln!(out, "{}", line.to_string().trim_end());
        }
        out
    }

    /// Framed where a person reads, bare in a pipe; columns that say nothing are left out.
    pub fn print(&self, title: &str, footer: &str) {
        let this = self.without_empty_columns();
        if super::on_terminal() {
            anstream::print!("{}", this.framed(title, footer, super::columns()));
        } else {
            anstream::print!("{}", this.bare());
        }
    }

    fn without_empty_columns(&self) -> Self {
        let says = |i: &usize| {
            let mut cells = self.rows.iter().filter_map(|r| r.get(*i));
            cells.any(|cell| cell.width() > 0)
        };
        let kept: Vec<usize> = (0..self.columns.len()).filter(says).collect();
        let pick = |row: &Vec<Text>| kept.iter().filter_map(|i| row.get(*i).cloned()).collect();
        Self {
            columns: kept.iter().map(|i| self.columns[*i]).collect(),
            rows: self.rows.iter().map(pick).collect(),
        }
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                let cells = self.rows.iter().filter_map(|r| r.get(i)).map(Text::width);
                let title = self.columns[i].title().len();
                cells.max().unwrap_or(0).max(title)
            })
            .collect();
        if let Some(limit) = limit {
            while total(&widths) > limit {
                let widest = (0..widths.len())
                    .filter(|i| matches!(self.columns[*i], Column::Gives(_)))
                    .filter(|i| widths[*i] > NARROWEST)
                    .max_by_key(|i| widths[*i]);
                let Some(widest) = widest else { break };
                widths[widest] -= 1;
            }
        }
        widths
    }

    fn lines(&self, widths: &[usize]) -> Vec<Text> {
        let titles = self
            .columns
            .iter()
            .map(|c| Text::styled(BOLD, c.title()))
            .collect();
        std::iter::once(&titles)
            .chain(&self.rows)
            .map(|row| {
                let mut line = Text::default();
                for (i, cell) in row.iter().enumerate().take(widths.len()) {
                    let right = matches!(self.columns[i], Column::Right(_));
                    let last = i + 1 == widths.len();
                    let width = if last && !right { 0 } else { widths[i] };
                    let cell = cell.clone().fitted(widths[i]).padded(width, right);
                    line = line.joined(cell);
                    if !last {
                        line = line.joined(Text::plain(" ".repeat(GAP)));
                    }
                }
                line
            })
            .collect()
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    fn table() -> Table {
        let mut table = Table::new(&[Column::Gives("Name"), Column::Right("Size")]);
        table.row(["千と千尋の神隠し.mkv".into(), "1.2 GiB".into()]);
        table.row(["a.txt".into(), "5 B".into()]);
        table
    }

    #[test]
    fn columns_line_up() {
        let bare = table().bare();
        let bare = anstream::adapter::strip_str(&bare).to_string();
        let ends: Vec<usize> = bare.lines().map(str::width).collect();
        assert_eq!(ends, [29, 29, 29]);
    }

    #[test]
    fn a_narrow_terminal_shortens_names_in_their_middle() {
        let framed = table().framed("films:", "2 objects", 30);
        let framed = anstream::adapter::strip_str(&framed).to_string();
        assert!(framed.lines().all(|l| l.width() <= 30), "{framed}");
        assert!(framed.contains('…') && framed.contains(".mkv"), "{framed}");
    }
}
