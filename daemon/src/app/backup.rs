//! The roles that back up and restore.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::house::{House, blobs_of, open_catalog};
use crate::backup::{
    self, Manifest, Passphrase, RestoreOptions, S3Options, SaveOptions, Target, UNFINISHED_FILE,
};
use crate::cli::{BackupArgs, ExportArgs, RestoreArgs, TargetArgs};
use crate::config::{BackupSecrets, Config, Environment, Secret};

/// What an `s3://` target begins with.
const S3: &str = "s3://";
/// A passphrase longer than this is a mistaken file.
const PASSPHRASE_BYTES_MAX: usize = 64 * 1024;
/// Damaged blobs that are named one by one.
const NAMED_MAX: usize = 20;

/// Backs up, or looks after what was backed up; false when something is damaged.
pub async fn backup(config: Config, environment: &Environment, args: BackupArgs) -> Result<bool> {
    let (target, passphrase) = open_target(&config, environment, &args.at)?;
    let json = args.at.json;
    if args.list {
        return list(&target, passphrase.as_ref(), json).await;
    }
    if args.verify {
        return verify(&target, passphrase.as_ref(), &args, json).await;
    }
    unfinished(&config)?;
    let house = House::open(&config).await?;
    if let Some(keep) = args.prune {
        let keep = keep as usize;
        let pruned = backup::prune(&house.store, &target, passphrase.as_ref(), keep).await?;
        house.close().await;
        if json {
            let text = json!({ "removed": pruned.snapshots, "objects": pruned.objects, "bytes": pruned.bytes });
            println!("{text}");
        } else {
            println!(
                "{} snapshots removed, with {} objects of {} bytes",
                pruned.snapshots.len(),
                pruned.objects,
                pruned.bytes
            );
        }
        return Ok(true);
    }
    let options = SaveOptions {
        data_dir: config.data.dir.clone(),
        passphrase,
        include_secrets: args.include_secrets,
        include_made: args.include_renditions,
    };
    let saved = backup::save(&house.store, &target, &options).await?;
    house.close().await;
    let manifest = &saved.manifest;
    if json {
        let mut text = facts(manifest);
        text["sent_blobs"] = saved.sent_blobs.into();
        text["sent_bytes"] = saved.sent_bytes.into();
        println!("{text}");
    } else {
        println!(
            "snapshot {}: {} object versions, {} blobs of {} bytes; {} bytes sent to {target}",
            manifest.id, manifest.objects, manifest.blobs, manifest.bytes, saved.sent_bytes
        );
        if !manifest.has_secrets {
            println!(
                "Without the keys of this appliance: access keys, signed links and whatever is encrypted at rest cannot be restored from this snapshot alone. \
                 Keep {} in a safe place, or encrypt the backup (--passphrase-file), or ask for the keys (--include-secrets).",
                config.in_data_dir("master.key").display()
            );
        }
        name_damage(manifest);
    }
    Ok(manifest.damaged.is_empty())
}

async fn list(target: &Target, passphrase: Option<&Passphrase>, json: bool) -> Result<bool> {
    let listed = backup::list(target, passphrase).await?;
    let mut well = true;
    for one in &listed {
        match &one.manifest {
            Ok(manifest) if json => println!("{}", facts(manifest)),
            Ok(manifest) => println!(
                "{}  {:>9} versions  {:>15} bytes  {}{}",
                manifest.id,
                manifest.objects,
                manifest.bytes,
                if manifest.has_secrets {
                    "with keys"
                } else {
                    "without keys"
                },
                match manifest.damaged.len() {
                    0 => String::new(),
                    damaged => format!("  {damaged} blobs missing or damaged"),
                }
            ),
            Err(error) => {
                well = false;
                if json {
                    println!("{}", json!({ "id": one.id, "error": error.to_string() }));
                } else {
                    println!("{}  cannot be read: {error}", one.id);
                }
            }
        }
    }
    if listed.is_empty() && !json {
        println!("no snapshot was completed yet");
    }
    Ok(well)
}

