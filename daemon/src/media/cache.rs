//! What was read lately: bounded caches, so that a segment costs no look at the database and a playlist only a short one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::film::Film;
use crate::catalog::{RenditionRow, SegmentRow};
use crate::kernel::{ContentId, Millis};

/// Memory of all films kept.
pub const FILMS_BYTES_MAX: usize = 48 << 20;
/// Memory of all lists of segments kept: those of thirty renditions of two hours.
pub const SEGMENTS_BYTES_MAX: usize = 8 << 20;
/// Of one row and the id in it.
const SEGMENT_BYTES: usize = size_of::<SegmentRow>() + 40;

/// Films by content.
pub type Films = Kept<ContentId, Arc<Film>>;
/// Segments of renditions that are whole, by content and recipe.
pub type Lists = Kept<(ContentId, String), List>;

/// What knows its size in memory.
pub trait Weighs {
    /// In bytes, roughly.
    fn bytes(&self) -> usize;
}

impl Weighs for Arc<Film> {
    fn bytes(&self) -> usize {
        self.memory_bytes()
    }
}

/// The segments of a rendition as they were when its row was last changed: whatever is done to them changes it.
#[derive(Clone)]
pub struct List {
    updated_ms: Millis,
    segments: Arc<Vec<SegmentRow>>,
}

impl Weighs for List {
    fn bytes(&self) -> usize {
        self.segments.len() * SEGMENT_BYTES
    }
}

impl Lists {
    /// The segments of a rendition that has not changed since they were read.
    pub fn of(&self, content: ContentId, row: &RenditionRow) -> Option<Arc<Vec<SegmentRow>>> {
        let list = self.get(&(content, row.recipe.clone()))?;
        (list.updated_ms == row.updated_ms).then_some(list.segments)
    }

    /// Keeps what was read after its row.
    pub fn keep(&self, content: ContentId, row: &RenditionRow, segments: &Arc<Vec<SegmentRow>>) {
        let list = List {
            updated_ms: row.updated_ms,
            segments: Arc::clone(segments),
        };
        self.put((content, row.recipe.clone()), list);
    }
}

/// Values by key, the least recently used going first.
pub struct Kept<K, V> {
    inner: Mutex<Inner<K, V>>,
    bytes_max: usize,
}

struct Inner<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    clock: u64,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone + Weighs> Kept<K, V> {
    /// Nothing yet, and never more than this.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: HashMap::new(),
                bytes: 0,
                clock: 0,
            }),
            bytes_max,
        }
    }

    /// What is kept.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let entry = inner.entries.get_mut(key)?;
        entry.used = now;
        Some(entry.value.clone())
    }

    /// Keeps a value; one that exceeds the bound alone is kept until the next comes.
    pub fn put(&self, key: K, value: V) {
        let bytes = value.bytes();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let used = inner.clock;
        if let Some(old) = inner.entries.insert(key, Entry { value, bytes, used }) {
            inner.bytes -= old.bytes;
        }
        inner.bytes += bytes;
        while inner.bytes > self.bytes_max && inner.entries.len() > 1 {
            let oldest = inner
                .entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(key, _)| key.clone());
            if let Some(gone) = oldest.and_then(|key| inner.entries.remove(&key)) {
                inner.bytes -= gone.bytes;
            }
        }
    }

    /// Forgets what was made anew.
    pub fn forget(&self, key: &K) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = inner.entries.remove(key) {
            inner.bytes -= gone.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;

    #[test]
    fn the_cache_is_bounded_by_bytes() {
        let films = Films::new(FILMS_BYTES_MAX);
        let large = Arc::new(Film::new(film(3600, 25)));
        let bytes = large.memory_bytes();
        let count = FILMS_BYTES_MAX / bytes + 3;
        for n in 0..count {
            films.put(ContentId([n as u8; 32]), Arc::clone(&large));
            assert!(
                films.get(&ContentId([0; 32])).is_some(),
                "what is used stays"
            );
        }
        assert!(films.get(&ContentId([1; 32])).is_none());
        let inner = films.inner.lock().expect("no panic");
        assert!(inner.bytes <= FILMS_BYTES_MAX && inner.bytes == inner.entries.len() * bytes);
    }
}
