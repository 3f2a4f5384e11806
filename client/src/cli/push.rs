//! Uploading files and folders.

use super::{Context, args::Push, links, tick};
use crate::{
    failed_line,
    term::{
        self,
        bars::{Bars, Show},
        human,
        text::Text,
        theme::{BAD, BOLD, DIM, PLAIN, TYPE_THIS},
    },
};
use futures::StreamExt as _;
use nebula_client::{
    Client, Error, Exit, Remote,
    api::ObjectsQuery,
    pace::lanes_each,
    transfer::{Observer as _, Step, Verified},
    upload::{self, Options, Pushed},
};
use serde_json::json;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// No more files than this are sent in one go.
const MAX_FILES: usize = 1_000_000;
/// A film that is there within a moment is played then.
const PLAYS_FROM_BYTES: u64 = 32 << 20;
/// What a person calls standard input.
const STDIN: &str = "standard input";

/// One file to send.
struct Item {
    path: PathBuf,
    key: String,
    size_bytes: u64,
}

/// What is to be sent, and what cannot be.
#[derive(Default)]
struct Found {
    items: Vec<Item>,
    unreadable: Vec<(PathBuf, Error)>,
    /// Links to folders, pipes, sockets, devices.
    left_out: usize,
}

/// How it went, in numbers.
#[derive(Default)]
struct Tally {
    files: usize,
    failed: usize,
    was_there: usize,
    copied: usize,
    size_bytes: u64,
    /// The first failure, for the exit code.
    error: Option<Error>,
}

/// Sends everything.
pub async fn run(cx: &Context, args: &Push) -> Result<Exit, Error> {
    let client = cx.client()?;
    if let Ok(None) = client.bucket(&args.to.bucket).await {
        let missing = client
            .objects(&args.to.bucket, &ObjectsQuery::default())
            .await;
        cx.or_meant(&client, &args.to.bucket, missing).await?;
    }
    let started = Instant::now();
    if args.paths == [PathBuf::from("-")] {
        return stream(cx, &client, args, started).await;
    }
    let found = collect_off_thread(args).await?;
    let total: u64 = found.items.iter().map(|i| i.size_bytes).sum();
    let of = found.items.len() + found.unreadable.len();
    let bars = Bars::new(show(cx), "push", found.items.len(), total);
    let mut tally = Tally::default();
    for (path, error) in found.unreadable {
        bars.say(&failed_line(&path.display().to_string(), &error));
        tally.failed(error);
    }
    let at_once = usize::from(args.parallel);
    let options = options(args, found.items.len().clamp(1, at_once));
    let mut running = futures::stream::iter(&found.items)
        .map(async |item| {
            let play = async || {
                if of == 1 {
                    play_early(cx, &client, args, item, &bars).await;
                }
            };
            let sent = Box::pin(send(&client, args, &options, item, &bars, play));
            (item, sent.await)
        })
        .buffer_unordered(at_once);
    while let Some((item, result)) = running.next().await {
        bars.file_ended();
        match result {
            Ok(pushed) => {
                told(
                    cx,
                    &bars,
                    &item.path.display().to_string(),
                    &pushed,
                    (of == 1).then_some(started),
                );
                tally.pushed(&pushed);
                if of == 1 {
                    suggest(cx, &pushed);
                }
            }
            Err(e) if of > 1 => {
                let name = format!("{}:{}", args.to.bucket, item.key);
                bars.say(&failed_line(&name, &e));
                tally.failed(e);
            }
            Err(e) => tally.failed(e),
        }
    }
    drop(running);
    bars.finish();
    summary(cx, &tally, &bars, found.left_out, started);
    tally.end()
}

/// Standard input.
async fn stream(
    cx: &Context,
    client: &Client,
    args: &Push,
    started: Instant,
) -> Result<Exit, Error> {
    if args.to.is_folder() {
        return Err(Error::Usage {
            message: "Standard input has no name.".into(),
            hint: Some(format!("nebula push - {}name", args.to)),
        });
    }
    let bars = Bars::new(show(cx), "push", 1, 0);
    let bar = bars.file(&args.to.to_string(), None);
    let (bucket, key) = (args.to.bucket.as_str(), args.to.key.as_str());
    let (input, name) = (io::stdin(), Path::new(STDIN));
    let options = options(args, 1);
    let pushed = upload::push_stream(client, input, name, bucket, key, &options, &bar).await;
    drop(bar);
    bars.file_ended();
    let mut tally = Tally::default();
    match pushed {
        Ok(pushed) => {
            told(cx, &bars, STDIN, &pushed, Some(started));
            tally.pushed(&pushed);
        }
        Err(e) => tally.failed(e),
    }
    bars.finish();
    summary(cx, &tally, &bars, 0, started);
    tally.end()
}

