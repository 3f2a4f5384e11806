//! How things look in a terminal: styled text, boxes, tables, bars, questions.
//!
//! Everything here builds strings; `anstream` strips the colours where they do not belong
//! (pipes, `NO_COLOR`, `--color never`).

pub mod bars;
pub mod boxed;
pub mod help;
pub mod human;
pub mod live;
pub mod prompt;
pub mod table;
pub mod text;
pub mod theme;

use std::io::{IsTerminal as _, stderr, stdout};

/// The widest box; longer lines are hard to read.
const WIDEST_BOX: usize = 100;
/// The narrowest terminal that is laid out for.
const NARROWEST: usize = 40;

/// Cells across, as the terminal says, for tables.
pub fn columns() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let real = || {
        [
            rustix::termios::tcgetwinsize(stdout()).ok(),
            rustix::termios::tcgetwinsize(stderr()).ok(),
        ]
        .into_iter()
        .flatten()
        .map(|size| usize::from(size.ws_col))
        .find(|columns| *columns > 0)
    };
    asked.or_else(real).unwrap_or(WIDEST_BOX).max(NARROWEST)
}

/// Cells across for boxes of help and errors.
pub fn box_width() -> usize {
    columns().min(WIDEST_BOX)
}

/// Whether a person reads standard output.
pub fn on_terminal() -> bool {
    stdout().is_terminal()
}

/// Whether a person reads standard error.
pub fn progress_on_terminal() -> bool {
    stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}
