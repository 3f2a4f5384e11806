//! Making a folder and a part of a bucket equal, in one direction.

use super::{Context, args::Sync, push, tick};
use crate::{
    failed_line,
    term::{
        bars::Bars,
        human,
        text::Text,
        theme::{BAD, BOLD, DIM, PLAIN, WARN},
    },
};
use futures::StreamExt as _;
use nebula_client::{
    Client, Error, Exit, Remote, download,
    pace::{MOST_LANES, lanes_each},
    sync::{self, Compare, Deletion, Filter, Plan, Transfer, Way, Wish},
    upload::{self, Options},
};
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What a sync did.
#[derive(Default)]
struct Done {
    files: u64,
    deleted: u64,
    wire_bytes: u64,
    failed: Vec<Error>,
}

/// What is synced.
struct Sides {
    folder: PathBuf,
    remote: Remote,
    wish: Wish,
}

/// Plans, shows the plan, and carries it out unless only that was asked for.
pub async fn run(cx: &Context, args: &Sync) -> Result<Exit, Error> {
    let sides = sides(args)?;
    let client = cx.client()?;
    let plan = sync::plan(&client, &sides.folder, &sides.remote, &sides.wish).await;
    let plan = cx.or_meant(&client, &sides.remote.bucket, plan).await?;
    for (name, error) in &plan.unreadable {
        anstream::eprintln!("{}", failed_line(name, error));
    }
    if args.dry_run {
        show(cx, &sides, &plan);
        total(cx, &sides, &plan, None);
        return Ok(if plan.unreadable.is_empty() {
            Exit::Ok
        } else {
            Exit::Partly
        });
    }
    let mut done = transfer(cx, &client, &sides, &plan, args.parallel.into()).await;
    if done.failed.is_empty() {
        delete(cx, &client, &sides, &plan, &mut done).await;
    }
    total(cx, &sides, &plan, Some(&done));
    let (well, badly) = (done.files + done.deleted, done.failed.len());
    Ok(match done.failed.first() {
        None if plan.unreadable.is_empty() => Exit::Ok,
        Some(error) if well == 0 && badly > 0 && plan.unreadable.is_empty() => error.exit(),
        _ => Exit::Partly,
    })
}

fn sides(args: &Sync) -> Result<Sides, Error> {
    let remote = |text: &str| {
        // What exists here is meant, whatever it looks like.
        let looks_remote = text.starts_with("s3://") || text.contains(':');
        (looks_remote && !Path::new(text).exists()).then(|| text.parse::<Remote>())
    };
    let (way, folder, remote) = match (remote(&args.from), remote(&args.to)) {
        (None, Some(to)) => (Way::ToBucket, &args.from, to?),
        (Some(from), None) => (Way::FromBucket, &args.to, from?),
        (None, None) => {
            return Err(Error::Usage {
                message: "Neither side is a bucket.".into(),
                hint: Some(format!("nebula sync {} bucket:", args.from)),
            });
        }
        (Some(_), Some(_)) => {
            return Err(Error::Usage {
                message: "Both sides are buckets, and one must be a folder here.".into(),
                hint: Some("nebula sync FOLDER bucket:prefix".into()),
            });
        }
    };
    Ok(Sides {
        folder: PathBuf::from(folder),
        remote,
        wish: Wish {
            way,
            compare: if args.checksum {
                Compare::Hash
            } else {
                Compare::SizeAndTime
            },
            delete: args.delete,
            force: args.force,
            filter: Filter::new(&args.include, &args.exclude)?,
            parallel: args.parallel.into(),
        },
    })
}

/// `send` or `fetch`.
fn verb(sides: &Sides) -> &'static str {
    match sides.wish.way {
        Way::ToBucket => "send",
        Way::FromBucket => "fetch",
    }
}

