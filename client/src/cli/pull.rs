//! Downloading objects and folders.

use super::{Context, args::Pull, push, tick};
use crate::{
    failed_line,
    term::{
        bars::Bars,
        human,
        text::Text,
        theme::{BAD, BOLD, DIM, PLAIN},
    },
};
use futures::StreamExt as _;
use nebula_client::{
    Client, Error, Exit, Remote,
    api::{MAX_PAGE_ITEMS, Object, ObjectsQuery},
    client::MAX_LISTED,
    download::{self, Pulled},
    transfer::{Observer as _, Step, Verified},
};
use serde_json::json;
use std::path::{Component, Path, PathBuf};

/// Fetches everything.
pub async fn run(cx: &Context, args: &Pull) -> Result<Exit, Error> {
    let client = cx.client()?;
    let listed = objects(&client, &args.from).await;
    let objects = cx.or_meant(&client, &args.from.bucket, listed).await?;
    let mut items: Vec<(Object, PathBuf)> = Vec::with_capacity(objects.len());
    let mut failures = 0;
    for object in objects {
        match destination(&args.from, &object.key, &args.to) {
            Ok(Some(path)) => items.push((object, path)),
            Ok(None) => {}
            Err(e) => {
                failures += 1;
                anstream::eprintln!("{}", failed_line(&object.key, &e));
            }
        }
    }
    if items.is_empty() && failures == 0 {
        return Err(super::rm::nothing_at(&args.from));
    }
    let total = items.iter().map(|(o, _)| o.size_bytes).sum();
    let bars = Bars::new(push::show(cx), "pull", items.len(), total);
    let of = items.len() + failures;
    let mut last = None;
    let mut received = 0;
    let mut running = futures::stream::iter(&items)
        .map(async |(object, path)| {
            let bar = bars.file(&path.display().to_string(), object.size_bytes);
            let version = args.version.as_deref();
            let pulled =
                download::pull(&client, &object.bucket, &object.key, version, path, &bar).await;
            if pulled.as_ref().is_ok_and(|p| p.was_there) {
                bar.step(Step::Moved {
                    offset_bytes: object.size_bytes,
                });
            }
            (object, pulled)
        })
        .buffer_unordered(usize::from(args.parallel));
    while let Some((object, result)) = running.next().await {
        match result {
            Ok(pulled) => {
                received += pulled.received_bytes;
                told(cx, &bars, &pulled);
            }
            Err(e) => {
                failures += 1;
                if of > 1 {
                    let name = format!("{}:{}", object.bucket, object.key);
                    bars.say(&failed_line(&name, &e));
                }
                last = Some(e);
            }
        }
    }
    drop(running);
    bars.finish();
    match last {
        Some(error) if of == 1 => return Err(error),
        Some(error) if failures == of => return Ok(error.exit()),
        _ => {}
    }
    if of > 1 && !cx.global.json && !cx.global.quiet {
        let mut line = Text::styled(BOLD, human::count((of - failures) as u64, "file"))
            .and(PLAIN, format!(" here, {} received", human::size(received)));
        if failures > 0 {
            line = line.and(BAD, format!(", {failures} failed"));
        }
        anstream::println!("{line}");
    }
    Ok(if failures > 0 { Exit::Partly } else { Exit::Ok })
}

fn told(cx: &Context, bars: &Bars, pulled: &Pulled) {
    let o = &pulled.object.object;
    if cx.global.json {
        bars.result(
            &json!({"type": "pulled", "bucket": o.bucket, "key": o.key, "version": o.version,
                "path": pulled.path, "size_bytes": o.size_bytes,
                "received_bytes": pulled.received_bytes, "verified": pulled.verified.as_str(),
                "was_there": pulled.was_there})
            .to_string(),
        );
    } else if !cx.global.quiet {
        let end = match (pulled.was_there, pulled.verified) {
            (true, _) => ", was here already",
            (false, Verified::Hash) => ", verified",
            (false, Verified::SizeOnly) => ", size verified",
        };
        let line = Text::plain(pulled.path.display().to_string())
            .and(DIM, format!("  {}{end}", human::size(o.size_bytes)));
        bars.result(&tick(line).to_string());
    }
}

/// The one object, or all below the folder.
async fn objects(client: &Client, from: &Remote) -> Result<Vec<Object>, Error> {
    if !from.is_folder() {
        let one = client.object(&from.bucket, &from.key, None).await?;
        if let Some(details) = one {
            return Ok(vec![details.object]);
        }
        // Perhaps the bucket is what is missing: the listing will say so.
    }
    let mut query = ObjectsQuery {
        prefix: (!from.key.is_empty()).then(|| from.key.clone()),
        limit: Some(MAX_PAGE_ITEMS),
        ..ObjectsQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let page = client.objects(&from.bucket, &query).await?;
        if !from.is_folder() {
            return Err(super::rm::nothing_at(from));
        }
        all.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() || all.len() >= MAX_LISTED {
            return Ok(all);
        }
    }
}

/// Where an object goes. A key that would lead out of the destination is refused;
/// one that ends with a slash is a folder's placeholder and goes nowhere.
fn destination(from: &Remote, key: &str, to: &Path) -> Result<Option<PathBuf>, Error> {
    if key.ends_with('/') {
        return Ok(None);
    }
    let folder = from.key.rfind('/').map_or(0, |slash| slash + 1);
    let name = if from.is_folder() {
        key.get(folder..).unwrap_or(key)
    } else {
        key.rsplit('/').next().unwrap_or(key)
    };
    let inside = Path::new(name)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if !inside || name.is_empty() || name.contains('\0') {
        return Err(Error::Usage {
            message: format!("The key '{key}' would lead out of {}.", to.display()),
            hint: Some(format!(
                "Fetch it alone: nebula pull '{}:{key}' NAME",
                from.bucket
            )),
        });
    }
    let into = to.is_dir() || from.is_folder() || to.as_os_str().as_encoded_bytes().ends_with(b"/");
    Ok(Some(if into { to.join(name) } else { to.to_owned() }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn objects_go_where_they_should_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path();
        let at = |from: &str, key: &str, to: &Path| {
            destination(&from.parse().unwrap(), key, to).ok().flatten()
        };
        assert_eq!(at("films:a/b.mkv", "a/b.mkv", to), Some(to.join("b.mkv")));
        let new = to.join("new.mkv");
        assert_eq!(at("films:a/b.mkv", "a/b.mkv", &new), Some(new.clone()));
        assert_eq!(at("films:a/", "a/b/c", &new), Some(new.join("b/c")));
        assert_eq!(at("films:", "a/b/c", to), Some(to.join("a/b/c")));
        assert_eq!(at("films:", "a/", to), None);
        for evil in ["../x", "a/../../x", "/etc/passwd", "a/./b/../../../x"] {
            assert_eq!(at("films:", evil, to), None, "{evil}");
        }
    }
}
