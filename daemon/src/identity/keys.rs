//! Access keys: made, listed, changed, revoked.

use super::actor::Caller;
use super::audit::{Outcome, line};
use super::authorize::{Action, Resource};
use super::error::IdentityError;
use super::grant::{GRANTS_MAX, Grant, PATTERNS_MAX, PREFIXES_MAX, Role};
use super::house::{Identity, parse_grants};
use super::secret::Secret;
use crate::catalog::{AccessKeyRow, NewAudit};
use crate::kernel::limits::OBJECT_KEY_BYTES_MAX;
use crate::kernel::{AccessKeyId, Millis};

/// Longest name of a key.
const NAME_BYTES_MAX: usize = 200;

/// A key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it may do where; at least one.
    pub grants: Vec<Grant>,
    /// How long it works; for ever when absent.
    pub expires_in_s: Option<u64>,
}

/// A key, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyInfo {
    /// Its public half.
    pub id: AccessKeyId,
    /// What it is for.
    pub name: String,
    /// Whether it is the root key.
    pub root: bool,
    /// What it may do where.
    pub grants: Vec<Grant>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_ms: Millis,
    /// From when on it is refused.
    pub expires_ms: Option<Millis>,
    /// When it was last used; by another daemon, to within a minute.
    pub last_used_ms: Option<Millis>,
}

/// A key with its secret, which is never shown again.
#[derive(Clone, Debug)]
pub struct CreatedKey {
    /// The key.
    pub key: KeyInfo,
    /// Its secret half.
    pub secret: Secret,
}

impl Identity {
    /// Makes a key; whether `by` may was the door's question, asked with [`Action::ManageKeys`].
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] for grants that cannot be; [`IdentityError::Forbidden`] for a right that `by` has not itself.
    pub async fn create_key(&self, by: &Caller, new: NewKey) -> Result<CreatedKey, IdentityError> {
        check_grants(by, &new.grants)?;
        check_name(&new.name)?;
        let now_ms = self.0.clock.now_ms();
        let id = AccessKeyId::random();
        let secret = Secret::random();
        let life_ms = |s: u64| Millis::try_from(s.saturating_mul(1000)).unwrap_or(Millis::MAX);
        let row = AccessKeyRow {
            id: id.to_string(),
            name: new.name,
            secret: self.0.master.seal(id.as_str(), secret.reveal().as_bytes()),
            grants: to_json(&new.grants),
            is_root: false,
            disabled: false,
            created_by: by.actor().to_string(),
            created_ms: now_ms,
            expires_ms: new.expires_in_s.map(|s| now_ms.saturating_add(life_ms(s))),
            last_used_ms: None,
        };
        let audit = self.key_audit(by, "create", &id);
        let written = row.clone();
        let inserted = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let inserted = tx.insert_access_key(&written).await?;
                    tx.insert_audit(&audit).await?;
                    Ok::<_, IdentityError>(inserted)
                })
            })
            .await?;
        match read(row) {
            Some(key) if inserted => Ok(CreatedKey { key, secret }),
            _ => Err(IdentityError::Invalid(
                "the new id is taken; try again".into(),
            )),
        }
    }

    /// The key of this id.
    pub async fn key(&self, id: &AccessKeyId) -> Result<Option<KeyInfo>, IdentityError> {
        let row = self.0.catalog.access_key(id).await?;
        Ok(row.and_then(read).map(|key| self.seen(key)))
    }

    /// Up to `limit` keys behind the id `after` (empty: from the start), by id.
    pub async fn keys(&self, after: &str, limit: u32) -> Result<Vec<KeyInfo>, IdentityError> {
        let rows = self.0.catalog.access_keys(after, limit).await?;
        let keys = rows.into_iter().filter_map(read);
        Ok(keys.map(|key| self.seen(key)).collect())
    }

    /// The same with a use that is not written yet.
    fn seen(&self, mut key: KeyInfo) -> KeyInfo {
        key.last_used_ms = self.last_use(&key.id).max(key.last_used_ms);
        key
    }

    /// Removes a key and stops every link that it made; `false` when there is none.
    ///
    /// # Errors
    /// [`IdentityError::Forbidden`] for the root key.
    pub async fn revoke_key(&self, by: &Caller, id: &AccessKeyId) -> Result<bool, IdentityError> {
        let Some(key) = self.key(id).await? else {
            return Ok(false);
        };
        if key.root {
            return Err(IdentityError::Forbidden(
                "the root key cannot be revoked; rotate it with: nebulad keys rotate".into(),
            ));
        }
        let audit = self.key_audit(by, "revoke", id);
        let now_ms = self.0.clock.now_ms();
        let gone = id.clone();
        let revoked = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let revoked = tx.delete_access_key(&gone).await?;
                    if revoked {
                        tx.revoke_links_of(&format!("key:{gone}"), now_ms).await?;
                        tx.delete_temporary_keys_of(&gone).await?;
                        tx.insert_audit(&audit).await?;
                    }
                    Ok::<_, IdentityError>(revoked)
                })
            })
            .await?;
        self.forget();
        Ok(revoked)
    }

    /// Gives a key a new secret, which is returned; `None` when there is no such key. The old one stops at once.
    ///
    /// # Errors
    /// [`IdentityError::Forbidden`] when the key can do more than `by`.
    pub async fn rotate_key(
        &self,
        by: &Caller,
        id: &AccessKeyId,
    ) -> Result<Option<Secret>, IdentityError> {
        let Some(key) = self.key(id).await? else {
            return Ok(None);
        };
        if key.root && !by.is_root() {
            return Err(IdentityError::Forbidden(
                "only the root key rotates the root key".into(),
            ));
        }
        check_flags(by, &key.grants)?;
        let secret = Secret::random();
        let sealed = self.0.master.seal(id.as_str(), secret.reveal().as_bytes());
        let audit = self.key_audit(by, "rotate", id);
        let target = id.clone();
        let rotated = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let rotated = tx.set_access_key_secret(&target, &sealed).await?;
                    tx.delete_temporary_keys_of(&target).await?;
                    tx.insert_audit(&audit).await?;
                    Ok::<_, IdentityError>(rotated)
                })
            })
            .await?;
        self.forget();
        if key.root && rotated {
            self.keep_root(id, &secret).await?;
        }
        Ok(rotated.then_some(secret))
    }

    /// Switches a key off or on; `false` when there is none that is not root.
    pub async fn disable_key(
        &self,
        by: &Caller,
        id: &AccessKeyId,
        disabled: bool,
    ) -> Result<bool, IdentityError> {
        let word = if disabled { "disable" } else { "enable" };
        let audit = self.key_audit(by, word, id);
        let id = id.clone();
        let changed = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let changed = tx.set_access_key_disabled(&id, disabled).await?;
                    if changed {
                        tx.insert_audit(&audit).await?;
                    }
                    Ok::<_, IdentityError>(changed)
                })
            })
            .await?;
        self.forget();
        Ok(changed)
    }

    /// Replaces what a key may do; `false` when there is none that is not root.
    ///
    /// # Errors
    /// As [`Identity::create_key`].
    pub async fn set_key_grants(
        &self,
        by: &Caller,
        id: &AccessKeyId,
        grants: &[Grant],
    ) -> Result<bool, IdentityError> {
        check_grants(by, grants)?;
        let json = to_json(grants);
        let audit = self.key_audit(by, "grant", id);
        let id = id.clone();
        let changed = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let changed = tx.set_access_key_grants(&id, &json).await?;
                    if changed {
                        tx.insert_audit(&audit).await?;
                    }
                    Ok::<_, IdentityError>(changed)
                })
            })
            .await?;
        self.forget();
        Ok(changed)
    }

    fn forget(&self) {
        self.0.keys.clear();
        self.0.links.clear();
    }

    fn key_audit(&self, by: &Caller, what: &str, id: &AccessKeyId) -> NewAudit {
        let rule = by.may(Action::ManageKeys, &Resource::Node).rule;
        let now_ms = self.0.clock.now_ms();
        let mut line = line(
            now_ms,
            by,
            Action::ManageKeys,
            &Resource::Node,
            Outcome::Done,
            &rule,
        );
        line.resource = format!("{what} key:{id}");
        line
    }
}

