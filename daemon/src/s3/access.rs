//! Who may do what: the identity room behind the two hooks of `s3s`.
//!
//! The guard reads which access key claims to have signed and looks it up once; `s3s` verifies the signature with its secret; only then is the caller believed.

use std::cell::Cell;
use std::sync::OnceLock;

use http::HeaderMap;
use http::request::Parts;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::decide::{Decider, Question, refused};
use super::error::{self, not_built, say};
use super::facts::parameter;
use super::guard::Claim;
use crate::http::{Gate, PeerAddr};
use crate::identity::{Action, Caller, Decision, Identity, Outcome, Resource, Rule, Secret};
use crate::kernel::{BucketName, ObjectKey};
use crate::store::{Store, StoreError};

tokio::task_local! {
    static REQUEST: Context;
}

/// What is known of one request while `s3s` works on it.
pub(super) struct Context {
    gate: Gate,
    /// The claimed key's secret.
    secret: Option<Secret>,
    /// The claimed key's caller, or the tailnet's word about an unsigned request, or nobody.
    caller: Caller,
    /// Whether the request was a form, whose signature this door has verified itself.
    is_form: bool,
    /// What was allowed, for the audit.
    deed: OnceLock<Deed>,
    /// Whether this request goes in twice, and has gone once (see [`super::lenient`]).
    times: Cell<Times>,
    /// How far it has come.
    stage: Cell<Stage>,
    /// Why the body is refused, noted where it is read; `s3s` would call it an error of ours.
    refusal: Cell<Option<S3Error>>,
}

/// How far a request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has decided on it.
    Outside,
    /// It was allowed, and `s3s` reads what it needs of the body.
    Admitted,
    /// An operation has it.
    Begun,
}

/// How often a request goes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    /// Once.
    One,
    /// For the first of two times, for its signature alone.
    First,
    /// For the second time, after a first that was signed or not.
    Second {
        /// Whether it was.
        verified: bool,
    },
}

/// A mutation that was allowed or refused.
#[derive(Clone)]
struct Deed {
    caller: Caller,
    action: Action,
    bucket: BucketName,
    key: Option<ObjectKey>,
    rule: Rule,
    allowed: bool,
}

/// Looks up who claims to call.
///
/// # Errors
/// `InvalidAccessKeyId` for a key that is not there, is disabled or expired; `AccessDenied` for a change that a foreign page makes a tailnet peer's browser send.
pub(super) async fn context(gate: &Gate, claim: &Claim, request: &Parts) -> S3Result<Context> {
    let unavailable = |error| {
        tracing::error!(%error, "nobody can be identified now: {error}");
        say(
            S3ErrorCode::ServiceUnavailable,
            "the appliance cannot check credentials now; try again",
        )
    };
    let peer = request.extensions.get::<PeerAddr>().map(|peer| peer.0);
    let (secret, caller) = match claim {
        // Guesses are not throttled here: nobody guesses an HMAC key of 240 bits, and a proxy's address stands for many clients.
        Claim::Key(id) => {
            let found = gate.identity().secret_of(id).await.map_err(unavailable)?;
            let unknown = || {
                say(
                    S3ErrorCode::InvalidAccessKeyId,
                    "there is no such access key, or it is disabled or expired",
                )
            };
            let (secret, caller) = found.ok_or_else(unknown)?;
            (Some(secret), caller)
        }
        Claim::Unsigned => {
            let refused = |_| {
                say(
                    S3ErrorCode::AccessDenied,
                    "a page of another site may not change anything here unsigned",
                )
            };
            gate.check_origin(&request.method, &request.uri, &request.headers)
                .map_err(refused)?;
            let known = match peer {
                Some(address) => gate.identity().peer(address).await.map_err(unavailable)?,
                None => None,
            };
            (None, known.unwrap_or_else(Caller::anonymous))
        }
    };
    let caller = caller.from_source(peer.map(|address| address.ip().to_canonical()));
    Ok(Context {
        gate: gate.clone(),
        secret,
        caller,
        is_form: false,
        deed: OnceLock::new(),
        times: Cell::new(Times::One),
        stage: Cell::new(Stage::Outside),
        refusal: Cell::new(None),
    })
}

impl Context {
    /// Marks a request that goes in twice.
    pub(super) fn twice(self) -> Self {
        self.times.set(Times::First);
        self
    }
}

/// Whether the request is here for its signature alone.
pub(super) fn is_first_of_two() -> bool {
    REQUEST
        .try_with(|context| context.times.get() == Times::First)
        .unwrap_or(false)
}

