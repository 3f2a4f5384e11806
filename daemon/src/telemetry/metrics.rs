//! The registry: every metric of the daemon, once.
//!
//! Units are base units and stand last, as Prometheus has it. A label's values are a closed, small set:
//! `door` (s3, tus, stream, admin, website), `status` (2xx, 3xx, 4xx, 5xx), `kind` of a job, `outcome` (ok, failed, …), `protocol` (tus, rufh), `target` (a webhook of the configuration), `source` (original, rendition),
//! `cause` of a worker's death (crash, killed, cpu_time, forbidden, exit, silence, deadline, nonsense).

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As exported.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// One sentence for the person who meets it on a dashboard.
    pub description: &'static str,
}

/// Declares each constant and the table of all of them from one list.
macro_rules! registry {
    ($($constant:ident = $kind:ident $unit:ident $name:literal $description:literal;)*) => {
        $(#[doc = $description] pub const $constant: &str = $name;)*

        /// Every metric, in the order of the rooms.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            description: $description,
        },)*];
    };
}

registry! {
    BUILD_INFO = Gauge Count "nebula_build_info"
        "Always 1; the labels say which version and build runs.";
    HTTP_CONNECTIONS = Gauge Count "nebula_http_connections"
        "Connections that are open.";
    HTTP_CONNECTIONS_TOTAL = Counter Count "nebula_http_connections_total"
        "Connections that were accepted.";
    HTTP_REQUESTS_IN_FLIGHT = Gauge Count "nebula_http_requests_in_flight"
        "Requests whose answer is not finished.";
    HTTP_REQUESTS_TOTAL = Counter Count "nebula_http_requests_total"
        "Requests answered, by door and class of status.";
    HTTP_REQUEST_SECONDS = Histogram Seconds "nebula_http_request_seconds"
        "Time from a request's head to the head of its answer, by door.";
    HTTP_RECEIVED_BYTES_TOTAL = Counter Bytes "nebula_http_received_bytes_total"
        "Bytes of request bodies, by door.";
    HTTP_SENT_BYTES_TOTAL = Counter Bytes "nebula_http_sent_bytes_total"
        "Bytes of response bodies, by door.";
    CATALOG_COMMITS_TOTAL = Counter Count "nebula_catalog_commits_total"
        "Transactions committed.";
    CATALOG_COMMIT_WAITERS = Histogram Count "nebula_catalog_commit_waiters"
        "Changes that shared one commit.";
    CATALOG_COMMIT_SECONDS = Histogram Seconds "nebula_catalog_commit_seconds"
        "Time a commit took.";
    CATALOG_MEMORY_HITS_TOTAL = Counter Count "nebula_catalog_memory_hits_total"
        "Look-ups answered without a statement, by what was asked for (bucket, object).";
    CATALOG_MEMORY_MISSES_TOTAL = Counter Count "nebula_catalog_memory_misses_total"
        "Look-ups that asked the database, by what was asked for (bucket, object).";
    BLOB_FSYNC_SECONDS = Histogram Seconds "nebula_blob_fsync_seconds"
        "Time a sync of data to the disk took.";
    BLOB_FSYNC_WAITERS = Histogram Count "nebula_blob_fsync_waiters"
        "Changes to a directory that shared one sync of it.";
    BLOB_FREE_BYTES = Gauge Bytes "nebula_blob_free_bytes"
        "Bytes that may still be written, the reserve taken off.";
    BLOB_ORPHANS_REMOVED_TOTAL = Counter Count "nebula_blob_orphans_removed_total"
        "Files without a row that were removed.";
    BLOB_CORRUPT_TOTAL = Counter Count "nebula_blob_corrupt_total"
        "Checks of stored bytes that found other bytes.";
    BLOB_QUARANTINED = Gauge Count "nebula_blob_quarantined"
        "Files that are known to be damaged and were set aside.";
    SCRUB_BYTES_TOTAL = Counter Bytes "nebula_scrub_bytes_total"
        "Stored bytes that were read to be compared with their sums.";
    STORE_OBJECTS = Gauge Count "nebula_store_objects"
        "Objects, their old versions counted each.";
    STORE_OBJECT_BYTES = Gauge Bytes "nebula_store_object_bytes"
        "Bytes of those objects, as their readers see them.";
    LIFECYCLE_ENDED_TOTAL = Counter Count "nebula_lifecycle_ended_total"
        "What the lifecycle rules of buckets ended, by kind (current, noncurrent, marker, upload).";
    UPLOADS_OPEN = Gauge Count "nebula_uploads_open"
        "Uploads that are neither finished nor ended.";
    UPLOADS_ACTIVE = Gauge Count "nebula_uploads_active"
        "Uploads with a request that is sending in this moment.";
    UPLOADS_STALLED = Gauge Count "nebula_uploads_stalled"
        "Those of them from which no byte has come for ten seconds.";
    UPLOADS_RECEIVED_BYTES_TOTAL = Counter Bytes "nebula_uploads_received_bytes_total"
        "Bytes of resumable uploads that were received, by protocol (tus, rufh).";
    UPLOADS_FINISHED_TOTAL = Counter Count "nebula_uploads_finished_total"
        "Resumable uploads that became objects, by protocol (tus, rufh).";
    UPLOADS_TAKEN_OVER_TOTAL = Counter Count "nebula_uploads_taken_over_total"
        "Requests that ended an older one of the same upload.";
    UPLOADS_EXPIRED_TOTAL = Counter Count "nebula_uploads_expired_total"
        "Unfinished uploads removed because nobody continued them.";
    JOBS_WAITING = Gauge Count "nebula_jobs_waiting"
        "Jobs that wait for a worker, by kind.";
    JOBS_RUNNING = Gauge Count "nebula_jobs_running"
        "Jobs that run, by kind.";
    JOBS_FINISHED_TOTAL = Counter Count "nebula_jobs_finished_total"
        "Jobs that ended, by kind and outcome.";
    JOB_SECONDS = Histogram Seconds "nebula_job_seconds"
        "Time a job ran, by kind.";
    QUEUE_REDIS_UP = Gauge Count "nebula_queue_redis_up"
        "1 while the daemon reaches the job queue in Redis, else 0; absent without Redis.";
    MEDIA_SEGMENTS_TOTAL = Counter Count "nebula_media_segments_total"
        "Segments sent, by source (original, rendition).";
    MEDIA_WORKER_DEATHS_TOTAL = Counter Count "nebula_media_worker_deaths_total"
        "Worker processes that ended without an answer, by cause.";
    RENDITION_BYTES = Gauge Bytes "nebula_rendition_bytes"
        "Bytes that renditions take.";
    RENDITIONS_EVICTED_TOTAL = Counter Count "nebula_renditions_evicted_total"
        "Renditions that gave way to others, or whose film was deleted.";
    IDENTITY_REFUSALS_TOTAL = Counter Count "nebula_identity_refusals_total"
        "Credentials that were wrong, expired, revoked or unknown.";
    WEBHOOK_DELIVERIES_TOTAL = Counter Count "nebula_webhook_deliveries_total"
        "Notifications to webhooks, by target and outcome (ok, failed, given_up).";
    WEBHOOK_LAG_SECONDS = Gauge Seconds "nebula_webhook_lag_seconds"
        "Age of the oldest event that a webhook has still to take, by target; 0 when it took all.";
    LIFECYCLE_DRAIN_SECONDS = Gauge Seconds "nebula_lifecycle_drain_seconds"
        "Seconds since the drain began; absent while serving.";
}

/// Tells the recorder what each metric means.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.description),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.description),
            Kind::Histogram => describe_histogram!(metric.name, metric.unit, metric.description),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, Kind};

    #[test]
    fn names_follow_prometheus() {
        let mut seen = BTreeSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} stands twice", metric.name);
            assert!(metric.name.starts_with("nebula_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}: counters, and only they, end in _total",
                metric.name
            );
            assert!(metric.description.ends_with('.'), "{}", metric.name);
        }
    }
}
