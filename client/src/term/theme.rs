//! The palette: sixteen-colour names only, so that every terminal's own theme applies.

use anstyle::{AnsiColor as Color, Style};

pub const PLAIN: Style = Style::new();
pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();
/// Commands, options, names.
pub const NAME: Style = Color::Cyan.on_default().bold();
/// Short options, things to type.
pub const TYPE_THIS: Style = Color::Green.on_default().bold();
/// Placeholders and kinds.
pub const KIND: Style = Color::Yellow.on_default().bold();
pub const GOOD: Style = Color::Green.on_default();
pub const BAD: Style = Color::Red.on_default();
pub const BAD_BOLD: Style = Color::Red.on_default().bold();
pub const WARN: Style = Color::Yellow.on_default();
pub const BUSY: Style = Color::Cyan.on_default();
/// Folders and buckets.
pub const FOLDER: Style = Color::Blue.on_default().bold();

/// Whether standard error shows colours, as `anstream` would decide.
pub fn colours_on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}
