//! Copying an object: rows only, unless its bytes must be encrypted otherwise.

use http_body_util::BodyExt as _;

use super::body::ObjectBody;
use super::encryption::{CustomerKey, Encryption, EncryptionAsked, How};
use super::publish::{Copy, Draft, FreshBlob, Published, PutObject, Source};
use super::writer::{ObjectWriter, SealedBytes, WriteOptions};
use super::{Store, StoreError};

/// The keys of a copy.
#[derive(Clone, Debug, Default)]
pub struct CopyKeys {
    /// The customer's key of the source.
    pub source: Option<CustomerKey>,
    /// What is asked for the copy; without it the bucket decides, and else the copy is kept as its source is.
    pub asked: Option<EncryptionAsked>,
}

impl Store {
    /// Copies an object; where nobody asks for another encryption, no byte moves.
    ///
    /// # Errors
    /// Those of [`Store::publish`]; [`StoreError::NoSuchKey`] when the source vanished meanwhile.
    pub async fn copy(&self, copy: Copy) -> Result<Published, StoreError> {
        self.copy_with(copy, CopyKeys::default()).await
    }

    /// The same with keys.
    ///
    /// # Errors
    /// Those of [`Store::copy`]; [`StoreError::KeyRequired`] and [`StoreError::WrongKey`] for a source whose key the customer keeps, when more is asked than another name for it.
    pub async fn copy_with(&self, mut copy: Copy, keys: CopyKeys) -> Result<Published, StoreError> {
        copy.source.refuse_damaged()?;
        copy.extras.sse = None;
        if copy.source.needs_key() && keys.source.is_none() && keys.asked.is_none() {
            // Whoever has no key may say what the bytes are to be called: they stay closed.
            copy.extras.sse = copy.source.extras.sse.clone();
            return self.share(copy).await;
        }
        let held = match copy.source.encrypted() {
            Some(encrypted) => Some(self.decryption(encrypted, keys.source.as_ref()).await?),
            None => None,
        };
        let wanted = match self.encryption(&copy.bucket, keys.asked).await? {
            Some(wanted) => Some(wanted),
            // A copy is never less protected than its source because nobody said anything.
            None => held.as_ref().map(Encryption::of_silent_copy),
        };
        match (held, wanted) {
            (None, None) => self.share(copy).await,
            (Some(held), Some(wanted)) if !held.is_customers() && !wanted.is_customers() => {
                let kept = Encryption {
                    data: held.data,
                    how: wanted.how,
                };
                copy.extras.sse = Some(self.encrypted(&kept).await?);
                self.share(copy).await
            }
            (held, wanted) => {
                let customers = [&held, &wanted]
                    .into_iter()
                    .any(|one| one.as_ref().is_some_and(Encryption::is_customers));
                Box::pin(self.rewrite(copy, keys.source, wanted, customers)).await
            }
        }
    }

    /// Rows only: the copy refers to the bytes of its source.
    async fn share(&self, copy: Copy) -> Result<Published, StoreError> {
        let bytes = if copy.source.is_inline {
            Source::Inline(self.inline_of(&copy.source).await?.to_vec())
        } else {
            Source::Shared(self.0.catalog.extents(copy.source.row_id).await?)
        };
        self.publish_draft(draft(copy, bytes), None).await
    }

    /// Reads, and writes otherwise encrypted; `customers` when either side's key is kept by a customer, so that nothing that follows from the plaintext goes from one to the other.
    async fn rewrite(
        &self,
        mut copy: Copy,
        key: Option<CustomerKey>,
        encryption: Option<Encryption>,
        customers: bool,
    ) -> Result<Published, StoreError> {
        let size = copy.source.size;
        let options = WriteOptions {
            size: Some(size),
            relaxed: self.is_relaxed(&copy.bucket).await?,
            encryption,
            ..WriteOptions::default()
        };
        let mut writer = self.writer(options).await?;
        let reader = self.reader_with(&copy.source, key.as_ref()).await?;
        pour(reader.body(0..size), &mut writer).await?;
        let sealed = writer.seal().await?;
        copy.extras.sse = match &sealed.encryption {
            Some(encryption) => Some(self.encrypted(encryption).await?),
            None => None,
        };
        if customers {
            copy.source.etag = sealed.etag();
            copy.source.content_id = sealed.content_id;
        }
        let (bytes, fresh) = match sealed.bytes {
            SealedBytes::Inline(bytes) => (Source::Inline(bytes), None),
            SealedBytes::Blob(blob) => (Source::Fresh(FreshBlob::from(&blob)), Some(blob)),
        };
        self.publish_draft(draft(copy, bytes), fresh).await
    }
}

impl Encryption {
    /// That of a copy for which nobody asked anything: kept by the appliance as the source is, and of a customer's source at least by the appliance.
    fn of_silent_copy(&self) -> Self {
        match &self.how {
            How::Appliance | How::Named(_) => self.clone(),
            How::Customer { .. } => Self::new(EncryptionAsked::Appliance),
        }
    }
}

/// Everything of a body into a writer.
pub(super) async fn pour(
    mut body: ObjectBody,
    writer: &mut ObjectWriter,
) -> Result<(), StoreError> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            writer.write(bytes).await?;
        }
    }
    Ok(())
}

fn draft(copy: Copy, bytes: Source) -> Draft {
    let source = copy.source;
    Draft {
        put: PutObject {
            bucket: copy.bucket,
            key: copy.key,
            headers: copy.headers.unwrap_or(source.headers),
            tags: copy.tags.unwrap_or(source.tags),
            extras: copy.extras,
            owner: copy.owner,
            condition: copy.condition,
            etag: None,
        },
        size: source.size,
        etag: source.etag,
        content_id: source.content_id,
        checksums: source.checksums,
        source: bytes,
        via: "copy",
    }
}