/// Notes that a request came through `s3s` for the first time, and whether it was signed.
pub(super) fn vouch(verified: bool) {
    let _ = REQUEST.try_with(|context| context.times.set(Times::Second { verified }));
}

/// Whether the second time may follow.
pub(super) fn is_vouched_for() -> bool {
    REQUEST
        .try_with(|context| matches!(context.times.get(), Times::Second { .. }))
        .unwrap_or(false)
}

/// Notes that the request was allowed.
fn admit() {
    let _ = REQUEST.try_with(|context| context.stage.set(Stage::Admitted));
}

/// Notes that an operation has the request.
pub(super) fn begin() {
    let _ = REQUEST.try_with(|context| context.stage.set(Stage::Begun));
}

/// Whether the request was allowed and came to no operation: then its body was not what it should be.
pub(super) fn stopped_at_body() -> bool {
    REQUEST
        .try_with(|context| context.stage.get() == Stage::Admitted)
        .unwrap_or(false)
}

/// Notes why the body is refused.
pub(super) fn refuse(error: S3Error) {
    let _ = REQUEST.try_with(|context| context.refusal.set(Some(error)));
}

/// Why the body was refused, if it was.
pub(super) fn refusal() -> Option<S3Error> {
    REQUEST
        .try_with(|context| context.refusal.take())
        .ok()
        .flatten()
}

/// Runs `work` in this context, and audits what it changed.
pub(super) async fn scoped<F>(context: Context, work: F) -> F::Output
where
    F: Future<Output: Answered>,
{
    let gate = context.gate.clone();
    let work = async {
        let answer = work.await;
        let deed = REQUEST.try_with(|context| context.deed.get().cloned());
        (answer, deed.ok().flatten())
    };
    let (answer, deed) = REQUEST.scope(context, work).await;
    if let Some(deed) = deed {
        let outcome = match (deed.allowed, answer.is_success()) {
            (false, _) => Outcome::Refused,
            (true, true) => Outcome::Done,
            (true, false) => Outcome::Failed,
        };
        let resource = match &deed.key {
            Some(key) => Resource::Object(&deed.bucket, key),
            None => Resource::Bucket(&deed.bucket),
        };
        gate.identity()
            .audit(&deed.caller, deed.action, &resource, outcome, &deed.rule)
            .await;
    }
    answer
}

/// Notes what became of one key of a request that changes many.
pub(super) async fn note(
    caller: &Caller,
    action: Action,
    bucket: &BucketName,
    key: &ObjectKey,
    decision: &Decision,
    done: bool,
) {
    let Some(identity) = identity() else {
        return;
    };
    if caller.is_anonymous() && !decision.allow {
        // What strangers try could fill the audit.
        return;
    }
    let resource = Resource::Object(bucket, key);
    let outcome = match (decision.allow, done) {
        (false, _) => Outcome::Refused,
        (true, true) => Outcome::Done,
        (true, false) => Outcome::Failed,
    };
    identity
        .audit(caller, action, &resource, outcome, &decision.rule)
        .await;
}

/// The identity room behind the request that is being worked on.
pub(super) fn identity() -> Option<Identity> {
    let found = REQUEST.try_with(|context| context.gate.identity().clone());
    found.ok()
}

/// Whether the request that is being worked on was a form.
pub(super) fn is_form() -> bool {
    REQUEST.try_with(|context| context.is_form).unwrap_or(false)
}

/// Whether an answer says that it was done.
pub(super) trait Answered {
    /// 2xx or 3xx.
    fn is_success(&self) -> bool;
}

/// The caller of a request that passed [`Access::check`].
pub(super) fn caller<T>(request: &S3Request<T>) -> Caller {
    request
        .extensions
        .get::<Caller>()
        .cloned()
        .unwrap_or_else(Caller::anonymous)
}

/// How a caller is named as the owner of what it makes.
pub(super) fn owner(caller: &Caller) -> String {
    let account = caller.account().map(str::to_owned);
    account.unwrap_or_else(|| caller.actor().to_string())
}

/// The hook that hands out secrets.
pub(super) struct Auth;

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        let secret = REQUEST
            .try_with(|context| context.secret.as_ref().map(|s| SecretKey::from(s.reveal())));
        secret
            .ok()
            .flatten()
            .ok_or_else(|| S3ErrorCode::InvalidAccessKeyId.into())
    }
}

