//! Temporary keys: a pair and a token that the holder of an access key makes for somebody else, for hours.
//!
//! The token, sealed by the master key under the temporary id, holds the secret, the key that made it, the scope, the policy and the end; a row says only that there is one, so that it can be listed and taken back.
//! So a temporary key lives at most as long as the key behind it: switched off, revoked, expired or given a new secret, that takes its temporary keys with it.
//! Its rights are those of the key behind it at the moment of each request, cut to the scope and to what the policy allows, and never those over keys, links and the node's release.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::actor::{Actor, Caller};
use super::audit::Outcome;
use super::authorize::{Action, Resource};
use super::cache::Found;
use super::error::IdentityError;
use super::grant::Grant;
use super::house::Identity;
use super::keys::{check_grants, check_name};
use super::policy::Policy;
use super::secret::Secret;
use crate::catalog::{NewAudit, TemporaryKeyRow};
use crate::kernel::{AccessKeyId, Millis};

/// Shortest life of a temporary key.
pub const SESSION_LIFE_MIN_S: u64 = nebula_api::session::MIN_EXPIRES_IN_S;
/// Longest life of a temporary key.
pub const SESSION_LIFE_MAX_S: u64 = nebula_api::session::MAX_EXPIRES_IN_S;
/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Temporary keys of one key at a time: one a minute and some, for their longest life.
const SESSIONS_MAX: i64 = 1000;
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
    /// A policy in JSON that must allow whatever it does; nothing more is asked when it is absent.
    pub policy: Option<String>,
}

