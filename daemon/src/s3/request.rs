//! What is known of one request while `s3s` works on it: who claims to call, how far it has come, and what it changed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::OnceLock;

use http::request::Parts;
use s3s::auth::SecretKey;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::decide::Question;
use super::error::say;
use super::guard::Claim;
use super::sts;
use crate::http::{Gate, PeerAddr};
use crate::identity::{Action, Caller, Decision, Identity, Outcome, Resource, Rule, Secret};
use crate::kernel::{BucketName, ObjectKey};

tokio::task_local! {
    static REQUEST: Context;
}

/// What is known of one request while `s3s` works on it.
pub(super) struct Context {
    gate: Gate,
    /// The claimed key's secret.
    secret: Option<Secret>,
    /// The claimed key, and the token that came with a temporary one.
    claim: Option<(String, Option<String>)>,
    /// Where the request came from.
    peer: Option<SocketAddr>,
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
/// `InvalidAccessKeyId` for a key that is not there, is disabled or expired.
pub(super) async fn context(gate: &Gate, claim: &Claim, request: &Parts) -> S3Result<Context> {
    match claim {
        Claim::Key { id, token } => of_key(gate, id, token.as_deref(), request).await,
        Claim::Unsigned => of_nobody(gate, request).await,
    }
}

/// The same for a form, whose claim stood in its fields, and which was `sent` so and becomes the request `target`; the caller verifies it with [`Context::secret`].
///
/// # Errors
/// As [`context`].
pub(super) async fn form_context(
    gate: &Gate,
    key: Option<&str>,
    sent: &Parts,
    target: &Parts,
) -> S3Result<Context> {
    let context = match key {
        Some(id) => {
            let token = target.headers.get("x-amz-security-token");
            let token = token.map(|token| token.to_str().unwrap_or("?"));
            of_key(gate, id, token, target).await?
        }
        None => of_nobody(gate, sent).await?,
    };
    Ok(Context {
        is_form: true,
        ..context
    })
}

pub(super) fn unavailable(error: impl std::fmt::Display) -> s3s::S3Error {
    tracing::error!(%error, "nobody can be identified now: {error}");
    say(
        S3ErrorCode::ServiceUnavailable,
        "the appliance cannot check credentials now; try again",
    )
}

async fn of_key(gate: &Gate, id: &str, token: Option<&str>, request: &Parts) -> S3Result<Context> {
    // Guesses are not throttled here: nobody guesses an HMAC key of 240 bits, and a proxy's address stands for many clients.
    let (secret, caller) = sts::credential(gate, id, token).await?;
    Ok(Context {
        claim: Some((id.to_owned(), token.map(str::to_owned))),
        ..Context::of(gate, Some(secret), caller, request)
    })
}

async fn of_nobody(gate: &Gate, request: &Parts) -> S3Result<Context> {
    // What a page of another site makes a browser send may do what a stranger may, and nothing in the name of a tailnet peer.
    let is_own = gate
        .check_origin(&request.method, &request.uri, &request.headers)
        .is_ok();
    let known = match peer(request) {
        Some(address) if is_own => gate.identity().peer(address).await.map_err(unavailable)?,
        _ => None,
    };
    let caller = known.unwrap_or_else(Caller::anonymous);
    Ok(Context::of(gate, None, caller, request))
}

fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<PeerAddr>().map(|peer| peer.0)
}

impl Context {
    fn of(gate: &Gate, secret: Option<Secret>, caller: Caller, request: &Parts) -> Self {
        let source = peer(request).map(|address| address.ip().to_canonical());
        Self {
            gate: gate.clone(),
            secret,
            claim: None,
            peer: peer(request),
            caller: caller.from_source(source),
            is_form: false,
            deed: OnceLock::new(),
            times: Cell::new(Times::One),
            stage: Cell::new(Stage::Outside),
            refusal: Cell::new(None),
        }
    }

    /// The secret of the key that was claimed.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Marks a request that goes in twice.
    pub(super) fn twice(self) -> Self {
        self.times.set(Times::First);
        self
    }
}

/// Who signed a request that is no operation of S3, once `s3s` has verified the signature.
pub(super) fn verified() -> Option<(Identity, Caller)> {
    let signed = REQUEST.try_with(|context| {
        let known = || (context.gate.identity().clone(), context.caller.clone());
        context.secret.is_some().then(known)
    });
    signed.ok().flatten()
}

/// Who stands behind the request now that its body has come: that can take long, and what was taken back meanwhile counts no more.
///
/// # Errors
/// As [`context`]; `InvalidAccessKeyId` too for a key that has another secret since.
pub(super) async fn caller_of_now() -> S3Result<Caller> {
    let known = REQUEST.try_with(|context| {
        let claim = context.claim.clone().zip(context.secret.clone());
        (
            context.gate.clone(),
            claim,
            context.caller.clone(),
            context.peer,
        )
    });
    let Ok((gate, claim, caller, peer)) = known else {
        return Ok(Caller::anonymous());
    };
    let source = caller.source();
    let now = match (claim, peer) {
        (Some(((id, token), secret)), _) => {
            let (current, now) = sts::credential(&gate, &id, token.as_deref()).await?;
            if !current.equals(secret.reveal()) {
                let text = "the access key has a new secret since the request began";
                return Err(say(S3ErrorCode::InvalidAccessKeyId, text));
            }
            now
        }
        (None, Some(address)) if !caller.is_anonymous() => {
            let known = gate.identity().peer(address).await.map_err(unavailable)?;
            known.unwrap_or_else(Caller::anonymous)
        }
        (None, _) => caller,
    };
    Ok(now.from_source(source))
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
pub(super) fn admit() {
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

/// The secret of the key that was claimed, for the signature to be verified with.
pub(super) fn secret() -> Option<SecretKey> {
    let secret =
        REQUEST.try_with(|context| context.secret.as_ref().map(|s| SecretKey::from(s.reveal())));
    secret.ok().flatten()
}

/// The caller, once it is known whether the signature held.
pub(super) fn believed(signed: bool) -> Caller {
    let caller = REQUEST.try_with(|context| {
        let verified = signed || context.times.get() == Times::Second { verified: true };
        let believed = context.is_form || context.secret.is_some() == verified;
        let caller = believed.then(|| context.caller.clone())?;
        if verified || (context.is_form && context.secret.is_some()) {
            context.gate.identity().used(&caller);
        }
        Some(caller)
    });
    caller.ok().flatten().unwrap_or_else(Caller::anonymous)
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
