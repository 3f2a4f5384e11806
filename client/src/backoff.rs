//! Waiting between attempts: exponential, with full jitter, for as long as there is hope.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The first wait is at most this.
pub const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait is longer than this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After this long without any progress the transfer is given up (and can be resumed later).
pub const PATIENCE: Duration = Duration::from_mins(15);

/// Counts attempts without progress.
#[derive(Debug)]
pub struct Backoff {
    attempt: u32,
    hope: Hope,
}

/// When something last got on; shared by the lanes of one transfer, as each of them shows that the node lives.
#[derive(Debug, Clone)]
pub struct Hope {
    since: Arc<Mutex<Instant>>,
    patience: Duration,
}

impl Hope {
    /// Lasts `patience` from now and from each progress.
    pub fn new(patience: Duration) -> Self {
        Self {
            since: Arc::new(Mutex::new(Instant::now())),
            patience,
        }
    }

    /// Something got on.
    pub fn renew(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_over(&self) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.elapsed() >= self.patience
    }
}

impl Backoff {
    /// Starts to wait at most `patience` for progress.
    pub fn new(patience: Duration) -> Self {
        Self::with(&Hope::new(patience))
    }

    /// Waits as long as there is hope.
    pub fn with(hope: &Hope) -> Self {
        Self {
            attempt: 0,
            hope: hope.clone(),
        }
    }

    /// Something got on: hope starts anew.
    pub fn progress(&mut self) {
        self.attempt = 0;
        self.hope.renew();
    }

    /// How long to wait before the next attempt, and at least as long as the node `asked` for; none when patience is over.
    pub fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.hope.is_over() {
            return None;
        }
        let ceiling = FIRST_WAIT
            .saturating_mul(1 << self.attempt.min(10))
            .min(LONGEST_WAIT);
        self.attempt += 1;
        // Full jitter keeps many clients from returning in step after a restart.
        let wait = ceiling.mul_f64(0.2 + 0.8 * random_unit());
        // Those who were told the same time do not come back at the same moment either.
        Some(asked.map_or(wait, |asked| asked + wait.min(asked.mul_f64(0.5))))
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
        let waits: Vec<_> = (0..20).filter_map(|_| backoff.next_wait(None)).collect();
        assert_eq!(waits.len(), 20);
        assert!(waits[0] <= FIRST_WAIT);
        assert!(waits.iter().all(|w| *w <= LONGEST_WAIT));
        assert!(waits[19] >= LONGEST_WAIT.mul_f64(0.2));
        assert!(Backoff::new(Duration::ZERO).next_wait(None).is_none());
        let asked = backoff.next_wait(Some(Duration::from_secs(30)));
        assert!(asked >= Some(Duration::from_secs(30)) && asked <= Some(Duration::from_secs(45)));
    }
}
