//! Rounded boxes with a title in their frame.

use super::text::Text;
use anstyle::Style;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// A line of two columns.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// What is explained.
    pub left: Text,
    /// The explanation; wrapped.
    pub right: Text,
}

impl Row {
    pub fn new(left: impl Into<Text>, right: impl Into<Text>) -> Self {
        Self {
            left: left.into(),
            right: right.into(),
        }
    }
}

/// A box of lines, each cut to fit.
pub fn lines(title: &str, footer: &str, body: &[Text], width: usize, frame: Style) -> String {
    let inner = width.saturating_sub(4);
    let mut out = String::new();
    edge(&mut out, ('╭', '╮'), title, width, frame);
    for line in body {
        let line = line.clone().fitted(inner).padded(inner, false);
        let _ = writeln!(out, "{frame}│{frame:#} {line} {frame}│{frame:#}");
    }
    edge(&mut out, ('╰', '╯'), footer, width, frame);
    out
}

/// A box of wrapped paragraphs.
pub fn paragraphs(title: &str, body: &[Text], width: usize, frame: Style) -> String {
    let inner = width.saturating_sub(4);
    let body: Vec<Text> = body.iter().flat_map(|p| p.wrapped(inner)).collect();
    lines(title, "", &body, width, frame)
}

/// A box of two columns; the left one is at least `min_left` wide, so that boxes line up.
pub fn rows(title: &str, body: &[Row], width: usize, frame: Style, min_left: usize) -> String {
    let inner = width.saturating_sub(4);
    let widest = body.iter().map(|row| row.left.width()).max().unwrap_or(0);
    let left = widest.max(min_left).min(inner * 3 / 5);
    let right = inner.saturating_sub(left + 2).max(1);
    let mut laid = Vec::new();
    for row in body {
        let mut explained = row.right.wrapped(right).into_iter();
        // A left side that is too long stands alone, its explanation below it.
        let first = if row.left.width() > left {
            laid.extend(row.left.wrapped(inner));
            Text::default()
        } else {
            row.left.clone()
        };
        if row.left.width() <= left {
            let line = explained.next().unwrap_or_default();
            laid.push(joined(first, left, line));
        }
        laid.extend(
            explained
                .filter(|line| line.width() > 0)
                .map(|line| joined(Text::default(), left, line)),
        );
    }
    lines(title, "", &laid, width, frame)
}

fn joined(left: Text, width: usize, right: Text) -> Text {
    left.padded(width + 2, false).joined(right)
}

fn edge(out: &mut String, corners: (char, char), title: &str, width: usize, frame: Style) {
    let title = Text::plain(title).fitted(width.saturating_sub(6)).bare();
    let (title, taken) = if title.is_empty() {
        (String::new(), 0)
    } else {
        let taken = title.width() + 3;
        (format!("─ {title} "), taken)
    };
    let rest = "─".repeat(width.saturating_sub(2 + taken));
    let _ = writeln!(
        out,
        "{frame}{}{title}{rest}{}{frame:#}",
        corners.0, corners.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::theme::DIM;

    #[test]
    fn every_line_is_as_wide_as_the_box() {
        let body = [
            Row::new(
                "push",
                "Upload files and folders; resumes what was interrupted",
            ),
            Row::new(
                "a very long thing that is on the left side of the box",
                "why",
            ),
            Row::new("千と千尋", ""),
        ];
        for width in [40, 60, 100] {
            let drawn = rows("Title 千", &body, width, DIM, 0);
            for line in anstream::adapter::strip_str(&drawn).to_string().lines() {
                assert_eq!(line.width(), width, "{line}");
            }
        }
    }
}
