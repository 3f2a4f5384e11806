//! How what is made of a film is kept, encrypted where the film is, and what is missing of renditions that were begun: segments that were found damaged and forgotten, or a job that ended before its time.

use super::bench::ladder_job;
use super::library::Media;
use super::order::{About, LadderPayload};
use super::payload::store_error;
use super::worker::BenchError;
use super::{MediaError, ladder};
use crate::catalog::{NewJob, RenditionState};
use crate::kernel::{ContentId, Millis};
use crate::store::{Object, WriteOptions};

impl Media {
    async fn made_of(&self, about: &About, content: ContentId) -> Result<Object, BenchError> {
        let object = self.object_of(about, content).await?;
        object.ok_or_else(|| BenchError::Unavailable("the object was deleted".into()))
    }

    /// How a segment of so many bytes is written.
    pub(super) async fn segment_options(
        &self,
        about: &About,
        content: ContentId,
        size: u64,
    ) -> Result<WriteOptions, BenchError> {
        let object = self.made_of(about, content).await?;
        let encryption = self.0.store.derived_encryption(&object).await;
        Ok(WriteOptions {
            size: Some(size),
            always_blob: true,
            relaxed: true,
            encryption: encryption.map_err(|error| store_error(&error))?,
            ..WriteOptions::default()
        })
    }

    /// Index and poster as they go into their row.
    pub(super) async fn sealed(
        &self,
        about: &About,
        content: ContentId,
        index: Vec<u8>,
        poster: Option<Vec<u8>>,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), BenchError> {
        let (store, object) = (&self.0.store, self.made_of(about, content).await?);
        let seal = async |plain| {
            let sealed = store.seal_derived(&object, plain).await;
            sealed.map_err(|error| store_error(&error))
        };
        let poster = match poster {
            Some(poster) => Some(seal(poster).await?),
            None => None,
        };
        Ok((seal(index).await?, poster))
    }

    /// A picture of a film, as JPEG.
    pub async fn poster(&self, content: ContentId) -> Result<Option<Vec<u8>>, MediaError> {
        let store = &self.0.store;
        Ok(match store.catalog().asset_poster(content).await? {
            Some(poster) => Some(store.open_derived(content, poster).await?),
            None => None,
        })
    }

    /// The job that makes whole what was begun of a content, is wanted still, and is not whole.
    pub(super) async fn unfinished(
        &self,
        about: &About,
        content: ContentId,
        now_ms: Millis,
    ) -> Result<Option<NewJob>, MediaError> {
        let rows = self.0.store.catalog().renditions(content).await?;
        let mut building = Vec::new();
        for row in rows {
            if row.state()? == RenditionState::Building {
                building.push(row.recipe);
            }
        }
        if building.is_empty() {
            return Ok(None);
        }
        let Some(film) = self.film(content).await? else {
            return Ok(None);
        };
        let mut renditions = ladder::wanted(&film, &self.0.ladder);
        renditions.retain(|one| building.contains(&one.recipe));
        let about = about.clone();
        let payload = LadderPayload { about, renditions };
        Ok((!payload.renditions.is_empty()).then(|| ladder_job(&payload, now_ms)))
    }
}
