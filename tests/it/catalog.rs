//! The catalog on both databases: every statement is prepared, and one story is told on each.

use nebula_daemon::catalog::{
    Catalog, CatalogError, Durability, EventKind, Extent, ListQuery, ListRows, NewBucket, NewEvent,
    NewObject, NewUpload, Options, Protocol, UploadState, Versioning,
};
use nebula_daemon::kernel::{BlobId, BucketName, ContentId, ETag, ObjectKey, UploadId, VersionId};
use nebula_tests::postgres::Postgres;

/// A catalog in a fresh SQLite file; the directory goes with the guard.
pub async fn sqlite() -> (Catalog, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options::from_url("", dir.path()).expect("the default");
    let catalog = Catalog::open(&options).await.expect("SQLite opens");
    (catalog, dir)
}

/// A catalog in a fresh PostgreSQL; `None`, said loudly, where there is none.
pub async fn postgres() -> Option<(Catalog, Postgres)> {
    let server = Postgres::start()?;
    let options = Options::Postgres(server.url());
    let catalog = Catalog::open(&options).await.expect("PostgreSQL opens");
    Some((catalog, server))
}

async fn prepare_all(catalog: &Catalog) {
    let statements = catalog.statements();
    assert!(statements.len() > 50, "the list is whole");
    let mut wrong = Vec::new();
    for sql in statements {
        if let Err(error) = catalog.prepare(sql).await {
            wrong.push(format!("{sql}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:#?}", catalog.kind());
}

#[tokio::test]
async fn every_statement_prepares_on_sqlite() {
    let (catalog, _dir) = sqlite().await;
    prepare_all(&catalog).await;
    catalog.close().await;
}

#[tokio::test]
async fn every_statement_prepares_on_postgres() {
    let Some((catalog, _server)) = postgres().await else {
        return;
    };
    prepare_all(&catalog).await;
    catalog.close().await;
}

#[tokio::test]
async fn story_on_sqlite() {
    let (catalog, _dir) = sqlite().await;
    story(&catalog).await;
    catalog.close().await;
}

#[tokio::test]
async fn story_on_postgres() {
    let Some((catalog, _server)) = postgres().await else {
        return;
    };
    story(&catalog).await;
    catalog.close().await;
}

fn object(bucket_id: i64, key: &str, version: VersionId, at_ms: i64) -> NewObject {
    NewObject {
        bucket_id,
        key: key.parse().expect("a key"),
        version_id: version,
        is_delete_marker: false,
        size: 3,
        etag: ETag::from_stored("abc".into()),
        content_id: Some(ContentId([7; 32])),
        headers: "{}".into(),
        tags: "{}".into(),
        checksums: "{}".into(),
        inline: None,
        extras: "{}".into(),
        owner: "root".into(),
        modified_ms: at_ms,
    }
}

/// A bucket is made, filled, listed and emptied; a failed change leaves no trace; events tell all of it in order.
async fn story(catalog: &Catalog) {
    let films: BucketName = "films".parse().expect("a name");
    let key: ObjectKey = "a/b.mp4".parse().expect("a key");
    let bucket_id = bucket(catalog, &films).await;
    let blob = objects(catalog, bucket_id, &films, &key).await;
    failed_change(catalog, bucket_id).await;
    upload(catalog, bucket_id).await;
    events(catalog).await;
    empty(catalog, bucket_id, &key, blob).await;
}

async fn bucket(catalog: &Catalog, films: &BucketName) -> i64 {
    let new = NewBucket {
        name: films.clone(),
        owner: "root".into(),
        versioning: Versioning::Enabled,
        durability: Durability::Strict,
        created_ms: 1,
    };
    for first in [true, false] {
        let new = new.clone();
        let made = catalog
            .write(move |tx| {
                Box::pin(async move {
                    let made = tx.insert_bucket(&new).await?;
                    if made {
                        tx.insert_event(&event(EventKind::BucketCreated, None))
                            .await?;
                    }
                    Ok::<_, CatalogError>(made)
                })
            })
            .await
            .expect("a bucket");
        assert_eq!(made, first, "a name is taken once");
    }
    let row = catalog.bucket(films).await.expect("reads").expect("there");
    assert_eq!(row.versioning(), Versioning::Enabled);
    assert_eq!(row.durability(), Durability::Strict);
    row.id
}

fn event(kind: EventKind, key: Option<&str>) -> NewEvent {
    NewEvent {
        time_ms: 1,
        kind,
        bucket: Some("films".into()),
        key: key.map(Into::into),
        version_id: None,
        payload: "{}".into(),
    }
}

async fn objects(catalog: &Catalog, bucket_id: i64, films: &BucketName, key: &ObjectKey) -> BlobId {
    let blob = BlobId::random();
    let versions = [VersionId::random(), VersionId::random()];
    for (n, version) in versions.clone().into_iter().enumerate() {
        let key = key.clone();
        catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.lock_key(bucket_id, &key).await?;
                    if n == 0 {
                        tx.insert_live_blob(blob, 3, 1, &[1; 32], &[2; 32], 1)
                            .await?;
                    } else {
                        assert!(tx.refer_blob(blob, 1).await?);
                    }
                    tx.demote_latest(bucket_id, &key).await?;
                    let new = object(bucket_id, key.as_str(), version, n as i64);
                    let id = tx.insert_object(&new).await?;
                    let extent = Extent {
                        blob,
                        offset: 0,
                        length: 3,
                    };
                    tx.insert_extents(id, &[extent]).await?;
                    tx.insert_event(&event(EventKind::ObjectCreated, Some(key.as_str())))
                        .await?;
                    tx.add_bucket_usage(bucket_id, 3, 1).await
                })
            })
            .await
            .expect("an object");
    }
    let latest = catalog.object(films, key).await.expect("reads");
    let latest = latest.expect("there");
    assert_eq!(latest.version_id().expect("valid"), versions[1]);
    assert_eq!(latest.content_id(), Some(ContentId([7; 32])));
    let older = catalog.object_version(films, key, &versions[0]).await;
    assert!(!older.expect("reads").expect("there").is_latest);
    assert_eq!(catalog.extents(latest.id).await.expect("reads").len(), 1);
    for (query, rows) in [
        (ListQuery::Objects, 1),
        (ListQuery::Versions { below: i64::MAX }, 2),
    ] {
        let page = ListRows {
            bucket_id,
            has_history: true,
            from: b"a/",
            until: Some(b"a0"),
            limit: 10,
        };
        assert_eq!(catalog.list(page, query).await.expect("lists").len(), rows);
    }
    let row = catalog.blob(blob).await.expect("reads").expect("there");
    assert_eq!(row.refs, 2);
    let counted = catalog.blobs_counted_after("", 10).await.expect("counts");
    assert_eq!(counted[0].refs, 2, "what refers is what was counted");
    blob
}

