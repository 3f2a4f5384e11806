//! Sending what settles in a folder, each file once.
//!
//! The kernel tells of changes at once, and the folder is looked through at the start and now and then, as some file systems
//! tell nothing. A file is sent when its size and time have not changed for a while and nobody has it open for writing, as far
//! as that can be seen. A ledger remembers what was sent over restarts; what a crash took from it is found on the node by its
//! hash. What is deleted here stays there.

mod ledger;
mod settled;
mod unit;

pub use unit::Unit;

use crate::{
    Client, Error, Remote,
    pace::{MOST_LANES, lanes_each},
    sync::{self, Here},
    upload::{self, Fingerprint, Options, Pushed, blocking},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use ledger::Ledger;
use notify::{RecursiveMode, Watcher as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// How often the files that wait are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often the whole folder is looked through.
const LOOK_THROUGH: Duration = Duration::from_mins(1);
/// A file that could not be sent is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Events of the kernel that wait; what is more is found when the folder is looked through.
const EVENTS_MAX: usize = 4096;
/// How names of files end that other programs have not finished.
const UNFINISHED: [&str; 6] = [".part", ".partial", ".crdownload", ".download", ".tmp", "~"];

/// What is watched, and how.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The folder.
    pub folder: PathBuf,
    /// Where its files go.
    pub to: Remote,
    /// How long a file must be left alone.
    pub settle: Duration,
    /// How many are sent at once.
    pub parallel: usize,
    /// The media type of all, instead of what their names suggest.
    pub content_type: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Watching has begun.
    Watching {
        /// How many files were sent before, by earlier calls.
        sent_before: usize,
    },
    /// A file is there.
    Sent {
        /// Where it is here.
        path: &'a Path,
        /// What the node made of it.
        pushed: &'a Pushed,
    },
    /// A file could not be sent, and will be tried again.
    Failed {
        /// Where it is here.
        path: &'a Path,
        /// Why.
        error: &'a Error,
    },
}

/// A file that is not there yet.
struct Waiting {
    seen: Fingerprint,
    /// Since when it looks like that.
    since: Instant,
    not_before: Instant,
}

/// How an attempt ended.
enum Outcome {
    Sent(Box<Pushed>, Fingerprint),
    /// It changed, or somebody writes it.
    Unsettled,
    Failed(Error),
}

struct Watch<'a> {
    wish: &'a Wish,
    prefix: String,
    ledger: Ledger,
    waiting: BTreeMap<String, Waiting>,
    busy: BTreeSet<String>,
}

/// Watches until it is dropped, or the folder or this user's memory of it is gone.
pub async fn run(
    client: &Client,
    wish: &Wish,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Infallible, Error> {
    let folder = &wish.folder;
    let (send, mut events) = mpsc::channel(EVENTS_MAX);
    let told = move |event: notify::Result<notify::Event>| {
        // One that finds no room is made good by looking through.
        let _ = send.try_send(event);
    };
    let fail = |e: notify::Error| Error::local("watch", folder, io::Error::other(e.to_string()));
    let mut watcher = notify::recommended_watcher(told).map_err(fail)?;
    watcher
        .watch(folder, RecursiveMode::Recursive)
        .map_err(fail)?;
    let (origin, place) = (client.origin(), folder.clone());
    let destination = wish.to.to_string();
    let ledger =
        blocking(move || Ledger::open(&Ledger::dir_of_user(), &origin, &place, &destination))
            .await?;
    let mut watch = Watch {
        wish,
        prefix: sync::prefix(&wish.to),
        ledger,
        waiting: BTreeMap::new(),
        busy: BTreeSet::new(),
    };
    tell(Event::Watching {
        sent_before: watch.ledger.len(),
    });
    let mut running = FuturesUnordered::new();
    let (mut look, mut through) = (interval(LOOK), interval(LOOK_THROUGH));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // The first tick comes at once.
            _ = through.tick() => watch.look_through().await?,
            event = events.recv() => match event {
                Some(Ok(event)) if !event.need_rescan() => {
                    for path in event.paths {
                        watch.note(&path, Instant::now());
                    }
                }
                _ => watch.look_through().await?,
            },
            _ = look.tick(), if !watch.waiting.is_empty() => {
                for name in watch.settled() {
                    watch.busy.insert(name.clone());
                    running.push(attempt(client, wish, watch.prefix.clone(), name));
                }
            }
            Some((name, outcome)) = running.next(), if !running.is_empty() => {
                watch.ended(&name, outcome, tell)?;
            }
        }
    }
}

