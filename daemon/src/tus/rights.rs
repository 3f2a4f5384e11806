//! Who may go on with an upload, and whether its sender still may when the body has come: that can take hours.

use axum::http::request::Parts;

use super::problem;
use crate::catalog::UploadRole;
use crate::http::{Credential, Problem, require_here};
use crate::identity::{Action, Caller, Identity, Outcome, Resource, Role};
use crate::kernel::UploadId;
use crate::store::{Store, StoreError, Upload};

/// Asks whether a caller may go on with an upload.
///
/// Its owner may, while the right to write the object lasts; so may whoever manages the uploads of the bucket.
///
/// # Errors
/// 401 and 403 to the owner; to anybody else it is not there: an id tells nothing.
pub(super) async fn may_go_on(
    identity: &Identity,
    caller: &Caller,
    upload: &Upload,
) -> Result<(), Problem> {
    let is_owner = caller.actor().to_string() == upload.owner;
    let resource = Resource::Object(&upload.bucket, &upload.key);
    if is_owner && upload.role == UploadRole::Partial {
        // Bytes without a name yet: the right to the name is asked for by the final upload.
        return may_write_somewhere(caller);
    }
    if is_owner {
        require_here(identity, caller, Action::WriteObject, &resource).await?;
        return Ok(());
    }
    let managed = identity.decide(caller, Action::ManageUploads, &resource);
    if managed.await?.allow {
        return Ok(());
    }
    if caller.is_anonymous() {
        return Err(Problem::unauthenticated(
            "An upload is continued by who began it.",
        ));
    }
    Err(problem::no_upload())
}

/// Partial uploads lie nowhere, so whoever may store anything may send them.
pub(super) fn may_write_somewhere(caller: &Caller) -> Result<(), Problem> {
    let owns = caller
        .grants()
        .iter()
        .any(|grant| grant.role == Some(Role::Own));
    match caller.highest_role() {
        Some(role) if owns || role >= Role::Write => Ok(()),
        _ if caller.is_anonymous() => Err(Problem::unauthenticated("Uploads need a credential.")),
        _ => Err(Problem::forbidden(
            "This credential may not store anything.",
        )),
    }
}

/// Who sends a body.
#[derive(Clone)]
pub(super) struct Sender(Credential);

impl Sender {
    /// Of a request.
    pub(super) fn of(parts: &Parts) -> Result<Self, Problem> {
        Credential::of(parts).map(Self)
    }

    /// Asks again, by the credential and the rules of now.
    ///
    /// # Errors
    /// The refusal.
    pub(super) async fn still_may(&self, upload: &Upload) -> Result<(), Problem> {
        let (identity, caller) = (self.0.identity(), self.0.caller().await?);
        let answer = may_go_on(identity, &caller, upload).await;
        if answer.is_err() && !caller.is_anonymous() {
            let resource = Resource::Object(&upload.bucket, &upload.key);
            let action = Action::WriteObject;
            let rule = identity.decide(&caller, action, &resource).await?.rule;
            identity
                .audit(&caller, action, &resource, Outcome::Refused, &rule)
                .await;
        }
        answer
    }

    /// Publishes the final uploads that waited for this partial one alone, as far as the sender may.
    ///
    /// What is refused waits on: whoever has the right ends it by asking for it.
    ///
    /// # Errors
    /// The first refusal, and what keeps an object from being made.
    pub(super) async fn end_finals(&self, store: &Store, partial: UploadId) -> Result<(), Problem> {
        let mut outcome = Ok(());
        for joined in store.finals_with_all_bytes(partial).await? {
            let ended = match self.still_may(&joined).await {
                Ok(()) => store.conclude_upload(joined.id).await.map(drop),
                Err(refusal) => {
                    outcome = outcome.and(Err(refusal));
                    continue;
                }
            };
            match ended {
                // Given up meanwhile.
                Ok(()) | Err(StoreError::NoSuchUpload(_)) => {}
                Err(error) => outcome = outcome.and(Err(error.into())),
            }
        }
        outcome
    }
}
