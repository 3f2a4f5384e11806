//! Films: made once with ffmpeg and kept beside the build, or taken from a folder of samples.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::cache;

/// How long a made film plays.
pub const FILM_S: u32 = 20;
/// Between two keyframes of a made film.
pub const KEYFRAME_S: u32 = 2;
/// Frames a second of a made film.
pub const RATE: u32 = 24;
/// Where samples lie when they are not in `../shared/media` beside the workspace.
const SAMPLES: &str = "NEBULA_SAMPLES";

/// H.264 and AAC in mp4, 1280×720 at 24 frames a second, [`FILM_S`] long; `None`, said loudly, without ffmpeg.
pub fn mp4() -> Option<PathBuf> {
    make("film-720-1.mp4", "1280x720", &["-movflags", "+faststart"])
}

/// The same in 1920×1080: every rung of the default ladder is worth making.
pub fn large() -> Option<PathBuf> {
    make("film-1080-1.mp4", "1920x1080", &["-movflags", "+faststart"])
}

/// The smaller one in Matroska.
pub fn mkv() -> Option<PathBuf> {
    make("film-720-1.mkv", "1280x720", &[])
}

/// A sample by its name; `None`, said loudly, where there are no samples.
pub fn sample(name: &str) -> Option<PathBuf> {
    let path = sample_folder().join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: the sample {name} is not here ({SAMPLES} names the folder of samples)");
    None
}

/// A film of a test's own: `arguments` are those of ffmpeg between its inputs' first word and the name of the output.
///
/// `name` is that of the file that is kept, so another content needs another name; `None`, said loudly, without ffmpeg.
///
/// # Panics
/// When ffmpeg refuses.
pub fn made(name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let folder = cache("films");
    let path = folder.join(name);
    // Tests run in several processes, and one of them makes the film.
    let door = File::create(folder.join(format!("{name}.lock"))).expect("the cache takes files");
    door.lock().expect("the cache's file can be locked");
    if path.exists() {
        return Some(path);
    }
    let unfinished = folder.join(format!("unfinished-{name}"));
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .arg(&unfinished)
        .stdin(Stdio::null())
        .output();
    let Ok(made) = made else {
        eprintln!("SKIPPED: ffmpeg is not installed (apt-get install ffmpeg)");
        return None;
    };
    assert!(
        made.status.success(),
        "ffmpeg {arguments:?}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    std::fs::rename(&unfinished, &path).expect("the film gets its name");
    Some(path)
}

/// Every sample there is, in order of their names; empty, said loudly, where there are none.
pub fn samples() -> Vec<PathBuf> {
    let folder = sample_folder();
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: there are no samples ({SAMPLES} names the folder of samples)");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|word| word != "md"))
        .collect();
    paths.sort();
    paths
}

fn sample_folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    std::env::var_os(SAMPLES).map_or(beside, PathBuf::from)
}

fn make(name: &str, size: &str, container: &[&str]) -> Option<PathBuf> {
    let picture = format!("testsrc2=size={size}:rate={RATE}");
    let (length, group) = (FILM_S.to_string(), (RATE * KEYFRAME_S).to_string());
    #[rustfmt::skip]
    let mut arguments = vec![
        "-f", "lavfi", "-i", &picture,
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-t", &length,
        "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-pix_fmt", "yuv420p",
        "-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "2500k", "-sc_threshold", "0", "-g", &group,
        "-c:a", "aac", "-b:a", "128k", "-ac", "2",
        "-metadata", "title=A film of bars",
    ];
    arguments.extend(container);
    made(name, &arguments)
}
