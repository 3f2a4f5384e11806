//! Progress of transfers: bars on a terminal, a line every five seconds elsewhere, events for machines.

use super::{human, text::Text, theme};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use nebula_client::transfer::{Observer, Step};
use serde_json::json;
use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often progress is told off a terminal.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How often people who read lines are told of the same wait.
const SAME_AGAIN: Duration = Duration::from_mins(1);
/// How often an event tells a machine of one file's progress.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// A rate is that of the last so many seconds.
const RATE_SECONDS: usize = 15;
/// From this width on a bar has room for everything.
const WIDE: usize = 104;

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
    files: usize,
    total_bytes: u64,
    files_done: AtomicU64,
    done_bytes: AtomicU64,
    wire_bytes: AtomicU64,
    rate: Mutex<Rate>,
    told: Mutex<Instant>,
    /// What was last said to be waited for, and when.
    waiting: Mutex<Option<(String, Instant)>>,
}

/// One file's part in it.
pub struct Bar {
    all: Bars,
    name: String,
    size_bytes: u64,
    bar: Option<ProgressBar>,
    at: Mutex<At>,
}

/// Where a file is.
struct At {
    offset_bytes: u64,
    wire_bytes: u64,
    told: Option<Instant>,
}

/// How fast the last seconds were.
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn add(&mut self, now: Instant, bytes: u64) {
        let is_due = |(last, _): &(Instant, u64)| now.duration_since(*last).as_millis() >= 1000;
        if self.0.back().is_none_or(is_due) {
            self.0.push_back((now, bytes));
            if self.0.len() > RATE_SECONDS {
                self.0.pop_front();
            }
        }
    }

    fn per_second(&self, now: Instant, bytes: u64) -> f64 {
        let Some((since, was)) = self.0.front() else {
            return 0.0;
        };
        let seconds = now.duration_since(*since).as_secs_f64();
        bytes.saturating_sub(*was) as f64 / seconds.max(0.001)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let now = Instant::now();
        Self(Arc::new(Shared {
            show,
            verb,
            multi,
            total,
            files,
            total_bytes,
            files_done: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
            wire_bytes: AtomicU64::new(0),
            rate: Mutex::new(Rate(VecDeque::from([(now, 0)]))),
            told: Mutex::new(now),
            waiting: Mutex::new(None),
        }))
    }

    /// Begins to show one file; of unknown length where `size_bytes` is none.
    pub fn file(&self, name: &str, size_bytes: Option<u64>) -> Bar {
        let bar = (self.0.show == Show::Bars).then(|| {
            let bar = match size_bytes {
                Some(size) => ProgressBar::new(size).with_style(style(false)),
                None => ProgressBar::no_length().with_style(style_of_stream()),
            };
            let bar = match &self.0.total {
                Some(total) => self.0.multi.insert_before(total, bar),
                None => self.0.multi.add(bar),
            };
            bar.set_prefix(cells(name));
            // A waiting transfer must look alive too.
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Bar {
            all: self.clone(),
            name: name.to_owned(),
            size_bytes: size_bytes.unwrap_or(0),
            bar,
            at: Mutex::new(At {
                offset_bytes: 0,
                wire_bytes: 0,
                told: None,
            }),
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

    /// One file more has ended.
    pub fn file_ended(&self) {
        let done = self.0.files_done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(total) = &self.0.total {
            total.set_prefix(cells(&format!("{done} of {} files", self.0.files)));
        }
    }

    /// How many bytes of content went over the wire, those of failed attempts too.
    pub fn wire_bytes(&self) -> u64 {
        self.0.wire_bytes.load(Ordering::Relaxed)
    }

    /// Whether people who read lines are to be told what is waited for; one reason holds up many files, and often many times.
    fn is_news(&self, reason: &str) -> bool {
        let mut waiting = lock(&self.0.waiting);
        let is_news = waiting.as_ref().is_none_or(|(said, at)| {
            let rest = if said == reason {
                SAME_AGAIN
            } else {
                TELL_EVERY
            };
            at.elapsed() >= rest
        });
        if is_news {
            *waiting = Some((reason.to_owned(), Instant::now()));
        }
        is_news
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(total) = &self.0.total {
            total.finish_and_clear();
        }
        let _ = self.0.multi.clear();
    }

    /// Where everything is, in a line.
    fn line(&self, name: &str, at: u64, of: u64) -> String {
        let now = Instant::now();
        let wire = self.wire_bytes();
        let (what, at, of) = if self.0.files > 1 {
            let done = self.0.files_done.load(Ordering::Relaxed);
            let what = format!("{done} of {} files", human::thousands(self.0.files as u64));
            let at = self.0.done_bytes.load(Ordering::Relaxed);
            (what, at, self.0.total_bytes)
        } else {
            (name.to_owned(), at, of)
        };
        let mut line = format!("{} {what}: {}", self.0.verb, human::size(at));
        if of > 0 {
            let share = human::percent(share(at, of));
            let _ = write!(line, " of {} ({share})", human::size(of));
        }
        let rate = lock(&self.0.rate).per_second(now, wire);
        if rate >= 1.0 {
            let _ = write!(line, ", {}/s", human::size(rate as u64));
            if of > at {
                let left = human::span(((of - at) as f64 / rate) as u64);
                let _ = write!(line, ", {left} left");
            }
        }
        line
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Also when everything is dropped half-way: no bar stays behind.
        let _ = self.multi.clear();
    }
}

impl Bar {
    /// The whole file is there, without a byte sent now.
    pub fn skipped(&self) {
        self.set(self.size_bytes, 0);
    }

    fn set(&self, offset_bytes: u64, wire_bytes: u64) {
        let all = &self.all.0;
        let mut at = lock(&self.at);
        let back = at.offset_bytes.saturating_sub(offset_bytes);
        let forth = offset_bytes.saturating_sub(at.offset_bytes);
        let moved = wire_bytes.saturating_sub(at.wire_bytes);
        at.offset_bytes = offset_bytes;
        at.wire_bytes = at.wire_bytes.max(wire_bytes);
        drop(at);
        all.done_bytes.fetch_add(forth, Ordering::Relaxed);
        all.done_bytes.fetch_sub(back, Ordering::Relaxed);
        let wire = all.wire_bytes.fetch_add(moved, Ordering::Relaxed) + moved;
        lock(&all.rate).add(Instant::now(), wire);
        if let Some(bar) = &self.bar {
            bar.set_position(offset_bytes);
        }
        if let Some(total) = &all.total {
            total.set_position(all.done_bytes.load(Ordering::Relaxed));
        }
    }

    fn event(&self, kind: &str, more: serde_json::Value) {
        let mut event = json!({"type": kind, "name": self.name, "size_bytes": self.size_bytes});
        if let (Some(event), serde_json::Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        self.all.result(&event.to_string());
    }

    /// Whether a machine is to be told of this file's progress again.
    fn event_is_due(&self) -> bool {
        let mut at = lock(&self.at);
        let is_due = at.told.is_none_or(|told| told.elapsed() >= EVENT_EVERY);
        if is_due {
            at.told = Some(Instant::now());
        }
        is_due
    }

    /// Whether people who read lines are to be told again.
    fn line_is_due(&self) -> bool {
        let mut told = lock(&self.all.0.told);
        let is_due = told.elapsed() >= TELL_EVERY;
        if is_due {
            *told = Instant::now();
        }
        is_due
    }

    /// Shows words instead of numbers, until the next movement.
    fn words(&self, words: &str) {
        if let Some(bar) = &self.bar {
            bar.set_style(style_of_words());
            bar.set_message(words.to_owned());
        }
    }

    fn numbers(&self) {
        if let Some(bar) = &self.bar
            && !bar.message().is_empty()
        {
            bar.set_style(match bar.length() {
                Some(_) => style(false),
                None => style_of_stream(),
            });
            bar.set_message(String::new());
        }
    }

    /// A line for people who read lines.
    fn say(&self, text: &str) {
        if self.all.0.show == Show::Lines {
            let line = format!("{}: {text}", self.name);
            self.all.say(&Text::plain(line));
        }
    }

    fn for_machines(&self, step: Step) {
        match step {
            Step::Moved {
                offset_bytes,
                wire_bytes,
            } => {
                self.set(offset_bytes, wire_bytes);
                if self.event_is_due() {
                    let at = json!({"offset_bytes": offset_bytes, "wire_bytes": wire_bytes});
                    self.event("progress", at);
                }
            }
            Step::Resumed { offset_bytes } => {
                self.set(offset_bytes, 0);
                self.event("resumed", json!({"offset_bytes": offset_bytes}));
            }
            Step::Waiting { reason, wait } => {
                let wait_ms = wait.as_millis() as u64;
                self.event("waiting", json!({"reason": reason, "wait_ms": wait_ms}));
            }
            Step::Lanes { lanes } => self.event("lanes", json!({"lanes": lanes})),
            Step::StartedAnew => self.event("started_anew", json!({})),
            Step::Begun { plays } => self.event("begun", json!({"plays": plays})),
            Step::SendingLess { bytes } => self.event("sending_less", json!({"bytes": bytes})),
            Step::Verifying => self.event("verifying", json!({})),
            Step::Comparing => {}
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
            return self.for_machines(step);
        }
        match step {
            Step::Comparing => self.words("comparing with what is there"),
            Step::Resumed { offset_bytes } => {
                self.set(offset_bytes, 0);
                if let Some(bar) = &self.bar {
                    // The rate is of what is sent now.
                    bar.reset_eta();
                    bar.reset_elapsed();
                }
                let at = human::size(offset_bytes);
                self.say(&format!("goes on at {at}"));
            }
            Step::StartedAnew => {
                self.set(0, 0);
                self.say("starts anew");
            }
            Step::Moved {
                offset_bytes,
                wire_bytes,
            } => {
                let before = lock(&self.at).wire_bytes;
                self.set(offset_bytes, wire_bytes);
                if wire_bytes > before {
                    self.numbers();
                }
                if self.all.0.show == Show::Lines && self.line_is_due() {
                    let line = self.all.line(&self.name, offset_bytes, self.size_bytes);
                    self.all.say(&Text::plain(line));
                }
            }
            Step::Lanes { .. } | Step::Begun { .. } => {}
            Step::SendingLess { bytes } => {
                let size = human::size(bytes);
                self.say(&format!(
                    "what was sent was lost; sends {size} at a time now"
                ));
            }
            Step::Waiting { reason, wait } => {
                self.words(&format!("waiting: {reason}"));
                // The first few waits of a restart are over before a line could be read.
                if wait >= Duration::from_secs(1) && self.all.is_news(&reason) {
                    self.say(&format!("{reason} Trying again."));
                }
            }
            Step::Verifying => self.words("verifying"),
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

/// How many cells of a name a bar shows.
fn name_cells() -> usize {
    match super::columns() {
        wide if wide >= WIDE => (wide - 76).min(44),
        narrow => narrow.saturating_sub(55).clamp(12, 28),
    }
}

fn cells(name: &str) -> String {
    let cells = name_cells();
    Text::plain(name).fitted(cells).padded(cells, false).bare()
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "done",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", human::size(state.pos()));
            },
        )
        .with_key(
            "of",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let (at, len) = (state.pos(), state.len().unwrap_or(0));
                let _ = write!(out, "{} of {}", human::size(at), human::size(len));
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
                let left = state.eta().as_millis() as u64;
                // Nothing moved yet, or nothing is left: there is no time to tell.
                if left > 0 && left < 360_000_000 {
                    let _ = write!(out, "{}", human::playtime(left));
                }
            },
        )
}

fn style(total: bool) -> ProgressStyle {
    let colour = theme::colours_on_stderr();
    let is_wide = super::columns() >= WIDE;
    let cells = if is_wide { 24 } else { 12 };
    let bar = match (colour, total) {
        (true, false) => format!("{{bar:{cells}.cyan/black.bright}}"),
        (true, true) => format!("{{bar:{cells}.green/black.bright}}"),
        (false, _) => format!("{{bar:{cells}}}"),
    };
    let done = if is_wide { "{of:>20}" } else { "{done:>8}" };
    template(&format!(
        "{{prefix}} {bar} {{percent:>3}}%  {done}  {{rate:>10}}  {{left:>7}}"
    ))
    .progress_chars(if colour { "━╸━" } else { "━╸ " })
}

/// For what has no length yet.
fn style_of_stream() -> ProgressStyle {
    template("{prefix} {spinner}  {done:>8}  {rate:>10}  {elapsed:>7}")
}

/// For what is said instead of numbers.
fn style_of_words() -> ProgressStyle {
    let words = if theme::colours_on_stderr() {
        "{wide_msg:.yellow}"
    } else {
        "{wide_msg}"
    };
    template(&format!("{{prefix}} {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_those_of_the_wire() {
        let bars = Bars::new(Show::Nothing, "push", 2, 300);
        let (a, b) = (bars.file("a", Some(100)), bars.file("b", Some(200)));
        let moved = |offset_bytes, wire_bytes| Step::Moved {
            offset_bytes,
            wire_bytes,
        };
        a.step(moved(60, 60));
        // A cut: the node has less than was sent, and some of it goes again.
        a.step(moved(40, 60));
        a.step(moved(100, 120));
        b.step(Step::Resumed { offset_bytes: 150 });
        b.step(moved(200, 50));
        assert_eq!(bars.wire_bytes(), 170);
        assert_eq!(bars.0.done_bytes.load(Ordering::Relaxed), 300);
        let line = bars.line("a", 100, 100);
        assert!(
            line.starts_with("push 0 of 2 files: 300 B of 300 B (100%)"),
            "{line}"
        );
    }

    #[test]
    fn the_same_wait_is_told_once() {
        let bars = Bars::new(Show::Lines, "push", 2, 300);
        assert!(bars.is_news("Connection refused."));
        assert!(!bars.is_news("Connection refused."));
        assert!(!bars.is_news("Connection reset."));
        let earlier = Instant::now().checked_sub(TELL_EVERY);
        *lock(&bars.0.waiting) = earlier.map(|at| ("Connection refused.".to_owned(), at));
        assert!(!bars.is_news("Connection refused."));
        assert!(bars.is_news("Connection reset."));
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut rate = Rate(VecDeque::from([(start, 0)]));
        let at = |second: u64| start + Duration::from_secs(second);
        for second in 1..=100 {
            rate.add(
                at(second),
                if second <= 50 {
                    0
                } else {
                    (second - 50) * 1000
                },
            );
        }
        let now = rate.per_second(at(101), 51_000);
        assert!((now - 1000.0).abs() < 1.0, "{now}");
    }
}
