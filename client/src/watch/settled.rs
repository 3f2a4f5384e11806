//! Whether somebody still writes a file.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// `O_WRONLY` and `O_RDWR` in the flags of `/proc/PID/fdinfo/N`, which are octal.
const WRITING: u32 = 0o3;

/// Whether a process that we may look at has the file open for writing (proc(5)); what others do cannot be known. Blocks.
pub(super) fn is_being_written(path: &Path) -> bool {
    let Ok(file) = fs::metadata(path) else {
        return false;
    };
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let is_process =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|n| n.parse::<u32>().is_ok());
    processes
        .flatten()
        .filter(|entry| is_process(&entry.file_name()))
        .any(|process| writes(&process.path(), (file.dev(), file.ino())))
}

fn writes(process: &Path, (dev, ino): (u64, u64)) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else {
        // Somebody else's process.
        return false;
    };
    open.flatten().any(|entry| {
        let same = fs::metadata(entry.path()).is_ok_and(|m| m.dev() == dev && m.ino() == ino);
        same && opened_for_writing(&process.join("fdinfo").join(entry.file_name()))
    })
}

fn opened_for_writing(info: &Path) -> bool {
    let text = fs::read_to_string(info).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & WRITING != 0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_written_while_somebody_has_it_open_for_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film.mkv");
        let writer = fs::File::create(&path).unwrap();
        assert!(is_being_written(&path));
        drop(writer);
        let _reader = fs::File::open(&path).unwrap();
        assert!(!is_being_written(&path));
    }
}
