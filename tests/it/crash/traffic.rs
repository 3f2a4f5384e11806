//! The traffic that a crash meets: puts, overwrites and deletes; multipart uploads and tus uploads that outlive it.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use nebula_client::transfer::{Unwatched, Verified};
use nebula_client::upload::{self, Options, StateDir};
use nebula_tests::Seed;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Hash};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Every part but the last; the least that S3 allows.
const PART_BYTES: usize = 5 << 20;
/// One PATCH of the tus client; small, so that a crash meets some of them.
const PATCH_BYTES: u64 = MIB;

/// What every kind of traffic needs.
#[derive(Clone)]
pub(super) struct Field {
    pub(super) s3: Client,
    pub(super) client: nebula_client::Client,
    pub(super) book: Arc<Book>,
    pub(super) stop: CancellationToken,
}

impl Field {
    /// The answer of the S3 door, or nothing when the daemon was killed meanwhile. A refusal is neither.
    async fn s3_asked<T: std::fmt::Debug, E: std::fmt::Debug>(
        &self,
        question: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Option<T> {
        match self.asked(question).await? {
            Ok(answer) => Some(answer),
            Err(SdkError::ServiceError(refusal)) => panic!("{refusal:?}"),
            Err(_) => None,
        }
    }

    /// The answer, or nothing once the daemon was killed.
    async fn asked<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            answer = question => Some(answer),
            () = self.stop.cancelled() => None,
        }
    }
}

/// Puts, overwrites and deletes until the daemon is gone.
pub(super) async fn write(field: Field, writer: usize, round: u64, mut seed: Seed) {
    for number in 0.. {
        // A third of the keys are old ones.
        let key = match seed.within(0, 3) {
            0 => format!("again/{writer}/{}", seed.within(0, 10)),
            _ => format!("put/{writer}/{round:04}/{number:04}"),
        };
        let change = match seed.within(0, 12) {
            0 => None,
            1..4 => Some(seed.within(0, 16 * KIB)),
            4..11 => Some(seed.within(16 * KIB, 700 * KIB)),
            _ => Some(seed.within(MIB, 5 * MIB)),
        };
        let done = match change {
            None => {
                field.book.attempt(&key, None);
                let delete = field.s3.delete_object().bucket("films").key(&key).send();
                field.s3_asked(delete).await.map(|_| None)
            }
            Some(size) => {
                let content = seed.bytes(size as usize);
                let hash = blake3::hash(&content);
                field.book.attempt(&key, Some(hash));
                let put = field.s3.put_object().bucket("films").key(&key);
                let put = put.body(ByteStream::from(content)).send();
                field.s3_asked(put).await.map(|_| Some(hash))
            }
        };
        let Some(found) = done else { return };
        field.book.acknowledge(&key, found);
    }
}

/// One multipart upload after the other, each going on after a crash where the daemon says it is.
pub(super) struct Parts {
    seed: Seed,
    number: u32,
    current: Option<Multipart>,
    resumed: usize,
}

struct Multipart {
    key: String,
    content: Vec<u8>,
    id: Option<String>,
    done: Vec<CompletedPart>,
    /// Whether a crash came between.
    crashed: bool,
}

impl Parts {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            number: 0,
            current: None,
            resumed: 0,
        }
    }

    /// Until the daemon is gone.
    pub(super) async fn go_on(mut self, field: Field) -> Self {
        loop {
            let mut current = self.current.take().unwrap_or_else(|| {
                self.number += 1;
                let size = PART_BYTES + self.seed.within(1, 6 * MIB) as usize;
                Multipart {
                    key: format!("multi/{:04}", self.number),
                    content: self.seed.bytes(size),
                    id: None,
                    done: Vec::new(),
                    crashed: false,
                }
            });
            if current.step(&field).await.is_none() {
                current.crashed = true;
                self.current = Some(current);
                return self;
            }
            self.resumed += usize::from(current.crashed);
        }
    }

    /// Brings the last one to its end; gives how many went on after a crash.
    pub(super) async fn finish(mut self, field: &Field) -> usize {
        if let Some(mut current) = self.current.take() {
            current.step(field).await.expect("the daemon runs");
            self.resumed += 1;
        }
        self.resumed
    }
}

