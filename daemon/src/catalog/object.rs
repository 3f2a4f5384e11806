//! Object versions: the rows that names point at.

use std::sync::Arc;

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Link, Tx, on_pool, on_tx};
use super::db::{ask, run};
use super::lookup::FromSqlite;
use super::memory::Found;
use crate::kernel::{BlobId, BucketName, ContentId, ETag, Millis, ObjectKey, VersionId};

/// A row of `object_version` with the name of its bucket.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ObjectRow {
    /// Row id: grows with every commit, so it orders the versions of a key.
    pub id: i64,
    /// Row id of the bucket.
    pub bucket_id: i64,
    /// Name of the bucket.
    pub bucket: String,
    key: Vec<u8>,
    version_id: String,
    /// Whether a plain read sees this version.
    pub is_latest: bool,
    /// Whether this version says that the object is gone.
    pub is_delete_marker: bool,
    size_bytes: i64,
    etag: String,
    content_id: Option<Vec<u8>>,
    /// JSON: system headers and user metadata.
    pub headers: String,
    /// JSON: tags.
    pub tags: String,
    /// JSON: checksums, part sizes.
    pub checksums: String,
    /// JSON: access list, lock, encryption.
    pub extras: String,
    /// The bytes of a small object, where the query asked for them.
    pub inline: Option<Vec<u8>>,
    /// Whether the bytes are in the row.
    pub is_inline: bool,
    /// Who wrote it.
    pub owner: String,
    /// When it was published.
    pub modified_ms: Millis,
}

/// In the order of [`select`].
impl FromSqlite for ObjectRow {
    fn from_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            bucket_id: row.get(1)?,
            bucket: row.get(2)?,
            key: row.get(3)?,
            version_id: row.get(4)?,
            is_latest: row.get(5)?,
            is_delete_marker: row.get(6)?,
            size_bytes: row.get(7)?,
            etag: row.get(8)?,
            content_id: row.get(9)?,
            headers: row.get(10)?,
            tags: row.get(11)?,
            checksums: row.get(12)?,
            extras: row.get(13)?,
            inline: row.get(14)?,
            is_inline: row.get(15)?,
            owner: row.get(16)?,
            modified_ms: row.get(17)?,
        })
    }
}

impl ObjectRow {
    /// The row that [`Tx::insert_object`] made, without reading it back.
    pub fn published(id: i64, bucket: &str, new: &NewObject) -> Self {
        Self {
            id,
            bucket_id: new.bucket_id,
            bucket: bucket.into(),
            key: new.key.as_bytes().to_vec(),
            version_id: new.version_id.to_string(),
            is_latest: true,
            is_delete_marker: new.is_delete_marker,
            size_bytes: new.size as i64,
            etag: new.etag.to_string(),
            content_id: new.content_id.map(|content| content.0.to_vec()),
            headers: new.headers.clone(),
            tags: new.tags.clone(),
            checksums: new.checksums.clone(),
            extras: new.extras.clone(),
            inline: None,
            is_inline: new.inline.is_some(),
            owner: new.owner.clone(),
            modified_ms: new.modified_ms,
        }
    }

    /// The key.
    pub fn key(&self) -> Result<ObjectKey, CatalogError> {
        let text = String::from_utf8_lossy(&self.key);
        text.parse()
            .map_err(|e| CatalogError::Corrupt(format!("object_version.key {text}: {e}")))
    }

    /// The key's bytes.
    pub(super) fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// What its texts and bytes take in memory.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            &self.headers,
            &self.tags,
            &self.checksums,
            &self.extras,
            &self.owner,
            &self.etag,
            &self.bucket,
        ];
        // The key stands in the map as well.
        let texts: usize = texts.into_iter().map(String::len).sum();
        texts + 2 * self.key.len() + self.inline.as_ref().map_or(0, Vec::len)
    }

    /// The version.
    pub fn version_id(&self) -> Result<VersionId, CatalogError> {
        self.version_id.parse().map_err(|_| {
            CatalogError::Corrupt(format!("object_version.version_id {}", self.version_id))
        })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size_bytes as u64
    }

    /// The entity tag.
    pub fn etag(&self) -> ETag {
        ETag::from_stored(self.etag.clone())
    }

    /// What the bytes are, whatever they are called; `None` for a delete marker.
    pub fn content_id(&self) -> Option<ContentId> {
        self.content_id
            .as_deref()
            .and_then(|bytes| bytes.try_into().ok())
            .map(ContentId)
    }
}

