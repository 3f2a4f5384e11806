//! Assets, the library, who watches, and jobs.

use super::{Client, store::found};
use crate::Error;
use nebula_api::{
    Asset, AssetsQuery, Job, JobsQuery, LibraryItem, LibraryQuery, Page, PlayerQuery, Stream,
    routes,
};

impl Client {
    /// One page of assets.
    pub async fn assets(&self, query: &AssetsQuery) -> Result<Page<Asset>, Error> {
        self.get(routes::ASSETS, query).await
    }

    /// One asset; none when the object is none.
    pub async fn asset(&self, bucket: &str, key: &str) -> Result<Option<Asset>, Error> {
        found(self.get(&routes::asset(bucket, key), &()).await)
    }

    /// One asset, with what is decided for a player that takes this; none when the object is none.
    pub async fn asset_for(
        &self,
        bucket: &str,
        key: &str,
        player: &PlayerQuery,
    ) -> Result<Option<Asset>, Error> {
        found(self.get(&routes::asset(bucket, key), player).await)
    }

    /// One page of films and series, or of the episodes of one.
    pub async fn library(&self, query: &LibraryQuery) -> Result<Page<LibraryItem>, Error> {
        self.get(routes::LIBRARY, query).await
    }

    /// Who watches at this moment.
    pub async fn streams(&self) -> Result<Page<Stream>, Error> {
        self.get(routes::STREAMS, &()).await
    }

    /// One page of jobs, newest first.
    pub async fn jobs(&self, query: &JobsQuery) -> Result<Page<Job>, Error> {
        self.get(routes::JOBS, query).await
    }

    /// One job; none when there is none.
    pub async fn job(&self, id: &str) -> Result<Option<Job>, Error> {
        found(self.get(&routes::job(id), &()).await)
    }

    /// Cancels a job.
    pub async fn cancel_job(&self, id: &str) -> Result<Job, Error> {
        self.post(&routes::job_cancel(id), &()).await
    }

    /// Queues a finished job again.
    pub async fn retry_job(&self, id: &str) -> Result<Job, Error> {
        self.post(&routes::job_retry(id), &()).await
    }
}
