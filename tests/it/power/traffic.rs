//! What the power cut meets: puts of small and of large objects, overwrites, deletes, copies, a multipart upload and one over tus.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nebula_tests::{Appliance, Seed};

use super::book::{Book, HEADER};

pub(super) const BUCKET: &str = "films";
/// A bucket that owes nothing to a power cut.
pub(super) const RELAXED: &str = "scratch";
const RELAXED_PUTS: u8 = 4;
const CHANGES: u64 = 24;
const PART_BYTES: usize = 5 << 20;
const PATCH_BYTES: usize = 200_000;

/// Numbers a request of the SDK, sends it, and expects that it is granted.
macro_rules! send {
    ($number:expr, $request:expr) => {{
        let number = $number.to_string();
        $request
            .customize()
            .mutate_request(move |request| {
                request.headers_mut().insert(HEADER, number.clone());
            })
            .send()
            .await
            .unwrap()
    }};
}

/// Changes keys of its own, one after the other.
pub(super) async fn write(s3: Client, book: &Book, writer: u64, mut seed: Seed) {
    let mut there: BTreeMap<String, blake3::Hash> = BTreeMap::new();
    for number in 0..CHANGES {
        let old = (!there.is_empty()).then(|| {
            let at = seed.within(0, there.len() as u64) as usize;
            let (key, hash) = there.iter().nth(at).unwrap();
            (key.clone(), *hash)
        });
        let fresh = format!("{writer}/{number:02}");
        match (seed.within(0, 10), old) {
            (0, Some((key, _))) => {
                let asked = book.change(&key, None);
                send!(asked, s3.delete_object().bucket(BUCKET).key(&key));
                there.remove(&key);
            }
            (1, Some((key, hash))) => {
                let asked = book.change(&fresh, Some(hash));
                let copy = s3.copy_object().bucket(BUCKET).key(&fresh);
                send!(asked, copy.copy_source(format!("{BUCKET}/{key}")));
                there.insert(fresh, hash);
            }
            (kind, old) => {
                let size = match kind % 2 {
                    0 => seed.within(0, 16 << 10),
                    _ => seed.within(16 << 10, 120_000),
                };
                let key = match old {
                    Some((key, _)) if kind < 5 => key,
                    _ => fresh,
                };
                let content = seed.bytes(size as usize);
                let hash = blake3::hash(&content);
                let asked = book.change(&key, Some(hash));
                let put = s3.put_object().bucket(BUCKET).key(&key);
                send!(asked, put.body(ByteStream::from(content)));
                there.insert(key, hash);
            }
        }
    }
}

/// One upload of two parts.
pub(super) async fn multipart(s3: Client, book: &Book, mut seed: Seed) {
    let key = "multipart";
    let content = seed.bytes(PART_BYTES + 100_000);
    let create = s3.create_multipart_upload().bucket(BUCKET).key(key);
    let created = send!(book.number(), create);
    let id = created.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, piece) in (1..).zip(content.chunks(PART_BYTES)) {
        let part = s3.upload_part().bucket(BUCKET).key(key).upload_id(id);
        let part = part.part_number(number).body(piece.to_vec().into());
        let sent = send!(book.number(), part);
        let part = CompletedPart::builder().part_number(number);
        parts.push(part.set_e_tag(sent.e_tag).build());
    }
    let whole = CompletedMultipartUpload::builder().set_parts(Some(parts));
    let complete = s3.complete_multipart_upload().bucket(BUCKET).key(key);
    let complete = complete.upload_id(id).multipart_upload(whole.build());
    send!(book.change(key, Some(blake3::hash(&content))), complete);
}

/// One upload over tus, in several requests.
pub(super) async fn tus(appliance: &Appliance, book: &Book, mut seed: Seed) {
    let key = "tus";
    let content = seed.bytes(PATCH_BYTES * 4 + 77);
    let metadata = format!(
        "bucket {},filename {}",
        STANDARD.encode(BUCKET),
        STANDARD.encode(key)
    );
    let number = book.number();
    let create = appliance
        .request(reqwest::Method::POST, "/-/tus/")
        .header("tus-resumable", "1.0.0")
        .header("upload-length", content.len())
        .header("upload-metadata", metadata)
        .header(HEADER, number);
    let created = create.send().await.unwrap();
    assert_eq!(created.status(), 201);
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let id = location.rsplit('/').next().unwrap().to_owned();
    book.stands(&id, number, 0);
    let path = format!("/-/tus/{id}");
    for (number, piece) in content.chunks(PATCH_BYTES).enumerate() {
        let from = number * PATCH_BYTES;
        let to = from + piece.len();
        let is_last = to == content.len();
        let asked = if is_last {
            book.change(key, Some(blake3::hash(&content)))
        } else {
            book.number()
        };
        let patch = appliance
            .request(reqwest::Method::PATCH, &path)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", from)
            .header("content-type", "application/offset+octet-stream")
            .header(HEADER, asked)
            .body(piece.to_vec());
        let patched = patch.send().await.unwrap();
        assert_eq!(patched.status(), 204);
        book.stands(&id, asked, to as u64);
    }
}

/// Large objects whose bytes need no sync.
pub(super) async fn relaxed(s3: Client, seed: &mut Seed) -> Vec<(String, blake3::Hash)> {
    let mut put = Vec::new();
    for number in 0..RELAXED_PUTS {
        let (key, content) = (number.to_string(), seed.bytes(100_000));
        put.push((key.clone(), blake3::hash(&content)));
        let request = s3.put_object().bucket(RELAXED).key(key);
        let request = request.body(ByteStream::from(content));
        request.send().await.unwrap();
    }
    put
}
