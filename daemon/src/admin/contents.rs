//! Content that is there already becomes an object without being sent again.
//!
//! The hash alone opens nothing: some object with the content must be readable by the caller.
//! Whoever may read none learns nothing either: content of others and content that is nowhere have one answer, after the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{ClaimContent, ObjectDetails};
use tokio::time::Instant;

use super::{AdminParts, Json, objects};
use crate::http::{Problem, audited};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::{BucketName, ContentId, ObjectKey};
use crate::store::{Condition, Copy, Object, ObjectExtras, ObjectHeaders, StoreError, Tags};

/// So many objects with the content are asked for a right to read it.
const ASKED_MAX: usize = 64;
/// A refusal comes after this long, however soon it was clear: its time shall not tell what others have.
const REFUSED_AFTER: Duration = Duration::from_millis(10);
/// Most bytes of metadata, as in S3.
const METADATA_BYTES_MAX: usize = 2048;

pub(super) async fn claim(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(blake3): Path<String>,
    Json(claim): Json<ClaimContent>,
) -> Result<(StatusCode, axum::Json<ObjectDetails>), Problem> {
    let until = Instant::now() + REFUSED_AFTER;
    let content: ContentId = blake3.parse().map_err(|_| {
        Problem::invalid("A content is named by its BLAKE3, 64 hexadecimal digits.")
    })?;
    let bucket: BucketName = claim.bucket.parse()?;
    let key: ObjectKey = claim.key.parse()?;
    check(&claim.metadata)?;
    let work = async {
        let Some(source) = readable(&parts, &caller, content, claim.size_bytes).await? else {
            tokio::time::sleep_until(until).await;
            return Err(not_there());
        };
        let copy = Copy {
            source,
            bucket: bucket.clone(),
            key: key.clone(),
            headers: Some(ObjectHeaders {
                content_type: claim.content_type.clone(),
                user: claim.metadata.clone(),
                ..ObjectHeaders::default()
            }),
            tags: Some(Tags::new()),
            extras: ObjectExtras::default(),
            owner: caller.actor().to_string(),
            condition: Condition::default(),
        };
        match parts.store.copy(copy).await {
            Ok(published) => objects::details(&parts, &caller, &published.object).await,
            // It vanished, or turned out to be damaged: then it is to be sent.
            Err(StoreError::NoSuchKey(_) | StoreError::ObjectDamaged(_)) => Err(not_there()),
            Err(error) => Err(error.into()),
        }
    };
    let resource = Resource::Object(&bucket, &key);
    let identity = &parts.identity;
    let details = audited(identity, &caller, Action::WriteObject, &resource, work).await?;
    Ok((StatusCode::CREATED, axum::Json(details)))
}

/// Some object with this content that the caller may read.
async fn readable(
    parts: &AdminParts,
    caller: &Caller,
    content: ContentId,
    size: u64,
) -> Result<Option<Object>, Problem> {
    for object in parts.store.objects_with_content(content, ASKED_MAX).await? {
        if object.size != size || !object.is_hashed_whole() {
            continue;
        }
        let resource = Resource::Object(&object.bucket, &object.key);
        let decision = parts.identity.decide(caller, Action::ReadObject, &resource);
        if decision.await?.allow {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

fn not_there() -> Problem {
    Problem::not_found(
        code::CONTENT_NOT_FOUND,
        "There is no such content that you may read.",
    )
    .hint("Send it: nebula push, tus at /-/tus/, or S3.")
}

/// What S3 could carry as `x-amz-meta-*` headers.
fn check(metadata: &BTreeMap<String, String>) -> Result<(), Problem> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let is_value = |value: &str| value.bytes().all(|b| (0x20..0x7f).contains(&b));
    let bytes: usize = metadata.iter().map(|(n, v)| n.len() + v.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(Problem::invalid(format!(
            "The metadata are longer than {METADATA_BYTES_MAX} bytes."
        )));
    }
    if metadata.iter().all(|(n, v)| is_name(n) && is_value(v)) {
        return Ok(());
    }
    Err(Problem::invalid(
        "Metadata have names of a-z, 0-9, - and _, and values of printable ASCII.",
    ))
}
