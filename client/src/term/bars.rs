//! Progress of transfers: bars on a terminal, a line every five seconds elsewhere, events for machines.

use super::{human, text::Text};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use nebula_client::transfer::{Observer, Step};
use serde_json::json;
use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often progress is told off a terminal.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How many cells of a name a bar shows.
const NAME_CELLS: usize = 28;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Bars that move.
    Bars,
    /// A line now and then.
    Lines,
    /// NDJSON on standard output.
    Json,
    /// Nothing.
    Nothing,
}

/// The progress of everything one command transfers.
#[derive(Clone)]
pub struct Bars(Arc<Shared>);

struct Shared {
    show: Show,
    /// `push`, `pull`: the first word of each line and event.
    verb: &'static str,
    multi: MultiProgress,
    total: Option<ProgressBar>,
    total_bytes: AtomicU64,
    moved_bytes: AtomicU64,
    started: Instant,
    told: Mutex<Instant>,
}

/// One file's part in it.
pub struct Bar {
    all: Bars,
    name: String,
    size_bytes: u64,
    bar: Option<ProgressBar>,
    /// Where this file is, and how much of that came over the wire just now.
    at: Mutex<At>,
}

#[derive(Default)]
struct At {
    offset_bytes: u64,
    resumed_bytes: u64,
}

impl Bars {
    /// Begins to show `files` files of `total_bytes` together.
    pub fn new(show: Show, verb: &'static str, files: usize, total_bytes: u64) -> Self {
        let target = match show {
            Show::Bars => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        let multi = MultiProgress::with_draw_target(target);
        let total = (show == Show::Bars && files > 1).then(|| {
            let bar = multi.add(ProgressBar::new(total_bytes).with_style(style(true)));
            bar.set_prefix(cells(&human::count(files as u64, "file")));
            bar
        });
        Self(Arc::new(Shared {
            show,
            verb,
            multi,
            total,
            total_bytes: AtomicU64::new(total_bytes),
            moved_bytes: AtomicU64::new(0),
            started: Instant::now(),
            told: Mutex::new(Instant::now()),
        }))
    }

    /// Begins to show one file.
    pub fn file(&self, name: &str, size_bytes: u64) -> Bar {
        let bar = (self.0.show == Show::Bars).then(|| {
            let bar = ProgressBar::new(size_bytes).with_style(style(false));
            let bar = match &self.0.total {
                Some(total) => self.0.multi.insert_before(total, bar),
                None => self.0.multi.add(bar),
            };
            bar.set_prefix(cells(name));
            bar
        });
        Bar {
            all: self.clone(),
            name: name.to_owned(),
            size_bytes,
            bar,
            at: Mutex::default(),
        }
    }

    /// Prints a line above the bars, on standard error.
    pub fn say(&self, line: &Text) {
        self.0.multi.suspend(|| anstream::eprintln!("{line}"));
    }

    /// Prints a result, on standard output.
    pub fn result(&self, line: &str) {
        self.0.multi.suspend(|| anstream::println!("{line}"));
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(total) = &self.0.total {
            total.finish_and_clear();
        }
        let _ = self.0.multi.clear();
    }

    fn moved(&self, bytes: u64) {
        self.0.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(total) = &self.0.total {
            total.inc(bytes);
        }
    }

    /// Whether it is time for another line.
    fn due(&self, every: Duration) -> bool {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.elapsed() >= every;
        if due {
            *told = Instant::now();
        }
        due
    }

    fn line(&self, name: &str, offset_bytes: u64, size_bytes: u64) -> String {
        let mut line = format!(
            "{} {name}: {} of {} ({})",
            self.0.verb,
            human::size(offset_bytes),
            human::size(size_bytes),
            human::percent(share(offset_bytes, size_bytes)),
        );
        let seconds = self.0.started.elapsed().as_secs_f64();
        let moved = self.0.moved_bytes.load(Ordering::Relaxed);
        let rate = moved as f64 / seconds.max(0.001);
        if rate >= 1.0 {
            let left = self
                .0
                .total_bytes
                .load(Ordering::Relaxed)
                .saturating_sub(moved);
            let _ = write!(
                line,
                ", {}/s, {} left",
                human::size(rate as u64),
                human::span((left as f64 / rate) as u64)
            );
        }
        line
    }
}

impl Bar {
    fn set(&self, offset_bytes: u64) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        self.all.moved(offset_bytes.saturating_sub(at.offset_bytes));
        at.offset_bytes = at.offset_bytes.max(offset_bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(offset_bytes);
        }
    }