/// The hook that decides, before a body is read.
pub(super) struct Access(pub(super) Store);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let signed = cx.credentials().is_some();
        let caller = REQUEST.try_with(|context| {
            let verified = signed || context.times.get() == Times::Second { verified: true };
            let believed = context.is_form || context.secret.is_some() == verified;
            let caller = believed.then(|| context.caller.clone())?;
            if verified || (context.is_form && context.secret.is_some()) {
                context.gate.identity().used(&caller);
            }
            Some(caller)
        });
        let caller = caller.ok().flatten().unwrap_or_else(Caller::anonymous);
        let name = cx.s3_op().name().to_owned();
        let Some(bucket) = cx.s3_path().get_bucket_name() else {
            return self.check_node(cx, caller, &name);
        };
        let bucket = bucket_name(bucket)?;
        let Some(demand) = demand(&name) else {
            // Nobody unknown is told what is built.
            if caller.is_anonymous() {
                return Err(refused(
                    &caller,
                    caller.may(Action::ListBuckets, &Resource::Node),
                ));
            }
            return Err(not_built(&name));
        };
        let key = cx.s3_path().get_object_key().map(object_key).transpose()?;
        let (decider, exists) = if demand.action == Action::CreateBucket {
            // No bucket has a say on its own making.
            (Decider::alone(&caller), true)
        } else {
            Decider::before(&self.0, &caller, &bucket).await?
        };
        let version = parameter(cx.uri().query(), "versionId").filter(|id| !id.is_empty());
        let asked = Question {
            operation: &name,
            action: demand.action,
            bucket: &bucket,
            key: key.as_ref(),
            version: version.as_deref(),
            headers: cx.headers(),
            query: cx.uri().query(),
            brought: None,
        };
        // The keys of a multi-delete are decided one by one where they are known.
        if decider.waits_for_body(&name) {
            // Decided with the tags in hand.
        } else if key.is_some() || demand.action != Action::DeleteObject {
            let decision = decider.decide(&self.0, &asked).await?;
            if demand.changes {
                note_deed(&caller, &asked, &decision);
            }
            if !decision.allow {
                return Err(if exists {
                    refused(&caller, decision)
                } else {
                    error::of(StoreError::NoSuchBucket(bucket.to_string()))
                });
            }
        } else if !exists {
            return Err(error::of(StoreError::NoSuchBucket(bucket.to_string())));
        } else if caller.is_anonymous() && decider.is_plain() {
            return Err(refused(
                &caller,
                caller.may(Action::DeleteObject, &Resource::Bucket(&bucket)),
            ));
        }
        unbuilt_headers(cx.headers())?;
        admit();
        cx.extensions_mut().insert(caller);
        cx.extensions_mut().insert(decider);
        Ok(())
    }
}

impl Access {
    /// What is asked of the appliance as a whole.
    fn check_node(&self, cx: &mut S3AccessContext<'_>, caller: Caller, name: &str) -> S3Result<()> {
        let action = demand(name).map(|demand| demand.action);
        let decision = caller.may(action.unwrap_or(Action::ListBuckets), &Resource::Node);
        if caller.is_anonymous() || (action.is_some() && !decision.allow) {
            return Err(refused(&caller, decision));
        }
        if action.is_none() {
            return Err(not_built(name));
        }
        unbuilt_headers(cx.headers())?;
        admit();
        cx.extensions_mut().insert(caller);
        Ok(())
    }
}

/// Keeps for the audit what was allowed or refused; what strangers are refused could fill it.
pub(super) fn note_deed(caller: &Caller, asked: &Question<'_>, decision: &Decision) {
    if caller.is_anonymous() && !decision.allow {
        return;
    }
    let deed = Deed {
        caller: caller.clone(),
        action: asked.action,
        bucket: asked.bucket.clone(),
        key: asked.key.cloned(),
        rule: decision.rule.clone(),
        allowed: decision.allow,
    };
    let _ = REQUEST.try_with(|context| context.deed.set(deed).is_ok());
}

/// What an operation asks for.
#[derive(Clone, Copy)]
struct Demand {
    action: Action,
    /// Whether it is noted in the audit.
    changes: bool,
}

