//! Errors: `application/problem+json` (RFC 9457) with two members of our own.

use serde::{Deserialize, Serialize};

/// The content type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, for a machine (`code`), for a person (`title`, `detail`) and what to do about it (`hint`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A URI reference that names the kind of problem; `about:blank` where the status says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// A short sentence that is the same for every problem of this kind.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What happened this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The stable machine word, one of [`code`]; compare this, never the texts.
    #[serde(default)]
    pub code: String,
    /// What the caller can do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The id under which the daemon logged the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where the upload stands, when a request believed it elsewhere.
    #[serde(
        rename = "expected-offset",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub expected_offset: Option<u64>,
    /// Where the request believed it.
    #[serde(
        rename = "provided-offset",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub provided_offset: Option<u64>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl Problem {
    /// A problem without detail, hint or request id.
    pub fn new(status: u16, code: &str, title: &str) -> Self {
        Self {
            kind: about_blank(),
            title: title.to_owned(),
            status,
            detail: None,
            code: code.to_owned(),
            hint: None,
            request_id: None,
            expected_offset: None,
            provided_offset: None,
        }
    }

    /// Says what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The stable words of [`Problem::code`].
pub mod code {
    /// 400: a parameter or body that cannot be understood.
    pub const INVALID_REQUEST: &str = "invalid_request";
    /// 400: the connection ended before the body did; what a resumable upload had received is kept.
    pub const INCOMPLETE_BODY: &str = "incomplete_body";
    /// 400: a bucket name outside the rules.
    pub const INVALID_BUCKET_NAME: &str = "invalid_bucket_name";
    /// 400: an object key outside the rules.
    pub const INVALID_KEY: &str = "invalid_key";
    /// 401: no credentials, or wrong ones.
    pub const UNAUTHENTICATED: &str = "unauthenticated";
    /// 403: known, but not allowed.
    pub const FORBIDDEN: &str = "forbidden";
    /// 403: the version is held or retained.
    pub const OBJECT_LOCKED: &str = "object_locked";
    /// 503: the disk on which it lies is away; the detail says which.
    pub const DISK_AWAY: &str = "disk_away";
    /// 500: stored bytes that were asked for are damaged; they are never served, the rest of the object is.
    pub const OBJECT_DAMAGED: &str = "object_damaged";
    /// 404: no such route.
    pub const ROUTE_NOT_FOUND: &str = "route_not_found";
    /// 404: no such bucket.
    pub const BUCKET_NOT_FOUND: &str = "bucket_not_found";
    /// 404: no such object or version.
    pub const OBJECT_NOT_FOUND: &str = "object_not_found";
    /// 404: no object that the caller may read has this content.
    pub const CONTENT_NOT_FOUND: &str = "content_not_found";
    /// 404: the object is there but was never taken for media, or is not there at all.
    pub const ASSET_NOT_FOUND: &str = "asset_not_found";
    /// 404: the caller has not watched the object.
    pub const POSITION_NOT_FOUND: &str = "position_not_found";
    /// 404: no such job.
    pub const JOB_NOT_FOUND: &str = "job_not_found";
    /// 404: no such access key.
    pub const KEY_NOT_FOUND: &str = "key_not_found";
    /// The configuration names no disk so, or it is not being emptied.
    pub const DISK_NOT_FOUND: &str = "disk_not_found";
    /// 404: no such link.
    pub const LINK_NOT_FOUND: &str = "link_not_found";
    /// 404: no such upload.
    pub const UPLOAD_NOT_FOUND: &str = "upload_not_found";
    /// 405: the route exists, not with this method.
    pub const METHOD_NOT_ALLOWED: &str = "method_not_allowed";
    /// 409: a bucket of this name exists.
    pub const BUCKET_EXISTS: &str = "bucket_exists";
    /// 409: the bucket still holds objects, versions or uploads.
    pub const BUCKET_NOT_EMPTY: &str = "bucket_not_empty";
    /// 409: the job has ended and cannot be cancelled.
    pub const JOB_FINISHED: &str = "job_finished";
    /// 409: the job is queued or running and cannot be retried.
    pub const JOB_ACTIVE: &str = "job_active";
    /// 409: the state asked for conflicts with the state there is.
    pub const CONFLICT: &str = "conflict";
    /// 409: no delete marker hides the object.
    pub const NOT_DELETED: &str = "not_deleted";
    /// 412: a condition of the request did not hold.
    pub const PRECONDITION_FAILED: &str = "precondition_failed";
    /// 413: the body is over its limit.
    pub const TOO_LARGE: &str = "too_large";
    /// 429: too many requests at once.
    pub const TOO_MANY_REQUESTS: &str = "too_many_requests";
    /// 500: the daemon's fault; `request_id` finds it in the log.
    pub const INTERNAL: &str = "internal";
    /// 501: known but not there yet.
    pub const NOT_IMPLEMENTED: &str = "not_implemented";
    /// 503: starting, stopping, or a part it needs is away; try again.
    pub const UNAVAILABLE: &str = "unavailable";
    /// 507: a bucket or an access key may not hold so much.
    pub const QUOTA_EXCEEDED: &str = "quota_exceeded";
    /// 507: the disk's reserve is reached; deletes still work.
    pub const STORAGE_FULL: &str = "storage_full";
}
