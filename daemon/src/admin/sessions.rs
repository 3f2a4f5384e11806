//! Temporary keys.

use axum::extract::State;
use axum::http::StatusCode;
use nebula_api::session::DEFAULT_EXPIRES_IN_S;
use nebula_api::{CreateSession, CreatedSession};

use super::keys::grant;
use super::{AdminParts, Json};
use crate::http::Problem;
use crate::identity::{Caller, NewSession};

/// Whoever holds an access key may lend what it has.
pub(super) async fn create(
    State(parts): State<AdminParts>,
    caller: Caller,
    Json(body): Json<CreateSession>,
) -> Result<(StatusCode, axum::Json<CreatedSession>), Problem> {
    if caller.is_anonymous() {
        return Err(Problem::unauthenticated(
            "A temporary key is lent by an access key.",
        ));
    }
    let scope = body.grants.iter().map(grant).collect::<Result<_, _>>()?;
    let new = NewSession {
        name: body.name,
        expires_in_s: body.expires_in_s.unwrap_or(DEFAULT_EXPIRES_IN_S),
        scope,
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