/// The right that an operation needs; `None` for what is not built.
fn demand(operation: &str) -> Option<Demand> {
    let (action, changes) = match operation {
        "ListBuckets" => (Action::ListBuckets, false),
        "CreateBucket" => (Action::CreateBucket, true),
        "DeleteBucket" => (Action::DeleteBucket, true),
        "HeadBucket"
        | "GetBucketAcl"
        | "GetBucketLocation"
        | "GetBucketVersioning"
        | "GetObjectLockConfiguration"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListObjectVersions"
        | "ListMultipartUploads" => (Action::ListObjects, false),
        "GetBucketTagging"
        | "GetBucketCors"
        | "GetBucketLifecycleConfiguration"
        | "GetBucketNotificationConfiguration"
        | "GetBucketEncryption"
        | "GetBucketPolicy"
        | "GetBucketPolicyStatus"
        | "GetPublicAccessBlock"
        | "GetBucketOwnershipControls" => (Action::ConfigureBucket, false),
        "PutBucketVersioning"
        | "PutBucketTagging"
        | "DeleteBucketTagging"
        | "PutBucketEncryption"
        | "DeleteBucketEncryption"
        | "PutBucketCors"
        | "PutBucketNotificationConfiguration"
        | "PutBucketLifecycleConfiguration"
        | "DeleteBucketLifecycle"
        | "PutObjectLockConfiguration"
        | "DeleteBucketCors"
        | "PutBucketPolicy"
        | "DeleteBucketPolicy"
        | "PutPublicAccessBlock"
        | "DeletePublicAccessBlock"
        | "PutBucketOwnershipControls"
        | "DeleteBucketOwnershipControls"
        | "PutBucketAcl" => (Action::ConfigureBucket, true),
        "GetObject"
        | "GetObjectAcl"
        | "HeadObject"
        | "GetObjectAttributes"
        | "GetObjectLegalHold"
        | "GetObjectRetention"
        | "GetObjectTagging" => (Action::ReadObject, false),
        "ListParts" => (Action::WriteObject, false),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "PutObjectLegalHold"
        | "PutObjectRetention"
        | "PutObjectAcl"
        | "PutObjectTagging"
        | "DeleteObjectTagging" => (Action::WriteObject, true),
        "DeleteObject" | "DeleteObjects" => (Action::DeleteObject, true),
        _ => return None,
    };
    Some(Demand { action, changes })
}

/// Refuses headers that ask for what is not built, so that none of them is silently ignored.
fn unbuilt_headers(headers: &HeaderMap) -> S3Result<()> {
    const REFUSED: [&str; 2] = ["x-amz-write-offset-bytes", "x-amz-mfa"];
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        let value = value.as_bytes();
        let refused = REFUSED.iter().any(|prefix| name.starts_with(prefix));
        if refused {
            return Err(not_built(name));
        }
        if name == "x-amz-storage-class" && value != b"STANDARD" {
            return Err(say(
                S3ErrorCode::InvalidStorageClass,
                "the only storage class is STANDARD",
            ));
        }
    }
    Ok(())
}

/// A bucket's name as S3 refuses it.
pub(super) fn bucket_name(name: &str) -> S3Result<BucketName> {
    name.parse().map_err(|error: crate::kernel::NameError| {
        say(S3ErrorCode::InvalidBucketName, error.to_string())
    })
}

/// An object's key as S3 refuses it.
pub(super) fn object_key(key: &str) -> S3Result<ObjectKey> {
    use crate::kernel::NameError;
    key.parse().map_err(|error: NameError| match error {
        NameError::KeyTooLong => say(S3ErrorCode::KeyTooLongError, error.to_string()),
        _ => say(S3ErrorCode::InvalidURI, error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn refused(name: &'static str, value: &str) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        unbuilt_headers(&headers)
            .err()
            .map(|e| e.status_code().unwrap().as_u16())
    }

    #[test]
    fn what_is_not_built_is_refused_rather_than_ignored() {
        assert_eq!(refused("x-amz-storage-class", "GLACIER"), Some(400));
        assert_eq!(refused("x-amz-meta-a", "1"), None);
    }

    #[test]
    fn an_operation_that_nobody_decided_on_is_not_built() {
        assert!(demand("PutBucketReplication").is_none());
        assert!(demand("GetObjectTorrent").is_none());
        assert!(demand("GetObject").is_some_and(|d| d.action == Action::ReadObject && !d.changes));
    }

    #[test]
    fn names_are_refused_in_the_words_of_s3() {
        assert_eq!(
            object_key(&"k".repeat(1025)).unwrap_err().code().as_str(),
            "KeyTooLongError"
        );
        assert_eq!(
            bucket_name("A_B").unwrap_err().code().as_str(),
            "InvalidBucketName"
        );
    }
}
