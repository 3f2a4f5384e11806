//! Films that were read lately: a bounded cache, so that a segment costs no look at the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::film::Film;
use crate::kernel::ContentId;

/// Memory of all films kept.
pub const FILMS_BYTES_MAX: usize = 48 << 20;

/// Films by content, the least recently used going first.
#[derive(Default)]
pub struct Films(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    films: HashMap<ContentId, Entry>,
    bytes: usize,
    clock: u64,
}

struct Entry {
    film: Arc<Film>,
    bytes: usize,
    used: u64,
}

impl Films {
    /// A film that is kept.
    pub fn get(&self, content: ContentId) -> Option<Arc<Film>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let entry = inner.films.get_mut(&content)?;
        entry.used = now;
        Some(Arc::clone(&entry.film))
    }

    /// Keeps a film; one that exceeds the bound alone is kept until the next comes.
    pub fn put(&self, content: ContentId, film: Arc<Film>) {
        let bytes = film.memory_bytes();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let used = inner.clock;
        if let Some(old) = inner.films.insert(content, Entry { film, bytes, used }) {
            inner.bytes -= old.bytes;
        }
        inner.bytes += bytes;
        while inner.bytes > FILMS_BYTES_MAX && inner.films.len() > 1 {
            let oldest = inner
                .films
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(id, _)| *id);
            if let Some(gone) = oldest.and_then(|id| inner.films.remove(&id)) {
                inner.bytes -= gone.bytes;
            }
        }
    }

    /// Forgets a film whose index was made anew.
    pub fn forget(&self, content: ContentId) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = inner.films.remove(&content) {
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
        let films = Films::default();
        let large = Arc::new(Film::new(film(3600, 25)));
        let bytes = large.memory_bytes();
        let count = FILMS_BYTES_MAX / bytes + 3;
        for n in 0..count {
            films.put(ContentId([n as u8; 32]), Arc::clone(&large));
            assert!(
                films.get(ContentId([0; 32])).is_some(),
                "what is used stays"
            );
        }
        assert!(films.get(ContentId([1; 32])).is_none());
        let inner = films.0.lock().expect("no panic");
        assert!(inner.bytes <= FILMS_BYTES_MAX && inner.bytes == inner.films.len() * bytes);
    }
}
