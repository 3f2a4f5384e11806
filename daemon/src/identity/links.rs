//! Signed links: made, listed, revoked, believed.

use std::sync::Arc;

use super::actor::{Caller, LinkScope};
use super::audit::{Outcome, line};
use super::authorize::{Action, Resource, Rule};
use super::cache::Found;
use super::error::IdentityError;
use super::house::Identity;
use super::secret::Secret;
use super::token::{Claims, scope_hash, seconds};
use crate::catalog::LinkRow;
use crate::kernel::{LinkId, Millis};

/// The longest life of a link.
pub const LINK_LIFE_MAX_S: u64 = nebula_api::link::MAX_EXPIRES_IN_S;

/// A link, without its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkInfo {
    /// To revoke it by; opens nothing.
    pub id: LinkId,
    /// What it opens.
    pub scope: LinkScope,
    /// The actor that made it, as its `Display` writes it.
    pub created_by: String,
    /// When it was made.
    pub created_ms: Millis,
    /// From when on it is refused.
    pub expires_ms: Millis,
}

/// A new link with its token, which is not kept.
#[derive(Clone, Debug)]
pub struct CreatedLink {
    /// The link.
    pub link: LinkInfo,
    /// What goes into the address: 64 characters of the URL alphabet of base64.
    pub token: Secret,
}

/// A row that was looked up, read.
pub(super) struct LinkEntry {
    caller: Caller,
    scope: [u8; 8],
    expires_ms: Millis,
}

impl Identity {
    /// Makes a link; whether `by` may was the door's question, asked with [`Action::CreateLink`].
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] when its life is zero or longer than [`LINK_LIFE_MAX_S`].
    pub async fn create_link(
        &self,
        by: &Caller,
        scope: LinkScope,
        expires_in_s: u64,
    ) -> Result<CreatedLink, IdentityError> {
        if expires_in_s == 0 || expires_in_s > LINK_LIFE_MAX_S {
            return Err(IdentityError::Invalid(format!(
                "a link lives for 1 to {LINK_LIFE_MAX_S} seconds, not {expires_in_s}"
            )));
        }
        let now_ms = self.0.clock.now_ms();
        let link = LinkInfo {
            id: LinkId::random(),
            scope,
            created_by: by.actor().to_string(),
            created_ms: now_ms,
            expires_ms: now_ms + expires_in_s as Millis * 1000,
        };
        let row = LinkRow {
            id: link.id.to_string(),
            created_by: link.created_by.clone(),
            bucket: link.scope.bucket().to_string(),
            key_prefix: link.scope.path().into(),
            is_prefix: matches!(link.scope, LinkScope::Prefix(..)),
            created_ms: link.created_ms,
            expires_ms: link.expires_ms,
            revoked_ms: None,
        };
        let audit = self.link_audit(by, &link);
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.insert_link(&row).await?;
                    tx.insert_audit(&audit).await?;
                    Ok::<_, IdentityError>(())
                })
            })
            .await?;
        let token = self.0.signer.sign(Claims {
            id: link.id,
            expires_s: seconds(link.expires_ms),
            scope: scope_hash(&link.scope),
        });
        Ok(CreatedLink { link, token })
    }

    /// The caller that a token stands for; `None` when it is altered, expired, revoked or unknown alike.
    pub async fn link(&self, token: &str) -> Result<Option<Caller>, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let Some(claims) = self.0.signer.verify(token) else {
            return Ok(None);
        };
        if seconds(now_ms) > claims.expires_s {
            return Ok(None);
        }
        let entry = match self.0.links.get(&claims.id, now_ms) {
            Found::Value(entry) => entry,
            Found::Missing(generation) => {
                let row = self.0.catalog.link(claims.id).await?;
                let Some(row) = row.filter(|row| row.revoked_ms.is_none()) else {
                    return Ok(None);
                };
                let Some(link) = read(row) else {
                    return Ok(None);
                };
                let entry = Arc::new(LinkEntry {
                    scope: scope_hash(&link.scope),
                    expires_ms: link.expires_ms,
                    caller: Caller::of_link(link.id, link.scope),
                });
                self.0
                    .links
                    .put(claims.id, entry.clone(), now_ms, generation);
                entry
            }
        };
        let good = entry.scope == claims.scope && now_ms < entry.expires_ms;
        Ok(good.then(|| entry.caller.clone()))
    }

    /// The link of this id, when it still works.
    pub async fn link_info(&self, id: LinkId) -> Result<Option<LinkInfo>, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let row = self.0.catalog.link(id).await?;
        let works = |row: &LinkRow| row.revoked_ms.is_none() && now_ms < row.expires_ms;
        Ok(row.filter(works).and_then(read))
    }

    /// Up to `limit` working links behind the id `after` (empty: from the start), by id.
    pub async fn links(&self, after: &str, limit: u32) -> Result<Vec<LinkInfo>, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let rows = self.0.catalog.links(after, limit, now_ms).await?;
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Stops a link at once; `false` when there is none that works.
    pub async fn revoke_link(&self, by: &Caller, id: LinkId) -> Result<bool, IdentityError> {
        let Some(link) = self.link_info(id).await? else {
            return Ok(false);
        };
        let audit = self.link_audit(by, &link);
        let now_ms = self.0.clock.now_ms();
        let revoked = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let revoked = tx.revoke_link(id, now_ms).await?;
                    if revoked {
                        tx.insert_audit(&audit).await?;
                    }
                    Ok::<_, IdentityError>(revoked)
                })
            })
            .await?;
        self.0.links.clear();
        Ok(revoked)
    }

    fn link_audit(&self, by: &Caller, link: &LinkInfo) -> crate::catalog::NewAudit {
        let bucket = link.scope.bucket();
        let resource = match &link.scope {
            LinkScope::Object(_, key) => Resource::Object(bucket, key),
            LinkScope::Prefix(_, prefix) => Resource::Prefix(bucket, prefix),
        };
        let rule: Rule = by.may(Action::CreateLink, &resource).rule;
        let now_ms = self.0.clock.now_ms();
        let mut line = line(
            now_ms,
            by,
            Action::CreateLink,
            &resource,
            Outcome::Done,
            &rule,
        );
        line.resource = format!("{} link:{}", line.resource, link.id);
        line
    }
}

/// A row that this version cannot read opens nothing.
fn read(row: LinkRow) -> Option<LinkInfo> {
    let bucket = row.bucket.parse().ok()?;
    let path = String::from_utf8(row.key_prefix).ok()?;
    let scope = if row.is_prefix {
        LinkScope::Prefix(bucket, path)
    } else {
        LinkScope::Object(bucket, path.parse().ok()?)
    };
    Some(LinkInfo {
        id: row.id.parse().ok()?,
        scope,
        created_by: row.created_by,
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
    })
}
