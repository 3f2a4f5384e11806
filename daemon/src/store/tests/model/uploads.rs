//! Multipart and resumable uploads.

use super::*;

impl World {
    pub(super) async fn begin_parts(&mut self, at: At) {
        let (bucket, key) = parsed(at);
        let sse = match self.store.encryption(&bucket, None).await.unwrap() {
            Some(encryption) => Some(self.store.encrypted(&encryption).await.unwrap()),
            None => None,
        };
        let new = NewMultipart {
            bucket,
            key,
            headers: ObjectHeaders::default(),
            tags: Tags::new(),
            extras: ObjectExtras {
                sse,
                ..Default::default()
            },
            owner: "me".into(),
            checksum: None,
        };
        let begun = self.store.begin_multipart(new).await;
        if self.shelves.contains_key(at.0) {
            self.parts.push(Parts {
                id: begun.unwrap(),
                at,
                parts: BTreeMap::new(),
            });
        } else {
            assert!(matches!(begun, Err(StoreError::NoSuchBucket(_))));
        }
    }

    pub(super) async fn put_part(&mut self, nth: usize, number: u32, bytes: Vec<u8>) {
        let Some(place) = nth.checked_rem(self.parts.len()) else {
            return;
        };
        let upload = &mut self.parts[place];
        let (bucket, key) = parsed(upload.at);
        let (row, _) = self
            .store
            .multipart(upload.id, &bucket, &key)
            .await
            .unwrap();
        let encryption = self.store.upload_encryption(&row, None).await.unwrap();
        let sealed = seal_with(&self.store, &bytes, true, encryption).await;
        let part = self
            .store
            .put_part(upload.id, &bucket, &key, number, sealed)
            .await
            .unwrap();
        upload.parts.insert(number, (part.etag.quoted(), bytes));
    }

    pub(super) async fn copy_part(
        &mut self,
        nth: usize,
        number: u32,
        from: At,
        start: f64,
        end: f64,
    ) {
        let Some(place) = nth.checked_rem(self.parts.len()) else {
            return;
        };
        let (bucket, key) = parsed(from);
        let Ok(source) = self.store.head(&bucket, &key, None).await else {
            return;
        };
        let version = self.shelves[from.0]
            .latest(from.1)
            .expect("the store has it");
        let bytes = version.bytes.as_ref().expect("no delete marker");
        let span = span(bytes.len(), start, end);
        let upload = &mut self.parts[place];
        let (bucket, key) = parsed(upload.at);
        let range = span.start as u64..span.end as u64;
        let part = self
            .store
            .copy_part(
                upload.id,
                &bucket,
                &key,
                number,
                &source,
                range,
                &PartKeys::default(),
            )
            .await;
        upload
            .parts
            .insert(number, (part.unwrap().etag.quoted(), bytes[span].to_vec()));
    }

    pub(super) async fn complete(&mut self, nth: usize) {
        let Some(place) = nth.checked_rem(self.parts.len()) else {
            return;
        };
        let upload = &self.parts[place];
        let (bucket, key) = parsed(upload.at);
        let named = upload
            .parts
            .iter()
            .map(|(number, (etag, _))| CompletedPart {
                number: *number,
                etag: etag.clone(),
                checksums: BTreeMap::new(),
            });
        let named = named.collect();
        let completed = self
            .store
            .complete_multipart(upload.id, &bucket, &key, named, Condition::default())
            .await;
        let sizes: Vec<usize> = upload
            .parts
            .values()
            .map(|(_, bytes)| bytes.len())
            .collect();
        match sizes.split_last() {
            None => assert!(matches!(completed, Err(StoreError::InvalidPart(_)))),
            Some((_, whole)) if whole.iter().any(|size| *size < PART) => {
                assert!(matches!(completed, Err(StoreError::PartTooSmall { .. })));
            }
            Some(_) => {
                let upload = self.parts.remove(place);
                let bytes = upload
                    .parts
                    .into_values()
                    .flat_map(|(_, bytes)| bytes)
                    .collect();
                let shelf = self
                    .shelves
                    .get_mut(upload.at.0)
                    .expect("an upload keeps its bucket");
                shelf.publish(upload.at.1, &completed.unwrap(), bytes);
            }
        }
    }

