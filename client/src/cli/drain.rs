//! Emptying disks while the node serves.

use super::{Context, args::DrainArgs};
use crate::term::{
    human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, BUSY, DIM, GOOD, WARN},
};
use nebula_client::{
    Client, Error, Exit,
    api::{BeginDrain, Drain, DrainState},
};
use serde_json::json;
use std::time::Duration;

/// Between two looks at a drain that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Begins, takes back, or tells how it stands.
pub async fn run(cx: &Context, args: &DrainArgs) -> Result<Exit, Error> {
    let client = cx.client()?;
    let Some(disk) = &args.disk else {
        return list(cx, &client).await;
    };
    if args.cancel {
        client.cancel_drain(disk).await?;
        let line = format!("{disk} takes new files again");
        cx.done(&json!({"cancelled": disk}), Text::plain(line));
        return Ok(Exit::Ok);
    }
    let begin = BeginDrain {
        disk: disk.clone(),
        bytes_per_s: args.rate.as_ref().and_then(|rate| rate.0),
    };
    let mut drain = client.begin_drain(&begin).await?;
    if args.wait {
        while matches!(drain.state, DrainState::Running | DrainState::Waiting) {
            tokio::time::sleep(LOOK_EVERY).await;
            let all = client.drains().await?;
            match all.into_iter().find(|one| &one.disk == disk) {
                Some(now) => drain = now,
                None => {
                    cx.done(
                        &json!({"cancelled": disk}),
                        Text::plain(format!("{disk} is not being emptied any more")),
                    );
                    return Ok(Exit::Failure);
                }
            }
        }
    }
    cx.done(&drain, Text::plain(sentence(&drain)));
    match drain.state {
        DrainState::Done => {
            cx.next("then", "take it out of data.disks and restart the node");
            Ok(Exit::Ok)
        }
        DrainState::Stuck => Ok(Exit::Partly),
        DrainState::Running | DrainState::Waiting => {
            cx.next("see how it goes", "nebula drain");
            Ok(Exit::Ok)
        }
    }
}

fn sentence(drain: &Drain) -> String {
    let disk = &drain.disk;
    let moved = format!(
        "{} ({}) moved",
        human::count(drain.moved_files, "file"),
        human::size(drain.moved_bytes)
    );
    match (drain.state, &drain.reason) {
        (DrainState::Done, _) => format!("{disk} is empty, {moved}"),
        (DrainState::Stuck, Some(why)) => format!("{disk} cannot be emptied yet: {why}; {moved}"),
        _ => format!("{disk} is being emptied"),
    }
}

async fn list(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let drains = client.drains().await?;
    if cx.global.json {
        for drain in &drains {
            super::print_json(drain);
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Left("Disk"),
        Column::Left("State"),
        Column::Right("Moved"),
        Column::Right("Size"),
        Column::Right("Left"),
        Column::Left("Since"),
        Column::Gives("Why"),
    ]);
    for drain in &drains {
        let style = match drain.state {
            DrainState::Done => GOOD,
            DrainState::Stuck => WARN,
            DrainState::Running => BUSY,
            DrainState::Waiting => DIM,
        };
        table.row([
            Text::styled(BOLD, &drain.disk),
            Text::styled(style, drain.state.as_str()),
            Text::plain(drain.moved_files.to_string()),
            Text::plain(human::size(drain.moved_bytes)),
            Text::plain(drain.left_files.to_string()),
            Text::styled(DIM, human::age(drain.started_at_ms)),
            Text::plain(
                drain
                    .stuck
                    .first()
                    .or(drain.reason.as_ref())
                    .cloned()
                    .unwrap_or_default(),
            ),
        ]);
    }
    table.print(
        "Disks being emptied",
        &human::count(drains.len() as u64, "disk"),
    );
    Ok(Exit::Ok)
}
