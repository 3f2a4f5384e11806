//! Where people stopped watching.

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{Page, Position, PositionsQuery, PutPosition, Urls, routes};

use super::{AdminParts, Json, Query};
use crate::catalog::{NewPosition, PositionRow};
use crate::http::{Problem, path, require_here};
use crate::identity::{Action, Actor, Caller, Resource};
use crate::kernel::ContentId;
use crate::media::naming;
use crate::store::{Object, StoreError};

/// Films that are remembered for one identity; the one that was watched longest ago gives way.
const KEPT_MAX: i64 = 5_000;
/// Rows looked at for one page of the unfinished.
const LOOKED_AT_MAX: i64 = 1_000;
/// A film is begun behind its first so many parts of a thousand, and watched before its last fifty.
const BEGUN_PERMILLE: u64 = 10;
const WATCHED_PERMILLE: u64 = 950;

/// Where a caller stopped in a content; nobody who has no name is remembered.
pub(super) async fn of(
    parts: &AdminParts,
    caller: &Caller,
    content: ContentId,
) -> Result<Option<u64>, Problem> {
    let Ok(actor) = named(caller) else {
        return Ok(None);
    };
    let row = parts.store.catalog().position(&actor, content).await?;
    Ok(row.map(|row| row.position_ms.unsigned_abs()))
}

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<PositionsQuery>,
) -> Result<axum::Json<Page<Position>>, Problem> {
    let actor = named(&caller)?;
    let before_ms = match query.cursor.as_deref().map(str::parse::<i64>) {
        None => i64::MAX,
        Some(Ok(before_ms)) => before_ms,
        Some(Err(_)) => {
            return Err(Problem::invalid(
                "The cursor is not one that a listing gave.",
            ));
        }
    };
    let limit = query.limit_items() as usize;
    let catalog = parts.store.catalog();
    let rows = catalog.positions(&actor, before_ms, LOOKED_AT_MAX).await?;
    let mut items: Vec<Position> = Vec::new();
    let mut next = (rows.len() as i64 == LOOKED_AT_MAX)
        .then(|| rows.last().map(|row| row.updated_ms.to_string()))
        .flatten();
    for row in &rows {
        if items.len() == limit {
            next = items.last().map(|last| last.updated_at_ms.to_string());
            break;
        }
        let (position_ms, duration_ms) = times(row);
        let begun = position_ms * 1000 >= duration_ms * BEGUN_PERMILLE;
        if query.unfinished && (!begun || is_watched(position_ms, duration_ms)) {
            continue;
        }
        if let Some(object) = readable(&parts, &caller, row).await? {
            items.push(wire(&object, row));
        }
    }
    Ok(axum::Json(Page { items, next }))
}

pub(super) async fn get(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
) -> Result<axum::Json<Position>, Problem> {
    let actor = named(&caller)?;
    let object = object(&parts, &caller, &uri).await?;
    let catalog = parts.store.catalog();
    let row = catalog.position(&actor, object.content_id).await?;
    let row = row.ok_or_else(not_watched)?;
    Ok(axum::Json(wire(&object, &row)))
}

pub(super) async fn put(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
    Json(body): Json<PutPosition>,
) -> Result<axum::Json<Position>, Problem> {
    let actor = named(&caller)?;
    let object = object(&parts, &caller, &uri).await?;
    let catalog = parts.store.catalog();
    let asset = catalog.asset(object.content_id).await?;
    let duration_ms = asset.and_then(|asset| asset.duration_ms);
    let Some(duration_ms) = duration_ms.filter(|duration_ms| *duration_ms > 0) else {
        return Err(Problem::not_found(
            code::ASSET_NOT_FOUND,
            "The object is no film, or its length is not known yet.",
        ));
    };
    let new = NewPosition {
        actor: actor.clone(),
        content: object.content_id,
        bucket: object.bucket.to_string(),
        key: object.key.as_str().as_bytes().to_vec(),
        position_ms: i64::try_from(body.position_ms).map_or(duration_ms, |at| at.min(duration_ms)),
        duration_ms,
        now_ms: parts.store.clock().now_ms(),
    };
    catalog
        .write(move |tx| {
            Box::pin(async move {
                tx.put_position(&new, KEPT_MAX).await?;
                Ok::<_, StoreError>(())
            })
        })
        .await?;
    let row = catalog.position(&actor, object.content_id).await?;
    let row = row.ok_or_else(not_watched)?;
    Ok(axum::Json(wire(&object, &row)))
}

pub(super) async fn delete(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
) -> Result<StatusCode, Problem> {
    let actor = named(&caller)?;
    let content = object(&parts, &caller, &uri).await?.content_id;
    let deleted = parts.store.catalog().write(move |tx| {
        Box::pin(async move { Ok::<_, StoreError>(tx.delete_position(&actor, content).await?) })
    });
    if deleted.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_watched())
    }
}

/// The name under which somebody is remembered.
fn named(caller: &Caller) -> Result<String, Problem> {
    match caller.actor() {
        Actor::Anonymous | Actor::Link { .. } => Err(Problem::unauthenticated(
            "Positions are remembered for people who say who they are.",
        )),
        actor => Ok(actor.to_string()),
    }
}

async fn object(parts: &AdminParts, caller: &Caller, uri: &OriginalUri) -> Result<Object, Problem> {
    let rest = path::behind(uri.path(), &format!("{}/", routes::POSITIONS)).unwrap_or_default();
    let (bucket, key) = path::bucket_and_key(rest)?;
    let resource = Resource::Object(&bucket, &key);
    require_here(&parts.identity, caller, Action::ReadObject, &resource).await?;
    Ok(parts.store.head(&bucket, &key, None).await?)
}

/// The object under its old name, or another with the same content, if the caller may read it.
async fn readable(
    parts: &AdminParts,
    caller: &Caller,
    row: &PositionRow,
) -> Result<Option<Object>, Problem> {
    let content = row.content()?;
    let named = match (row.bucket.parse(), row.key().parse()) {
        (Ok(bucket), Ok(key)) => parts.store.head(&bucket, &key, None).await.ok(),
        _ => None,
    };
    let object = match named.filter(|object| object.content_id == content) {
        Some(object) => Some(object),
        None => parts.store.object_with_content(content).await?,
    };
    let Some(object) = object else {
        return Ok(None);
    };
    let resource = Resource::Object(&object.bucket, &object.key);
    let read = parts
        .identity
        .decide(caller, Action::ReadObject, &resource)
        .await?;
    Ok(read.allow.then_some(object))
}

fn times(row: &PositionRow) -> (u64, u64) {
    (
        row.position_ms.unsigned_abs(),
        row.duration_ms.unsigned_abs(),
    )
}

fn is_watched(position_ms: u64, duration_ms: u64) -> bool {
    position_ms * 1000 >= duration_ms * WATCHED_PERMILLE
}

fn wire(object: &Object, row: &PositionRow) -> Position {
    let (bucket, key) = (object.bucket.as_str(), object.key.as_str());
    let (position_ms, duration_ms) = times(row);
    Position {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        title: naming::read(key).title,
        position_ms,
        duration_ms,
        watched: is_watched(position_ms, duration_ms),
        urls: Urls {
            file: routes::file(bucket, key),
            hls: Some(routes::hls_master(bucket, key)),
            poster: Some(routes::poster(bucket, key)),
        },
        updated_at_ms: row.updated_ms,
    }
}

fn not_watched() -> Problem {
    Problem::not_found(
        code::POSITION_NOT_FOUND,
        "You have not watched this film, or its position was forgotten.",
    )
}
