//! Buckets and objects.

use super::{Client, pages::collect};
use crate::Error;
use nebula_api::{
    Bucket, ClaimContent, CreateBucket, MAX_PAGE_ITEMS, Object, ObjectDetails, ObjectPage,
    ObjectsQuery, Page, PageQuery, PatchBucket, Upload, VersionQuery, routes,
};
use reqwest::Method;

impl Client {
    /// One page of buckets.
    pub async fn buckets(&self, query: &PageQuery) -> Result<Page<Bucket>, Error> {
        self.get(routes::BUCKETS, query).await
    }

    /// Every bucket.
    pub async fn all_buckets(&self) -> Result<Vec<Bucket>, Error> {
        collect(|cursor| async move {
            let limit = Some(MAX_PAGE_ITEMS);
            self.buckets(&PageQuery { cursor, limit }).await
        })
        .await
    }

    /// One bucket; none when there is none.
    pub async fn bucket(&self, name: &str) -> Result<Option<Bucket>, Error> {
        found(self.get(&routes::bucket(name), &()).await)
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, bucket: &CreateBucket) -> Result<Bucket, Error> {
        self.post(routes::BUCKETS, bucket).await
    }

    /// Changes a bucket's settings.
    pub async fn patch_bucket(&self, name: &str, patch: &PatchBucket) -> Result<Bucket, Error> {
        let request = self.request(Method::PATCH, &routes::bucket(name))?;
        self.json(request.json(patch)).await
    }

    /// Removes an empty bucket.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), Error> {
        self.delete(&routes::bucket(name), &()).await
    }

    /// One page of a bucket's objects.
    pub async fn objects(&self, bucket: &str, query: &ObjectsQuery) -> Result<ObjectPage, Error> {
        self.get(&routes::objects(bucket), query).await
    }

    /// One object; none when there is none.
    pub async fn object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<ObjectDetails>, Error> {
        let query = version_query(version);
        found(self.get(&routes::object(bucket, key), &query).await)
    }

    /// Has an object made of content that the node has already; none when it has none that we may read.
    pub async fn claim_content(
        &self,
        blake3: &str,
        claim: &ClaimContent,
    ) -> Result<Option<ObjectDetails>, Error> {
        found(self.post(&routes::content(blake3), claim).await)
    }

    /// Deletes an object, or one version of it.
    pub async fn delete_object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<(), Error> {
        let query = version_query(version);
        self.delete(&routes::object(bucket, key), &query).await
    }

    /// Brings back what a delete marker hides; with a version, puts that one on top again.
    pub async fn restore_object(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> Result<Object, Error> {
        let request = self.request(Method::POST, &routes::object(bucket, key))?;
        self.json(request.query(&version_query(version))).await
    }

    /// One page of unfinished uploads.
    pub async fn uploads(&self, query: &PageQuery) -> Result<Page<Upload>, Error> {
        self.get(routes::UPLOADS, query).await
    }

    /// Every unfinished upload.
    pub async fn all_uploads(&self) -> Result<Vec<Upload>, Error> {
        collect(|cursor| async move {
            let limit = Some(MAX_PAGE_ITEMS);
            self.uploads(&PageQuery { cursor, limit }).await
        })
        .await
    }

    /// Gives an unfinished upload up.
    pub async fn delete_upload(&self, id: &str) -> Result<(), Error> {
        self.delete(&routes::upload(id), &()).await
    }
}

fn version_query(version: Option<&str>) -> VersionQuery {
    VersionQuery {
        version: version.map(str::to_owned),
    }
}

/// Looking for what is not there is no failure.
pub(super) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(e) => Err(e),
    }
}