async fn verify(
    target: &Target,
    passphrase: Option<&Passphrase>,
    args: &BackupArgs,
    json: bool,
) -> Result<bool> {
    let verified = backup::verify(target, passphrase, args.snapshot.as_deref()).await?;
    if json {
        let text = json!({ "id": verified.manifest.id, "bytes_verified": verified.bytes, "damaged": verified.damaged });
        println!("{text}");
    } else {
        println!(
            "snapshot {}: {} bytes of blobs verified",
            verified.manifest.id, verified.bytes
        );
        for damage in &verified.damaged {
            println!("  {damage}");
        }
        name_damage(&verified.manifest);
        if verified.damaged.is_empty() {
            println!("whole");
        } else {
            println!(
                "damaged: remove these objects from the target and back up again, while the appliance still has them"
            );
        }
    }
    Ok(verified.damaged.is_empty())
}

/// Restores into a data directory that holds nothing; false when the snapshot lacked blobs.
pub async fn restore(config: Config, environment: &Environment, args: RestoreArgs) -> Result<bool> {
    let (target, passphrase) = open_target(&config, environment, &args.at)?;
    let dir = config.data.dir.clone();
    backup::claim(&dir)?;
    let catalog = open_catalog(&config).await?;
    let blobs = blobs_of(&config).await?;
    let options = RestoreOptions {
        data_dir: dir.clone(),
        snapshot: args.snapshot,
        passphrase,
    };
    let restored = backup::restore(&catalog, &blobs, &target, &options).await?;
    catalog.close().await;
    backup::finish(&dir)?;
    let manifest = &restored.manifest;
    let mut queued = 0;
    if !manifest.has_made {
        let house = House::open(&config).await?;
        queued = house.store.replan().await?;
        house.close().await;
    }
    if args.at.json {
        let mut text = facts(manifest);
        text["fetched_bytes"] = restored.fetched_bytes.into();
        text["keys_left_out"] = restored.keys_left_out.into();
        text["jobs_queued"] = queued.into();
        println!("{text}");
    } else {
        println!(
            "snapshot {} restored into {}: {} object versions, {} blobs of {} bytes",
            manifest.id,
            dir.display(),
            manifest.objects,
            manifest.blobs,
            manifest.bytes
        );
        if queued > 0 {
            println!("{queued} jobs queued, to make indexes and renditions again");
        }
        if restored.keys_left_out > 0 {
            println!(
                "{} access keys left out: the snapshot has no master key. The first start makes a new root key pair, and what was encrypted at rest cannot be read. \
                 To have them, lay the old master.key into an empty data directory and restore again.",
                restored.keys_left_out
            );
        }
        name_damage(manifest);
    }
    Ok(manifest.damaged.is_empty())
}

/// Writes a bucket as plain files; false when some objects could not be read.
pub async fn export(config: Config, args: ExportArgs) -> Result<bool> {
    unfinished(&config)?;
    let bucket = args
        .bucket
        .parse()
        .with_context(|| format!("`{}` cannot be a bucket", args.bucket))?;
    let house = House::open(&config).await?;
    let done = backup::export(&house.store, &bucket, &args.dir, args.versions).await?;
    house.close().await;
    if args.json {
        let text = json!({ "files": done.files, "bytes": done.bytes, "written": done.written, "failed": done.failed });
        println!("{text}");
    } else {
        println!(
            "{} files of {} bytes in {}, {} of them written now",
            done.files,
            done.bytes,
            args.dir.display(),
            done.written
        );
        for failure in &done.failed {
            println!("  not exported: {failure}");
        }
    }
    Ok(done.failed.is_empty())
}

