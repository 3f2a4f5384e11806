//! Signed links.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{CreateLink, Link, Page, PageQuery, Urls, routes};

use super::{AdminParts, Json, Query, assets};
use crate::http::{Problem, permit, require};
use crate::identity::{Action, Caller, LinkInfo, LinkScope, Resource};
use crate::kernel::{BucketName, ObjectKey};
use crate::media;

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Link>>, Problem> {
    require(&caller, Action::ManageKeys, &Resource::Node)?;
    let limit = query.limit_items();
    let mut links = parts
        .identity
        .links(query.cursor.as_deref().unwrap_or_default(), limit + 1)
        .await?;
    let next = (links.len() > limit as usize).then(|| links[limit as usize - 1].id.to_string());
    links.truncate(limit as usize);
    Ok(axum::Json(Page {
        items: links.iter().map(|link| wire(link, None)).collect(),
        next,
    }))
}

pub(super) async fn create(
    State(parts): State<AdminParts>,
    caller: Caller,
    Json(body): Json<CreateLink>,
) -> Result<(StatusCode, axum::Json<Link>), Problem> {
    let bucket: BucketName = body.bucket.parse()?;
    let (scope, urls) = match (&body.key, &body.prefix) {
        (Some(key), None) => {
            let key: ObjectKey = key.parse()?;
            let resource = Resource::Object(&bucket, &key);
            permit(&parts.identity, &caller, Action::CreateLink, &resource).await?;
            let playable = match parts.store.head(&bucket, &key, None).await {
                Ok(object) => assets::plays(&parts, &object).await?,
                // What is still arriving can be read and played under the address it will have.
                Err(error) => match parts.store.arriving(&bucket, &key).await? {
                    Some(upload) => media::may_be_played(upload.headers(), upload.key()),
                    None => return Err(error.into()),
                },
            };
            (
                LinkScope::Object(bucket.clone(), key.clone()),
                Some((key, playable)),
            )
        }
        (None, Some(prefix)) => {
            let resource = Resource::Prefix(&bucket, prefix);
            permit(&parts.identity, &caller, Action::CreateLink, &resource).await?;
            parts.store.bucket(&bucket).await?;
            (LinkScope::Prefix(bucket.clone(), prefix.clone()), None)
        }
        _ => {
            return Err(Problem::invalid(
                "A link is to one `key` or to one `prefix`.",
            ));
        }
    };
    let created = parts
        .identity
        .create_link(&caller, scope, body.expires_in_s)
        .await?;
    let token = created.token.reveal();
    let urls = match urls {
        Some((key, playable)) => Urls {
            file: routes::link_file(token, bucket.as_str(), key.as_str()),
            hls: playable.then(|| routes::link_hls_master(token, bucket.as_str(), key.as_str())),
            poster: None,
        },
        None => Urls {
            file: routes::link_file(
                token,
                bucket.as_str(),
                body.prefix.as_deref().unwrap_or_default(),
            ),
            hls: None,
            poster: None,
        },
    };
    Ok((
        StatusCode::CREATED,
        axum::Json(wire(&created.link, Some(urls))),
    ))
}

pub(super) async fn delete(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let missing = || Problem::not_found(code::LINK_NOT_FOUND, "There is no such link.");
    let id = id.parse().map_err(|_| missing())?;
    let link = parts.identity.link_info(id).await?.ok_or_else(missing)?;
    if link.created_by != caller.actor().to_string() {
        permit(
            &parts.identity,
            &caller,
            Action::ManageKeys,
            &Resource::Node,
        )
        .await?;
    }
    if parts.identity.revoke_link(&caller, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(missing())
    }
}

fn wire(link: &LinkInfo, urls: Option<Urls>) -> Link {
    let (key, prefix) = match &link.scope {
        LinkScope::Object(_, key) => (Some(key.to_string()), None),
        LinkScope::Prefix(_, prefix) => (None, Some(prefix.clone())),
    };
    Link {
        id: link.id.to_string(),
        bucket: link.scope.bucket().to_string(),
        key,
        prefix,
        created_at_ms: link.created_ms,
        expires_at_ms: link.expires_ms,
        created_by: Some(link.created_by.clone()),
        urls,
    }
}
