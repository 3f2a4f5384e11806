//! Downloading objects and folders.

use super::{Context, args::Pull, push, tick};
use crate::{
    failed_line,
    term::{
        bars::{Bars, Show},
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
    download::{self, Options, Pulled},
    pace::lanes_each,
    transfer::Verified,
};
use serde_json::json;
use std::{
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

/// Fetches everything.
pub async fn run(cx: &Context, args: &Pull) -> Result<Exit, Error> {
    let client = cx.client()?;
    if args.to == Path::new("-") {
        return stream(cx, &client, args).await;
    }
    let started = Instant::now();
    let listed = objects(&client, &args.from, args.version.as_deref()).await;
    let objects = cx.or_meant(&client, &args.from.bucket, listed).await?;
    let mut items: Vec<(Object, PathBuf)> = Vec::with_capacity(objects.len());
    let mut tally = Tally::default();
    for object in objects {
        match destination(&args.from, &object.key, &args.to) {
            Ok(Some(path)) => items.push((object, path)),
            Ok(None) => {}
            Err(e) => {
                anstream::eprintln!("{}", failed_line(&object.key, &e));
                tally.failed(e);
            }
        }
    }
    if items.is_empty() && tally.failed == 0 {
        return Err(super::rm::nothing_at(&args.from));
    }
    let total = items.iter().map(|(o, _)| o.size_bytes).sum();
    let bars = Bars::new(push::show(cx), "pull", items.len(), total);
    let of = items.len() + tally.failed;
    let at_once = usize::from(args.parallel);
    let options = options(args, items.len().clamp(1, at_once));
    let mut running = futures::stream::iter(&items)
        .map(async |(object, path)| {
            let bar = bars.file(&path.display().to_string(), Some(object.size_bytes));
            let version = args.version.as_deref();
            let (bucket, key) = (object.bucket.as_str(), object.key.as_str());
            let pulled =
                download::pull_with(&client, bucket, key, version, path, &options, &bar).await;
            if pulled.as_ref().is_ok_and(|p| p.was_there) {
                bar.skipped();
            }
            (object, pulled)
        })
        .buffer_unordered(at_once);
    while let Some((object, result)) = running.next().await {
        bars.file_ended();
        match result {
            Ok(pulled) => {
                tally.pulled(&pulled);
                told(cx, &bars, &pulled, (of == 1).then_some(started));
            }
            Err(e) => {
                if of > 1 {
                    let name = format!("{}:{}", object.bucket, object.key);
                    bars.say(&failed_line(&name, &e));
                }
                tally.failed(e);
            }
        }
    }
    drop(running);
    bars.finish();
    summary(cx, &tally, bars.wire_bytes(), started);
    tally.end()
}

/// To standard output.
async fn stream(cx: &Context, client: &Client, args: &Pull) -> Result<Exit, Error> {
    if args.from.is_folder() {
        return Err(Error::Usage {
            message: format!(
                "{} is a folder, and standard output takes one object.",
                args.from
            ),
            hint: Some(format!("nebula ls {} --recursive", args.from)),
        });
    }
    let version = args.version.as_deref();
    let from = (args.from.bucket.as_str(), args.from.key.as_str(), version);
    // Standard output is the content's: events have no place there.
    let show = match push::show(cx) {
        Show::Json => Show::Nothing,
        show => show,
    };
    let found = client.object(from.0, from.1, version).await;
    let found = cx.or_meant(client, from.0, found).await?;
    let size = found.map(|object| object.object.size_bytes);
    let bars = Bars::new(show, "pull", 1, size.unwrap_or(0));
    let bar = bars.file(&args.from.to_string(), size);
    let (output, name) = (std::io::stdout(), Path::new("standard output"));
    let options = options(args, 1);
    let pulled = download::pull_stream(client, from, output, name, &options, &bar).await;
    drop(bar);
    bars.finish();
    pulled.map(|_| Exit::Ok)
}

fn options(args: &Pull, files_at_once: usize) -> Options {
    Options {
        lanes: lanes_each(args.lanes.into(), files_at_once),
        patience: Duration::from_secs(args.patience).into(),
        ..Options::default()
    }
}

/// How it went, in numbers.
#[derive(Default)]
struct Tally {
    files: usize,
    failed: usize,
    was_there: usize,
    size_bytes: u64,
    error: Option<Error>,
}

impl Tally {
    fn pulled(&mut self, pulled: &Pulled) {
        self.files += 1;
        self.was_there += usize::from(pulled.was_there);
        self.size_bytes += pulled.object.object.size_bytes;
    }

    fn failed(&mut self, error: Error) {
        self.failed += 1;
        self.error.get_or_insert(error);
    }

    fn end(self) -> Result<Exit, Error> {
        super::ended(self.files, self.failed, self.error)
    }
}

fn summary(cx: &Context, tally: &Tally, received: u64, started: Instant) {
    if cx.global.json {
        super::print_json(
            &json!({"type": "total", "files": tally.files, "failed": tally.failed,
                "was_there": tally.was_there, "size_bytes": tally.size_bytes,
                "received_bytes": received, "elapsed_ms": started.elapsed().as_millis() as u64}),
        );
        return;
    }
    if cx.global.quiet || tally.files + tally.failed == 1 {
        return;
    }
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    let mut line = Text::styled(BOLD, human::count(tally.files as u64, "file"))
        .and(PLAIN, format!(" here, {} received", human::size(received)))
        .and(DIM, format!(" in {}", human::span(seconds as u64)));
    if received > 0 {
        let rate = human::size((received as f64 / seconds) as u64);
        line = line.and(DIM, format!(", {rate}/s"));
    }
    if tally.was_there > 0 {
        line = line.and(DIM, format!(", {} here already", tally.was_there));
    }
    if tally.failed > 0 {
        line = line.and(BAD, format!(", {} failed", tally.failed));
    }
    anstream::println!("{line}");
}

fn told(cx: &Context, bars: &Bars, pulled: &Pulled, alone: Option<Instant>) {
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
        let mut line = Text::plain(pulled.path.display().to_string())
            .and(DIM, format!("  {}", human::size(o.size_bytes)));
        if let Some(started) = alone.filter(|_| !pulled.was_there) {
            let seconds = started.elapsed().as_secs_f64().max(0.001);
            let rate = human::size((pulled.received_bytes as f64 / seconds) as u64);
            line = line.and(DIM, format!(" in {seconds:.1} s, {rate}/s"));
        }
        let line = line.and(DIM, end);
        bars.result(&tick(line).to_string());
    }
}

/// The one object, or all below the folder.
async fn objects(
    client: &Client,
    from: &Remote,
    version: Option<&str>,
) -> Result<Vec<Object>, Error> {
    if !from.is_folder() {
        let one = client.object(&from.bucket, &from.key, version).await?;
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
