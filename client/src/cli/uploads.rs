//! Uploads that are not finished: how far they are, how fast they come, and which stand still.

use super::Context;
use crate::term::{
    self, human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, BUSY, DIM, PLAIN, WARN},
};
use clap::{Args, Subcommand};
use nebula_client::{
    Client, Error, Exit,
    api::{Problem, Upload, problem::code},
};
use std::{collections::HashMap, fmt::Write as _, io::Write as _, time::Duration};

/// How long a live table stands without being drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// How many characters of an id are shown.
const SHORT_ID: usize = 8;
/// How many cells a progress bar takes.
const BAR_CELLS: usize = 12;
/// From when on an upload that sends nothing is said to be stalled.
const STALLED_MS: u64 = 10_000;

/// What is listed, watched or cancelled.
#[derive(Debug, Args)]
pub struct Uploads {
    #[command(subcommand)]
    pub command: Option<UploadsCommand>,
    /// Keep watching
    #[arg(long, short)]
    pub watch: bool,
}

/// What is done with one of them.
#[derive(Debug, Subcommand)]
pub enum UploadsCommand {
    /// Give an upload up: what it received is removed
    #[command(after_help = "$ nebula uploads cancel ID")]
    Cancel {
        /// Its id, or the beginning of it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Lists, watches or cancels.
pub async fn run(cx: &Context, args: &Uploads) -> Result<Exit, Error> {
    let client = cx.client()?;
    match &args.command {
        Some(UploadsCommand::Cancel { id }) => {
            let upload = whole(&client, id).await?;
            client.delete_upload(&upload.id).await?;
            let gone = human::size(upload.offset_bytes);
            let line = format!("Gave up {}:{}, {gone} removed", upload.bucket, upload.key);
            cx.done(&upload, Text::plain(line));
            Ok(Exit::Ok)
        }
        None if args.watch && cx.global.json => watch_json(&client).await,
        None if args.watch && term::on_terminal() => watch(&client).await,
        None => list(cx, &client).await,
    }
}

async fn list(cx: &Context, client: &Client) -> Result<Exit, Error> {
    let uploads = client.all_uploads().await?;
    if cx.global.json {
        for upload in &uploads {
            super::print_json(upload);
        }
    } else if uploads.is_empty() {
        if term::on_terminal() {
            anstream::println!("There are no unfinished uploads.");
        }
    } else {
        table(&uploads).print("Uploads", &footer(&uploads));
    }
    Ok(Exit::Ok)
}

/// The upload whose id starts like this.
async fn whole(client: &Client, id: &str) -> Result<Upload, Error> {
    let uploads = client.all_uploads().await?;
    let mut matching = uploads.into_iter().filter(|u| u.id.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some(upload), None) => Ok(upload),
        (Some(_), Some(_)) => Err(Error::Usage {
            message: format!("Several uploads are called {id}."),
            hint: Some("Type more of the id.".into()),
        }),
        (None, _) => Err(Error::NotFound(Box::new(
            Problem::new(
                404,
                code::UPLOAD_NOT_FOUND,
                &format!("There is no unfinished upload {id}"),
            )
            .hint("nebula uploads"),
        ))),
    }
}

fn table(uploads: &[Upload]) -> Table {
    let mut table = Table::new(&[
        Column::Left("Upload"),
        Column::Gives("Object"),
        Column::Left("Progress"),
        Column::Left("Received"),
        Column::Left("Speed"),
        Column::Left("Left"),
        Column::Left("Begun"),
    ]);
    for upload in uploads {
        table.row([
            Text::styled(BOLD, upload.id.get(..SHORT_ID).unwrap_or(&upload.id)),
            Text::plain(format!("{}:{}", upload.bucket, upload.key)),
            progress(upload),
            Text::plain(match upload.size_bytes {
                Some(size) => format!(
                    "{} of {}",
                    human::size(upload.offset_bytes),
                    human::size(size)
                ),
                None => human::size(upload.offset_bytes),
            }),
            speed(upload),
            Text::plain(left(upload)),
            Text::styled(
                DIM,
                human::age(upload.created_at_ms).trim_end_matches(" ago"),
            ),
        ]);
    }
    table
}

fn progress(upload: &Upload) -> Text {
    let Some(size) = upload.size_bytes.filter(|size| *size > 0) else {
        return Text::default();
    };
    let share = (upload.offset_bytes as f64 / size as f64).clamp(0.0, 1.0);
    let full = (share * BAR_CELLS as f64).round() as usize;
    Text::styled(BUSY, "━".repeat(full))
        .and(DIM, "━".repeat(BAR_CELLS - full))
        .and(PLAIN, format!(" {}", human::percent(share)))
}

/// What comes in a second, or why nothing does.
fn speed(upload: &Upload) -> Text {
    let quiet = upload.quiet_ms.unwrap_or(0);
    match (upload.is_receiving, upload.bytes_per_s) {
        (false, _) => Text::styled(DIM, "paused"),
        (true, _) if quiet >= STALLED_MS => {
            let line = format!("nothing for {}", human::span(quiet / 1000));
            Text::styled(WARN, line)
        }
        (true, bytes) => Text::plain(format!("{}/s", human::size(bytes.unwrap_or(0)))),
    }
}

fn left(upload: &Upload) -> String {
    let rest = upload
        .size_bytes
        .map(|size| size.saturating_sub(upload.offset_bytes));
    match (rest, upload.bytes_per_s) {
        (Some(rest), Some(speed)) if speed > 0 => human::span(rest / speed),
        _ => String::new(),
    }
}

fn footer(uploads: &[Upload]) -> String {
    let active = uploads.iter().filter(|u| u.is_receiving).count();
    let speed: u64 = uploads.iter().filter_map(|u| u.bytes_per_s).sum();
    let all = human::count(uploads.len() as u64, "upload");
    if active == 0 {
        return all;
    }
    format!("{all}, {active} receiving, {}/s", human::size(speed))
}

/// Draws the table again and again, in place.
async fn watch(client: &Client) -> Result<Exit, Error> {
    let mut drawn = 0;
    loop {
        let uploads = client.all_uploads().await?;
        let mut frame = if uploads.is_empty() {
            "There are no unfinished uploads.\n".to_owned()
        } else {
            table(&uploads).framed("Uploads", &footer(&uploads), term::columns())
        };
        let _ = writeln!(frame, "{}", Text::styled(DIM, " Ctrl-C ends"));
        let mut out = anstream::stdout().lock();
        // Up to where the last frame began, and away with it.
        let up = if drawn > 0 {
            format!("\x1b[{drawn}A\r\x1b[J")
        } else {
            String::new()
        };
        let _ = write!(out, "{up}{frame}");
        let _ = out.flush();
        drop(out);
        drawn = frame.lines().count();
        tokio::time::sleep(REDRAW).await;
    }
}

/// One line per upload that changed.
async fn watch_json(client: &Client) -> Result<Exit, Error> {
    let mut seen: HashMap<String, u64> = HashMap::new();
    loop {
        let uploads = client.all_uploads().await?;
        for upload in &uploads {
            if seen.get(&upload.id) != Some(&upload.offset_bytes) {
                super::print_json(upload);
            }
        }
        seen = uploads
            .into_iter()
            .map(|u| (u.id, u.offset_bytes))
            .collect();
        tokio::time::sleep(REDRAW).await;
    }
}
