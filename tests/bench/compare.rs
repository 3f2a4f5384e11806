//! One comparison: servers in turns, several rounds, medians, a row of the table.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::load::{self, Script, Until};
use crate::server::Server;
use crate::{usage, warm};

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// How long the whole may take.
#[derive(Clone, Copy)]
pub struct Pace {
    pub rounds: usize,
    /// Of what moves a large file each time.
    pub rounds_large: usize,
    /// Of one measurement.
    pub time: Duration,
    /// Of what counts as large.
    pub large_mib: usize,
    /// Keys of the bucket that is listed.
    pub listed_keys: u64,
    pub film_s: u32,
    /// Rows whose name lacks this are left out.
    pub row: Option<&'static str>,
}

impl Pace {
    /// Whether a row is asked for.
    pub fn wants(&self, row: &str) -> bool {
        self.row.is_none_or(|part| row.contains(part))
    }
}

/// In what a comparison counts.
#[derive(Clone, Copy)]
pub enum Per {
    Request,
    Byte,
}

/// What one measurement gave; where `rate` is a time, less is better.
#[derive(Clone, Copy)]
pub struct Measure {
    pub rate: f64,
    pub cpu: f64,
    pub peak_mib: f64,
}

/// One side of a comparison.
pub struct Side<'a> {
    pub name: &'static str,
    pub server: &'a Server,
    /// Gives the script of a round.
    pub script: Box<dyn Fn(usize) -> Script + 'a>,
}

/// What is asked of both sides.
pub struct Case {
    pub name: String,
    pub per: Per,
    pub connections: usize,
    /// Whether it writes: then the disk is quiet before each measurement, so that nobody pays for what the other left
    /// unwritten.
    pub writes: bool,
    /// Whether it moves a large file each time.
    pub large: bool,
    /// Where the files of all sides lie, which are to be in the page cache alike.
    pub files: Vec<PathBuf>,
}

impl Case {
    pub fn new(name: impl Into<String>, per: Per, connections: usize) -> Self {
        Self {
            name: name.into(),
            per,
            connections,
            writes: false,
            large: false,
            files: Vec::new(),
        }
    }

    pub fn writing(mut self) -> Self {
        self.writes = true;
        self
    }

    pub fn large(mut self) -> Self {
        self.large = true;
        self
    }

    pub fn over(mut self, files: &[PathBuf]) -> Self {
        self.files = files.to_vec();
        self
    }

    /// Measures all sides in turns and prints the row.
    pub async fn compare(&self, pace: Pace, ours: Side<'_>, peers: Vec<Side<'_>>) -> Result<()> {
        let peers = peers.into_iter().map(Some).collect();
        self.compare_some(pace, ours, peers).await
    }

    /// The same with empty columns for peers that could not be made ready.
    pub async fn compare_some(
        &self,
        pace: Pace,
        ours: Side<'_>,
        peers: Vec<Option<Side<'_>>>,
    ) -> Result<()> {
        if !pace.wants(&self.name) {
            return Ok(());
        }
        for dir in self.files.clone() {
            tokio::task::spawn_blocking(move || warm::read_anew(&dir)).await??;
        }
        let mut of_ours = Vec::new();
        let mut of_peers: Vec<Option<Vec<Measure>>> = peers
            .iter()
            .map(|peer| peer.as_ref().map(|_| Vec::new()))
            .collect();
        let rounds = if self.large {
            pace.rounds_large
        } else {
            pace.rounds
        };
        for round in 0..rounds {
            let measure = self.measure(pace, &ours, round).await;
            of_ours.push(measure.with_context(|| format!("{} of ours", self.name))?);
            for (peer, of_peer) in peers.iter().zip(&mut of_peers) {
                let (Some(peer), Some(measures)) = (peer, of_peer.as_mut()) else {
                    continue;
                };
                match self.measure(pace, peer, round).await {
                    Ok(measure) => measures.push(measure),
                    // Ours has no such excuse.
                    Err(error) => {
                        println!(
                            "  {:<34}SKIPPED: {} failed: {error:#}",
                            self.name, peer.name
                        );
                        *of_peer = None;
                    }
                }
            }
        }
        let units = match self.per {
            Per::Request => ["ops/s ↑", "CPU µs/op ↓"],
            Per::Byte => ["MiB/s ↑", "CPU s/GiB ↓"],
        };
        let of_peers: Vec<_> = of_peers
            .iter()
            .map(|of| of.as_deref().map(median))
            .collect();
        print_row(&self.name, units, median(&of_ours), &of_peers);
        Ok(())
    }

