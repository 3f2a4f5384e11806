//! `nebulad doctor`: this machine in one box, for a person who looks for the fault or writes a report.
//!
//! Nothing secret is in it: it may be pasted anywhere.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::check::Finding;
use crate::config::{Config, Tailscale};
use crate::telemetry::build::VERSION_AND_ID;

/// Inside the frame.
const WIDTH: usize = 92;
/// Of the words on the left.
const LABEL_WIDTH: usize = 16;

/// The report: sections of labelled lines, then what `check` found.
pub fn report(config: &Config, findings: &[Finding]) -> String {
    let machine = [
        ("nebulad", VERSION_AND_ID.to_owned()),
        ("system", system()),
        ("processor", processor()),
        ("memory", memory()),
        ("graphics", graphics()),
        ("media engine", worker_version(config)),
    ];
    let appliance = [
        ("listens on", config.server.listen.to_string()),
        ("data", space(&config.data.dir)),
        ("catalog", catalog(config)),
        ("jobs", jobs(config)),
        ("tailnet", tailnet(config)),
    ];
    let mut text = String::new();
    frame(&mut text, "Machine", &machine);
    frame(&mut text, "Appliance", &appliance);
    let found: Vec<(&str, String)> = findings
        .iter()
        .map(|finding| match &finding.outcome {
            Ok(words) => (finding.what, format!("ok    {words}")),
            Err(words) => (finding.what, format!("FAIL  {words}")),
        })
        .collect();
    frame(&mut text, "Check", &found);
    text
}

fn frame(text: &mut String, title: &str, lines: &[(&str, String)]) {
    let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 3));
    let mut put = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    put(format!("╭─ {title} {rule}╮"));
    let room = WIDTH - LABEL_WIDTH - 2;
    for (label, words) in lines {
        for (at, piece) in wrap(words, room).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let pad = " ".repeat(room.saturating_sub(piece.chars().count()));
            put(format!("│ {label:<LABEL_WIDTH$}{piece}{pad} │"));
        }
    }
    put(format!("╰{}╯", "─".repeat(WIDTH)));
}

/// Breaks at spaces, and inside words that are longer than a line.
fn wrap(words: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for word in words.split_inclusive(' ') {
        if width > 0 && width + word.trim_end().chars().count() > room {
            lines.push(String::new());
            width = 0;
        }
        for character in word.chars() {
            if width == room {
                lines.push(String::new());
                width = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(character);
            }
            width += 1;
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// The first value of `key` in a file of `key: value` or `key=value` lines.
fn value_in(path: &str, key: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn system() -> String {
    let name = value_in("/etc/os-release", "PRETTY_NAME", '=').unwrap_or("Linux".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{name}, kernel {}", kernel.trim())
}

fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = value_in("/proc/cpuinfo", "model name", ':').unwrap_or("unknown".to_owned());
    format!("{cores} × {model}")
}

fn memory() -> String {
    let gib = |key| {
        value_in("/proc/meminfo", key, ':')
            .and_then(|value| value.split(' ').next()?.parse::<f64>().ok())
            .map_or("?".to_owned(), |kib| {
                format!("{:.1}", kib / 1024.0 / 1024.0)
            })
    };
    format!(
        "{} GiB, {} GiB available",
        gib("MemTotal"),
        gib("MemAvailable")
    )
}

fn graphics() -> String {
    let mut nodes: Vec<String> = fs::read_dir("/dev/dri")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("renderD"))
        })
        .map(|path| {
            let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
            let usable = rustix::fs::access(&path, access).is_ok();
            let note = if usable {
                ""
            } else {
                " (no access: join the group render)"
            };
            format!("{}{note}", path.display())
        })
        .collect();
    nodes.sort();
    if nodes.is_empty() {
        "no render node, jobs run on the processor".to_owned()
    } else {
        nodes.join(", ")
    }
}

fn worker_version(config: &Config) -> String {
    let path = config.worker.binary_path();
    match std::process::Command::new(&path).arg("--version").output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().next().unwrap_or_default().to_owned()
        }
        Ok(output) => format!("{} does not run: {}", path.display(), output.status),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

fn space(dir: &Path) -> String {
    let mut text = dir.display().to_string();
    let existing = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    if let Ok(figures) = rustix::fs::statvfs(existing) {
        let gib = |blocks: u64| blocks as f64 * figures.f_frsize as f64 / f64::from(1 << 30);
        write!(
            text,
            ", {:.1} of {:.1} GiB free",
            gib(figures.f_bavail),
            gib(figures.f_blocks)
        )
        .expect("a String takes every text");
    }
    text
}

fn catalog(config: &Config) -> String {
    let url = config.secrets.database_url.expose();
    match url.split_once("://") {
        Some(("sqlite", path)) => format!("SQLite, {path}"),
        Some((_, rest)) => {
            // Whatever stands before the host may be a secret.
            let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("PostgreSQL at {}", host.split('?').next().unwrap_or(host))
        }
        None => "unknown".to_owned(),
    }
}

fn jobs(config: &Config) -> String {
    let carried = if config.secrets.redis_url.is_some() {
        "Redis"
    } else {
        "the catalog"
    };
    format!("{} at once here, carried by {carried}", config.worker.slots)
}

fn tailnet(config: &Config) -> String {
    let socket = &config.identity.tailscale_socket;
    match (config.identity.tailscale, socket.exists()) {
        (Tailscale::Off, _) => "off".to_owned(),
        (_, true) => format!("tailscaled at {}", socket.display()),
        (_, false) => format!("no tailscaled at {}", socket.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_frame_is_equally_wide() {
        let mut text = String::new();
        let long = format!("{} {}", "word ".repeat(40), "x".repeat(300));
        frame(
            &mut text,
            "Title",
            &[
                ("short", "ü".to_owned()),
                ("long", long),
                ("none", String::new()),
            ],
        );
        for line in text.lines() {
            assert_eq!(line.chars().count(), WIDTH + 2, "{line}");
        }
    }
}
