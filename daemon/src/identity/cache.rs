//! A small memory of what was just looked up: bounded in entries and in age.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kernel::Millis;

/// Longest that a revoked key, link or tailnet grant may still be believed, when another process revoked it.
pub const CACHE_AGE_MAX_MS: Millis = 10_000;
/// Entries of one cache.
const ENTRIES_MAX: usize = 1024;

pub(super) struct Cache<K, V>(Mutex<State<K, V>>);

struct State<K, V> {
    entries: HashMap<K, (Millis, V)>,
    /// Counts removals, so that a look-up which began before one cannot bring the old value back.
    generation: u64,
}

/// What [`Cache::get`] found.
pub(super) enum Found<V> {
    Value(V),
    /// Look it up, and hand this back to [`Cache::put`].
    Missing(u64),
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            entries: HashMap::new(),
            generation: 0,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        // Every change under the lock is whole, so a panic elsewhere leaves nothing half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &K, now_ms: Millis) -> Found<V> {
        let state = self.state();
        match state.entries.get(key) {
            Some((at_ms, value)) if fresh(*at_ms, now_ms) => Found::Value(value.clone()),
            _ => Found::Missing(state.generation),
        }
    }

    pub(super) fn put(&self, key: K, value: V, now_ms: Millis, generation: u64) {
        let mut state = self.state();
        if state.generation != generation {
            return;
        }
        if state.entries.len() >= ENTRIES_MAX {
            state.entries.retain(|_, (at_ms, _)| fresh(*at_ms, now_ms));
        }
        if state.entries.len() >= ENTRIES_MAX {
            state.entries.clear();
        }
        state.entries.insert(key, (now_ms, value));
    }

    /// Forgets everything: changes are rare, look-ups are cheap.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.entries.clear();
    }
}

/// A clock that was set back ages an entry too.
fn fresh(at_ms: Millis, now_ms: Millis) -> bool {
    (0..CACHE_AGE_MAX_MS).contains(&(now_ms - at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_age_are_bounded_and_cannot_come_back() {
        let cache: Cache<u32, u32> = Cache::new();
        let Found::Missing(before) = cache.get(&1, 0) else {
            panic!("empty")
        };
        cache.put(1, 10, 0, before);
        assert!(matches!(cache.get(&1, 9_999), Found::Value(10)));
        assert!(matches!(cache.get(&1, 10_000), Found::Missing(_)));
        assert!(matches!(cache.get(&1, -1), Found::Missing(_)));
        cache.clear();
        cache.put(1, 10, 0, before);
        assert!(matches!(cache.get(&1, 0), Found::Missing(_)));
        for key in 0..5_000 {
            cache.put(key, key, 0, 1);
        }
        assert!(cache.state().entries.len() <= ENTRIES_MAX);
    }
}
