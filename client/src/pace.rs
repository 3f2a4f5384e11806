//! How many lanes one transfer uses: as many as make it faster, and fewer when something breaks.
//!
//! It begins with one lane. As long as twice as many bring at least [`GAIN`] more, it doubles;
//! when they bring nothing it goes back to the count before and stays there for a while: more lanes would only cost memory and fairness.
//! A failure halves them, as it may mean that the node or the network has more than it can take.

use std::time::{Duration, Instant};

/// The most lanes of one transfer.
pub const MOST_LANES: u32 = 8;
/// The least that one measurement takes.
const WINDOW: Duration = Duration::from_millis(400);
/// The most that one measurement takes.
const LONGEST_WINDOW: Duration = Duration::from_secs(4);
/// What each lane moves in one measurement, unless that takes too long: buffers on the way swallow about so much at once.
const WINDOW_BYTES: u64 = 4 << 20;
/// What more lanes must bring to be kept.
const GAIN: f64 = 1.15;
/// How long a count that proved best stays.
const REST: Duration = Duration::from_secs(15);
/// How long a failure keeps the count from growing.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The most lanes of each of so many files that are transferred beside each other: those are lanes too.
pub fn lanes_each(most: u32, files_at_once: usize) -> u32 {
    let files = u32::try_from(files_at_once.max(1)).unwrap_or(u32::MAX);
    (most / files).max(1)
}

/// Chooses the number of lanes by what they bring.
#[derive(Debug)]
pub(crate) struct Pace {
    lanes: u32,
    most: u32,
    /// The count before the last step up and what it brought, while that step is on trial.
    before: Option<(u32, f64)>,
    rests_until: Option<Instant>,
    window: (Instant, u64),
    /// Whether the window was begun with this count of lanes.
    settled: bool,
    failures: u32,
}

impl Pace {
    /// Begins with one lane of at most `most`.
    pub(crate) fn new(most: u32, now: Instant, moved: u64) -> Self {
        Self {
            lanes: 1,
            most: most.max(1),
            before: None,
            rests_until: None,
            window: (now, moved),
            settled: true,
            failures: 0,
        }
    }

    /// How many lanes are to be used.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes as usize
    }

    /// Takes in how many bytes were moved so far, how many lanes are busy, and how many failures there were so far.
    pub(crate) fn measure(&mut self, now: Instant, moved: u64, busy: usize, failures: u32) {
        if failures > self.failures {
            self.failures = failures;
            self.lanes = (self.lanes / 2).max(1);
            self.before = None;
            self.rests_until = Some(now + REST_AFTER_FAILURE);
            self.begin(now, moved);
            return;
        }
        let elapsed = now.saturating_duration_since(self.window.0);
        let bytes = moved.saturating_sub(self.window.1);
        let is_telling = bytes >= u64::from(self.lanes) * WINDOW_BYTES || elapsed >= LONGEST_WINDOW;
        if elapsed < WINDOW || !is_telling {
            return;
        }
        let rate = bytes as f64 / elapsed.as_secs_f64();
        // Lanes that had nothing to do prove nothing.
        let telling = self.settled && busy >= self.lanes();
        self.begin(now, moved);
        if !telling || self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        if let Some((fewer, was)) = self.before.take()
            && rate < was * GAIN
        {
            self.lanes = fewer;
            self.settled = false;
            self.rests_until = Some(now + REST);
        } else if self.lanes < self.most {
            self.before = Some((self.lanes, rate));
            self.lanes = (self.lanes * 2).min(self.most);
            self.settled = false;
        }
    }

    fn begin(&mut self, now: Instant, moved: u64) {
        self.window = (now, moved);
        // A window that begins after a change is of that change.
        self.settled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a network with this rate by lanes be measured, and tells the counts of lanes that were used.
    fn on(rate: impl Fn(usize) -> u64, seconds: u32, failing_at: Option<u32>) -> Vec<usize> {
        let start = Instant::now();
        let mut pace = Pace::new(8, start, 0);
        let (mut moved, mut failures) = (0, 0);
        let mut used = Vec::new();
        for second in 1..=seconds {
            moved += rate(pace.lanes());
            failures += u32::from(failing_at == Some(second));
            let now = start + Duration::from_secs(u64::from(second));
            let busy = pace.lanes();
            pace.measure(now, moved, busy, failures);
            used.push(pace.lanes());
        }
        used
    }

    #[test]
    fn lanes_grow_while_they_bring_something() {
        let each = on(|lanes| lanes as u64 * 5_000_000, 20, None);
        assert_eq!(each.last(), Some(&8), "{each:?}");
        let full = on(|lanes| (lanes as u64 * 5_000_000).min(10_500_000), 12, None);
        assert_eq!(full.last(), Some(&2), "{full:?}");
        let one = on(|_| 5_000_000, 12, None);
        assert_eq!(one.last(), Some(&1), "{one:?}");
        // A node that suffers from company gets none.
        let worse = on(|lanes| 5_000_000 / lanes as u64, 12, None);
        assert_eq!(worse.last(), Some(&1), "{worse:?}");
        // On a slow network it takes longer to be sure.
        let slow = on(|lanes| lanes as u64 * 300_000, 30, None);
        assert_eq!(slow.last(), Some(&8), "{slow:?}");
    }

    #[test]
    fn a_failure_halves_them_and_they_come_back() {
        let used = on(|lanes| lanes as u64 * 5_000_000, 30, Some(12));
        assert_eq!((used[10], used[11]), (8, 4), "{used:?}");
        assert_eq!(used.last(), Some(&8), "{used:?}");
    }
}
