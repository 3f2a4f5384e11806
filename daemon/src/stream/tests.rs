//! Films through a real worker, real sockets and FFmpeg as the player: the playlist is the truth, packet for packet.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cache;
mod mended;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use bytes::Bytes;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{StreamParts, router};
use crate::blob::{BlobOptions, Blobs};
use crate::catalog::Catalog;
use crate::http::{Gate, context};
use crate::identity::{Caller, Identity, LinkScope};
use crate::kernel::{BucketName, Clock};
use crate::media::{Hardware, Media, MediaParts, RungSetting, WorkerOptions, planner};
use crate::queue::{Bell, Embedded, Jobs};
use crate::store::{Condition, ObjectHeaders, PutObject, Store, StoreParts, WriteOptions};

/// One frame of the slowest film made here, in seconds.
const FRAME_S: f64 = 0.0667;

struct House {
    store: Store,
    media: Media,
    identity: Identity,
    base: String,
    cancel: CancellationToken,
    tasks: TaskTracker,
    dir: tempfile::TempDir,
}

/// The worker's binary, or none with a loud word.
fn worker() -> Option<PathBuf> {
    let named = std::env::var_os("NEBULA_WORKER").map(PathBuf::from);
    let beside = std::env::current_exe()
        .ok()?
        .parent()?
        .parent()?
        .join("nebula-worker");
    let found = named.into_iter().chain([beside]).find(|path| path.exists());
    if found.is_none() {
        println!("SKIPPED: nebula-worker was not built; run `cargo build -p nebula-hwaccel` first");
    }
    found
}

async fn house(ladder: Vec<RungSetting>) -> Option<House> {
    let binary = worker()?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.sqlite");
    let catalog = Catalog::open(&crate::catalog::Options::Sqlite(file))
        .await
        .unwrap();
    let clock = Clock::system();
    let options = BlobOptions {
        dir: dir.path().join("blobs"),
        reserve_bytes: 0,
    };
    let bell = Bell::new();
    let store = Store::new(StoreParts {
        catalog: catalog.clone(),
        blobs: Blobs::open(options).await.unwrap(),
        clock: clock.clone(),
        planner: planner(clock.clone()),
        bell: bell.clone(),
        inline_bytes_max: 16 * 1024,
        master: crate::kernel::MasterKey::from_bytes([7; 32]),
    });
    let jobs = Jobs::new(catalog.clone(), clock.clone(), bell.clone());
    let queue = Arc::new(Embedded::new(catalog.clone(), clock.clone(), bell));
    let media = Media::new(MediaParts {
        store: store.clone(),
        jobs,
        ladder,
        cache_bytes: Some(1),
    });
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let options = WorkerOptions {
        name: "test".into(),
        binary,
        slots: 1,
        memory_bytes: 4 << 30,
        hardware: Hardware::Software,
        lease_ms: 30_000,
    };
    media.worker(queue, options, &tasks, &cancel);
    let options = crate::identity::Options {
        data_dir: dir.path().into(),
        tailnet: None,
    };
    let identity = Identity::open(catalog, clock.clone(), options)
        .await
        .unwrap();
    let gate = Gate::new(identity.clone(), clock, Vec::new());
    let parts = StreamParts {
        media: media.clone(),
    };
    let app = router(parts).layer(from_fn_with_state(gate, context));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = cancel.clone();
    tasks.spawn(async move {
        tokio::select! {
            served = axum::serve(listener, app) => served.unwrap(),
            () = stop.cancelled() => {}
        }
    });
    let films: BucketName = "films".parse().unwrap();
    store.create_bucket(&films, "test").await.unwrap();
    Some(House {
        store,
        media,
        identity,
        base,
        cancel,
        tasks,
        dir,
    })
}