async fn failed_change(catalog: &Catalog, bucket_id: i64) {
    let failed: Result<(), CatalogError> = catalog
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_object(&object(bucket_id, "half", VersionId::null(), 9))
                    .await?;
                Err(CatalogError::Failed("on purpose".into()))
            })
        })
        .await;
    assert!(failed.is_err());
    let films: BucketName = "films".parse().expect("a name");
    let half: ObjectKey = "half".parse().expect("a key");
    let found = catalog.object(&films, &half).await.expect("reads");
    assert!(found.is_none(), "a change that failed left nothing");
}

async fn upload(catalog: &Catalog, bucket_id: i64) {
    let (id, blob) = (UploadId::random(), BlobId::random());
    let new = NewUpload {
        id,
        role: nebula_daemon::catalog::UploadRole::Whole,
        protocol: Protocol::Tus,
        bucket_id,
        key: "up".parse().expect("a key"),
        extras: "{}".into(),
        owner: "root".into(),
        length: None,
        blob: Some(blob),
        lane: None,
        headers: "{}".into(),
        tags: "{}".into(),
        metadata: "{}".into(),
        created_ms: 1,
        expires_ms: Some(100),
    };
    catalog
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_open_blob(blob, 1).await?;
                tx.insert_upload(&new).await?;
                assert!(tx.set_upload_length(id, 10).await?);
                assert!(!tx.set_upload_length(id, 11).await?, "declared once");
                assert!(tx.advance_upload(id, 4, b"", Some(100)).await?);
                assert!(
                    !tx.advance_upload(id, 3, b"", Some(100)).await?,
                    "never back"
                );
                assert!(tx.take_upload_lease(id, "one", 0, 50).await?);
                assert!(!tx.take_upload_lease(id, "two", 10, 60).await?);
                assert!(tx.take_upload_lease(id, "two", 50, 90).await?, "ran out");
                assert!(tx.finish_upload(id, "null", 10, Some(100)).await?);
                assert!(!tx.finish_upload(id, "null", 10, Some(100)).await?, "once");
                assert!(tx.release_blob(blob, 1).await?);
                Ok::<_, CatalogError>(())
            })
        })
        .await
        .expect("an upload");
    let row = catalog.upload(id).await.expect("reads").expect("there");
    assert_eq!((row.state(), row.offset()), (UploadState::Finished, 10));
    let dead = catalog.dead_blobs(10).await.expect("reads");
    assert_eq!(dead, [blob]);
    let gone = catalog
        .write(move |tx| {
            Box::pin(async move {
                tx.delete_dead_blob(blob).await?;
                tx.delete_upload(id).await
            })
        })
        .await;
    assert!(gone.expect("deletes"));
}

async fn events(catalog: &Catalog) {
    let events = catalog.events_after(0, 100).await.expect("reads");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["bucket.created", "object.created", "object.created"]
    );
    assert!(events.is_sorted_by_key(|event| event.seq));
    let last = catalog.last_event().await.expect("reads");
    assert_eq!(Some(last), events.last().map(|event| event.seq));
    assert_eq!(catalog.consumer_offset("test").await.expect("reads"), 0);
    catalog
        .write(move |tx| Box::pin(async move { tx.set_consumer_offset("test", last).await }))
        .await
        .expect("notes");
    assert_eq!(catalog.consumer_offset("test").await.expect("reads"), last);
    let trimmed = catalog
        .write(|tx| Box::pin(async move { tx.trim_events(2).await }))
        .await;
    assert_eq!(trimmed.expect("trims"), 3, "all of them were read");
}

async fn empty(catalog: &Catalog, bucket_id: i64, key: &ObjectKey, blob: BlobId) {
    let delete =
        || catalog.write(move |tx| Box::pin(async move { tx.delete_bucket(bucket_id).await }));
    let refused: Result<bool, CatalogError> = delete().await;
    assert!(!refused.expect("answers"), "a full bucket stays");
    for last in [false, true] {
        let key = key.clone();
        let freed = catalog
            .write(move |tx| {
                Box::pin(async move {
                    let row = tx.object(bucket_id, &key).await?;
                    let row = row.expect("a latest version");
                    tx.delete_extents(row.id).await?;
                    tx.delete_object_row(row.id).await?;
                    tx.promote_latest(bucket_id, &key).await?;
                    tx.release_blob(blob, 1).await
                })
            })
            .await;
        assert_eq!(
            freed.expect("deletes"),
            last,
            "dead with its last reference"
        );
    }
    let gone: Result<bool, CatalogError> = delete().await;
    assert!(gone.expect("answers"));
}
