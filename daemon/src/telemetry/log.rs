//! The log: one layer on standard error, in the shape its reader wants, with a filter that can be changed.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::fmt::{FmtContext, Layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Added to every filter: crates that shout about what is no fault of ours.
///
/// `s3s` logs each answer of class 4xx at ERROR with its debug output, though the fault is the client's and the
/// answer is logged by the door.
const QUIET: [&str; 2] = ["s3s=off", "sqlx::query=error"];

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Whatever standard error leads to: colour for a terminal, priorities for the journal, else plain text.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("the log filter does not parse: {0}")]
    Filter(#[from] ParseError),
    /// A process has one log.
    #[error("the log is set up already: {0}")]
    Installed(String),
}

/// Changes the filter of the running log.
#[derive(Clone)]
pub struct Log(reload::Handle<EnvFilter, Registry>);

impl Log {
    /// Sets the log of this process up.
    pub fn install(filter: &str, output: Output) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(parse(filter)?);
        let registry = tracing_subscriber::registry().with(filter);
        let layer = Layer::default().with_writer(std::io::stderr);
        let installed = match (output, in_journal()) {
            (Output::Json, _) => registry.with(layer.json().flatten_event(true)).try_init(),
            (Output::Text, true) => registry
                .with(layer.with_ansi(false).event_format(Journal::new()))
                .try_init(),
            (Output::Text, false) => registry
                .with(layer.with_ansi(with_colour()).with_target(false))
                .try_init(),
        };
        installed.map_err(|error| LogError::Installed(error.to_string()))?;
        Ok(Self(handle))
    }

    /// Replaces the filter; the old one stays when the new one does not parse.
    pub fn refilter(&self, filter: &str) -> Result<(), LogError> {
        self.0
            .reload(parse(filter)?)
            .map_err(|error| LogError::Installed(error.to_string()))
    }
}

/// A directive the operator wrote for one of the quiet crates wins over ours.
fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    let ours = QUIET
        .iter()
        .filter(|directive| {
            let target = directive.split('=').next().unwrap_or(directive);
            !filter.contains(target)
        })
        .copied();
    let all: Vec<&str> = ours.chain([filter]).collect();
    EnvFilter::builder().parse(all.join(","))
}

fn with_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// systemd sets `JOURNAL_STREAM` to the device and inode of the journal's socket; its presence is enough for us.
fn in_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal()
}

/// A line that begins with its priority (sd-daemon(3)), without the time that the journal adds by itself.
struct Journal(Format<Full, ()>);

impl Journal {
    fn new() -> Self {
        let plain: Format<Full, SystemTime> = Format::default();
        Self(plain.without_time().with_level(false).with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_crates_are_quiet_unless_asked_for() {
        let usual = parse("info").expect("a level").to_string();
        assert!(usual.contains("s3s=off"), "{usual}");
        let asked = parse("info,s3s=debug").expect("directives").to_string();
        assert!(
            !asked.contains("s3s=off") && asked.contains("s3s=debug"),
            "{asked}"
        );
        assert!(parse("a=b=c").is_err());
    }
}