/// One line for each thing to do.
fn show(cx: &Context, sides: &Sides, plan: &Plan) {
    let line = |action: &str, name: &str, size_bytes: u64, why: &str| {
        if cx.global.json {
            super::print_json(&json!({"type": "plan", "action": action,
                "name": name, "size_bytes": size_bytes, "reason": why}));
        } else if !cx.global.quiet {
            let line = Text::styled(if action == "delete" { BAD } else { BOLD }, action)
                .and(PLAIN, format!("  {name}"))
                .and(DIM, format!("  {}, {why}", human::size(size_bytes)));
            anstream::println!("{line}");
        }
    };
    for one in &plan.transfers {
        line(verb(sides), &one.name, one.size_bytes, one.reason.as_str());
    }
    for one in &plan.deletions {
        line("delete", &one.name, one.size_bytes, "not in the source");
    }
}

async fn transfer(
    cx: &Context,
    client: &Client,
    sides: &Sides,
    plan: &Plan,
    parallel: usize,
) -> Done {
    let bytes = plan.transfers.iter().map(|one| one.size_bytes).sum();
    let bars = Bars::new(push::show(cx), "sync", plan.transfers.len(), bytes);
    let mut done = Done::default();
    let mut running = futures::stream::iter(&plan.transfers)
        .map(async |one| (one, carry(client, sides, one, &bars).await))
        .buffer_unordered(parallel);
    while let Some((one, carried)) = running.next().await {
        bars.file_ended();
        match carried {
            Ok(wire_bytes) => {
                done.files += 1;
                told(cx, &bars, sides, one, wire_bytes);
            }
            Err(error) => {
                bars.say(&failed_line(&one.name, &error));
                done.failed.push(error);
            }
        }
    }
    drop(running);
    bars.finish();
    // Those of transfers that failed too.
    done.wire_bytes = bars.wire_bytes();
    done
}

/// Sends or fetches one file; gives what of it went over the wire.
async fn carry(client: &Client, sides: &Sides, one: &Transfer, bars: &Bars) -> Result<u64, Error> {
    let bar = bars.file(&one.name, Some(one.size_bytes));
    let bucket = &sides.remote.bucket;
    let (wire_bytes, was_there) = match sides.wish.way {
        Way::ToBucket => {
            let options = Options {
                lanes: lanes_each(MOST_LANES, sides.wish.parallel),
                ..Options::default()
            };
            let pushed = upload::push(client, &one.path, bucket, &one.key, &options, &bar).await?;
            (pushed.sent_bytes, pushed.was_there || pushed.copied)
        }
        Way::FromBucket => {
            let options = download::Options {
                lanes: lanes_each(MOST_LANES, sides.wish.parallel),
                ..download::Options::default()
            };
            let (key, to) = (one.key.as_str(), one.path.as_path());
            let pulled = download::pull_with(client, bucket, key, None, to, &options, &bar).await?;
            (pulled.received_bytes, pulled.was_there)
        }
    };
    if was_there {
        bar.skipped();
    }
    Ok(wire_bytes)
}

fn told(cx: &Context, bars: &Bars, sides: &Sides, one: &Transfer, wire_bytes: u64) {
    if cx.global.json {
        let action = match sides.wish.way {
            Way::ToBucket => "sent",
            Way::FromBucket => "fetched",
        };
        bars.result(
            &json!({"type": action, "name": one.name, "key": one.key, "path": one.path,
                "size_bytes": one.size_bytes, "wire_bytes": wire_bytes,
                "reason": one.reason.as_str()})
            .to_string(),
        );
    } else if !cx.global.quiet {
        let why = format!("  {}, {}", human::size(one.size_bytes), one.reason.as_str());
        bars.result(&tick(Text::plain(&one.name).and(DIM, why)).to_string());
    }
}

