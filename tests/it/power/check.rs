//! A start on what the power left, and what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use nebula_daemon::blob::{BlobOptions, Blobs};
use nebula_daemon::catalog::{Catalog, Options};
use nebula_daemon::identity::{self, Identity};
use nebula_daemon::kernel::{BucketName, Clock, ObjectKey};
use nebula_daemon::queue::Bell;
use nebula_daemon::store::{ListRequest, Store, StoreError, StoreParts};

use super::book::{Book, Times};
use super::traffic::{BUCKET, RELAXED};

type Outcome<T> = Result<T, String>;

/// Starts on the folder as the daemon does and compares what is there with what may be; gives what does not fit.
pub(super) async fn faults(data: &Path, book: &Book, times: &Times, cut: usize) -> Vec<String> {
    let (catalog, store) = match start(data).await {
        Ok(rooms) => rooms,
        Err(error) => return vec![format!("it does not start: {error}")],
    };
    let mut faults = Vec::new();
    if let Err(error) = compare(&store, book, times, cut, &mut faults).await {
        faults.push(error);
    }
    let owed_nothing = relaxed_blobs(&store).await.unwrap_or_default();
    match store.fsck(true).await {
        Ok(report) => {
            let findings = report.findings.iter().map(ToString::to_string);
            faults.extend(
                findings.filter(|finding| !owed_nothing.iter().any(|blob| finding.contains(blob))),
            );
        }
        Err(error) => faults.push(format!("fsck: {error}")),
    }
    let unfinished = std::fs::read_dir(data.join("blobs/tmp")).map_or(0, Iterator::count);
    if unfinished > 0 {
        faults.push(format!("{unfinished} unfinished files stay"));
    }
    store.blobs().settle().await;
    catalog.close().await;
    faults
}

/// How many of the objects that owe nothing to a power cut are there whole.
pub(super) async fn whole(data: &Path, put: &[(String, blake3::Hash)]) -> usize {
    let (catalog, store) = start(data).await.expect("it starts");
    let bucket: BucketName = RELAXED.parse().expect("a bucket");
    let mut whole = 0;
    for (name, hash) in put {
        let key: ObjectKey = name.parse().expect("a key");
        let found = content(&store, &bucket, &key).await;
        whole += usize::from(found == Ok(Some(*hash)));
    }
    catalog.close().await;
    whole
}

/// The files of the relaxed bucket, by their ids.
async fn relaxed_blobs(store: &Store) -> Result<Vec<String>, StoreError> {
    let bucket: BucketName = RELAXED.parse().expect("a bucket");
    let all = ListRequest {
        limit: 1000,
        ..ListRequest::default()
    };
    let mut blobs = Vec::new();
    for item in store.list(&bucket, &all).await?.items {
        let object = store.object(&bucket, &item.key, None).await?;
        let extents = store.catalog().extents(object.row_id).await?;
        blobs.extend(extents.iter().map(|extent| extent.blob.to_string()));
    }
    Ok(blobs)
}

async fn start(data: &Path) -> Outcome<(Catalog, Store)> {
    std::fs::create_dir_all(data).map_err(|error| error.to_string())?;
    let catalog = Catalog::open(&Options::Sqlite(data.join("nebula.db"))).await;
    let catalog = catalog.map_err(|error| error.to_string())?;
    let blobs = Blobs::open(BlobOptions {
        dir: data.join("blobs"),
        reserve_bytes: 0,
    });
    let blobs = blobs.await.map_err(|error| error.to_string())?;
    let clock = Clock::system();
    let options = identity::Options {
        data_dir: data.to_owned(),
        tailnet: None,
    };
    let identity = Identity::open(catalog.clone(), clock.clone(), options).await;
    let identity = identity.map_err(|error| error.to_string())?;
    let root = identity.ensure_root(None).await;
    root.map_err(|error| error.to_string())?;
    let store = Store::new(StoreParts {
        catalog: catalog.clone(),
        blobs,
        clock,
        planner: Arc::new(|_| Vec::new()),
        bell: Bell::new(),
        master: identity.master_key(),
        inline_bytes_max: 16 << 10,
    });
    let reconciled = store.reconcile().await;
    reconciled.map_err(|error| error.to_string())?;
    Ok((catalog, store))
}

async fn compare(
    store: &Store,
    book: &Book,
    times: &Times,
    cut: usize,
    faults: &mut Vec<String>,
) -> Outcome<()> {
    let bucket: BucketName = BUCKET.parse().map_err(|_| "the name of the bucket")?;
    for (name, may_be) in book.may_be(times, cut) {
        let key: ObjectKey = name.parse().map_err(|_| "a key")?;
        let found = match content(store, &bucket, &key).await {
            Ok(found) => found,
            Err(error) => {
                faults.push(format!("{name}: {error}"));
                continue;
            }
        };
        if !may_be.contains(&found) {
            faults.push(format!("{name}: found {found:?}, may be {may_be:?}"));
        }
    }
    for (id, least) in book.offsets(times, cut) {
        let found = store
            .upload(id.parse().map_err(|_| "an upload's id")?)
            .await;
        match found {
            Ok(upload) if upload.offset >= least => {}
            Ok(upload) => faults.push(format!(
                "upload {id} stands at {}, {least} was told",
                upload.offset
            )),
            Err(error) => faults.push(format!("upload {id}, {least} bytes told: {error}")),
        }
    }
    let all = ListRequest {
        limit: 1000,
        ..ListRequest::default()
    };
    match store.list(&bucket, &all).await {
        Ok(page) => {
            let strange = page
                .items
                .iter()
                .filter(|item| !book.knows(item.key.as_str()));
            faults.extend(strange.map(|item| format!("{}: nobody wrote it", item.key)));
        }
        Err(StoreError::NoSuchBucket(_)) => {}
        Err(error) => faults.push(format!("listing: {error}")),
    }
    Ok(())
}

async fn content(
    store: &Store,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Outcome<Option<blake3::Hash>> {
    let object = match store.object(bucket, key, None).await {
        Ok(object) => object,
        Err(StoreError::NoSuchKey(_) | StoreError::NoSuchBucket(_)) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let reader = store.reader(&object).await;
    let body = reader
        .map_err(|error| error.to_string())?
        .body(0..object.size);
    let bytes = body.collect().await.map_err(|error| error.to_string())?;
    Ok(Some(blake3::hash(&bytes.to_bytes())))
}
