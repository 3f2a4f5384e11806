//! Access keys.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{AccessKey, CreateKey, CreatedKey, Page, PageQuery, PatchKey};

use super::{AdminParts, Json, Query, usage};
use crate::http::{Problem, audited, permit, require};
use crate::identity::{Action, BucketPattern, Caller, Grant, KeyInfo, NewKey, Resource, Role};

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<AccessKey>>, Problem> {
    require(&caller, Action::ManageKeys, &Resource::Node)?;
    let limit = query.limit_items();
    let mut keys = parts
        .identity
        .keys(query.cursor.as_deref().unwrap_or_default(), limit + 1)
        .await?;
    let next = (keys.len() > limit as usize).then(|| keys[limit as usize - 1].id.to_string());
    keys.truncate(limit as usize);
    let mut items = Vec::with_capacity(keys.len());
    for key in &keys {
        items.push(wire(&parts, key).await?);
    }
    Ok(axum::Json(Page { items, next }))
}

pub(super) async fn create(
    State(parts): State<AdminParts>,
    caller: Caller,
    Json(body): Json<CreateKey>,
) -> Result<(StatusCode, axum::Json<CreatedKey>), Problem> {
    permit(
        &parts.identity,
        &caller,
        Action::ManageKeys,
        &Resource::Node,
    )
    .await?;
    let mut grants: Vec<_> = body.grants.iter().map(grant).collect::<Result<_, _>>()?;
    if body.worker {
        grants.push(Grant {
            worker: true,
            ..Grant::default()
        });
    }
    let new = NewKey {
        name: body.name,
        grants,
        expires_in_s: body.expires_in_s,
    };
    let created = parts.identity.create_key(&caller, new).await?;
    if !body.quota.is_unbounded() {
        let quota = usage::heard(body.quota);
        let owner = created.key.id.as_str();
        parts.store.set_owner_quota(owner, quota).await?;
    }
    let secret = created.secret.reveal().to_owned();
    Ok((
        StatusCode::CREATED,
        axum::Json(CreatedKey {
            key: wire(&parts, &created.key).await?,
            secret,
        }),
    ))
}

pub(super) async fn delete(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    permit(
        &parts.identity,
        &caller,
        Action::ManageKeys,
        &Resource::Node,
    )
    .await?;
    let key = id.parse().map_err(|_| missing())?;
    if parts.identity.revoke_key(&caller, &key).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing())
    }
}

/// Switches a key off or on, or bounds what it may store.
pub(super) async fn patch(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<PatchKey>,
) -> Result<axum::Json<AccessKey>, Problem> {
    let id = id.parse().map_err(|_| missing())?;
    let work = async {
        let key = parts.identity.key(&id).await?.ok_or_else(missing)?;
        if let Some(disabled) = body.disabled {
            if key.root {
                return Err(Problem::invalid("the root key cannot be switched off"));
            }
            parts.identity.disable_key(&caller, &id, disabled).await?;
        }
        if let Some(quota) = body.quota {
            let quota = usage::heard(quota);
            parts.store.set_owner_quota(id.as_str(), quota).await?;
        }
        let key = parts.identity.key(&id).await?.ok_or_else(missing)?;
        wire(&parts, &key).await
    };
    let key = audited(
        &parts.identity,
        &caller,
        Action::ManageKeys,
        &Resource::Node,
        work,
    )
    .await?;
    Ok(axum::Json(key))
}

fn missing() -> Problem {
    Problem::not_found(code::KEY_NOT_FOUND, "There is no such access key.")
        .hint("List them with: nebula keys ls")
}

pub(super) fn grant(wire: &nebula_api::Grant) -> Result<Grant, Problem> {
    let bucket: BucketPattern = wire.bucket.parse().map_err(Problem::invalid)?;
    let role = match wire.role {
        nebula_api::Role::Own => Role::Own,
        nebula_api::Role::Read => Role::Read,
        nebula_api::Role::Write => Role::Write,
        nebula_api::Role::Admin => Role::Admin,
        nebula_api::Role::None => {
            return Err(Problem::invalid(
                "a grant's role is `own`, `read`, `write` or `admin`",
            ));
        }
    };
    Ok(Grant {
        prefixes: wire.prefixes.clone(),
        ..Grant::new(role, bucket)
    })
}

async fn wire(parts: &AdminParts, key: &KeyInfo) -> Result<AccessKey, Problem> {
    let held = parts.store.owner_usage(key.id.as_str()).await?;
    let grants = key.grants.iter().flat_map(|grant| {
        let role = grant.role.map_or(nebula_api::Role::None, wire_role);
        grant.buckets.iter().map(move |pattern| nebula_api::Grant {
            bucket: pattern.as_str().to_owned(),
            role,
            prefixes: grant.prefixes.clone(),
        })
    });
    Ok(AccessKey {
        id: key.id.to_string(),
        name: key.name.clone(),
        root: key.root,
        disabled: key.disabled,
        grants: grants.collect(),
        worker: key.grants.iter().any(|grant| grant.worker),
        usage: usage::held(held.usage),
        quota: usage::told(held.quota),
        created_at_ms: key.created_ms,
        expires_at_ms: key.expires_ms,
        last_used_at_ms: key.last_used_ms,
    })
}

pub(super) fn wire_role(role: Role) -> nebula_api::Role {
    match role {
        Role::Own => nebula_api::Role::Own,
        Role::Read => nebula_api::Role::Read,
        Role::Write => nebula_api::Role::Write,
        Role::Admin => nebula_api::Role::Admin,
    }
}
