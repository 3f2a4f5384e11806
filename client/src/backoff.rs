//! Waiting between attempts: exponential, with full jitter, for as long as there is hope.

use futures::future::BoxFuture;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The first wait is at most this.
pub const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait is longer than this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// After this long without any progress the transfer is given up (and can be resumed later).
pub const PATIENCE: Duration = Duration::from_mins(15);

/// What waits are measured by; with another one than the system's, hours pass in a moment.
pub trait Clock: fmt::Debug + Send + Sync {
    /// This moment.
    fn now(&self) -> Instant;
    /// Lets a time pass.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The system's clock.
#[derive(Debug, Clone, Copy)]
struct System;

impl Clock for System {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// How long to go on without any progress, and by which clock.
#[derive(Debug, Clone)]
pub struct Patience {
    time: Duration,
    clock: Arc<dyn Clock>,
}

impl Patience {
    /// By a clock of the caller's.
    pub fn by(time: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { time, clock }
    }
}

impl From<Duration> for Patience {
    /// By the system's clock.
    fn from(time: Duration) -> Self {
        Self::by(time, Arc::new(System))
    }
}

impl Default for Patience {
    fn default() -> Self {
        PATIENCE.into()
    }
}

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
    patience: Patience,
}

impl Hope {
    /// Lasts `patience` from now and from each progress.
    pub fn new(patience: &Patience) -> Self {
        Self {
            since: Arc::new(Mutex::new(patience.clock.now())),
            patience: patience.clone(),
        }
    }

    /// Something got on.
    pub fn renew(&self) {
        let now = self.patience.clock.now();
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn is_over(&self) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.patience.clock.now();
        now.saturating_duration_since(since) >= self.patience.time
    }
}

impl Backoff {
    /// Starts to wait at most `patience` for progress.
    pub fn new(patience: &Patience) -> Self {
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

    /// Waits.
    pub async fn rest(&self, wait: Duration) {
        self.hope.patience.clock.sleep(wait).await;
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
        let mut backoff = Backoff::new(&Duration::from_mins(1).into());
        let waits: Vec<_> = (0..20).filter_map(|_| backoff.next_wait(None)).collect();
        assert_eq!(waits.len(), 20);
        assert!(waits[0] <= FIRST_WAIT);
        assert!(waits.iter().all(|w| *w <= LONGEST_WAIT));
        assert!(waits[19] >= LONGEST_WAIT.mul_f64(0.2));
        let none = Backoff::new(&Duration::ZERO.into()).next_wait(None);
        assert!(none.is_none());
        let asked = backoff.next_wait(Some(Duration::from_secs(30)));
        assert!(asked >= Some(Duration::from_secs(30)) && asked <= Some(Duration::from_secs(45)));
    }
}