impl Multipart {
    /// Brings it to its end; `None` when the daemon went away.
    async fn step(&mut self, field: &Field) -> Option<()> {
        let hash = blake3::hash(&self.content);
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let create = field.s3.create_multipart_upload();
                let create = create.bucket("films").key(&self.key).send();
                let created = field.s3_asked(create).await?;
                let id = created.upload_id().expect("an upload has an id").to_owned();
                self.id.insert(id).clone()
            }
        };
        if self.crashed && !self.look(field, &id, hash).await? {
            return Some(());
        }
        let pieces: Vec<Vec<u8>> = self
            .content
            .chunks(PART_BYTES)
            .map(<[u8]>::to_vec)
            .collect();
        for (piece, number) in pieces.into_iter().zip(1..) {
            if self
                .done
                .iter()
                .any(|part| part.part_number == Some(number))
            {
                continue;
            }
            let part = field.s3.upload_part().bucket("films").key(&self.key);
            let part = part.upload_id(&id).part_number(number);
            let part = part.body(ByteStream::from(piece)).send();
            let sent = field.s3_asked(part).await?;
            let part = CompletedPart::builder().part_number(number);
            self.done.push(part.set_e_tag(sent.e_tag).build());
        }
        self.done.sort_by_key(|part| part.part_number);
        let whole = CompletedMultipartUpload::builder();
        let whole = whole.set_parts(Some(self.done.clone())).build();
        field.book.attempt(&self.key, Some(hash));
        let complete = field.s3.complete_multipart_upload().bucket("films");
        let complete = complete.key(&self.key).upload_id(&id);
        let complete = complete.multipart_upload(whole).send();
        field.s3_asked(complete).await?;
        field.book.acknowledge(&self.key, Some(hash));
        Some(())
    }

    /// After a crash: every acknowledged part is there, or the whole is; gives whether something is left to do.
    async fn look(&mut self, field: &Field, id: &str, hash: Hash) -> Option<bool> {
        let list = field.s3.list_parts().bucket("films").key(&self.key);
        match field.asked(list.upload_id(id).send()).await? {
            Ok(listed) => {
                for part in &self.done {
                    let same = |found: &&aws_sdk_s3::types::Part| {
                        found.part_number == part.part_number && found.e_tag == part.e_tag
                    };
                    assert!(
                        listed.parts().iter().any(|found| same(&found)),
                        "{}: part {:?} was acknowledged and is lost",
                        self.key,
                        part.part_number
                    );
                }
                Some(true)
            }
            // An answer: the completion had been committed, only its answer was lost.
            Err(error) if error.code() == Some("NoSuchUpload") => {
                let head = field.s3.head_object().bucket("films").key(&self.key).send();
                // The refusal of this one would be a lost upload.
                field.s3_asked(head).await?;
                field.book.attempt(&self.key, Some(hash));
                field.book.acknowledge(&self.key, Some(hash));
                Some(false)
            }
            Err(SdkError::ServiceError(refusal)) => panic!("{}: {refusal:?}", self.key),
            Err(_) => None,
        }
    }
}

/// One file after the other over tus, by the client's own library.
pub(super) struct Pushing {
    seed: Seed,
    number: u32,
    place: TempDir,
    current: Option<(String, Hash)>,
    resumed: usize,
}

impl Pushing {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            seed,
            number: 0,
            place: tempfile::tempdir().unwrap(),
            current: None,
            resumed: 0,
        }
    }

    /// Until the daemon is gone.
    pub(super) async fn go_on(mut self, field: Field) -> Self {
        loop {
            let crashed = self.current.is_some();
            if self.push(&field).await.is_none() {
                return self;
            }
            self.resumed += usize::from(crashed);
        }
    }

    /// Brings the last one to its end; gives how many went on after a crash.
    pub(super) async fn finish(mut self, field: &Field) -> usize {
        if self.current.is_some() {
            self.push(field).await.expect("the daemon runs");
            self.resumed += 1;
        }
        self.resumed
    }

    async fn push(&mut self, field: &Field) -> Option<()> {
        let path = self.place.path().join("file");
        let (key, hash) = match &self.current {
            Some(current) => current.clone(),
            None => {
                self.number += 1;
                let size = self.seed.within(0, 12 * MIB) as usize;
                let content = self.seed.bytes(size);
                std::fs::write(&path, &content).unwrap();
                let key = format!("tus/{:04}", self.number);
                let hash = blake3::hash(&content);
                self.current.insert((key, hash)).clone()
            }
        };
        field.book.attempt(&key, Some(hash));
        let options = Options {
            patch_bytes: PATCH_BYTES,
            state: Some(StateDir::at(self.place.path().join("state"))),
            ..Options::default()
        };
        let push = upload::push(&field.client, &path, "films", &key, &options, &Unwatched);
        // The client tries again for minutes; a killed daemon ends this call, and the next one goes on from its state.
        let pushed = field.asked(push).await?;
        let pushed = pushed.unwrap_or_else(|error| panic!("{key}: {error:?}"));
        assert_eq!(pushed.blake3, hash.to_hex().as_str(), "{key}");
        assert_eq!(pushed.verified, Verified::Hash, "{key}");
        field.book.acknowledge(&key, Some(hash));
        self.current = None;
        Some(())
    }
}
