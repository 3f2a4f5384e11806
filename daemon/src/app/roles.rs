//! The roles that print a result and end.

use anyhow::{Context as _, Result, anyhow, bail};

use std::fmt::Write as _;
use std::sync::Arc;

use super::doors::node_name;
use super::house::{House, open_catalog, worker_options};
use crate::cli::check::Finding;
use crate::cli::{KeysCommand, WorkerArgs};
use crate::config::Config;
use crate::identity::{BucketPattern, Caller, Grant, KeyInfo, NewKey, Role};
use crate::kernel::AccessKeyId;
use crate::lifecycle::{Exit, Lifecycle};
use crate::media::{Remote, Worker, trials};
use crate::queue::{RedisQueue, SharedQueue};
use crate::store::{Quota, Rotation};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Keys read at a time.
const KEYS_PAGE: u32 = 200;

/// The access key of a worker; the client's names, as a worker is a client of its appliance.
const ACCESS_KEY: &str = "NEBULA_ACCESS_KEY";
const SECRET_KEY: &str = "NEBULA_SECRET_KEY";

/// Runs media jobs of an appliance elsewhere: Redis says what, the appliance's HTTP gives and takes the bytes.
pub async fn worker(config: Config, args: WorkerArgs, life: Lifecycle) -> Result<Exit> {
    let Some(redis) = &config.secrets.redis_url else {
        bail!("a worker needs the Redis of its appliance: set NEBULA_REDIS_URL or queue.redis_url");
    };
    let key = |name: &str| {
        std::env::var(name).with_context(|| {
            format!("a worker needs an access key with the worker right: set {ACCESS_KEY} and {SECRET_KEY} ({name} is missing)")
        })
    };
    let bench = Remote::new(&args.appliance, key(ACCESS_KEY)?, key(SECRET_KEY)?)?;
    let queue: SharedQueue = Arc::new(RedisQueue::worker(redis.expose())?);
    let name = args.name.unwrap_or_else(|| node_name(&config));
    let options = worker_options(&config, name.clone());
    let slots = options.slots;
    Worker::new(queue, Arc::new(bench), options).spawn(life.tracker(), &life.drain());
    tracing::info!(slots, "worker {name} takes jobs of {}", args.appliance);
    Ok(life
        .run_tasks(&format!("working for {}", args.appliance))
        .await)
}

/// Whether the catalog answers, for `nebulad check`; a SQLite file that is not there yet is fine.
pub async fn look_at_catalog(config: &Config) -> Finding {
    let url = config.secrets.database_url.expose();
    if !url.starts_with("postgres") {
        return Finding::new("catalog", Ok("SQLite, opened at the start".to_owned()));
    }
    let looked = async {
        open_catalog(config)
            .await?
            .ping()
            .await
            .map_err(anyhow::Error::from)
    };
    let answer = looked.await.map(|()| "PostgreSQL answers".to_owned());
    Finding::new("catalog", answer.map_err(|error| format!("{error:#}")))
}

/// Brings the catalog to the schema of this version.
pub async fn migrate(config: Config) -> Result<()> {
    let catalog = open_catalog(&config).await?;
    println!(
        "The catalog ({}) has the schema of this version.",
        catalog.kind()
    );
    catalog.close().await;
    Ok(())
}

