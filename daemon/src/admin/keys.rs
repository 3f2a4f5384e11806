//! Access keys.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{AccessKey, CreateKey, CreatedKey, Page, PageQuery};

use super::{AdminParts, Json, Query};
use crate::http::{Problem, permit, require};
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
    Ok(axum::Json(Page {
        items: keys.iter().map(wire).collect(),
        next,
    }))
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
    let grants = body.grants.iter().map(grant).collect::<Result<_, _>>()?;
    let new = NewKey {
        name: body.name,
        grants,
        expires_in_s: body.expires_in_s,
    };
    let created = parts.identity.create_key(&caller, new).await?;
    let secret = created.secret.reveal().to_owned();
    Ok((
        StatusCode::CREATED,
        axum::Json(CreatedKey {
            key: wire(&created.key),
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
    let missing = || {
        Problem::not_found(code::KEY_NOT_FOUND, "There is no such access key.")
            .hint("List them with: nebula keys list")
    };
    let key = id.parse().map_err(|_| missing())?;
    if parts.identity.revoke_key(&caller, &key).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing())
    }
}

fn grant(wire: &nebula_api::Grant) -> Result<Grant, Problem> {
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
    Ok(Grant::new(role, bucket))
}

fn wire(key: &KeyInfo) -> AccessKey {
    let grants = key.grants.iter().flat_map(|grant| {
        let role = grant.role.map_or(nebula_api::Role::None, wire_role);
        grant.buckets.iter().map(move |pattern| nebula_api::Grant {
            bucket: pattern.as_str().to_owned(),
            role,
        })
    });
    AccessKey {
        id: key.id.to_string(),
        name: key.name.clone(),
        root: key.root,
        grants: grants.collect(),
        created_at_ms: key.created_ms,
        expires_at_ms: key.expires_ms,
        last_used_at_ms: key.last_used_ms,
    }
}

pub(super) fn wire_role(role: Role) -> nebula_api::Role {
    match role {
        Role::Own => nebula_api::Role::Own,
        Role::Read => nebula_api::Role::Read,
        Role::Write => nebula_api::Role::Write,
        Role::Admin => nebula_api::Role::Admin,
    }
}
