//! What was sent and what was acknowledged: a plain model of what may be found after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

pub(super) use blake3::Hash;

/// A key's possible contents; `None` is that it is not there.
#[derive(Debug, Default)]
struct Entry {
    may_be: Vec<Option<Hash>>,
    touched: bool,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Mutex<BTreeMap<String, Entry>>,
    acknowledged: std::sync::atomic::AtomicU64,
}

impl Book {
    /// A change is about to be asked for: from now on it may be found, and what was may be found as well.
    pub(super) fn attempt(&self, key: &str, change: Option<Hash>) {
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.entry(key.to_owned()).or_insert_with(|| Entry {
            may_be: vec![None],
            touched: true,
        });
        entry.touched = true;
        entry.may_be.push(change);
    }

    /// The change was acknowledged: nothing else may be found any more.
    pub(super) fn acknowledge(&self, key: &str, change: Option<Hash>) {
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.get_mut(key).expect("it was attempted");
        assert!(entry.may_be.contains(&change), "{key}: it was attempted");
        entry.may_be = vec![change];
        self.acknowledged
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// After a crash a key was found like this; it must be one of what may be, and stays like this.
    pub(super) fn settle(&self, key: &str, found: Option<Hash>) {
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.get_mut(key).expect("it was attempted");
        assert!(
            entry.may_be.contains(&found),
            "{key} was found as {found:?}, and may only be {:?}",
            entry.may_be
        );
        entry.may_be = vec![found];
        entry.touched = false;
    }

    /// Whether the key may be there at all.
    pub(super) fn may_exist(&self, key: &str) -> bool {
        let entries = self.entries.lock().unwrap();
        entries
            .get(key)
            .is_some_and(|entry| entry.may_be.iter().any(Option::is_some))
    }

    /// Keys that changes were asked for since they were last settled.
    pub(super) fn touched(&self) -> BTreeSet<String> {
        let entries = self.entries.lock().unwrap();
        let touched = entries.iter().filter(|(_, entry)| entry.touched);
        touched.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.entries.lock().unwrap().keys().cloned().collect()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(std::sync::atomic::Ordering::Relaxed)
    }
}
