//! Listing buckets, folders and objects.

use super::{Context, args::Ls, quota};
use crate::term::{
    human, on_terminal,
    table::{Column, Table},
    text::Text,
    theme::{DIM, FOLDER, WARN},
};
use nebula_client::{
    Client, Error, Exit, Remote,
    api::{Durability, MAX_PAGE_ITEMS, Object, ObjectsQuery, Usage, Versioning},
    client::MAX_LISTED,
};
use serde_json::json;

/// Lists what is asked for.
pub async fn run(cx: &Context, args: &Ls) -> Result<Exit, Error> {
    let client = cx.client()?;
    match &args.path {
        None => buckets(cx, &client).await,
        Some(path) => {
            let result = objects(cx, &client, path, args).await;
            cx.or_meant(&client, &path.bucket, result).await
        }
    }
}

async fn buckets(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let buckets = client.all_buckets().await?;
    if cx.global.json {
        for b in &buckets {
            super::print_json(b);
        }
        return Ok(Exit::Ok);
    }
    if buckets.is_empty() {
        if on_terminal() {
            anstream::println!("There is no bucket yet.");
        }
        cx.next("next", "nebula mb films");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Gives("Bucket"),
        Column::Right("Objects"),
        Column::Right("Size"),
        Column::Left("Made"),
        Column::Left(""),
    ]);
    for b in &buckets {
        let mut notes = Vec::new();
        match b.versioning {
            Versioning::Enabled => notes.push("versions"),
            Versioning::Suspended => notes.push("versions suspended"),
            _ => {}
        }
        if b.durability == Durability::Relaxed {
            notes.push("relaxed");
        }
        let usage = Usage {
            size_bytes: b.size_bytes,
            objects: b.objects,
        };
        table.row([
            Text::styled(FOLDER, format!("{}:", b.name)),
            quota::objects(usage, b.quota),
            quota::size(usage, b.quota),
            Text::styled(DIM, human::age(b.created_at_ms)),
            Text::styled(DIM, notes.join(", ")),
        ]);
    }
    let objects: u64 = buckets.iter().map(|b| b.objects).sum();
    let bytes = buckets.iter().map(|b| b.size_bytes).sum();
    let footer = format!(
        "{}, {}",
        human::count(objects, "object"),
        human::size(bytes)
    );
    table.print("Buckets", &footer);
    Ok(Exit::Ok)
}

async fn objects(cx: &Context, client: &Client, path: &Remote, args: &Ls) -> Result<Exit, Error> {
    let mut titles = vec![
        Column::Gives("Name"),
        Column::Right("Size"),
        Column::Left("Modified"),
    ];
    if args.long {
        titles.extend([Column::Left("Type"), Column::Gives("ETag")]);
    }
    if args.versions {
        titles.push(Column::Left("Version"));
    }
    let mut table = Table::new(&titles);
    // Names are shown from the last folder of the path on.
    let hidden = path.key.rfind('/').map_or(0, |slash| slash + 1);
    let mut query = ObjectsQuery {
        prefix: (!path.key.is_empty()).then(|| path.key.clone()),
        delimiter: (!args.recursive).then(|| "/".to_owned()),
        limit: Some(MAX_PAGE_ITEMS),
        versions: args.versions,
        ..ObjectsQuery::default()
    };
    let (mut count, mut bytes, mut folders) = (0, 0, 0);
    loop {
        let page = client.objects(&path.bucket, &query).await?;
        for prefix in &page.prefixes {
            folders += 1;
            if cx.global.json {
                super::print_json(&json!({"bucket": path.bucket, "prefix": prefix}));
                continue;
            }
            let name = prefix.get(hidden..).unwrap_or(prefix);
            let empty = std::iter::repeat_n(Text::default(), titles.len() - 1);
            table.row(std::iter::once(Text::styled(FOLDER, name)).chain(empty));
        }
        for object in &page.items {
            count += 1;
            bytes += object.size_bytes;
            if cx.global.json {
                super::print_json(object);
            } else {
                table.row(row(object, hidden, args));
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() || count >= MAX_LISTED {
            break;
        }
    }
    if cx.global.json {
        return Ok(Exit::Ok);
    }
    if table.is_empty() {
        if path.key.is_empty() {
            // An empty bucket and none at all list alike on some nodes.
            if on_terminal() {
                anstream::println!("{}: is empty.", path.bucket);
            }
            cx.next("next", &format!("nebula push FILE {}:", path.bucket));
            return Ok(Exit::Ok);
        }
        return Err(super::rm::nothing_at(path));
    }
    let mut footer = Vec::new();
    if folders > 0 {
        footer.push(human::count(folders, "folder"));
    }
    footer.push(human::count(count as u64, "object"));
    footer.push(human::size(bytes));
    table.print(&path.to_string(), &footer.join(", "));
    Ok(Exit::Ok)
}

fn row(object: &Object, hidden: usize, args: &Ls) -> Vec<Text> {
    let name = object.key.get(hidden..).unwrap_or(&object.key);
    let mut row = if object.delete_marker {
        vec![
            Text::styled(DIM, name),
            Text::styled(WARN, "deleted"),
            Text::styled(DIM, human::age(object.modified_at_ms)),
        ]
    } else {
        vec![
            Text::plain(name),
            human::size(object.size_bytes).into(),
            Text::styled(DIM, human::age(object.modified_at_ms)),
        ]
    };
    if args.long {
        row.push(object.content_type.as_deref().unwrap_or_default().into());
        row.push(Text::styled(DIM, &object.etag));
    }
    if args.versions {
        let id = object.version.as_deref().unwrap_or("null");
        let latest = if object.latest { " (latest)" } else { "" };
        row.push(Text::plain(id).and(DIM, latest));
    }
    row
}
