//! Buckets, objects, versions and copies.

use super::*;

impl World {
    pub(super) async fn make_bucket(&mut self, name: &'static str) {
        let made = self.store.create_bucket(&name.parse().unwrap(), "me").await;
        if self.shelves.contains_key(name) {
            assert!(matches!(made, Err(StoreError::BucketExists(_))));
            return;
        }
        made.unwrap();
        if name == BUCKETS[1] {
            let bucket = name.parse().unwrap();
            let set = self
                .store
                .set_default_encryption(&bucket, Some(Default::default()));
            set.await.unwrap();
        }
        let shelf = Shelf {
            versioning: Versioning::Off,
            keys: BTreeMap::new(),
        };
        self.shelves.insert(name, shelf);
    }

    pub(super) async fn remove_bucket(&mut self, name: &'static str) {
        let removed = self.store.delete_bucket(&name.parse().unwrap()).await;
        let Some(shelf) = self.shelves.get(name) else {
            assert!(matches!(removed, Err(StoreError::NoSuchBucket(_))));
            return;
        };
        let is_used = shelf.keys.values().any(|stack| !stack.is_empty())
            || self.parts.iter().any(|parts| parts.at.0 == name)
            || self.uploads.iter().any(|upload| upload.at.0 == name);
        if is_used {
            assert!(matches!(removed, Err(StoreError::BucketNotEmpty(_))));
        } else {
            removed.unwrap();
            self.shelves.remove(name);
        }
    }

    pub(super) async fn set_versioning(&mut self, name: &'static str, versioning: Versioning) {
        let set = self
            .store
            .set_versioning(&name.parse().unwrap(), versioning)
            .await;
        match self.shelves.get_mut(name) {
            None => assert!(matches!(set, Err(StoreError::NoSuchBucket(_)))),
            Some(shelf) => {
                set.unwrap();
                shelf.versioning = versioning;
            }
        }
    }

    pub(super) async fn put(&mut self, at: At, bytes: Vec<u8>, when: When) {
        let (bucket, key) = parsed(at);
        let current = self.shelves.get(at.0).and_then(|shelf| shelf.latest(at.1));
        let current = current.map(|version| version.etag.clone());
        let condition = match when {
            When::Always => Condition::default(),
            When::Absent => Condition {
                if_none_match: Some("*".into()),
                ..Condition::default()
            },
            When::Same => Condition {
                if_match: Some(current.clone().unwrap_or("\"x\"".into())),
                ..Condition::default()
            },
            When::Other => Condition {
                if_match: Some("\"x\"".into()),
                ..Condition::default()
            },
        };
        let encryption = self.store.encryption(&bucket, None).await.unwrap();
        let sealed = seal_with(&self.store, &bytes, false, encryption).await;
        let put = PutObject {
            bucket,
            key,
            ..named("a", condition)
        };
        let published = self.store.publish(put, sealed).await;
        let Some(shelf) = self.shelves.get_mut(at.0) else {
            assert!(matches!(published, Err(StoreError::NoSuchBucket(_))));
            return;
        };
        match (when, current) {
            (When::Same | When::Other, None) => {
                assert!(matches!(published, Err(StoreError::NoSuchKey(_))));
            }
            (When::Other | When::Absent, Some(_)) => {
                assert!(matches!(published, Err(StoreError::PreconditionFailed(_))));
            }
            _ => shelf.publish(at.1, &published.unwrap(), bytes),
        }
    }

    pub(super) async fn range(&mut self, at: At, from: f64, to: f64) {
        let (bucket, key) = parsed(at);
        let object = self.store.object(&bucket, &key, None).await;
        let Some(shelf) = self.shelves.get(at.0) else {
            assert!(matches!(object, Err(StoreError::NoSuchBucket(_))));
            return;
        };
        let Some(bytes) = shelf
            .latest(at.1)
            .and_then(|version| version.bytes.as_ref())
        else {
            assert!(matches!(
                object,
                Err(StoreError::NoSuchKey(_) | StoreError::DeleteMarker { .. })
            ));
            return;
        };
        let span = span(bytes.len(), from, to);
        let reader = self.store.reader(&object.unwrap()).await.unwrap();
        let wanted = span.start as u64..span.end as u64;
        let body = reader
            .body(wanted.clone())
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(body, bytes[span.clone()]);
        assert_eq!(reader.read(wanted).await.unwrap(), bytes[span]);
    }