impl House {
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let bucket: BucketName = "films".parse().unwrap();
        let options = WriteOptions {
            encryption: self.store.encryption(&bucket, None).await.unwrap(),
            ..WriteOptions::default()
        };
        let mut writer = self.store.writer(options).await.unwrap();
        writer.write(Bytes::from(bytes)).await.unwrap();
        let put = PutObject {
            bucket,
            key: key.parse().unwrap(),
            headers: ObjectHeaders::default(),
            tags: crate::store::Tags::default(),
            extras: crate::store::ObjectExtras::default(),
            owner: "test".into(),
            condition: Condition::default(),
            etag: None,
        };
        self.store
            .publish(put, writer.seal().await.unwrap())
            .await
            .unwrap();
    }

    /// The address of a film's files behind a signed link.
    async fn link(&self, key: &str) -> String {
        let scope = LinkScope::Object("films".parse().unwrap(), key.parse().unwrap());
        let made = self
            .identity
            .create_link(&Caller::system(), scope, 3600)
            .await
            .unwrap();
        let key = nebula_api::routes::encode_key(key);
        format!(
            "{}/-/link/{}/hls/films/{key}",
            self.base,
            made.token.reveal()
        )
    }

    async fn close(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        drop(self.dir);
    }
}

async fn get(url: &str) -> (u16, Bytes) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap())
}

async fn text(url: &str) -> String {
    let (status, body) = get(url).await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(status, 200, "{url}: {body}");
    body
}

async fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A film of eight seconds, made by FFmpeg with these arguments for its output.
async fn make(dir: &Path, name: &str, arguments: &str) -> Vec<u8> {
    let path = dir.join(name);
    let mut command = "-v error -f lavfi -i testsrc2=s=320x240:r=25:d=8 -f lavfi -i sine=f=440:r=48000:d=8 -f lavfi -i sine=f=880:r=44100:d=8 -pix_fmt yuv420p"
        .split(' ')
        .collect::<Vec<_>>();
    command.extend(arguments.split_whitespace());
    command.push(path.to_str().unwrap());
    run("ffmpeg", &command).await;
    std::fs::read(path).unwrap()
}

/// Packets of one stream, hashed in order.
async fn packets(input: &str, map: &str, ignore_edits: bool) -> String {
    let mut arguments = vec!["-v", "error"];
    if ignore_edits {
        arguments.extend(["-ignore_editlist", "1"]);
    }
    arguments.extend([
        "-i",
        input,
        "-map",
        map,
        "-c",
        "copy",
        "-f",
        "streamhash",
        "-hash",
        "md5",
        "-",
    ]);
    let out = run("ffmpeg", &arguments).await;
    out.trim().rsplit('=').next().unwrap().to_owned()
}

