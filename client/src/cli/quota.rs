//! How much buckets and keys hold, and may hold.

use super::{
    Context,
    args::{Bound, QuotaArgs},
};
use crate::term::{
    human,
    table::{Column, Table},
    text::Text,
    theme::{BAD, BOLD, DIM, FOLDER, PLAIN},
};
use nebula_client::{
    Client, Error, Exit,
    api::{PatchBucket, PatchKey, Problem, Quota, Usage, problem::code},
};
use serde_json::json;

/// Shows all, or shows and changes one.
pub async fn run(cx: &Context, args: &QuotaArgs) -> Result<Exit, Error> {
    let client = cx.client()?;
    match (&args.bucket, &args.key) {
        (Some(bucket), _) => {
            let result = of_bucket(cx, &client, bucket, args).await;
            cx.or_meant(&client, bucket, result).await
        }
        (None, Some(key)) => of_key(cx, &client, key, args).await,
        (None, None) if args.size.is_none() && args.objects.is_none() => all(cx, &client).await,
        (None, None) => Err(Error::Usage {
            message: "It is not said whose quota that is.".into(),
            hint: Some("nebula quota BUCKET --size 10G".into()),
        }),
    }
}

async fn of_bucket(
    cx: &Context,
    client: &Client,
    name: &str,
    args: &QuotaArgs,
) -> Result<Exit, Error> {
    let bucket = client.bucket(name).await?.ok_or_else(|| {
        let title = format!("There is no bucket '{name}'");
        Error::NotFound(Box::new(Problem::new(404, code::BUCKET_NOT_FOUND, &title)))
    })?;
    let usage = Usage {
        size_bytes: bucket.size_bytes,
        objects: bucket.objects,
    };
    let Some(quota) = changed(bucket.quota, args) else {
        return Ok(show(cx, &format!("{name}:"), usage, bucket.quota));
    };
    let patch = PatchBucket {
        quota: Some(quota),
        ..PatchBucket::default()
    };
    let bucket = client.patch_bucket(name, &patch).await?;
    Ok(show(cx, &format!("{name}:"), usage, bucket.quota))
}

async fn of_key(cx: &Context, client: &Client, id: &str, args: &QuotaArgs) -> Result<Exit, Error> {
    let keys = client.all_keys().await?;
    let key = keys.into_iter().find(|key| key.id == id).ok_or_else(|| {
        let title = format!("There is no access key '{id}'");
        let problem = Problem::new(404, code::KEY_NOT_FOUND, &title).hint("nebula keys ls");
        Error::NotFound(Box::new(problem))
    })?;
    let Some(quota) = changed(key.quota, args) else {
        return Ok(show(cx, id, key.usage, key.quota));
    };
    let patch = PatchKey {
        quota: Some(quota),
        ..PatchKey::default()
    };
    let key = client.patch_key(id, &patch).await?;
    Ok(show(cx, id, key.usage, key.quota))
}

/// The quota as the arguments change it; `None` when they change nothing.
fn changed(old: Quota, args: &QuotaArgs) -> Option<Quota> {
    let bound = |old, new: Option<Bound>| new.map_or(old, |Bound(n)| n);
    (args.size.is_some() || args.objects.is_some()).then(|| Quota {
        size_bytes: bound(old.size_bytes, args.size),
        objects: bound(old.objects, args.objects),
    })
}

fn show(cx: &Context, of: &str, usage: Usage, quota: Quota) -> Exit {
    let value = json!({ "of": of, "usage": usage, "quota": quota });
    let line = Text::styled(FOLDER, of)
        .and(PLAIN, " holds ")
        .joined(size(usage, quota))
        .and(PLAIN, " in ")
        .joined(objects(usage, quota))
        .and(PLAIN, " objects");
    cx.done(&value, line);
    Exit::Ok
}

/// What is held, of what may be.
fn of(held: String, bound: Option<String>, full: bool) -> Text {
    let style = if full { BAD } else { PLAIN };
    let text = Text::styled(style, held);
    match bound {
        None => text,
        Some(bound) => text.and(DIM, format!(" of {bound}")),
    }
}

/// Bytes, of the bytes that may be.
pub fn size(usage: Usage, quota: Quota) -> Text {
    let full = quota.size_bytes.is_some_and(|n| usage.size_bytes >= n);
    let bound = quota.size_bytes.map(human::size);
    of(human::size(usage.size_bytes), bound, full)
}

/// Objects, of the objects that may be.
pub fn objects(usage: Usage, quota: Quota) -> Text {
    let full = quota.objects.is_some_and(|n| usage.objects >= n);
    let bound = quota.objects.map(human::thousands);
    of(human::thousands(usage.objects), bound, full)
}

async fn all(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let buckets = client.all_buckets().await?;
    // Keys are for those who manage them; a bucket's owner still sees the buckets.
    let keys = match client.all_keys().await {
        Err(Error::Refused(_)) => Vec::new(),
        other => other?,
    };
    let buckets = buckets.into_iter().map(|bucket| {
        let usage = Usage {
            size_bytes: bucket.size_bytes,
            objects: bucket.objects,
        };
        let name = format!("{}:", bucket.name);
        (name, String::new(), usage, bucket.quota)
    });
    let keys = keys
        .into_iter()
        .map(|key| (key.id, key.name, key.usage, key.quota));
    let rows: Vec<_> = buckets.chain(keys).collect();
    if cx.global.json {
        for (of, _, usage, quota) in &rows {
            super::print_json(&json!({ "of": of, "usage": usage, "quota": quota }));
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Gives("Bucket or key"),
        Column::Gives("Name"),
        Column::Right("Size"),
        Column::Right("Objects"),
    ]);
    for (of, name, usage, quota) in rows {
        let style = if of.ends_with(':') { FOLDER } else { BOLD };
        table.row([
            Text::styled(style, of),
            Text::plain(name),
            size(usage, quota),
            objects(usage, quota),
        ]);
    }
    table.print("Quotas", "");
    cx.next("bound one", "nebula quota BUCKET --size 10G");
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_not_named_stays() {
        let old = Quota {
            size_bytes: Some(5),
            objects: Some(7),
        };
        let args = |size, objects| QuotaArgs {
            bucket: None,
            key: None,
            size,
            objects,
        };
        assert_eq!(changed(old, &args(None, None)), None);
        let new = changed(old, &args(Some(Bound(None)), None));
        assert_eq!(
            new.map(|q| (q.size_bytes, q.objects)),
            Some((None, Some(7)))
        );
        let new = changed(old, &args(None, Some(Bound(Some(1)))));
        assert_eq!(
            new.map(|q| (q.size_bytes, q.objects)),
            Some((Some(5), Some(1)))
        );
    }
}