    pub(super) async fn read_version(&mut self, at: At, nth: usize) {
        let Some((version, _)) = self.version(at, nth) else {
            return;
        };
        let (bucket, key) = parsed(at);
        let object = self.store.object(&bucket, &key, Some(&version.id)).await;
        match &version.bytes {
            None => assert!(matches!(object, Err(StoreError::DeleteMarker { .. }))),
            Some(bytes) => assert_eq!(read(&self.store, &object.unwrap()).await, *bytes),
        }
    }

    /// The `nth` version of a key, counted round, and its place.
    fn version(&self, at: At, nth: usize) -> Option<(&Version, usize)> {
        let stack = self.shelves.get(at.0)?.keys.get(at.1)?;
        let place = nth % stack.len().max(1);
        Some((stack.get(place)?, place))
    }

    pub(super) async fn delete(&mut self, at: At) {
        let (bucket, key) = parsed(at);
        let deleted = self
            .store
            .delete(&bucket, &key, None, Condition::default(), "me")
            .await;
        let Some(shelf) = self.shelves.get_mut(at.0) else {
            assert!(matches!(deleted, Err(StoreError::NoSuchBucket(_))));
            return;
        };
        let deleted = deleted.unwrap();
        let had = shelf.keys.get(at.1).is_some_and(|stack| !stack.is_empty());
        assert_eq!(deleted.existed, had);
        if shelf.versioning == Versioning::Off {
            assert!(!deleted.is_delete_marker);
            shelf.keys.remove(at.1);
        } else {
            assert!(deleted.is_delete_marker);
            shelf.push(at.1, deleted.version_id.unwrap(), String::new(), None);
        }
    }

    pub(super) async fn delete_version(&mut self, at: At, nth: usize) {
        let Some((version, place)) = self.version(at, nth) else {
            return;
        };
        let (id, is_marker) = (version.id.clone(), version.bytes.is_none());
        let (bucket, key) = parsed(at);
        let deleted = self
            .store
            .delete(&bucket, &key, Some(&id), Condition::default(), "me")
            .await;
        let wanted = Deleted {
            version_id: Some(id),
            is_delete_marker: is_marker,
            existed: true,
        };
        assert_eq!(deleted.unwrap(), wanted);
        let stack = self
            .shelves
            .get_mut(at.0)
            .unwrap()
            .keys
            .get_mut(at.1)
            .unwrap();
        stack.remove(place);
    }

    pub(super) async fn copy(&mut self, from: At, to: At) {
        let (bucket, key) = parsed(from);
        let Ok(source) = self.store.head(&bucket, &key, None).await else {
            assert!(
                self.shelves
                    .get(from.0)
                    .is_none_or(|shelf| shelf.latest(from.1).is_none())
            );
            return;
        };
        let version = self.shelves[from.0]
            .latest(from.1)
            .expect("the store has it");
        let bytes = version.bytes.clone().expect("no delete marker");
        let (bucket, key) = parsed(to);
        let copy = Copy {
            source,
            bucket,
            key,
            headers: None,
            tags: None,
            extras: crate::store::ObjectExtras::default(),
            owner: "me".into(),
            condition: Condition::default(),
        };
        let copied = self.store.copy(copy).await;
        match self.shelves.get_mut(to.0) {
            None => assert!(matches!(copied, Err(StoreError::NoSuchBucket(_)))),
            Some(shelf) => shelf.publish(to.1, &copied.unwrap(), bytes),
        }
    }
}