    async fn measure(&self, pace: Pace, side: &Side<'_>, round: usize) -> Result<Measure> {
        if self.writes {
            tokio::task::spawn_blocking(rustix::fs::sync).await?;
        }
        let pid = side.server.pid();
        usage::forget_peak(pid);
        let before = usage::cpu_s(pid);
        let script = (side.script)(round);
        let until = Until::Time(pace.time);
        let done = load::run(side.server.address, self.connections, until, script).await?;
        let cpu_s = usage::cpu_s(pid) - before;
        let (requests, bytes) = (done.requests as f64, done.bytes as f64);
        let (rate, cpu) = match self.per {
            Per::Request => (requests / done.wall_s, cpu_s * 1e6 / requests),
            Per::Byte => (bytes / MIB / done.wall_s, cpu_s * GIB / bytes),
        };
        Ok(Measure {
            rate,
            cpu,
            peak_mib: usage::peak_mib(pid),
        })
    }
}

/// The median of each figure by itself.
pub fn median(of: &[Measure]) -> Measure {
    let middle = |figure: fn(&Measure) -> f64| {
        let mut all: Vec<f64> = of.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        let half = all.len() / 2;
        if all.len() % 2 == 1 {
            all[half]
        } else {
            f64::midpoint(all[half - 1], all[half])
        }
    };
    Measure {
        rate: middle(|one| one.rate),
        cpu: middle(|one| one.cpu),
        peak_mib: middle(|one| one.peak_mib),
    }
}

/// The head of a group of rows.
pub fn print_head(title: &str, peers: &[&str]) {
    println!("\n{title}");
    print!("  {:<34}{:<14}{:>10}", "", "unit", "ours");
    for peer in peers {
        print!("{peer:>10}");
    }
    println!("{:>9}", "ratio");
}

/// Three lines: speed, processor, memory.
pub fn print_row(name: &str, units: [&str; 2], ours: Measure, peers: &[Option<Measure>]) {
    let line = |name: &str, unit: &str, figure: fn(&Measure) -> f64| {
        let peers: Vec<_> = peers.iter().map(|peer| peer.as_ref().map(figure)).collect();
        print_line(name, unit, figure(&ours), &peers);
    };
    line(name, units[0], |one| one.rate);
    line("", units[1], |one| one.cpu);
    line("", "peak MiB ↓", |one| one.peak_mib);
}

/// One figure; the ratio is ours to the best of the peers.
pub fn print_line(name: &str, unit: &str, ours: f64, peers: &[Option<f64>]) {
    print!("  {name:<34}{unit:<14}{:>10}", shown(ours));
    for peer in peers {
        print!("{:>10}", peer.map_or("–".to_owned(), shown));
    }
    let best = peers
        .iter()
        .flatten()
        .copied()
        .reduce(if unit.ends_with('↑') {
            f64::max
        } else {
            f64::min
        });
    match best {
        Some(best) if best > 0.0 => println!("{:>9.2}", ours / best),
        _ => println!("{:>9}", "–"),
    }
}

/// Three digits that count.
fn shown(figure: f64) -> String {
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}

/// A peer that is not there is no reason to fall silent about it.
pub fn print_absent(title: &str, peer: &str, cure: &str) {
    println!("\n{title}\n  SKIPPED: {peer} is not on this machine ({cure})");
}
