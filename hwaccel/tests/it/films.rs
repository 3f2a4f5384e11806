//! Films: made with the `ffmpeg` command, or real ones.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Real films, where they are there: `NEBULA_SAMPLES`, or `../shared/media` above the workspace.
pub fn samples() -> Option<PathBuf> {
    let named = std::env::var_os("NEBULA_SAMPLES").map(PathBuf::from);
    let above = || {
        let mut at = Path::new(env!("CARGO_MANIFEST_DIR"));
        for _ in 0..4 {
            at = at.parent()?;
            let found = at.join("shared/media");
            if found.is_dir() {
                return Some(found);
            }
        }
        None
    };
    let found = named.or_else(above).filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("SKIPPED: no real films; set NEBULA_SAMPLES to a folder with some");
    }
    found
}

/// Runs `ffmpeg`; false (and loudly) when it is not installed.
pub fn ffmpeg(arguments: &[&str], out: &Path) -> bool {
    let Ok(done) = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .arg(out)
        .output()
    else {
        println!("SKIPPED: the ffmpeg command is not installed (apt install ffmpeg)");
        return false;
    };
    assert!(
        done.status.success(),
        "ffmpeg {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    true
}

/// A film of `seconds` with B-frames and sound.
pub fn film(out: &Path, seconds: u32, more: &[&str]) -> bool {
    let length = seconds.to_string();
    let picture = "testsrc2=size=640x360:rate=24".to_owned();
    let mut arguments = vec![
        "-f",
        "lavfi",
        "-i",
        &picture,
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=44100",
    ];
    arguments.extend([
        "-t",
        &length,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-bf",
        "2",
        "-b_strategy",
        "0",
        "-g",
        "48",
    ]);
    arguments.extend(["-c:a", "aac", "-ac", "2", "-shortest"]);
    arguments.extend(more);
    ffmpeg(&arguments, out)
}

/// Rows of `ffprobe -show_entries … -of csv`, each split at the commas.
pub fn ffprobe(path: &Path, arguments: &[&str]) -> Vec<Vec<String>> {
    let done = Command::new("ffprobe")
        .args(["-v", "error"])
        .args(arguments)
        .args(["-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe comes with ffmpeg");
    assert!(
        done.status.success(),
        "ffprobe: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(
        done.stderr.is_empty(),
        "ffprobe complains: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}
