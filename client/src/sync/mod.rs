//! Making a folder and a part of a bucket equal, in one direction.
//!
//! [`plan`] looks at both sides and says what there is to do, and why; nothing is changed by it.
//! Who has read the plan carries it out: files are sent by [`crate::upload`] and fetched by [`crate::download`], which prove
//! what they did, and [`delete_here`] and [`Client::delete_object`] remove what only the other side had, if that was asked for.
//!
//! Two files of one size are equal by time unless hashes are asked for: the copy is not older than what it is a copy of, or
//! carries its modification time. What could not be read is never taken for missing.

mod filter;
mod local;

pub use filter::Filter;
pub use local::{Found, Here, files};

use crate::{
    Client, Error, Remote,
    client::MAX_LISTED,
    transfer,
    upload::{Source, blocking},
};
use futures::StreamExt as _;
use nebula_api::{MAX_PAGE_ITEMS, Object, ObjectDetails, ObjectsQuery};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Deletions of fewer files need no second word.
const FEW: usize = 10;
/// Clocks of file systems and decimals of that text differ by less.
const SAME_TIME_NS: i128 = 2_000_000;
const NS_PER_MS: i128 = 1_000_000;

/// Which side becomes like the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The bucket.
    ToBucket,
    /// The folder.
    FromBucket,
}

/// How two files of one size are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// By modification times.
    SizeAndTime,
    /// By BLAKE3, which reads the files.
    Hash,
}

impl Compare {
    /// As people and `--json` are told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SizeAndTime => "size and time",
            Self::Hash => "size and BLAKE3",
        }
    }
}

/// What is wished for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Which side changes.
    pub way: Way,
    /// How files are compared.
    pub compare: Compare,
    /// Remove what the source does not have.
    pub delete: bool,
    /// Even when that is nearly everything.
    pub force: bool,
    /// Which files it is about, on both sides.
    pub filter: Filter,
    /// How many files are looked at at once.
    pub parallel: usize,
}

/// Why a file is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The other side does not have it.
    New,
    /// The sizes differ.
    Size,
    /// The source was changed after the copy.
    Newer,
    /// The hashes differ.
    Content,
}

impl Reason {
    /// As people and `--json` are told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Size => "other size",
            Self::Newer => "newer",
            Self::Content => "other content",
        }
    }
}

/// A file on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Below the folder, and below the prefix.
    pub name: String,
    /// Where it is here, or will be.
    pub path: PathBuf,
    /// Its key.
    pub key: String,
    /// Length of the source.
    pub size_bytes: u64,
    /// Why.
    pub reason: Reason,
}

/// A file that only the other side has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Below the folder, and below the prefix.
    pub name: String,
    /// Its key, when it is the bucket's.
    pub key: String,
    /// The file as it was seen, when it is the folder's.
    pub here: Option<Here>,
    /// How much goes.
    pub size_bytes: u64,
}

/// What there is to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to send or fetch, by name.
    pub transfers: Vec<Transfer>,
    /// What to remove afterwards.
    pub deletions: Vec<Deletion>,
    /// How many are equal.
    pub same: usize,
    /// Of those of equal size, how many had to be compared by time because the node has no hash.
    pub without_hash: usize,
    /// What could not be looked at, each with the reason.
    pub unreadable: Vec<(String, Error)>,
    /// Deletions that are not made because something of the source could not be looked at.
    pub held_back: usize,
}