/// Makes, lists and revokes access keys, and rotates the keys of the appliance itself.
pub async fn keys(config: Config, command: KeysCommand) -> Result<()> {
    let house = House::open(&config).await?;
    let by = Caller::system();
    match command {
        KeysCommand::Create {
            name,
            role,
            buckets,
            worker,
            expires_days,
        } => {
            let role = Role::parse(&role)
                .ok_or_else(|| anyhow!("`{role}` is no role: it is own, read, write or admin"))?;
            let patterns = if buckets.is_empty() {
                vec!["*".to_owned()]
            } else {
                buckets
            };
            let grants = patterns
                .iter()
                .map(|pattern| Ok(Grant::new(role, pattern.parse::<BucketPattern>()?)));
            let grants = if worker {
                vec![Grant {
                    worker: true,
                    ..Grant::default()
                }]
            } else {
                grants.collect::<Result<Vec<_>>>()?
            };
            let created = house
                .identity
                .create_key(
                    &by,
                    NewKey {
                        name,
                        grants,
                        expires_in_s: expires_days.map(|days| u64::from(days) * 24 * 60 * 60),
                    },
                )
                .await?;
            println!("Access key {}", created.key.id);
            println!("Secret key {}", created.secret.reveal());
            println!("The secret is shown this once.");
        }
        KeysCommand::List { json } => {
            let mut keys = Vec::new();
            loop {
                let after = keys
                    .last()
                    .map(|key: &KeyInfo| key.id.to_string())
                    .unwrap_or_default();
                let page = house.identity.keys(&after, KEYS_PAGE).await?;
                let whole = page.len() == KEYS_PAGE as usize;
                keys.extend(page);
                if !whole {
                    break;
                }
            }
            print_keys(&keys, house.clock.now_ms(), json)?;
        }
        KeysCommand::Disable { access_key } => {
            let id = key_id(&access_key)?;
            if !house.identity.disable_key(&by, &id, true).await? {
                bail!(no_key(&access_key));
            }
            println!("{access_key} is switched off.");
        }
        KeysCommand::Enable { access_key } => {
            let id = key_id(&access_key)?;
            if !house.identity.disable_key(&by, &id, false).await? {
                bail!(no_key(&access_key));
            }
            println!("{access_key} works again.");
        }
        KeysCommand::Quota {
            access_key,
            bytes,
            objects,
        } => {
            let id = key_id(&access_key)?;
            if house.identity.key(&id).await?.is_none() {
                bail!(no_key(&access_key));
            }
            let quota = Quota { bytes, objects };
            house.store.set_owner_quota(id.as_str(), quota).await?;
            let held = house.store.owner_usage(id.as_str()).await?.usage;
            println!(
                "{access_key} holds {} bytes in {} objects, of {} and {}.",
                held.bytes,
                held.objects,
                bytes.map_or("any number".to_owned(), |n| n.to_string()),
                objects.map_or("any number".to_owned(), |n| n.to_string()),
            );
        }
        KeysCommand::Revoke { access_key } => {
            let id = key_id(&access_key)?;
            if !house.identity.revoke_key(&by, &id).await? {
                bail!(no_key(&access_key));
            }
            println!("{access_key} works no longer.");
        }
        KeysCommand::RotateMaster => {
            house.identity.add_master_key().await?;
            let sealed = house.store.reseal_keys().await? + house.identity.reseal().await?;
            let (dropped, kept) = house.identity.prune_master_keys().await?;
            println!("master.key has a new key, and seals {sealed} values with it.");
            print_older(dropped, kept);
        }
        KeysCommand::RotateEncryption => print_rotation(&house.store.rotate_keys().await?),
    }
    house.close().await;
    Ok(())
}

fn print_rotation(done: &Rotation) {
    if done.resumed {
        println!("An earlier rotation had been cut off; it is at its end now.");
    }
    println!("Encryption key {} wraps every data key.", done.key);
    println!("Data keys wrapped anew: {}", done.rewrapped);
    print_older(done.dropped, done.kept);
}

fn print_older(dropped: usize, kept: usize) {
    println!("Older keys dropped: {dropped}");
    if kept > 0 {
        println!("Older keys kept: {kept}; a rotation an hour from now or later drops them.");
    }
}

fn key_id(text: &str) -> Result<AccessKeyId> {
    text.parse()
        .with_context(|| format!("`{text}` cannot be an access key"))
}

fn no_key(text: &str) -> String {
    format!(
        "there is no access key {text} that this can be done to; `nebulad keys list` shows them"
    )
}

fn print_keys(keys: &[KeyInfo], now_ms: i64, json: bool) -> Result<()> {
    let grants = |key: &KeyInfo| {
        let one = |grant: &Grant| {
            let buckets: Vec<&str> = grant.buckets.iter().map(BucketPattern::as_str).collect();
            match grant.role {
                Some(role) => format!("{role}:{}", buckets.join(",")),
                None if grant.worker => "worker".to_owned(),
                None => "deploy".to_owned(),
            }
        };
        key.grants.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    if json {
        let rows: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({ "access_key": key.id.to_string(), "name": key.name, "root": key.root, "grants": grants(key), "created_at_ms": key.created_ms, "disabled": key.disabled, "expires_at_ms": key.expires_ms, "last_used_at_ms": key.last_used_ms }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for key in keys {
        let rights = if key.root {
            "everything".to_owned()
        } else {
            grants(key)
        };
        let ended = key.expires_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let state = match (key.disabled, ended, key.last_used_ms) {
            (true, ..) => " (switched off)".to_owned(),
            (false, true, _) => " (expired)".to_owned(),
            (false, false, None) => " (never used)".to_owned(),
            (false, false, Some(at_ms)) => {
                format!(" (used {} days ago)", (now_ms - at_ms).max(0) / DAY_MS)
            }
        };
        println!(
            "{:<24} {:<24} {rights}{state}",
            key.id.to_string(),
            key.name
        );
    }
    Ok(())
}

/// Tries the hardware, for `nebulad doctor --hw`.
pub async fn doctor_hw(config: &Config) -> Result<String> {
    let trials = trials(&config.worker.binary_path())
        .await
        .map_err(anyhow::Error::msg)?;
    let mut text = String::from(
        "Ways of transcoding, best first; each really encoded a few frames or says why not:\n",
    );
    for trial in trials {
        let mark = if trial.ok { "works" } else { "fails" };
        let driver = trial
            .driver
            .map(|driver| format!(" [{driver}]"))
            .unwrap_or_default();
        writeln!(
            text,
            "  {mark}  {:<28} {:>5} ms  {}{driver}",
            trial.name, trial.took_ms, trial.reason
        )
        .expect("a String takes every write");
    }
    Ok(text)
}
