//! Styled text that knows how many cells it takes.

use super::theme::PLAIN;
use anstyle::Style;
use std::fmt;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// A line of runs, each with its style.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<(Style, String)>);

impl Text {
    /// Unstyled.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::styled(PLAIN, text)
    }

    /// In one style.
    pub fn styled(style: Style, text: impl AsRef<str>) -> Self {
        Self::default().and(style, text)
    }

    /// Goes on in a style. Control characters become `�`: names come from strangers.
    #[must_use]
    pub fn and(mut self, style: Style, text: impl AsRef<str>) -> Self {
        let clean: String = text
            .as_ref()
            .chars()
            .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
            .collect();
        if !clean.is_empty() {
            self.0.push((style, clean));
        }
        self
    }

    /// With another text behind it.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// How many cells it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, run)| run.width()).sum()
    }

    /// Without its styles.
    pub fn bare(&self) -> String {
        self.0.iter().map(|(_, run)| run.as_str()).collect()
    }

    /// Filled with spaces up to a width, the text at the left or at the right.
    #[must_use]
    pub fn padded(self, width: usize, right: bool) -> Self {
        let fill = " ".repeat(width.saturating_sub(self.width()));
        if right {
            let mut text = Self::plain(fill);
            text.0.extend(self.0);
            text
        } else {
            self.and(PLAIN, fill)
        }
    }

    /// Shortened in its middle to a width, so that both ends of a name stay readable.
    #[must_use]
    pub fn fitted(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let tail = width.saturating_sub(1) / 3;
        let head = width.saturating_sub(1) - tail;
        let style = self.0.first().map_or(PLAIN, |(style, _)| *style);
        let bare = self.bare();
        let front = take_cells(bare.chars(), head);
        let back: String = take_cells(bare.chars().rev(), tail).chars().rev().collect();
        Self::styled(style, front + "…" + &back)
    }

    /// Broken at spaces into lines of at most a width; a longer word is broken too.
    pub fn wrapped(&self, width: usize) -> Vec<Self> {
        let width = width.max(1);
        let mut lines = vec![Self::default()];
        let mut used = 0;
        let mut space = false;
        for (style, run) in &self.0 {
            for (i, word) in run.split(' ').enumerate() {
                space |= i > 0;
                let mut word = word.to_owned();
                while !word.is_empty() {
                    let gap = usize::from(space && used > 0);
                    if used + gap + word.width() <= width {
                        let line = lines.last_mut().expect("there is always a line");
                        if gap == 1 {
                            line.0.push((*style, " ".into()));
                        }
                        used += gap + word.width();
                        line.0.push((*style, std::mem::take(&mut word)));
                        space = false;
                    } else if used > 0 {
                        lines.push(Self::default());
                        used = 0;
                        space = false;
                    } else {
                        // A character wider than the line would never fit: take one all the same.
                        let mut head = take_cells(word.chars(), width);
                        if head.is_empty() {
                            head.extend(word.chars().next());
                        }
                        word.drain(..head.len());
                        lines
                            .last_mut()
                            .expect("there is always a line")
                            .0
                            .push((*style, head));
                        lines.push(Self::default());
                    }
                }
            }
        }
        if lines.len() > 1 && lines.last().is_some_and(|l| l.0.is_empty()) {
            lines.pop();
        }
        lines
    }
}

fn take_cells(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= width
        })
        .collect()
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (style, run) in &self.0 {
            write!(f, "{style}{run}{style:#}")?;
        }
        Ok(())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::theme::{BOLD, NAME};

    #[test]
    fn wide_characters_take_two_cells() {
        assert_eq!(Text::plain("千と千尋").width(), 8);
        assert_eq!(Text::plain("千と千尋の神隠し.mkv").fitted(12).width(), 12);
        assert_eq!(Text::plain("a").padded(4, true).bare(), "   a");
    }

    #[test]
    fn wrapping_keeps_words_and_styles() {
        let text = Text::plain("one two ")
            .and(BOLD, "three")
            .and(NAME, "four five");
        let lines: Vec<String> = text.wrapped(9).iter().map(Text::bare).collect();
        assert_eq!(lines, ["one two", "threefour", "five"]);
        let long = Text::plain("abcdefgh").wrapped(3);
        assert_eq!(
            long.iter().map(Text::bare).collect::<Vec<_>>(),
            ["abc", "def", "gh"]
        );
        assert_eq!(Text::default().wrapped(5).len(), 1);
        assert!(
            Text::plain("千")
                .wrapped(1)
                .iter()
                .any(|l| l.bare() == "千")
        );
    }

    #[test]
    fn a_strangers_escape_sequence_is_harmless() {
        assert!(!Text::plain("\x1b]0;pwned\x07").bare().contains('\x1b'));
    }
}
