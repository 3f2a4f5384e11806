//! Temporary keys.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::session::DEFAULT_EXPIRES_IN_S;
use nebula_api::{CreateSession, CreatedSession, Page, PageQuery, Session};

use super::keys::grant;
use super::{AdminParts, Json, Query};
use crate::http::Problem;
use crate::identity::{Caller, NewSession};

/// Whoever holds an access key may lend what it has.
pub(super) async fn create(
    State(parts): State<AdminParts>,
    caller: Caller,
    Json(body): Json<CreateSession>,
) -> Result<(StatusCode, axum::Json<CreatedSession>), Problem> {
    known(&caller)?;
    let scope = body.grants.iter().map(grant).collect::<Result<_, _>>()?;
    let new = NewSession {
        name: body.name,
        expires_in_s: body.expires_in_s.unwrap_or(DEFAULT_EXPIRES_IN_S),
        scope,
        policy: body.policy,
    };
    let created = parts.identity.create_session(&caller, new).await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(CreatedSession {
            id: created.id.to_string(),
            secret: created.secret.reveal().to_owned(),
            token: created.token.reveal().to_owned(),
            expires_at_ms: created.expires_ms,
        }),
    ))
}

/// Those that work: everybody's, or the caller's own.
pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Session>>, Problem> {
    known(&caller)?;
    let limit = query.limit_items();
    let after = query.cursor.as_deref().unwrap_or_default();
    let mut found = parts.identity.sessions(&caller, after, limit + 1).await?;
    let next = (found.len() > limit as usize).then(|| found[limit as usize - 1].id.to_string());
    found.truncate(limit as usize);
    let items = found.into_iter().map(|one| Session {
        id: one.id.to_string(),
        parent: one.parent,
        name: one.name,
        created_at_ms: one.created_ms,
        expires_at_ms: one.expires_ms,
        last_used_at_ms: one.last_used_ms,
    });
    Ok(axum::Json(Page {
        items: items.collect(),
        next,
    }))
}

/// Takes one back.
pub(super) async fn remove(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    known(&caller)?;
    let revoked = match id.parse() {
        Ok(id) => parts.identity.revoke_session(&caller, &id).await?,
        Err(_) => false,
    };
    if revoked {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(
        code::KEY_NOT_FOUND,
        "There is no such temporary key of yours.",
    )
    .hint("List them with: nebula keys ls --temporary"))
}

fn known(caller: &Caller) -> Result<(), Problem> {
    if caller.is_anonymous() {
        return Err(Problem::unauthenticated(
            "Temporary keys belong to access keys.",
        ));
    }
    Ok(())
}
