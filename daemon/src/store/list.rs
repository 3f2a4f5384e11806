//! Listing objects and versions, with prefixes folded at a delimiter.

use super::{Store, StoreError};
use crate::catalog::{ListEntry, ListQuery, ListRows, Versioning};
use crate::kernel::limits::LIST_KEYS_MAX;
use crate::kernel::{BucketName, ETag, Millis, ObjectKey, VersionId};

/// Rows asked of the catalog behind a folded prefix: the next most likely begins another.
const FOLD_ROWS: i64 = 2;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Fold what lies behind this into common prefixes; empty means none.
    pub delimiter: String,
    /// Only keys behind this one; a common prefix here skips all that lies under it.
    pub after: Option<String>,
    /// With `after`, when versions are listed: only versions of that key older than this one.
    pub after_version: Option<VersionId>,
    /// Entries and common prefixes together, at most [`LIST_KEYS_MAX`].
    pub limit: usize,
    /// Every version and delete marker instead of the latest objects.
    pub versions: bool,
}

/// One listed version.
#[derive(Clone, Debug)]
pub struct ListItem {
    /// The key.
    pub key: ObjectKey,
    /// The version.
    pub version_id: VersionId,
    /// Whether a plain read sees it.
    pub is_latest: bool,
    /// Whether it says that the object is gone.
    pub is_delete_marker: bool,
    /// Bytes.
    pub size: u64,
    /// The entity tag.
    pub etag: ETag,
    /// Who wrote it.
    pub owner: String,
    /// Checksums as stored, in JSON; parsed where a door shows them.
    pub checksums: String,
    /// When it was published.
    pub modified_ms: Millis,
}

/// One page.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Versions, by key and then newest first.
    pub items: Vec<ListItem>,
    /// Common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Whether more follows.
    pub is_truncated: bool,
    /// What to give as `after` for the next page: the last key or common prefix of this one.
    pub next_after: Option<String>,
    /// What to give as `after_version`, when versions are listed and the page ended at a version.
    pub next_after_version: Option<VersionId>,
}

/// The first byte string behind everything that begins with `prefix`.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    // Keys are UTF-8, so no key holds 0xff and the prefix with it lies behind all of them.
    [prefix, &[0xff]].concat()
}

/// What a page ended with so far.
enum Last {
    Nothing,
    Prefix,
    /// A version with this row id.
    Item(i64),
}

impl ListPage {
    /// Says where the next page begins.
    fn ended(mut self, last: &Last, request: &ListRequest) -> Self {
        match last {
            Last::Nothing => {}
            Last::Prefix => self.next_after = self.prefixes.last().cloned(),
            Last::Item(_) => {
                let item = self.items.last();
                self.next_after = item.map(|item| item.key.to_string());
                let version = item.filter(|_| request.versions);
                self.next_after_version = version.map(|item| item.version_id.clone());
            }
        }
        self
    }
}

/// The position where a walk goes on.
struct Cursor {
    from: Vec<u8>,
    /// Of the first key only versions with a lower row id; 0 skips the key altogether.
    below: i64,
}