/// A version to be published.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Row id of the bucket.
    pub bucket_id: i64,
    /// The key.
    pub key: ObjectKey,
    /// The version id.
    pub version_id: VersionId,
    /// Whether this version says that the object is gone.
    pub is_delete_marker: bool,
    /// Bytes.
    pub size: u64,
    /// The entity tag.
    pub etag: ETag,
    /// What the bytes are; `None` for a delete marker.
    pub content_id: Option<ContentId>,
    /// JSON: system headers and user metadata.
    pub headers: String,
    /// JSON: tags.
    pub tags: String,
    /// JSON: checksums, part sizes.
    pub checksums: String,
    /// JSON: access list, lock, encryption.
    pub extras: String,
    /// The bytes of a small object.
    pub inline: Option<Vec<u8>>,
    /// Who writes it.
    pub owner: String,
    /// Now.
    pub modified_ms: Millis,
}

/// The columns of [`ObjectRow`], with the bytes of a small object or without.
macro_rules! select {
    ($inline:literal, $rest:literal) => {
        concat!(
            "SELECT o.id, o.bucket_id, b.name AS bucket, o.key, o.version_id, o.is_latest, o.is_delete_marker, o.size_bytes, o.etag, ",
            "o.content_id, o.headers, o.tags, o.checksums, o.extras, ",
            $inline,
            " AS inline, o.inline IS NOT NULL AS is_inline, o.owner, o.modified_ms ",
            "FROM object_version o JOIN bucket b ON b.id = o.bucket_id ",
            $rest
        )
    };
}

pub(super) const LATEST: &str = select!(
    "o.inline",
    "WHERE b.tenant = 'default' AND b.name = $1 AND o.key = $2 AND o.is_latest"
);
pub(super) const LATEST_HEAD: &str = select!(
    "NULL",
    "WHERE b.tenant = 'default' AND b.name = $1 AND o.key = $2 AND o.is_latest"
);
pub(super) const VERSION: &str = select!(
    "o.inline",
    "WHERE b.tenant = 'default' AND b.name = $1 AND o.key = $2 AND o.version_id = $3"
);
pub(super) const BY_CONTENT: &str = select!(
    "o.inline",
    "WHERE o.content_id = $1 AND NOT o.is_delete_marker ORDER BY o.is_latest DESC, o.id DESC LIMIT $2"
);
pub(super) const TX_LATEST: &str = select!(
    "NULL",
    "WHERE o.bucket_id = $1 AND o.key = $2 AND o.is_latest"
);
pub(super) const TX_VERSION: &str = select!(
    "NULL",
    "WHERE o.bucket_id = $1 AND o.key = $2 AND o.version_id = $3"
);
pub(super) const PAGE: &str = select!("o.inline", "WHERE o.id > $1 ORDER BY o.id LIMIT $2");
pub(super) const BY_ID: &str = select!("o.inline", "WHERE o.id = $1");
pub(super) const OF_BLOB: &str = select!(
    "NULL",
    "WHERE o.id IN (SELECT e.object_id FROM extent e WHERE e.blob_id = $1) ORDER BY o.id LIMIT $2"
);
pub(super) const DEMOTE: &str =
    "UPDATE object_version SET is_latest = FALSE WHERE bucket_id = $1 AND key = $2 AND is_latest";
pub(super) const PROMOTE: &str = "UPDATE object_version SET is_latest = TRUE WHERE id = \
     (SELECT id FROM object_version WHERE bucket_id = $1 AND key = $2 ORDER BY id DESC LIMIT 1) AND NOT EXISTS \
     (SELECT 1 FROM object_version WHERE bucket_id = $1 AND key = $2 AND is_latest)";
pub(super) const INSERT: &str = "INSERT INTO object_version (bucket_id, key, version_id, is_latest, is_delete_marker, size_bytes, etag, \
     content_id, headers, tags, checksums, extras, inline, owner, modified_ms) \
     VALUES ($1, $2, $3, TRUE, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id";
/// SQLite never gives a row id twice, whoever names it.
pub(super) const INSERT_AT: &str = "INSERT INTO object_version (bucket_id, key, version_id, is_latest, is_delete_marker, size_bytes, etag, \
     content_id, headers, tags, checksums, extras, inline, owner, modified_ms, id) \
     VALUES ($1, $2, $3, TRUE, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
