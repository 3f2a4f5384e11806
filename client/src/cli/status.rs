//! The node at a glance.

use super::{Context, quota};
use crate::term::{
    box_width, boxed,
    human::{self, size},
    text::Text,
    theme::{BAD, BUSY, DIM, GOOD, NAME, PLAIN, WARN},
};
use nebula_client::{
    Error, Exit,
    api::{Disk, JobCounts, Scrub, Status, Storage},
};

/// How many cells the bar of the disk takes.
const BAR_CELLS: usize = 30;

/// Shows the node's status.
pub async fn run(cx: &Context) -> Result<Exit, Error> {
    let client = cx.client()?;
    let status = client.status().await?;
    if cx.global.json {
        super::print_json(&status);
        return Ok(Exit::Ok);
    }
    let width = box_width();
    let body = body(&status);
    let footer = format!("up {}", human::span(status.uptime_ms / 1000));
    anstream::print!("{}", boxed::lines(&status.node, &footer, &body, width, DIM));
    Ok(Exit::Ok)
}

fn body(status: &Status) -> Vec<Text> {
    let label = |name: &str| Text::styled(DIM, format!("{name:<10}"));
    let device = status.hardware.device.as_deref();
    let mut body = vec![
        label("Nebula")
            .and(PLAIN, &status.version)
            .and(DIM, format!(" ({})", status.build_id)),
        label("Listens").and(PLAIN, status.listen.join(", ")),
        label("You").and(NAME, &status.me.actor).and(
            DIM,
            format!(" {}, {}", status.me.role.as_str(), status.me.rule),
        ),
    ];
    let (usage, quota) = (status.me.usage, status.me.quota);
    let noun = match quota.objects.unwrap_or(usage.objects) {
        1 => " object",
        _ => " objects",
    };
    body.push(
        label("Yours")
            .joined(quota::size(usage, quota))
            .and(DIM, " in ")
            .joined(quota::objects(usage, quota))
            .and(DIM, noun),
    );
    body.push(Text::default());
    body.push(label("Disk").joined(disk(&status.storage)));
    body.push(label("").and(
        DIM,
        format!(
            "{} free of {}, {} in {}, {} kept in reserve",
            size(status.storage.free_bytes),
            size(status.storage.total_bytes),
            size(status.storage.used_bytes),
            human::count(status.storage.objects, "object"),
            size(status.storage.reserve_bytes),
        ),
    ));
    for disk in status
        .storage
        .disks
        .iter()
        .filter(|_| status.storage.disks.len() > 1)
    {
        body.push(label("").joined(one_disk(disk)));
    }
    body.push(label("Scrub").joined(scrub(&status.scrub)));
    body.push(label("Jobs").joined(jobs(status.jobs)));
    body.push(
        label("Transcode")
            .and(NAME, transcoder(&status.hardware.choice))
            .and(
                PLAIN,
                device.map(|d| format!(" on {d}")).unwrap_or_default(),
            ),
    );
    body.extend(
        Text::styled(DIM, &status.hardware.reason)
            .wrapped(box_width().saturating_sub(14))
            .into_iter()
            .filter(|line| line.width() > 0)
            .map(|line| label("").joined(line)),
    );
    body.push(
        label("Catalog")
            .and(PLAIN, &status.database)
            .and(DIM, format!("   queue {}", status.queue)),
    );
    body
}

/// What transcodes; a node that has not transcoded yet has not tried its hardware either.
fn transcoder(choice: &str) -> &str {
    match choice {
        "" | "unknown" => "not tried yet",
        known => known,
    }
}

fn disk(storage: &Storage) -> Text {
    let total = storage.total_bytes.max(1);
    let used = total.saturating_sub(storage.free_bytes);
    let share = used as f64 / total as f64;
    let full = (share * BAR_CELLS as f64).round() as usize;
    let colour = if storage.free_bytes <= storage.reserve_bytes {
        BAD
    } else if share > 0.9 {
        WARN
    } else {
        GOOD
    };
    Text::styled(colour, "━".repeat(full.min(BAR_CELLS)))
        .and(DIM, "━".repeat(BAR_CELLS.saturating_sub(full)))
        .and(PLAIN, format!(" {} full", human::percent(share)))
}

/// One of several disks.
fn one_disk(disk: &Disk) -> Text {
    let text = Text::styled(NAME, &disk.name);
    match &disk.away {
        Some(why) => text.and(BAD, format!(" is away: {why}")),
        None => text
            .and(
                PLAIN,
                format!(
                    " {} free of {}",
                    size(disk.free_bytes),
                    size(disk.total_bytes)
                ),
            )
            .and(WARN, if disk.draining { ", being emptied" } else { "" }),
    }
}

/// How the walk that looks for damage stands; what it found comes first.
fn scrub(scrub: &Scrub) -> Text {
    let mut text = Text::default();
    if scrub.quarantined > 0 {
        text = text.and(
            BAD,
            format!(
                "{} set aside; `nebulad fsck` on the node names what is lost. ",
                human::count(scrub.quarantined, "damaged file")
            ),
        );
    }
    if scrub.running {
        let share = scrub.done_bytes as f64 / scrub.total_bytes.max(1) as f64;
        let state = format!("running, {}", human::percent(share.min(1.0)));
        return text.and(BUSY, state);
    }
    match (scrub.finished_at_ms, scrub.healed) {
        (None, _) => text.and(DIM, "has not run yet"),
        (Some(_), 0) => text.and(GOOD, format!("{} read", size(scrub.done_bytes))),
        (Some(_), healed) => text.and(
            WARN,
            format!(
                "{} read, {} healed from a copy",
                size(scrub.done_bytes),
                human::count(healed, "file")
            ),
        ),
    }
}

fn jobs(counts: JobCounts) -> Text {
    let parts = [
        (counts.running, "running", BUSY),
        (counts.queued, "queued", PLAIN),
        (counts.done, "done", GOOD),
        (counts.failed, "failed", BAD),
        (counts.dead, "dead", BAD),
        (counts.cancelled, "cancelled", WARN),
    ];
    let mut text = Text::default();
    for (number, word, style) in parts.into_iter().filter(|p| p.0 > 0) {
        let gap = if text.width() > 0 { ", " } else { "" };
        text = text
            .and(DIM, gap)
            .and(style, format!("{} {word}", human::thousands(number)));
    }
    if text.width() == 0 {
        text = Text::styled(DIM, "none");
    }
    text
}