fn options(args: &Push, files_at_once: usize) -> Options {
    Options {
        content_type: args.content_type.clone(),
        even_if_there: args.again,
        // Files beside each other are lanes too.
        lanes: lanes_each(args.lanes.into(), files_at_once),
        patience: Duration::from_secs(args.patience).into(),
        ..Options::default()
    }
}

async fn send(
    client: &Client,
    args: &Push,
    options: &Options,
    item: &Item,
    bars: &Bars,
    play: impl AsyncFnOnce(),
) -> Result<Pushed, Error> {
    let name = format!("{}:{}", args.to.bucket, item.key);
    let bar = bars.file(&name, Some(item.size_bytes));
    let (bucket, key) = (args.to.bucket.as_str(), item.key.as_str());
    let plays = Notify::new();
    let observer = |step: Step| {
        if step == (Step::Begun { plays: true }) {
            plays.notify_one();
        }
        bar.step(step);
    };
    let push = upload::push(client, &item.path, bucket, key, options, &observer);
    let told = async {
        plays.notified().await;
        play().await;
    };
    tokio::pin!(push);
    let pushed = tokio::select! {
        pushed = &mut push => pushed?,
        () = told => push.await?,
    };
    if pushed.was_there || pushed.copied {
        bar.skipped();
    }
    Ok(pushed)
}

fn told(cx: &Context, bars: &Bars, source: &str, pushed: &Pushed, alone: Option<Instant>) {
    let o = &pushed.object.object;
    if cx.global.json {
        bars.result(
            &json!({"type": "pushed", "source": source, "bucket": o.bucket, "key": o.key,
                "version": o.version, "size_bytes": o.size_bytes, "sent_bytes": pushed.sent_bytes,
                "blake3": pushed.blake3, "verified": pushed.verified.as_str(),
                "was_there": pushed.was_there, "copied": pushed.copied, "urls": pushed.object.urls})
            .to_string(),
        );
        return;
    }
    if cx.global.quiet {
        return;
    }
    let name = format!("{}:{}", o.bucket, o.key);
    let mut line = Text::plain(&name).and(DIM, format!("  {}", human::size(o.size_bytes)));
    if pushed.was_there {
        line = line.and(DIM, ", was there already");
    } else if pushed.copied {
        line = line.and(DIM, ", copied there: the node had it under another name");
    } else {
        if let Some(started) = alone {
            let seconds = started.elapsed().as_secs_f64().max(0.001);
            let rate = human::size((pushed.sent_bytes as f64 / seconds) as u64);
            line = line.and(DIM, format!(" in {seconds:.1} s, {rate}/s"));
        }
        line = line.and(
            DIM,
            match pushed.verified {
                Verified::Hash => ", verified",
                Verified::SizeOnly => ", size verified",
            },
        );
    }
    bars.result(&tick(line).to_string());
}

/// Where a film plays from now on, while the rest of it is on its way.
async fn play_early(cx: &Context, client: &Client, args: &Push, item: &Item, bars: &Bars) {
    if item.size_bytes < PLAYS_FROM_BYTES || cx.global.quiet {
        return;
    }
    let object = Remote {
        bucket: args.to.bucket.clone(),
        key: item.key.clone(),
    };
    // Who may write but not read, or finds the node busy, can do without it.
    let Ok(urls) = links::for_player(client, &object).await else {
        return;
    };
    let file = client.absolute(&urls.file);
    // Sound alone is read as it is.
    let is_film =
        upload::content_type(&item.key, args.content_type.as_deref()).starts_with("video/");
    let hls = urls.hls.as_deref().filter(|_| is_film);
    let hls = hls.map(|hls| client.absolute(hls));
    if cx.global.json {
        let event = json!({"type": "plays", "bucket": object.bucket, "key": object.key,
            "file": file, "hls": hls});
        bars.result(&event.to_string());
        return;
    }
    let line = Text::styled(DIM, "▶ plays from now on  ");
    bars.say(&line.and(TYPE_THIS, hls.unwrap_or(file)));
}

