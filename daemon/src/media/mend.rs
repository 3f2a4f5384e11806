//! What is missing of renditions that were begun: segments that were found damaged and forgotten, or a job that ended before its time.

use super::bench::ladder_job;
use super::library::Media;
use super::order::{About, LadderPayload};
use super::{MediaError, ladder};
use crate::catalog::{NewJob, RenditionState};
use crate::kernel::{ContentId, Millis};

impl Media {
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
