//! Temporary keys: a pair and a token that the holder of an access key makes for somebody else, for hours.
//!
//! Nothing of them is kept: the token, sealed by the master key under the temporary id, holds the secret, the key that made it, the scope and the end.
//! So a temporary key lives exactly as long as the key behind it: switched off, revoked, expired or given a new secret, that takes its temporary keys with it.
//! Its rights are those of the key behind it at the moment of each request, cut to the scope, and never those over keys, links and the node's release.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::actor::{Actor, Caller};
use super::audit::Outcome;
use super::error::IdentityError;
use super::grant::Grant;
use super::house::Identity;
use super::keys::{check_grants, check_name};
use super::secret::Secret;
use crate::catalog::NewAudit;
use crate::kernel::{AccessKeyId, Millis};

/// Shortest life of a temporary key.
pub const SESSION_LIFE_MIN_S: u64 = nebula_api::session::MIN_EXPIRES_IN_S;
/// Longest life of a temporary key.
pub const SESSION_LIFE_MAX_S: u64 = nebula_api::session::MAX_EXPIRES_IN_S;
/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest sealed text; what a token of that many bytes can hold, and a header can carry.
const SEALED_BYTES_MAX: usize = 4 * 1024;

/// A temporary key to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// What it is for; the audit shows it.
    pub name: String,
    /// How long it works.
    pub expires_in_s: u64,
    /// What it may do at most; everything that its maker may when empty.
    pub scope: Vec<Grant>,
}

/// A temporary key; its secret and token are not kept.
#[derive(Clone, Debug)]
pub struct CreatedSession {
    /// Its public half.
    pub id: AccessKeyId,
    /// Its secret half.
    pub secret: Secret,
    /// What goes with every request.
    pub token: Secret,
    /// From when on it is refused.
    pub expires_ms: Millis,
}

/// Why a temporary key is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionRefusal {
    /// The token is not ours, or belongs to another pair.
    Invalid,
    /// Its time is over.
    Expired,
    /// The key behind it is gone, switched off, expired, or has a new secret.
    Revoked,
}

/// What a token holds.
#[derive(Serialize, Deserialize)]
struct Claims {
    secret: String,
    parent: String,
    /// Of the parent's secret, so that a new one ends its sessions.
    proof: String,
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scope: Vec<Grant>,
    expires_ms: Millis,
}

fn proof(secret: &Secret) -> String {
    let key = blake3::derive_key(
        "nebula 2026 proof of a session's parent",
        secret.reveal().as_bytes(),
    );
    hex::encode(&key[..8])
}

/// Ties a token to its pair.
fn seal_name(id: &str) -> String {
    format!("session:{id}")
}

impl Identity {
    /// Makes a temporary key for whoever `by` chooses.
    ///
    /// # Errors
    /// [`IdentityError::Forbidden`] unless `by` holds a lasting access key; [`IdentityError::Invalid`] for a life or a scope that cannot be.
    pub async fn create_session(
        &self,
        by: &Caller,
        new: NewSession,
    ) -> Result<CreatedSession, IdentityError> {
        let lasting = match by.actor() {
            Actor::AccessKey { id, .. } if by.session().is_none() => {
                self.usable_key(id.as_str()).await?
            }
            _ => None,
        };
        let parent = lasting.ok_or_else(|| {
            IdentityError::Forbidden(
                "temporary keys are made by the holder of a lasting access key; sign the request with one".into(),
            )
        })?;
        if !(SESSION_LIFE_MIN_S..=SESSION_LIFE_MAX_S).contains(&new.expires_in_s) {
            return Err(IdentityError::Invalid(format!(
                "a temporary key works for {SESSION_LIFE_MIN_S} to {SESSION_LIFE_MAX_S} seconds"
            )));
        }
        check_name(&new.name)?;
        if !new.scope.is_empty() {
            check_grants(by, &new.scope)?;
        }
        let now_ms = self.0.clock.now_ms();
        let life_ms =
            Millis::try_from(new.expires_in_s.saturating_mul(1000)).unwrap_or(Millis::MAX);
        let expires_ms = (now_ms + life_ms).min(parent.expires_ms.unwrap_or(Millis::MAX));
        let (id, secret) = (AccessKeyId::temporary(), Secret::random());
        let claims = Claims {
            secret: secret.reveal().to_owned(),
            parent: parent_id(by),
            proof: proof(&parent.secret),
            name: new.name.clone(),
            scope: new.scope,
            expires_ms,
        };
        let claims = serde_json::to_vec(&claims).expect("claims are plain data");
        if claims.len() > SEALED_BYTES_MAX {
            return Err(IdentityError::Invalid(
                "the scope is too long for a token; use fewer or shorter grants".into(),
            ));
        }
        let sealed = self.0.master.seal(&seal_name(id.as_str()), &claims);
        let audit = NewAudit {
            time_ms: now_ms,
            actor: by.to_string(),
            action: "create_session",
            resource: format!("key:{id} {}", new.name).trim_end().to_owned(),
            outcome: Outcome::Done.as_str(),
            rule: "own key".into(),
            source: by.source().map(|ip| ip.to_string()).unwrap_or_default(),
        };
        let catalog = &self.0.catalog;
        catalog
            .write(move |tx| Box::pin(async move { tx.insert_audit(&audit).await }))
            .await?;
        self.used(by);
        Ok(CreatedSession {
            id,
            secret,
            token: Secret::new(URL_SAFE_NO_PAD.encode(sealed)),
            expires_ms,
        })
    }

    /// The secret of a temporary key, for a door that checks a signature, and the caller to be believed once it holds.
    pub async fn session_of(
        &self,
        id: &str,
        token: &str,
    ) -> Result<Result<(Secret, Caller), SessionRefusal>, IdentityError> {
        let Some(claims) = self.claims(id, token) else {
            return Ok(Err(SessionRefusal::Invalid));
        };
        if self.0.clock.now_ms() >= claims.expires_ms {
            return Ok(Err(SessionRefusal::Expired));
        }
        let parent = self.usable_key(&claims.parent).await?;
        let parent = parent.filter(|parent| proof(&parent.secret) == claims.proof);
        let (Some(parent), Ok(id)) = (parent, id.parse()) else {
            return Ok(Err(SessionRefusal::Revoked));
        };
        let caller = parent.caller.clone();
        let caller = caller.through(id, claims.name, claims.scope);
        Ok(Ok((Secret::new(claims.secret), caller)))
    }

    /// The caller behind a temporary pair and its token; `None` for whatever is wrong with them.
    pub async fn basic_session(
        &self,
        id: &str,
        secret: &str,
        token: &str,
    ) -> Result<Option<Caller>, IdentityError> {
        match self.session_of(id, token).await? {
            Ok((known, caller)) if known.equals(secret) => {
                self.used(&caller);
                Ok(Some(caller))
            }
            _ => Ok(None),
        }
    }

    fn claims(&self, id: &str, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let claims = self.0.master.open(&seal_name(id), &sealed)?;
        serde_json::from_slice(&claims).ok()
    }
}

fn parent_id(by: &Caller) -> String {
    match by.actor() {
        Actor::AccessKey { id, .. } => id.to_string(),
        other => other.to_string(),
    }
}
