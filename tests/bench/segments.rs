//! Segments that are cut as they are asked for, beside nginx with the same segments as files; what many viewers cost;
//! and how soon a player has the playlist of a long film.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use nebula_tests::films;

use crate::compare::{Case, Pace, Per, Side, print_absent, print_head, print_line};
use crate::load::{self, Request, Script, Until};
use crate::ranges::basic;
use crate::server::Server;
use crate::sign::Signer;
use crate::usage;

const TITLE: &str = "Segments cut as they are asked for";
/// The bench is of what is cut from the file: nothing is to be encoded meanwhile.
const CONFIG: &str = "[media]\nladder = []\n";
/// Until a film is looked at.
const LOOKED_AT: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(20);
/// Of the warm playlist.
const WARM_ROUNDS: usize = 50;
const COLD_ROUNDS: usize = 9;
const VIEWERS: usize = 64;
const IDLE: usize = 500;
/// How long they are watched: the kernel counts processor time in hundredths of a second.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// What each of the idle ones took before it paused.
const IDLE_BYTES: u64 = 64 * 1024;

/// Every row.
pub async fn rows(pace: Pace, place: &Path) -> Result<()> {
    let films = [
        ("720p, 1 MB", films::mp4()),
        ("2160p, 15 MB", large()),
        ("two hours", long()),
    ];
    let mut put = Vec::new();
    for (name, film) in films {
        let Some(film) = film else {
            print_absent(TITLE, "ffmpeg", "apt-get install ffmpeg");
            return Ok(());
        };
        put.push((name, film));
    }
    let place = &place.join("segments");
    let root = place.join("www");
    std::fs::create_dir_all(&root)?;
    let mut ours = Server::ours_with(place, CONFIG).await.context("nebulad")?;
    let signer = Signer::new(&ours.host());
    let bucket = Request::of(signer.head("PUT", "/bench", ""));
    ensure!(
        load::status(ours.address, &bucket).await? == 200,
        "no bucket"
    );
    let mut cut = Vec::new();
    for (name, film) in &put {
        let key = store(&ours, film).await?;
        cut.push((*name, Film::of(&ours, &key).await.with_context(|| key)?));
    }
    beside_nginx(pace, place, &root, &ours, &cut[..2]).await?;
    // What it took for the rows above it would not take again.
    drop(ours);
    ours = Server::ours_with(place, CONFIG).await.context("nebulad")?;
    viewers(pace, &ours, &cut[0].1).await?;
    // The last film is the long one: its first playlist after a start is a cold one.
    let long = &cut[2].1;
    let (mut cold_ms, mut warm_ms) = (Vec::new(), Vec::new());
    for _ in 0..COLD_ROUNDS {
        drop(ours);
        ours = Server::ours_with(place, CONFIG).await.context("nebulad")?;
        cold_ms.push(playlist_ms(&ours, long, "master.m3u8").await?);
        for _ in 0..WARM_ROUNDS {
            warm_ms.push(playlist_ms(&ours, long, "master.m3u8").await?);
        }
    }
    let mut media_ms = Vec::new();
    for _ in 0..WARM_ROUNDS {
        media_ms.push(playlist_ms(&ours, long, &long.playlist).await?);
    }
    print_head(
        &format!(
            "Playlists of a film of two hours, {} segments",
            long.segments.len()
        ),
        &[],
    );
    print_line("master, cold", "ms ↓", middle(cold_ms), &[]);
    print_line("master, warm", "ms ↓", middle(warm_ms), &[]);
    print_line("picture, warm", "ms ↓", middle(media_ms), &[]);
    Ok(())
}

/// A film in the daemon, as its playlists name it.
struct Film {
    /// Before the names of its files, percent-encoded.
    folder: String,
    /// Of the pictures.
    playlist: String,
    segments: Vec<String>,
}

impl Film {
    async fn of(ours: &Server, key: &str) -> Result<Self> {
        let folder = format!("/-/hls/bench/{key}");
        let start = Instant::now();
        let master = loop {
            let request = get(ours, &format!("{folder}/master.m3u8"));
            match load::body(ours.address, &request).await {
                Ok(text) => break String::from_utf8(text)?,
                Err(error) if start.elapsed() > LOOKED_AT => return Err(error),
                Err(_) => tokio::time::sleep(STEP).await,
            }
        };
        let uris = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        };
        let playlist = uris(&master).swap_remove(0);
        let request = get(ours, &format!("{folder}/{playlist}"));
        let text = String::from_utf8(load::body(ours.address, &request).await?)?;
        Ok(Self {
            folder,
            playlist,
            segments: uris(&text),
        })
    }

    /// Every connection goes through the film from a place of its own.
    fn script(&self, server: &Server) -> Script {
        let heads = self.segments.iter();
        let heads = heads.map(|uri| head(server, &format!("{}/{uri}", self.folder)));
        in_turns(heads.collect())
    }
}

fn in_turns(heads: Vec<String>) -> Script {
    Arc::new(move |connection, n| {
        let at = (connection * 3 + n as usize) % heads.len();
        Request::of(heads[at].clone())
    })
}

/// 2160p of 24 frames a second at 30 Mbit/s, by repeating what is dear to encode.
fn large() -> Option<PathBuf> {
    #[rustfmt::skip]
    let shot = films::made("bench-2160p.mp4", &[
        "-f", "lavfi", "-i", "testsrc2=size=3840x2160:rate=24,noise=alls=12:allf=t",
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "8", "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "30M", "-maxrate", "30M", "-bufsize", "30M",
        "-g", "96", "-sc_threshold", "0", "-c:a", "aac",
    ])?;
    repeated("bench-2160p-long.mp4", &shot, "5")
}

