//! Every statement the catalog owns, so that a test finds a mistake in any of them on both databases.

use super::db::{Catalog, Pools};
use super::{
    access_key, asset, audit, blob, bucket, encryption, event, extent, history, job, job_run,
    lease, link, listing, object, part, position, rendition, setting, subtitle, temporary_key,
    upload, upload_member, upload_piece, usage,
};

/// Those that both databases run.
const SHARED: &[&str] = &[
    access_key::INSERT,
    access_key::BY_ID,
    access_key::ROOT,
    access_key::LIST,
    access_key::COUNT,
    access_key::DELETE,
    access_key::DELETE_ROOTS_BUT,
    access_key::SET_SECRET,
    access_key::SWAP_SECRET,
    access_key::SET_DISABLED,
    access_key::SET_GRANTS,
    access_key::TOUCH,
    asset::GET,
    asset::INDEX,
    asset::POSTER,
    asset::PUT,
    asset::BEGIN,
    asset::LIST,
    asset::COUNT,
    asset::DELETE_LONELY,
    audit::INSERT,
    audit::LIST,
    audit::TRIM,
    blob::INSERT,
    blob::GET,
    blob::SUMS,
    blob::PAGE,
    blob::DEAD,
    blob::FINISH,
    blob::REFER,
    blob::RELEASE,
    blob::SET_REFS,
    blob::QUARANTINE,
    blob::ADMIT,
    blob::COUNT_QUARANTINED,
    blob::TWINS,
    blob::TOTAL,
    blob::DELETE_DEAD,
    blob::COUNTED,
    bucket::INSERT,
    bucket::BY_NAME,
    bucket::LIST,
    bucket::DELETE,
    bucket::SET_VERSIONING,
    bucket::SET_DURABILITY,
    bucket::SET_SETTINGS,
    bucket::ADD_USAGE,
    bucket::USAGE,
    encryption::OBJECTS,
    encryption::UPLOADS,
    encryption::SWAP_OBJECT,
    encryption::SWAP_UPLOAD,
    event::INSERT,
    event::AFTER_SQLITE,
    event::LAST,
    event::TRIM,
    event::CONSUMER,
    event::SET_CONSUMER,
    event::BEGIN_CONSUMER,
    event::CONSUMERS,
    event::FORGET_CONSUMER,
    extent::INSERT,
    extent::OF_OBJECT,
    extent::DELETE,
    history::PAGE,
    history::IS_LONE,
    job::INSERT,
    job::GET,
    job::ACTIVE_WITH_KEY,
    job::LIST,
    job::COUNT,
    job::CANCEL,
    job::RETRY,
    job::TRIM,
    job_run::NEXT,
    job_run::LEASE,
    job_run::END,
    job_run::BEAT,
    job_run::TOLD,
    job_run::COMPLETE,
    job_run::FAIL,
    job_run::RELEASE,
    job_run::QUEUED_KINDS,
    job_run::UNDISPATCHED,
    job_run::DISPATCH,
    job_run::DISPATCHED,
    job_run::STARTED,
    job_run::RECALLED,
    lease::TAKE,
    lease::RELEASE,
    lease::HOLDER,
    link::INSERT,
    link::BY_ID,
    link::LIST,
    link::REVOKE,
    link::REVOKE_BY_MAKER,
    link::DELETE_DEAD,
    object::LATEST,
    object::LATEST_HEAD,
    object::VERSION,
    object::BY_CONTENT,
    object::TX_LATEST,
    object::TX_VERSION,
    object::PAGE,
    object::OF_BLOB,
    object::BY_ID,
    object::DEMOTE,
    object::PROMOTE,
    object::INSERT,
    object::DELETE,
    object::SET_TAGS,
    object::SET_EXTRAS,
    object::SET_HEADERS,
    part::PUT,
    part::GET,
    part::LIST,
    part::EVERY,
    part::DELETE,
    part::TOTAL,
    rendition::OF_CONTENT,
    rendition::BEGIN,
    rendition::SHAPE,
    rendition::SET_STATE,
    rendition::PUT_INIT,
    rendition::INIT,
    rendition::LAST_INIT,
    rendition::INSERT_SEGMENT,
    rendition::SEGMENTS,
    rendition::SEGMENT,
    rendition::SEGMENT_OF_BLOB,
    rendition::DELETE_SEGMENT,
    rendition::COUNT_SEGMENTS,
    rendition::TALLY,
    rendition::GROW,
    rendition::USE,
    rendition::CACHED_BYTES,
    rendition::IDLE,
    rendition::LONELY,
    rendition::SEGMENT_BLOBS,
    rendition::EVICT,
    rendition::FORGET,
    rendition::DELETE_INITS,
    rendition::DELETE_SEGMENTS,
    position::PUT,
    position::GET,
    position::RECENT,
    position::DELETE,
    position::TRIM,
    subtitle::PUT,
    subtitle::PUT_EMPTY,
    subtitle::OF_CONTENT,
    subtitle::CUES,
    subtitle::DELETE_LONELY,
    setting::GET,
    setting::PUT,
    setting::PUT_IF_ABSENT,
    temporary_key::INSERT,
    temporary_key::BY_ID,
    temporary_key::LIST,
    temporary_key::LIST_OF,
    temporary_key::COUNT_OF,
    temporary_key::REVOKED,
    temporary_key::REVOKE,
    temporary_key::DELETE_OF,
    temporary_key::DELETE_ENDED,
    temporary_key::TOUCH,
    upload::INSERT,
    upload::GET,
    upload::OF_BUCKET,
    upload::OPEN,
    upload::COUNT_OPEN,
    upload::EXPIRED,
    upload::TO_KEY,
    upload_piece::GET,
    upload_piece::MEMBERS,
    upload::ADVANCE,
    upload::SET_LENGTH,
    upload::FINISH,
    upload::DELETE,
    upload_member::DELETE_MEMBERS,
    upload_member::FINALS_OF,
    upload_member::MEMBERS,
    upload_member::PUT_MEMBER,
    upload::SEAL,
    upload::SEAL_LANE,
    upload::LANES,
    upload_member::TAKE,
    upload::UNFINISHED_OF_BUCKET,
    upload::UNFINISHED_OF_OWNER,
    upload::SET_FENCE,
    upload::DELETE_FINISHED,
    upload::TAKE_LEASE,
    upload::DROP_LEASE,
    usage::ADD,
    usage::GET,
    usage::LIST,
    usage::SET_QUOTA,
    usage::WRONG_OWNERS,
    usage::WRONG_BUCKETS,
    usage::ZERO_OWNERS,
    usage::RECOUNT_OWNERS,
    usage::RECOUNT_BUCKETS,
];
/// Those that only SQLite needs: its one writer gives the row ids itself, and a page is cut to what is shown.
const SQLITE: &[&str] = &[
    listing::NEXT_KEY,
    rendition::SEGMENTS_PAGE,
    listing::OBJECTS_SHORT,
    listing::OBJECTS_AMONG_VERSIONS,
    listing::VERSIONS_SHORT,
    object::INSERT_AT,
    object::NEWEST,
];
/// Those that only PostgreSQL needs: SQLite has one writer at a time.
const POSTGRES: &[&str] = &[
    event::AFTER_POSTGRES,
    listing::OBJECTS,
    listing::VERSIONS,
    object::LOCK_KEY,
];

