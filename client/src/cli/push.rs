//! Uploading files and folders.

use super::{Context, args::Push, tick};
use crate::{
    failed_line,
    term::{
        self,
        bars::{Bars, Show},
        human,
        text::Text,
        theme::{BOLD, DIM, PLAIN},
    },
};
use futures::StreamExt as _;
use nebula_client::{
    Client, Error, Exit, Remote,
    transfer::{Observer as _, Step, Verified},
    upload::{self, Options, Pushed, StateDir},
    xdg,
};
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

/// No folder with more files is sent in one go.
const MAX_FILES: usize = 1_000_000;

/// One file to send.
struct Item {
    path: PathBuf,
    key: String,
    size_bytes: u64,
    /// Not resumable: its source will be gone.
    once: bool,
}

/// Sends everything.
pub async fn run(cx: &Context, args: &Push) -> Result<Exit, Error> {
    let client = cx.client()?;
    let bucket = client.bucket(&args.to.bucket).await;
    if let Ok(None) = bucket {
        let missing = client
            .objects(
                &args.to.bucket,
                &nebula_client::api::ObjectsQuery::default(),
            )
            .await;
        cx.or_meant(&client, &args.to.bucket, missing).await?;
    }
    let spool;
    let (items, unreadable) = if args.paths == [PathBuf::from("-")] {
        spool = Spool::of_stdin(&args.to).await?;
        (vec![spool.item(&args.to)], Vec::new())
    } else {
        let (paths, to) = (args.paths.clone(), args.to.clone());
        collect_off_thread(paths, to).await?
    };
    let total: u64 = items.iter().map(|i| i.size_bytes).sum();
    let bars = Bars::new(show(cx), "push", items.len(), total);
    let started = Instant::now();
    let mut results: Vec<(&Item, Result<Pushed, Error>)> = Vec::with_capacity(items.len());
    let mut running = futures::stream::iter(&items)
        .map(async |item| (item, send(&client, args, item, &bars).await))
        .buffer_unordered(usize::from(args.parallel));
    while let Some((item, result)) = running.next().await {
        match &result {
            Ok(pushed) => told(cx, &bars, args, item, pushed, started, items.len()),
            Err(e) if items.len() > 1 => {
                let name = format!("{}:{}", args.to.bucket, item.key);
                bars.say(&failed_line(&name, e));
            }
            Err(_) => {}
        }
        results.push((item, result));
    }
    drop(running);
    bars.finish();
    for (path, error) in &unreadable {
        anstream::eprintln!("{}", failed_line(&path.display().to_string(), error));
    }
    end(cx, args, results, unreadable.len(), started)
}

async fn send(client: &Client, args: &Push, item: &Item, bars: &Bars) -> Result<Pushed, Error> {
    let bar = bars.file(&format!("{}:{}", args.to.bucket, item.key), item.size_bytes);
    let options = Options {
        content_type: args.content_type.clone(),
        even_if_there: args.again,
        state: (!item.once).then(StateDir::of_user),
        ..Options::default()
    };
    let pushed = upload::push(
        client,
        &item.path,
        &args.to.bucket,
        &item.key,
        &options,
        &bar,
    )
    .await?;
    if pushed.was_there {
        bar.step(Step::Moved {
            offset_bytes: item.size_bytes,
        });
    }
    Ok(pushed)
}