/// Address and length of each segment of a media playlist, and its init segment.
fn entries(playlist: &str) -> (String, Vec<(String, f64)>) {
    let init = playlist
        .split("URI=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let mut length = 0.0;
    let mut out = Vec::new();
    for line in playlist.lines() {
        if let Some(rest) = line.strip_prefix("#EXTINF:") {
            length = rest.trim_end_matches(',').parse().unwrap();
        } else if !line.starts_with('#') {
            out.push((line.to_owned(), length));
        }
    }
    (init, out)
}

/// Checks one stream of a film against its source; returns the length that its playlist says.
async fn check(house: &House, url: &str, stream: &str, source: &Path, map: &str) -> f64 {
    let playlist = text(&format!("{url}/{stream}")).await;
    let (init, segments) = entries(&playlist);
    let mp4 = source
        .extension()
        .is_some_and(|kind| kind == "mp4" || kind == "mov");
    let (_, init) = get(&format!("{url}/{init}")).await;
    let mut start = 0.0;
    let whole = house.dir.path().join("whole.mp4");
    let mut all = init.to_vec();
    for (uri, length) in &segments {
        let (status, body) = get(&format!("{url}/{uri}")).await;
        assert_eq!(status, 200, "{uri}");
        all.extend_from_slice(&body);
        let file = house.dir.path().join("one.mp4");
        std::fs::write(&file, [&init[..], &body[..]].concat()).unwrap();
        let shown = run(
            "ffprobe",
            &[
                "-v",
                "error",
                "-show_entries",
                "packet=pts_time,flags",
                "-of",
                "csv=p=0",
                file.to_str().unwrap(),
            ],
        )
        .await;
        let first = shown.lines().next().unwrap();
        let (time, flags) = first.split_once(',').unwrap();
        let time: f64 = time.parse().unwrap();
        assert!(
            flags.starts_with('K'),
            "{uri} of {} starts with {first}",
            source.display()
        );
        // Sound may begin with priming before zero, or a little after it.
        let slack = if stream.starts_with('v') || start > 0.0 {
            0.001
        } else {
            0.1
        };
        assert!(
            (time - start).abs() <= slack,
            "{uri} of {}: {time} instead of {start}",
            source.display()
        );
        start += length;
    }
    std::fs::write(&whole, all).unwrap();
    let ours = packets(whole.to_str().unwrap(), "0", false).await;
    // Where an edit list ends a track early, the samples behind its end are served or not; both are the source's.
    let mut theirs = vec![packets(source.to_str().unwrap(), map, false).await];
    if mp4 {
        theirs.push(packets(source.to_str().unwrap(), map, true).await);
    }
    assert!(
        theirs.contains(&ours),
        "{stream} of {}: {ours} is none of {theirs:?}",
        source.display()
    );
    start
}

/// Plays a film by its master playlist and compares every original stream with the source.
async fn play(house: &House, name: &str, bytes: Vec<u8>) {
    let source = house.dir.path().join(name);
    std::fs::write(&source, &bytes).unwrap();
    house.put(name, bytes).await;
    let url = house.link(name).await;
    let master = text(&format!("{url}/master.m3u8")).await;
    let listed = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "stream=index,codec_type,id",
            "-of",
            "csv=p=0",
            source.to_str().unwrap(),
        ],
    )
    .await;
    let mut order: Vec<(&str, usize)> = Vec::new();
    for line in listed.lines() {
        let mut parts = line.split(',');
        let (index, kind) = (parts.next().unwrap(), parts.next().unwrap());
        let nth = order.iter().filter(|(known, _)| *known == kind).count();
        order.push((
            if kind == "video" {
                "video"
            } else if kind == "audio" {
                "audio"
            } else {
                "other"
            },
            nth,
        ));
        let letter = match kind {
            "video" => 'v',
            "audio" => 'a',
            _ => continue,
        };
        // Streams are named by the track's number in the file, which FFmpeg's index follows.
        let found = master.lines().find_map(|line| {
            let at = line.find(&format!("{letter}{index}.m3u8"))?;
            Some(line[at..].trim_end_matches('"').to_owned())
        });
        let Some(stream) = found else { continue };
        let length = check(house, &url, &stream, &source, &format!("0:{index}")).await;
        let expected = run(
            "ffprobe",
            &[
                "-v",
                "error",
                "-show_entries",
                "format=duration",
                "-of",
                "csv=p=0",
                source.to_str().unwrap(),
            ],
        )
        .await;
        let expected: f64 = expected.trim().parse().unwrap();
        println!("{name}: {stream} plays {length:.3} s of {expected:.3} s");
        assert!(
            length <= expected + FRAME_S,
            "{name}: {length} of {expected}"
        );
    }
    assert!(master.contains("#EXT-X-STREAM-INF"), "{name}: {master}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_films_play_packet_for_packet() {
    let Some(house) = house(Vec::new()).await else {
        return;
    };
    let table = [
        (
            "plain.mp4",
            "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -bf 0 -c:a aac",
        ),
        (
            "b-frames.mp4",
            "-map 0 -map 1 -c:v libx264 -preset veryfast -g 50 -bf 3 -c:a aac -movflags +faststart",
        ),
        (
            "long-gop.mp4",
            "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 1000 -keyint_min 1000 -sc_threshold 0 -c:a aac",
        ),
        (
            "two-sounds.mp4",
            "-map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -g 30 -c:a aac",
        ),
        (
            "vfr.mp4",
            "-map 0 -map 1 -vf select='not(mod(n\\,3))+lt(mod(n\\,50)\\,20)' -vsync vfr -c:v libx264 -preset veryfast -g 40 -bf 2 -c:a aac",
        ),
        (
            "fragmented.mp4",
            "-map 0 -map 1 -c:v libx264 -preset veryfast -g 25 -c:a aac -movflags +frag_keyframe+empty_moov",
        ),
        (
            "film.mkv",
            "-map 0 -map 1 -c:v libx264 -preset veryfast -g 25 -c:a aac",
        ),
    ];
    for (name, arguments) in table {
        let bytes = make(house.dir.path(), &format!("made-{name}"), arguments).await;
        play(&house, name, bytes).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_film_is_indexed_and_plays_as_any_other() {
    let Some(house) = house(Vec::new()).await else {
        return;
    };
    let bucket: BucketName = "films".parse().unwrap();
    let by_default = crate::store::DefaultEncryption::default();
    let set = house
        .store
        .set_default_encryption(&bucket, Some(by_default));
    set.await.unwrap();
    let arguments = "-map 0 -map 1 -c:v libx264 -preset ultrafast -b:v 4M -g 25 -bf 0 -c:a aac";
    let bytes = make(house.dir.path(), "made-secret.mp4", arguments).await;
    play(&house, "secret.mp4", bytes).await;
    let object = house
        .store
        .head(&bucket, &"secret.mp4".parse().unwrap(), None)
        .await
        .unwrap();
    assert!(object.encrypted().is_some());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_films_play_packet_for_packet() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let dir = std::env::var_os("NEBULA_SAMPLES").map_or(root, PathBuf::from);
    if !dir.is_dir() {
        println!(
            "SKIPPED: no films in {}; set NEBULA_SAMPLES to a directory of them",
            dir.display()
        );
        return;
    }
    let Some(house) = house(Vec::new()).await else {
        return;
    };
    for name in [
        "bigbuckbunny_720p_5s.mp4",
        "intel__car-detection.mp4",
        "mp4__bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4",
        "mp4__long_1080p_lowbitrate.mp4",
        "mp4__sample_with_increasing_timestamps_360p.mp4",
    ] {
        play(&house, name, std::fs::read(dir.join(name)).unwrap()).await;
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_appears_under_the_same_address() {
    let Some(house) = house(small_rung()).await else {
        return;
    };
    let bytes = make(
        house.dir.path(),
        "film.mp4",
        "-map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac",
    )
    .await;
    house.put("dir/film.mp4", bytes).await;
    let url = house.link("dir/film.mp4").await;
    let stream = rung(&house, &url).await;
    let playlist = text(&format!("{url}/{stream}")).await;
    let (init, segments) = entries(&playlist);
    let total: f64 = segments.iter().map(|(_, length)| length).sum();
    assert!((total - 8.0).abs() < FRAME_S, "{playlist}");
    let mut all = get(&format!("{url}/{init}")).await.1.to_vec();
    for (uri, _) in &segments {
        all.extend_from_slice(&get(&format!("{url}/{uri}")).await.1);
    }
    let file = house.dir.path().join("rung.mp4");
    std::fs::write(&file, all).unwrap();
    let frames = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
            file.to_str().unwrap(),
        ],
    )
    .await;
    assert_eq!(frames.trim(), "200");
    house.close().await;
}

fn small_rung() -> Vec<RungSetting> {
    vec![RungSetting {
        name: "120p".into(),
        height: 120,
        video_bps: 300_000,
    }]
}

/// For what a worker makes of some seconds of film, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);

/// What `look` finds, once it is there: it looks again whenever the store has changed.
async fn once<T>(house: &House, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let mut changes = house.store.changes();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        let changed = tokio::time::timeout_at(deadline, changes.changed()).await;
        changed
            .unwrap_or_else(|_| panic!("{what} never came"))
            .unwrap();
    }
}

/// The address of the rung of 120 lines, once the master playlist lists it.
async fn rung(house: &House, url: &str) -> String {
    let look = async || {
        let master = text(&format!("{url}/master.m3u8")).await;
        let line = master.lines().find(|line| line.starts_with("120p-"))?;
        assert!(master.contains("RESOLUTION=160x120"), "{master}");
        Some(line.to_owned())
    };
    once(house, "the rung", look).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_played_says_why() {
    let Some(house) = house(Vec::new()).await else {
        return;
    };
    house
        .put("text.mp4", "no film at all, ".repeat(4000).into_bytes())
        .await;
    let url = house.link("text.mp4").await;
    let (status, body) = get(&format!("{url}/master.m3u8")).await;
    assert_eq!(status, 422, "{body:?}");
    // Nothing beyond what the link opens.
    let other = url.replace("text.mp4", "other.mp4");
    assert_eq!(get(&format!("{other}/master.m3u8")).await.0, 404);
    let open = format!("{}/-/hls/films/text.mp4/master.m3u8", house.base);
    assert_eq!(get(&open).await.0, 401);
    house.close().await;
}
