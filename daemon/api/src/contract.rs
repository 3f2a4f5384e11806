//! The operations of the API as a table: what the daemon's router offers, and what its OpenAPI document describes.
//!
//! The document is written from this table and the types' own schemas, and lies beside this crate.
//! Tests hold the three together: the router answers every line of the table and nothing else, and the document is what the table says.

use crate::routes;

/// The OpenAPI document, as the daemon serves it at [`routes::OPENAPI`].
pub const DOCUMENT: &str = include_str!("../openapi.json");

/// One operation: a method on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The method, in capitals.
    pub method: &'static str,
    /// The address, as in [`routes`].
    pub path: &'static str,
    /// Its name in generated clients.
    pub id: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The type whose members are its query parameters; empty for none.
    pub query: &'static str,
    /// The type of its body; empty for none.
    pub body: &'static str,
    /// What a success answers.
    pub answer: Answer,
    /// The refusals that are its own: status and code.
    pub refusals: &'static [(u16, &'static str)],
    /// Whether it needs no credential.
    pub open: bool,
}

/// What a success answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 and this type as JSON.
    Json(&'static str),
    /// 201 and this type as JSON.
    Created(&'static str),
    /// 204.
    Empty,
    /// 200 and server-sent events of this type.
    Events(&'static str),
    /// 200 and bytes of this media type.
    Bytes(&'static str),
}

const fn get(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    Operation {
        method: "GET",
        path,
        id,
        summary,
        query: "",
        body: "",
        answer,
        refusals: &[],
        open: false,
    }
}

impl Operation {
    const fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    const fn query(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    const fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    const fn refuses(mut self, refusals: &'static [(u16, &'static str)]) -> Self {
        self.refusals = refusals;
        self
    }

    const fn open(mut self) -> Self {
        self.open = true;
        self
    }
}

/// Where a process says that it is alive.
pub const HEALTHZ: &str = "/-/healthz";
/// Where a process says that it serves.
pub const READYZ: &str = "/-/readyz";
/// Counters and gauges.
pub const METRICS: &str = "/-/metrics";

/// Every operation, in the order of the document.
pub const OPERATIONS: &[Operation] = &[
    get(
        routes::DISCOVERY,
        "discover",
        "Where the doors are, for a client that knows only an origin.",
        Answer::Json("Discovery"),
    )
    .open(),
    get(
        routes::OPENAPI,
        "describe",
        "This document.",
        Answer::Bytes("application/json"),
    )
    .open(),
    get(
        routes::STATUS,
        "status",
        "The node at a glance, and who is asking.",
        Answer::Json("Status"),
    ),
    get(
        routes::BUCKETS,
        "listBuckets",
        "The buckets that the caller may list, by name.",
        Answer::Json("PageOfBucket"),
    )
    .query("PageQuery"),
    get(
        routes::BUCKETS,
        "createBucket",
        "Makes a bucket.",
        Answer::Created("Bucket"),
    )
    .method("POST")
    .body("CreateBucket")
    .refuses(&[(400, "invalid_bucket_name"), (409, "bucket_exists")]),
    get(
        routes::BUCKET,
        "getBucket",
        "A bucket and how full it is.",
        Answer::Json("Bucket"),
    )
    .refuses(&[(404, "bucket_not_found")]),
    get(
        routes::BUCKET,
        "patchBucket",
        "Changes a bucket's settings; what is absent stays.",
        Answer::Json("Bucket"),
    )
    .method("PATCH")
    .body("PatchBucket")
    .refuses(&[(404, "bucket_not_found")]),
    get(
        routes::BUCKET,
        "deleteBucket",
        "Removes an empty bucket.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "bucket_not_found"), (409, "bucket_not_empty")]),
    get(
        routes::OBJECTS,
        "listObjects",
        "The objects of a bucket, in the order of their keys' bytes.",
        Answer::Json("ObjectPage"),
    )
    .query("ObjectsQuery")
    .refuses(&[(404, "bucket_not_found")]),
    get(
        routes::OBJECT,
        "getObject",
        "One object with all that is known of it.",
        Answer::Json("ObjectDetails"),
    )
    .query("VersionQuery")
    .refuses(&[(404, "object_not_found"), (404, "bucket_not_found")]),
    get(
        routes::OBJECT,
        "deleteObject",
        "Removes an object, or hides it where versions are kept; removes a version that is named.",
        Answer::Empty,
    )
    .method("DELETE")
    .query("VersionQuery")
    .refuses(&[
        (403, "object_locked"),
        (404, "object_not_found"),
        (404, "bucket_not_found"),
    ]),
    get(
        routes::OBJECT,
        "restoreObject",
        "Brings back what a delete marker hides; with a version, puts that one on top again.",
        Answer::Json("Object"),
    )
    .method("POST")
    .query("VersionQuery")
    .refuses(&[
        (404, "object_not_found"),
        (404, "bucket_not_found"),
        (409, "not_deleted"),
    ]),
    get(
        routes::CONTENT,
        "claimContent",
        "Makes an object of content that another object has which the caller may read, by its BLAKE3: what is there need not be sent again. Content that the caller may not read is as if it were not there.",
        Answer::Created("ObjectDetails"),
    )
    .method("POST")
    .body("ClaimContent")
    .refuses(&[
        (404, "content_not_found"),
        (404, "bucket_not_found"),
        (413, "quota_exceeded"),
    ]),
    get(
        routes::ASSETS,
        "listAssets",
        "Films and recordings, newest first, of the buckets that the caller may list. A page may hold fewer items than asked for and still have a next one.",
        Answer::Json("PageOfAsset"),
    )
    .query("AssetsQuery"),
    get(
        routes::ASSET,
        "getAsset",
        "One film or recording, how it would be played by the caller's player, and why so.",
        Answer::Json("Asset"),
    )
    .query("PlayerQuery")
    .refuses(&[(404, "asset_not_found"), (404, "object_not_found"), (404, "bucket_not_found")]),
    get(
        routes::POSTER,
        "getPoster",
        "A picture of a film.",
        Answer::Bytes("image/jpeg"),
    )
    .refuses(&[(404, "asset_not_found"), (404, "object_not_found")]),
    get(
        routes::LIBRARY,
        "listLibrary",
        "Films and series that the caller may list, newest first; with a series, its episodes in order.",
        Answer::Json("PageOfLibraryItem"),
    )
    .query("LibraryQuery"),
    get(
        routes::POSITIONS,
        "listPositions",
        "Where the caller stopped watching what it may still read, latest first. A page may hold fewer items than asked for and still have a next one.",
        Answer::Json("PageOfPosition"),
    )
    .query("PositionsQuery"),
    get(
        routes::POSITION,
        "getPosition",
        "Where the caller stopped watching one film, under whatever name it was.",
        Answer::Json("Position"),
    )
    .refuses(&[(404, "position_not_found"), (404, "object_not_found")]),
    get(
        routes::POSITION,
        "putPosition",
        "Notes where the caller is; players tell it every few seconds.",
        Answer::Json("Position"),
    )
    .method("PUT")
    .body("PutPosition")
    .refuses(&[(404, "asset_not_found"), (404, "object_not_found")]),
    get(
        routes::POSITION,
        "deletePosition",
        "Forgets where the caller was.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "position_not_found"), (404, "object_not_found")]),
    get(
        routes::STREAMS,
        "listStreams",
        "Who watches at this moment, what reaches them and why: the caller's own, and everybody's for who may read jobs.",
        Answer::Json("PageOfStream"),
    ),
    get(
        routes::JOBS,
        "listJobs",
        "Jobs, newest first.",
        Answer::Json("PageOfJob"),
    )
    .query("JobsQuery"),
    get(routes::JOB, "getJob", "One job.", Answer::Json("Job"))
        .refuses(&[(404, "job_not_found")]),
    get(
        routes::JOB_CANCEL,
        "cancelJob",
        "Ends a job; a running one stops within seconds.",
        Answer::Json("Job"),
    )
    .method("POST")
    .refuses(&[(404, "job_not_found"), (409, "job_finished")]),
    get(
        routes::JOB_RETRY,
        "retryJob",
        "Queues a job again that has ended.",
        Answer::Json("Job"),
    )
    .method("POST")
    .refuses(&[(404, "job_not_found"), (409, "job_active")]),
    get(
        routes::KEYS,
        "listKeys",
        "Access keys, without their secrets.",
        Answer::Json("PageOfAccessKey"),
    )
    .query("PageQuery"),
    get(
        routes::KEYS,
        "createKey",
        "Makes an access key; only this answer holds its secret.",
        Answer::Created("CreatedKey"),
    )
    .method("POST")
    .body("CreateKey"),
    get(
        routes::KEY,
        "patchKey",
        "Switches an access key off or on, or bounds what it may store; what is absent stays.",
        Answer::Json("AccessKey"),
    )
    .method("PATCH")
    .body("PatchKey")
    .refuses(&[(404, "key_not_found")]),
    get(
        routes::KEY,
        "deleteKey",
        "Revokes an access key, at once.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "key_not_found")]),
    get(
        routes::SESSIONS,
        "listSessions",
        "Temporary keys that work: everybody's for who manages keys, else those of the caller's own key.",
        Answer::Json("PageOfSession"),
    )
    .query("PageQuery"),
    get(
        routes::SESSION,
        "deleteSession",
        "Takes a temporary key back, at once; the caller's own, or anybody's for who manages keys.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "key_not_found")]),
    get(
        routes::SESSIONS,
        "createSession",
        "Makes a temporary key with the caller's rights, or fewer; only this answer holds its secret and token.",
        Answer::Created("CreatedSession"),
    )
    .method("POST")
    .body("CreateSession"),
    get(
        routes::DRAINS,
        "listDrains",
        "Disks that are being emptied, or are empty and still configured.",
        Answer::Json("PageOfDrain"),
    ),
    get(
        routes::DRAINS,
        "beginDrain",
        "Has every file moved off a disk while the appliance serves; it goes on after a restart. Asked again, it changes the rate.",
        Answer::Created("Drain"),
    )
    .method("POST")
    .body("BeginDrain")
    .refuses(&[(404, "disk_not_found")]),
    get(
        routes::DRAIN,
        "cancelDrain",
        "Stops emptying a disk: what was moved stays where it is, and new files may go to the disk again.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "disk_not_found")]),
    get(
        routes::LINKS,
        "listLinks",
        "Signed links, without their addresses.",
        Answer::Json("PageOfLink"),
    )
    .query("PageQuery"),
    get(
        routes::LINKS,
        "createLink",
        "Makes a signed link to one object or to every key of a prefix; only this answer holds its addresses.",
        Answer::Created("Link"),
    )
    .method("POST")
    .body("CreateLink")
    .refuses(&[(404, "object_not_found"), (404, "bucket_not_found")]),
    get(
        routes::LINK,
        "deleteLink",
        "Revokes a signed link, at once.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "link_not_found")]),
    get(
        routes::UPLOADS,
        "listUploads",
        "Unfinished uploads of every door: the caller's own, and those of the buckets whose uploads it manages.",
        Answer::Json("PageOfUpload"),
    )
    .query("PageQuery"),
    get(
        routes::UPLOAD,
        "getUpload",
        "How far an unfinished upload is; asking does not end the request that sends it.",
        Answer::Json("Upload"),
    )
    .refuses(&[(404, "upload_not_found")]),
    get(
        routes::UPLOAD,
        "deleteUpload",
        "Gives up an unfinished upload and what it received.",
        Answer::Empty,
    )
    .method("DELETE")
    .refuses(&[(404, "upload_not_found")]),
    get(
        routes::EVENTS,
        "followEvents",
        "What happens, as server-sent events; the header Last-Event-ID replays what came after it and wins over the query.",
        Answer::Events("Event"),
    )
    .query("EventsQuery"),
    get(
        HEALTHZ,
        "healthz",
        "Whether the process lives.",
        Answer::Bytes("text/plain"),
    )
    .open(),
    get(
        READYZ,
        "readyz",
        "Whether the process serves.",
        Answer::Bytes("text/plain"),
    )
    .open(),
    get(
        METRICS,
        "metrics",
        "Counters and gauges in the text format of Prometheus.",
        Answer::Bytes("text/plain"),
    ),
];