pub(super) const NEWEST: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'object_version'";
pub(super) const DELETE: &str = "DELETE FROM object_version WHERE id = $1";
pub(super) const SET_TAGS: &str = "UPDATE object_version SET tags = $2 WHERE id = $1";
pub(super) const SET_EXTRAS: &str = "UPDATE object_version SET extras = $2 WHERE id = $1";
pub(super) const SET_HEADERS: &str = "UPDATE object_version SET headers = $2 WHERE id = $1";
/// Serialises the writers of one key; SQLite has one writer at a time anyway.
pub(super) const LOCK_KEY: &str = "SELECT pg_advisory_xact_lock($1, hashtext(encode($2, 'hex')))";

impl Catalog {
    /// The version that a plain GET sees, with the bytes of a small object; a delete marker is returned as such.
    pub async fn object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<ObjectRow>, CatalogError> {
        let row = self.latest(bucket, key, LATEST, true).await?;
        Ok(row.map(Arc::unwrap_or_clone))
    }

    /// The same without the bytes; as long as nothing of it changes, it is likely the very row that was given before.
    pub async fn object_head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<Arc<ObjectRow>>, CatalogError> {
        self.latest(bucket, key, LATEST_HEAD, false).await
    }

    async fn latest(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        sql: &'static str,
        whole: bool,
    ) -> Result<Option<Arc<ObjectRow>>, CatalogError> {
        let found = self
            .memory
            .as_ref()
            .map(|memory| memory.object(bucket.as_str(), key.as_bytes(), whole));
        if let Some(Found::Here(object)) = found {
            return Ok(Some(Arc::clone(&object.row)));
        }
        let row: Option<ObjectRow> = if let Some(lookups) = &self.lookups {
            let named = (bucket.as_str().to_owned(), key.as_bytes().to_vec());
            lookups.all(sql, named).await?.pop()
        } else {
            on_pool!(self, pool => sqlx::query_as(sql)
                .bind(bucket.as_str())
                .bind(key.as_bytes())
                .fetch_optional(pool).await)?
        };
        let row = row.map(Arc::new);
        if let (Some(memory), Some(Found::Ask(since)), Some(row)) = (&self.memory, found, &row) {
            memory.put_object(since, row);
        }
        Ok(row)
    }

    /// One named version, with the bytes of a small object.
    pub async fn object_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &VersionId,
    ) -> Result<Option<ObjectRow>, CatalogError> {
        if let Some(lookups) = &self.lookups {
            let named = (
                bucket.as_str().to_owned(),
                key.as_bytes().to_vec(),
                version.as_str().to_owned(),
            );
            return Ok(lookups.all(VERSION, named).await?.pop());
        }
        Ok(on_pool!(self, pool => sqlx::query_as(VERSION)
            .bind(bucket.as_str())
            .bind(key.as_bytes())
            .bind(version.as_str())
            .fetch_optional(pool).await)?)
    }

    /// Up to `limit` versions that hold this content, those that are the latest of their keys first.
    pub async fn objects_with_content(
        &self,
        content: ContentId,
        limit: i64,
    ) -> Result<Vec<ObjectRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(BY_CONTENT).bind(content.0.as_slice()).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// Up to `limit` versions with a row id above `after`, for walks over all.
    pub async fn object_rows_after(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<ObjectRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(PAGE).bind(after).bind(limit).fetch_all(pool).await)?,
        )
    }
}

impl Catalog {
    /// The version of a row id.
    pub async fn object_by_id(&self, id: i64) -> Result<Option<ObjectRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(BY_ID).bind(id).fetch_optional(pool).await)?)
    }

    /// Up to `limit` versions whose bytes lie in a blob, wholly or in part.
    pub async fn objects_of_blob(
        &self,
        blob: BlobId,
        limit: i64,
    ) -> Result<Vec<ObjectRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(OF_BLOB).bind(blob.to_string()).bind(limit).fetch_all(pool).await)?,
        )
    }
}

