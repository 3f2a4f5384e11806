//! A ladder of two rungs beside the `ffmpeg` command with the same encoder settings.
//!
//! Ours is counted from the last byte of the upload to the end of the job, so the index that the ladder needs and the
//! sandbox are in it; the command is counted from its start to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;

use crate::compare::{Measure, Pace, median, print_absent, print_head, print_row};
use crate::load::{self, Request};
use crate::ranges::basic;
use crate::server::{Server, find};
use crate::sign::Signer;
use crate::usage;

const TITLE: &str = "Ladder of 720p and 480p from 1080p";
/// A ladder that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at memory and job.
const STEP: Duration = Duration::from_millis(50);
const ROUNDS_MAX: usize = 2;

/// The row.
pub async fn row(pace: Pace, place: &Path, ours: &Server) -> Result<()> {
    let Some(ffmpeg) = find("ffmpeg", &["/usr/bin/ffmpeg"]) else {
        print_absent(TITLE, "ffmpeg", "apt-get install ffmpeg");
        return Ok(());
    };
    let film = place.join("film.mp4");
    make_film(&ffmpeg, pace.film_s, &film)?;
    let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
    for round in 0..pace.rounds.min(ROUNDS_MAX) {
        let measure = by_daemon(ours, &film, round).await;
        of_ours.push(measure.context("the ladder of ours")?);
        let measure = by_command(&ffmpeg, &film, &place.join(format!("ladder-{round}"))).await;
        of_peer.push(measure.context("the ladder of the ffmpeg command")?);
    }
    print_head(
        &format!(
            "{TITLE}, {} s of film beside the ffmpeg command",
            pace.film_s
        ),
        &["ffmpeg"],
    );
    let units = ["seconds ↓", "CPU s ↓"];
    print_row(
        "x264 veryfast, crf 23",
        units,
        median(&of_ours),
        &[Some(median(&of_peer))],
    );
    Ok(())
}

fn make_film(ffmpeg: &Path, film_s: u32, film: &Path) -> Result<()> {
    let picture = format!("testsrc2=size=1920x1080:rate=25:duration={film_s}");
    let status = Command::new(ffmpeg)
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &picture])
        .args(["-f", "lavfi", "-i", &format!("sine=duration={film_s}")])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "100"])
        .args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"])
        .args(["-movflags", "+faststart"])
        .arg(film)
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "ffmpeg makes no film: {status}");
    Ok(())
}

async fn by_daemon(ours: &Server, film: &Path, round: usize) -> Result<Measure> {
    // Renditions are kept by content: a box of padding makes each round's film a new one.
    let mut content = fs::read(film)?;
    let padding = [0, 0, 0, 12, b'f', b'r', b'e', b'e', 0, 0, 0, round as u8];
    content.extend(padding);
    let signer = Signer::new(&ours.host());
    let head = signer.head("PUT", &format!("/bench/film-{round}.mp4"), "");
    let request = Request::with_body(&head, Bytes::from(content), 1);

    let pid = ours.pid();
    usage::forget_peak(pid);
    let before = usage::cpu_s(pid);
    let status = load::status(ours.address, &request).await?;
    ensure!(status == 200, "the film was answered {status}");
    let start = Instant::now();
    let mut peak_mib: f64 = 0.0;
    while !ladder_is_done(ours, round + 1).await? {
        ensure!(start.elapsed() < PATIENCE, "no ladder after {PATIENCE:?}");
        peak_mib = peak_mib.max(usage::peak_mib(pid));
        tokio::time::sleep(STEP).await;
    }
    let wall_s = start.elapsed().as_secs_f64();
    // A worker is counted once it was waited for.
    while !usage::is_alone(pid) && start.elapsed() < PATIENCE {
        tokio::time::sleep(STEP).await;
    }
    Ok(Measure {
        rate: wall_s,
        cpu: usage::cpu_s(pid) - before,
        peak_mib,
    })
}

/// Whether so many ladders have ended well; one that ended otherwise is an error.
async fn ladder_is_done(ours: &Server, wanted: usize) -> Result<bool> {
    let request = Request::of(format!(
        "GET /-/api/v1/jobs?kind=ladder HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\n",
        ours.host(),
        basic()
    ));
    let body = load::body(ours.address, &request).await?;
    let page: nebula_api::Page<nebula_api::Job> = serde_json::from_slice(&body)?;
    let mut done = 0;
    for job in &page.items {
        match job.state {
            nebula_api::JobState::Done => done += 1,
            nebula_api::JobState::Queued | nebula_api::JobState::Running => {}
            _ => bail!("a ladder ended {:?}: {:?}", job.state, job.reason),
        }
    }
    Ok(done >= wanted)
}

async fn by_command(ffmpeg: &Path, film: &Path, into: &Path) -> Result<Measure> {
    fs::create_dir_all(into)?;
    let mut command = Command::new(ffmpeg);
    command
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(film)
        .arg("-filter_complex")
        .arg(
            "[0:v]split=2[a][b];[a]scale=-2:720:flags=bicubic[c];[b]scale=-2:480:flags=bicubic[d]",
        );
    for (picture, name, rate_k) in [("[c]", "720p", 2800), ("[d]", "480p", 1200)] {
        let segments: PathBuf = into.join(format!("{name}-%d.m4s"));
        command
            .args(["-map", picture, "-c:v", "libx264", "-preset", "veryfast"])
            .args(["-crf", "23", "-profile:v", "high", "-threads", "2"])
            .args(["-maxrate", &format!("{rate_k}k")])
            .args(["-bufsize", &format!("{}k", rate_k * 2)])
            .args(["-force_key_frames", "expr:gte(t,n_forced*4)"])
            .args(["-f", "hls", "-hls_time", "4", "-hls_playlist_type", "vod"])
            .args(["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename"])
            .arg(format!("{name}-init.mp4"))
            .arg("-hls_segment_filename")
            .arg(segments)
            .arg(into.join(format!("{name}.m3u8")));
    }
    let before = usage::own_children_cpu_s();
    let start = Instant::now();
    let mut process = Command::stdin(&mut command, Stdio::null()).spawn()?;
    let mut peak_mib: f64 = 0.0;
    let status = loop {
        peak_mib = peak_mib.max(usage::peak_mib(process.id()));
        if let Some(status) = process.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            process.kill()?;
        }
        tokio::time::sleep(STEP / 5).await;
    };
    let wall_s = start.elapsed().as_secs_f64();
    ensure!(status.success(), "it ended with {status}");
    Ok(Measure {
        rate: wall_s,
        cpu: usage::own_children_cpu_s() - before,
        peak_mib,
    })
}