impl Watch<'_> {
    /// Notes every file that was not sent.
    async fn look_through(&mut self) -> Result<(), Error> {
        let folder = self.wish.folder.clone();
        let found = blocking(move || sync::files(&folder, &is_meant)).await?;
        for here in found.files.into_values() {
            // A file that was left alone for long need not wait again.
            self.note(&here.path, left_alone_since(&here));
        }
        Ok(())
    }

    /// Looks at a path that something was said about.
    fn note(&mut self, path: &Path, since: Instant) {
        let Some(name) = self.name(path) else { return };
        let Ok(meta) = fs::metadata(path) else {
            self.waiting.remove(&name);
            return;
        };
        if meta.is_dir() {
            // One that was moved here tells nothing of what is in it.
            let found = sync::files(path, &is_meant).map(|found| found.files);
            for here in found.unwrap_or_default().into_values() {
                self.note(&here.path, left_alone_since(&here));
            }
            return;
        }
        let seen = Fingerprint::of(&meta);
        if !meta.is_file() || !is_meant(&name) || self.ledger.has(&name, &seen) {
            return;
        }
        let not_before = self.waiting.get(&name).map(|waiting| waiting.not_before);
        let same = self
            .waiting
            .get(&name)
            .filter(|waiting| waiting.seen == seen);
        let since = same.map_or(since, |waiting| waiting.since);
        let waiting = Waiting {
            seen,
            since,
            not_before: not_before.unwrap_or(since),
        };
        self.waiting.insert(name, waiting);
    }

    fn name(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.wish.folder).ok()?.to_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// The files whose time has come, as many as may be sent now.
    fn settled(&mut self) -> Vec<String> {
        let names: Vec<String> = self.waiting.keys().cloned().collect();
        let mut settled = Vec::new();
        for name in names {
            if self.busy.contains(&name) {
                continue;
            }
            // What has changed begins to wait anew, what is gone waits no more.
            self.note(&self.wish.folder.join(&name), Instant::now());
            let room = self.busy.len() + settled.len() < self.wish.parallel;
            let is_due = self.waiting.get(&name).is_some_and(|waiting| {
                waiting.since.elapsed() >= self.wish.settle && waiting.not_before <= Instant::now()
            });
            if room && is_due {
                settled.push(name);
            }
        }
        settled
    }

    fn ended(
        &mut self,
        name: &str,
        outcome: Outcome,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<(), Error> {
        self.busy.remove(name);
        let path = self.wish.folder.join(name);
        match outcome {
            Outcome::Sent(pushed, sent) => {
                self.ledger.add(name, sent)?;
                self.waiting.remove(name);
                tell(Event::Sent {
                    path: &path,
                    pushed: &pushed,
                });
                // It may have changed since it was sent.
                self.note(&path, Instant::now());
            }
            Outcome::Unsettled => {
                if let Some(waiting) = self.waiting.get_mut(name) {
                    waiting.since = Instant::now();
                }
            }
            Outcome::Failed(error) => {
                if let Some(waiting) = self.waiting.get_mut(name) {
                    waiting.not_before = Instant::now() + TRY_AGAIN;
                }
                tell(Event::Failed {
                    path: &path,
                    error: &error,
                });
            }
        }
        Ok(())
    }
}

/// One attempt at a file, by its name.
async fn attempt(client: &Client, wish: &Wish, prefix: String, name: String) -> (String, Outcome) {
    let outcome = match send(client, wish, &prefix, &name).await {
        Ok(outcome) => outcome,
        Err(Error::SourceChanged { .. }) => Outcome::Unsettled,
        Err(error) => Outcome::Failed(error),
    };
    (name, outcome)
}

/// Sends a file, if nobody writes it.
async fn send(client: &Client, wish: &Wish, prefix: &str, name: &str) -> Result<Outcome, Error> {
    let path = wish.folder.join(name);
    let place = path.clone();
    let before = blocking(move || {
        let meta = fs::metadata(&place).map_err(|e| Error::local("read", &place, e))?;
        Ok((!settled::is_being_written(&place)).then(|| Fingerprint::of(&meta)))
    });
    let Some(before) = before.await? else {
        return Ok(Outcome::Unsettled);
    };
    let options = Options {
        content_type: wish.content_type.clone(),
        lanes: lanes_each(MOST_LANES, wish.parallel),
        ..Options::default()
    };
    let (bucket, key) = (&wish.to.bucket, format!("{prefix}{name}"));
    let unwatched = &crate::transfer::Unwatched;
    let pushed = upload::push(client, &path, bucket, &key, &options, unwatched).await?;
    Ok(Outcome::Sent(Box::new(pushed), before))
}

/// Hidden files and those that another program has not finished are not meant.
fn is_meant(name: &str) -> bool {
    let hidden = name.split('/').any(|part| part.starts_with('.'));
    !hidden && !UNFINISHED.iter().any(|end| name.ends_with(end))
}

fn left_alone_since(here: &Here) -> Instant {
    let modified =
        SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(here.modified_ns).unwrap_or(0));
    let now = Instant::now();
    let age = modified.elapsed().unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_unfinished_files_are_not_meant() {
        for name in ["film.mkv", "a/b.mp4", "partial"] {
            assert!(is_meant(name), "{name}");
        }
        for name in [
            ".film.mkv.x7",
            "a/.tmp/b",
            "film.mkv.part",
            "x.crdownload",
            "notes~",
        ] {
            assert!(!is_meant(name), "{name}");
        }
    }
}