/// What a person may want next.
fn suggest(cx: &Context, pushed: &Pushed) {
    let o = &pushed.object.object;
    let media = o.content_type.as_deref().unwrap_or("");
    if media.starts_with("video/") || media.starts_with("audio/") {
        let name = human::shell(&format!("{}:{}", o.bucket, o.key));
        cx.next("play it", &format!("nebula play {name}"));
    }
}

impl Tally {
    fn pushed(&mut self, pushed: &Pushed) {
        self.files += 1;
        self.was_there += usize::from(pushed.was_there);
        self.copied += usize::from(pushed.copied);
        self.size_bytes += pushed.object.object.size_bytes;
    }

    fn failed(&mut self, error: Error) {
        self.failed += 1;
        self.error.get_or_insert(error);
    }

    fn end(self) -> Result<Exit, Error> {
        super::ended(self.files, self.failed, self.error)
    }
}

fn summary(cx: &Context, tally: &Tally, bars: &Bars, left_out: usize, started: Instant) {
    let sent = bars.wire_bytes();
    if cx.global.json {
        super::print_json(
            &json!({"type": "total", "files": tally.files, "failed": tally.failed,
                "was_there": tally.was_there, "copied": tally.copied, "left_out": left_out,
                "size_bytes": tally.size_bytes, "sent_bytes": sent,
                "elapsed_ms": started.elapsed().as_millis() as u64}),
        );
        return;
    }
    let of = tally.files + tally.failed;
    if cx.global.quiet || (of == 1 && left_out == 0) {
        return;
    }
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    let mut line = Text::styled(BOLD, human::count(tally.files as u64, "file"))
        .and(PLAIN, format!(" there, {} sent", human::size(sent)))
        .and(DIM, format!(" in {}", human::span(seconds as u64)));
    if sent > 0 {
        let rate = human::size((sent as f64 / seconds) as u64);
        line = line.and(DIM, format!(", {rate}/s"));
    }
    let parts = [
        (tally.was_there, "there already", DIM),
        (tally.copied, "copied on the node", DIM),
        (left_out, "left out (links to folders, pipes, devices)", DIM),
        (tally.failed, "failed", BAD),
    ];
    for (number, what, style) in parts {
        if number > 0 {
            line = line.and(
                style,
                format!(", {} {what}", human::thousands(number as u64)),
            );
        }
    }
    anstream::println!("{line}");
}

/// How progress is to be shown.
pub fn show(cx: &Context) -> Show {
    if cx.global.json {
        Show::Json
    } else if cx.global.quiet {
        Show::Nothing
    } else if term::progress_on_terminal() {
        Show::Bars
    } else {
        Show::Lines
    }
}

async fn collect_off_thread(args: &Push) -> Result<Found, Error> {
    let (paths, to, no_hidden) = (args.paths.clone(), args.to.clone(), args.no_hidden);
    tokio::task::spawn_blocking(move || collect(&paths, &to, no_hidden))
        .await
        .unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// Every file below the paths, with the key it will have.
fn collect(paths: &[PathBuf], to: &Remote, no_hidden: bool) -> Result<Found, Error> {
    let mut found = Found::default();
    for path in paths {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) if paths.len() > 1 => {
                found.unreadable(path, Error::local("read", path, e));
                continue;
            }
            Err(e) => return Err(Error::local("read", path, e)),
        };
        if meta.is_dir() {
            let mut folder = to.key.clone();
            if !folder.is_empty() && !folder.ends_with('/') {
                folder.push('/');
            }
            // `folder/` is what is in it, `folder` itself comes along by its name.
            if !path.as_os_str().as_encoded_bytes().ends_with(b"/")
                && let Some(name) = path.file_name()
            {
                folder += &(utf8(path, Path::new(name))?.to_owned() + "/");
            }
            found.walk(path, &folder, no_hidden);
            continue;
        }
        let key = if to.is_folder() {
            let name = path.file_name().map_or(path.as_path(), Path::new);
            format!("{}{}", to.key, utf8(path, name)?)
        } else if paths.len() == 1 {
            to.key.clone()
        } else {
            return Err(Error::Usage {
                message: format!("Several files cannot all become {to}."),
                hint: Some(format!("{to}/ is a folder.")),
            });
        };
        found.items.push(Item {
            path: path.clone(),
            key,
            size_bytes: meta.len(),
        });
    }
    if found.items.len() > MAX_FILES {
        return Err(Error::Usage {
            message: format!(
                "There are more than {} files.",
                human::thousands(MAX_FILES as u64)
            ),
            hint: Some("Send its folders one by one.".into()),
        });
    }
    Ok(found)
}

