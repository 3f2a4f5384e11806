//! What the node is working on.

use super::{
    Context, SHORT_ID,
    args::{Jobs, JobsCommand},
    short_id,
};
use crate::term::{
    self, human,
    live::{self, Live},
    table::{Column, Table},
    text::Text,
    theme::{BAD, BOLD, BUSY, DIM, GOOD, PLAIN, WARN},
};
use anstyle::Style;
use nebula_client::{
    Client, Error, Exit,
    api::{Job, JobState, JobsQuery, MAX_PAGE_ITEMS, Problem, problem::code},
};
use std::{collections::HashMap, fmt::Write as _, time::Duration};
use tokio::time::timeout;

/// How long a broken event stream is tried again; the clock redraws meanwhile.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long a live table stands without being drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// Lists, watches, cancels or retries.
pub async fn run(cx: &Context, args: &Jobs) -> Result<Exit, Error> {
    let client = cx.client()?;
    match &args.command {
        Some(JobsCommand::Cancel { id }) => {
            let job = client.cancel_job(&whole_id(&client, id).await?).await?;
            cx.done(
                &job,
                Text::plain(format!("Job {} is {}", job.id, job.state.as_str())),
            );
            Ok(Exit::Ok)
        }
        Some(JobsCommand::Retry { id }) => {
            let job = client.retry_job(&whole_id(&client, id).await?).await?;
            cx.done(
                &job,
                Text::plain(format!("Job {} is {}", job.id, job.state.as_str())),
            );
            cx.next("watch it", "nebula jobs --watch");
            Ok(Exit::Ok)
        }
        None if args.watch && cx.global.json => watch_json(&client, args).await,
        None if args.watch && term::on_terminal() => watch(&client, args).await,
        None => list(cx, &client, args).await,
    }
}

async fn list(cx: &Context, client: &Client, args: &Jobs) -> Result<Exit, Error> {
    let jobs = client.jobs(&query(args)).await?.items;
    if cx.global.json {
        for j in &jobs {
            super::print_json(j);
        }
    } else if jobs.is_empty() {
        if term::on_terminal() {
            anstream::println!("There are no jobs.");
        }
    } else {
        table(&jobs).print("Jobs", &footer(&jobs));
    }
    Ok(Exit::Ok)
}

fn query(args: &Jobs) -> JobsQuery {
    JobsQuery {
        state: args.state,
        kind: args.kind.clone(),
        limit: Some(args.limit),
        ..JobsQuery::default()
    }
}

/// The job whose id starts like this, among the latest.
async fn whole_id(client: &Client, id: &str) -> Result<String, Error> {
    let query = JobsQuery {
        limit: Some(MAX_PAGE_ITEMS),
        ..JobsQuery::default()
    };
    let jobs = client.jobs(&query).await?.items;
    match super::the_one("jobs", id, jobs, |job| &job.id)? {
        Some(job) => Ok(job.id),
        // Not among the latest; the node may know it all the same.
        None if id.len() > SHORT_ID => Ok(id.to_owned()),
        None => Err(Error::NotFound(Box::new(
            Problem::new(404, code::JOB_NOT_FOUND, &format!("There is no job {id}"))
                .hint("nebula jobs"),
        ))),
    }
}

fn style(state: JobState) -> (Style, &'static str) {
    match state {
        JobState::Queued => (PLAIN, "·"),
        JobState::Running => (BUSY, "▸"),
        JobState::Done => (GOOD, "✓"),
        JobState::Failed | JobState::Dead => (BAD, "✗"),
        JobState::Cancelled | JobState::Other => (WARN, "−"),
    }
}

fn table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&[
        Column::Left("Job"),
        Column::Left("Kind"),
        Column::Left("State"),
        Column::Left("Progress"),
        Column::Gives("Object"),
        Column::Gives("Note"),
        Column::Left("Age"),
    ]);
    for job in jobs {
        let (colour, mark) = style(job.state);
        let object = job.object.as_ref();
        let object = object.map(|o| format!("{}:{}", o.bucket, o.key));
        table.row([
            Text::styled(BOLD, short_id(&job.id)),
            Text::plain(&job.kind),
            Text::styled(colour, format!("{mark} {}", job.state.as_str())),
            progress(job),
            Text::plain(object.unwrap_or_default()),
            Text::styled(DIM, note(job)),
            Text::styled(DIM, human::age(job.created_at_ms).trim_end_matches(" ago")),
        ]);
    }
    table
}

fn progress(job: &Job) -> Text {
    match job.state {
        JobState::Running => live::bar(job.progress),
        JobState::Done => took(job),
        _ => Text::default(),
    }
}

fn took(job: &Job) -> Text {
    let (Some(start), Some(end)) = (job.started_at_ms, job.finished_at_ms) else {
        return Text::default();
    };
    let ms = end.saturating_sub(start).max(0);
    Text::styled(
        DIM,
        if ms < 10_000 {
            format!("{:.1} s", ms as f64 / 1000.0)
        } else {
            human::span(ms as u64 / 1000)
        },
    )
}

fn note(job: &Job) -> String {
    let mut note = String::new();
    match (&job.state, &job.reason, &job.stage) {
        (JobState::Running, _, Some(stage)) => note.push_str(stage),
        (JobState::Done, _, _) => {}
        (_, Some(reason), _) => note.push_str(reason),
        _ => {}
    }
    if job.attempt > 1 {
        let gap = if note.is_empty() { "" } else { ", " };
        let _ = write!(note, "{gap}attempt {} of {}", job.attempt, job.max_attempts);
    }
    note
}

fn footer(jobs: &[Job]) -> String {
    let count = |state| jobs.iter().filter(|j| j.state == state).count();
    let parts: Vec<String> = JobState::ALL
        .into_iter()
        .map(|state| (state, count(state)))
        .filter(|(_, n)| *n > 0)
        .map(|(state, n)| format!("{n} {}", state.as_str()))
        .collect();
    parts.join(", ")
}

/// Draws the table again and again, in place; an event of the node wakes it early.
async fn watch(client: &Client, args: &Jobs) -> Result<Exit, Error> {
    let mut events = client.events(None, PATIENCE);
    let mut live = Live::default();
    loop {
        let jobs = client.jobs(&query(args)).await?.items;
        live.draw(if jobs.is_empty() {
            "There are no jobs.\n".to_owned()
        } else {
            table(&jobs).framed("Jobs", &footer(&jobs), term::columns())
        });
        // Without an event stream the clock alone will do; bursts of events are drawn once.
        let _ = timeout(REDRAW, events.next()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One line per job that changed.
async fn watch_json(client: &Client, args: &Jobs) -> Result<Exit, Error> {
    let mut seen: HashMap<String, Job> = HashMap::new();
    let mut events = client.events(None, PATIENCE);
    loop {
        let jobs = client.jobs(&query(args)).await?.items;
        for job in &jobs {
            if seen.get(&job.id) != Some(job) {
                super::print_json(job);
            }
        }
        seen = jobs.into_iter().map(|j| (j.id.clone(), j)).collect();
        let _ = timeout(REDRAW, events.next()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
