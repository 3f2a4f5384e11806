//! Making and removing buckets.

use super::{Context, args::Mb, rm};
use crate::term::{
    human,
    text::Text,
    theme::{DIM, FOLDER, PLAIN},
};
use nebula_client::{
    Error, Exit, Remote,
    api::{CreateBucket, Durability, Problem, Versioning, problem::code},
};
use serde_json::json;

/// Makes a bucket.
pub async fn make(cx: &Context, args: &Mb) -> Result<Exit, Error> {
    let client = cx.client()?;
    let bucket = client
        .create_bucket(&CreateBucket {
            name: args.bucket.clone(),
            versioning: args.versioning.then_some(Versioning::Enabled),
            durability: args.relaxed.then_some(Durability::Relaxed),
            object_lock: args.lock,
        })
        .await
        .map_err(|e| exists(e, &args.bucket))?;
    let line = Text::plain("Made ").and(FOLDER, format!("{}:", bucket.name));
    cx.done(&bucket, line);
    cx.next("next", &format!("nebula push FILE {}:", bucket.name));
    Ok(Exit::Ok)
}

fn exists(error: Error, bucket: &str) -> Error {
    match error {
        Error::Conflict(p) if p.code == code::BUCKET_EXISTS => Error::Conflict(Box::new(
            Problem::new(409, &p.code, &format!("{bucket}: is there already"))
                .hint(format!("nebula ls {bucket}:")),
        )),
        other => other,
    }
}

/// Removes a bucket, with what is in it when forced.
pub async fn remove(cx: &Context, bucket: &str, force: bool) -> Result<Exit, Error> {
    let client = cx.client()?;
    let mut deleted = 0;
    if force {
        let all = Remote {
            bucket: bucket.to_owned(),
            key: String::new(),
        };
        let versions = true;
        let result = rm::delete_below(&client, &all, versions, |_| {}).await;
        deleted = cx.or_meant(&client, bucket, result).await?;
    }
    let result = match client.delete_bucket(bucket).await {
        Err(Error::Conflict(p)) if p.code == code::BUCKET_NOT_EMPTY => {
            Err(Error::Conflict(Box::new(
                Problem::new(409, &p.code, &format!("{bucket}: is not empty")).hint(format!(
                    "nebula rb {bucket} --force deletes everything in it."
                )),
            )))
        }
        other => other,
    };
    cx.or_meant(&client, bucket, result).await?;
    let mut line = Text::plain("Removed ").and(FOLDER, format!("{bucket}:"));
    if deleted > 0 {
        let what = human::count(deleted, "object");
        line = line.and(PLAIN, " ").and(DIM, format!("with {what}"));
    }
    cx.done(&json!({"removed": bucket, "objects": deleted}), line);
    Ok(Exit::Ok)
}