impl Found {
    fn unreadable(&mut self, path: &Path, error: Error) {
        self.unreadable.push((path.to_owned(), error));
    }

    fn walk(&mut self, dir: &Path, prefix: &str, no_hidden: bool) {
        let mut entries: Vec<_> = match fs::read_dir(dir) {
            Ok(entries) => entries.flatten().collect(),
            Err(e) => return self.unreadable(dir, Error::local("read", dir, e)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if self.items.len() > MAX_FILES {
                return;
            }
            let path = entry.path();
            let name = entry.file_name();
            if no_hidden && name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let name = match utf8(&path, Path::new(&name)) {
                Ok(name) => name.to_owned(),
                Err(e) => {
                    self.unreadable(&path, e);
                    continue;
                }
            };
            // Links to files are followed, links to folders are not: they may lead in a circle.
            let is_link = entry.file_type().is_ok_and(|t| t.is_symlink());
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() && !is_link => {
                    self.walk(&path, &format!("{prefix}{name}/"), no_hidden);
                }
                Ok(meta) if meta.is_file() => self.items.push(Item {
                    key: format!("{prefix}{name}"),
                    size_bytes: meta.len(),
                    path,
                }),
                Ok(_) => self.left_out += 1,
                Err(e) => self.unreadable(&path, Error::local("read", &path, e)),
            }
        }
    }
}

fn utf8<'a>(path: &Path, name: &'a Path) -> Result<&'a str, Error> {
    name.to_str().ok_or_else(|| {
        let why = io::Error::other("its name is not UTF-8, as keys are");
        Error::local("send", path, why)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn keys(paths: &[&str], to: &str, root: &Path) -> Vec<String> {
        let paths: Vec<PathBuf> = paths
            .iter()
            .map(|p| PathBuf::from(format!("{}/{p}", root.display())))
            .collect();
        let found = collect(&paths, &to.parse().unwrap(), false).unwrap();
        found.items.into_iter().map(|i| i.key).collect()
    }

    #[test]
    fn keys_follow_the_paths() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("Movies/series")).unwrap();
        for file in ["a.mkv", "Movies/b.mkv", "Movies/series/c.mkv"] {
            fs::write(root.join(file), b"x").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("Movies/loop")).unwrap();
        assert_eq!(keys(&["a.mkv"], "films:", root), ["a.mkv"]);
        assert_eq!(keys(&["a.mkv"], "films:new/", root), ["new/a.mkv"]);
        assert_eq!(keys(&["a.mkv"], "films:b.mkv", root), ["b.mkv"]);
        assert_eq!(
            keys(&["Movies"], "films:", root),
            ["Movies/b.mkv", "Movies/series/c.mkv"]
        );
        assert_eq!(
            keys(&["Movies/"], "films:x", root),
            ["x/b.mkv", "x/series/c.mkv"]
        );
        assert_eq!(
            keys(&["a.mkv", "Movies/"], "films:", root),
            ["a.mkv", "b.mkv", "series/c.mkv"]
        );
    }

    #[test]
    fn hidden_files_come_along_unless_asked_not_to() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("f/.git")).unwrap();
        for file in ["f/.nomedia", "f/.git/config", "f/a"] {
            fs::write(root.join(file), b"x").unwrap();
        }
        std::os::unix::fs::symlink(root.join("f/a"), root.join("f/linked")).unwrap();
        std::os::unix::fs::symlink(root, root.join("f/loop")).unwrap();
        assert_eq!(
            keys(&["f"], "films:", root),
            ["f/.git/config", "f/.nomedia", "f/a", "f/linked"]
        );
        let found = collect(&[root.join("f")], &"films:".parse().unwrap(), true).unwrap();
        assert_eq!((found.items.len(), found.left_out), (2, 1));
    }
}
