//! Slows down guessing: failed credentials are counted by source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernel::{Clock, Millis};
use crate::telemetry::metrics::IDENTITY_REFUSALS_TOTAL;

/// Wrong credentials of one source within a minute before it has to wait.
pub const FAILURES_MAX: u32 = 20;
const WINDOW_MS: Millis = 60_000;
/// Sources that are counted at once.
const SOURCES_MAX: usize = 4096;

/// Counts wrong credentials; a cheap handle.
///
/// An IPv6 source is its /64, which is what one customer gets.
#[derive(Clone)]
pub(super) struct Throttle {
    clock: Clock,
    sources: Arc<Mutex<HashMap<IpAddr, Window>>>,
}

#[derive(Clone, Copy)]
struct Window {
    since_ms: Millis,
    failures: u32,
}

impl Throttle {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            sources: Arc::default(),
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<IpAddr, Window>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many seconds this source has to wait; `None` when it may try.
    pub(super) fn wait_s(&self, source: Option<IpAddr>) -> Option<u64> {
        let now_ms = self.clock.now_ms();
        let window = *self.sources().get(&network(source?))?;
        let left_ms = window.since_ms + WINDOW_MS - now_ms;
        let waits = window.failures >= FAILURES_MAX && (1..=WINDOW_MS).contains(&left_ms);
        waits.then(|| left_ms.unsigned_abs().div_ceil(1000))
    }

    /// Counts one wrong credential.
    pub(super) fn failed(&self, source: Option<IpAddr>) {
        metrics::counter!(IDENTITY_REFUSALS_TOTAL).increment(1);
        let Some(source) = source.map(network) else {
            return;
        };
        let now_ms = self.clock.now_ms();
        let open = |window: &Window| (0..WINDOW_MS).contains(&(now_ms - window.since_ms));
        let mut sources = self.sources();
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, window| open(window));
        }
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            // A flood from everywhere: those who have to wait are kept, the others start anew.
            sources.retain(|_, window| window.failures >= FAILURES_MAX);
            if sources.len() >= SOURCES_MAX {
                return;
            }
        }
        let fresh = Window {
            since_ms: now_ms,
            failures: 0,
        };
        let window = sources.entry(source).or_insert(fresh);
        if !open(window) {
            *window = fresh;
        }
        window.failures = window.failures.saturating_add(1);
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_waits_and_others_do_not() {
        let clock = Clock::manual(1_000);
        let throttle = Throttle::new(clock.clone());
        let bad = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.wait_s(bad), None);
            throttle.failed(bad);
        }
        assert_eq!(throttle.wait_s(bad), Some(60));
        assert_eq!(throttle.wait_s(Some(IpAddr::from([192, 0, 2, 2]))), None);
        clock.advance_ms(59_001);
        assert_eq!(throttle.wait_s(bad), Some(1));
        clock.advance_ms(999);
        assert_eq!(throttle.wait_s(bad), None);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together_and_the_map_is_bounded() {
        let throttle = Throttle::new(Clock::manual(0));
        for host in 0..FAILURES_MAX as u16 {
            let source = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
            throttle.failed(Some(source));
        }
        let other = IpAddr::from([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9]);
        assert!(throttle.wait_s(Some(other)).is_some());
        for n in 0..3 * SOURCES_MAX as u32 {
            throttle.failed(Some(IpAddr::from(n.to_be_bytes())));
        }
        assert!(throttle.sources().len() <= SOURCES_MAX);
        assert!(throttle.wait_s(Some(other)).is_some());
    }
}