    fn event(&self, kind: &str, more: serde_json::Value) {
        let mut event = json!({"type": kind, "name": self.name, "size_bytes": self.size_bytes});
        if let (Some(event), serde_json::Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        self.all.result(&event.to_string());
    }

    fn note(&self, line: &Text, short: &str) {
        match (&self.bar, self.all.0.show) {
            (Some(bar), _) => bar.set_message(short.to_owned()),
            (None, Show::Lines) if line.width() > 0 => self.all.say(line),
            _ => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.all.0.multi.remove(bar);
        }
    }
}

impl Observer for Bar {
    fn step(&self, step: Step) {
        if self.all.0.show == Show::Json {
            match step {
                Step::Moved { offset_bytes } => {
                    self.set(offset_bytes);
                    if self.all.due(Duration::from_secs(1)) {
                        self.event("progress", json!({"offset_bytes": offset_bytes}));
                    }
                }
                Step::Resumed { offset_bytes } => {
                    self.event("resumed", json!({"offset_bytes": offset_bytes}));
                }
                Step::Waiting { reason, wait } => {
                    let wait_ms = wait.as_millis() as u64;
                    self.event("waiting", json!({"reason": reason, "wait_ms": wait_ms}));
                }
                Step::StartedAnew => self.event("started_anew", json!({})),
                Step::Verifying => self.event("verifying", json!({})),
                Step::Comparing => {}
            }
            return;
        }
        match step {
            Step::Comparing => self.note(
                &Text::plain(format!("{}: comparing with what is there", self.name)),
                "comparing",
            ),
            Step::Resumed { offset_bytes } => {
                self.set(offset_bytes);
                let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
                at.resumed_bytes = offset_bytes;
                drop(at);
                if let Some(bar) = &self.bar {
                    // The rate is of what is sent now.
                    bar.reset_eta();
                    bar.reset_elapsed();
                }
                let text = format!("{}: goes on at {}", self.name, human::size(offset_bytes));
                self.note(&Text::plain(text), "resumed");
            }
            Step::StartedAnew => {
                if let Some(bar) = &self.bar {
                    bar.set_position(0);
                }
                let text = format!("{}: starts anew", self.name);
                self.note(&Text::plain(text), "from the start");
            }
            Step::Moved { offset_bytes } => {
                self.set(offset_bytes);
                if let Some(bar) = &self.bar {
                    if !bar.message().is_empty() && bar.message() != "resumed" {
                        bar.set_message("");
                    }
                } else if self.all.0.show == Show::Lines && self.all.due(TELL_EVERY) {
                    let line = self.all.line(&self.name, offset_bytes, self.size_bytes);
                    self.all.say(&Text::plain(line));
                }
            }
            Step::Waiting { reason, wait } => {
                let text = format!("{}: {reason} Trying again.", self.name);
                let short = format!("waiting: {reason}");
                // The first few waits of a restart are over before a line could be read.
                if wait >= Duration::from_secs(1) || self.bar.is_some() {
                    self.note(&Text::plain(text), &short);
                }
            }
            Step::Verifying => self.note(&Text::default(), "verifying"),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

fn cells(name: &str) -> String {
    Text::plain(name)
        .fitted(NAME_CELLS)
        .padded(NAME_CELLS, false)
        .bare()
}

fn style(total: bool) -> ProgressStyle {
    let colour = super::theme::colours_on_stderr();
    let bar = match (colour, total) {
        (true, false) => "{bar:24.cyan/black.bright}",
        (true, true) => "{bar:24.green/black.bright}",
        (false, _) => "{bar:24}",
    };
    let template = format!(
        "{{prefix}} {bar} {{percent:>3}}%  {{done:>20}}  {{rate:>10}}  {{left:>7}}  {{wide_msg}}"
    );
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars(if colour { "━╸━" } else { "━╸ " })
        .with_key(
            "done",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let len = state.len().unwrap_or(0);
                let _ = write!(out, "{} of {}", human::size(state.pos()), human::size(len));
            },
        )
        .with_key(
            "rate",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}/s", human::size(state.per_sec() as u64));
            },
        )
        .with_key(
            "left",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", human::playtime(state.eta().as_millis() as u64));
            },
        )
}