/// Refuses a data directory whose restore has not ended.
pub fn unfinished(config: &Config) -> Result<()> {
    let mark = config.in_data_dir(UNFINISHED_FILE);
    if mark.exists() {
        bail!(
            "a restore into {} has not ended: run `nebulad restore` again, it goes on where it was",
            config.data.dir.display()
        );
    }
    Ok(())
}

fn facts(manifest: &Manifest) -> serde_json::Value {
    json!({
        "id": manifest.id,
        "created_ms": manifest.created_ms,
        "version": manifest.version,
        "database": manifest.database,
        "objects": manifest.objects,
        "blobs": manifest.blobs,
        "bytes": manifest.bytes,
        "has_secrets": manifest.has_secrets,
        "has_renditions": manifest.has_made,
        "damaged": manifest.damaged,
    })
}

fn name_damage(manifest: &Manifest) {
    if manifest.damaged.is_empty() {
        return;
    }
    println!(
        "{} blobs were missing or damaged when it was taken, and are not in it:",
        manifest.damaged.len()
    );
    for damage in manifest.damaged.iter().take(NAMED_MAX) {
        println!("  blob {}: {}", damage.blob, damage.why);
    }
}

/// The target and what opens it, from flags, environment and configuration, in this order.
fn open_target(
    config: &Config,
    environment: &Environment,
    args: &TargetArgs,
) -> Result<(Target, Option<Passphrase>)> {
    let named = args.target.as_ref().or(config.backup.target.as_ref());
    let Some(named) = named else {
        bail!("no target: name a directory or s3://bucket/prefix, or set backup.target");
    };
    let secrets = config.backup.secrets(environment)?;
    let target = match named.strip_prefix(S3) {
        Some(place) => s3(config, environment, &secrets, args, place)?,
        None => Target::directory(PathBuf::from(named)),
    };
    let text = match &args.passphrase_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            if text.len() > PASSPHRASE_BYTES_MAX || text.trim().is_empty() {
                bail!("{} holds no passphrase", path.display());
            }
            Some(text)
        }
        None => secrets.passphrase.map(|secret| secret.expose().to_owned()),
    };
    Ok((target, text.as_deref().and_then(Passphrase::new)))
}

fn s3(
    config: &Config,
    environment: &Environment,
    secrets: &BackupSecrets,
    args: &TargetArgs,
    place: &str,
) -> Result<Target> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        bail!("s3://{place} names no bucket: write s3://bucket/prefix");
    }
    let prefix = prefix.trim_matches('/');
    let prefix = match prefix {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let of = |flag: Option<&String>, name: &str, key: Option<&str>| {
        let found = flag.map(String::as_str).or(environment.get(name)).or(key);
        found.map(str::to_owned)
    };
    let settings = &config.backup;
    let endpoint = of(
        args.s3_endpoint.as_ref(),
        "AWS_ENDPOINT_URL",
        settings.s3_endpoint.as_deref(),
    );
    let region = of(
        args.s3_region.as_ref(),
        "AWS_REGION",
        Some(&settings.s3_region),
    );
    let access = of(None, "AWS_ACCESS_KEY_ID", settings.s3_access_key.as_deref());
    let secret = secrets.s3_secret_key.as_ref().map(Secret::expose);
    let secret = of(None, "AWS_SECRET_ACCESS_KEY", secret);
    Ok(Target::s3(S3Options {
        endpoint: endpoint.context(
            "an s3:// target needs its endpoint: --s3-endpoint http://host:port, AWS_ENDPOINT_URL or backup.s3_endpoint",
        )?,
        region: region.unwrap_or_default(),
        bucket: bucket.to_owned(),
        prefix,
        access_key: access.context(
            "an s3:// target needs a key pair: set AWS_ACCESS_KEY_ID or backup.s3_access_key",
        )?,
        secret_key: secret.context(
            "an s3:// target needs a key pair: set AWS_SECRET_ACCESS_KEY or backup.s3_secret_key",
        )?,
    })?)
}