impl Store {
    /// One page of a bucket.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn list(
        &self,
        bucket: &BucketName,
        request: &ListRequest,
    ) -> Result<ListPage, StoreError> {
        let row = self.bucket(bucket).await?;
        let (bucket_id, has_history) = (row.id, row.versioning() != Versioning::Off);
        let limit = request.limit.min(LIST_KEYS_MAX);
        let mut page = ListPage::default();
        if limit == 0 {
            return Ok(page);
        }
        let prefix = request.prefix.as_bytes();
        let end = (!prefix.is_empty()).then(|| behind(prefix));
        let mut cursor = self.start(bucket, request).await?;
        let mut last = Last::Nothing;
        // Of the next statement, while prefixes are being folded: it grows where none are found.
        let mut few = FOLD_ROWS;
        // Whether the last two were common prefixes: then the next most likely is one as well.
        let mut among_folds = false;
        loop {
            let shown = page.items.len() + page.prefixes.len();
            let want = (limit - shown + 1) as i64;
            let rows = ListRows {
                bucket_id,
                has_history,
                from: &cursor.from,
                until: end.as_deref(),
                limit: if request.delimiter.is_empty() {
                    want
                } else {
                    want.min(few)
                },
            };
            if among_folds && !request.versions {
                among_folds = false;
                let run = ListRows {
                    limit: want,
                    ..rows
                };
                let folds = self.0.catalog.folds(run, prefix.len(), &request.delimiter);
                let folds = folds.await?;
                if let Some(folded) = folds.last() {
                    cursor.from = behind(folded.as_bytes());
                    page.is_truncated = folds.len() > limit - shown;
                    page.prefixes.extend(folds.into_iter().take(limit - shown));
                    if page.is_truncated {
                        return Ok(page.ended(&last, request));
                    }
                    continue;
                }
            }
            let asked = rows.limit;
            let query = if request.versions {
                ListQuery::Versions {
                    below: cursor.below,
                }
            } else {
                ListQuery::Objects
            };
            let entries = self.0.catalog.list(rows, query).await?;
            let is_end = (entries.len() as i64) < asked;
            let mut jumped = false;
            let was_fold = matches!(last, Last::Prefix);
            let items = page.items.len();
            for entry in entries {
                if page.items.len() + page.prefixes.len() == limit {
                    page.is_truncated = true;
                    return Ok(page.ended(&last, request));
                }
                if let Some(folded) = fold(&entry, request) {
                    cursor = Cursor {
                        from: behind(folded.as_bytes()),
                        below: i64::MAX,
                    };
                    page.prefixes.push(folded);
                    last = Last::Prefix;
                    jumped = true;
                    break;
                }
                last = Last::Item(entry.id);
                page.items.push(item(entry)?);
            }
            among_folds = jumped && was_fold && page.items.len() == items;
            few = if jumped { FOLD_ROWS } else { few * 32 };
            if is_end && !jumped {
                return Ok(page.ended(&last, request));
            }
            if let (false, Last::Item(id), Some(item)) = (jumped, &last, page.items.last()) {
                cursor = behind_item(item, *id, request.versions);
            }
        }
    }

    async fn start(
        &self,
        bucket: &BucketName,
        request: &ListRequest,
    ) -> Result<Cursor, StoreError> {
        let prefix = request.prefix.as_bytes();
        let Some(after) = &request.after else {
            return Ok(Cursor {
                from: prefix.to_vec(),
                below: i64::MAX,
            });
        };
        if after.as_bytes() < prefix {
            return Ok(Cursor {
                from: prefix.to_vec(),
                below: i64::MAX,
            });
        }
        let folds = !request.delimiter.is_empty() && after.starts_with(&request.prefix);
        if folds
            && after[request.prefix.len()..]
                .find(&request.delimiter)
                .is_some_and(|at| {
                    request.prefix.len() + at + request.delimiter.len() == after.len()
                })
        {
            return Ok(Cursor {
                from: behind(after.as_bytes()),
                below: i64::MAX,
            });
        }
        if let (true, Some(version), Ok(key)) = (
            request.versions,
            &request.after_version,
            after.parse::<ObjectKey>(),
        ) {
            let row = self.0.catalog.object_version(bucket, &key, version).await?;
            // A version that is gone meanwhile skips its key rather than repeating what was shown.
            return Ok(Cursor {
                from: after.clone().into_bytes(),
                below: row.map_or(0, |row| row.id),
            });
        }
        Ok(Cursor {
            from: [after.as_bytes(), &[0]].concat(),
            below: i64::MAX,
        })
    }
}

/// The common prefix that an entry folds into.
fn fold(entry: &ListEntry, request: &ListRequest) -> Option<String> {
    if request.delimiter.is_empty() {
        return None;
    }
    let key = std::str::from_utf8(entry.key_bytes()).ok()?;
    let rest = key.get(request.prefix.len()..)?;
    let at = rest.find(&request.delimiter)?;
    Some(key[..request.prefix.len() + at + request.delimiter.len()].to_owned())
}

fn behind_item(item: &ListItem, id: i64, versions: bool) -> Cursor {
    let key = item.key.as_bytes();
    if versions {
        Cursor {
            from: key.to_vec(),
            below: id,
        }
    } else {
        Cursor {
            from: [key, &[0]].concat(),
            below: i64::MAX,
        }
    }
}

fn item(entry: ListEntry) -> Result<ListItem, StoreError> {
    let corrupt =
        |what: &str| StoreError::Damaged(format!("object_version row {}: {what}", entry.id));
    Ok(ListItem {
        key: entry.key()?,
        version_id: entry
            .version_id
            .parse()
            .map_err(|_| corrupt("version_id"))?,
        is_latest: entry.is_latest,
        is_delete_marker: entry.is_delete_marker,
        size: entry.size(),
        etag: ETag::from_stored(entry.etag),
        owner: entry.owner,
        checksums: entry.checksums,
        modified_ms: entry.modified_ms,
    })
}
