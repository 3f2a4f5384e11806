//! What moves on a terminal without being a transfer's own: tables that are drawn again in place, and bars in their cells.

use super::{
    text::Text,
    theme::{BUSY, DIM, PLAIN},
};
use crate::term::human;
use std::{fmt::Write as _, io::Write as _};

/// How many cells a progress bar takes.
const BAR_CELLS: usize = 12;

/// A bar and its share in percent.
pub fn bar(share: f64) -> Text {
    let share = share.clamp(0.0, 1.0);
    let full = (share * BAR_CELLS as f64).round() as usize;
    Text::styled(BUSY, "━".repeat(full))
        .and(DIM, "━".repeat(BAR_CELLS - full))
        .and(PLAIN, format!(" {}", human::percent(share)))
}

/// A frame that stands where the last one stood.
#[derive(Debug, Default)]
pub struct Live {
    drawn: usize,
}

impl Live {
    /// Draws a frame, and how to get out of here below it.
    pub fn draw(&mut self, mut frame: String) {
        let _ = writeln!(frame, "{}", Text::styled(DIM, " Ctrl-C ends"));
        let mut out = anstream::stdout().lock();
        // Up to where the last frame began, and away with it.
        let up = if self.drawn > 0 {
            format!("\x1b[{}A\r\x1b[J", self.drawn)
        } else {
            String::new()
        };
        let _ = write!(out, "{up}{frame}");
        let _ = out.flush();
        self.drawn = frame.lines().count();
    }
}
