//! Crashes, and the comparison of everything.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// Longer than an upload is held by a daemon that died.
const LEASE_OVER_MS: i64 = 10_001;

/// Copies a tree; what vanishes meanwhile was about to.
fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else if let Err(error) = std::fs::copy(entry.path(), to) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

impl World {
    pub(super) async fn crash(&mut self, underway: Underway) {
        let (mut writing, mut sealed) = (None, None);
        match underway {
            Underway::Nothing => {}
            Underway::Writing(size) => {
                let mut writer = self.store.writer(WriteOptions::default()).await.unwrap();
                writer.write(content(size, 7).into()).await.unwrap();
                writing = Some(writer);
            }
            Underway::Sealed(size) => {
                sealed = Some(seal(&self.store, &content(size, 8), true).await);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (self.dir.path().to_owned(), dir.path().to_owned());
        let copied = self.store.catalog().write(move |_| {
            Box::pin(async move {
                copy_tree(&from, &to);
                Ok::<_, StoreError>(())
            })
        });
        copied.await.unwrap();
        drop((writing, sealed));
        // The dead daemon's leases on uploads run out by themselves.
        self.clock.advance_ms(LEASE_OVER_MS);
        self.store = open_at(&dir, &self.clock).await;
        self.past.push(std::mem::replace(&mut self.dir, dir));
        self.store.reconcile().await.unwrap();
        for upload in &mut self.uploads {
            upload.session = None;
            let offset = self.store.upload(upload.id).await.unwrap().offset as usize;
            let promised = upload.durable..=upload.bytes.len();
            assert!(
                promised.contains(&offset),
                "{offset} is not in {promised:?}"
            );
            upload.bytes.truncate(offset);
            upload.durable = offset;
        }
        clean(&self.store).await;
        self.compare_bytes().await;
    }

    /// Names, sizes, versions and usage, in pages and folded.
    pub(super) async fn compare_names(&self) {
        for name in BUCKETS {
            let row = self.store.bucket_with_usage(&name.parse().unwrap()).await;
            let Some(shelf) = self.shelves.get(name) else {
                assert!(matches!(row, Err(StoreError::NoSuchBucket(_))));
                continue;
            };
            let row = row.unwrap();
            assert_eq!(
                (row.usage_bytes, row.usage_objects),
                shelf.usage(),
                "usage of {name}"
            );
            for (prefix, delimiter, limit) in [("", "", 1000), ("", "/", 2), ("d/", "/", 1)] {
                let seen = self.names(name, prefix, delimiter, limit).await;
                assert_eq!(
                    seen,
                    folded(shelf, prefix, delimiter),
                    "{name} {prefix}*{delimiter}"
                );
            }
            let stacks = shelf.keys.iter().flat_map(|(key, stack)| {
                let newest_first = stack.iter().rev().enumerate();
                newest_first.map(|(age, version)| {
                    let size = version.bytes.as_ref().map_or(0, Vec::len) as u64;
                    let is_marker = version.bytes.is_none();
                    (
                        (*key).to_owned(),
                        version.id.to_string(),
                        age == 0,
                        is_marker,
                        size,
                    )
                })
            });
            assert_eq!(
                self.versions(name).await,
                stacks.collect::<Vec<_>>(),
                "versions of {name}"
            );
        }
    }

    /// Keys and common prefixes, page by page.
    pub(super) async fn names(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: &str,
        limit: usize,
    ) -> BTreeSet<String> {
        let mut request = ListRequest {
            prefix: prefix.into(),
            delimiter: delimiter.into(),
            limit,
            ..ListRequest::default()
        };
        let mut names = BTreeSet::new();
        loop {
            let page = self
                .store
                .list(&bucket.parse().unwrap(), &request)
                .await
                .unwrap();
            let keys = page.items.iter().map(|item| item.key.to_string());
            let shown: Vec<String> = keys.chain(page.prefixes).collect();
            assert!(shown.len() <= limit && (!page.is_truncated || shown.len() == limit));
            for name in shown {
                assert!(names.insert(name.clone()), "{name} is listed twice");
            }
            if !page.is_truncated {
                return names;
            }
            request.after = page.next_after;
        }
    }

    pub(super) async fn versions(&self, bucket: &str) -> Vec<(String, String, bool, bool, u64)> {
        let mut request = ListRequest {
            limit: 3,
            versions: true,
            ..ListRequest::default()
        };
        let mut versions = Vec::new();
        loop {
            let page = self
                .store
                .list(&bucket.parse().unwrap(), &request)
                .await
                .unwrap();
            versions.extend(page.items.into_iter().map(|item| {
                let id = item.version_id.to_string();
                (
                    item.key.to_string(),
                    id,
                    item.is_latest,
                    item.is_delete_marker,
                    item.size,
                )
            }));
            if !page.is_truncated {
                return versions;
            }
            (request.after, request.after_version) = (page.next_after, page.next_after_version);
        }
    }

    /// Every byte of every version.
    pub(super) async fn compare_bytes(&self) {
        for (name, shelf) in &self.shelves {
            for (key, stack) in &shelf.keys {
                let (bucket, key) = parsed((name, key));
                for version in stack {
                    let Some(bytes) = &version.bytes else {
                        continue;
                    };
                    let object = self
                        .store
                        .object(&bucket, &key, Some(&version.id))
                        .await
                        .unwrap();
                    assert_eq!(object.etag.quoted(), version.etag);
                    assert!(
                        read(&self.store, &object).await == *bytes,
                        "{key} holds other bytes"
                    );
                }
            }
        }
    }
}

fn folded(shelf: &Shelf, prefix: &str, delimiter: &str) -> BTreeSet<String> {
    let keys = shelf.keys.keys().filter(|key| shelf.latest(key).is_some());
    let under = keys.filter_map(|key| Some((key, key.strip_prefix(prefix)?)));
    let names = under.map(|(key, rest)| match rest.find(delimiter) {
        Some(at) if !delimiter.is_empty() => key[..prefix.len() + at + delimiter.len()].to_owned(),
        _ => (*key).to_owned(),
    });
    names.collect()
}
