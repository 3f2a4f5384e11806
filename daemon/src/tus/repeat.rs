//! Creations that are repeated because their answer was lost: the client draws a key by lot and sends it again
//! (draft-ietf-httpapi-idempotency-key-header), and the upload's id follows from it. So nothing is left behind that
//! nobody knows of.

use std::ops::RangeInclusive;

use axum::http::HeaderMap;

use super::headers::text;
use super::problem;
use crate::http::Problem;
use crate::identity::Caller;
use crate::kernel::{Id, UploadId};
use crate::store::{NewResumable, Store, StoreError, Upload};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// As many characters as nobody guesses, and no more than an id needs.
const KEY_BYTES: RangeInclusive<usize> = 16..=128;

/// The id that the upload shall have, if its creation may be repeated; another caller's same key makes another one.
///
/// # Errors
/// 400 for a key that could be guessed, or is too long.
pub(super) fn id(headers: &HeaderMap, caller: &Caller) -> Result<Option<UploadId>, Problem> {
    let Some(key) = text(headers, IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    // A string of RFC 9651 stands in quotes; many clients leave them out.
    let key = key.trim_matches('"');
    if !KEY_BYTES.contains(&key.len()) {
        let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
        return Err(Problem::invalid(format!(
            "Idempotency-Key must have {least} to {most} characters."
        )));
    }
    let mut hasher = blake3::Hasher::new_derive_key("nebula 2026 creation of an upload");
    hasher.update(caller.actor().to_string().as_bytes());
    hasher.update(&[0]);
    hasher.update(key.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Ok(Some(UploadId(Id::from_bytes(bytes))))
}

/// The upload that a creation with this id made, when there is one.
///
/// # Errors
/// 409 when that creation was about something else.
pub(super) async fn known(
    store: &Store,
    id: UploadId,
    new: &NewResumable,
) -> Result<Option<Upload>, Problem> {
    let known = match store.conclude_upload(id).await {
        Err(StoreError::NoSuchUpload(_)) => return Ok(None),
        other => other?,
    };
    let same_key = new.key.as_ref().is_none_or(|key| *key == known.key);
    let same_length = new.length.is_none() || new.length == known.length;
    let same_place = known.bucket == new.bucket && known.owner == new.owner;
    if same_key && same_length && same_place && known.role == new.role {
        return Ok(Some(known));
    }
    Err(problem::key_reused())
}
