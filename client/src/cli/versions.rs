//! The versions of an object, and bringing them back.

use super::{Context, rm::nothing_at};
use crate::term::{
    human,
    table::{Column, Table},
    text::Text,
    theme::{DIM, GOOD, WARN},
};
use nebula_client::{
    Client, Error, Exit, Remote,
    api::{MAX_PAGE_ITEMS, Object, ObjectsQuery, problem::code},
};

/// Versions shown of one object at most.
const SHOWN_MAX: usize = 10_000;

/// Lists the versions of one object, newest first.
pub async fn list(cx: &Context, remote: &Remote) -> Result<Exit, Error> {
    let client = cx.client()?;
    let result = of(&client, remote).await;
    let versions = cx.or_meant(&client, &remote.bucket, result).await?;
    if versions.is_empty() {
        return Err(nothing_at(remote));
    }
    if cx.global.json {
        for version in &versions {
            super::print_json(version);
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Left("Version"),
        Column::Right("Size"),
        Column::Left("Made"),
        Column::Left(""),
    ]);
    for version in &versions {
        let (size, note) = match (version.delete_marker, version.latest) {
            (true, true) => (Text::styled(WARN, "deleted"), "hides what is below"),
            (true, false) => (Text::styled(DIM, "deleted"), ""),
            (false, true) => (Text::plain(human::size(version.size_bytes)), "latest"),
            (false, false) => (Text::plain(human::size(version.size_bytes)), ""),
        };
        table.row([
            Text::plain(id(version)),
            size,
            Text::styled(DIM, human::age(version.modified_at_ms)),
            Text::styled(GOOD, note),
        ]);
    }
    let footer = human::count(versions.len() as u64, "version");
    table.print(&remote.to_string(), &footer);
    let hidden = versions.first().is_some_and(|newest| newest.delete_marker);
    if hidden {
        cx.next("bring it back", &format!("nebula undelete {remote}"));
    } else if let Some(old) = versions.iter().skip(1).find(|old| !old.delete_marker) {
        let command = format!("nebula undelete {remote} --version {}", id(old));
        cx.next("bring an old one back", &command);
    }
    Ok(Exit::Ok)
}

fn id(version: &Object) -> &str {
    version.version.as_deref().unwrap_or("null")
}

async fn of(client: &Client, remote: &Remote) -> Result<Vec<Object>, Error> {
    let mut query = ObjectsQuery {
        prefix: Some(remote.key.clone()),
        limit: Some(MAX_PAGE_ITEMS),
        versions: true,
        ..ObjectsQuery::default()
    };
    let mut versions = Vec::new();
    loop {
        let page = client.objects(&remote.bucket, &query).await?;
        // A key is the first of all that begin with it.
        let of_others = page.items.iter().any(|item| item.key != remote.key);
        let own = page.items.into_iter().filter(|item| item.key == remote.key);
        versions.extend(own);
        query.cursor = page.next;
        if of_others || query.cursor.is_none() || versions.len() >= SHOWN_MAX {
            return Ok(versions);
        }
    }
}

/// Brings back what was deleted, or an old version.
pub async fn undelete(cx: &Context, remote: &Remote, version: Option<&str>) -> Result<Exit, Error> {
    let client = cx.client()?;
    let result = client
        .restore_object(&remote.bucket, &remote.key, version)
        .await
        .map_err(|e| match e {
            Error::NotFound(p) if p.code == code::OBJECT_NOT_FOUND => nothing_at(remote),
            Error::Conflict(mut p) if p.code == code::NOT_DELETED => {
                p.title = format!("{remote}: is not deleted");
                p.detail = None;
                p.hint = Some(format!("nebula versions {remote}"));
                Error::Conflict(p)
            }
            other => other,
        });
    let object = cx.or_meant(&client, &remote.bucket, result).await?;
    let size = human::size(object.size_bytes);
    cx.done(&object, Text::plain(format!("{remote} is back, {size}")));
    Ok(Exit::Ok)
}