fn told(
    cx: &Context,
    bars: &Bars,
    args: &Push,
    item: &Item,
    pushed: &Pushed,
    started: Instant,
    of: usize,
) {
    let name = format!("{}:{}", args.to.bucket, item.key);
    if cx.global.json {
        let o = &pushed.object.object;
        bars.result(
            &json!({"type": "pushed", "source": item.path, "bucket": o.bucket, "key": o.key,
                "version": o.version, "size_bytes": o.size_bytes, "sent_bytes": pushed.sent_bytes,
                "blake3": pushed.blake3, "verified": pushed.verified.as_str(),
                "was_there": pushed.was_there, "urls": pushed.object.urls})
            .to_string(),
        );
        return;
    }
    if cx.global.quiet {
        return;
    }
    let mut line = Text::plain(&name).and(DIM, format!("  {}", human::size(item.size_bytes)));
    if pushed.was_there {
        line = line.and(DIM, ", was there already");
    } else {
        let seconds = started.elapsed().as_secs_f64().max(0.001);
        if of == 1 && pushed.sent_bytes > 0 {
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

fn end(
    cx: &Context,
    args: &Push,
    mut results: Vec<(&Item, Result<Pushed, Error>)>,
    unreadable: usize,
    started: Instant,
) -> Result<Exit, Error> {
    let of = results.len() + unreadable;
    if of == 1
        && let Some((item, result)) = results.pop()
    {
        let pushed = result?;
        let media = pushed.object.object.content_type.as_deref().unwrap_or("");
        if media.starts_with("video/") || media.starts_with("audio/") {
            let command = format!("nebula play {}:{}", args.to.bucket, shell(&item.key));
            cx.next("play it", &command);
        }
        return Ok(Exit::Ok);
    }
    let failed = results.iter().filter(|r| r.1.is_err()).count() + unreadable;
    let sent: u64 = results
        .iter()
        .filter_map(|r| r.1.as_ref().ok())
        .map(|p| p.sent_bytes)
        .sum();
    if cx.global.json {
        super::print_json(
            &json!({"type": "total", "files": of, "failed": failed, "sent_bytes": sent}),
        );
    } else if !cx.global.quiet {
        let mut line = Text::styled(BOLD, human::count((of - failed) as u64, "file"))
            .and(PLAIN, format!(" there, {} sent", human::size(sent)))
            .and(
                DIM,
                format!(" in {}", human::span(started.elapsed().as_secs())),
            );
        if failed > 0 {
            line = line.and(term::theme::BAD, format!(", {failed} failed"));
        }
        anstream::println!("{line}");
    }
    Ok(match failed {
        0 => Exit::Ok,
        n if n == of => results
            .iter()
            .find_map(|r| r.1.as_ref().err())
            .map_or(Exit::Failure, Error::exit),
        _ => Exit::Partly,
    })
}

/// A key as a shell takes it.
fn shell(key: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./+,=@%".contains(c);
    if key.chars().all(plain) {
        key.to_owned()
    } else {
        format!("'{}'", key.replace('\'', r"'\''"))
    }
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

type Unreadable = Vec<(PathBuf, Error)>;

async fn collect_off_thread(
    paths: Vec<PathBuf>,
    to: Remote,
) -> Result<(Vec<Item>, Unreadable), Error> {
    tokio::task::spawn_blocking(move || collect(&paths, &to))
        .await
        .unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// Every file below the paths, with the key it will have.
fn collect(paths: &[PathBuf], to: &Remote) -> Result<(Vec<Item>, Unreadable), Error> {
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    for path in paths {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) if paths.len() > 1 => {
                unreadable.push((path.clone(), Error::local("read", path, e)));
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
            walk(path, &folder, &mut items, &mut unreadable);
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
        items.push(Item {
            path: path.clone(),
            key,
            size_bytes: meta.len(),
            once: false,
        });
    }
    Ok((items, unreadable))
}

fn walk(dir: &Path, prefix: &str, items: &mut Vec<Item>, unreadable: &mut Unreadable) {
    let mut entries: Vec<_> = match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().collect(),
        Err(e) => return unreadable.push((dir.to_owned(), Error::local("read", dir, e))),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let name = match utf8(&path, Path::new(&name)) {
            Ok(name) => name.to_owned(),
            Err(e) => {
                unreadable.push((path, e));
                continue;
            }
        };
        // Links to files are followed, links to folders are not: they may lead in a circle.
        let linked_folder = entry.file_type().is_ok_and(|t| t.is_symlink()) && path.is_dir();
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() && !linked_folder => {
                walk(&path, &format!("{prefix}{name}/"), items, unreadable);
            }
            Ok(meta) if meta.is_file() && items.len() < MAX_FILES => items.push(Item {
                key: format!("{prefix}{name}"),
                size_bytes: meta.len(),
                once: false,
                path,
            }),
            Ok(_) => {}
            Err(e) => unreadable.push((path.clone(), Error::local("read", path, e))),
        }
    }
}

fn utf8<'a>(path: &Path, name: &'a Path) -> Result<&'a str, Error> {
    name.to_str().ok_or_else(|| {
        let why = io::Error::other("its name is not UTF-8, as keys are");
        Error::local("send", path, why)
    })
}

/// Standard input, kept in a file until it is sent: its length must be known, and a cut survived.
struct Spool {
    path: PathBuf,
    size_bytes: u64,
}

impl Spool {
    async fn of_stdin(to: &Remote) -> Result<Self, Error> {
        if to.is_folder() {
            return Err(Error::Usage {
                message: "Standard input has no name.".into(),
                hint: Some(format!("nebula push - {to}name")),
            });
        }
        let dir = xdg::state_dir().join("spool");
        let path = dir.join(format!("stdin-{}", std::process::id()));
        let mut spool = Self {
            path: path.clone(),
            size_bytes: 0,
        };
        let copied = tokio::task::spawn_blocking(move || {
            xdg::make_private_dir(&dir)?;
            let _ = fs::remove_file(&path);
            let mut file: File = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            io::copy(&mut io::stdin().lock(), &mut file)
        })
        .await
        .unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        spool.size_bytes = copied.map_err(|e| Error::local("keep", &spool.path, e))?;
        Ok(spool)
    }

    fn item(&self, to: &Remote) -> Item {
        Item {
            path: self.path.clone(),
            key: to.key.clone(),
            size_bytes: self.size_bytes,
            once: true,
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
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
        let (items, _) = collect(&paths, &to.parse().unwrap()).unwrap();
        items.into_iter().map(|i| i.key).collect()
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
    fn keys_are_quoted_for_the_shell() {
        assert_eq!(shell("a/b.mkv"), "a/b.mkv");
        assert_eq!(shell("it's here"), r"'it'\''s here'");
    }
}