impl Catalog {
    /// Every statement this catalog may send to its database.
    pub fn statements(&self) -> Vec<&'static str> {
        let own = match self.pools {
            Pools::Sqlite(_) => SQLITE,
            Pools::Postgres(_) => POSTGRES,
        };
        SHARED.iter().chain(own).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{SHARED, SQLITE};
    use crate::catalog::{bucket, encryption, extent, object, usage};

    /// Statements that change rows which the memory may hold, and whose functions say so by `touched`.
    const TELLING: &[&str] = &[
        bucket::INSERT,
        bucket::DELETE,
        bucket::SET_VERSIONING,
        bucket::SET_DURABILITY,
        bucket::SET_SETTINGS,
        // Usage is not remembered.
        bucket::ADD_USAGE,
        usage::RECOUNT_BUCKETS,
        extent::INSERT,
        extent::DELETE,
        object::DEMOTE,
        object::PROMOTE,
        object::INSERT,
        object::INSERT_AT,
        object::DELETE,
        object::SET_TAGS,
        object::SET_EXTRAS,
        object::SET_HEADERS,
        encryption::SWAP_OBJECT,
    ];

    #[test]
    fn whoever_changes_what_is_remembered_says_so() {
        let all = SHARED.iter().chain(SQLITE);
        for sql in all.filter(|sql| !TELLING.contains(sql)) {
            let mut words = sql.split_whitespace();
            let table = match words.next() {
                Some("UPDATE") => words.next(),
                Some("INSERT" | "DELETE") => words.nth(1),
                _ => None,
            };
            assert!(
                !matches!(table, Some("bucket" | "object_version" | "extent")),
                "its function must call self.touched, and it must stand in the list above: {sql}"
            );
        }
    }

    /// A statement that is not listed would never be prepared by the test.
    #[test]
    fn no_statement_is_forgotten() {
        let listed = include_str!("statements.rs");
        for (room, source) in [
            ("access_key", include_str!("access_key.rs")),
            ("asset", include_str!("asset.rs")),
            ("audit", include_str!("audit.rs")),
            ("blob", include_str!("blob.rs")),
            ("bucket", include_str!("bucket.rs")),
            ("event", include_str!("event.rs")),
            ("extent", include_str!("extent.rs")),
            ("history", include_str!("history.rs")),
            ("job", include_str!("job.rs")),
            ("job_run", include_str!("job_run.rs")),
            ("lease", include_str!("lease.rs")),
            ("link", include_str!("link.rs")),
            ("listing", include_str!("listing.rs")),
            ("object", include_str!("object.rs")),
            ("part", include_str!("part.rs")),
            ("position", include_str!("position.rs")),
            ("rendition", include_str!("rendition.rs")),
            ("setting", include_str!("setting.rs")),
            ("subtitle", include_str!("subtitle.rs")),
            ("temporary_key", include_str!("temporary_key.rs")),
            ("upload", include_str!("upload.rs")),
            ("usage", include_str!("usage.rs")),
        ] {
            for line in source.lines() {
                let name = line
                    .strip_prefix("pub(super) const ")
                    .and_then(|rest| rest.split_once(": &str"));
                if let Some((name, _)) = name {
                    let path = format!("    {room}::{name},");
                    let inline = format!("[{room}::{name}");
                    let second = format!(" {room}::{name}]");
                    assert!(
                        [path, inline, second]
                            .iter()
                            .any(|p| listed.contains(p.as_str())),
                        "catalog/{room}.rs: {name} is missing in statements.rs"
                    );
                }
            }
        }
    }
}