/// A temporary key that was lent, without its secret and token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionInfo {
    /// Its public half.
    pub id: AccessKeyId,
    /// The access key behind it.
    pub parent: String,
    /// What it is for.
    pub name: String,
    /// When it was lent.
    pub created_ms: Millis,
    /// From when on it is refused.
    pub expires_ms: Millis,
    /// When it was last used.
    pub last_used_ms: Option<Millis>,
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
    /// It was taken back, or the key behind it is gone, switched off, expired, or has a new secret.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
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
        let policy = new.policy.as_deref().map(minified).transpose()?;
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
            policy,
            expires_ms,
        };
        let claims = serde_json::to_vec(&claims).expect("claims are plain data");
        if claims.len() > SEALED_BYTES_MAX {
            return Err(IdentityError::Invalid(
                "scope and policy are too long for a token; use fewer or shorter grants".into(),
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
        let row = TemporaryKeyRow {
            id: id.to_string(),
            parent: parent_id(by),
            name: new.name,
            created_ms: now_ms,
            expires_ms,
            revoked_ms: None,
            last_used_ms: None,
        };
        let parent = parent_key(by)?;
        let entered = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                if tx.count_temporary_keys(&parent, now_ms).await? >= SESSIONS_MAX {
                    return Err(IdentityError::Invalid(format!(
                        "a key has at most {SESSIONS_MAX} temporary keys at a time; use each for longer, or revoke some"
                    )));
                }
                tx.insert_temporary_key(&row).await?;
                tx.insert_audit(&audit).await?;
                Ok::<_, IdentityError>(())
            })
        });
        entered.await?;
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
        if self.revoked_sessions().await?.contains(&id) {
            return Ok(Err(SessionRefusal::Revoked));
        }
        // One that this version cannot read allows nothing.
        let Ok(policy) = claims
            .policy
            .as_deref()
            .map(Policy::parse_session)
            .transpose()
        else {
            return Ok(Err(SessionRefusal::Invalid));
        };
        let caller = parent.caller.clone();
        let caller = caller.through(id, claims.name, claims.scope, policy);
        Ok(Ok((Secret::new(claims.secret), caller)))
    }

    /// Those that were taken back and would work otherwise; remembered as keys are.
    async fn revoked_sessions(&self) -> Result<Arc<HashSet<AccessKeyId>>, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let generation = match self.0.revoked.get(&(), now_ms) {
            Found::Value(known) => return Ok(known),
            Found::Missing(generation) => generation,
        };
        let ids = self.0.catalog.revoked_temporary_keys(now_ms).await?;
        let ids = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let ids: Arc<HashSet<AccessKeyId>> = Arc::new(ids);
        self.0.revoked.put((), Arc::clone(&ids), now_ms, generation);
        Ok(ids)
    }

    /// Up to `limit` temporary keys that work, behind the id `after`: everybody's for whoever manages keys, else the caller's own.
    pub async fn sessions(
        &self,
        by: &Caller,
        after: &str,
        limit: u32,
    ) -> Result<Vec<SessionInfo>, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let own = if manages_keys(by) {
            None
        } else {
            Some(parent_key(by)?)
        };
        let catalog = &self.0.catalog;
        let rows = catalog
            .temporary_keys(own.as_ref(), after, limit, now_ms)
            .await?;
        let seen = |id: &AccessKeyId, noted| self.last_use(id).max(noted);
        let rows = rows.into_iter().filter_map(|row| {
            let id: AccessKeyId = row.id.parse().ok()?;
            Some(SessionInfo {
                last_used_ms: seen(&id, row.last_used_ms),
                id,
                parent: row.parent,
                name: row.name,
                created_ms: row.created_ms,
                expires_ms: row.expires_ms,
            })
        });
        Ok(rows.collect())
    }

    /// Takes a temporary key back at once; another daemon believes it for at most ten seconds. `false` when the caller has none of this id that works.
    ///
    /// Whoever manages keys may also take back one that was never entered, as daemons before this lent them.
    pub async fn revoke_session(
        &self,
        by: &Caller,
        id: &AccessKeyId,
    ) -> Result<bool, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let row = self.0.catalog.temporary_key(id).await?;
        let works = |row: &TemporaryKeyRow| row.revoked_ms.is_none() && now_ms < row.expires_ms;
        let may = match &row {
            Some(row) => works(row) && (manages_keys(by) || row.parent == parent_id(by)),
            None => manages_keys(by) && id.is_temporary(),
        };
        if !may {
            return Ok(false);
        }
        let audit = NewAudit {
            time_ms: now_ms,
            actor: by.to_string(),
            action: "revoke_session",
            resource: format!("key:{id}"),
            outcome: Outcome::Done.as_str(),
            rule: "own key or manage_keys".into(),
            source: by.source().map(|ip| ip.to_string()).unwrap_or_default(),
        };
        let id = id.clone();
        let until_ms = now_ms + Millis::try_from(SESSION_LIFE_MAX_S * 1000).unwrap_or(Millis::MAX);
        let revoked = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let revoked = tx.revoke_temporary_key(&id, now_ms, until_ms).await?;
                tx.insert_audit(&audit).await?;
                Ok::<_, IdentityError>(revoked)
            })
        });
        let revoked = revoked.await?;
        self.0.revoked.clear();
        Ok(revoked)
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

/// Whether the caller sees and ends everybody's.
fn manages_keys(by: &Caller) -> bool {
    by.may(Action::ManageKeys, &Resource::Node).allow
}

/// A policy without the white space that its author likes, checked.
fn minified(text: &str) -> Result<String, IdentityError> {
    Policy::parse_session(text).map_err(|error| IdentityError::Invalid(error.to_string()))?;
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| IdentityError::Invalid(format!("the policy is no JSON: {error}")))?;
    Ok(value.to_string())
}

/// The lasting key of a caller.
fn parent_key(by: &Caller) -> Result<AccessKeyId, IdentityError> {
    match by.actor() {
        Actor::AccessKey { id, .. } => Ok(id.clone()),
        _ => Err(IdentityError::Forbidden(
            "temporary keys belong to access keys; sign the request with one".into(),
        )),
    }
}

fn parent_id(by: &Caller) -> String {
    match by.actor() {
        Actor::AccessKey { id, .. } => id.to_string(),
        other => other.to_string(),
    }
}
