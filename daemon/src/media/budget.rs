//! The cache of renditions: what is watched is noted, and what nobody watches gives way when the room is used up.
//!
//! The unit of eviction is a rendition of a film: a rung with a hole in it is no use to the next viewer.
//! What was evicted says so in its row, and the next viewer of the film has it made again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::film::Film;
use super::library::{Media, MediaError};
use super::order::About;
use crate::catalog::{RenditionRow, RenditionState};
use crate::kernel::{ContentId, Millis};
use crate::store::{Evicted, Object, StoreError};
use crate::telemetry::metrics as names;

/// How often the cache is measured.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What was asked for so lately is being watched, a pause included.
const WATCHED_MS: Millis = 30 * 60 * 1000;
/// Renditions noted as watched between two looks; a further one is noted at its next segment.
const NOTES_MAX: usize = 4096;
/// Without a number in the configuration, this part of the disk.
const DISK_SHARE: u64 = 5;
/// A content without an object is known for so long, should the object come again.
const LONELY_KEPT_MS: Millis = 24 * 60 * 60 * 1000;

/// Who watches what, until the next look.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<HashMap<(ContentId, String), Millis>>);

impl Watched {
    /// Notes that somebody asked for a part of a rendition.
    pub(super) fn note(&self, content: ContentId, recipe: &str, now_ms: Millis) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (content, recipe.to_owned());
        if notes.len() < NOTES_MAX || notes.contains_key(&key) {
            notes.insert(key, now_ms);
        }
    }

    fn take(&self) -> Vec<(ContentId, String, Millis)> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = std::mem::take(&mut *notes).into_iter();
        notes
            .map(|((content, recipe), at_ms)| (content, recipe, at_ms))
            .collect()
    }
}

impl Media {
    /// Keeps the cache within its budget until `stop`.
    pub async fn run_cache(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.keep_budget(WATCHED_MS).await {
                Ok(gone) if gone.renditions > 0 => tracing::info!(
                    renditions = gone.renditions,
                    bytes = gone.bytes,
                    "gave up {} renditions that nobody watches, {} bytes",
                    gone.renditions,
                    gone.bytes
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "renditions stay beyond their budget for now: {error}");
                }
            }
        }
        // So that a restart remembers who was watching.
        if let Err(error) = self.note_watched().await {
            tracing::warn!(%error, "what was being watched was not noted: {error}");
        }
    }

    /// Notes who watches, measures the cache, and gives up what is beyond the budget and was watched by nobody for `idle_ms`.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn keep_budget(&self, idle_ms: Millis) -> Result<Evicted, MediaError> {
        self.note_watched().await?;
        let store = &self.0.store;
        let used = store.catalog().cached_bytes().await?.unsigned_abs();
        let space = store.blobs().space().map_err(StoreError::from)?;
        let budget = self.0.cache_bytes.unwrap_or(space.total / DISK_SHARE);
        // Twice the reserve must stay free, so that a cache never stands in the way of an upload.
        let narrow = (2 * space.reserve).saturating_sub(space.free);
        let excess = used.saturating_sub(budget).max(narrow).min(used);
        let now_ms = store.clock().now_ms();
        let gone = store.evict_renditions(now_ms - idle_ms, excess).await?;
        store
            .catalog()
            .write(move |tx| {
                Box::pin(async move {
                    let before_ms = now_ms - LONELY_KEPT_MS;
                    tx.delete_lonely_subtitles(before_ms).await?;
                    tx.delete_lonely_assets(before_ms).await
                })
            })
            .await?;
        metrics::gauge!(names::RENDITION_BYTES).set((used - gone.bytes.min(used)) as f64);
        metrics::counter!(names::RENDITIONS_EVICTED_TOTAL).increment(gone.renditions);
        Ok(gone)
    }

    async fn note_watched(&self) -> Result<(), MediaError> {
        let notes = self.0.watched.take();
        if notes.is_empty() {
            return Ok(());
        }
        let noted = self.0.store.catalog().write(move |tx| {
            Box::pin(async move {
                for (content, recipe, at_ms) in &notes {
                    tx.use_rendition(*content, recipe, *at_ms).await?;
                }
                Ok::<_, StoreError>(())
            })
        });
        Ok(noted.await?)
    }

    /// Has the evicted renditions of a film made again, as somebody watches it; whether there were any.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn make_again(&self, object: &Object, film: &Film) -> Result<bool, MediaError> {
        let catalog = self.0.store.catalog();
        let rows = catalog.renditions(object.content_id).await?;
        let evicted = |recipe: &str| {
            rows.iter().any(|row| {
                row.recipe == recipe
                    && row
                        .state()
                        .is_ok_and(|state| state == RenditionState::Evicted)
            })
        };
        // What the configuration names no more stays away.
        let now_ms = self.0.store.clock().now_ms();
        let jobs = self.rendition_jobs(&About::of(object), film, evicted, now_ms);
        if jobs.is_empty() {
            return Ok(false);
        }
        for job in jobs {
            self.0.jobs.insert(job).await?;
        }
        Ok(true)
    }

    /// Whether a rendition is being made, so that whoever plays it does well to ask again.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn is_coming(&self, content: ContentId, recipe: &str) -> Result<bool, MediaError> {
        let rows = self.0.store.catalog().renditions(content).await?;
        let row = rows.iter().find(|row| row.recipe == recipe);
        let state = row.map(RenditionRow::state).transpose()?;
        Ok(state == Some(RenditionState::Building))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded_and_taken_once() {
        let watched = Watched::default();
        for number in 0..=NOTES_MAX {
            watched.note(ContentId([7; 32]), &format!("720p-{number}"), 1);
        }
        watched.note(ContentId([7; 32]), "720p-0", 2);
        let notes = watched.take();
        assert_eq!(notes.len(), NOTES_MAX);
        assert!(notes.contains(&(ContentId([7; 32]), "720p-0".into(), 2)));
        assert!(watched.take().is_empty());
    }
}