/// Looks at both sides.
///
/// # Errors
/// When a side cannot be read at all, and when a deletion would take nearly everything.
pub async fn plan(
    client: &Client,
    folder: &Path,
    remote: &Remote,
    wish: &Wish,
) -> Result<Plan, Error> {
    let prefix = prefix(remote);
    let here = here(folder, wish).await?;
    let there = there(client, &remote.bucket, &prefix, &wish.filter).await?;
    let mut plan = Plan {
        unreadable: here.unreadable,
        ..Plan::default()
    };
    let looks = match wish.way {
        Way::ToBucket => to_bucket(&here.files, &there, &prefix),
        Way::FromBucket => from_bucket(folder, &here.files, &there, &mut plan.unreadable),
    };
    let mut compared = futures::stream::iter(looks)
        .map(async |(transfer, pair)| {
            let verdict = match &pair {
                None => Ok((Some(Reason::New), false)),
                Some((here, object)) => differs(client, here, object, wish).await,
            };
            (transfer, verdict)
        })
        .buffered(wish.parallel.max(1));
    while let Some((mut transfer, verdict)) = compared.next().await {
        let (reason, without_hash) = match verdict {
            Ok(verdict) => verdict,
            Err(error @ Error::Local { .. }) => {
                plan.unreadable.push((transfer.name, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        plan.without_hash += usize::from(without_hash);
        match reason {
            Some(reason) => {
                transfer.reason = reason;
                plan.transfers.push(transfer);
            }
            None => plan.same += 1,
        }
    }
    drop(compared);
    if wish.delete {
        let (deletions, sources) = match wish.way {
            Way::ToBucket => (gone_there(&here.files, &there, &prefix), here.files.len()),
            Way::FromBucket => (gone_here(&here.files, &there), there.len()),
        };
        let copies = match wish.way {
            Way::ToBucket => there.len(),
            Way::FromBucket => here.files.len(),
        };
        if !plan.unreadable.is_empty() {
            plan.held_back = deletions.len();
        } else if let Some(refusal) = guard(deletions.len(), sources, copies, wish) {
            return Err(refusal);
        } else {
            plan.deletions = deletions;
        }
    }
    Ok(plan)
}

/// Removes a file that is still the one that was seen, and the folders that it leaves empty. Blocks.
///
/// # Errors
/// When it cannot be removed, or was changed meanwhile.
pub fn delete_here(folder: &Path, here: &Here) -> Result<(), Error> {
    let fail = |e| Error::local("delete", &here.path, e);
    let meta = fs::metadata(&here.path).map_err(fail)?;
    if Here::of(here.path.clone(), &meta) != *here {
        return Err(Error::SourceChanged {
            path: here.path.clone(),
        });
    }
    fs::remove_file(&here.path).map_err(fail)?;
    let above = here.path.ancestors().skip(1);
    for empty in above.take_while(|above| above.starts_with(folder) && *above != folder) {
        // One that is not empty stays, and so do those above it.
        if fs::remove_dir(empty).is_err() {
            break;
        }
    }
    Ok(())
}

/// A sync is about what is below something, whether that ends with a slash or not.
pub(crate) fn prefix(remote: &Remote) -> String {
    match remote.key.as_str() {
        "" => String::new(),
        key if key.ends_with('/') => key.to_owned(),
        key => format!("{key}/"),
    }
}

async fn here(folder: &Path, wish: &Wish) -> Result<Found, Error> {
    let (folder, filter, way) = (folder.to_owned(), wish.filter.clone(), wish.way);
    blocking(move || {
        // The copy may still have to be made; the source may not be missing.
        if way == Way::FromBucket && !folder.exists() {
            return Ok(Found::default());
        }
        local::files(&folder, &|name| filter.takes(name))
    })
    .await
}

async fn there(
    client: &Client,
    bucket: &str,
    prefix: &str,
    filter: &Filter,
) -> Result<BTreeMap<String, Object>, Error> {
    let mut query = ObjectsQuery {
        prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
        limit: Some(MAX_PAGE_ITEMS),
        ..ObjectsQuery::default()
    };
    let mut all = BTreeMap::new();
    loop {
        let page = client.objects(bucket, &query).await?;
        for object in page.items {
            let name = object.key.get(prefix.len()..).unwrap_or_default();
            // What ends with a slash is a folder's placeholder.
            if !name.is_empty() && !name.ends_with('/') && filter.takes(name) {
                all.insert(name.to_owned(), object);
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(all);
        }
        if all.len() >= MAX_LISTED {
            return Err(Error::Usage {
                message: format!("There are more than {MAX_LISTED} objects in {bucket}:{prefix}."),
                hint: Some("Sync its folders one by one.".into()),
            });
        }
    }
}

/// What to look at: a transfer that may be needed, and the two files when both are there.
type Look = (Transfer, Option<(Here, Object)>);

fn to_bucket(
    here: &BTreeMap<String, Here>,
    there: &BTreeMap<String, Object>,
    prefix: &str,
) -> Vec<Look> {
    here.iter()
        .map(|(name, file)| {
            let transfer = Transfer {
                name: name.clone(),
                path: file.path.clone(),
                key: format!("{prefix}{name}"),
                size_bytes: file.size_bytes,
                reason: Reason::New,
            };
            let copy = there.get(name);
            (transfer, copy.map(|copy| (file.clone(), copy.clone())))
        })
        .collect()
}

fn from_bucket(
    folder: &Path,
    here: &BTreeMap<String, Here>,
    there: &BTreeMap<String, Object>,
    unreadable: &mut Vec<(String, Error)>,
) -> Vec<Look> {
    let mut looks = Vec::with_capacity(there.len());
    for (name, object) in there {
        let Some(path) = local::place(folder, name) else {
            let refusal = Error::Usage {
                message: "its key cannot be a file's name here".into(),
                hint: None,
            };
            unreadable.push((name.clone(), refusal));
            continue;
        };
        let transfer = Transfer {
            name: name.clone(),
            path,
            key: object.key.clone(),
            size_bytes: object.size_bytes,
            reason: Reason::New,
        };
        let copy = here.get(name);
        looks.push((transfer, copy.map(|copy| (copy.clone(), object.clone()))));
    }
    looks
}

/// Why the copy is not equal, if it is not; and whether a hash was wished for and not known.
async fn differs(
    client: &Client,
    here: &Here,
    object: &Object,
    wish: &Wish,
) -> Result<(Option<Reason>, bool), Error> {
    if here.size_bytes != object.size_bytes {
        return Ok((Some(Reason::Size), false));
    }
    let there_ns = i128::from(object.modified_at_ms) * NS_PER_MS;
    let is_older = match wish.way {
        Way::ToBucket => there_ns < here.modified_ns / NS_PER_MS * NS_PER_MS,
        Way::FromBucket => here.modified_ns < there_ns,
    };
    if wish.compare == Compare::SizeAndTime && !is_older {
        return Ok((None, false));
    }
    let details = client.object(&object.bucket, &object.key, None).await?;
    let Some(details) = details else {
        // Deleted since it was listed.
        return Ok((Some(Reason::New), false));
    };
    if let (Compare::Hash, Some(there)) = (wish.compare, &details.blake3) {
        let hash = Source::open(&here.path).await?.hash().await?;
        let is_same = hash.eq_ignore_ascii_case(there);
        return Ok(((!is_same).then_some(Reason::Content), false));
    }
    let is_newer = is_older && !has_time_of(&details, here);
    let without_hash = wish.compare == Compare::Hash;
    Ok((is_newer.then_some(Reason::Newer), without_hash))
}

/// Whether the object remembers the file's own modification time.
fn has_time_of(details: &ObjectDetails, here: &Here) -> bool {
    let seconds = details.metadata.get(transfer::MTIME);
    let seconds = seconds.and_then(|text| text.parse::<f64>().ok());
    seconds.is_some_and(|seconds| {
        let ns = (seconds * 1e9) as i128;
        (ns - here.modified_ns).abs() < SAME_TIME_NS
    })
}

fn gone_there(
    here: &BTreeMap<String, Here>,
    there: &BTreeMap<String, Object>,
    prefix: &str,
) -> Vec<Deletion> {
    let gone = there.iter().filter(|(name, _)| !here.contains_key(*name));
    gone.map(|(name, object)| Deletion {
        name: name.clone(),
        key: format!("{prefix}{name}"),
        here: None,
        size_bytes: object.size_bytes,
    })
    .collect()
}

fn gone_here(here: &BTreeMap<String, Here>, there: &BTreeMap<String, Object>) -> Vec<Deletion> {
    let gone = here.iter().filter(|(name, _)| !there.contains_key(*name));
    gone.map(|(name, file)| Deletion {
        name: name.clone(),
        key: String::new(),
        here: Some(file.clone()),
        size_bytes: file.size_bytes,
    })
    .collect()
}

/// A source that is empty was more often forgotten to be mounted than meant.
fn guard(deletions: usize, sources: usize, copies: usize, wish: &Wish) -> Option<Error> {
    let is_much = sources == 0 || (deletions > FEW && deletions * 2 > copies);
    if wish.force || deletions == 0 || !is_much {
        return None;
    }
    let what = match sources {
        0 => "The source is empty".to_owned(),
        n => format!("The source has {n} files only"),
    };
    Some(Error::Usage {
        message: format!("{what}: {deletions} of {copies} files would be deleted."),
        hint: Some("Is everything mounted and spelt right? If this is meant, add --force.".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_everything_is_deleted_only_by_force() {
        let wish = |force| Wish {
            way: Way::ToBucket,
            compare: Compare::SizeAndTime,
            delete: true,
            force,
            filter: Filter::default(),
            parallel: 1,
        };
        let refuses =
            |deletions, sources, copies| guard(deletions, sources, copies, &wish(false)).is_some();
        assert!(refuses(1, 0, 1), "an empty source");
        assert!(refuses(60, 40, 100));
        assert!(!refuses(40, 60, 100));
        assert!(!refuses(5, 1, 6), "a handful");
        assert!(!refuses(0, 0, 0));
        assert!(guard(60, 40, 100, &wish(true)).is_none());
    }

    #[test]
    fn a_prefix_is_a_folder() {
        let of = |text: &str| prefix(&text.parse().expect("a remote path"));
        assert_eq!((of("films:").as_str(), of("films:a").as_str()), ("", "a/"));
        assert_eq!(of("films:a/b/"), "a/b/");
    }
}