fn to_json(grants: &[Grant]) -> String {
    serde_json::to_string(grants).expect("grants are plain data")
}

pub(super) fn check_name(name: &str) -> Result<(), IdentityError> {
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(IdentityError::Invalid(format!(
            "a key's name is plain text of at most {NAME_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

pub(super) fn check_grants(by: &Caller, grants: &[Grant]) -> Result<(), IdentityError> {
    if grants.is_empty() || grants.len() > GRANTS_MAX {
        return Err(IdentityError::Invalid(format!(
            "a key has 1 to {GRANTS_MAX} grants, such as: read on films"
        )));
    }
    for grant in grants {
        let flag = grant.deploy || grant.worker;
        if grant.role.is_some() == grant.buckets.is_empty() || (grant.role.is_none() && !flag) {
            return Err(IdentityError::Invalid(
                "a grant names a role and at least one bucket pattern, or a right of the node"
                    .into(),
            ));
        }
        if !grant.is_whole() && !matches!(grant.role, Some(Role::Read | Role::Write)) {
            return Err(IdentityError::Invalid(
                "prefixes bound the roles read and write; other rights are of whole buckets".into(),
            ));
        }
        let fits = |prefix: &String| (1..=OBJECT_KEY_BYTES_MAX).contains(&prefix.len());
        if grant.prefixes.len() > PREFIXES_MAX || !grant.prefixes.iter().all(fits) {
            return Err(IdentityError::Invalid(format!(
                "a grant has at most {PREFIXES_MAX} prefixes of 1 to {OBJECT_KEY_BYTES_MAX} bytes"
            )));
        }
        if grant.buckets.len() > PATTERNS_MAX {
            return Err(IdentityError::Invalid(format!(
                "a grant names at most {PATTERNS_MAX} bucket patterns; use `*` to shorten it"
            )));
        }
    }
    check_flags(by, grants)
}

/// Whoever manages keys has every bucket already; the rights that belong to no bucket must not be won that way.
fn check_flags(by: &Caller, grants: &[Grant]) -> Result<(), IdentityError> {
    let may = |name: &str, flag: fn(&Grant) -> bool| {
        if by.is_root() || !grants.iter().any(flag) || by.grants().iter().any(flag) {
            return Ok(());
        }
        Err(IdentityError::Forbidden(format!(
            "the right `{name}` can be given by the root key or a key that has it"
        )))
    };
    may("deploy", |grant| grant.deploy)?;
    may("worker", |grant| grant.worker)
}

/// A row whose id this version cannot read is left out.
fn read(row: AccessKeyRow) -> Option<KeyInfo> {
    Some(KeyInfo {
        id: row.id.parse().ok()?,
        grants: parse_grants(&row),
        name: row.name,
        root: row.is_root,
        disabled: row.disabled,
        created_by: row.created_by,
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
        last_used_ms: row.last_used_ms,
    })
}
