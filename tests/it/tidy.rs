//! The shape of the house, kept by a test: which room may lean on which, who alone may name a crate, how long a file
//! may be, and that every room introduces itself.
//!
//! The tables below are the architecture; ARCHITECTURE.md draws them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A room of the daemon and the rooms it may use besides itself.
struct Room(&'static str, &'static [&'static str]);

/// Rooms from the ground up. `telemetry` is for everyone above `kernel`: a metric's name is no dependency.
const ROOMS: &[Room] = &[
    Room("kernel", &[]),
    Room("config", &["kernel"]),
    Room("telemetry", &["kernel"]),
    Room("catalog", &["kernel", "telemetry"]),
    Room("blob", &["kernel", "telemetry"]),
    Room("queue", &["kernel", "telemetry", "catalog"]),
    Room("identity", &["kernel", "telemetry", "catalog"]),
    Room(
        "store",
        &["kernel", "telemetry", "catalog", "blob", "queue"],
    ),
    Room(
        "backup",
        &["kernel", "telemetry", "catalog", "blob", "store"],
    ),
    Room(
        "media",
        &["kernel", "telemetry", "catalog", "store", "queue"],
    ),
    // What store and queue say becomes a problem once, for all doors.
    Room(
        "http",
        &[
            "kernel",
            "telemetry",
            "catalog",
            "identity",
            "store",
            "queue",
        ],
    ),
    Room("notify", &["kernel", "telemetry", "catalog", "store"]),
    Room(
        "s3",
        &[
            "kernel",
            "telemetry",
            "catalog",
            "http",
            "identity",
            "store",
            "notify",
            "website",
        ],
    ),
    Room(
        "tus",
        &[
            "kernel",
            "telemetry",
            "catalog",
            "http",
            "identity",
            "store",
        ],
    ),
    Room(
        "website",
        &[
            "kernel",
            "telemetry",
            "catalog",
            "http",
            "identity",
            "store",
        ],
    ),
    Room(
        "stream",
        &[
            "kernel",
            "telemetry",
            "catalog",
            "http",
            "identity",
            "store",
            "media",
        ],
    ),
    Room(
        "admin",
        &[
            "kernel",
            "telemetry",
            "catalog",
            "http",
            "identity",
            "store",
            "media",
            "queue",
        ],
    ),
];

/// Rooms that see every other: wiring, listeners, signals, the command line.
const ROOF: &[&str] = &["app", "cli", "lib", "lifecycle", "main", "serve"];

/// The store's files in blob, what lies beside the database in catalog, the configuration's and its secrets' in config,
/// the keys' in identity, a backup's in backup; sockets and locks under the roof.
const FILE_OPENERS: &[&str] = &[
    "backup",
    "blob",
    "catalog",
    "config",
    "identity",
    "app",
    "cli",
    "serve",
    "lifecycle",
];

/// What only some rooms may name; a room of the roof may name it when it stands here as well.
const OWNED: &[(&str, &[&str])] = &[
    ("sqlx", &["catalog"]),
    ("redis", &["queue"]),
    ("s3s", &["s3"]),
    // The tailnet's LocalAPI; a worker elsewhere fetches its film over HTTP; webhooks; backups to S3.
    ("reqwest", &["backup", "identity", "media", "notify", "app"]),
    ("nebula_hwaccel", &["media"]),
    (
        "axum",
        &["http", "s3", "tus", "website", "stream", "admin", "app"],
    ),
    ("toml", &["config"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry", "config"]),
    ("clap", &["cli", "main", "app"]),
    ("anyhow", &["app", "serve", "main"]),
    ("sd_notify", &["serve", "lifecycle"]),
    ("listenfd", &["serve"]),
    ("std::fs", FILE_OPENERS),
    ("File::open", FILE_OPENERS),
    ("File::create", FILE_OPENERS),
    ("File::options", FILE_OPENERS),
    ("OpenOptions", FILE_OPENERS),
    ("tokio::fs", &["blob"]),
    // Descriptors of a worker's sandbox are handed over by media.
    (
        "rustix",
        &["backup", "blob", "media", "app", "cli", "lifecycle"],
    ),
];

/// Longer files are read by nobody.
const LINES_MAX: usize = 600;

/// Names that say nothing.
const NAMELESS: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "manager", "misc",
];

#[test]
fn rooms_use_only_what_stands_below_them() {
    let source = root().join("daemon/src");
    let mut report = String::new();
    for path in rust_files(&source) {
        if is_test(&path) {
            continue;
        }
        let name = shown(&path);
        let room = room_of(&source, &path);
        let roof = ROOF.contains(&room.as_str());
        let allowed = ROOMS
            .iter()
            .find(|known| known.0 == room)
            .map(|known| known.1);
        if allowed.is_none() && !roof {
            complain(
                &mut report,
                &format!("{name}: `{room}` is no room of the table"),
            );
            continue;
        }
        for (number, line) in code_lines(&read(&path)) {
            for used in words_after(&line, "crate::") {
                let known = ROOMS.iter().any(|known| known.0 == used) || ROOF.contains(&used);
                if roof || !known || used == room {
                    continue;
                }
                if !allowed.is_some_and(|rooms| rooms.contains(&used)) {
                    complain(
                        &mut report,
                        &format!("{name}:{number}: `{room}` may not use `{used}`"),
                    );
                }
            }
            if !roof && (line.contains("crate::{") || line.contains("nebula_daemon::")) {
                complain(
                    &mut report,
                    &format!("{name}:{number}: name one room per `use`, starting at `crate::room`"),
                );
            }
            // An open file may pass through any room; opening one is the owners' alone.
            let line = line.replace("std::fs::File", "File");
            for (owned, owners) in OWNED {
                if names(&line, owned) && !owners.contains(&room.as_str()) {
                    complain(
                        &mut report,
                        &format!(
                            "{name}:{number}: only {} may name `{owned}`",
                            owners.join(", ")
                        ),
                    );
                }
            }
        }
    }
    assert!(report.is_empty(), "the house is untidy:\n{report}");
}

#[test]
fn every_room_introduces_itself() {
    let mut report = String::new();
    for path in all_sources() {
        let front = path
            .file_name()
            .is_some_and(|file| file == "mod.rs" || file == "lib.rs");
        if front && !read(&path).starts_with("//!") {
            complain(
                &mut report,
                &format!("{}: no `//!` introduction", shown(&path)),
            );
        }
    }
    for room in ROOMS {
        let front = root().join("daemon/src").join(room.0).join("mod.rs");
        let introduction = read(&front)
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        if introduction < 3 {
            complain(
                &mut report,
                &format!(
                    "{}: says too little of what it promises and refuses to know",
                    shown(&front)
                ),
            );
        }
    }
    assert!(report.is_empty(), "a reader would be lost:\n{report}");
}

#[test]
fn files_are_short_and_have_names() {
    let mut report = String::new();
    for path in all_sources() {
        let lines = read(&path).lines().count();
        if lines > LINES_MAX {
            complain(
                &mut report,
                &format!("{}: {lines} lines, at most {LINES_MAX}", shown(&path)),
            );
        }
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let folder = path
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if NAMELESS.contains(&stem.as_str()) || NAMELESS.contains(&folder.as_str()) {
            complain(
                &mut report,
                &format!("{}: its name says nothing", shown(&path)),
            );
        }
    }
    assert!(report.is_empty(), "too long or nameless:\n{report}");
}

#[test]
fn lints_are_answered_with_a_reason() {
    let mut report = String::new();
    for path in all_sources() {
        for (number, line) in code_lines(&read(&path)) {
            let line = line.trim_start();
            if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
                complain(
                    &mut report,
                    &format!(
                        "{}:{number}: #[expect(…, reason = \"…\")] instead of allow",
                        shown(&path)
                    ),
                );
            }
        }
    }
    assert!(report.is_empty(), "silenced without a word:\n{report}");
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = read(&root().join("daemon/PROMISES.md"));
    let sources: String = all_sources().iter().map(|path| read(path)).collect();
    let mut report = String::new();
    for (number, line) in text.lines().enumerate() {
        let Some(sentence) = line.strip_prefix("- ") else {
            continue;
        };
        // The last full stop parts the promise from its tests.
        let tests = sentence.rsplit_once(". ").map_or("", |(_, tests)| tests);
        let mut names = tests.split('`').skip(1).step_by(2).peekable();
        if names.peek().is_none() {
            complain(
                &mut report,
                &format!("PROMISES.md:{}: no test holds it to its word", number + 1),
            );
        }
        for name in names.filter(|name| !sources.contains(&format!("fn {name}()"))) {
            complain(
                &mut report,
                &format!("PROMISES.md:{}: there is no test `{name}`", number + 1),
            );
        }
    }
    assert!(report.is_empty(), "promised in vain:\n{report}");
}

/// Unsafe code is a privilege of `hwaccel`; every other crate root says so to the compiler.
#[test]
fn every_declared_metric_is_counted_somewhere() {
    let registry = root().join("daemon/src/telemetry/metrics.rs");
    let text = read(&registry);
    let declared = text.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(" = ")?;
        ["Counter ", "Gauge ", "Histogram "]
            .iter()
            .any(|kind| rest.starts_with(kind))
            .then_some(name)
    });
    let declared: Vec<_> = declared.collect();
    assert!(declared.len() > 20, "the registry reads otherwise by now");
    // The compiler refuses an import that nothing uses, so whoever names one counts with it.
    let sources = rust_files(&root().join("daemon/src"));
    let others = sources.iter().filter(|path| **path != registry);
    let code: String = others
        .filter(|path| !is_test(path))
        .map(|path| read(path))
        .collect();
    let words: BTreeSet<&str> = code.split(|letter| !is_word(letter)).collect();
    let mut report = String::new();
    for name in declared.iter().filter(|name| !words.contains(*name)) {
        complain(&mut report, &format!("{name} is declared and never moves"));
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn every_other_crate_forbids_unsafe() {
    for front in [
        "daemon/src/lib.rs",
        "daemon/src/main.rs",
        "daemon/api/src/lib.rs",
        "daemon/md5/src/lib.rs",
        "client/src/lib.rs",
        "client/src/main.rs",
    ] {
        let text = read(&root().join(front));
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{front} does not forbid unsafe code"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// The first folder or file below `source`: the room a file belongs to.
fn room_of(source: &Path, path: &Path) -> String {
    let inside = path
        .strip_prefix(source)
        .expect("the file was found below the source");
    let first = inside.components().next().expect("a file has a name");
    first
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

/// Lines outside comments and outside a `#[cfg(test)]` module at the end, with their numbers.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line.to_owned()))
        .collect()
}

/// Each word that follows `marker` in a line.
fn words_after<'a>(line: &'a str, marker: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(marker).map(move |(at, found)| {
        let rest = &line[at + found.len()..];
        rest.split(|letter: char| !is_word(letter))
            .next()
            .unwrap_or_default()
    })
}

/// Whether a line names the crate or module `path` as a path of its own: `path::…` or `use path;`.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + path.len()..];
        let starts = before.is_none_or(|letter| !is_word(letter) && letter != ':' && letter != '"')
            || line[..at].ends_with("(::")
            || line[..at].ends_with(" ::");
        let used =
            line.trim_start().starts_with("use ") || line.trim_start().starts_with("pub use ");
        starts
            && (after.starts_with("::")
                || (used && (after.starts_with(';') || after.starts_with(" as "))))
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn complain(report: &mut String, line: &str) {
    writeln!(report, "  {line}").expect("a String takes every text");
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn all_sources() -> Vec<PathBuf> {
    [
        "daemon/src",
        "daemon/api/src",
        "daemon/md5/src",
        "client/src",
        "hwaccel/src",
        "tests/src",
        "tests/it",
    ]
    .iter()
    .flat_map(|folder| rust_files(&root().join(folder)))
    .collect()
}

/// Tests of a room may build what they need from other rooms.
fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")))
}

/// Every `.rs` file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
