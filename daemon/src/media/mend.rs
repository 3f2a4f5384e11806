//! How what is made of a film is kept, encrypted where the film is, and what is missing of renditions that were begun: segments that were found damaged and forgotten, or a job that ended before its time.

use super::MediaError;
use bytes::Bytes;

use super::follow::subtitles_job;
use super::library::Media;
use super::order::About;
use super::payload::store_error;
use super::worker::BenchError;
use crate::catalog::{NewJob, RenditionState};
use crate::kernel::{ContentId, Millis};
use crate::store::{Object, SegmentOf, WriteOptions};

impl Media {
    async fn made_of(&self, about: &About, content: ContentId) -> Result<Object, BenchError> {
        let object = self.object_of(about, content).await?;
        object.ok_or_else(|| BenchError::Unavailable("the object was deleted".into()))
    }

    /// Keeps bytes as one segment of a rendition; what is there already stays.
    pub(super) async fn put_segment_bytes(
        &self,
        about: &About,
        of: SegmentOf,
        bytes: Vec<u8>,
    ) -> Result<(), BenchError> {
        let store = &self.0.store;
        let object = self.made_of(about, of.content).await?;
        let encryption = store.derived_encryption(&object).await;
        let options = WriteOptions {
            size: Some(bytes.len() as u64),
            always_blob: true,
            relaxed: true,
            encryption: encryption.map_err(|error| store_error(&error))?,
            ..WriteOptions::default()
        };
        let writer = store.writer(options).await;
        let mut writer = writer.map_err(|error| store_error(&error))?;
        let written = writer.write(Bytes::from(bytes)).await;
        written.map_err(|error| store_error(&error))?;
        let sealed = writer.seal().await.map_err(|error| store_error(&error))?;
        let put = store.put_segment(of, sealed).await;
        put.map(|_| ()).map_err(|error| store_error(&error))
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

    /// The jobs that make whole what was begun of a content, is wanted still, and is not whole.
    pub(super) async fn unfinished(
        &self,
        about: &About,
        content: ContentId,
        now_ms: Millis,
    ) -> Result<Vec<NewJob>, MediaError> {
        let rows = self.0.store.catalog().renditions(content).await?;
        let mut building = Vec::new();
        for row in rows {
            if row.state()? == RenditionState::Building {
                building.push(row.recipe);
            }
        }
        let Some(film) = self.film(content).await? else {
            return Ok(Vec::new());
        };
        let mut jobs = Vec::new();
        let tracks = self.unread_texts(&film, content).await?;
        if !tracks.is_empty() {
            jobs.push(subtitles_job(about, tracks, now_ms));
        }
        let begun = |recipe: &str| building.iter().any(|one| one == recipe);
        jobs.extend(self.rendition_jobs(about, &film, begun, now_ms));
        Ok(jobs)
    }
}