/// Two hours at a low rate, with as many samples as any film of that length.
fn long() -> Option<PathBuf> {
    #[rustfmt::skip]
    let minute = films::made("bench-minute.mp4", &[
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24",
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "60", "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "100k", "-g", "96", "-sc_threshold", "0", "-c:a", "aac",
        "-b:a", "48k",
    ])?;
    repeated("bench-two-hours.mp4", &minute, "119")
}

fn repeated(name: &str, film: &Path, times: &str) -> Option<PathBuf> {
    let film = film.to_str()?;
    #[rustfmt::skip]
    let arguments = ["-stream_loop", times, "-i", film, "-c", "copy", "-movflags", "+faststart"];
    films::made(name, &arguments)
}

async fn store(ours: &Server, film: &Path) -> Result<String> {
    let key = film.file_name().and_then(|name| name.to_str());
    let key = key.context("a name")?.to_owned();
    let bytes = Bytes::from(std::fs::read(film)?);
    let head = Signer::new(&ours.host()).head("PUT", &format!("/bench/{key}"), "");
    let status = load::status(ours.address, &Request::with_body(&head, bytes, 1)).await?;
    ensure!(status == 200, "{key} was answered {status}");
    Ok(key)
}

async fn beside_nginx(
    pace: Pace,
    place: &Path,
    root: &Path,
    ours: &Server,
    films: &[(&'static str, Film)],
) -> Result<()> {
    let Some(nginx) = Server::nginx(place, root).await? else {
        print_absent(TITLE, "nginx", "apt-get install nginx-light");
        return Ok(());
    };
    print_head(
        &format!("{TITLE}: /-/hls/ beside nginx with the same segments as files"),
        &["nginx"],
    );
    let files = [Server::blobs_of_ours(place), root.to_owned()];
    for (number, (name, film)) in films.iter().enumerate() {
        let folder = root.join(number.to_string());
        std::fs::create_dir_all(&folder)?;
        let mut heads = Vec::new();
        for (at, uri) in film.segments.iter().enumerate() {
            let request = get(ours, &format!("{}/{uri}", film.folder));
            let bytes = load::body(ours.address, &request).await?;
            std::fs::write(folder.join(format!("{at}.m4s")), bytes)?;
            heads.push(head(&nginx, &format!("/{number}/{at}.m4s")));
        }
        for connections in [4, VIEWERS] {
            let case = Case::new(
                format!("{name}, {connections} connections"),
                Per::Byte,
                connections,
            )
            .over(&files);
            let heads = heads.clone();
            case.compare(
                pace,
                Side {
                    name: "ours",
                    server: ours,
                    script: Box::new(|_| film.script(ours)),
                },
                vec![Side {
                    name: "nginx",
                    server: &nginx,
                    script: Box::new(move |_| in_turns(heads.clone())),
                }],
            )
            .await?;
        }
    }
    Ok(())
}

/// What many viewers add to what one has.
async fn viewers(pace: Pace, ours: &Server, film: &Film) -> Result<()> {
    let (pid, until) = (ours.pid(), Until::Time(pace.time));
    let script = || film.script(ours);
    load::run(ours.address, 1, until, script()).await?;
    usage::forget_peak(pid);
    let one_mib = usage::peak_mib(pid);
    load::run(ours.address, VIEWERS, until, script()).await?;
    let many_mib = usage::peak_mib(pid) - one_mib;

    let pause = |script: Script| -> Script {
        Arc::new(move |connection, n| {
            let mut request = script(connection, n);
            let range = format!("range: bytes=0-{}\r\n\r\n", IDLE_BYTES - 1);
            request.head.truncate(request.head.len() - 2);
            request.head += &range;
            request
        })
    };
    let idle = load::open(ours.address, IDLE, pause(script())).await?;
    usage::forget_peak(pid);
    let before = usage::cpu_s(pid);
    let quiet = Instant::now();
    tokio::time::sleep(IDLE_TIME).await;
    let idle_cpu = (usage::cpu_s(pid) - before) / quiet.elapsed().as_secs_f64();
    let before = usage::cpu_s(pid);
    let done = load::run(ours.address, VIEWERS, until, script()).await?;
    let busy_cpu = usage::cpu_s(pid) - before;
    let all_mib = usage::peak_mib(pid) - one_mib;
    drop(idle);

    print_head("Viewers of segments, on loopback as fast as they can", &[]);
    let bytes = done.bytes as f64;
    print_line(&format!("{VIEWERS} streams add"), "MiB ↓", many_mib, &[]);
    print_line(
        &format!("{IDLE} idle take"),
        "CPU % ↓",
        idle_cpu * 100.0,
        &[],
    );
    let rate = bytes / (1u64 << 20) as f64 / done.wall_s;
    let name = format!("{IDLE} idle and {VIEWERS} busy");
    print_line(&name, "MiB/s ↑", rate, &[]);
    let cpu = busy_cpu * (1u64 << 30) as f64 / bytes;
    print_line("", "CPU s/GiB ↓", cpu, &[]);
    print_line("", "added MiB ↓", all_mib, &[]);
    Ok(())
}

/// How long a playlist takes, its connection included.
async fn playlist_ms(ours: &Server, film: &Film, name: &str) -> Result<f64> {
    let request = get(ours, &format!("{}/{name}", film.folder));
    let start = Instant::now();
    let body = load::body(ours.address, &request).await?;
    let took_ms = start.elapsed().as_secs_f64() * 1e3;
    ensure!(body.starts_with(b"#EXTM3U"), "no playlist");
    Ok(took_ms)
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn get(server: &Server, path: &str) -> Request {
    Request::of(head(server, path))
}

fn head(server: &Server, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\n",
        server.host(),
        basic()
    )
}
