//! Uploads that are not finished: how far they are, how fast they come, and which stand still.

use super::{Context, short_id};
use crate::term::{
    self, human,
    live::{self, Live},
    table::{Column, Table},
    text::Text,
    theme::{BOLD, DIM, WARN},
};
use clap::{Args, Subcommand};
use nebula_client::{
    Client, Error, Exit,
    api::{Problem, Upload, problem::code},
};
use std::{collections::HashMap, time::Duration};

/// How long a live table stands without being drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
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
    let one = super::the_one("uploads", id, uploads, |upload| &upload.id)?;
    one.ok_or_else(|| {
        let title = format!("There is no unfinished upload {id}");
        let problem = Problem::new(404, code::UPLOAD_NOT_FOUND, &title);
        Error::NotFound(Box::new(problem.hint("nebula uploads")))
    })
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
            Text::styled(BOLD, short_id(&upload.id)),
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
    match upload.size_bytes {
        Some(size) if size > 0 => live::bar(upload.offset_bytes as f64 / size as f64),
        _ => Text::default(),
    }
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
    let mut live = Live::default();
    loop {
        let uploads = client.all_uploads().await?;
        live.draw(if uploads.is_empty() {
            "There are no unfinished uploads.\n".to_owned()
        } else {
            table(&uploads).framed("Uploads", &footer(&uploads), term::columns())
        });
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
