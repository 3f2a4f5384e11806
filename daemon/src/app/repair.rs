//! The roles that look after what is stored: `fsck`, `scrub` and `drain`.

use anyhow::{Result, bail};
use tokio_util::sync::CancellationToken;

use super::house::House;
use crate::cli::{DrainArgs, FsckArgs, ScrubArgs};
use crate::config::Config;
use crate::store::{Finding, FsckReport, Repair, ScrubOptions, StoreError};

/// Compares rows and files, and repairs when asked; false when they disagree in the end.
pub async fn fsck(config: Config, args: FsckArgs) -> Result<bool> {
    let house = House::open(&config).await?;
    let mut report = house.store.fsck(args.deep).await?;
    let mut repairs = Vec::new();
    if args.repair && !report.findings.is_empty() {
        let findings = std::mem::take(&mut report.findings);
        repairs = house.store.repair(findings, args.delete_damaged).await?;
        // What was repaired is looked at again; what every byte said need not be read twice.
        report.findings = house.store.fsck(false).await?.findings;
    }
    let clean = report.findings.iter().all(Finding::is_harmless)
        && repairs.iter().all(|repair| repair.repaired);
    if args.json {
        let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        let repairs: Vec<_> = repairs
            .iter()
            .map(|repair| serde_json::json!({ "finding": repair.finding.to_string(), "outcome": repair.outcome, "repaired": repair.repaired }))
            .collect();
        let text = serde_json::json!({ "objects": report.objects, "blobs": report.blobs, "bytes_verified": report.bytes_verified, "findings": findings, "repairs": repairs });
        println!("{text}");
    } else {
        tell(&report, &repairs, clean);
    }
    house.close().await;
    Ok(clean)
}

fn tell(report: &FsckReport, repairs: &[Repair], clean: bool) {
    println!(
        "{} object versions, {} blobs, {} bytes verified",
        report.objects, report.blobs, report.bytes_verified
    );
    for repair in repairs {
        println!("  {}\n    {}", repair.finding, repair.outcome);
    }
    if !repairs.is_empty() {
        println!("after the repair:");
    }
    for finding in &report.findings {
        println!("  {finding}\n    --repair: {}", finding.cure());
    }
    println!("{}", if clean { "clean" } else { "not clean" });
}

/// Walks over every stored byte; false when damage was found or is known.
pub async fn scrub(config: Config, args: ScrubArgs) -> Result<bool> {
    let house = House::open(&config).await?;
    let options = ScrubOptions {
        every_ms: super::house::scrub_options(&config).every_ms,
        bytes_per_s: args.bytes_per_s.unwrap_or(0),
    };
    let stop = until_interrupted();
    let state = match house.store.scrub(options, args.afresh, &stop).await {
        Err(StoreError::Unavailable(why)) => {
            bail!("{why}; `nebula status` shows how far it is, and it goes on by itself")
        }
        walked => walked?,
    };
    let known = house.catalog.quarantined_blobs().await?;
    if args.json {
        let text = serde_json::json!({
            "finished": !state.is_running(), "blobs": state.blobs, "bytes": state.done_bytes,
            "inline_objects": state.inline_objects, "damaged": state.damaged, "healed": state.healed, "damaged_blobs_known": known,
        });
        println!("{text}");
    } else {
        println!(
            "{} blobs ({} bytes) and {} objects in their rows compared: {} found damaged, {} healed from a copy or made again",
            state.blobs, state.done_bytes, state.inline_objects, state.damaged, state.healed
        );
        if state.is_running() {
            println!("interrupted; it goes on there the next time");
        }
        if known > 0 {
            println!("set aside as damaged: {known}; `nebulad fsck` names their objects");
        }
    }
    house.close().await;
    Ok(state.damaged == 0 && known == 0)
}

/// Files after which a drain says how far it is.
const TELL_EVERY: u64 = 1000;

/// Empties a disk; false when it was interrupted or could not be emptied.
pub async fn drain(config: Config, args: DrainArgs) -> Result<bool> {
    let house = House::open(&config).await?;
    let (store, disk) = (&house.store, args.disk.as_str());
    if !store.blobs().has_disk(disk) {
        bail!("there is no disk `{disk}` in the configuration: see data.disks");
    }
    if args.undo {
        store.mark_draining(disk, false).await?;
        println!("{disk} takes new files again");
        house.close().await;
        return Ok(true);
    }
    println!(
        "moving every file off {disk}; it can be interrupted and goes on with the same command"
    );
    let stop = until_interrupted();
    let rate = args.bytes_per_s.unwrap_or(0);
    let drained = store
        .drain_disk(disk, rate, &stop, |drained| {
            if drained.files > 0 && drained.files.is_multiple_of(TELL_EVERY) {
                println!("  {} files, {} bytes moved", drained.files, drained.bytes);
            }
        })
        .await?;
    println!("{} files, {} bytes moved", drained.files, drained.bytes);
    for left in &drained.left {
        println!("  stays: {left}");
    }
    match (drained.is_empty, disk) {
        (true, "main") => {
            println!("main is empty: nothing new goes there before `nebulad drain --undo main`");
        }
        (true, _) => println!(
            "{disk} is empty: take it out of the configuration and restart, then remove it"
        ),
        (false, _) => {}
    }
    house.close().await;
    Ok(drained.is_empty)
}

/// Cancelled by SIGINT.
fn until_interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    stop
}