    pub(super) async fn abort(&mut self, nth: usize) {
        let Some(place) = nth.checked_rem(self.parts.len()) else {
            return;
        };
        let upload = self.parts.remove(place);
        let (bucket, key) = parsed(upload.at);
        self.store
            .abort_multipart(upload.id, &bucket, &key)
            .await
            .unwrap();
    }

    pub(super) async fn begin_upload(&mut self, at: At, length: Option<usize>) {
        let (bucket, key) = parsed(at);
        let new = NewResumable {
            role: crate::catalog::UploadRole::Whole,
            bucket,
            key: Some(key),
            idle_ms: None,
            ..resumable(length.map(|length| length as u64))
        };
        let begun = self.store.begin_upload(new).await;
        if self.shelves.contains_key(at.0) {
            let id = begun.unwrap().id;
            self.uploads.push(Growing {
                id,
                at,
                length,
                bytes: Vec::new(),
                durable: 0,
                session: None,
            });
        } else {
            assert!(matches!(begun, Err(StoreError::NoSuchBucket(_))));
        }
    }

    pub(super) async fn append(&mut self, nth: usize, size: usize, then: Then) {
        let Some(place) = nth.checked_rem(self.uploads.len()) else {
            return;
        };
        let upload = &mut self.uploads[place];
        let mut session = match upload.session.take() {
            Some(session) => session,
            None => {
                let wrong = self
                    .store
                    .append(upload.id, upload.bytes.len() as u64 + 1, None)
                    .await;
                assert!(matches!(wrong, Err(StoreError::OffsetConflict { .. })));
                self.store
                    .append(upload.id, upload.bytes.len() as u64, None)
                    .await
                    .unwrap()
            }
        };
        let bytes = content(size, upload.bytes.len() as u8);
        let fits = upload
            .length
            .is_none_or(|length| upload.bytes.len() + size <= length);
        let written = session.write(Bytes::copy_from_slice(&bytes)).await;
        if fits {
            written.unwrap();
            upload.bytes.extend(bytes);
        } else {
            assert!(matches!(written, Err(StoreError::TooLarge { .. })));
        }
        match then {
            Then::Hold => upload.session = Some(session),
            Then::Checkpoint => {
                upload.durable = session.checkpoint().await.unwrap() as usize;
                assert_eq!(upload.durable, upload.bytes.len());
                upload.session = Some(session);
            }
            Then::Release => upload.durable = session.release().await.unwrap() as usize,
            Then::Drop => drop(session),
        }
    }

    pub(super) async fn settle(&mut self, nth: usize) {
        let Some(place) = nth.checked_rem(self.uploads.len()) else {
            return;
        };
        let upload = &mut self.uploads[place];
        upload.session = None;
        let settled = self.store.settle_upload(upload.id).await.unwrap();
        assert_eq!(settled.offset, upload.bytes.len() as u64);
        upload.durable = upload.bytes.len();
    }

    pub(super) async fn finish(&mut self, nth: usize) {
        let Some(place) = nth.checked_rem(self.uploads.len()) else {
            return;
        };
        let upload = &mut self.uploads[place];
        upload.session = None;
        let offset = upload.bytes.len();
        if upload.length.is_none() {
            self.store
                .set_upload_length(upload.id, offset as u64)
                .await
                .unwrap();
            upload.length = Some(offset);
        }
        let session = self
            .store
            .append(upload.id, offset as u64, None)
            .await
            .unwrap();
        let finished = session.finish().await;
        if upload.length != Some(offset) {
            assert!(matches!(finished, Err(StoreError::IncompleteBody { .. })));
            return;
        }
        let upload = self.uploads.remove(place);
        let shelf = self
            .shelves
            .get_mut(upload.at.0)
            .expect("an upload keeps its bucket");
        shelf.publish(upload.at.1, &finished.unwrap(), upload.bytes);
    }

    pub(super) async fn terminate(&mut self, nth: usize) {
        let Some(place) = nth.checked_rem(self.uploads.len()) else {
            return;
        };
        let upload = self.uploads.remove(place);
        drop(upload.session);
        self.store.terminate_upload(upload.id).await.unwrap();
    }
}
