//! Deleting objects.

use super::{Context, args::Rm};
use crate::{
    failed_line,
    term::{human, text::Text, theme::PLAIN},
};
use futures::{StreamExt as _, TryStreamExt as _};
use nebula_client::{
    Client, Error, Exit, Remote,
    api::{MAX_PAGE_ITEMS, Object, ObjectsQuery, Problem, problem::code},
};
use serde_json::json;

/// How many deletes are under way at once.
const PARALLEL: usize = 8;
/// How many pages in a row may bring nothing new before a deletion gives up.
const MAX_PAGES: usize = 100_000;

/// Deletes each of the objects, or everything below them.
pub async fn run(cx: &Context, args: &Rm) -> Result<Exit, Error> {
    let client = cx.client()?;
    let mut failures = Vec::new();
    for remote in &args.objects {
        let result = if args.recursive {
            below(cx, &client, remote).await
        } else {
            one(cx, &client, remote, args.version.as_deref()).await
        };
        if let Err(e) = cx.or_meant(&client, &remote.bucket, result).await {
            failures.push((remote, e));
        }
    }
    finish(failures, args.objects.len())
}

/// One failure of one is that failure; some of several is partly done.
fn finish(mut failures: Vec<(&Remote, Error)>, of: usize) -> Result<Exit, Error> {
    if of == 1
        && let Some((_, error)) = failures.pop()
    {
        return Err(error);
    }
    for (remote, error) in &failures {
        anstream::eprintln!("{}", failed_line(&remote.to_string(), error));
    }
    match failures.pop() {
        None => Ok(Exit::Ok),
        Some((_, error)) if failures.len() + 1 == of => Ok(error.exit()),
        Some(_) => Ok(Exit::Partly),
    }
}

async fn one(
    cx: &Context,
    client: &Client,
    remote: &Remote,
    version: Option<&str>,
) -> Result<(), Error> {
    if remote.is_folder() {
        return Err(Error::Usage {
            message: format!("{remote} is not one object."),
            hint: Some(format!("nebula rm {remote} --recursive")),
        });
    }
    client
        .delete_object(&remote.bucket, &remote.key, version)
        .await
        .map_err(|e| match e {
            Error::NotFound(p) if p.code == code::OBJECT_NOT_FOUND => nothing_at(remote),
            other => other,
        })?;
    cx.done(
        &json!({"deleted": remote.to_string(), "version": version}),
        Text::plain(format!("Deleted {remote}")),
    );
    Ok(())
}

async fn below(cx: &Context, client: &Client, remote: &Remote) -> Result<(), Error> {
    let deleted = delete_below(client, remote, false, |object| {
        if cx.global.json {
            let deleted = format!("{}:{}", object.bucket, object.key);
            super::print_json(&json!({"deleted": deleted}));
        }
    })
    .await?;
    if deleted == 0 {
        return Err(nothing_at(remote));
    }
    if !cx.global.json && !cx.global.quiet {
        let what = human::count(deleted, "object");
        let line = Text::styled(PLAIN, format!("Deleted {what} at {remote}"));
        anstream::println!("{}", super::tick(line));
    }
    Ok(())
}

/// Deletes everything whose key starts like this; with `versions` for good, markers included.
pub async fn delete_below(
    client: &Client,
    remote: &Remote,
    versions: bool,
    each: impl Fn(&Object),
) -> Result<u64, Error> {
    let mut query = ObjectsQuery {
        prefix: (!remote.key.is_empty()).then(|| remote.key.clone()),
        limit: Some(MAX_PAGE_ITEMS),
        versions,
        ..ObjectsQuery::default()
    };
    let mut deleted = 0;
    for _ in 0..MAX_PAGES {
        let page = client.objects(&remote.bucket, &query).await?;
        let each = &each;
        deleted += futures::stream::iter(&page.items)
            .map(async |object| {
                let version = object.version.as_deref().filter(|_| versions);
                let deleted = client.delete_object(&object.bucket, &object.key, version);
                match deleted.await {
                    // Someone else was faster, or the two met.
                    Ok(()) | Err(Error::NotFound(_)) => {
                        each(object);
                        Ok::<u64, Error>(1)
                    }
                    Err(e) => Err(e),
                }
            })
            .buffer_unordered(PARALLEL)
            .try_fold(0, async |sum, one| Ok(sum + one))
            .await?;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    Ok(deleted)
}

/// There is no such object.
pub fn nothing_at(remote: &Remote) -> Error {
    let title = format!("There is nothing at {remote}");
    Error::NotFound(Box::new(
        Problem::new(404, code::OBJECT_NOT_FOUND, &title)
            .hint(format!("nebula ls {}: --recursive", remote.bucket)),
    ))
}
