//! Waiting between attempts: exponential, with full jitter, for as long as there is hope.

use std::time::{Duration, Instant};

/// The first wait is at most this.
pub const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait is longer than this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After this long without any progress the transfer is given up (and can be resumed later).
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Counts attempts without progress.
#[derive(Debug)]
pub struct Backoff {
    attempt: u32,
    since: Instant,
    patience: Duration,
}

impl Backoff {
    /// Starts to wait at most `patience` for progress.
    pub fn new(patience: Duration) -> Self {
        Self {
            attempt: 0,
            since: Instant::now(),
            patience,
        }
    }

    /// Something got on: hope starts anew.
    pub fn progress(&mut self) {
        self.attempt = 0;
        self.since = Instant::now();
    }

    /// How long to wait before the next attempt; none when patience is over.
    pub fn next_wait(&mut self) -> Option<Duration> {
        if self.since.elapsed() >= self.patience {
            return None;
        }
        let ceiling = FIRST_WAIT
            .saturating_mul(1 << self.attempt.min(10))
            .min(LONGEST_WAIT);
        self.attempt += 1;
        // Full jitter keeps many clients from returning in step after a restart.
        Some(ceiling.mul_f64(0.2 + 0.8 * random_unit()))
    }
}

/// 0 to 1, evenly.
fn random_unit() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_end() {
        let mut backoff = Backoff::new(Duration::from_mins(1));
        let waits: Vec<_> = (0..20).filter_map(|_| backoff.next_wait()).collect();
        assert_eq!(waits.len(), 20);
        assert!(waits[0] <= FIRST_WAIT);
        assert!(waits.iter().all(|w| *w <= LONGEST_WAIT));
        assert!(waits[19] >= LONGEST_WAIT.mul_f64(0.2));
        assert!(Backoff::new(Duration::ZERO).next_wait().is_none());
    }
}
