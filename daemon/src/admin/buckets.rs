//! Buckets.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::{Bucket, CreateBucket, Page, PageQuery, PatchBucket};

use super::{AdminParts, Json, Query};
use crate::catalog::{BucketRow, Durability, Versioning};
use crate::http::{Problem, audited, require, require_here};
use crate::identity::{Action, Caller, Circumstances, Resource};
use crate::kernel::BucketName;
use crate::store::Quota;

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Bucket>>, Problem> {
    require(&caller, Action::ListBuckets, &Resource::Node)?;
    let after = query.cursor.clone().unwrap_or_default();
    let limit = query.limit_items() as usize;
    let mut rows: Vec<BucketRow> = Vec::new();
    for row in parts.store.buckets().await? {
        let name: BucketName = row.name.parse()?;
        if row.name > after
            && caller
                .may_here(
                    Action::ListBuckets,
                    &Resource::Bucket(&name),
                    &Circumstances {
                        rules: Some(&parts.identity.rules(&row)),
                        s3: None,
                    },
                )
                .allow
        {
            rows.push(row);
        }
    }
    let next = (rows.len() > limit).then(|| rows[limit - 1].name.clone());
    rows.truncate(limit);
    Ok(axum::Json(Page {
        items: rows.iter().map(wire).collect(),
        next,
    }))
}

pub(super) async fn create(
    State(parts): State<AdminParts>,
    caller: Caller,
    Json(body): Json<CreateBucket>,
) -> Result<(StatusCode, axum::Json<Bucket>), Problem> {
    let name: BucketName = body.name.parse()?;
    let patch = PatchBucket {
        versioning: body.versioning,
        durability: body.durability,
        quota: None,
    };
    let work = async {
        let (versioning, durability) = settings(&patch)?;
        let owner = caller.actor().to_string();
        if body.object_lock {
            let settings = serde_json::Map::new();
            let store = &parts.store;
            store.create_locking_bucket(&name, &owner, settings).await?;
        } else {
            parts.store.create_bucket(&name, &owner).await?;
        }
        apply(&parts, &name, versioning, durability).await?;
        Ok(wire(&parts.store.bucket_with_usage(&name).await?))
    };
    let resource = Resource::Bucket(&name);
    let bucket = audited(
        &parts.identity,
        &caller,
        Action::CreateBucket,
        &resource,
        work,
    )
    .await?;
    Ok((StatusCode::CREATED, axum::Json(bucket)))
}

pub(super) async fn get(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<axum::Json<Bucket>, Problem> {
    let name: BucketName = name.parse()?;
    let resource = Resource::Bucket(&name);
    require_here(&parts.identity, &caller, Action::ListBuckets, &resource).await?;
    Ok(axum::Json(wire(
        &parts.store.bucket_with_usage(&name).await?,
    )))
}

pub(super) async fn patch(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<PatchBucket>,
) -> Result<axum::Json<Bucket>, Problem> {
    let name: BucketName = name.parse()?;
    let work = async {
        let (versioning, durability) = settings(&body)?;
        apply(&parts, &name, versioning, durability).await?;
        if let Some(quota) = body.quota {
            let quota = super::usage::heard(quota);
            parts.store.set_bucket_quota(&name, quota).await?;
        }
        Ok(wire(&parts.store.bucket_with_usage(&name).await?))
    };
    let resource = Resource::Bucket(&name);
    let bucket = audited(
        &parts.identity,
        &caller,
        Action::ConfigureBucket,
        &resource,
        work,
    )
    .await?;
    Ok(axum::Json(bucket))
}

pub(super) async fn delete(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let name: BucketName = name.parse()?;
    let work = async { Ok(parts.store.delete_bucket(&name).await?) };
    let resource = Resource::Bucket(&name);
    audited(
        &parts.identity,
        &caller,
        Action::DeleteBucket,
        &resource,
        work,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a request asks for, checked before anything is changed.
fn settings(body: &PatchBucket) -> Result<(Option<Versioning>, Option<Durability>), Problem> {
    let versioning = match body.versioning {
        None | Some(nebula_api::Versioning::Off) => None,
        Some(nebula_api::Versioning::Enabled) => Some(Versioning::Enabled),
        Some(nebula_api::Versioning::Suspended) => Some(Versioning::Suspended),
        Some(nebula_api::Versioning::Other) => {
            return Err(Problem::invalid(
                "versioning is `off`, `enabled` or `suspended`",
            ));
        }
    };
    let durability = match body.durability {
        None => None,
        Some(nebula_api::Durability::Strict) => Some(Durability::Strict),
        Some(nebula_api::Durability::Relaxed) => Some(Durability::Relaxed),
        Some(nebula_api::Durability::Other) => {
            return Err(Problem::invalid("durability is `strict` or `relaxed`"));
        }
    };
    Ok((versioning, durability))
}

async fn apply(
    parts: &AdminParts,
    name: &BucketName,
    versioning: Option<Versioning>,
    durability: Option<Durability>,
) -> Result<(), Problem> {
    if let Some(versioning) = versioning {
        parts.store.set_versioning(name, versioning).await?;
    }
    if let Some(durability) = durability {
        parts.store.set_durability(name, durability).await?;
    }
    Ok(())
}

fn wire(row: &BucketRow) -> Bucket {
    Bucket {
        name: row.name.clone(),
        created_at_ms: row.created_ms,
        versioning: match row.versioning() {
            Versioning::Off => nebula_api::Versioning::Off,
            Versioning::Enabled => nebula_api::Versioning::Enabled,
            Versioning::Suspended => nebula_api::Versioning::Suspended,
        },
        durability: match row.durability() {
            Durability::Strict => nebula_api::Durability::Strict,
            Durability::Relaxed => nebula_api::Durability::Relaxed,
        },
        objects: row.usage_objects.max(0) as u64,
        size_bytes: row.usage_bytes.max(0) as u64,
        quota: super::usage::told(Quota::of(row)),
    }
}
