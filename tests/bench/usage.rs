//! What a process and everything below it took: processor time and memory, as the kernel counts them in /proc.

use std::fs;

use anyhow::{Context as _, Result};

/// Of the clock in which /proc/PID/stat counts; Linux shows 100 to programs on every machine we know.
const TICKS_PER_S: f64 = 100.0;
/// Makes the kernel forget the peak so far (proc(5), /proc/PID/clear_refs).
const FORGET_PEAK: &str = "5";

/// Processor seconds of a process, its children and those that it has already waited for.
pub fn cpu_s(root: u32) -> f64 {
    let ticks: u64 = tree(root)
        .into_iter()
        .filter_map(|pid| Some(stat(pid)?.ticks))
        .sum();
    ticks as f64 / TICKS_PER_S
}

/// Processor seconds of the children that this very process has waited for.
pub fn own_children_cpu_s() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| stat.ticks_of_children as f64 / TICKS_PER_S)
}

/// The sum of the peaks of resident memory of a process and its children, in MiB.
pub fn peak_mib(root: u32) -> f64 {
    let kib: u64 = tree(root).into_iter().filter_map(peak_kib).sum();
    kib as f64 / 1024.0
}

/// Bytes that a process has had written to storage so far (proc(5), /proc/PID/io).
pub fn written_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let of = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let number = |name| of(name)?.trim().parse::<u64>().ok();
    let written = number("write_bytes:").context("no write_bytes in /proc/PID/io")?;
    // What was thrown away before it reached the disk.
    Ok(written.saturating_sub(number("cancelled_write_bytes:").unwrap_or(0)))
}

/// Whether nothing runs below a process.
pub fn is_alone(root: u32) -> bool {
    tree(root).len() == 1
}

/// Begins a new peak; without effect where the kernel does not let us.
pub fn forget_peak(root: u32) {
    for pid in tree(root) {
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), FORGET_PEAK);
    }
}

fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A process and all below it, by the parents that /proc names.
fn tree(root: u32) -> Vec<u32> {
    let mut known = vec![root];
    let Ok(processes) = fs::read_dir("/proc") else {
        return known;
    };
    let parents: Vec<(u32, u32)> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut seen = 0;
    while seen < known.len() {
        let parent = known[seen];
        known.extend(parents.iter().filter(|of| of.1 == parent).map(|of| of.0));
        seen += 1;
    }
    known
}

struct Stat {
    parent: u32,
    /// Own and of children waited for.
    ticks: u64,
    ticks_of_children: u64,
}

/// The fields of /proc/PID/stat that follow the name, which may hold anything.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // proc(5) counts from 1 and the name is 2: state is 3, ppid 4, utime 14 to cstime 17.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks_of_children = number(16)? + number(17)?;
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)? + ticks_of_children,
        ticks_of_children,
    })
}
