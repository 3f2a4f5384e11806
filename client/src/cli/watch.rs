//! Watching a folder, now or for good.

use super::{Context, args::Push, tick};
use crate::{
    failed_line,
    term::{
        human,
        text::Text,
        theme::{DIM, PLAIN, WARN},
    },
};
use nebula_client::{
    Error, Exit,
    watch::{self, Event, Unit, Wish},
};
use serde_json::json;
use std::{path::PathBuf, process::Command, time::Duration};

/// Watches, or has systemd do so.
pub async fn run(cx: &Context, args: &Push) -> Result<Exit, Error> {
    let [folder] = args.paths.as_slice() else {
        return Err(Error::Usage {
            message: "One folder is watched at a time.".into(),
            hint: Some(format!("nebula push --watch FOLDER {}", args.to)),
        });
    };
    let fail = |e| Error::local("watch", folder, e);
    if args.uninstall {
        // The folder may be gone by now.
        let folder = folder
            .canonicalize()
            .or_else(|_| std::path::absolute(folder))
            .map_err(fail)?;
        return uninstall(cx, &unit(cx, args, &folder)?);
    }
    let folder = folder.canonicalize().map_err(fail)?;
    if !folder.is_dir() {
        return Err(Error::Usage {
            message: format!("{} is no folder.", folder.display()),
            hint: Some("A single file is sent without --watch.".into()),
        });
    }
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
    if args.install {
        return install(cx, &unit(cx, args, &folder)?);
    }
    let wish = Wish {
        folder,
        to: args.to.clone(),
        settle: Duration::from_secs(args.settle),
        parallel: args.parallel.into(),
        content_type: args.content_type.clone(),
    };
    match watch::run(&client, &wish, &|event| told(cx, &wish, &event)).await? {}
}

fn told(cx: &Context, wish: &Wish, event: &Event<'_>) {
    match event {
        Event::Watching { sent_before } if cx.global.json => super::print_json(
            &json!({"type": "watching", "folder": wish.folder, "sent_before": sent_before}),
        ),
        Event::Watching { sent_before } if !cx.global.quiet => {
            let line = Text::plain(format!("Watching {}", wish.folder.display())).and(
                DIM,
                format!(
                    " for {}; {} sent before",
                    wish.to,
                    human::count(*sent_before as u64, "file")
                ),
            );
            anstream::println!("{line}");
        }
        Event::Sent { path, pushed } if cx.global.json => {
            let o = &pushed.object.object;
            super::print_json(
                &json!({"type": "pushed", "source": path, "bucket": o.bucket, "key": o.key,
                "version": o.version, "size_bytes": o.size_bytes, "sent_bytes": pushed.sent_bytes,
                "blake3": pushed.blake3, "verified": pushed.verified.as_str(),
                "was_there": pushed.was_there}),
            );
        }
        Event::Sent { pushed, .. } if !cx.global.quiet => {
            let o = &pushed.object.object;
            let how = if pushed.was_there {
                "was there already"
            } else {
                "verified"
            };
            let line = Text::plain(format!("{}:{}", o.bucket, o.key))
                .and(DIM, format!("  {}, {how}", human::size(o.size_bytes)));
            anstream::println!("{}", tick(line));
        }
        Event::Failed { path, error } => {
            anstream::eprintln!("{}", failed_line(&path.display().to_string(), error));
        }
        _ => {}
    }
}

/// The unit of this folder and destination.
fn unit(cx: &Context, args: &Push, folder: &std::path::Path) -> Result<Unit, Error> {
    let program = std::env::current_exe();
    let program = program.map_err(|e| Error::local("find", PathBuf::from("nebula"), e))?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mut words: Vec<String> = ["push", "--watch", "--settle"].map(str::to_owned).into();
    words.push(format!("{}s", args.settle));
    words.extend(["--parallel".to_owned(), args.parallel.to_string()]);
    if let Some(kind) = &args.content_type {
        words.extend(["--content-type".to_owned(), kind.clone()]);
    }
    if let Some(profile) = &cx.global.profile {
        words.extend(["--profile".to_owned(), profile.clone()]);
    }
    words.extend(["--".to_owned(), text(folder), args.to.to_string()]);
    Ok(Unit::new(&program, &words, folder, &args.to.to_string()))
}

fn install(cx: &Context, unit: &Unit) -> Result<Exit, Error> {
    let path = unit.write()?;
    let started = systemctl(&["daemon-reload"]) && systemctl(&["enable", "--now", &unit.name]);
    cx.done(
        &json!({"type": "installed", "unit": unit.name, "path": path, "started": started}),
        Text::plain(path.display().to_string()).and(
            DIM,
            if started {
                ", started, and at each login"
            } else {
                ", written"
            },
        ),
    );
    if !started && !cx.global.quiet {
        let line = Text::styled(WARN, "systemd's user manager did not start it").and(
            PLAIN,
            format!(": systemctl --user enable --now {}", unit.name),
        );
        anstream::eprintln!("{line}");
    } else {
        cx.next(
            "what it does",
            &format!("journalctl --user -fu {}", unit.name),
        );
    }
    Ok(Exit::Ok)
}

fn uninstall(cx: &Context, unit: &Unit) -> Result<Exit, Error> {
    let stopped = systemctl(&["disable", "--now", &unit.name]);
    if !unit.remove()? {
        return Err(Error::Usage {
            message: format!("{} is not installed.", unit.name),
            hint: Some("Name folder and destination as they were when it was installed.".into()),
        });
    }
    systemctl(&["daemon-reload"]);
    cx.done(
        &json!({"type": "uninstalled", "unit": unit.name, "stopped": stopped}),
        Text::plain(&unit.name).and(DIM, " removed"),
    );
    Ok(Exit::Ok)
}

/// Whether the user's systemd did it.
fn systemctl(arguments: &[&str]) -> bool {
    let mut command = Command::new("systemctl");
    let quiet = command.arg("--user").arg("--quiet").args(arguments);
    let output = quiet.stdin(std::process::Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}