impl Tx {
    /// The same as this transaction sees it.
    pub async fn objects_of_blob(
        &mut self,
        blob: BlobId,
        limit: i64,
    ) -> Result<Vec<ObjectRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(OF_BLOB).bind(blob.to_string()).bind(limit).fetch_all(conn).await)?,
        )
    }

    /// Makes the other writers of this key wait until this transaction ends, so that a condition stays true until the commit.
    pub async fn lock_key(&mut self, bucket_id: i64, key: &ObjectKey) -> Result<(), CatalogError> {
        if let Link::Postgres(tx) = &mut self.link {
            sqlx::query(LOCK_KEY)
                .bind(bucket_id as i32)
                .bind(key.as_bytes())
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }

    /// The latest version of a key, without its bytes.
    pub async fn object(
        &mut self,
        bucket_id: i64,
        key: &ObjectKey,
    ) -> Result<Option<ObjectRow>, CatalogError> {
        Ok(ask!(self, TX_LATEST, bucket_id, key.as_bytes())?)
    }

    /// One named version of a key, without its bytes.
    pub async fn object_version(
        &mut self,
        bucket_id: i64,
        key: &ObjectKey,
        version: &VersionId,
    ) -> Result<Option<ObjectRow>, CatalogError> {
        Ok(ask!(
            self,
            TX_VERSION,
            bucket_id,
            key.as_bytes(),
            version.as_str()
        )?)
    }

    /// Takes the rank of latest from whichever version of the key has it.
    pub async fn demote_latest(
        &mut self,
        bucket_id: i64,
        key: &ObjectKey,
    ) -> Result<(), CatalogError> {
        self.touched.key(bucket_id, key.as_bytes());
        run!(self, DEMOTE, bucket_id, key.as_bytes())?;
        Ok(())
    }

    /// Gives the rank of latest to the newest version left, when none has it.
    pub async fn promote_latest(
        &mut self,
        bucket_id: i64,
        key: &ObjectKey,
    ) -> Result<(), CatalogError> {
        self.touched.key(bucket_id, key.as_bytes());
        run!(self, PROMOTE, bucket_id, key.as_bytes())?;
        Ok(())
    }

    /// Enters a version as the latest of its key and returns its row id; the former latest is demoted before.
    pub async fn insert_object(&mut self, new: &NewObject) -> Result<i64, CatalogError> {
        self.touched.key(new.bucket_id, new.key.as_bytes());
        let content_id = new.content_id.map(|content| content.0.to_vec());
        if let Link::Postgres(tx) = &mut self.link {
            return Ok(sqlx::query_scalar(INSERT)
                .bind(new.bucket_id)
                .bind(new.key.as_bytes())
                .bind(new.version_id.as_str())
                .bind(new.is_delete_marker)
                .bind(new.size as i64)
                .bind(new.etag.as_str())
                .bind(content_id)
                .bind(&new.headers)
                .bind(&new.tags)
                .bind(&new.checksums)
                .bind(&new.extras)
                .bind(&new.inline)
                .bind(&new.owner)
                .bind(new.modified_ms)
                .fetch_one(&mut **tx)
                .await?);
        }
        // The only writer gives the ids itself, so that it need not ask for each.
        let newest = match self.known.object_id {
            Some(id) => id,
            None => ask!(self, NEWEST)?.map_or(0, |(id,): (i64,)| id),
        };
        let id = newest + 1;
        self.known.object_id = Some(id);
        run!(
            self,
            INSERT_AT,
            new.bucket_id,
            new.key.as_bytes(),
            new.version_id.as_str(),
            new.is_delete_marker,
            new.size as i64,
            new.etag.as_str(),
            content_id,
            &new.headers,
            &new.tags,
            &new.checksums,
            &new.extras,
            &new.inline,
            &new.owner,
            new.modified_ms,
            id,
        )?;
        Ok(id)
    }

    /// Removes a version; its extents are deleted and its blobs released before.
    pub async fn delete_object_row(&mut self, id: i64) -> Result<(), CatalogError> {
        self.touched.object(id);
        run!(self, DELETE, id)?;
        Ok(())
    }

    /// Replaces the tags of a version.
    pub async fn set_object_tags(&mut self, id: i64, tags: &str) -> Result<(), CatalogError> {
        self.touched.object(id);
        run!(self, SET_TAGS, id, tags)?;
        Ok(())
    }

    /// Replaces the access list, lock and encryption of a version.
    pub async fn set_object_extras(&mut self, id: i64, extras: &str) -> Result<(), CatalogError> {
        self.touched.object(id);
        run!(self, SET_EXTRAS, id, extras)?;
        Ok(())
    }

    /// Replaces the headers of a version.
    pub async fn set_object_headers(&mut self, id: i64, headers: &str) -> Result<(), CatalogError> {
        self.touched.object(id);
        run!(self, SET_HEADERS, id, headers)?;
        Ok(())
    }
}