/// Removes what the source does not have; only after everything that it has is there.
async fn delete(cx: &Context, client: &Client, sides: &Sides, plan: &Plan, done: &mut Done) {
    let mut running = futures::stream::iter(&plan.deletions)
        .map(async |one| (one, remove(client, sides, one).await))
        .buffer_unordered(sides.wish.parallel);
    while let Some((one, removed)) = running.next().await {
        match removed {
            Ok(()) => {
                done.deleted += 1;
                if cx.global.json {
                    super::print_json(&json!({"type": "deleted", "name": one.name,
                        "size_bytes": one.size_bytes}));
                } else if !cx.global.quiet {
                    let line = Text::plain(&one.name).and(DIM, "  deleted");
                    anstream::println!("{}", tick(line));
                }
            }
            Err(error) => {
                anstream::eprintln!("{}", failed_line(&one.name, &error));
                done.failed.push(error);
            }
        }
    }
}

async fn remove(client: &Client, sides: &Sides, one: &Deletion) -> Result<(), Error> {
    let Some(here) = one.here.clone() else {
        let bucket = &sides.remote.bucket;
        return client.delete_object(bucket, &one.key, None).await;
    };
    let folder = sides.folder.clone();
    tokio::task::spawn_blocking(move || sync::delete_here(&folder, &here))
        .await
        .unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// The last line: what was done, or would be, and how it was decided.
fn total(cx: &Context, sides: &Sides, plan: &Plan, done: Option<&Done>) {
    let compared = sides.wish.compare.as_str();
    let bytes: u64 = plan.transfers.iter().map(|one| one.size_bytes).sum();
    let failed = done.map_or(0, |done| done.failed.len()) + plan.unreadable.len();
    if cx.global.json {
        super::print_json(&json!({"type": "total", "dry_run": done.is_none(),
            "compared_by": compared, "without_hash": plan.without_hash, "same": plan.same,
            "planned": plan.transfers.len(), "planned_bytes": bytes,
            "planned_deletions": plan.deletions.len(), "held_back": plan.held_back,
            "files": done.map_or(0, |done| done.files), "deleted": done.map_or(0, |done| done.deleted),
            "wire_bytes": done.map_or(0, |done| done.wire_bytes), "failed": failed}));
        return;
    }
    if plan.held_back > 0 {
        let held = human::count(plan.held_back as u64, "file");
        let line = Text::styled(WARN, format!("{held} not deleted"))
            .and(DIM, ": not all of the source could be looked at");
        anstream::eprintln!("{line}");
    } else if done.is_some_and(|done| !done.failed.is_empty() && done.deleted == 0)
        && !plan.deletions.is_empty()
    {
        let held = human::count(plan.deletions.len() as u64, "file");
        let line = Text::styled(WARN, format!("{held} not deleted"))
            .and(DIM, ": first everything else must be there");
        anstream::eprintln!("{line}");
    }
    if cx.global.quiet {
        return;
    }
    let past = match sides.wish.way {
        Way::ToBucket => "sent",
        Way::FromBucket => "fetched",
    };
    let (files, deleted, bytes) = match done {
        Some(done) => (done.files, done.deleted, done.wire_bytes),
        None => (
            plan.transfers.len() as u64,
            plan.deletions.len() as u64,
            bytes,
        ),
    };
    let begin = if done.is_some() { "" } else { "would be " };
    let mut line = Text::styled(BOLD, human::count(files, "file"))
        .and(PLAIN, format!(" {begin}{past}, {}", human::size(bytes)));
    if deleted > 0 {
        line = line.and(PLAIN, format!(", {} deleted", human::thousands(deleted)));
    }
    if failed > 0 {
        line = line.and(BAD, format!(", {failed} failed"));
    }
    let mut how = format!(
        "; {} equal by {compared}",
        human::thousands(plan.same as u64)
    );
    if plan.without_hash > 0 {
        let without_hash = human::thousands(plan.without_hash as u64);
        let _ = write!(
            how,
            ", {without_hash} of them by time: the node has no hash"
        );
    }
    anstream::println!("{}", line.and(DIM, how));
}
